//! Shared by both targets. A restore writes nothing beside its directory, whatever lies there; it says what it could not do, and what stopped it is.

use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, settle, sh};
use rootstrata::model::tree::entry::{Entry, Kind, Xattrs};
use rootstrata::model::tree::path::EntryPath;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

pub(crate) const PLAIN_S: &str = "--profile plain --stage s";

/// A bench with the snapshot `s` of what `script` makes.
pub(crate) fn recorded(script: &str, options: &str) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, script);
    settle(&root);
    bench.snapshot(&root, &format!("{PLAIN_S} {options}"));
    (bench, root)
}

pub(crate) fn assert_same(found: &Tree, expected: &Tree) {
    let wrong = differences(found, expected);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) fn restore(bench: &Bench, to: &Path, more: &[&str]) -> Output {
    bench
        .command(["restore", "s", to.to_str().unwrap(), "-q"])
        .args(more)
        .output()
        .unwrap()
}

/// A directory that nothing may change, and what it is like.
pub(crate) struct Canary {
    pub(crate) path: PathBuf,
    pub(crate) was: (Tree, Vec<(i64, i64)>),
}

impl Canary {
    pub(crate) fn new(bench: &Bench) -> Self {
        let path = bench.make("canary");
        sh(
            &path,
            "mkdir -m 0750 d; echo canary > d/file; echo canary > file; chmod 0640 file; ln file linked",
        );
        let was = Self::look(&path);
        Self { path, was }
    }

    pub(crate) fn look(path: &Path) -> (Tree, Vec<(i64, i64)>) {
        let times = ["", "d", "d/file"].map(|name| std::fs::metadata(path.join(name)).unwrap());
        (
            walked(path),
            times.iter().map(|m| (m.ctime(), m.ctime_nsec())).collect(),
        )
    }

    pub(crate) fn check(&self) {
        let (tree, times) = Self::look(&self.path);
        assert_same(&tree, &self.was.0);
        assert_eq!(times, self.was.1);
    }
}

// ---- Layers that mean harm

/// The names beside the directory that is restored into; nothing may join them.
pub(crate) fn beside(bench: &Bench) -> Vec<PathBuf> {
    let names = std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<PathBuf> = names.filter(|name| !name.ends_with("to")).collect();
    names.sort();
    names
}

pub(crate) fn entry(path: &str, kind: Kind) -> Entry {
    let path = EntryPath::from_slashed(path.as_bytes()).unwrap();
    Entry {
        path,
        kind,
        mode: 0o666,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        group: None,
        xattrs: Xattrs::default(),
    }
}
