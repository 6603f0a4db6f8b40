//! The store over several runs and processes: runs and stages, reuse, compressions, killed runs, defaults.

use crate::common::{Bench, assert_same_tree, layer, layers, listed, rootstrata, sh, succeeds};
use crate::shared::store::bench;
use serde_json::Value;
use std::path::PathBuf;

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
    assert_eq!(
        crate::common::text(&raw.stdout).trim(),
        newest["manifest_digest"]
    );
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
        // From format 9 on, a third has a layer of a package.
        let recorded = if format < 9 { 2 } else { 3 };
        assert_eq!(bench.ids().len(), recorded);
        if recorded == 3 {
            let shown = bench.json(["show", "packages"]);
            assert_eq!(shown["layers"][1]["label"], "large-1-2.noarch");
        }
        // From format 10 on, layers of an image were joined.
        let joined = bench.json(["du"])["joined_blobs"].clone();
        assert_eq!(joined, u8::from(format >= 10), "format {format}");
        let out = bench.path("out.tar");
        bench.json(["export", "old", "-o", out.to_str().unwrap()]);
        succeeds(
            std::process::Command::new("skopeo")
                .arg("inspect")
                .arg(format!("oci-archive:{}", out.display())),
        );
        let next = bench.snapshot(&root, "--series old --profile plain --stage bootstrap");
        assert_eq!(bench.ids().len(), recorded + 1);
        assert_eq!(next["id"], recorded + 1);
    }
}
