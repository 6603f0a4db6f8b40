//! Plans the removal of images and records from a repository, and finds the manifests and layers to leave for the others.

use crate::error::{Error, Result};
use crate::model::digest::{Digest, LayerKey};
use crate::model::registry_keep::{Image, Push, Reason, Rules};
use crate::model::repository::Reference;
use crate::oci::image::LAYER_KEY;
use crate::ops::remote::prune::survey::{Asked, Run, Survey, TRIES};
use crate::threads;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The most manifests that indexes of others may name.
const MOST_IN_INDEXES: usize = 100_000;

/// The manifests to remove, and the images to keep.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The images that stay, with the reasons.
    pub kept: Vec<(Image, Vec<Reason>)>,
    /// The images that go.
    pub going: Vec<Image>,
    /// The number of images of others, all kept.
    pub others: u64,
    /// The images whose records go.
    pub image_records: Vec<Digest>,
    /// The records of layers that go: key and tag.
    pub layer_records: Vec<(LayerKey, String)>,
    /// The records of pushes that go: image, tag and digest of the record.
    pub runs: Vec<(Digest, String, Digest)>,
}

/// The images and layers to leave.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// Manifests of images.
    pub images: HashSet<Digest>,
    /// Layers.
    pub layers: HashSet<LayerKey>,
}

impl Need {
    /// Adds the image and the layers of a push.
    pub(super) fn add_push(&mut self, run: &Run) {
        self.images.insert(run.push.image);
        self.layers.extend(&run.push.layers);
    }

    /// Adds images as [`Need::add_images`] does, and again where a tag leads to an image without a manifest. Fails if the manifest is
    /// missing still.
    fn add_tagged(
        &mut self,
        asked: &Asked,
        survey: &Survey,
        images: impl Iterator<Item = Digest>,
    ) -> Result<()> {
        let mut next: Vec<Digest> = images.collect();
        for _ in 0..TRIES {
            let missing = self.add_images(asked, next)?;
            let tags = missing.iter().filter_map(|digest| survey.tags.get(digest));
            let tags = tags.flatten().map(String::as_str);
            let tagged = asked.by_digest(&tags.collect::<Vec<_>>())?.into_keys();
            next = tagged.filter(|digest| missing.contains(digest)).collect();
            if next.is_empty() {
                return Ok(());
            }
            for digest in &next {
                self.images.remove(digest);
            }
        }
        let digests: Vec<String> = next.iter().take(1).map(Digest::to_string).collect();
        Err(Error::Registry {
            registry: asked.client.repository().host().to_owned(),
            action: format!("give the manifest {}", digests.concat()),
            what: "a tag leads to it, and it is not there".to_owned(),
        })
    }

    /// Adds images, with the layers of their manifests and the manifests of indexes. Returns the digests without a manifest. Fails if
    /// the registry does not answer, and where indexes have no end.
    pub(super) fn add_images(
        &mut self,
        asked: &Asked,
        images: impl IntoIterator<Item = Digest>,
    ) -> Result<HashSet<Digest>> {
        let mut next: Vec<Digest> = images.into_iter().collect();
        let mut missing = HashSet::new();
        let mut in_indexes = 0;
        loop {
            next.retain(|digest| self.images.insert(*digest));
            if next.is_empty() {
                return Ok(missing);
            }
            let named = threads::map(asked.jobs, &next, |digest| Named::read(asked, digest))?;
            let read = std::mem::take(&mut next);
            for (digest, named) in read.into_iter().zip(named) {
                let Some(named) = named else {
                    missing.insert(digest);
                    continue;
                };
                self.layers.extend(named.layers);
                in_indexes += named.manifests.len();
                next.extend(named.manifests);
            }
            if in_indexes > MOST_IN_INDEXES {
                let repository = asked.client.repository();
                return Err(Error::Registry {
                    registry: repository.host().to_owned(),
                    action: format!("have indexes in {} that end", repository.name()),
                    what: format!("they name more than {MOST_IN_INDEXES} manifests"),
                });
            }
        }
    }
}

/// The layers and manifests that a manifest names; nothing where the manifest is malformed.
#[derive(Default)]
struct Named {
    layers: Vec<LayerKey>,
    manifests: Vec<Digest>,
}

impl Named {
    fn read(asked: &Asked, digest: &Digest) -> Result<Option<Self>> {
        let found = asked.client.manifest(&Reference::Digest(*digest))?;
        Ok(found.map(|found| Self::of(&found.bytes)))
    }

    fn of(bytes: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let keys = list(&json, "layers").iter();
        let keys = keys.filter_map(|layer| layer["annotations"][LAYER_KEY].as_str());
        let digests = list(&json, "manifests").iter();
        let digests = digests.filter_map(|one| one["digest"].as_str());
        Self {
            layers: keys.filter_map(LayerKey::parse).collect(),
            manifests: digests.filter_map(Digest::parse).collect(),
        }
    }
}

fn list<'j>(json: &'j Value, name: &str) -> &'j [Value] {
    json[name].as_array().map_or(&[], Vec::as_slice)
}

impl Plan {
    /// Plans by rules. `now_s` is in seconds since 1970. Fails if the registry does not answer, and where a tag leads to a missing
    /// manifest.
    pub(super) fn of(asked: &Asked, survey: &Survey, rules: &Rules, now_s: i64) -> Result<Self> {
        let images = images(survey);
        let reasons = rules.kept(&images, now_s);
        let others = survey.tags.len() - images.len();
        let going = images.iter().zip(&reasons);
        let going = going.filter(|(_, reasons)| reasons.is_empty());
        let going: HashSet<Digest> = going.map(|(image, _)| image.digest).collect();
        let mut need = Need::default();
        let staying = survey.tags.keys();
        let staying = staying.filter(|digest| !going.contains(digest)).copied();
        need.add_tagged(asked, survey, staying.chain(untagged(asked, survey)?))?;
        let mut plan = Self {
            others: others as u64,
            ..Self::default()
        };
        for (image, mut reasons) in images.into_iter().zip(reasons) {
            if reasons.is_empty() && need.images.contains(&image.digest) {
                reasons.push(Reason::Index);
            }
            if reasons.is_empty() {
                plan.going.push(image);
            } else {
                plan.kept.push((image, reasons));
            }
        }
        plan.add_records(survey, need, rules, now_s);
        Ok(plan)
    }

    fn add_records(&mut self, survey: &Survey, mut need: Need, rules: &Rules, now_s: i64) {
        let newest = newest_runs(survey, &need);
        for run in &survey.runs {
            if rules.is_in_grace(run.push.pushed_s, now_s) {
                need.add_push(run);
                continue;
            }
            // Beside the manifest, which may be missing.
            if need.images.contains(&run.push.image) {
                need.layers.extend(&run.push.layers);
            }
            if !newest.contains(run.tag.as_str()) && !survey.tags.contains_key(&run.digest) {
                let Run { tag, digest, push } = run;
                self.runs.push((push.image, tag.clone(), *digest));
            }
        }
        let images = survey.image_records.iter();
        let images = images.filter(|image| !need.images.contains(image));
        self.image_records = images.copied().collect();
        let layers = survey.layer_records.iter();
        let layers = layers.filter(|(key, _)| !need.layers.contains(key));
        self.layer_records = layers.cloned().collect();
    }
}

/// Returns the images with a record of the image and of a push, the newest of each stage first.
fn images(survey: &Survey) -> Vec<Image> {
    let mut pushes: HashMap<Digest, BTreeMap<(&str, &str), i64>> = HashMap::new();
    for Run { push, .. } in &survey.runs {
        let of_image = pushes.entry(push.image).or_default();
        let newest = of_image.entry((&push.series, &push.stage));
        let newest = newest.or_insert(push.pushed_s);
        *newest = push.pushed_s.max(*newest);
    }
    let mut images = Vec::new();
    for (digest, tags) in &survey.tags {
        let Some(of_image) = pushes.get(digest) else {
            continue;
        };
        if !survey.image_records.contains(digest) {
            continue;
        }
        let pushes = of_image.iter().map(|((series, stage), pushed_s)| Push {
            series: (*series).to_owned(),
            stage: (*stage).to_owned(),
            pushed_s: *pushed_s,
        });
        images.push(Image {
            digest: *digest,
            tags: tags.clone(),
            pushes: pushes.collect(),
        });
    }
    images.sort_by_cached_key(|image| {
        let last = image.pushes.iter().map(|push| push.pushed_s).max();
        let first = image.pushes.first();
        let of = first.map(|push| (push.series.clone(), push.stage.clone()));
        (of, std::cmp::Reverse(last), image.digest)
    });
    images
}

/// Returns the images of records without a tag of the image, as far as the manifest is there. Fails if the registry does not answer.
fn untagged(asked: &Asked, survey: &Survey) -> Result<Vec<Digest>> {
    let of_runs = survey.runs.iter().map(|run| run.push.image);
    let spoken: HashSet<Digest> = survey
        .image_records
        .iter()
        .copied()
        .chain(of_runs)
        .collect();
    let spoken = spoken.into_iter();
    let mut spoken: Vec<Digest> = spoken
        .filter(|digest| !survey.tags.contains_key(digest))
        .collect();
    let found = threads::map(asked.jobs, &spoken, |digest| {
        asked.client.manifest_digest(&Reference::Digest(*digest))
    })?;
    let mut found = found.into_iter();
    spoken.retain(|_| found.next().flatten().is_some());
    Ok(spoken)
}

/// Returns the tags of the newest push of each kept image into each stage: the records with the times.
fn newest_runs<'s>(survey: &'s Survey, need: &Need) -> HashSet<&'s str> {
    let mut newest: HashMap<(Digest, &str, &str), &Run> = HashMap::new();
    for run in &survey.runs {
        let Run { push, .. } = run;
        if !need.images.contains(&push.image) {
            continue;
        }
        let of_stage = newest.entry((push.image, &push.series, &push.stage));
        let known = of_stage.or_insert(run);
        if known.push.pushed_s < push.pushed_s {
            *known = run;
        }
    }
    newest.values().map(|run| run.tag.as_str()).collect()
}
