//! What is known of recorded snapshots: `which`, `find`, `cat` and `explain`.

use crate::common::rpmdb::{files, install};
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

/// Five snapshots of `s` and one of `t`: `a` changes twice, `lib/x.so` comes, goes and comes again.
fn a_few_days() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    let changes = [
        ("s", "bootstrap", "echo 1 > a; mkdir lib; echo x > lib/x.so"),
        ("s", "bootstrap", "echo 2 > a"),
        ("s", "built", "echo b > b"),
        ("s", "bootstrap", "rm -r lib b; echo lib > lib"),
        (
            "s",
            "bootstrap",
            "rm lib; mkdir lib; echo x > lib/x.so; echo 3 > a",
        ),
        ("t", "bootstrap", ":"),
    ];
    for (series, stage, change) in changes {
        sh(&root, change);
        sh(&root, "find . -exec touch -h -d @1000000000 {} +");
        bench.snapshot(
            &root,
            &format!("--profile plain --series {series} --stage {stage}"),
        );
    }
    bench
}

#[test]
fn a_search_shows_a_line_for_each_content_with_its_range() {
    let bench = a_few_days();
    let lines = |arguments: &[&str]| -> Vec<String> {
        let shown = bench.prints(0, ["find"].iter().chain(arguments));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        shown.lines().skip(1).map(words).collect()
    };
    let today = &rfc3339_today();
    let content = |of: &str| blake3::hash(of.as_bytes()).to_hex()[..12].to_owned();
    let line = |range: &str, count: usize, of: &str, path: &str| {
        format!("{range} {count} {today} {today} {} {path}", content(of))
    };
    assert_eq!(
        lines(&["--path", "/a"]),
        [
            line("5..6", 2, "3\n", "/a"),
            line("2..4", 3, "2\n", "/a"),
            line("1", 1, "1\n", "/a"),
        ]
    );
    assert_eq!(
        lines(&["--path", "*.so"]),
        [line("1..6", 5, "x\n", "/lib/x.so")]
    );
    assert_eq!(lines(&["--path", "lib"])[1], line("4", 1, "lib\n", "/lib"));
    let blake3 = blake3::hash(b"2\n").to_hex().to_string();
    assert_eq!(
        lines(&["--blake3", &blake3]),
        [line("2..4", 3, "2\n", "/a")]
    );
    let of_s = ["--path", "*.so", "--series", "s*", "--stage", "bootstrap"];
    assert_eq!(lines(&of_s), [line("1..5", 3, "x\n", "/lib/x.so")]);
    assert_eq!(
        lines(&["--path", "*.so", "-n", "2"]),
        [line("5..6", 2, "x\n", "/lib/x.so")]
    );
    let each = bench.prints(0, ["find", "--path", "*.so", "-v"]);
    assert_eq!(each.lines().count(), 6, "{each}");
    let json = bench.json(["find", "--path", "*.so"]);
    let ids = json["found"].as_array().unwrap().iter();
    let ids: Vec<i64> = ids.map(|one| one["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [6, 5, 3, 2, 1]);
    assert!(
        bench
            .fails(2, ["find", "--path", "a", "--series", "u*"])
            .starts_with("no series u*")
    );
}

/// The day of UTC.
fn rfc3339_today() -> String {
    sh(std::path::Path::new("/"), "date -u +%F")
        .trim()
        .to_owned()
}

/// What `find` says of a path is what each tree has, whatever hides what.
#[test]
fn a_search_finds_what_the_trees_have() {
    let bench = a_few_days();
    for glob in ["a", "b", "lib", "*.so", "x*", "/lib/*", "**"] {
        let found = bench
            .command(["find", "--path", glob, "--json"])
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        let found: std::collections::BTreeSet<(i64, String)> = found["found"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["id"].as_i64().unwrap(),
                    one["entry"]["path"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        let mut expected = std::collections::BTreeSet::new();
        for id in bench.ids() {
            let tree = bench.json(["ls", &id.to_string()]);
            for entry in tree["entries"].as_array().unwrap() {
                let path = entry["path"].as_str().unwrap();
                let name = path.rsplit('/').next().unwrap();
                let is_wanted = match glob {
                    "*.so" => name.ends_with(".so"),
                    "x*" => name.starts_with('x'),
                    "/lib/*" => path.starts_with("/lib/"),
                    "**" => path != "/",
                    glob => name == glob,
                };
                if is_wanted {
                    expected.insert((id, path.to_owned()));
                }
            }
        }
        assert_eq!(found, expected, "{glob}");
        assert!(!found.is_empty(), "{glob}");
    }
}

#[test]
fn the_log_fits_a_terminal_and_chooses() {
    let bench = a_few_days();
    let ids = |arguments: &[&str]| -> Vec<i64> {
        let log = bench.json(["log"].iter().chain(arguments));
        let all = log["snapshots"].as_array().unwrap().iter();
        all.map(|one| one["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(&["s"]), [5, 4, 3, 2, 1]);
    assert_eq!(ids(&["?"]), [6, 5, 4, 3, 2, 1]);
    assert_eq!(ids(&["-n", "2"]), [6, 5]);
    assert_eq!(ids(&["s", "--stage", "built"]), [3]);
    assert_eq!(ids(&["--run", "r1"]), [1]);
    assert_eq!(ids(&["--since", "today"]).len(), 6);
    assert_eq!(ids(&["--since", "2999-01-01"]), [0; 0]);
    let root = bench.path("root");
    let series = "a-name-of-a-series-that-is-longer-than-a-line-has-room-for-and-more-than-that";
    bench.snapshot(&root, &format!("--profile plain --series {series}"));
    let shown = bench.prints(0, ["log"]);
    assert_eq!(shown.lines().count(), 8);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    for (arguments, says) in [
        (&["log", "u"][..], "no series u in"),
        (&["log", "u*"], "no series u* in"),
        (&["log", "a["], "bad glob"),
    ] {
        let said = bench.fails(2, arguments);
        assert!(said.starts_with(says), "{said}");
    }
}

#[test]
fn a_path_has_a_history() {
    let bench = a_few_days();
    let history = |arguments: &[&str]| -> Vec<(i64, bool, bool)> {
        let log = bench.json(["log", "s"].iter().chain(arguments));
        let all = log["history"].as_array().unwrap().iter();
        all.map(|one| {
            (
                one["id"].as_i64().unwrap(),
                !one["was"].is_null(),
                !one["is"].is_null(),
            )
        })
        .collect()
    };
    assert_eq!(
        history(&["/lib/x.so"]),
        [
            (5, false, true),
            (4, true, false),
            (3, false, true),
            (1, false, true)
        ]
    );
    assert_eq!(
        history(&["a", "--stage", "bootstrap"]),
        [(5, true, true), (2, true, true), (1, false, true)]
    );
    assert_eq!(history(&["a", "-n", "1"]), [(5, true, true)]);
    let shown = bench.prints(0, ["log", "s", "a"]);
    assert!(
        shown.contains("content: 2 B ") && shown.contains("added, 2 B"),
        "{shown}"
    );
    assert_eq!(bench.prints(1, ["log", "s", "none"]), "");
}

#[test]
fn a_package_has_a_history_and_the_log_counts_packages() {
    let bench = Bench::new();
    let root = bench.make("root");
    for packages in [
        &["up-1", "gone-1"][..],
        &["up-2", "new-1"],
        &["up-2", "new-1"],
    ] {
        sh(&root, "echo a > a");
        let packages: Vec<_> = packages
            .iter()
            .map(|name| (*name, files(&["/a"])))
            .collect();
        install(&root, &packages);
        bench.snapshot(&root, "--stage bootstrap");
    }
    let log = bench.json(["log"]);
    let newest = &log["snapshots"][1];
    assert_eq!(newest["packages"], 2);
    assert_eq!(
        newest["package_changes"],
        json!({"added": 1, "removed": 1, "changed": 1})
    );
    assert_eq!(
        log["snapshots"][0]["package_changes"],
        json!({"added": 0, "removed": 0, "changed": 0})
    );
    assert_eq!(log["snapshots"][2]["package_changes"], Value::Null);
    let shown = bench.prints(0, ["log"]);
    assert!(
        shown.contains("+1 -1 ~1") && shown.contains("none"),
        "{shown}"
    );
    let history = bench.prints(0, ["log", "s", "--package", "up"]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 3, "{history}");
    assert!(
        lines[1].starts_with("2 ") && lines[1].ends_with("up-1-1.x86_64 → up-2-1.x86_64"),
        "{history}"
    );
    assert!(lines[2].ends_with("added up-1-1.x86_64"), "{history}");
    for name in ["new.x86_64", "new-1", "new-1-1", "new-1-1.x86_64", "ne*"] {
        let found = bench.prints(0, ["find", "--package", name]);
        assert!(found.contains("2..3 "), "{found}");
    }
}

#[test]
fn names_of_snapshots_count_within_a_stage_and_up_to_a_day() {
    let bench = a_few_days();
    let id = |name: &str| bench.json(["show", name])["id"].as_i64().unwrap();
    assert_eq!(
        [
            "s",
            "s~1",
            "s~2",
            "s@built",
            "s@{today}",
            "s@bootstrap@{today}~1",
            "s@built@{2999-12-31}"
        ]
        .map(id),
        [5, 4, 2, 3, 5, 4, 3]
    );
    for name in ["s@{yesterday}", "s@{1d}", "s~9", "s@built~1"] {
        let said = bench.fails(2, ["show", name]);
        assert!(
            said.starts_with(&format!("no snapshot {name} in")) && !said.contains("the series has"),
            "{said}"
        );
    }
    let said = bench.fails(2, ["show", "s@deps"]);
    assert!(
        said.ends_with(": the series has bootstrap, built"),
        "{said}"
    );
    let said = bench.fails(2, ["log", "s@built"]);
    assert!(said.ends_with(": --stage names a stage"), "{said}");
}
