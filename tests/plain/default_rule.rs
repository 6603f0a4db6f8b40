//! Which rule cuts a snapshot into layers where nobody names one: packages in a new series of a root that has some, and what
//! the series was cut by ever after.

use crate::common::rpmdb::install;
use crate::common::{Bench, REPOSITORY, sh, text};
use crate::package_layers::{A, Case, listed};
use crate::package_names::{BOOTSTRAP, DEPS, claim, layout_of};
use serde_json::{Value, json};
use std::path::Path;

/// Records the root without a word about the rule, and returns the rule that is recorded.
fn unasked(bench: &Bench, root: &Path, options: &str) -> String {
    let snapshot = bench.snapshot(root, options);
    rule(bench, &snapshot)
}

fn rule(bench: &Bench, snapshot: &Value) -> String {
    let explained = bench.json(["explain", &snapshot["id"].to_string()]);
    explained["planning"]["planner"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn the_first_snapshot_of_a_root_with_packages_is_cut_by_packages() {
    let case = Case::new();
    let first = case.bench.snapshot(&case.root, BOOTSTRAP);
    assert_eq!(rule(&case.bench, &first), "packages:60");
    assert!(listed(&first).contains(&format!("new {A}")), "{first}");
    let limits = &case.bench.json(["explain", "1"])["planning"]["limits"];
    assert_eq!(limits["update_percent"], 100);
    // As if it had been asked for.
    let asked = Bench::new().snapshot(&case.root, "--layers packages");
    assert_eq!(asked["manifest_digest"], first["manifest_digest"]);
    // The second stage follows the first.
    sh(&case.root, "echo deps > opt/deps");
    let deps = case.bench.snapshot(&case.root, DEPS);
    assert_eq!(rule(&case.bench, &deps), "packages:60");
    assert_eq!(
        listed(&deps)[..2],
        ["reused base".to_owned(), format!("reused {A}")]
    );
}

#[test]
fn a_root_without_packages_and_one_whose_directories_keep_their_times_are_cut_by_stages() {
    let case = Case::new();
    for options in [
        "--mtime keep",
        "--profile plain",
        "--profile plain --mtime fixed",
    ] {
        let bench = Bench::new();
        assert_eq!(unasked(&bench, &case.root, options), "stages", "{options}");
    }
    let rpm = case.root.join("usr/lib/sysimage/rpm");
    for script in [
        "rm rpmdb.sqlite",
        "mkdir -p ../../../../var/lib/dpkg; echo > ../../../../var/lib/dpkg/status",
        "touch rpmdb.sqlite",
        "head -c 100000 /dev/urandom > rpmdb.sqlite",
        "rm rpmdb.sqlite; touch Packages.db",
    ] {
        sh(&rpm, script);
        is_quietly_cut_by_stages(&case.root, "--profile mock", script);
    }
    sh(&rpm, "rm Packages.db");
    install(&case.root, &[]);
    is_quietly_cut_by_stages(&case.root, "", "no package");
    case.install(&case.packages());
    is_quietly_cut_by_stages(&case.root, "--exclude /usr/lib/sysimage", "not seen");
}

/// Wants the same snapshot and the same notes as with `--layers stages`.
fn is_quietly_cut_by_stages(root: &Path, options: &str, case: &str) {
    let run = |more: &str| {
        let bench = Bench::new();
        let arguments = format!("{options} {more} --series s");
        let mut command = bench.command(["snapshot", root.to_str().unwrap()]);
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{case}: {}", text(&output.stderr));
        let explained = bench.json(["explain", "1"]);
        let digest = bench.json(["show", "1"])["manifest_digest"].clone();
        (text(&output.stderr), explained["planning"].clone(), digest)
    };
    let unasked = run("");
    assert_eq!(unasked, run("--layers stages"), "{case}");
    assert_eq!(unasked.1["planner"], "stages", "{case}");
}

#[test]
fn a_series_goes_on_by_the_rule_that_it_has() {
    let case = Case::new();
    for (asked, expected) in [("stages", "stages"), ("packages:9", "packages:9")] {
        let bench = Bench::new();
        bench.snapshot(&case.root, &format!("{BOOTSTRAP} --layers {asked}"));
        let next = bench.snapshot(&case.root, "--run r2 --stage bootstrap");
        assert_eq!(rule(&bench, &next), expected);
        assert!(
            listed(&next)
                .iter()
                .all(|layer| layer.starts_with("reused"))
        );
        // Of a stage that is new, and under another policy.
        for options in ["--stage built", "--exclude /opt", "--mtime fixed"] {
            assert_eq!(unasked(&bench, &case.root, options), expected, "{options}");
        }
        // Where times are kept, there is one rule alone.
        assert_eq!(unasked(&bench, &case.root, "--mtime keep"), "stages");
        // Another series is of its own.
        let other = unasked(&bench, &case.root, "--series other");
        assert_eq!(other, "packages:60");
    }
}

#[test]
fn the_newest_of_the_stage_tells_the_rule_and_naming_it_once_changes_it() {
    let case = Case::new();
    let bench = &case.bench;
    bench.snapshot(&case.root, &format!("{BOOTSTRAP} --layers stages"));
    bench.snapshot(&case.root, &format!("{DEPS} --layers packages:9"));
    assert_eq!(unasked(bench, &case.root, BOOTSTRAP), "stages");
    assert_eq!(unasked(bench, &case.root, DEPS), "packages:9");
    bench.snapshot(&case.root, &format!("{DEPS} --layers stages"));
    assert_eq!(unasked(bench, &case.root, DEPS), "stages");
}

#[test]
fn a_stage_that_is_new_follows_its_run_before_the_series() {
    let case = Case::new();
    let bench = &case.bench;
    bench.snapshot(&case.root, "--run a --stage bootstrap --layers packages:9");
    bench.snapshot(&case.root, "--run b --stage bootstrap --layers stages");
    let deps = bench.snapshot(&case.root, "--run a --stage deps-installed");
    assert_eq!(rule(bench, &deps), "packages:9");
    assert_eq!(deps["parent"], 1);
    assert_eq!(
        unasked(bench, &case.root, "--run c --stage built"),
        "packages:9"
    );
}

#[test]
fn stores_from_before_rules_were_recorded_go_on_by_stages() {
    let case = Case::new();
    for format in 2..=10 {
        let bench = Bench::new();
        let fixture = format!("{REPOSITORY}/fixtures/stores/format-{format}.tar.gz");
        sh(&bench.path(""), &format!("tar -xzf {fixture}"));
        for options in ["", "--stage deps-installed", "--stage built"] {
            let options = format!("--series old {options}");
            let rule = unasked(&bench, &case.root, &options);
            assert_eq!(rule, "stages", "format {format}, {options}");
        }
        if format >= 9 {
            let rule = unasked(&bench, &case.root, "--series packages");
            assert_eq!(rule, "packages:9", "format {format}");
        }
    }
    // And nothing is cut anew.
    let bench = &case.bench;
    bench.snapshot(&case.root, "--layers stages");
    let connection = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    let forget = "UPDATE snapshot SET planner = NULL, seal = NULL, sum = NULL";
    connection.execute(forget, []).unwrap();
    drop(connection);
    sh(&case.root, "echo more >> opt/mine");
    let next = bench.snapshot(&case.root, "");
    assert_eq!(listed(&next)[0], "reused base");
}

#[test]
fn the_rule_is_that_of_a_parent_that_was_asked_for() {
    let case = Case::new();
    let bench = &case.bench;
    bench.snapshot(&case.root, "--stage bootstrap --run a --layers stages");
    bench.snapshot(&case.root, "--stage bootstrap --run b --layers packages:9");
    sh(&case.root, "echo more >> opt/mine");
    for (parent, expected) in [("1", "stages"), ("2", "packages:9"), ("1", "stages")] {
        let options = format!("--stage deps-installed --parent {parent}");
        let over = bench.snapshot(&case.root, &options);
        assert_eq!(rule(bench, &over), expected);
        assert_eq!(over["parent"].to_string(), parent);
        assert_eq!(listed(&over)[0], "reused base");
    }
    let root = case.root.to_str().unwrap();
    let arguments = [
        "snapshot", root, "--series", "s", "--stage", "x", "--parent", "1",
    ];
    let error = bench.fails(2, arguments.iter().chain(&["--layers", "packages"]));
    assert!(error.contains("another rule (--layers)"), "{error}");
}

#[test]
fn an_image_tells_the_rule_of_a_series_that_has_no_other_snapshot() {
    let case = Case::new();
    case.bench.snapshot(&case.root, "--layers packages:9");
    let layout = layout_of(&case.bench);
    let source = format!("oci:{}", layout.display());
    let import =
        |bench: &Bench| bench.json(["import", &source, "--series", "s", "--stage", "bootstrap"]);
    let imported = Bench::new();
    import(&imported);
    sh(&case.root, "echo more >> opt/mine");
    let next = imported.snapshot(&case.root, "");
    assert_eq!(rule(&imported, &next), "packages:9");
    assert!(listed(&next).contains(&format!("reused {A}")), "{next}");
    // Squashed, it goes on all the same.
    let squashed = Bench::new();
    import(&squashed);
    squashed.json(["squash", "s"]);
    assert_eq!(unasked(&squashed, &case.root, ""), "packages:9");
    // What was recorded here goes before it, of whatever stage.
    let mixed = Bench::new();
    mixed.snapshot(&case.root, "--stage built --layers stages");
    import(&mixed);
    assert_eq!(unasked(&mixed, &case.root, ""), "stages");
    // One of ours that tells no rule is of before there were any.
    claim(&layout, &json!({"planner": null, "layer.labels": null}));
    let older = Bench::new();
    import(&older);
    assert_eq!(unasked(&older, &case.root, ""), "stages");
    // One of others tells nothing.
    claim(
        &layout,
        &json!({"series": null, "stage": null, "policy": null}),
    );
    let others = Bench::new();
    import(&others);
    assert_eq!(unasked(&others, &case.root, ""), "packages:60");
}

#[test]
fn a_squashed_snapshot_tells_the_rule_of_a_series_that_has_nothing_else() {
    let case = Case::new();
    let bench = &case.bench;
    bench.snapshot(&case.root, "--layers packages:9");
    bench.json(["squash", "s"]);
    sh(&case.root, "echo more >> opt/mine");
    assert_eq!(unasked(bench, &case.root, ""), "packages:9");
    // Where it is the base that the next builds upon, it stays so.
    bench.json(["squash", "s"]);
    bench.json(["prune", "--keep-last", "1"]);
    let next = bench.snapshot(&case.root, "");
    assert_eq!(rule(bench, &next), "stages");
    assert_eq!(listed(&next)[0], "reused base");
}
