//! Shared by both targets. Exports: what an archive and a layout hold, when they are written, and that others read them.

use crate::common::{Bench, sh, succeeds};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A store with a run of two stages.
pub(crate) fn two_stages(compression: &str) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir d; for i in $(seq 50); do head -c 5000 /dev/urandom > d/$i; done",
    );
    bench.snapshot(
        &root,
        &format!("--profile plain --stage bootstrap --compression {compression}"),
    );
    sh(&root, "head -c 70000 /dev/urandom > new; rm d/7");
    bench.snapshot(
        &root,
        &format!("--profile plain --stage deps-installed --compression {compression}"),
    );
    (bench, root)
}

pub(crate) fn export(bench: &Bench, snapshot: &str, path: &Path, more: &[&str]) -> Value {
    bench.json([&["export", snapshot, "-o", path.to_str().unwrap()], more].concat())
}

pub(crate) fn index(archive: &Path) -> Value {
    serde_json::from_str(&succeeds(
        Command::new("tar")
            .arg("-xOf")
            .arg(archive)
            .arg("index.json"),
    ))
    .unwrap()
}

pub(crate) fn names(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap().iter();
    manifests
        .map(|m| {
            m["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}
