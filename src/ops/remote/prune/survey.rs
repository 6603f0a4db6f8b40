//! What stands in a repository: tags of images, and the records that its tags lead to.
//!
//! A record counts if it says what its tag does, so that its digest is under no other tag of a record. Whatever else has the tag
//! of a record is odd, and left alone.

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

/// A repository, asked by several threads at once.
#[derive(Clone, Copy)]
pub(super) struct Asked<'c> {
    pub client: &'c Client,
    pub jobs: NonZeroUsize,
}

impl Asked<'_> {
    /// Returns the manifests that tags lead to, with the tags of each; a tag that is gone is left out. Fails if the registry
    /// does not answer, and if it goes on to list a tag that leads nowhere.
    pub(super) fn by_digest(&self, tags: &[&str]) -> Result<BTreeMap<Digest, Vec<String>>> {
        let digests = threads::map(self.jobs, tags, |tag| {
            self.client.manifest_digest(&tagged(tag))
        })?;
        self.check_gone(tags, &digests)?;
        let mut by_digest: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (tag, digest) in tags.iter().zip(digests) {
            if let Some(digest) = digest {
                by_digest.entry(digest).or_default().push((*tag).to_owned());
            }
        }
        Ok(by_digest)
    }

    /// Reads the records of pushes under tags; `None` for what is odd, and nothing for what is gone. Fails as [`Asked::by_digest`].
    pub(super) fn runs(&self, tags: &[&str]) -> Result<Vec<Option<Run>>> {
        let runs = threads::map(self.jobs, tags, |tag| {
            let found = self.client.manifest(&tagged(tag))?;
            Ok::<_, Error>(found.map(|found| Run::of(tag, &found)))
        })?;
        self.check_gone(tags, &runs)?;
        Ok(runs.into_iter().flatten().collect())
    }

    /// Fails if a tag that leads nowhere is listed all the same: whose that tag is, nobody can tell.
    fn check_gone<T>(&self, tags: &[&str], found: &[Option<T>]) -> Result<()> {
        let gone = tags.iter().zip(found);
        let gone = gone.filter(|(_, found)| found.is_none());
        let gone: HashSet<&str> = gone.map(|(tag, _)| *tag).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let listed = self.client.tags()?;
        match listed.iter().find(|tag| gone.contains(tag.as_str())) {
            None => Ok(()),
            Some(tag) => Err(Error::Registry {
                registry: self.client.repository().host().to_owned(),
                action: format!("give the manifest {tag}"),
                what: "it lists the tag and has nothing under it".to_owned(),
            }),
        }
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

/// What stands in a repository.
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
    /// The number of tags of records under which there is none.
    pub odd: u64,
}

impl Survey {
    /// Reads a repository. Fails if the registry does not answer, and if its list of tags does not end.
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
            odd: (odd + listed.iter().filter(|tag| is_odd(tag)).count()) as u64,
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

/// Tells whether a tag begins as those of records do, and is none of them.
fn is_odd(tag: &str) -> bool {
    let is_known = is_run(tag) || layer_of(tag).is_some() || image_of(tag).is_some();
    is_record(tag) && !is_known
}

/// Returns the tags that are of no record.
pub(super) fn image_tags(listed: &[String]) -> Vec<&str> {
    let tags = listed.iter().map(String::as_str);
    tags.filter(|tag| !is_record(tag)).collect()
}
