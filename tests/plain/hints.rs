//! What is said to people who do what they may not mean: another directory, a new stage, a root without its packages, a series like another one.

use crate::common::rpmdb::{files, install};
use crate::common::{Bench, layers, one_error, rootstrata, sh, text};
use serde_json::{Value, json};
use std::path::Path;

fn recorded(bench: &Bench, root: &Path, more: &str) -> (String, String) {
    let mut command = bench.command(["snapshot", root.to_str().unwrap()]);
    let output = command.args(more.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_directory_above_a_root_is_refused_with_the_root_that_is_meant_and_nothing_is_recorded() {
    let bench = Bench::new();
    let mock = bench.make("fedora-42-x86_64");
    let root = bench.make("fedora-42-x86_64/root");
    sh(&mock, "mkdir result");
    // A root that is still empty may be anything.
    bench.snapshot(&mock, "--profile mock --series empty");
    sh(&root, "mkdir usr");
    let error = bench.fails(2, ["snapshot", mock.to_str().unwrap()]);
    assert!(
        error.contains(&format!("record {}, or", root.display())),
        "{error}"
    );
    let all = bench.path("");
    let error = bench.fails(2, ["snapshot", all.to_str().unwrap()]);
    assert!(
        error.contains(&format!("record {}, or", root.display())),
        "{error}"
    );
    assert_eq!(bench.ids(), [1]);
    let other = Bench::new();
    other.fails(2, ["snapshot", mock.to_str().unwrap()]);
    assert!(!other.store().exists());
    let named = bench.json(["snapshot", root.to_str().unwrap()]);
    assert_eq!(named["series"], "fedora-42-x86_64");
    bench.snapshot(&mock, "--profile plain --series asked");
    // A root may have a home of root in this place.
    sh(&mock, "mkdir etc");
    bench.snapshot(&mock, "--series s");
}

#[test]
fn names_of_images_as_other_tools_have_them_are_refused_where_a_path_or_a_registry_is_meant() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "--series s");
    for (arguments, says) in [
        (
            &["export", "s", "-o", "oci-archive:x.tar"][..],
            "./oci-archive:",
        ),
        (&["export", "s", "-o", "docker://h/r"], "rootstrata push"),
        (&["pull", "fedora:latest"], "docker://HOST/REPO"),
        (&["pull", "oci:x"], "docker://HOST/REPO"),
    ] {
        let mut command = bench.command(arguments);
        let output = command.current_dir(&root).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains(says) && !said.contains("packages:FILE"),
            "{said}"
        );
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_new_store_series_or_stage_is_mentioned_once() {
    let bench = Bench::new();
    let root = bench.make("root");
    let said = |more: &str| {
        let (out, _) = recorded(&bench, &root, more);
        let line = out.lines().find(|line| line.contains("first snapshot"));
        line.map(|line| line.trim().to_owned())
    };
    assert_eq!(said("--series a").unwrap(), "first snapshot of the store");
    assert_eq!(said("--series a"), None);
    assert_eq!(said("--series b").unwrap(), "first snapshot of the series");
    let stage = "first snapshot of the stage; the series has bootstrap";
    assert_eq!(said("--series a --stage deps-instaled").unwrap(), stage);
    let stage = "first snapshot of the stage; the series has bootstrap, deps-instaled";
    assert_eq!(said("--series a --stage built").unwrap(), stage);
    assert_eq!(said("--series a --stage built"), None);
    let first_of = |more: &str| bench.snapshot(&root, more)["first_of"].clone();
    assert_eq!(first_of("--series c"), "series");
    assert_eq!(first_of("--series c"), Value::Null);
    assert_eq!(first_of("--series c --stage x"), "stage");
}

#[test]
fn a_root_that_has_lost_its_packages_is_recorded_with_a_warning() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "mkdir usr; echo a > usr/a");
    install(&root, &[("a-1", files(&["/usr/a"]))]);
    let (_, quiet) = recorded(&bench, &root, "--series s");
    assert_eq!(quiet, "");
    sh(&root, "rm -r usr");
    let (_, warned) = recorded(&bench, &root, "--series s");
    assert!(warned.contains("no packages were found in"), "{warned}");
    assert!(warned.contains("and 1 in snapshot 1"), "{warned}");
    // What has none twice is meant so.
    assert_eq!(recorded(&bench, &root, "--series s").1, "");
}

/// Twelve series that differ in a file, as farms have them.
#[test]
fn a_series_like_another_one_proposes_a_parent_and_with_it_next_to_nothing_is_written() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir usr; head -c 3000000 /dev/urandom > usr/large; echo one > usr/name",
    );
    let first = bench.snapshot(&root, "--series one --profile plain");
    assert_eq!(first["nearly"], Value::Null);
    sh(&root, "echo another > usr/name");
    let (out, _) = recorded(&bench, &root, "--series two --profile plain");
    let line = out.lines().find(|line| line.contains("nearly")).unwrap();
    assert_eq!(
        line.trim(),
        "nearly one@bootstrap: --parent one@bootstrap would spare 3.0 MB"
    );
    bench.json(["rm", "two"]);

    let two = bench.snapshot(&root, "--series two --profile plain --parent one@bootstrap");
    assert_eq!(two["nearly"], Value::Null);
    assert_eq!(layers(&two), ["base reused", "delta new"]);
    let new = &two["layers"][1]["size_bytes"];
    assert!(new.as_u64().unwrap() < 1000, "{two}");
    // The next one goes on so by itself.
    sh(&root, "echo third > usr/name");
    let next = bench.snapshot(&root, "--series two --profile plain --stage bootstrap");
    assert_eq!(layers(&next)[0], "base reused", "{next}");
    // Also where the snapshot is gone that it was planned over.
    sh(&root, "echo fourth > usr/name");
    bench.snapshot(&root, "--series one --profile plain --stage bootstrap");
    bench.json(["rm", "one~1"]);
    sh(&root, "echo fifth > usr/name");
    let next = bench.snapshot(&root, "--series two --profile plain --stage bootstrap");
    assert_eq!(layers(&next)[0], "base reused", "{next}");
    // It is not proposed where it would spare nothing.
    sh(&root, "head -c 3000000 /dev/urandom > usr/large");
    let other = bench.snapshot(&root, "--series three --profile plain");
    assert_eq!(other["nearly"], Value::Null);
    let policy = bench.snapshot(&root, "--series four --profile plain --mtime fixed");
    assert_eq!(policy["nearly"], Value::Null);
    let fresh = bench.snapshot(&root, "--series five --profile plain --fresh");
    assert_eq!(fresh["nearly"], Value::Null);
}

#[test]
fn with_json_an_error_is_an_object_on_stdout_as_well() {
    let bench = Bench::new();
    let output = bench.command(["show", "a", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let store = bench.store();
    assert_eq!(
        json,
        json!({ "version": 1, "exit_code": 2, "error": format!("no store at {}", store.display()) })
    );
    assert!(text(&output.stderr).starts_with("rootstrata: error: no store at"));

    let output = rootstrata()
        .args(["log", "--json", "--stage"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        json["error"].as_str().unwrap().contains("--stage"),
        "{json}"
    );
    // Help is no error.
    let help = rootstrata().args(["--json", "--help"]).output().unwrap();
    assert!(text(&help.stdout).contains("Examples:"));
    one_error(bench.command(["show", "a"]).output().unwrap(), 2);
}

#[test]
fn the_short_help_is_short_and_the_long_one_has_examples() {
    let lines = |arguments: &[&str]| {
        let output = rootstrata().args(arguments).output().unwrap();
        text(&output.stdout)
    };
    for command in ["snapshot", "prune", "diff", "log"] {
        let (short, long) = (lines(&[command, "-h"]), lines(&[command, "--help"]));
        assert!(
            !short.contains("Examples:") && long.contains("Examples:"),
            "{short}"
        );
        assert!(
            !short.contains("--authfile") && long.contains("--authfile"),
            "{long}"
        );
        assert!(short.lines().count() < long.lines().count(), "{short}");
        assert!(
            short.contains(&format!("rootstrata {command} --help` says more")),
            "{short}"
        );
    }
    let top = lines(&["-h"]);
    assert!(top.lines().count() <= 50, "{top}");
    assert!(
        top.contains("\nKeep the store:\n") && top.contains("  prune     Remove"),
        "{top}"
    );
}
