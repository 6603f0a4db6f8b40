//! Shared by both targets. Bad input: one clear line with the path, an exit code, and a store that is as it was.

use crate::common::{Bench, sh};

/// A store with one snapshot, `s@bootstrap`, of a small root.
pub(crate) fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo x > f");
    bench.snapshot(&root, "--profile plain");
    bench
}

pub(crate) fn snapshot<'a>(root: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["snapshot", root, "--series", "s", "--profile", "plain"],
        more,
    ]
    .concat()
}

/// Wants a failure that names `part`, and no new snapshot.
pub(crate) fn refuses(bench: &Bench, arguments: &[&str], part: &str) -> String {
    let before = bench.ids();
    let error = bench.fails(2, arguments);
    assert!(error.contains(part), "{error}");
    assert_eq!(bench.ids(), before);
    error
}
