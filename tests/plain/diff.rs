//! What `diff` says of two recorded snapshots: packages, files, contents, and how it is shown.

use crate::common::rpmdb::{files, install};
use crate::common::{Bench, file_differences, sh, text};
use serde_json::json;
use std::path::Path;

#[test]
fn a_lost_content_is_named() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo one > file");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(&root, "echo two > file");
    let second = bench.snapshot(&root, "--profile plain --stage bootstrap");
    let digest = second["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    std::fs::remove_file(bench.store().join("blobs/sha256").join(&digest)).unwrap();
    // What differs is known without the layer, but not what is in it.
    assert_eq!(
        file_differences(&bench.compared(["1", "2", "--ignore-mtime", "/file"])),
        ["/file content"]
    );
    assert!(
        bench
            .fails(2, ["diff", "1", "2", "--content", "/file"])
            .contains(&digest)
    );
}

#[test]
fn a_snapshot_of_an_older_store_has_no_owners_and_says_so_once() {
    let bench = Bench::new();
    let fixture = Path::new(crate::common::REPOSITORY).join("fixtures/stores/format-3.tar.gz");
    sh(&bench.path(""), &format!("tar -xzf {}", fixture.display()));
    // As a store of format 2 is when it was brought up to date.
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    database
        .execute_batch("DELETE FROM package_set_files; DELETE FROM file_list")
        .unwrap();
    drop(database);
    let output = bench.command(["diff", "1", "2"]).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("whose files differ is unknown") && output.status.code() == Some(1),
        "{stderr}"
    );
    let compared = bench.compared(["1", "2"]);
    assert_eq!(compared["packages"], json!([]));
    assert_eq!(compared["notes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_path_or_glob_on_neither_side_is_an_error() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "mkdir d; echo one > d/a");
    bench.snapshot(&root, "--profile plain");
    sh(&root, "echo two > d/b");
    bench.snapshot(&root, "--profile plain");
    let directory = format!("dir:{}", root.display());
    for (a, b) in [("1", "2"), ("2", "1"), ("1", directory.as_str())] {
        for path in ["/nope", "*.nope", "/d/a/nope"] {
            for arguments in [
                vec!["diff", a, b, path],
                vec!["diff", a, b, "/d", path],
                vec!["diff", a, b, "--content", path],
            ] {
                assert!(
                    bench
                        .fails(2, &arguments)
                        .contains(&format!("{path} is in neither {a} nor {b}")),
                    "{arguments:?}"
                );
            }
        }
        // What one side has is known, and nothing may differ in it.
        bench.prints(1, ["diff", a, b, "/d/b"]);
        bench.prints(0, ["diff", a, b, "/d/a"]);
    }
}

/// Two snapshots of a root with packages: configuration, volatile and other files differ.
fn two_runs() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p etc/dnf var/log usr/lib; echo 1 > etc/dnf/dnf.conf; echo 1 > var/log/a.log; echo 1 > usr/lib/free; echo t > usr/lib/time;
         for n in 1 2 3; do echo 1 > usr/lib/part$n; done; touch -d @1000000000 usr/lib/time",
    );
    let names = ["part1", "part2", "part3"];
    let paths = names.map(|name| format!("/usr/lib/{name}"));
    let install_all = |version: &str| {
        let named = names.map(|name| format!("{name}-{version}"));
        let packages: Vec<_> = named
            .iter()
            .zip(&paths)
            .map(|(name, path)| (name.as_str(), files(&[path.as_str()])))
            .collect();
        install(&root, &packages);
    };
    install_all("1");
    bench.snapshot(&root, "--stage bootstrap --mtime keep");
    sh(
        &root,
        "echo 22 > etc/dnf/dnf.conf; echo 22 > var/log/a.log; echo 22 > usr/lib/free; touch -d @1100000000 usr/lib/time; echo new > usr/lib/new;
         for n in 1 2 3; do echo 22 > usr/lib/part$n; done",
    );
    install_all("2");
    bench.snapshot(&root, "--stage bootstrap --mtime keep");
    bench
}

#[test]
fn a_comparison_begins_with_a_sum_and_the_causes() {
    let bench = two_runs();
    let shown = bench.prints(1, ["diff", "s"]);
    assert_eq!(shown, bench.prints(1, ["diff", "1", "s"]));
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("3 packages, "), "{shown}");
    assert!(
        lines[0].contains(" files: +1 ~") && lines[0].contains(" in time alone"),
        "{shown}"
    );
    let place = |text: &str| {
        shown
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {shown}"))
    };
    let order = ["/etc/dnf/dnf.conf", "/usr/lib/free", "/var/log/a.log"];
    assert!(order.map(place).is_sorted(), "{shown}");
    assert!(
        shown.contains("1 file of the configuration of Mock or the package manager"),
        "{shown}"
    );
    assert!(
        shown.lines().all(|line| !line.contains("usr/lib/part")),
        "{shown}"
    );
    let json = bench.compared(["s~1", "s"]);
    let conf = json["files"].as_array().unwrap().iter();
    let conf: Vec<&str> = conf
        .filter(|file| file["configuration"] == true)
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(conf, ["/etc/dnf/dnf.conf"]);
}

#[test]
fn volatile_files_and_paths_are_left_out_where_that_is_asked_for() {
    let bench = two_runs();
    let paths = |arguments: &[&str]| -> Vec<String> {
        let json = bench.compared(["s~1", "s"].iter().chain(arguments));
        let files = json["files"].as_array().unwrap().iter();
        files
            .map(|file| file["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = paths(&["--ignore-mtime"]);
    let quiet = paths(&["--ignore-mtime", "--ignore-volatile"]);
    assert!(all.contains(&"/var/log/a.log".to_owned()));
    assert!(!quiet.contains(&"/var/log/a.log".to_owned()), "{quiet:?}");
    assert!(quiet.contains(&"/usr/lib/free".to_owned()), "{quiet:?}");
    assert_eq!(
        paths(&[
            "--ignore-mtime",
            "/usr/lib",
            "/etc",
            "!*.conf",
            "!/usr/lib/part?",
            "!/usr/lib/sysimage"
        ]),
        ["/usr/lib/free", "/usr/lib/new"]
    );
    let none = bench.compared(["s~1", "s", "!/"]);
    assert_eq!(none["different"], false);
}

#[test]
fn a_side_alone_is_compared_with_the_one_before_if_there_is_one() {
    let bench = two_runs();
    let said = bench.fails(2, ["diff", "1"]);
    assert!(
        said.starts_with("snapshot 1 is the first of its stage, bootstrap"),
        "{said}"
    );
    let said = bench.fails(2, ["diff", "dir:."]);
    assert!(said.starts_with("dir:. is compared with nothing"), "{said}");
}
