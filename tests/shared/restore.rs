//! Shared by both targets. What is recorded comes back: into an empty directory, over one that holds something, in part, and never beside it.

use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, settle, sh};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(crate) const PLAIN_S: &str = "--profile plain --stage s";

pub(crate) struct Case {
    pub(crate) bench: Bench,
    pub(crate) root: PathBuf,
}

impl Case {
    /// A root that `script` has made, recorded as the snapshot `s`.
    pub(crate) fn new(script: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, script);
        let case = Self { bench, root };
        case.record(PLAIN_S);
        case
    }

    pub(crate) fn record(&self, options: &str) -> Value {
        settle(&self.root);
        self.bench.snapshot(&self.root, options)
    }

    /// Restores the newest snapshot into `to`; `more` is split at spaces.
    pub(crate) fn restore(&self, to: &Path, more: &str) -> Value {
        let mut arguments = vec!["restore", "s", to.to_str().unwrap()];
        arguments.extend(more.split_whitespace());
        self.bench.json(arguments)
    }

    pub(crate) fn expected(&self) -> Tree {
        walked(&self.root)
    }
}

pub(crate) fn assert_same(found: &Tree, expected: &Tree) {
    let wrong = differences(found, expected);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

pub(crate) fn counts(restored: &Value) -> [u64; 4] {
    ["made", "adjusted", "removed", "unchanged"].map(|count| restored[count].as_u64().unwrap())
}
