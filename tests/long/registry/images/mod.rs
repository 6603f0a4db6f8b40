//! Images that are pushed and pulled, against a registry of the tests' own.

mod asked;
mod command;
mod compared;
mod cuts;
mod faults;
mod hostile;
mod lazy;
mod lazy_lies;

use super::{access, repository, told};
use crate::common::Bench;
use crate::common::registry::{FaultyRegistry, Request as Asked};
use crate::common::rpmdb::{RpmFile, files, install};
use crate::common::sh;
use crate::common::store::check;
use rootstrata::error::Error;
use rootstrata::model::names::SnapshotRef;
use rootstrata::model::repository::ImageName;
use rootstrata::model::source::Source;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::remote::lazy_pull::pull_lazily;
use rootstrata::ops::remote::push::{self, push};
use rootstrata::ops::transfer::import::{self, import};
use rootstrata::registry::Access;
use std::num::NonZeroUsize;
use std::path::Path;

/// The repository of these tests.
pub(super) const FARM: &str = "farm/roots";

/// Options of both snapshots.
pub(super) const OPTIONS: &str = "--profile mock --layers packages:9 --series fedora";

/// The tags that move.
const MOVING: [&str; 2] = ["fedora.bootstrap", "fedora.deps-installed"];

/// A store with two stages of a root, the later with one more package.
pub(super) fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin etc; head -c 300000 /dev/urandom > usr/bin/a; echo conf > etc/a.conf; echo mine > etc/mine
         touch -d @700 usr/bin/a etc/a.conf",
    );
    let a = || ("a-1", files(&["/usr/bin/a", "/etc/a.conf"]));
    install(&root, &[a()]);
    bench.snapshot(&root, &format!("{OPTIONS} --stage bootstrap"));
    sh(
        &root,
        "head -c 200000 /dev/urandom > usr/bin/b; touch -d @700 usr/bin/b",
    );
    let packages: [(&str, Vec<RpmFile>); 2] = [a(), ("b-1", files(&["/usr/bin/b"]))];
    install(&root, &packages);
    bench.snapshot(&root, &format!("{OPTIONS} --stage deps-installed"));
    bench
}

/// The name of the repository, or of an image of it, as `docker://HOST/REPO...`.
pub(super) fn at(registry: &FaultyRegistry, rest: &str) -> String {
    format!("docker://{}/{FARM}{rest}", registry.host())
}

pub(super) fn push_request(registry: &FaultyRegistry, access: &Access) -> push::Request {
    push::Request {
        snapshots: Vec::new(),
        target: ImageName {
            repository: repository(registry, FARM),
            reference: None,
        },
        access: access.clone(),
        jobs: NonZeroUsize::MIN,
    }
}

/// Pushes the newest snapshot of each stage, one request after the other.
fn push_all(store: &Path, registry: &FaultyRegistry) -> Result<push::Outcome, Error> {
    push(store, &push_request(registry, &access()), &Silent)
}

/// Pushes the later snapshot alone.
fn push_later(store: &Path, registry: &FaultyRegistry) -> Result<push::Outcome, Error> {
    let mut request = push_request(registry, &access());
    request.snapshots = vec![snapshot(2)];
    push(store, &request, &Silent)
}

/// Pulls an image, one request after the other.
pub(super) fn pull(
    store: &Path,
    registry: &FaultyRegistry,
    rest: &str,
) -> Result<import::Outcome, Error> {
    let text = at(registry, rest);
    let request = import::Request {
        source: Source::parse(text.as_ref()).unwrap(),
        series: None,
        stage: None,
        access: access(),
        jobs: NonZeroUsize::MIN,
    };
    import(store, &request, &Silent)
}

/// Pulls an image by its records, one request after the other.
pub(super) fn pull_lazy(
    store: &Path,
    registry: &FaultyRegistry,
    rest: &str,
) -> Result<import::Outcome, Error> {
    let text = at(registry, rest);
    let source = Source::parse(text.as_ref()).unwrap();
    let Source::Registry(name) = source.clone() else {
        panic!("{text}");
    };
    let request = import::Request {
        source,
        series: None,
        stage: None,
        access: access(),
        jobs: NonZeroUsize::MIN,
    };
    pull_lazily(store, &name, &request, &Silent)
}

/// The digests of the layers of an image that a tag leads to, the lowest first.
fn layers_of(registry: &FaultyRegistry, tag: &str) -> Vec<String> {
    let digest = registry.state().repo(FARM).tags[tag].clone();
    let manifest = hostile::manifest(registry, &digest);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let digest = |layer: &serde_json::Value| layer["digest"].as_str().unwrap().to_owned();
    layers.map(digest).collect()
}

/// The blobs that were read of a registry, by their digests.
fn blobs_read(registry: &FaultyRegistry) -> Vec<String> {
    let requests = registry.requests().into_iter();
    let digest = |one: String| {
        one.split_once("/blobs/")
            .map(|(_, digest)| digest.to_owned())
    };
    requests
        .filter(|one| one.starts_with("GET "))
        .filter_map(digest)
        .collect()
}

/// Wants each tag to lead to a whole image or record.
pub(super) fn assert_whole(registry: &FaultyRegistry, label: &str) {
    let lacking = registry.state().lacking(FARM);
    assert!(lacking.is_empty(), "{label}: {lacking:?}");
}

/// Wants a store to be sound, if there is one, and returns how many snapshots the store has.
pub(super) fn sound(store: &Path) -> usize {
    match store.join("rootstrata.sqlite").exists() {
        true => check(store).len(),
        false => 0,
    }
}

pub(super) fn snapshot(number: i64) -> SnapshotRef {
    SnapshotRef::Id(number)
}

/// Wants an error to be one line that names the registry or a digest, without anything for a terminal.
pub(super) fn assert_clear(text: &str, registry: &FaultyRegistry, label: &str) {
    let names_it = text.contains(&registry.host()) || text.contains("sha256:");
    let is_clear = names_it && text.len() < 1_500 && !text.contains(char::is_control);
    assert!(is_clear, "{label}: {text}");
}

pub(super) fn is_of_repository(request: &Asked) -> bool {
    request.is_of_repository()
}

/// Pulls with `pull` into a store with a snapshot, wants one clear line and the snapshot alone there; returns the line.
fn refused_by(
    pull: fn(&Path, &FaultyRegistry, &str) -> Result<import::Outcome, Error>,
    registry: &FaultyRegistry,
    rest: &str,
) -> String {
    let bench = Bench::new();
    let root = bench.make("root");
    std::fs::write(root.join("file"), "x").unwrap();
    bench.snapshot(&root, "--profile plain");
    let before = bench.json(["log"]);
    let error = pull(&bench.store(), registry, rest).unwrap_err();
    let text = told(&error);
    assert_clear(&text, registry, rest);
    assert_eq!(bench.json(["log"]), before, "{text}");
    assert_eq!(sound(&bench.store()), 1);
    let left = std::fs::read_dir(bench.store().join("tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "{text}");
    bench.prints(0, ["verify", "--deep"]);
    text
}
