//! A tree with all that a layer can hold, as umoci, podman, containerd and GNU tar unpack it and as it is restored: each gives the root,
//! but for what docs/reliability.md says of it.

use crate::common::{Bench, REPOSITORY, assert_same_tree, layer, listed, name_of, sh, succeeds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

type Tree = BTreeMap<String, Value>;

const TREE: &str = r"
    chmod 750 .; mkdir -p d/e; chmod 2775 d; chmod 1777 d/e; chown 12:34 d/e
    echo x > f; chmod 4711 f; echo y > owned; chown 2097152:3000000000 owned
    long=$(printf 'n%.0s' $(seq 200)); mkdir $long; echo long > $long/$long
    echo new > $'new\nline'; echo bytes > $'\xff\xfe'; echo back > 'back\slash'; echo q > -dash
    ln f d/linked; ln -s ../f d/link; ln d/link d/linked-link; mkfifo p; ln p q; mknod c c 5 1; mknod b b 7 300; ln c d/c
    setfattr -n user.note -v kept f d; setfattr -n user.empty f; setfattr -n user.bytes -v 0x0a00ff3d0a owned
    setfacl -m u:7:rx,d:g:8:rwx d; setcap cap_net_raw=ep owned
    truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
    find . -depth -exec touch -h -d @1000000000.7 {} +
    echo e > early; touch -d @-1.5 early; echo l > late; touch -d @9000000000 late; echo z > zero; touch -d @0 zero
    touch -d @1000000000 .";

/// Every kind of change: removed, replaced by another type, linked anew, in a directory that stays.
const CHANGE: &str = r"
    rm -r d/e p $'new\nline'; mkdir p; echo in > p/in; ln -sfn f zero; rm c; mkdir c; echo n > d/n; ln f again
    find p c d/n -exec touch -h -d @1000000001.9 {} +; touch -d @1000000000 d .";

/// A store with the tree and its change as `s@next`, and the root.
fn recorded(options: &str) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, TREE);
    bench.snapshot(
        &root,
        &format!("--profile plain --stage bootstrap {options}"),
    );
    sh(&root, CHANGE);
    let next = bench.snapshot(&root, &format!("--profile plain --stage next {options}"));
    assert!(layer(&next, "delta")["whiteouts"].as_u64().unwrap() >= 2);
    (bench, root)
}

/// The tree as it is restored, which is the root.
fn restored(bench: &Bench, root: &Path) -> Tree {
    let to = bench.path("restored");
    bench.json(["restore", "s@next", to.to_str().unwrap()]);
    let tree = listed(&to);
    assert_same_tree(&tree, &listed(root));
    tree
}

/// What a reader may make of a tree in another way.
#[derive(Clone, Copy, PartialEq)]
enum Difference {
    /// Owner, mode and time of `/` are its own.
    Root,
    /// Times before 1970 become 1970.
    EarlyTimes,
    /// Attributes with an empty value are left out.
    EmptyAttributes,
    /// What is made in a directory with a default ACL gets that in addition to its own attributes.
    DefaultAcls,
}

/// Wants the two trees to be equal, but for these differences.
fn assert_equal_but(mut found: Tree, mut expected: Tree, differences: &[Difference]) {
    let inherited: Vec<String> = expected
        .keys()
        .filter(|path| path.starts_with("/d/"))
        .cloned()
        .collect();
    let groups: Vec<Value> = inherited
        .iter()
        .map(|path| expected[path]["hardlink_group"].clone())
        .collect();
    for tree in [&mut found, &mut expected] {
        for difference in differences {
            match difference {
                Difference::Root => drop(tree.remove("/")),
                Difference::EarlyTimes => {
                    let early = tree
                        .values_mut()
                        .filter(|entry| entry["mtime"].as_i64() < Some(0));
                    early.for_each(|entry| entry["mtime"] = json!(0));
                }
                Difference::EmptyAttributes => {
                    tree.values_mut()
                        .for_each(|entry| without(entry, |_, value| value == ""));
                }
                Difference::DefaultAcls => {
                    // Also by their other names.
                    let is_in = |entry: &Value| {
                        groups.contains(&entry["hardlink_group"])
                            && !entry["hardlink_group"].is_null()
                    };
                    for (path, entry) in tree.iter_mut() {
                        if inherited.contains(path) || is_in(entry) {
                            without(entry, |name, _| name.starts_with("system.posix_acl_"));
                        }
                    }
                }
            }
        }
    }
    assert_same_tree(&found, &expected);
}

/// Removes the attributes for which `is_out`.
fn without(entry: &mut Value, is_out: impl Fn(&str, &Value) -> bool) {
    entry["xattrs"]
        .as_object_mut()
        .unwrap()
        .retain(|name, value| !is_out(name, value));
}

#[test]
fn umoci_gives_the_tree() {
    let (bench, root) = recorded("--compression gzip");
    assert_equal_but(
        bench.unpacked("s@next"),
        restored(&bench, &root),
        &[Difference::EmptyAttributes],
    );
}

#[test]
fn gnu_tar_gives_the_tree() {
    for (compression, reader) in [("gzip", "gzip"), ("zstd", "zstd"), ("none", "cat")] {
        let (bench, root) = recorded(&format!("--compression {compression}"));
        let shown = bench.json(["show", "s@next"]);
        let unpacked = bench.make("unpacked");
        for role in ["base", "delta"] {
            let digest = layer(&shown, role)["digest"]
                .as_str()
                .unwrap()
                .replace("sha256:", "");
            let read = if reader == "cat" {
                "cat"
            } else {
                &format!("{reader} -qdc")
            };
            let script = format!(
                "{read} {}/blobs/sha256/{digest} > ../layer.tar
                 python3 - <<'END'
import os, shutil, tarfile
for member in tarfile.open('../layer.tar', errors='surrogateescape'):
    directory, name = os.path.split(member.name)
    if name.startswith('.wh.'):
        gone = os.path.join(directory, name[4:])
        shutil.rmtree(gone) if os.path.isdir(gone) and not os.path.islink(gone) else os.remove(gone)
END
                 tar -xpf ../layer.tar --warning=no-timestamp --numeric-owner --xattrs --xattrs-include='*' --exclude='.wh.*'",
                bench.store().display()
            );
            sh(&unpacked, &script);
        }
        assert_equal_but(listed(&unpacked), restored(&bench, &root), &[]);
    }
}

/// Exports the image, runs a script that unpacks `image.tar` where the engines work and leaves `list`, and returns the tree of
/// that.
fn unpacked_by(bench: &Bench, script: &str) -> Tree {
    let archive = bench.path("image.tar");
    bench.json(["export", "s@next", "-o", archive.to_str().unwrap()]);
    let repository = Path::new(REPOSITORY);
    let mut engines = Command::new(repository.join("fixtures/engines/run"));
    engines
        .args(["bash", "-euc", script, "engines"])
        .arg(repository.join("fixtures/list_tree.py"));
    succeeds(engines.current_dir(bench.path("")));
    let list = std::fs::read_to_string(bench.path("list")).unwrap();
    let entries = list
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.map(|entry| (name_of(&entry), entry)).collect()
}

#[test]
fn podman_gives_the_tree() {
    for compression in ["gzip", "zstd", "none"] {
        let (bench, root) = recorded(&format!("--compression {compression}"));
        let script = "id=$(podman pull -q oci-archive:image.tar); mounted=$(podman image mount $id)
            python3 $1 --sha256 $mounted > list; podman image umount $id > umounted; podman rmi -f $id > removed";
        let found = unpacked_by(&bench, script);
        let differences = [
            Difference::Root,
            Difference::EarlyTimes,
            Difference::EmptyAttributes,
            Difference::DefaultAcls,
        ];
        assert_equal_but(found, restored(&bench, &root), &differences);
    }
}

#[test]
fn containerd_gives_the_tree() {
    for compression in ["gzip", "zstd", "none"] {
        let (bench, root) = recorded(&format!("--compression {compression}"));
        // A daemon of its own, which is gone when the script ends.
        let script = r#"here=$PWD/containerd; mkdir -p "$here" mounted
            printf 'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s/sock"\n' \
                "$here" "$here" "$here" > "$here/config.toml"
            containerd --config "$here/config.toml" > "$here/log" 2>&1 &
            daemon=$!; trap 'kill $daemon; wait $daemon || :' EXIT
            ctr() { command ctr --address "$here/sock" "$@"; }
            until ctr version > "$here/version" 2>&1; do kill -0 $daemon; done
            ctr images import --digests --base-name rootstrata image.tar > imported
            ctr images mount "$(ctr images ls -q)" "$PWD/mounted" > mount
            python3 "$1" --sha256 mounted > list; umount mounted"#;
        let found = unpacked_by(&bench, script);
        let differences = [
            Difference::Root,
            Difference::EarlyTimes,
            Difference::DefaultAcls,
        ];
        assert_equal_but(found, restored(&bench, &root), &differences);
    }
}

#[test]
fn skopeo_carries_the_image_there_and_back_as_it_is() {
    let (bench, _) = recorded("--compression zstd");
    let archive = bench.path("image.tar");
    let exported = bench.json([
        "export",
        "s@next",
        "-o",
        archive.to_str().unwrap(),
        "--all-stages",
    ]);
    let script = "for stage in bootstrap next; do
             skopeo copy -q --preserve-digests oci-archive:image.tar:s:$stage oci:there:$stage
             skopeo copy -q --preserve-digests oci:there:$stage oci-archive:back-$stage.tar:s:$stage
             skopeo inspect --format '{{.Digest}}' oci-archive:back-$stage.tar:s:$stage
         done";
    let digests = sh(&bench.path(""), script);
    let expected = ["s:bootstrap", "s:next"].map(|name| exported["images"][name].as_str().unwrap());
    assert!(digests.lines().eq(expected), "{digests}");
}
