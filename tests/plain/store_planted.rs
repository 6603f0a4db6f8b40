//! Stores that somebody else has prepared, that cannot be written to, or that have no room left.

use crate::common::{Bench, REPOSITORY, one_error, sh};
use crate::shared::store_planted::{recorded, run};
use rusqlite::Connection;
use std::path::Path;

/// Each way in which a store is opened; `prune` and those after it take it alone.
const VERBS: [&str; 8] = [
    "log",
    "cat s /f",
    "export s -o out.tar",
    "verify",
    "snapshot root --series s --profile plain",
    "prune",
    "verify --repair",
    "import oci:store",
];

#[test]
fn directories_of_a_store_that_are_links_are_never_emptied_or_written_to() {
    for place in ["tmp", "blobs", "blobs/sha256"] {
        for verb in VERBS {
            let bench = recorded();
            let script = format!("mv store/{place} aside; ln -s $PWD/precious store/{place}");
            sh(&bench.path(""), &script);
            let before = sh(&bench.path("precious"), "find . -ls | sort");
            let (code, said) = run(&bench, verb);
            assert_ne!(code, 0, "{place}, {verb}: {said}");
            assert!(
                said.contains(place) && said.contains("symbolic link"),
                "{place}, {verb}: {said}"
            );
            assert_eq!(
                sh(&bench.path("precious"), "find . -ls | sort"),
                before,
                "{place}, {verb}"
            );
        }
    }
}

#[test]
fn links_in_tmp_are_removed_and_not_followed() {
    let bench = recorded();
    sh(
        &bench.store(),
        "mkdir -p tmp/scratch-x/deep; ln -s ../../../precious tmp/scratch-x/deep/link; ln -s ../../precious tmp/link; mkfifo tmp/p",
    );
    let before = sh(&bench.path("precious"), "find . -ls | sort");
    assert_eq!(run(&bench, "prune").0, 0);
    assert_eq!(sh(&bench.store(), "find tmp -mindepth 1"), "");
    assert_eq!(sh(&bench.path("precious"), "find . -ls | sort"), before);
}

#[test]
fn a_blob_that_is_no_file_is_damage() {
    for make in ["mkfifo $blob", "mkdir $blob", "ln -s $PWD/aside $blob"] {
        let bench = recorded();
        let script =
            format!("blob=$(ls -S store/blobs/sha256/* | tail -1); mv $blob aside; {make}");
        sh(&bench.path(""), &script);
        for verb in ["verify", "verify --deep"] {
            let (code, said) = run(&bench, verb);
            assert!(
                code == 1 && said.contains("damaged"),
                "{make}, {verb}: {said}"
            );
        }
        let (code, said) = run(&bench, "export s -o out.tar");
        assert_eq!(code, 2, "{make}: {said}");
    }
}

#[test]
fn a_database_with_other_tables_than_its_format_has_is_refused_in_one_line() {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n";
    for (change, name) in [
        ("PRAGMA user_version = 5".to_owned(), "stamp"),
        (
            format!("CREATE TRIGGER endless AFTER DELETE ON snapshot BEGIN {endless}; END"),
            "endless",
        ),
        (
            format!("ALTER TABLE series RENAME TO other; CREATE VIEW series AS {endless}"),
            "other",
        ),
        ("CREATE TABLE more (a)".to_owned(), "more"),
        ("CREATE INDEX more ON series (abs(id))".to_owned(), "more"),
        ("DROP TABLE stamp".to_owned(), "stamp"),
    ] {
        let bench = recorded();
        let planted = Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        planted.execute_batch(&change).unwrap();
        drop(planted);
        for verb in [
            "log",
            "snapshot root --series s --profile plain",
            "prune --keep-last 1",
            "verify",
        ] {
            let (code, said) = run(&bench, verb);
            assert_eq!(
                code,
                if verb == "verify" { 1 } else { 2 },
                "{change}, {verb}: {said}"
            );
            assert!(
                said.contains("format") && said.contains("rootstrata.sqlite"),
                "{change}, {verb}: {said}"
            );
            assert!(
                !said.contains("SELECT") && !said.contains("CREATE"),
                "{change}, {verb}: {said}"
            );
            if !change.starts_with("ALTER") && !change.starts_with("PRAGMA") {
                assert!(said.contains(name), "{change}, {verb}: {said}");
            }
        }
    }
}

#[test]
fn a_migration_waits_for_who_has_the_store_open() {
    let bench = Bench::new();
    let fixture = Path::new(REPOSITORY).join("fixtures/stores/format-5.tar.gz");
    sh(
        &bench.path(""),
        &format!("mkdir x; tar -xzf {} -C x; mv x/* store", fixture.display()),
    );
    let holder = std::fs::File::open(bench.store().join("tmp.lock")).unwrap();
    holder.lock_shared().unwrap();
    let format = || -> i64 {
        let connection = Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    let error = one_error(bench.command(["log", "-q"]).output().unwrap(), 75);
    assert!(error.contains("locked"), "{error}");
    assert_eq!(format(), 5);
    drop(holder);
    assert!(!bench.ids().is_empty());
    assert!(format() > 5);
}
