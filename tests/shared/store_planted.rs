//! Shared by both targets. Stores that somebody else has prepared, that cannot be written to, or that have no room left.

use crate::common::{Bench, sh, text};
use std::process::Command;

/// A store with a snapshot, and a root that has changed since.
pub(crate) fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo 1 > f; mkdir d; echo 2 > d/g");
    bench.snapshot(&root, "--profile plain");
    sh(&root, "echo 3 > f");
    sh(
        &bench.make("precious"),
        "mkdir -p sub/deep sha256; echo keep > me; echo keep > sub/deep/me",
    );
    bench
}

/// Runs a verb with a limit of time; returns its exit code and what it says. A verb other than `verify` says one line at most.
pub(crate) fn run(bench: &Bench, verb: &str) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_rootstrata"), "--store", "store"]);
    let is_quiet = !verb.starts_with("verify");
    command.args(is_quiet.then_some("-q"));
    let output = command
        .args(verb.split(' '))
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    let code = output.status.code().unwrap_or(-1);
    assert_ne!(code, 124, "{verb} hangs");
    assert!(
        (0..=2).contains(&code),
        "{verb} exits {code}: {}",
        text(&output.stderr)
    );
    assert!(
        !is_quiet || text(&output.stderr).lines().count() <= 1,
        "{verb}: {}",
        text(&output.stderr)
    );
    (code, text(&output.stderr) + &text(&output.stdout))
}
