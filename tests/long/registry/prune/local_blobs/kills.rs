//! A release that dies at each of its calls that write.

use super::*;
use crate::common::faults::{Fault, run_with};
use crate::common::registry::tried;

#[test]
fn a_release_that_is_killed_anywhere_leaves_a_sound_store_and_the_next_ends_it() {
    let shelf = Shelf::new();
    let bench = &shelf.bench;
    let old = shelf.old();
    sh(&bench.path(""), "cp -a store before");
    let command = bench.command(["prune", "--local-blobs", &at(&shelf.registry, ""), "-q"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let log = bench.path("log");
    let (output, calls) = run_with(Fault::Kill, 0, &words, &log);
    assert!(output.status.success(), "{output:?}");
    let place = |name: &str, path: &str| {
        let is_it = |call: &&crate::common::faults::Call| {
            call.name.starts_with(name) && call.path.contains(path)
        };
        let found = calls.iter().position(|call| is_it(&call));
        found.unwrap_or_else(|| panic!("{name} {path}: {calls:#?}"))
    };
    // What is said to be in a registry is said first, and no image is listed that lacks a layer.
    let (rows, index) = (place("fsync", "sqlite-wal"), place("rename", "/index.json"));
    assert!(
        rows < index && index < place("unlink", "blobs/sha256/"),
        "{calls:#?}"
    );
    for at in 1..=calls.len() {
        for fault in tried([Fault::Kill, Fault::Torn, Fault::Eio, Fault::Full], at) {
            let label = format!("{fault:?} at {at}");
            sh(&bench.path(""), "rm -r store; cp -a before store");
            run_with(fault, at, &words, &log);
            shelf.assert_sound(&label);
            bench.json(["prune"]);
            let done = shelf.release();
            assert!(done.is_ok(), "{label}: {done:?}");
            assert_eq!(shelf.here(&old), BTreeSet::new(), "{label}");
            shelf.assert_sound(&label);
            let listed = super::index(bench);
            assert!(listed.contains(shelf.manifest(3)), "{label}");
            assert!(!listed.contains(shelf.manifest(1)), "{label}");
        }
    }
}
