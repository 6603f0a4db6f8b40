//! Exports of real rpm chroots, as umoci, podman, skopeo and GNU tar take them: each gives the recorded tree.
//!
//! The chroots are those of `fixtures/chroots/make OUT small`, in `ROOTSTRATA_CHROOTS`. Nothing here writes to them.

use crate::common::{Bench, REPOSITORY, assert_same_tree, layers, listed, name_of, sh, succeeds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

type Tree = BTreeMap<String, Value>;

fn chroot(name: &str) -> PathBuf {
    let all = std::env::var_os("ROOTSTRATA_CHROOTS")
        .expect("ROOTSTRATA_CHROOTS is not set: scripts/test sets it to what fixtures/chroots/make has made");
    let path = Path::new(&all).join(name);
    path.canonicalize()
        .unwrap_or_else(|e| panic!("{}: {e}; see fixtures/chroots/make", path.display()))
}

/// Few packages have layers: what an engine makes of many is measured, and tests nothing more.
const FEW_PACKAGES: &str = "--layers packages:6";

/// Records two runs of two stages in the series `s` or that of `more`, the second run a day later, so that its last
/// image has a layer of each kind. Returns each snapshot with its chroot.
fn two_days(bench: &Bench, more: &str) -> [(Value, PathBuf); 4] {
    let stages = [
        ("boot-day0", "bootstrap"),
        ("deps-day0", "deps-installed"),
        ("boot-day1", "bootstrap"),
        ("deps-day1", "deps-installed"),
    ];
    stages.map(|(name, stage)| {
        let root = chroot(name);
        (
            bench.snapshot(&root, &format!("--stage {stage} {more}")),
            root,
        )
    })
}

/// The tree that a snapshot recorded. Engines are listed with SHA-256, so each path gets that of its file in the root.
fn recorded(bench: &Bench, snapshot: &Value, root: &Path) -> Tree {
    let mut on_disk = listed(root);
    let listing = bench.json(["ls", &id(snapshot)]);
    let entries = listing["entries"].as_array().unwrap().iter().map(|entry| {
        let (path, mut entry) = (name_of(entry), entry.clone());
        if entry.as_object_mut().unwrap().remove("blake3").is_some() {
            entry["sha256"] = on_disk.get_mut(&path).unwrap()["sha256"].take();
        }
        if entry["xattrs"].is_null() {
            entry["xattrs"] = json!({});
        }
        (path, entry)
    });
    entries.collect()
}

/// The tree that a snapshot is restored to.
fn restored(bench: &Bench, snapshot: &Value) -> Tree {
    let to = bench.path(format!("restored-{}", id(snapshot)));
    bench.json(["restore", &id(snapshot), to.to_str().unwrap()]);
    listed(&to)
}

fn id(snapshot: &Value) -> String {
    snapshot["id"].to_string()
}

fn export(bench: &Bench, snapshot: &str, file: &str, more: &[&str]) -> Value {
    let path = bench.path(file);
    bench.json([&["export", snapshot, "-o", path.to_str().unwrap()], more].concat())
}

#[test]
fn umoci_unpacks_the_recorded_tree() {
    let bench = Bench::new();
    // The last has layers of both stages and days; umoci syncs each file.
    let [.., (snapshot, root)] = two_days(&bench, &format!("--compression gzip {FEW_PACKAGES}"));
    let unpacked = bench.unpacked(&id(&snapshot));
    assert_same_tree(&unpacked, &recorded(&bench, &snapshot, &root));
    assert_same_tree(&restored(&bench, &snapshot), &unpacked);
}

#[test]
fn gnu_tar_unpacks_the_recorded_tree_layer_by_layer() {
    let bench = Bench::new();
    let [.., (snapshot, chroot)] = two_days(&bench, "--layers stages");
    let roles: Vec<String> = layers(&snapshot)
        .iter()
        .map(|l| l.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(roles, ["base", "update", "delta", "update", "state"]);
    let root = bench.make("root");
    for layer in snapshot["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap().replace("sha256:", "");
        let script = format!(
            "zstd -qdc {}/blobs/sha256/{digest} > ../layer.tar
             tar -tf ../layer.tar --quoting-style=literal |
                 sed -n 's:\\(^\\|/\\)\\.wh\\.\\([^/]*\\)$:\\1\\2:p' | xargs -rd '\\n' rm -r --
             tar -xpf ../layer.tar --numeric-owner --xattrs --xattrs-include='*' --exclude='.wh.*'",
            bench.store().display()
        );
        sh(&root, &script);
    }
    assert_same_tree(&listed(&root), &recorded(&bench, &snapshot, &chroot));
}

#[test]
fn skopeo_carries_images_around_with_their_digests() {
    let bench = Bench::new();
    let [.., (last, _)] = two_days(&bench, "");
    export(&bench, "s", "all.tar", &["--all-stages"]);
    let script =
        "skopeo copy -q --preserve-digests oci-archive:all.tar:s:deps-installed oci:there:x
                  skopeo copy -q --preserve-digests oci:there:x oci-archive:back.tar:y
                  skopeo inspect --format '{{.Digest}}' oci-archive:back.tar:y";
    assert_eq!(sh(&bench.path(""), script).trim(), last["manifest_digest"]);
    // The store itself is a layout too.
    let script = "skopeo inspect --format '{{.Digest}}' oci:store:s:deps-installed";
    assert_eq!(sh(&bench.path(""), script).trim(), last["manifest_digest"]);
}

/// Moves the last package of a root's rpm database into the write-ahead log alone, where a transaction that was just
/// made is.
const LEAVE_A_LIVE_LOG: &str = "
import os, sqlite3
database = sqlite3.connect('var/lib/rpm/rpmdb.sqlite', isolation_level=None)
row = database.execute('select hnum, blob from Packages order by hnum desc limit 1').fetchone()
database.execute('delete from Packages where hnum = ?', row[:1])
database.execute('pragma wal_checkpoint(truncate)')
database.execute('insert into Packages (hnum, blob) values (?, ?)', row)
os._exit(0)
";

/// Takes the images that are its arguments out of their archives, by name, and leaves what they hold and say in files
/// that begin with that argument: one run for all, since what it mounts can be seen in it alone.
const PODMAN: &str = r#"
lister=$1; shift
for image; do
    id=$(podman pull -q "oci-archive:$image")
    podman image mount "$id" > mounted
    python3 "$lister" --sha256 "$(cat mounted)" > "$image.list"
    podman image umount "$id" > umounted
    podman run --rm --network=none "$id" rpmbuild --version > "$image.rpm"
    podman run --rm --network=none "$id" rpm -qa >> "$image.rpm"
    echo "$id" >> made
done
podman load -q -i one.tar > loaded
sort -u made | xargs podman rmi -f > removed
"#;

#[test]
fn podman_shows_the_recorded_tree_and_runs_it() {
    let bench = Bench::new();
    let days = two_days(&bench, &format!("--series engines {FEW_PACKAGES}"));
    export(&bench, &id(&days[1].0), "one.tar", &[]);
    export(&bench, &id(&days[1].0), "day0.tar", &["--all-stages"]);
    export(&bench, &id(&days[3].0), "day1.tar", &["--all-stages"]);

    let live = bench.path("live");
    succeeds(
        Command::new("cp")
            .arg("-a")
            .arg(chroot("boot-day0"))
            .arg(&live),
    );
    succeeds(
        Command::new("python3")
            .args(["-c", LEAVE_A_LIVE_LOG])
            .current_dir(&live),
    );
    assert!(
        live.join("var/lib/rpm/rpmdb.sqlite-wal")
            .metadata()
            .unwrap()
            .len()
            > 0
    );
    let with_log = bench.snapshot(
        &live,
        &format!("--series engines-live --stage bootstrap {FEW_PACKAGES}"),
    );
    assert_eq!(with_log["packages"], days[0].0["packages"]);
    export(&bench, &id(&with_log), "live.tar", &[]);

    let names = [
        "day0.tar:engines:bootstrap",
        "day0.tar:engines:deps-installed",
        "day1.tar:engines:bootstrap",
        "day1.tar:engines:deps-installed",
        "live.tar:engines-live:bootstrap",
    ];
    let repository = Path::new(REPOSITORY);
    let mut podman = Command::new(repository.join("fixtures/engines/run"));
    podman
        .args(["bash", "-euc", PODMAN, "podman"])
        .arg(repository.join("fixtures/list_tree.py"));
    succeeds(podman.args(names).current_dir(bench.path("")));

    let left = |file: &str| std::fs::read_to_string(bench.path(file)).unwrap();
    for (image, (snapshot, root)) in names.iter().zip(days.iter().chain([&(with_log, live)])) {
        let mut tree = recorded(&bench, snapshot, root);
        let mut found = tree_of(&left(&format!("{image}.list")));
        // podman does not keep the metadata of the root directory itself: whatever the layers say, it is 0555 and has
        // the time of the pull.
        assert!(found.remove("/").is_some() && tree.remove("/").is_some());
        assert_same_tree(&found, &tree);
        let mut restored = restored(&bench, snapshot);
        restored.remove("/");
        assert_same_tree(&restored, &found);
        let rpm = left(&format!("{image}.rpm"));
        let (version, packages) = rpm.split_once('\n').unwrap();
        assert!(version.starts_with("RPM version"), "{image}: {version}");
        assert_eq!(
            snapshot["packages"].as_u64(),
            Some(packages.lines().count() as u64),
            "{image}"
        );
    }
    assert!(
        left("loaded")
            .trim()
            .ends_with(" localhost/engines:deps-installed"),
        "{}",
        left("loaded")
    );
}

/// The package of README.md, which needs no compiler.
const HELLO: &str = "Name: hello
Version: 1
Release: 1
Summary: Greets
License: MIT
BuildArch: noarch

%description
It greets.

%install
mkdir -p %{buildroot}/usr/bin
printf '#!/bin/sh\necho hello\n' > %{buildroot}/usr/bin/hello

%files
%attr(755, root, root) /usr/bin/hello
";

#[test]
fn podman_rebuilds_a_package_in_the_archive() {
    let bench = Bench::new();
    let stage = format!("--stage deps-installed {FEW_PACKAGES}");
    let snapshot = bench.snapshot(&chroot("deps-day0"), &stage);
    export(&bench, &id(&snapshot), "buildroot-oci.tar", &[]);
    std::fs::write(bench.path("hello.spec"), HELLO).unwrap();
    sh(
        &bench.path(""),
        "rpmbuild -bs --define \"_srcrpmdir $PWD\" hello.spec >&2",
    );
    // The command of README.md.
    let mut podman = Command::new(Path::new(REPOSITORY).join("fixtures/engines/run"));
    podman
        .args(["podman", "run", "--rm", "--network=none"])
        .args(["-v", "./hello-1-1.src.rpm:/hello.src.rpm:z"])
        .args(["oci-archive:buildroot-oci.tar", "rpmbuild", "--rebuild"])
        .arg("/hello.src.rpm")
        .current_dir(bench.path(""));
    let printed = succeeds(&mut podman);
    assert!(
        printed.contains("Wrote: ") && printed.contains("/hello-1-1.noarch.rpm"),
        "{printed}"
    );
}

/// The tree in the lister's output.
fn tree_of(list: &str) -> Tree {
    let entries = list
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries.map(|entry| (name_of(&entry), entry)).collect()
}
