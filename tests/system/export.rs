//! Exports: what an archive and a layout hold, when they are written, and that others read them.

use crate::common::{sh, succeeds};
use crate::shared::export::{export, index, names, two_stages};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn members(archive: &Path) -> Vec<String> {
    succeeds(Command::new("tar").arg("-tf").arg(archive))
        .lines()
        .map(str::to_owned)
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
