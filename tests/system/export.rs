//! Exports: what an archive and a layout hold, when they are written, and that others read them.

use crate::common::{Bench, sh, succeeds};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A store with a run of two stages.
fn two_stages(compression: &str) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir d; for i in $(seq 50); do head -c 5000 /dev/urandom > d/$i; done",
    );
    bench.snapshot(
        &root,
        &format!("--profile plain --stage bootstrap --compression {compression}"),
    );
    sh(&root, "head -c 70000 /dev/urandom > new; rm d/7");
    bench.snapshot(
        &root,
        &format!("--profile plain --stage deps-installed --compression {compression}"),
    );
    (bench, root)
}

fn export(bench: &Bench, snapshot: &str, path: &Path, more: &[&str]) -> Value {
    bench.json([&["export", snapshot, "-o", path.to_str().unwrap()], more].concat())
}

fn members(archive: &Path) -> Vec<String> {
    succeeds(Command::new("tar").arg("-tf").arg(archive))
        .lines()
        .map(str::to_owned)
        .collect()
}

fn index(archive: &Path) -> Value {
    serde_json::from_str(&succeeds(
        Command::new("tar")
            .arg("-xOf")
            .arg(archive)
            .arg("index.json"),
    ))
    .unwrap()
}

fn names(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap().iter();
    manifests
        .map(|m| {
            m["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn an_archive_holds_each_blob_once_and_at_a_block_of_its_own() {
    let (bench, _) = two_stages("zstd");
    let archive = bench.path("out.tar");
    let exported = export(&bench, "s", &archive, &[]);
    assert_eq!(
        exported["bytes_written"].as_u64().unwrap(),
        archive.metadata().unwrap().len()
    );
    let all = members(&archive);
    assert_eq!(all[..2], ["oci-layout", "index.json"]);
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(
        index(&archive)["manifests"][0]["digest"],
        exported["manifest_digest"]
    );
    // Where the content of each blob begins, by a reader that is not ours.
    let script =
        "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]):\n  print(m.name, m.offset_data)";
    for line in succeeds(Command::new("python3").args(["-c", script]).arg(&archive)).lines() {
        let (name, offset) = line.split_once(' ').unwrap();
        assert!(
            !name.starts_with("blobs") || offset.parse::<u64>().unwrap() % 4096 == 0,
            "{line}"
        );
    }
}

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
fn an_archive_is_copied_in_whole_blocks_and_while_the_database_is_closed() {
    let (bench, _) = two_stages("none");
    let (archive, trace) = (bench.path("out.tar"), bench.path("trace"));
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-e",
            "trace=openat,unlink,unlinkat,copy_file_range",
            "-o",
        ])
        .arg(&trace);
    let inner = bench.command(["export", "s", "-o", archive.to_str().unwrap()]);
    succeeds(command.arg(inner.get_program()).args(inner.get_args()));
    let trace = std::fs::read_to_string(trace).unwrap();
    let (before, copying) =
        trace.split_at(trace.find("copy_file_range(").expect("the kernel copies"));
    let opened = |line: &&str| line.contains("openat(") && line.contains("rootstrata.sqlite\"");
    assert_eq!(before.lines().filter(opened).count(), 1, "{before}");
    // SQLite removes its files when it closes the database.
    assert!(before.contains("rootstrata.sqlite-wal\") = 0"), "{before}");
    assert!(!copying.contains("sqlite"), "{copying}");
    let copied = copying
        .lines()
        .filter(|line| line.contains("copy_file_range("));
    let lengths: Vec<u64> = copied
        .map(|line| line.rsplit_once("= ").unwrap().1.trim().parse().unwrap())
        .collect();
    assert!(lengths.iter().sum::<u64>() > 250_000, "{lengths:?}");
    assert!(
        lengths.iter().all(|length| length % 4096 == 0),
        "{lengths:?}"
    );
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
fn all_stages_are_images_of_one_archive_that_share_blobs() {
    let (bench, root) = two_stages("zstd");
    let archive = bench.path("out.tar");
    let exported = export(&bench, "s", &archive, &["--all-stages"]);
    assert_eq!(names(&index(&archive)), ["s:bootstrap", "s:deps-installed"]);
    assert_eq!(
        exported["images"]["s:deps-installed"],
        exported["manifest_digest"]
    );
    // layout, index, two manifests, two configurations, a base and a delta
    assert_eq!(members(&archive).len(), 8);
    for name in ["s:bootstrap", "s:deps-installed"] {
        succeeds(
            Command::new("skopeo")
                .arg("inspect")
                .arg(format!("oci-archive:{}:{name}", archive.display())),
        );
    }
    // Only the stages of this run.
    sh(&root, "echo x > x");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(
        names(&{
            export(&bench, "s", &archive, &["--all-stages"]);
            index(&archive)
        }),
        ["s:bootstrap"]
    );
}

#[test]
fn a_thin_archive_has_only_what_the_other_snapshot_lacks() {
    let (bench, _) = two_stages("zstd");
    let (thin, full) = (bench.path("thin.tar"), bench.path("full.tar"));
    export(&bench, "s@bootstrap", &full, &[]);
    let exported = export(&bench, "s", &thin, &["--since", "s@bootstrap"]);
    let delta = crate::common::layer(&exported, "delta")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "blobs/sha256/");
    let base = crate::common::layer(&exported, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "blobs/sha256/");
    let (in_thin, in_full) = (members(&thin), members(&full));
    assert!(in_thin.contains(&delta) && !in_thin.contains(&base) && in_full.contains(&base));
    // Both in one place are the whole image.
    let place = bench.make("place");
    sh(&place, "tar -xf ../full.tar; tar -xf ../thin.tar");
    succeeds(
        Command::new("skopeo")
            .args(["copy", "-q"])
            .arg(format!("oci:{}:s:deps-installed", place.display()))
            .arg(format!("oci:{}:x", bench.path("copied").display())),
    );
}

#[test]
fn a_layout_takes_images_beside_others_and_keeps_them() {
    let (bench, _) = two_stages("zstd");
    let layout = bench.path("layout");
    let first = export(&bench, "s@bootstrap", &layout, &["--format", "oci-dir"]);
    assert!(first["bytes_written"].as_u64().unwrap() > 0);
    assert_eq!(
        export(&bench, "s@bootstrap", &layout, &["--format", "oci-dir"])["bytes_written"],
        0
    );
    export(&bench, "s", &layout, &["--format", "oci-dir"]);
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(names(&index), ["s:bootstrap", "s:deps-installed"]);
    for name in names(&index) {
        succeeds(
            Command::new("skopeo")
                .arg("inspect")
                .arg(format!("oci:{}:{name}", layout.display())),
        );
    }
    let empty = bench.make("empty");
    export(&bench, "s", &empty, &["--format", "oci-dir"]);
    assert!(empty.join("index.json").exists());
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

#[test]
fn digests_survive_a_round_trip_through_skopeo() {
    for compression in ["zstd", "gzip", "none"] {
        let (bench, _) = two_stages(compression);
        let archive = bench.path("out.tar");
        let exported = export(&bench, "s", &archive, &[]);
        let script = "skopeo copy -q --preserve-digests oci-archive:out.tar oci:there:x
                      skopeo copy -q --preserve-digests oci:there:x oci-archive:back.tar
                      skopeo inspect --format '{{.Digest}}' oci-archive:back.tar";
        assert_eq!(
            sh(&bench.path(""), script).trim(),
            exported["manifest_digest"],
            "{compression}"
        );
    }
}
