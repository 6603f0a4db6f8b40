//! The contents of a repository: tags of images, and the records under other tags.
//!
//! A record counts if tag and record agree, so the digest is under no other tag of a record. A tag of a record with any
//! other manifest is odd, and left alone.

use crate::error::{Error, Result};
use crate::model::digest::{Digest, LayerKey};
use crate::model::names::{check_name, check_series};
use crate::model::registry_tags::{image_of, is_record, is_run, layer_of, run_tag};
use crate::model::repository::Reference;
use crate::oci::record::PushRecord;
use crate::registry::{Client, Manifest};
use crate::threads;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

/// How often a manifest is looked for that is said to be there.
pub(super) const TRIES: usize = 3;

/// A repository, asked by several threads at once.
#[derive(Clone, Copy)]
pub(in crate::ops::remote) struct Asked<'c> {
    pub client: &'c Client,
    pub jobs: NonZeroUsize,
}

impl Asked<'_> {
    /// Returns the manifests under tags, with the tags of each; a tag without a manifest is left out. Fails if the registry does not
    /// answer, and if the registry goes on to list a tag that leads nowhere.
    pub(in crate::ops::remote) fn by_digest(
        &self,
        tags: &[&str],
    ) -> Result<BTreeMap<Digest, Vec<String>>> {
        let found = self.find(tags, |tag| self.client.manifest_digest(&tagged(tag)))?;
        let mut by_digest: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (tag, digest) in found {
            by_digest.entry(digest).or_default().push(tag.to_owned());
        }
        Ok(by_digest)
    }

    /// Reads the records of pushes under tags: `None` for an odd record, nothing for a tag without a manifest. Fails as
    /// [`Asked::by_digest`].
    pub(super) fn runs(&self, tags: &[&str]) -> Result<Vec<Option<Run>>> {
        let found = self.find(tags, |tag| self.client.manifest(&tagged(tag)))?;
        let found = found.into_iter();
        Ok(found.map(|(tag, found)| Run::of(tag, &found)).collect())
    }

    /// Asks for each tag. A tag that leads nowhere and is listed all the same is asked for again: another prune may have deleted the
    /// manifest, and a push put it. Fails if the tag still leads nowhere then, since nobody can tell whose the tag is.
    fn find<'t, T: Send>(
        &self,
        tags: &[&'t str],
        ask: impl Fn(&str) -> Result<Option<T>> + Sync,
    ) -> Result<Vec<(&'t str, T)>> {
        let mut all = Vec::new();
        let mut left = tags.to_vec();
        for _ in 0..TRIES {
            let answers = threads::map(self.jobs, &left, |tag| ask(tag))?;
            let mut gone = HashSet::new();
            for (tag, found) in left.drain(..).zip(answers) {
                match found {
                    Some(found) => all.push((tag, found)),
                    None => {
                        gone.insert(tag);
                    }
                }
            }
            if !gone.is_empty() {
                let listed: HashSet<String> = self.client.tags()?.into_iter().collect();
                left.extend(gone.into_iter().filter(|tag| listed.contains(*tag)));
            }
            if left.is_empty() {
                return Ok(all);
            }
        }
        Err(Error::Registry {
            registry: self.client.repository().host().to_owned(),
            action: format!(
                "give the manifest {}",
                left.first().copied().unwrap_or_default()
            ),
            what: "the tag is listed and leads nowhere".to_owned(),
        })
    }
}

/// The record of a push.
#[derive(Debug)]
pub(super) struct Run {
    pub tag: String,
    /// The manifest of the record.
    pub digest: Digest,
    pub push: PushRecord,
}

impl Run {
    fn of(tag: &str, found: &Manifest) -> Option<Self> {
        let push = PushRecord::of_bytes(&found.bytes)?;
        let are_names =
            check_series(&push.series).is_ok() && check_name("stage", &push.stage).is_ok();
        let is_own = run_tag(push.pushed_s, &push.image) == tag;
        (are_names && is_own).then(|| Self {
            tag: tag.to_owned(),
            digest: found.digest,
            push,
        })
    }
}

/// The contents of a repository.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// All tags.
    pub listed: HashSet<String>,
    /// The tags of images, of others' as well, by manifest.
    pub tags: BTreeMap<Digest, Vec<String>>,
    /// The records of pushes.
    pub runs: Vec<Run>,
    /// The images whose records have a tag.
    pub image_records: BTreeSet<Digest>,
    /// The keys of the layers whose records have a tag, each with the tag.
    pub layer_records: Vec<(LayerKey, String)>,
    /// The number of tags of records without a record.
    pub odd: u64,
}

impl Survey {
    /// Reads a repository. Fails if the registry does not answer, and if the list of tags does not end.
    pub(super) fn read(asked: &Asked) -> Result<Self> {
        let listed = asked.client.tags()?;
        let tags = asked.by_digest(&image_tags(&listed))?;
        let run_tags = listed.iter().map(String::as_str).filter(|tag| is_run(tag));
        let runs = asked.runs(&run_tags.collect::<Vec<_>>())?;
        let odd = runs.iter().filter(|run| run.is_none()).count();
        let layer_records = listed
            .iter()
            .filter_map(|tag| layer_of(tag).map(|key| (key, tag.clone())));
        Ok(Self {
            tags,
            odd: odd as u64,
            runs: runs.into_iter().flatten().collect(),
            image_records: listed.iter().filter_map(|tag| image_of(tag)).collect(),
            layer_records: layer_records.collect(),
            listed: listed.into_iter().collect(),
        })
    }
}

fn tagged(tag: &str) -> Reference {
    Reference::Tag(tag.to_owned())
}

/// Tells whether a tag begins as tags of records do, and is of no record.
fn is_odd(tag: &str) -> bool {
    let is_known = is_run(tag) || layer_of(tag).is_some() || image_of(tag).is_some();
    is_record(tag) && !is_known
}

/// Returns the tags of images: those that are in no form of a record's.
pub(in crate::ops::remote) fn image_tags(listed: &[String]) -> Vec<&str> {
    let tags = listed.iter().map(String::as_str);
    tags.filter(|tag| !is_record(tag) || is_odd(tag)).collect()
}
