//! What `diff` says of two recorded snapshots: packages, files, contents, and how it is shown.

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
