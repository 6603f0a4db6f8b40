//! What is known of recorded snapshots: `which`, `find`, `cat` and `explain`.

use crate::common::{Bench, layers, sh};
use crate::shared::queries::explained;
use serde_json::{Value, json};

#[test]
fn a_new_base_is_explained_by_the_rule_that_asked_for_it() {
    let bench = Bench::new();
    let root = bench.make("root");
    let options = "--profile plain --stage bootstrap";
    let rule = |snapshot: &Value| {
        assert_eq!(layers(snapshot), ["base new"]);
        explained(&bench, &snapshot["id"].to_string(), "base")["rule"].clone()
    };
    sh(
        &root,
        "head -c 100000 /dev/urandom > a; head -c 100000 /dev/urandom > b",
    );
    assert_eq!(rule(&bench.snapshot(&root, options))["rule"], "first");
    sh(
        &root,
        "head -c 90000 /dev/urandom > a; head -c 90000 /dev/urandom > b",
    );
    let large = json!({ "rule": "large-update", "update_bytes": 180_000, "base_bytes": 200_000 });
    assert_eq!(rule(&bench.snapshot(&root, options)), large);
    sh(&root, "rm a; truncate -s 50000 b");
    let dead = rule(&bench.snapshot(&root, options));
    assert_eq!(
        (&dead["rule"], &dead["base_bytes"]),
        (&json!("dead-base"), &json!(180_000))
    );
    let other = rule(&bench.snapshot(&root, "--profile plain --stage bootstrap --mtime fixed"));
    assert_eq!(
        (&other["rule"], &other["snapshot"]["id"]),
        (&json!("other-policy"), &json!(3))
    );

    let last = bench.snapshot(&root, options);
    let digest = last["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    std::fs::remove_file(bench.store().join("blobs/sha256").join(digest)).unwrap();
    sh(&root, "echo c > c");
    let lost = bench.snapshot(&root, options);
    assert_eq!(rule(&lost)["rule"], "lost-blob");
    let shown = bench.prints(0, ["explain", "2"]);
    assert!(
        shown.contains(
            "a base, since an update would have had 180.0 kB, 90.0 % of the last one's 200.0 kB"
        ),
        "{shown}"
    );
}

#[test]
fn an_image_with_too_many_layers_begins_anew_and_says_so() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "--profile plain --stage s0 --run r");
    let mut last = Value::Null;
    for stage in 1..=100 {
        std::fs::write(root.join(format!("f{stage}")), "x").unwrap();
        last = bench.snapshot(&root, &format!("--profile plain --stage s{stage} --run r"));
        if layers(&last) == ["base new"] {
            break;
        }
    }
    assert_eq!(layers(&last), ["base new"]);
    let id = last["id"].to_string();
    assert_eq!(
        explained(&bench, &id, "base")["rule"]["rule"],
        "many-layers"
    );
}

/// The limits that a run was given decide, and are told as long as the snapshot is there.
#[test]
fn a_base_is_rebased_at_the_limits_that_were_given_and_explain_names_them() {
    let bench = Bench::new();
    let root = bench.make("root");
    let options = "--profile plain --stage bootstrap";
    sh(
        &root,
        "head -c 900000 /dev/urandom > a; head -c 100000 /dev/urandom > b",
    );
    bench.snapshot(&root, options);
    let change = |limit: &str| {
        sh(&root, "head -c 100000 /dev/urandom > b");
        let snapshot = bench.snapshot(&root, &format!("{options} {limit}"));
        let text = bench.prints(0, ["explain", &snapshot["id"].to_string()]);
        (layers(&snapshot), text)
    };
    let (kept, text) = change("--rebase-update 10 --rebase-dead 100");
    assert_eq!(kept, ["base reused", "update new"]);
    assert!(
        !text.contains("limit") && !text.contains("derived"),
        "{text}"
    );
    let (rebased, text) = change("--rebase-update 9");
    assert_eq!(rebased, ["base new"]);
    assert!(
        text.contains(
            "an update would have had 100.0 kB, 10.0 % of the last one's 1.0 MB; the limit was 9 %"
        ),
        "{text}"
    );
    sh(&root, "truncate -s 0 b; head -c 10000 /dev/urandom > c");
    let dead = bench.snapshot(&root, &format!("{options} --rebase-dead 9"));
    let text = bench.prints(0, ["explain", &dead["id"].to_string()]);
    assert_eq!(layers(&dead), ["base new"]);
    assert!(
        text.contains(
            "100.0 kB of the last one's 1.0 MB are no longer used, 10.0 %; the limit was 9 %"
        ),
        "{text}"
    );
    let planning = &bench.json(["explain", &dead["id"].to_string()])["planning"];
    let limits = json!({ "update_percent": 30, "dead_percent": 9, "most_layers": 100 });
    assert_eq!(*planning, json!({ "planner": "stages", "limits": limits }));
}

#[test]
fn an_image_has_no_more_layers_than_were_asked_for() {
    let bench = Bench::new();
    let root = bench.make("root");
    let snapshot = |stage: usize| {
        std::fs::write(root.join(format!("f{stage}")), "x").unwrap();
        let options = format!("--profile plain --run r --max-layers 4 --stage s{stage}");
        bench.snapshot(&root, &options)
    };
    let made: Vec<usize> = (0..4).map(|stage| layers(&snapshot(stage)).len()).collect();
    assert_eq!(made, [1, 2, 3, 1]);
    let text = bench.prints(0, ["explain", "4"]);
    assert!(
        text.contains("the image would have had too many layers; the limit was 4"),
        "{text}"
    );
}

/// Random histories: the reasons that were recorded are those that follow from the records, and a store that has none says that
/// they are derived.
#[test]
fn recorded_reasons_are_those_that_are_derived() {
    let bench = Bench::new();
    let root = bench.make("root");
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for day in 0..12 {
        for stage in ["bootstrap", "deps-installed"] {
            for _ in 0..random(4) {
                let (name, size) = (random(6), random(9) * 10_000);
                let make = format!("head -c {size} /dev/urandom > {stage}{name}");
                sh(&root, if random(5) == 0 { "rm -f *1 *2" } else { &make });
            }
            let mtime = if random(6) == 0 { "fixed" } else { "keep" };
            let options = format!("--profile plain --run r{day} --stage {stage} --mtime {mtime}");
            bench.snapshot(&root, &options);
        }
    }
    let explain = || -> Vec<Value> {
        let ids = bench.ids();
        let explained = ids
            .iter()
            .map(|id| bench.json(["explain", &id.to_string()]));
        explained.collect()
    };
    let recorded = explain();
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    database
        .execute(
            "UPDATE snapshot SET planner = NULL, seal = NULL, sum = NULL",
            [],
        )
        .unwrap();
    drop(database);
    let derived = explain();
    let (mut rules, mut names) = (0, std::collections::BTreeSet::new());
    for (recorded, derived) in recorded.iter().zip(&derived) {
        assert_eq!(
            (&recorded["reasons"], &derived["reasons"]),
            (&json!("recorded"), &json!("derived"))
        );
        let all = recorded["layers"].as_array().unwrap().iter();
        for (recorded, derived) in all.zip(derived["layers"].as_array().unwrap()) {
            assert_eq!(recorded["rule"], derived["rule"], "{recorded}");
            assert_eq!(recorded["inherited"], derived["inherited"], "{recorded}");
            rules += usize::from(!recorded["rule"].is_null());
            names.insert(recorded["reason"].as_str().unwrap().to_owned());
        }
    }
    assert!(rules >= 4 && names.len() >= 5, "{rules} {names:?}");
    let text = bench.prints(0, ["explain", "1"]);
    assert!(text.contains("reasons are derived, not recorded"), "{text}");
}
