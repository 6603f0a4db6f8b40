//! The store over several runs and processes: runs and stages, reuse, compressions, killed runs, defaults.

use crate::common::{Bench, layers, one_error, sh, succeeds};
use crate::shared::store::bench;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn stages_follow_one_another_in_a_run() {
    let (bench, root) = bench();
    let run = |more: &str| {
        let snapshot = bench.snapshot(&root, &format!("--profile plain {more}"));
        (
            snapshot["stage"].as_str().unwrap().to_owned(),
            snapshot["run"].as_str().unwrap().to_owned(),
        )
    };
    let pair = |stage: &str, run: &str| (stage.to_owned(), run.to_owned());
    assert_eq!(run("--run x"), pair("bootstrap", "x"));
    assert_eq!(run("--run x"), pair("deps-installed", "x"));
    assert_eq!(run("--run x"), pair("built", "x"));
    assert!(
        bench
            .fails(
                2,
                [
                    "snapshot",
                    root.to_str().unwrap(),
                    "--series",
                    "s",
                    "--run",
                    "x"
                ]
            )
            .contains("--stage")
    );
    // Without a run: a first stage begins one, a later stage joins the newest that lacks it.
    assert_eq!(run(""), pair("bootstrap", "r4"));
    assert_eq!(run("--stage deps-installed"), pair("deps-installed", "r4"));
    assert_eq!(run("--stage deps-installed"), pair("deps-installed", "r6"));
}

#[test]
fn a_series_is_named_after_the_mock_directory() {
    let bench = Bench::new();
    let root = bench.make("fedora-rawhide-x86_64/root");
    let plain = bench.make("my tree");
    assert_eq!(
        bench.json(["snapshot", root.to_str().unwrap()])["series"],
        "fedora-rawhide-x86_64"
    );
    assert_eq!(
        bench.json(["snapshot", plain.to_str().unwrap()])["series"],
        "my-tree"
    );
    assert!(
        bench
            .fails(2, ["snapshot", bench.make("12").to_str().unwrap()])
            .contains("--series")
    );
}

#[test]
fn snapshots_are_found_by_series_stage_and_how_far_back() {
    let (bench, root) = bench();
    for _ in 0..3 {
        bench.snapshot(&root, "--profile plain --stage bootstrap");
        bench.snapshot(&root, "--profile plain --stage next");
    }
    for (reference, id) in [
        ("s", 6),
        ("s~1", 4),
        ("s~", 4),
        ("s@bootstrap", 5),
        ("s@bootstrap~2", 1),
        ("4", 4),
        ("s@next~1", 4),
    ] {
        assert_eq!(bench.json(["show", reference])["id"], id, "{reference}");
    }
    assert_eq!(bench.ids(), [6, 5, 4, 3, 2, 1]);
}

#[test]
fn a_stage_without_one_before_it_is_planned_over_the_newest_first_stage() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain --run one");
    sh(&root, "echo dep > dep; touch -d @5 dep .");
    let first = bench.snapshot(&root, "--profile plain --run one --stage deps-installed");
    // A chroot that was not cleaned has no first stage of its own.
    let second = bench.snapshot(&root, "--profile plain --run two --stage deps-installed");
    assert_eq!(layers(&second), ["base reused", "delta reused"]);
    assert_eq!(second["manifest_digest"], first["manifest_digest"]);
}

#[test]
fn a_parent_under_another_policy_is_not_built_upon() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain --run one");
    let other = bench.snapshot(
        &root,
        "--profile plain --run one --stage next --mtime fixed",
    );
    assert_eq!(layers(&other), ["base new"]);
    let root = root.to_str().unwrap();
    let error = bench.fails(
        2,
        [
            "snapshot",
            root,
            "--series",
            "s",
            "--profile",
            "plain",
            "--mtime",
            "fixed",
            "--parent",
            "1",
        ],
    );
    assert!(error.contains("policy"), "{error}");
}

#[test]
fn two_stores_that_never_met_have_the_same_layers() {
    let ((one, root), (two, _)) = (bench(), bench());
    let copy = two.make("copy");
    sh(
        &root,
        &format!(
            "tar -cf - . | tar -C {} -xpf -; touch -r . {0}",
            copy.display()
        ),
    );
    let digests = |snapshot: &Value| {
        let layers = snapshot["layers"].as_array().unwrap().iter();
        layers
            .map(|l| (l["diff_id"].clone(), l["digest"].clone()))
            .collect::<Vec<_>>()
    };
    for compression in ["zstd", "gzip:9", "none"] {
        let options = format!("--profile plain --stage bootstrap --compression {compression}");
        let (a, b) = (
            one.snapshot(&root, &options),
            two.snapshot(&copy, &format!("{options} --threads 1")),
        );
        assert_eq!(digests(&a), digests(&b));
        assert_eq!(a["manifest_digest"], b["manifest_digest"]);
    }
}

#[test]
fn an_earlier_stage_again_is_planned_over_the_one_before_it() {
    let (bench, root) = bench();
    for stage in ["bootstrap", "deps-installed", "built"] {
        sh(
            &root,
            &format!("echo {stage} > {stage}; touch -d @5 {stage} ."),
        );
        bench.snapshot(&root, &format!("--profile plain --run x --stage {stage}"));
    }
    sh(&root, "rm built; touch -d @5 .");
    let again = bench.snapshot(&root, "--profile plain --run x --stage deps-installed");
    assert_eq!(layers(&again), ["base reused", "delta reused"]);
}

#[test]
fn a_base_is_of_its_own_stage() {
    let (bench, root) = bench();
    sh(&root, "echo dep > dep");
    bench.snapshot(&root, "--profile plain --stage deps-installed");
    sh(&root, "rm dep");
    assert_eq!(
        layers(&bench.snapshot(&root, "--profile plain --stage bootstrap")),
        ["base new"]
    );
}

#[test]
fn the_first_use_of_a_store_by_many_at_once_makes_one_store() {
    for _ in 0..8 {
        let (bench, root) = bench();
        let root = root.to_str().unwrap();
        let start = || {
            bench
                .command([
                    "snapshot",
                    root,
                    "--series",
                    "s",
                    "--profile",
                    "plain",
                    "-q",
                ])
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..6).map(|_| start()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(bench.ids().len(), 6);
    }
}

#[test]
fn stamps_that_another_run_has_changed_are_not_claimed() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    // While one run packs, another sees a later state of the same root, stamps it and dies.
    sh(
        &root,
        "for i in $(seq 200); do head -c 300000 /dev/urandom > big$i; done; echo old > a-first",
    );
    let slow = [
        "snapshot",
        root.to_str().unwrap(),
        "--series",
        "s",
        "--profile",
        "plain",
        "-q",
        "--compression",
        "gzip:9",
    ];
    let mut first = bench
        .command(slow)
        .args(["--threads", "1", "--stage", "bootstrap"])
        .spawn()
        .unwrap();
    let database = bench.store().join("rootstrata.sqlite");
    let generation = || -> i64 {
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection
            .query_row("SELECT generation FROM root", [], |row| row.get(0))
            .unwrap()
    };
    while generation() < 2 {
        assert!(first.try_wait().unwrap().is_none());
    }
    sh(&root, "echo new > z-last");
    let mut second = bench
        .command(slow)
        .args(["--stage", "bootstrap"])
        .spawn()
        .unwrap();
    while generation() < 3 {
        assert!(second.try_wait().unwrap().is_none());
    }
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(first.wait().unwrap().success());
    assert!(
        bench
            .command(["ls", "s", "z-last"])
            .output()
            .unwrap()
            .status
            .code()
            == Some(2),
        "the first run came before"
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(
        bench.json(["ls", "s", "z-last"])["entries"][0]["size_bytes"],
        4
    );
}

#[test]
fn what_a_killed_run_left_is_cleaned_by_the_next() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain");
    sh(
        &bench.store(),
        "echo half > tmp/blob-x; mkdir tmp/scratch-y; echo half > tmp/scratch-y/rpmdb.sqlite",
    );
    bench.snapshot(&root, "--profile plain");
    assert_eq!(
        std::fs::read_dir(bench.store().join("tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn stamps_may_be_dropped_at_any_time() {
    let (bench, root) = bench();
    let first = bench.snapshot(&root, "--profile plain --stage bootstrap");
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    database
        .execute_batch("DELETE FROM stamp; DELETE FROM root")
        .unwrap();
    let again = bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(
        (again["files_read"].as_u64(), layers(&again)),
        (Some(20), vec!["base reused".to_owned()])
    );
    assert_eq!(again["manifest_digest"], first["manifest_digest"]);
}

#[test]
fn quiet_says_nothing_and_stats_go_to_stderr() {
    let (bench, root) = bench();
    let root = root.to_str().unwrap();
    let quiet = bench
        .command(["snapshot", root, "--series", "s", "-q"])
        .output()
        .unwrap();
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty());
    let stats = bench
        .command(["snapshot", root, "--series", "s", "--stats", "--json"])
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(json["version"], 1);
    assert!(json["seconds"]["scan"].is_number());
    let text = crate::common::text(&stats.stderr);
    assert!(
        text.contains("scan") && text.contains("0 files, 0 bytes"),
        "{text}"
    );
}

/// What follows from the files of a root is read of more roots since format 13: a root that was recorded before is no more what its
/// stamps say it is.
#[test]
fn roots_that_older_formats_have_recorded_are_read_again() {
    for format in [5, 12] {
        let bench = Bench::new();
        let fixture = format!("fixtures/stores/format-{format}.tar.gz");
        let fixture = Path::new(crate::common::REPOSITORY).join(fixture);
        sh(&bench.path(""), &format!("tar -xzf {}", fixture.display()));
        let stamps_of = |table: &str| -> i64 {
            let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite"));
            let query = format!("SELECT count(*) FROM {table}");
            database
                .unwrap()
                .query_row(&query, [], |row| row.get(0))
                .unwrap()
        };
        assert_ne!(["root", "stamp"].map(stamps_of), [0, 0], "{format}");
        let store = rootstrata::store::Store::open(&bench.store()).unwrap();
        assert_eq!(store.roots().unwrap().len(), 0, "{format}");
        assert!(store.snapshots(None).unwrap().len() > 1);
        assert_eq!(["stamp", "newer_stamp"].map(stamps_of), [0, 0], "{format}");
    }
}

/// The same command, for which the modes of files count also where it runs as root.
fn bound_by_modes(command: &Command) -> Command {
    let mut bound = Command::new(command.get_program());
    if sh(Path::new("/"), "id -u").trim() == "0" {
        let rights = "-dac_override,-dac_read_search";
        bound = Command::new("setpriv");
        bound.args(["--bounding-set", rights, "--inh-caps", rights]);
        bound.arg(command.get_program());
    }
    bound.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

#[test]
fn a_blob_that_cannot_be_asked_for_is_an_error_and_no_absence() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let [root, archive, other, copy] = [
        root,
        bench.path("a.tar"),
        bench.path("b.tar"),
        bench.path("copy"),
    ]
    .map(|path| path.to_str().unwrap().to_owned());
    succeeds(&mut bench.command(["export", "s", "-q", "-o", &archive]));
    sh(&bench.store(), "chmod 0 blobs/sha256");
    let again = "--series s --profile plain --stage bootstrap";
    let commands = [
        format!("snapshot {root} {again}"),
        format!("snapshot {root} {again} --compression gzip"),
        "cat s /d/1".to_owned(),
        format!("export s -o {other}"),
        format!("restore s {copy}"),
        "verify".to_owned(),
        "verify --deep".to_owned(),
        "find --sha256 0000000000000000000000000000000000000000000000000000000000000000 --read-layers"
            .to_owned(),
        format!("import oci-archive:{archive} --series t"),
    ];
    for command in commands {
        let bound = &mut bound_by_modes(bench.command(command.split(' ')).arg("-q"));
        let error = one_error(bound.output().unwrap(), 2);
        let blobs = format!(" {}/blobs/sha256", bench.store().display());
        let is_told = error.contains("Permission denied") && error.contains(&blobs);
        assert!(is_told, "{command}: {error}");
    }
    // Nor does a snapshot pack a layer again whose blob is there.
    sh(
        &bench.store(),
        "chmod 755 blobs/sha256; chmod 0 blobs/sha256/*",
    );
    let again = format!("snapshot {root} {again} -q");
    let bound = &mut bound_by_modes(&bench.command(again.split(' ')));
    let error = one_error(bound.output().unwrap(), 2);
    assert!(error.starts_with("cannot open"), "{error}");
    assert_eq!(bench.ids(), [1]);
}

#[test]
fn the_build_is_in_the_stage_built_alone() {
    let (bench, root) = bench();
    sh(
        &root,
        "mkdir -p builddir/build; echo half > builddir/build/half-built",
    );
    let lists = |snapshot: &str| {
        bench
            .command(["ls", snapshot, "/builddir/build/half-built"])
            .output()
            .unwrap()
            .status
    };
    for stage in ["bootstrap", "deps-installed", "built"] {
        bench.snapshot(&root, &format!("--profile mock --run a --stage {stage}"));
        assert_eq!(lists("s").success(), stage == "built", "{stage}");
    }
    // The next build of the same packages has the same layers, and nothing of the last one's build.
    for stage in ["bootstrap", "deps-installed"] {
        let next = bench.snapshot(&root, &format!("--profile mock --run b --stage {stage}"));
        assert!(
            layers(&next).iter().all(|layer| layer.ends_with("reused")),
            "{:?}",
            layers(&next)
        );
        assert!(!lists("s").success());
    }
}
