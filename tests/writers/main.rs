//! Eight writers and a reader on one store at once: no snapshot is lost, nobody is told that the database is locked, and what
//! each of them gets is what it would have got alone.
//!
//! For ten seconds by default; `ROOTSTRATA_SECONDS` gives another time.
//!
//! A target of its own: all the machine is for these writers, as long as targets run one after the other.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

#[path = "../common/mod.rs"]
mod common;

use common::layers::{Layout, tree_of};
use common::tree::{Tree, differences, walked};
use common::{Bench, sh, store, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WRITERS: usize = 8;

/// What a writer has recorded: number, manifest and tree.
type Done = (i64, String, Tree);

/// Runs a command that must succeed, whoever else is at work.
fn run(bench: &Bench, arguments: &[&str]) -> Value {
    let output = bench
        .command(arguments)
        .args(["--json", "-q"])
        .output()
        .unwrap();
    let stderr = text(&output.stderr);
    assert!(
        output.status.success() && stderr.is_empty(),
        "{arguments:?}: {:?} {stderr}",
        output.status.code()
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Changes a root and records it, until the time is over. Writers take turns in three series, and in one of their own.
fn write(bench: &Bench, number: usize, root: &Path, end: Instant) -> Vec<Done> {
    let mut done = Vec::new();
    for round in 0.. {
        if round > 0 && Instant::now() > end {
            break;
        }
        sh(
            root,
            &format!(
                "echo {number} {round} > d/f{}; rm -f d/f{}",
                round % 7,
                (round + 3) % 7
            ),
        );
        let series = if round % 4 == 3 {
            format!("own{number}")
        } else {
            format!("shared{}", round % 3)
        };
        let stage = ["bootstrap", "deps-installed", "built"][round / 4 % 3];
        let compression = ["zstd", "gzip:1", "none"][number % 3];
        let options = [
            "--series",
            &series,
            "--stage",
            stage,
            "--profile",
            "plain",
            "--compression",
            compression,
        ];
        let snapshot = run(
            bench,
            &[
                &["snapshot", root.to_str().unwrap(), "--volatile", "/v"][..],
                &options,
            ]
            .concat(),
        );
        let manifest = snapshot["manifest_digest"].as_str().unwrap().to_owned();
        done.push((snapshot["id"].as_i64().unwrap(), manifest, walked(root)));
    }
    done
}

/// Reads, now this and now that, until nobody writes any more. Returns how often.
fn read(bench: &Bench, is_over: &AtomicBool) -> usize {
    let out = bench.path("read.tar");
    let mut reads = 0;
    while !is_over.load(Ordering::SeqCst) {
        let output = bench.command(["log", "--json", "-q"]).output().unwrap();
        let stderr = text(&output.stderr);
        if stderr.contains("no store at") {
            continue;
        }
        assert!(output.status.success(), "{stderr}");
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        let snapshots = log["snapshots"].as_array().unwrap();
        let Some(newest) = snapshots.first() else {
            continue;
        };
        let id = newest["id"].to_string();
        run(bench, &["show", &id]);
        let listed = run(bench, &["ls", &id]);
        assert_eq!(
            listed["entries"].as_array().unwrap().len() as u64,
            newest["entries"].as_u64().unwrap()
        );
        let exported = run(bench, &["export", &id, "-o", out.to_str().unwrap()]);
        assert_eq!(exported["manifest_digest"], newest["manifest_digest"]);
        reads += 1;
    }
    reads
}

#[test]
fn eight_writers_and_a_reader_lose_nothing_and_are_never_turned_away() {
    let seconds = std::env::var("ROOTSTRATA_SECONDS").map_or(10, |number| number.parse().unwrap());
    let bench = Bench::new();
    let roots: Vec<PathBuf> = (0..WRITERS)
        .map(|number| bench.make(&format!("root{number}")))
        .collect();
    for root in &roots {
        // What all have is one layer for all.
        sh(
            root,
            "mkdir d v; for i in $(seq 100); do echo same $i > same$i; done; head -c 300000 /dev/zero > zeros; echo v > v/v",
        );
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let is_over = AtomicBool::new(false);
    let (all, reads) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&bench, &is_over));
        let writers: Vec<_> = roots
            .iter()
            .enumerate()
            .map(|(number, root)| {
                let bench = &bench;
                scope.spawn(move || write(bench, number, root, end))
            })
            .collect();
        let all: Vec<Result<Vec<Done>, _>> =
            writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        let reads = reader.join().unwrap();
        (
            all.into_iter()
                .flat_map(Result::unwrap)
                .collect::<Vec<Done>>(),
            reads,
        )
    });
    println!(
        "{WRITERS} writers recorded {} snapshots in {seconds} s, one reader read {reads} times",
        all.len()
    );
    assert!(all.len() >= 2 * WRITERS && reads > 0);

    // All are there, no number was given twice, and the store is whole.
    let by_id: BTreeMap<i64, &Done> = all.iter().map(|done| (done.0, done)).collect();
    assert_eq!(by_id.len(), all.len());
    assert!(
        store::check(&bench.store())
            .into_iter()
            .eq(by_id.keys().copied())
    );
    let log = run(&bench, &["log"]);
    for snapshot in log["snapshots"].as_array().unwrap() {
        assert_eq!(
            snapshot["manifest_digest"],
            by_id[&snapshot["id"].as_i64().unwrap()].1
        );
    }
    for (id, manifest, tree) in &all {
        let wrong = differences(&tree_of(manifest, &Layout(&bench.store())), tree);
        assert!(wrong.is_empty(), "snapshot {id}\n{}", wrong.join("\n"));
    }
    // The last to write the index has seen all of them.
    let index: Value =
        serde_json::from_slice(&std::fs::read(bench.store().join("index.json")).unwrap()).unwrap();
    let manifests: std::collections::BTreeSet<&String> =
        all.iter().map(|(_, manifest, _)| manifest).collect();
    let listed: std::collections::BTreeSet<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["digest"].as_str().unwrap())
        .collect();
    assert!(manifests.into_iter().map(String::as_str).eq(listed));
    assert_eq!(
        std::fs::read_dir(bench.store().join("tmp"))
            .unwrap()
            .count(),
        0
    );
}
