//! Shared by both targets. What an output may be: a file, a link, a stream, a layout that others write too; and what is left when an export is cut off.

use crate::common::{Bench, sh, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A store with an image of some megabytes, `s`, and its archive, `whole.tar`.
pub(crate) fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "head -c 3000000 /dev/urandom > f; echo 1 > g");
    bench.snapshot(&root, "--profile plain --compression none");
    bench.json([
        "export",
        "s",
        "-o",
        bench.path("whole.tar").to_str().unwrap(),
    ]);
    bench
}

/// Runs a script with errexit beside the store, where `rs ...` is the command and `same FILE` compares with the archive.
pub(crate) fn script(bench: &Bench, script: &str) -> Output {
    let prelude = format!(
        "rs={}; rs() {{ \"$rs\" --store \"$store\" \"$@\"; }}; store={}
         same() {{ cmp \"$1\" {}; }}
         fails() {{ code=0; \"$@\" || code=$?; [ $code = 2 ]; }}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        bench.path("whole.tar").display(),
    );
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &format!("{prelude}\n{script}")])
        .current_dir(bench.path(""));
    command.env_remove("ROOTSTRATA_STORE").output().unwrap()
}

/// Runs a script that must succeed and returns what it says on stderr.
pub(crate) fn runs(bench: &Bench, lines: &str) -> String {
    let output = script(bench, lines);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stderr)
}

pub(crate) fn unfinished(below: &Path) -> Vec<PathBuf> {
    let names = sh(
        below,
        "find . -path ./store -prune -o -name '.rootstrata*' -print",
    );
    names.lines().map(PathBuf::from).collect()
}
