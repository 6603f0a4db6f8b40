//! `prune --registry`, against a registry of the tests' own.

mod faults;
mod local_blobs;
mod races;
mod rules;

use super::images::{FARM, OPTIONS, pull, push_request, recorded, snapshot, sound};
use super::{access, repository};
use crate::common::registry::{FaultyRegistry, Repo, sha256};
use crate::common::{Bench, sh};
use rootstrata::error::Error;
use rootstrata::model::keep::Rules;
use rootstrata::oci::record::PushRecord;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::remote::prune::{self, prune};
use rootstrata::ops::remote::push::{self, push};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

const DAY_S: i64 = 86_400;
const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A store with the snapshots 1 of `bootstrap` and 2 to 5 of `deps-installed`, of which 3 and 4 lack a package that 2 and 5 have; and a
/// registry to which 1 to 4 were pushed, 40, 30, 20 and 10 days ago.
struct Farm {
    bench: Bench,
    registry: FaultyRegistry,
    full: Repo,
    /// What `show` says of each snapshot.
    shown: Vec<Value>,
}

impl Farm {
    fn new() -> Self {
        let (bench, registry) = (recorded(), FaultyRegistry::start());
        let root = bench.path("root");
        let options = format!("{OPTIONS} --stage deps-installed");
        sh(&root, "mv usr/bin/b ../b; echo third > etc/mine");
        bench.snapshot(&root, &options);
        sh(&root, "echo fourth > etc/mine");
        bench.snapshot(&root, &options);
        sh(&root, "mv ../b usr/bin/b; echo fifth > etc/mine");
        bench.snapshot(&root, &options);
        for number in 1..=4 {
            push_one(&bench.store(), &registry, number).unwrap();
            age(&registry, 10 * DAY_S);
        }
        let full = registry.state().repo(FARM).clone();
        let shown = (1..=5).map(|number| bench.json(["show", &number.to_string()]));
        Self {
            shown: shown.collect(),
            bench,
            registry,
            full,
        }
    }

    /// Makes the registry as it was in the beginning.
    fn refill(&self) {
        *self.registry.state().repo(FARM) = self.full.clone();
        self.registry.mend();
        self.registry.clear_log();
    }

    /// Prunes, and keeps the newest image of each stage.
    fn prune(&self) -> Result<prune::Outcome, Error> {
        prune(&request(&self.registry), &Silent)
    }

    /// The digest of the manifest of a snapshot.
    fn digest(&self, number: i64) -> String {
        let shown = self.shown(number);
        shown["manifest_digest"].as_str().unwrap().to_owned()
    }

    fn shown(&self, number: i64) -> &Value {
        &self.shown[number as usize - 1]
    }

    fn tags(&self) -> BTreeSet<String> {
        tags(&self.registry)
    }

    /// Wants a snapshot to be there as by [`Self::assert_there`], and to be pulled.
    fn assert_complete(&self, number: i64, label: &str) {
        self.assert_there(number, label);
        let digest = self.digest(number);
        let other = Bench::new();
        let pulled = pull(&other.store(), &self.registry, &format!("@{digest}"));
        let pulled = pulled.unwrap_or_else(|e| panic!("{label}: {number}: {e}"));
        assert_eq!(pulled.images[0].snapshot.series, "fedora", "{label}");
        assert_eq!(sound(&other.store()), 1, "{label}");
    }

    /// Wants a snapshot to be there under its tag that stays, with its record and those of its layers, and wants all of their blobs.
    fn assert_there(&self, number: i64, label: &str) {
        let shown = self.shown(number);
        let digest = shown["manifest_digest"].as_str().unwrap();
        let tags = self.tags();
        let hex = &digest[7..];
        let keys = shown["layers"].as_array().unwrap().iter();
        let keys = keys.map(|layer| format!("layer-{}-zstd", layer["key"].as_str().unwrap()));
        let fixed = format!("fedora.{}-{}", shown["stage"].as_str().unwrap(), &hex[..12]);
        for tag in keys.chain([format!("image-{hex}"), fixed]) {
            assert!(tags.contains(&tag), "{label}: {number}: {tag}: {tags:#?}");
        }
        let lacking = self.registry.state().lacking(FARM);
        assert!(lacking.is_empty(), "{label}: {lacking:?}");
    }

    /// Wants a snapshot to be gone with all that speaks of it.
    fn assert_gone(&self, number: i64) {
        let hex = self.digest(number).replace("sha256:", "");
        let speaks = |tag: &&String| tag.contains(&hex[..12]);
        let left: Vec<String> = self.tags().iter().filter(speaks).cloned().collect();
        assert!(left.is_empty(), "{number}: {left:?}");
    }

    /// Collects garbage as a registry does: blobs that no manifest names.
    fn collect(&self) {
        let mut state = self.registry.state();
        let repo = state.repo(FARM);
        let manifests = repo.manifests.values();
        let texts: Vec<String> = manifests
            .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
            .collect();
        repo.blobs
            .retain(|digest, _| texts.iter().any(|text| text.contains(digest)));
    }
}

fn tags(registry: &FaultyRegistry) -> BTreeSet<String> {
    registry.state().repo(FARM).tags.keys().cloned().collect()
}

fn request(registry: &FaultyRegistry) -> prune::Request {
    prune::Request {
        repository: repository(registry, FARM),
        rules: Rules {
            last: Some(NonZeroUsize::MIN),
            ..Rules::default()
        },
        keep_tags: Vec::new(),
        series: None,
        grace_s: DAY_S,
        dry_run: false,
        access: access(),
        jobs: NonZeroUsize::MIN,
    }
}

fn push_one(store: &Path, registry: &FaultyRegistry, number: i64) -> Result<push::Outcome, Error> {
    let mut request = push_request(registry, &access());
    request.snapshots = vec![snapshot(number)];
    push(store, &request, &Silent)
}

/// Makes all pushes older.
fn age(registry: &FaultyRegistry, by_s: i64) {
    let mut state = registry.state();
    let repo = state.repo(FARM);
    let runs: Vec<_> = repo.tags.clone().into_iter().collect();
    for (tag, digest) in runs.into_iter().filter(|(tag, _)| tag.starts_with("run-")) {
        let mut push = PushRecord::of_bytes(&repo.manifests[&digest].1).unwrap();
        push.pushed_s -= by_s;
        repo.manifests.remove(&digest);
        repo.tags.remove(&tag);
        let bytes = push.to_bytes().unwrap();
        let tag = rootstrata::model::registry_tags::run_tag(push.pushed_s, &push.image);
        let digest = sha256(&bytes);
        repo.manifests
            .insert(digest.clone(), (TYPE.to_owned(), bytes));
        repo.tags.insert(tag, digest);
    }
}

/// Puts a manifest under a tag, whatever it names.
fn put(registry: &FaultyRegistry, tag: &str, bytes: Vec<u8>) -> String {
    let digest = sha256(&bytes);
    let mut state = registry.state();
    let repo = state.repo(FARM);
    repo.manifests
        .insert(digest.clone(), (TYPE.to_owned(), bytes));
    repo.tags.insert(tag.to_owned(), digest.clone());
    digest
}
