//! What commands print of layers by package: names in few lines, and the space of each package.

use crate::common::rpmdb::files;
use crate::common::{settle, sh};
use crate::package_layers::{A, B, Case, labels};
use crate::package_names::{BOOTSTRAP, DEPS, two_stages, upgrade};
use serde_json::{Value, json};

/// Wants no line of a text to be longer than a terminal is wide, apart from those that begin with `not`.
fn fits_a_terminal(text: &str, not: &str) {
    for line in text.lines().filter(|line| !line.starts_with(not)) {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
}

#[test]
fn which_tells_the_package_that_the_layer_of_a_path_is_of() {
    let case = Case::new();
    two_stages(&case);
    let which = |path: &str| case.bench.prints(0, ["which", "2", path]);
    let layer = format!("layer    package {B} reused sha256:");
    assert!(which("/usr/lib/b/two").contains(&layer));
    assert!(which("/usr/bin/a").contains("layer    package a-2-1.x86_64 new sha256:"));
    assert!(which("/opt/mine").contains("layer    base reused sha256:"));
    let layer = case.bench.json(["which", "2", "/usr/lib/b/two"])["layer"].clone();
    assert_eq!(
        (&layer["role"], &layer["label"]),
        (&json!("package"), &json!(B))
    );
}

/// Ninety packages, each with a layer.
fn many(case: &Case) {
    let script = "mkdir usr/many; for n in $(seq 10 99); do
        head -c 210000 /dev/urandom > usr/many/$n; touch -d @700 usr/many/$n; done";
    sh(&case.root, script);
    let all: Vec<(String, String)> = (10..100)
        .map(|n| (format!("a-package-of-many-{n}-1"), format!("/usr/many/{n}")))
        .collect();
    let packages: Vec<_> = all
        .iter()
        .map(|(name, path)| (name.as_str(), files(&[path])))
        .collect();
    case.install(&packages);
}

#[test]
fn log_tells_many_package_layers_in_few_lines() {
    let case = Case::new();
    many(&case);
    let record = |script: &str| {
        sh(&case.root, script);
        settle(&case.root);
        let options = "--profile mock --stage other --layers packages:90";
        case.bench.snapshot(&case.root, options)
    };
    assert_eq!(labels(&record("")).len(), 92);
    record("echo more >> opt/mine");
    let plain = case.bench.prints(0, ["log"]);
    fits_a_terminal(&plain, "none");
    let text = case.bench.prints(0, ["log", "-v"]);
    fits_a_terminal(&text, "none");
    let lines: Vec<&str> = text.lines().collect();
    let heads = lines.iter().filter(|line| !line.starts_with(' '));
    assert_eq!(heads.count(), plain.lines().count(), "{text}");
    let has = |line: &str| lines.iter().filter(|one| one.starts_with(line)).count();
    assert_eq!(has("  package reused  90 layers "), 1, "{text}");
    assert_eq!(has("  package new     90 layers "), 1, "{text}");
    assert_eq!(
        has("          a-package-of-many-10-1-1.x86_64, a-package-of-many-11"),
        1
    );
    assert_eq!(
        (has("  base "), has("  update "), has("  state ")),
        (2, 1, 2)
    );
    let names = text.matches("a-package-of-many-").count();
    assert!(
        text.contains(&format!(" and {} more\n", 90 - names)),
        "{text}"
    );
    assert!((3..7).contains(&names) && lines.len() < 20, "{text}");
}

#[test]
fn du_tells_what_the_layers_of_each_package_take_and_who_shares_them() {
    let case = Case::new();
    two_stages(&case);
    upgrade(&case);
    case.record("", DEPS);
    // The other series shares what is installed now, all but a-1 and b-1.
    case.record("", "--series t --stage bootstrap");
    let used = case.bench.json(["du"]);
    let packages = used["packages"].as_array().unwrap();
    let names: Vec<&str> = packages
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["a", "b", "d"]);
    let of = |name: &str| &packages[names.iter().position(|one| *one == name).unwrap()];
    let bytes = |of: &Value, name: &str| of[name].as_u64().unwrap();
    assert!(bytes(of("a"), "size_bytes") > bytes(of("d"), "size_bytes"));
    assert_eq!(names[2], "d");
    for (name, layers, snapshots) in [("a", 2, 4), ("b", 2, 4), ("d", 1, 3)] {
        let one = of(name);
        assert_eq!(one["arch"], "x86_64");
        assert_eq!(
            (bytes(one, "layers"), bytes(one, "snapshots")),
            (layers, snapshots),
            "{one}"
        );
        assert_eq!(one["series"], json!(["s", "t"]));
    }
    // Of a, the first version is in one snapshot alone. Of b, it is in two.
    let sizes = |series: &str, version: &str| -> u64 {
        let shown = case.bench.json(["show", series]);
        let layers = shown["layers"].as_array().unwrap().iter();
        let mut bytes = layers.filter(|layer| layer["label"] == version);
        bytes.next().unwrap()["size_bytes"].as_u64().unwrap()
    };
    let (a1, b1) = (sizes("1", A), sizes("1", B));
    assert_eq!(
        (
            bytes(of("a"), "one_series_bytes"),
            bytes(of("a"), "one_snapshot_bytes")
        ),
        (a1, a1)
    );
    assert_eq!(
        (
            bytes(of("b"), "one_series_bytes"),
            bytes(of("b"), "one_snapshot_bytes")
        ),
        (b1, 0)
    );
    assert_eq!(
        (
            bytes(of("d"), "one_series_bytes"),
            bytes(of("d"), "one_snapshot_bytes")
        ),
        (0, 0)
    );
    assert_eq!(
        bytes(of("a"), "size_bytes"),
        a1 + sizes("2", "a-2-1.x86_64")
    );
    // Of a series, its own layers alone, and who has them in all of the store.
    let of_series = case.bench.json(["du", "t"])["packages"].clone();
    let a = of_series
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "a")
        .unwrap();
    assert_eq!(
        (
            bytes(a, "layers"),
            bytes(a, "snapshots"),
            bytes(a, "one_series_bytes")
        ),
        (1, 3, 0)
    );
    let text = case.bench.prints(0, ["du", "-v"]);
    let lines: Vec<&str> = text.lines().collect();
    let head = lines
        .iter()
        .position(|line| line.ends_with("  1 SERIES  1 SNAP    PACKAGE"));
    let rows = &lines[head.unwrap_or_else(|| panic!("{text}")) + 1..][..3];
    assert!(rows[2].ends_with("0 B       d.x86_64"), "{text}");
    assert!(!text.contains(A), "{text}");
}

#[test]
fn lines_of_many_packages_with_long_names_fit_a_terminal() {
    let case = Case::new();
    let name = format!("{}-1", "long".repeat(20));
    let mut packages = case.packages();
    packages[0] = (&name, files(&["/usr/bin/a"]));
    case.install(&packages);
    case.record("", BOOTSTRAP);
    let used = case.bench.prints(0, ["du", "-v"]);
    let (_, of_packages) = used.split_once("PACKAGE\n").unwrap();
    assert!(
        of_packages.contains(&format!("  {}lo…\n", "long".repeat(6))),
        "{used}"
    );
    fits_a_terminal(of_packages, "a base or delta is made anew");
    fits_a_terminal(&case.bench.prints(0, ["log", "-v"]), "none");
}

#[test]
fn sides_of_a_comparison_name_the_packages_of_their_layers() {
    let case = Case::new();
    two_stages(&case);
    let compared = case.bench.compared(["1", "2"]);
    assert_eq!(labels(&compared["a"])[1..3], [A, B]);
    assert_eq!(labels(&compared["b"])[1..3], ["a-2-1.x86_64", B]);
    assert_eq!(compared["a"]["layers"][0]["label"], Value::Null);
}

#[test]
fn explain_tells_reused_layers_of_packages_in_one_line() {
    let case = Case::new();
    case.record("", "");
    case.record("echo more >> opt/mine", "");
    let text = case.bench.prints(0, ["explain", "s"]);
    assert!(text.contains("\npackage reused  2 layers "), "{text}");
    assert!(!text.contains(A) && !text.contains(B), "{text}");
    let first = text.find("package reused").unwrap();
    assert!(
        text[first..].contains("\n  written for snapshot 1, "),
        "{text}"
    );
    let all = case.bench.prints(0, ["explain", "-v", "s"]);
    assert!(all.contains(A) && all.contains(B), "{all}");
    assert!(!all.contains("2 layers"), "{all}");
}
