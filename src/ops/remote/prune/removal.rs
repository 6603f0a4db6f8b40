//! Removes what a plan names, while others may push.
//!
//! The deletion of a digest takes all of its tags, and no registry compares before it deletes. So the repository is looked at
//! before and after each few deletions. A push puts the record of the push first. Of a push before the look, image and layers are
//! left; of a push between two looks, the second look puts back the deleted manifests; a push after both finds nothing about to
//! go. Images go first, and records of layers after records of images: the record of an image stands for the records of layers.

use crate::error::{Error, Result};
use crate::model::digest::{Digest, LayerKey};
use crate::model::registry_keep::Image;
use crate::model::registry_tags::{image_tag, is_run};
use crate::model::repository::Reference;
use crate::oci::record::{ImageRecord, LayerRecord, MANIFEST_TYPE};
use crate::ops::monitor::Monitor;
use crate::ops::remote::prune::plan::{Need, Plan};
use crate::ops::remote::prune::survey::{Asked, Survey, image_tags};
use crate::ops::remote::records::tag_of;
use crate::registry::{Manifest, Put};
use crate::threads;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Deletions between two looks, and so the most that nobody undoes where a prune is killed.
const BATCH: usize = 64;

/// The subject of a manifest: where the subject is needed, so is the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Image(Digest),
    ImageRecord(Digest),
    LayerRecord(LayerKey),
    /// The record of a push, with the image.
    Run(Digest),
}

/// A manifest to delete.
#[derive(Clone, Debug)]
struct Candidate {
    subject: Subject,
    tags: Vec<String>,
    /// Of the manifest, where the digest is known before reading.
    digest: Option<Digest>,
}

impl Candidate {
    /// Tells whether both are of the same kind.
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.subject) == std::mem::discriminant(&other.subject)
    }
}

/// A manifest deleted, or about to be.
struct Taken {
    candidate: Candidate,
    manifest: Manifest,
}

/// The numbers of removed manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub images: u64,
    pub image_records: u64,
    pub layer_records: u64,
    pub runs: u64,
    /// Tags of records without a record.
    pub odd: u64,
}

/// A removal that goes on.
pub(super) struct Removal<'r> {
    asked: Asked<'r>,
    monitor: &'r dyn Monitor,
    /// Whether the repository keeps something, and so a list of tags.
    has_more: bool,
    /// The tags of the list for the plan.
    first: HashSet<String>,
    /// All tags of any list, and the tags of the last look.
    known: HashSet<String>,
    listed: HashSet<String>,
    known_manifests: HashSet<Digest>,
    /// Tags of images that may lead elsewhere by now: at first all, then the new tags.
    open_tags: HashSet<String>,
    /// The images and layers that have come to be needed since the plan.
    since: Need,
    /// The tags for which pushes since the plan have asked.
    asked_tags: HashMap<Digest, Vec<String>>,
    removed: Mutex<Removed>,
    taken: Mutex<Vec<Taken>>,
    /// Images without a manifest to read.
    unread: Mutex<Vec<Digest>>,
}

impl<'r> Removal<'r> {
    /// Begins a removal by a plan.
    pub(super) fn new(
        asked: Asked<'r>,
        survey: Survey,
        plan: &Plan,
        monitor: &'r dyn Monitor,
    ) -> Self {
        Self {
            asked,
            monitor,
            has_more: plan.others > 0 || !plan.kept.is_empty(),
            known_manifests: survey.tags.keys().copied().collect(),
            open_tags: survey.tags.into_values().flatten().collect(),
            first: survey.listed.clone(),
            known: survey.listed,
            listed: HashSet::new(),
            since: Need::default(),
            asked_tags: HashMap::new(),
            removed: Mutex::default(),
            taken: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    /// Removes by the plan, and returns the numbers and the images that have come to be needed. Fails if the registry
    /// does not answer or does not delete; the next prune goes on.
    pub(super) fn run(mut self, plan: &Plan) -> Result<(Removed, HashSet<Digest>)> {
        for batch in plan.going.chunks(BATCH) {
            self.look()?;
            self.spare_moved(batch)?;
            let images = batch.iter().map(|image| Candidate {
                subject: Subject::Image(image.digest),
                tags: image.tags.clone(),
                digest: Some(image.digest),
            });
            self.remove(&images.collect::<Vec<_>>())?;
        }
        let records = records(plan);
        if !records.is_empty() && plan.going.is_empty() {
            self.look()?;
        }
        for of_kind in records.chunk_by(Candidate::is_like) {
            for batch in of_kind.chunks(BATCH) {
                self.remove(batch)?;
            }
        }
        let removed = self.removed.into_inner();
        let removed = removed.unwrap_or_else(PoisonError::into_inner);
        Ok((removed, self.since.images))
    }

    /// Lists the tags, and reads the records of pushes that are new since the last look.
    fn look(&mut self) -> Result<()> {
        let listed = self.asked.client.tags()?;
        if listed.is_empty() && self.has_more {
            let repository = self.asked.client.repository();
            return Err(Error::Registry {
                registry: repository.host().to_owned(),
                action: "list tags".to_owned(),
                what: format!("{} has none any more", repository.name()),
            });
        }
        let new = listed.iter().map(String::as_str);
        let new = new.filter(|tag| is_run(tag) && !self.known.contains(*tag));
        for run in self
            .asked
            .runs(&new.collect::<Vec<_>>())?
            .into_iter()
            .flatten()
        {
            self.since.add_push(&run);
            let tags = self.asked_tags.entry(run.push.image).or_default();
            tags.extend(run.push.tag);
        }
        let new = image_tags(&listed).into_iter();
        let new = new.filter(|tag| !self.known.contains(*tag));
        self.open_tags.extend(new.map(str::to_owned));
        self.listed = listed.into_iter().collect();
        self.known.extend(self.listed.iter().cloned());
        Ok(())
    }

    /// Spares images with other tags than before, and images of new indexes.
    fn spare_moved(&mut self, images: &[Image]) -> Result<()> {
        let own = images.iter().flat_map(|image| &image.tags);
        self.open_tags.extend(own.cloned());
        let asked = self.open_tags.intersection(&self.listed);
        let asked: Vec<&str> = asked.map(String::as_str).collect();
        let tags = self.asked.by_digest(&asked)?;
        let moved = images.iter().filter(|image| {
            let now = tags.get(&image.digest).map_or(&[][..], Vec::as_slice);
            !now.is_empty() && now.len() != image.tags.len()
                || now.iter().any(|tag| !image.tags.contains(tag))
        });
        let moved = moved.map(|image| image.digest);
        let new = tags.keys().copied();
        let new = new.filter(|digest| !self.known_manifests.contains(digest));
        let spared: Vec<Digest> = moved.chain(new).collect();
        self.known_manifests.extend(&spared);
        // The tags of the plan are looked at once.
        let before = std::mem::take(&mut self.open_tags).into_iter();
        self.open_tags = before.filter(|tag| !self.first.contains(tag)).collect();
        self.since.add_images(&self.asked, spared).map(drop)
    }

    /// Deletes manifests, then looks again and puts back manifests that have come to be needed.
    fn remove(&mut self, batch: &[Candidate]) -> Result<()> {
        let done = threads::map(self.asked.jobs, batch, |candidate| self.delete(candidate));
        let taken = std::mem::take(locked(&mut self.taken));
        // Deleted by somebody else, or not found: the records are left to the next prune.
        self.since.images.extend(locked(&mut self.unread).drain(..));
        let looked = if taken.is_empty() {
            Ok(())
        } else {
            self.look()
        };
        let put = looked.and_then(|()| self.put_back(&taken));
        let left = taken.iter().filter_map(|taken| self.left(&taken.candidate));
        let left: Vec<Digest> = left.collect();
        self.since.images.extend(left);
        done.and(put)
    }

    /// Returns an image with all tags listed as before, where the registry has not done as told.
    fn left(&self, candidate: &Candidate) -> Option<Digest> {
        let Subject::Image(image) = candidate.subject else {
            return None;
        };
        let mut tags = candidate.tags.iter();
        tags.all(|tag| self.listed.contains(tag)).then_some(image)
    }

    /// Deletes a manifest that nobody needs.
    fn delete(&self, candidate: &Candidate) -> Result<()> {
        if self.is_needed(candidate.subject) {
            return Ok(());
        }
        let Some(digest) = self.take(candidate)? else {
            return Ok(());
        };
        self.asked.client.delete_manifest(&digest)?;
        self.count(|removed| *of(removed, candidate.subject) += 1);
        Ok(())
    }

    /// Reads a manifest, and keeps the bytes to put back. Returns the digest, or nothing if the manifest is gone or odd.
    fn take(&self, candidate: &Candidate) -> Result<Option<Digest>> {
        let reference = match (candidate.subject, candidate.digest) {
            // The record of an old push is never put back.
            (Subject::Run(_), digest) => return Ok(digest),
            (_, Some(digest)) => Reference::Digest(digest),
            (_, None) => Reference::Tag(candidate.tags.concat()),
        };
        let Some(manifest) = self.asked.client.manifest(&reference)? else {
            if let Subject::Image(image) = candidate.subject {
                let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
                unread.push(image);
            }
            return Ok(None);
        };
        let digest = manifest.digest;
        // A manifest with a tag of others is theirs.
        let is_theirs = candidate.digest.is_none() && self.known_manifests.contains(&digest);
        if is_theirs || !is_own(candidate, &manifest) {
            self.count(|removed| removed.odd += 1);
            return Ok(None);
        }
        let taken = Taken {
            candidate: candidate.clone(),
            manifest,
        };
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(taken);
        Ok(Some(digest))
    }

    fn is_needed(&self, subject: Subject) -> bool {
        match subject {
            Subject::Image(image) | Subject::ImageRecord(image) | Subject::Run(image) => {
                self.since.images.contains(&image)
            }
            Subject::LayerRecord(key) => self.since.layers.contains(&key),
        }
    }

    fn put_back(&self, taken: &[Taken]) -> Result<()> {
        for Taken {
            candidate,
            manifest,
        } in taken
        {
            if !self.is_needed(candidate.subject) {
                continue;
            }
            let asked_for = match candidate.subject {
                Subject::Image(image) => self.asked_tags.get(&image),
                _ => None,
            };
            let tags = candidate.tags.iter().chain(asked_for.into_iter().flatten());
            for tag in tags.filter(|tag| !self.listed.contains(*tag)) {
                self.put(tag, manifest)?;
            }
            self.count(|removed| {
                let count = of(removed, candidate.subject);
                *count = count.saturating_sub(1);
            });
        }
        Ok(())
    }

    fn put(&self, tag: &str, manifest: &Manifest) -> Result<()> {
        let media_type = match manifest.media_type.as_str() {
            "" => MANIFEST_TYPE,
            told => told,
        };
        let client = self.asked.client;
        let reference = Reference::Tag(tag.to_owned());
        if let Put::Unknown(_) = client.put_manifest(&reference, media_type, &manifest.bytes)? {
            self.monitor.note(&format!(
                "docker://{}:{tag} has lost blobs while it was pushed: push it again",
                client.repository()
            ));
        }
        Ok(())
    }

    fn count(&self, add: impl FnOnce(&mut Removed)) {
        add(&mut self.removed.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn locked<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the records to delete: of images, then of layers, then of pushes.
fn records(plan: &Plan) -> Vec<Candidate> {
    let images = plan.image_records.iter().map(|image| Candidate {
        subject: Subject::ImageRecord(*image),
        tags: vec![image_tag(image)],
        digest: None,
    });
    let layers = plan.layer_records.iter().map(|(key, tag)| Candidate {
        subject: Subject::LayerRecord(*key),
        tags: vec![tag.clone()],
        digest: None,
    });
    let runs = plan.runs.iter().map(|(image, tag, digest)| Candidate {
        subject: Subject::Run(*image),
        tags: vec![tag.clone()],
        digest: Some(*digest),
    });
    images.chain(layers).chain(runs).collect()
}

/// Tells whether record and tag agree.
fn is_own(candidate: &Candidate, manifest: &Manifest) -> bool {
    match candidate.subject {
        Subject::Image(_) | Subject::Run(_) => true,
        Subject::ImageRecord(image) => {
            let record = ImageRecord::of_bytes(&manifest.bytes);
            record.is_some_and(|record| record.image == Some(image))
        }
        Subject::LayerRecord(key) => {
            let record = LayerRecord::of_bytes(&manifest.bytes);
            record.is_some_and(|record| {
                let tag = tag_of(&record.key, &record.media_type).to_string();
                record.key == key && candidate.tags.contains(&tag)
            })
        }
    }
}

/// Returns the number of a kind.
fn of(removed: &mut Removed, subject: Subject) -> &mut u64 {
    match subject {
        Subject::Image(_) => &mut removed.images,
        Subject::ImageRecord(_) => &mut removed.image_records,
        Subject::LayerRecord(_) => &mut removed.layer_records,
        Subject::Run(_) => &mut removed.runs,
    }
}
