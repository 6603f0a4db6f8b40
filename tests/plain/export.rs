//! Exports: what an archive and a layout hold, when they are written, and that others read them.

use crate::common::sh;
use crate::shared::export::{export, index, names, two_stages};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn exporting_twice_gives_the_same_bytes_and_the_second_time_writes_nothing() {
    let (bench, root) = two_stages("zstd");
    let archive = bench.path("out.tar");
    export(&bench, "s", &archive, &[]);
    let (before, bytes) = (
        archive.metadata().unwrap(),
        std::fs::read(&archive).unwrap(),
    );
    let output = bench
        .command(["export", "s", "-o", archive.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        crate::common::text(&output.stdout).contains("nothing written"),
        "{}",
        crate::common::text(&output.stdout)
    );
    let after = archive.metadata().unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
    let other = bench.path("other.tar");
    export(&bench, "s", &other, &[]);
    assert!(std::fs::read(&other).unwrap() == bytes);
    // A snapshot of the same root again has the same image.
    bench.snapshot(&root, "--profile plain --stage deps-installed");
    assert_eq!(export(&bench, "s", &archive, &[])["bytes_written"], 0);
}

#[test]
fn blobs_that_were_copied_with_their_store_are_read_once() {
    let (bench, _) = two_stages("zstd");
    sh(
        &bench.path(""),
        "cp -a store copy; rm -r store; mv copy store",
    );
    let stamps = || {
        let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        let mut query = database
            .prepare("SELECT inode FROM blob_stamp ORDER BY digest")
            .unwrap();
        let inodes = query.query_map([], |row| row.get(0)).unwrap();
        inodes.collect::<Result<Vec<i64>, _>>().unwrap()
    };
    let before = stamps();
    export(&bench, "s", &bench.path("out.tar"), &[]);
    let after = stamps();
    // Those of both layers, the configuration and the manifest; the image of the first stage was not asked for.
    assert_eq!(
        before.iter().filter(|inode| !after.contains(inode)).count(),
        4,
        "{before:?} {after:?}"
    );
    export(&bench, "s", &bench.path("again.tar"), &[]);
    assert_eq!(stamps(), after);
}

#[test]
fn an_archive_that_is_cut_or_another_is_written_anew() {
    let (bench, _) = two_stages("zstd");
    let archive = bench.path("out.tar");
    export(&bench, "s", &archive, &[]);
    let whole = std::fs::read(&archive).unwrap();
    for damage in [
        "truncate -s -1 out.tar",
        "echo > out.tar",
        "printf X | dd of=out.tar bs=1 seek=700 conv=notrunc status=none",
    ] {
        sh(&bench.path(""), damage);
        assert_ne!(
            export(&bench, "s", &archive, &[])["bytes_written"],
            0,
            "{damage}"
        );
        assert!(std::fs::read(&archive).unwrap() == whole);
    }
    export(&bench, "s@bootstrap", &archive, &[]);
    assert_eq!(names(&index(&archive)), ["s:bootstrap"]);
}

#[test]
fn a_root_is_recorded_and_exported_in_one_step() {
    let (bench, root) = two_stages("zstd");
    let archive = bench.path("one.tar");
    let step = |path: &Path| {
        let (root, path) = (root.to_str().unwrap(), path.to_str().unwrap());
        bench.json([
            "export",
            "--root",
            root,
            "-o",
            path,
            "--series",
            "s",
            "--profile",
            "plain",
            "--stage",
            "built",
        ])
    };
    let first = step(&archive);
    assert_eq!(
        (first["stage"].as_str(), first["id"].as_i64()),
        (Some("built"), Some(3))
    );
    assert!(first["seconds"]["export"].is_number() && first["seconds"]["scan"].is_number());
    let again = step(&archive);
    assert_eq!(
        (
            again["bytes_written"].as_u64(),
            again["files_read"].as_u64()
        ),
        (Some(0), Some(0))
    );
}

#[test]
fn the_output_has_the_mode_that_the_umask_gives() {
    let (bench, _) = two_stages("zstd");
    let script = format!(
        "umask 027; {0} --store {1} -q export s -o {2}; {0} --store {1} -q export s -o {3} --format oci-dir",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        bench.path("a.tar").display(),
        bench.path("layout").display()
    );
    sh(&bench.path(""), &script);
    for (name, mode) in [
        ("a.tar", 0o640),
        ("layout", 0o750),
        ("layout/index.json", 0o640),
        ("layout/blobs/sha256", 0o750),
    ] {
        assert_eq!(
            bench.path(name).metadata().unwrap().mode() & 0o777,
            mode,
            "{name}"
        );
    }
}
