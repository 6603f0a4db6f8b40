//! Shared by both targets. What keeps a store in order: verify, prune and du.

use crate::common::{Bench, text};
use serde_json::Value;
use std::path::PathBuf;

pub(crate) fn ids(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_i64().unwrap())
        .collect()
}

/// Files under blobs/sha256.
pub(crate) fn blobs(bench: &Bench) -> Vec<PathBuf> {
    let files = std::fs::read_dir(bench.store().join("blobs/sha256")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

pub(crate) fn exported(bench: &Bench, snapshot: &str) -> Vec<u8> {
    let path = bench.path("exported.tar");
    bench.json(["export", snapshot, "-o", path.to_str().unwrap()]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

pub(crate) fn wrong(bench: &Bench, arguments: &str) -> Vec<(String, String, Vec<i64>)> {
    let output = bench
        .command(arguments.split(' '))
        .args(["--json", "-q"])
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())));
    let one = |finding: &Value| {
        let ids = finding["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect();
        (
            finding["part"].as_str().unwrap().to_owned(),
            finding["what"].as_str().unwrap().to_owned(),
            ids,
        )
    };
    findings.iter().map(one).collect()
}
