//! Files that are not hashed before they are packed, since their layer is sure to be new.

use crate::common::{Bench, assert_same_tree, layers, listed, settle, sh};
use serde_json::Value;
use std::path::{Path, PathBuf};

const FIRST: &str = "--stage bootstrap --profile plain --compression gzip";
const NEXT: &str = "--stage next --profile plain --compression gzip";

/// Nine files that are not empty, of 18 MiB, two of them names of one inode.
const TREE: &str = "mkdir d e; for n in 1 2 3 4; do head -c 4M /dev/zero | tr '\\0' $n > d/$n; done; touch e/empty; \
    head -c 2M /dev/urandom > e/noise; ln e/noise d/noise; echo x > e/x; setfattr -n user.note -v 1 e/x; ln -s x e/l; \
    chmod 4755 d/1; chown 3:4 d/2; touch -d @5 d/3; echo y > e/y";

fn tree(bench: &Bench) -> PathBuf {
    let root = bench.make("root");
    sh(&root, TREE);
    settle(&root);
    root
}

fn read(snapshot: &Value) -> (u64, u64) {
    (
        snapshot["files_read"].as_u64().unwrap(),
        snapshot["bytes_read"].as_u64().unwrap(),
    )
}

fn settled_copy(bench: &Bench, root: &Path) -> PathBuf {
    let copy = bench.path("copy");
    sh(root, &format!("cp -a . {}", copy.display()));
    settle(&copy);
    copy
}

#[test]
fn a_new_tree_is_read_once() {
    let bench = Bench::new();
    let root = tree(&bench);
    let first = bench.snapshot(&root, FIRST);
    assert_eq!(read(&first), (7, (18 << 20) + 4));
    assert_same_tree(&bench.unpacked("s@bootstrap"), &listed(&root));
    let again = bench.snapshot(&root, FIRST);
    assert_eq!(
        (read(&again), layers(&again)),
        ((0, 0), vec!["base reused".to_owned()])
    );
}

#[test]
fn what_a_stage_adds_is_read_once_and_the_rest_not_at_all() {
    let bench = Bench::new();
    let root = tree(&bench);
    bench.snapshot(&root, FIRST);
    sh(
        &root,
        "mkdir new; head -c 17M /dev/urandom > new/a; echo b > new/b; ln new/b new/c; rm e/x; echo longer > e/y",
    );
    settle(&root);
    let next = bench.snapshot(&root, NEXT);
    assert_eq!(read(&next), (3, (17 << 20) + 2 + 7));
    assert_eq!(layers(&next), ["base reused", "delta new"]);
    assert_same_tree(&bench.unpacked("s@next"), &listed(&root));
}

#[test]
fn a_layer_has_the_same_key_whether_its_files_were_hashed_first_or_not() {
    let bench = Bench::new();
    let root = tree(&bench);
    bench.snapshot(&root, FIRST);
    // Nothing tells the copy from the last tree, so its files are hashed first.
    let copy = settled_copy(&bench, &root);
    let hashed = bench.snapshot(&copy, FIRST);
    assert_eq!(
        (read(&hashed).0, layers(&hashed)),
        (7, vec!["base reused".to_owned()])
    ); // two names are one inode
}

#[test]
fn a_tree_that_another_series_has_is_packed_once_more_and_its_layer_is_found() {
    let bench = Bench::new();
    let root = tree(&bench);
    let first = bench.snapshot(&root, FIRST);
    let copy = settled_copy(&bench, &root);
    let other = bench.snapshot(&copy, &format!("{FIRST} --series other"));
    assert_eq!(layers(&other), ["base reused"]);
    assert_eq!(other["manifest_digest"], first["manifest_digest"]);
    let blobs = std::fs::read_dir(bench.store().join("blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(blobs, 3, "a layer, a configuration, a manifest");
}

#[test]
fn a_rewrite_that_keeps_size_and_time_is_told_from_what_lies_below() {
    let bench = Bench::new();
    let root = tree(&bench);
    bench.snapshot(&root, FIRST);
    sh(
        &root,
        "cp -p d/1 ref; tr 1 7 < ref > d/1; touch -r ref d/1; rm ref; head -c 17M /dev/urandom > z",
    );
    settle(&root);
    let next = bench.snapshot(&root, NEXT);
    // d/1 is hashed, for it might be as it was, and then packed.
    assert_eq!(read(&next), (3, (17 << 20) + 2 * (4 << 20)));
    assert_same_tree(&bench.unpacked("s@next"), &listed(&root));
}
