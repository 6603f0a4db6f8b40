//! Layers by package where something is mounted in the root: what the mount hides counts as unchanged.

use crate::common::layers::{Layout, tree_of};
use crate::common::rpmdb::{files, install};
use crate::common::tree::differences;
use crate::common::{Bench, settle, sh};
use serde_json::Value;

const TREE: &str = "mkdir -p usr/bin usr/lib/b opt
    head -c 300000 /dev/urandom > usr/bin/a; head -c 300000 /dev/urandom > usr/lib/b/one; echo mine > opt/mine
    touch -d @700 usr/bin/a usr/lib/b/one";

fn tree(bench: &Bench, snapshot: &Value) -> crate::common::tree::Tree {
    let manifest = snapshot["manifest_digest"].as_str().unwrap();
    tree_of(manifest, &Layout(&bench.store()))
}

#[test]
fn files_of_a_package_below_a_mount_stay_in_its_layer() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, TREE);
    install(
        &root,
        &[
            ("a-1", files(&["/usr/bin/a"])),
            ("b-1", files(&["/usr/lib/b/one"])),
        ],
    );
    settle(&root);
    let record = |stage: &str| {
        let options = format!("--profile mock --layers packages --run r --stage {stage}");
        bench.snapshot(&root, &options)
    };
    let before = record("bootstrap");
    let deps = record("deps-installed");
    sh(&root, "mount -t tmpfs none usr/lib/b");
    let hidden = ["bootstrap", "deps-installed"].map(record);
    sh(&root, "umount usr/lib/b");
    for (hidden, before) in hidden.iter().zip([&before, &deps]) {
        let wrong = differences(&tree(&bench, hidden), &tree(&bench, before));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn a_mount_on_a_directory_of_a_package_does_not_change_its_mode() {
    let chmod = "chmod 711 usr/lib/b";
    for (before_install, before_mount) in [("true", "true"), ("true", chmod), (chmod, "true")] {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, TREE);
        let directories = files(&["/usr", "/usr/lib", "/usr/lib/b"]);
        let packages = [
            ("b-1", files(&["/usr/lib/b/one"])),
            ("filesystem-1", directories),
        ];
        sh(&root, before_install);
        install(&root, &packages);
        sh(&root, before_mount);
        settle(&root);
        let record = |_| bench.snapshot(&root, "--profile mock --layers packages");
        let before = record(0);
        sh(&root, "mount -t tmpfs -o mode=700 none usr/lib/b");
        let hidden = [1, 2].map(record);
        sh(&root, "umount usr/lib/b");
        for hidden in &hidden {
            let wrong = differences(&tree(&bench, hidden), &tree(&bench, &before));
            assert!(
                wrong.is_empty(),
                "{before_install}, {before_mount}: {}",
                wrong.join("\n")
            );
        }
        bench.prints(0, ["-q", "verify", "--deep"]);
    }
}
