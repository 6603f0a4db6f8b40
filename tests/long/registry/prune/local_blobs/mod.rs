//! `prune --local-blobs`, against a registry of the tests' own.

mod bytes;
mod chosen;
mod faults;
mod kills;

use super::super::images::{FARM, at, pull_lazy, push_request, snapshot, sound};
use super::super::{access, repository};
use crate::common::registry::FaultyRegistry;
use crate::common::{Bench, settle, sh};
use rootstrata::error::Error;
use rootstrata::model::keep::Rules;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::remote::local_blobs::{self, release};
use rootstrata::ops::remote::push::push;
use serde_json::Value;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const OPTIONS: &str = "--profile plain --series fedora --stage built --volatile /log/*";

/// Makes the root of a number, the same each time.
fn fill(root: &Path, number: u64) {
    let script = format!(
        "mkdir -p log; seq {number}00000 {number}30000 > large; echo {number} > log/number
         find . -exec touch -d @70{number} {{}} +"
    );
    sh(root, &script);
    settle(root);
}

/// A store with the snapshots 1 to 3 of a stage, each with a base and a state of its own, and a registry to which all were pushed.
struct Shelf {
    bench: Bench,
    registry: FaultyRegistry,
    /// What `show` says of each snapshot.
    shown: Vec<Value>,
}

impl Shelf {
    fn new() -> Self {
        let (bench, registry) = (Bench::new(), FaultyRegistry::start());
        for number in 1..=3 {
            record(&bench, number, "");
        }
        let shelf = Self {
            shown: shown(&bench, 3),
            bench,
            registry,
        };
        shelf.push(&[1, 2, 3]);
        shelf.registry.clear_log();
        shelf
    }

    fn push(&self, numbers: &[i64]) {
        let mut request = push_request(&self.registry, &access());
        request.snapshots = numbers.iter().map(|number| snapshot(*number)).collect();
        push(&self.bench.store(), &request, &Silent).unwrap();
    }

    /// Releases what the newest snapshot does not need.
    fn release(&self) -> Result<local_blobs::Outcome, Error> {
        release(&self.bench.store(), &self.request(), &Silent)
    }

    fn request(&self) -> local_blobs::Request {
        local_blobs::Request {
            repository: repository(&self.registry, FARM),
            rules: Rules::default(),
            series: None,
            dry_run: false,
            no_wait: false,
            access: access(),
            jobs: NonZeroUsize::MIN,
        }
    }

    /// The digests of the layers of a snapshot.
    fn layers(&self, number: usize) -> BTreeSet<String> {
        layers(&self.shown[number - 1])
    }

    /// The digests that only the snapshots 1 and 2 have.
    fn old(&self) -> BTreeSet<String> {
        let both = &self.layers(1) | &self.layers(2);
        &both - &self.layers(3)
    }

    fn manifest(&self, number: usize) -> &str {
        self.shown[number - 1]["manifest_digest"].as_str().unwrap()
    }

    /// The digests of these that have files.
    fn here(&self, of: &BTreeSet<String>) -> BTreeSet<String> {
        let is_here = |digest: &&String| path_of(&self.bench, digest).exists();
        of.iter().filter(is_here).cloned().collect()
    }

    /// Wants the store to be sound, and whatever has no file to be in the registry.
    fn assert_sound(&self, label: &str) {
        sound(&self.bench.store());
        let verified = self.bench.json(["verify", "--deep"]);
        assert_eq!(verified["sound"], true, "{label}: {verified}");
        let all = &self.old() | &self.layers(3);
        let gone = &all - &self.here(&all);
        let mut state = self.registry.state();
        let blobs = &state.repo(FARM).blobs;
        assert!(
            gone.iter().all(|digest| blobs.contains_key(digest)),
            "{label}"
        );
    }
}

/// Records a root whose only large file is of this number.
fn record(bench: &Bench, number: u64, more: &str) -> Value {
    let root = bench.make("root");
    fill(&root, number);
    bench.snapshot(&root, &format!("{OPTIONS} {more}"))
}

fn shown(bench: &Bench, most: i64) -> Vec<Value> {
    let shown = (1..=most).map(|number| bench.json(["show", &number.to_string()]));
    shown.collect()
}

fn layers(shown: &Value) -> BTreeSet<String> {
    let layers = shown["layers"].as_array().unwrap().iter();
    let digest = |layer: &Value| layer["digest"].as_str().unwrap().to_owned();
    layers.map(digest).collect()
}

fn path_of(bench: &Bench, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    bench.store().join("blobs/sha256").join(hex)
}

fn index(bench: &Bench) -> String {
    std::fs::read_to_string(bench.store().join("index.json")).unwrap()
}

/// Whether each blob that a registry has is proven, by its digest in hexadecimal.
fn proven(store: &Path) -> Vec<(String, bool)> {
    let database = rusqlite::Connection::open(store.join("rootstrata.sqlite")).unwrap();
    let query = "SELECT lower(hex(digest)), proven FROM remote_blob ORDER BY digest";
    let mut query = database.prepare(query).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}
