//! The store over several runs and processes: runs and stages, reuse, compressions, killed runs, defaults.

use crate::common::{Bench, assert_same_tree, layer, layers, listed, rootstrata, sh, succeeds};
use serde_json::Value;
use std::path::PathBuf;

fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir d; for i in $(seq 20); do echo $i > d/$i; done; touch -d @5 d .",
    );
    (bench, root)
}

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
        ("s~1", 5),
        ("s~", 5),
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
fn another_compression_is_made_from_the_blob_without_reading_the_root() {
    let (bench, root) = bench();
    let zstd = bench.snapshot(&root, "--profile plain --stage bootstrap");
    let gzip = bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression gzip",
    );
    assert_eq!(
        (gzip["files_read"].as_u64(), layers(&gzip)),
        (Some(0), vec!["base reused".to_owned()])
    );
    assert_eq!(
        layer(&zstd, "base")["diff_id"],
        layer(&gzip, "base")["diff_id"]
    );
    assert_ne!(
        layer(&zstd, "base")["digest"],
        layer(&gzip, "base")["digest"]
    );
    assert_same_tree(&bench.unpacked("s"), &listed(&root));
    // And back: the first blob is still there.
    let again = bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(again["manifest_digest"], zstd["manifest_digest"]);
}

#[test]
fn a_lost_blob_is_named_by_an_export_and_made_again_by_a_snapshot() {
    let (bench, root) = bench();
    let snapshot = bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression gzip",
    );
    let digest = layer(&snapshot, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let blob = bench.store().join("blobs/sha256").join(&digest);
    for damage in ["rm", "truncate -s -1"] {
        sh(&root, &format!("{damage} {}", blob.display()));
        let out = bench.path("out.tar");
        let error = bench.fails(2, ["export", "s", "-o", out.to_str().unwrap()]);
        assert!(error.contains(&digest), "{error}");
        assert!(!out.exists());
        let again = bench.snapshot(
            &root,
            "--profile plain --stage bootstrap --compression gzip",
        );
        assert_eq!(
            layer(&again, "base")["digest"],
            layer(&snapshot, "base")["digest"]
        );
        assert_same_tree(&bench.unpacked("s"), &listed(&root));
    }
}

#[test]
fn every_lost_blob_of_an_image_is_made_again() {
    let (bench, root) = bench();
    let options = "--profile plain --stage bootstrap --compression gzip";
    let first = bench.snapshot(&root, options);
    for blob in std::fs::read_dir(bench.store().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        std::fs::remove_file(&blob).unwrap();
        let again = bench.snapshot(&root, options);
        assert_eq!(again["manifest_digest"], first["manifest_digest"]);
        assert!(blob.exists(), "{}", blob.display());
    }
    // Also where the root has changed, so that the lost base would lie below.
    let digest = layer(&first, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    std::fs::remove_file(bench.store().join("blobs/sha256").join(digest)).unwrap();
    sh(&root, "echo more > more");
    assert_eq!(layers(&bench.snapshot(&root, options)), ["base new"]);
    assert_same_tree(&bench.unpacked("s"), &listed(&root));
}

#[test]
fn two_policies_that_give_the_same_bytes_keep_their_layers_apart() {
    let (bench, root) = bench();
    let other = "--profile plain --exclude nothing-has-this-name --compression gzip";
    let plain = bench.snapshot(&root, "--profile plain --compression gzip");
    let first = bench.snapshot(&root, &format!("{other} --stage bootstrap"));
    assert_eq!(
        layer(&plain, "base")["digest"],
        layer(&first, "base")["digest"]
    );
    assert_ne!(layer(&plain, "base")["key"], layer(&first, "base")["key"]);
    sh(&root, "echo more > more; touch -d @5 .");
    assert_eq!(
        layers(&bench.snapshot(&root, &format!("{other} --stage bootstrap"))),
        ["base reused", "update new"]
    );
    assert_same_tree(&bench.unpacked("s"), &listed(&root));
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
fn many_writers_share_a_store_and_lose_nothing() {
    let bench = Bench::new();
    let roots: Vec<PathBuf> = (0..8)
        .map(|n| {
            let root = bench.make(&format!("root{n}"));
            sh(
                &root,
                &format!("for i in $(seq 200); do echo same$i > same$i; done; echo {n} > own; touch -d @5 ."),
            );
            root
        })
        .collect();
    for _ in 0..3 {
        let children: Vec<_> = roots
            .iter()
            .enumerate()
            .map(|(n, root)| {
                let series = if n % 2 == 0 {
                    "shared".to_owned()
                } else {
                    format!("own{n}")
                };
                let arguments = [
                    "snapshot",
                    root.to_str().unwrap(),
                    "--series",
                    &series,
                    "--profile",
                    "plain",
                    "-q",
                ];
                bench.command(arguments).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    }
    assert_eq!(bench.ids().len(), 24);
    let index: Value =
        serde_json::from_slice(&std::fs::read(bench.store().join("index.json")).unwrap()).unwrap();
    let name = |manifest: &&Value| {
        manifest["annotations"]["org.opencontainers.image.ref.name"].is_string()
    };
    let names = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(name)
        .count();
    assert_eq!(names, 5);
    for (n, root) in roots.iter().enumerate().filter(|(n, _)| n % 2 == 1) {
        let snapshot = bench.snapshot(
            root,
            &format!("--series own{n} --profile plain --compression gzip"),
        );
        assert_same_tree(&bench.unpacked(&snapshot["id"].to_string()), &listed(root));
    }
}

#[test]
fn the_store_itself_is_an_image_layout_with_every_stage_by_name() {
    let (bench, root) = bench();
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(&root, "echo more > more");
    let newest = bench.snapshot(&root, "--profile plain --stage deps-installed");
    let store = bench.store();
    for stage in ["bootstrap", "deps-installed"] {
        succeeds(
            std::process::Command::new("skopeo")
                .arg("inspect")
                .arg(format!("oci:{}:s:{stage}", store.display())),
        );
    }
    let raw = std::process::Command::new("skopeo")
        .args(["inspect", "--format", "{{.Digest}}"])
        .arg(format!("oci:{}:s:deps-installed", store.display()))
        .output()
        .unwrap();
    assert_eq!(crate::common::text(&raw.stdout).trim(), newest["manifest_digest"]);
}

#[test]
fn the_store_of_a_user_is_where_xdg_says() {
    let (bench, root) = bench();
    let home = bench.make("home");
    let state = bench.make("state");
    sh(&root, "chmod 755 .; chmod 711 ..");
    for directory in [&home, &state] {
        std::os::unix::fs::chown(directory, Some(65534), Some(65534)).unwrap();
    }
    let binary = bench.path("rootstrata");
    std::fs::copy(env!("CARGO_BIN_EXE_rootstrata"), &binary).unwrap();
    let run = |state: Option<&PathBuf>| {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary);
        command
            .env("HOME", &home)
            .env_remove("XDG_STATE_HOME")
            .env_remove("ROOTSTRATA_STORE");
        state.map(|state| command.env("XDG_STATE_HOME", state));
        succeeds(command.args(["snapshot", root.to_str().unwrap(), "--series", "s", "-q"]))
    };
    run(None);
    assert!(home.join(".local/state/rootstrata/index.json").exists());
    run(Some(&state));
    assert!(state.join("rootstrata/index.json").exists());
    let environment = bench.path("environment");
    succeeds(rootstrata().env("ROOTSTRATA_STORE", &environment).args([
        "snapshot",
        root.to_str().unwrap(),
        "-q",
    ]));
    assert!(environment.join("index.json").exists());
}

#[test]
fn listing_shows_what_was_recorded_and_only_what_was_asked_for() {
    let (bench, root) = bench();
    sh(
        &root,
        "echo x > d/x; chmod 4711 d/x; ln -s ../d d/l; mkfifo p",
    );
    bench.snapshot(&root, "--profile plain");
    let all = succeeds(&mut bench.command(["ls", "s"]));
    assert_eq!(all.lines().count(), 25);
    let one = succeeds(&mut bench.command(["ls", "s", "/d/x"]));
    assert!(
        one.starts_with("-rws--x--x  0/0") && one.trim_end().ends_with(" /d/x"),
        "{one}"
    );
    assert!(succeeds(&mut bench.command(["ls", "s", "d"])).contains("/d/l -> ../d"));
    assert_eq!(
        succeeds(&mut bench.command(["ls", "s", "d"]))
            .lines()
            .count(),
        23
    );
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

#[test]
fn stores_of_every_format_open_and_go_on() {
    let (new, root) = bench();
    new.snapshot(&root, "--profile plain");
    let connection = rusqlite::Connection::open(new.store().join("rootstrata.sqlite")).unwrap();
    let newest: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    // Format 1 was never written by a release: both of the first migrations came together.
    for format in 2..=newest {
        let fixture = std::path::Path::new(crate::common::REPOSITORY)
            .join(format!("fixtures/stores/format-{format}"));
        let bench = Bench::new();
        sh(
            &bench.path(""),
            &format!("tar -xzf {}.tar.gz", fixture.display()),
        );
        let expected: Value =
            serde_json::from_slice(&std::fs::read(fixture.with_extension("json")).unwrap())
                .unwrap();
        assert_eq!(bench.json(["ls", "old"]), expected, "format {format}");
        assert_eq!(bench.ids(), [2, 1]);
        let out = bench.path("out.tar");
        bench.json(["export", "old", "-o", out.to_str().unwrap()]);
        succeeds(
            std::process::Command::new("skopeo")
                .arg("inspect")
                .arg(format!("oci-archive:{}", out.display())),
        );
        let next = bench.snapshot(&root, "--series old --profile plain --stage bootstrap");
        assert_eq!((next["id"].as_i64(), bench.ids().len()), (Some(3), 3));
    }
}

#[test]
fn the_stamps_of_format_5_are_kept_with_what_they_are_of() {
    let bench = Bench::new();
    let fixture = std::path::Path::new(crate::common::REPOSITORY).join("fixtures/stores/format-5");
    sh(
        &bench.path(""),
        &format!("tar -xzf {}.tar.gz", fixture.display()),
    );
    let mut store = rootstrata::store::Store::open(&bench.store()).unwrap();
    let root = store.roots().unwrap().remove(0);
    let (stamps, state) = store.stamps(&root).unwrap();
    assert_eq!(state.snapshot_id, Some(2));
    let (mut reader, mut stamped) = (stamps.read(), Vec::new());
    while reader.next().is_some() {
        stamped.push(format!(
            "/{}",
            crate::common::text(reader.key()).replace('\0', "/")
        ));
    }
    let expected: Value =
        serde_json::from_slice(&std::fs::read(fixture.with_extension("json")).unwrap()).unwrap();
    let paths = expected["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap());
    assert_eq!(stamped, paths.collect::<Vec<_>>());
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
