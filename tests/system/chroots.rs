//! Real rpm chroots of two days, recorded stage by stage: what each run writes and reads, and what it records.
//!
//! The chroots are those of `fixtures/chroots/make OUT small`, in `ROOTSTRATA_CHROOTS`. Nothing here writes to them.

use crate::common::{Bench, assert_same_tree, layer, layers, listed, name_of, sh, succeeds};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Tree = BTreeMap<String, Value>;

const EPOCH: i64 = 315_619_200;

/// What the profile `mock` records as empty directories.
const HOLLOW: [&str; 7] = [
    "/proc",
    "/sys",
    "/dev",
    "/var/cache/dnf",
    "/var/cache/yum",
    "/var/cache/libdnf5",
    "/var/cache/PackageKit",
];

/// What it puts into the state, as far as these chroots have it: files, and directories with all that is in them.
const VOLATILE: [&str; 16] = [
    "/var/lib/rpm/",
    "/usr/lib/sysimage/rpm/",
    "/var/lib/dnf/",
    "/usr/lib/sysimage/libdnf5/",
    "/var/log/",
    "/var/cache/ldconfig/",
    "/etc/dnf/dnf.conf",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/shadow-",
];

fn chroot(name: &str) -> PathBuf {
    let all = std::env::var_os("ROOTSTRATA_CHROOTS")
        .expect("ROOTSTRATA_CHROOTS is not set: scripts/test sets it to what fixtures/chroots/make has made");
    let path = Path::new(&all).join(name);
    path.canonicalize()
        .unwrap_or_else(|e| panic!("{}: {e}; see fixtures/chroots/make", path.display()))
}

/// Records a chroot as the stage that its name says; `more` is split at spaces.
fn unasked(bench: &Bench, name: &str, more: &str) -> Value {
    bench.snapshot(&chroot(name), &format!("--stage {} {more}", stage(name)))
}

/// The same, by stages.
fn record(bench: &Bench, name: &str, more: &str) -> Value {
    unasked(bench, name, &format!("--layers stages {more}"))
}

fn stage(name: &str) -> &'static str {
    if name.starts_with("boot-") {
        "bootstrap"
    } else {
        "deps-installed"
    }
}

fn assert_nothing_read(snapshot: &Value) {
    assert_eq!(
        (
            snapshot["files_read"].as_u64(),
            snapshot["bytes_read"].as_u64()
        ),
        (Some(0), Some(0))
    );
}

#[test]
fn two_days_in_one_series_write_only_what_is_new() {
    let bench = Bench::new();

    let boot = record(&bench, "boot-day0", "");
    assert_eq!(layers(&boot), ["base new", "state new"]);
    let deps = record(&bench, "deps-day0", "");
    assert_eq!(layers(&deps), ["base reused", "delta new", "state new"]);

    for (name, first) in [("boot-day0", &boot), ("deps-day0", &deps)] {
        let again = record(&bench, name, "");
        assert!(
            layers(&again)
                .iter()
                .all(|layer| layer.ends_with(" reused")),
            "{:?}",
            layers(&again)
        );
        assert_nothing_read(&again);
        assert_eq!(again["manifest_digest"], first["manifest_digest"]);
        assert_eq!(again["packages"], first["packages"]);
    }

    let (boot_b, deps_b) = (
        record(&bench, "boot-day0b", ""),
        record(&bench, "deps-day0b", ""),
    );
    assert_eq!(layers(&boot_b), ["base reused", "state new"]);
    assert_eq!(
        layers(&deps_b),
        ["base reused", "delta reused", "state new"]
    );

    let (boot1, deps1) = (
        record(&bench, "boot-day1", ""),
        record(&bench, "deps-day1", ""),
    );
    assert_eq!(layers(&boot1), ["base reused", "update new", "state new"]);
    let build_dependencies = |boot: &Value, deps: &Value| {
        let of = |snapshot: &Value| -> BTreeSet<String> {
            let shown = bench.json(["show", &snapshot["id"].to_string()]);
            shown["packages"]
                .as_array()
                .unwrap()
                .iter()
                .map(Value::to_string)
                .collect()
        };
        &of(deps) - &of(boot)
    };
    let changed = build_dependencies(&boot, &deps) != build_dependencies(&boot1, &deps1);
    let expected = [
        "base reused",
        "update reused",
        "delta reused",
        "update new",
        "state new",
    ];
    let left_out = if changed { "" } else { "update new" };
    assert_eq!(
        layers(&deps1),
        expected
            .into_iter()
            .filter(|layer| *layer != left_out)
            .collect::<Vec<_>>()
    );
}

#[test]
fn without_a_word_packages_have_layers_and_a_second_installation_has_the_same() {
    let bench = Bench::new();
    let count = |snapshot: &Value, layer: &str| {
        let all = layers(snapshot);
        all.iter().filter(|one| *one == layer).count()
    };
    let first = ["boot-day0", "deps-day0"].map(|name| unasked(&bench, name, ""));
    assert!(first.iter().all(|one| count(one, "package new") > 0));
    for (name, first) in ["boot-day0b", "deps-day0b"].iter().zip(&first) {
        let second = unasked(&bench, name, "");
        let packages = count(first, "package new") + count(first, "package reused");
        assert_eq!(count(&second, "package reused"), packages, "{name}");
        let new = layers(&second);
        let mut new = new.iter().filter(|layer| layer.ends_with(" new"));
        assert!(new.all(|layer| layer == "state new"), "{second}");
    }
}

#[test]
fn the_second_day_has_changes_of_each_kind_and_is_an_update() {
    let bench = Bench::new();
    let (day0, day1) = (chroot("boot-day0"), chroot("boot-day1"));
    record(&bench, "boot-day0", "");
    let update = record(&bench, "boot-day1", "");
    assert_eq!(layers(&update), ["base reused", "update new", "state new"]);
    if !day0.join("usr/share/kinds").exists() {
        // There the second day is the distribution's own.
        assert!(
            day0.join("etc/fedora-release").exists(),
            "{} has no package `kinds`",
            day0.display()
        );
        return;
    }
    let compared = bench.compared(["1", "2"]);
    let files = compared["files"].as_array().unwrap();
    let what = |path: &str| {
        let file = files.iter().find(|file| name_of(file) == path);
        file.map(|file| (file["change"].as_str().unwrap(), file["what"].to_string()))
    };
    let changed = |aspects: Value| Some(("changed", aspects.to_string()));
    for (path, expected) in [
        ("/etc/kinds.conf", changed(json!(["content", "mtime"]))),
        ("/usr/bin/kinds", changed(json!(["content", "mtime"]))),
        (
            "/usr/lib/python3/dist-packages/kinds/__init__.py",
            changed(json!(["content", "mtime"])),
        ),
        (
            "/usr/share/kinds/file-then-link",
            changed(json!(["type", "mtime"])),
        ),
        ("/usr/share/kinds/link", changed(json!(["target", "mtime"]))),
        (
            "/usr/share/kinds/link-then-file",
            changed(json!(["type", "mtime"])),
        ),
        ("/usr/share/kinds/mode", changed(json!(["mode"]))),
        (
            "/usr/share/kinds/only-day0",
            Some(("removed", json!([]).to_string())),
        ),
        (
            "/usr/share/kinds/only-day0.d/sub/b",
            Some(("removed", json!([]).to_string())),
        ),
        (
            "/usr/share/kinds/only-day1.d/sub/b",
            Some(("added", json!([]).to_string())),
        ),
        ("/usr/share/kinds/same", None),
        ("/usr/share/kinds/time", changed(json!(["mtime"]))),
    ] {
        assert_eq!(what(path), expected, "{path}");
    }
    let length = |root: &Path, path: &str| root.join(path).metadata().unwrap().len();
    assert_eq!(
        length(&day0, "usr/bin/kinds"),
        length(&day1, "usr/bin/kinds")
    );
    assert!(
        files
            .iter()
            .filter(|file| file["what"] == json!(["mtime"]))
            .count()
            > 500
    );

    // Most of the update are files that have another time alone; all in all, it is below the limit of 30 %.
    let base = layer(&update, "base")["content_bytes"].as_u64().unwrap();
    let bytes = layer(&update, "update")["content_bytes"].as_u64().unwrap();
    assert!(
        (10..30).contains(&(bytes * 100 / base)),
        "{bytes} of {base}"
    );
}

#[test]
fn recording_again_opens_directories_and_no_file() {
    let bench = Bench::new();
    for name in ["boot-day0", "deps-day0"] {
        let first = record(&bench, name, "");
        let (root, traces) = (chroot(name), bench.make(&format!("traces-{name}")));
        // A file for each thread, so that no call is cut in two; -y shows what was opened, by whatever name.
        let mut command = Command::new("strace");
        command
            .args([
                "-ff",
                "-qq",
                "-y",
                "-e",
                "trace=open,openat,openat2,/xattr",
                "-o",
            ])
            .arg(traces.join("t"));
        command
            .arg(env!("CARGO_BIN_EXE_rootstrata"))
            .arg("--store")
            .arg(bench.store());
        command
            .args([
                "snapshot",
                "--series",
                "s",
                "--stage",
                stage(name),
                "--json",
                "-q",
            ])
            .arg(&root);
        let again: Value = serde_json::from_str(&succeeds(&mut command)).unwrap();
        assert_nothing_read(&again);
        assert_eq!(again["entries"], first["entries"]);

        let lines = sh(&traces, "cat t.*");
        let below = format!("<{}", root.display());
        let opened: Vec<&str> = lines
            .lines()
            .filter(|line| {
                line.rsplit_once(" = ")
                    .is_some_and(|(_, result)| result.contains(&below))
            })
            .collect();
        let is_file = |line: &str| !line.contains("O_DIRECTORY") && !line.contains("O_PATH");
        let files: Vec<_> = opened.iter().filter(|line| is_file(line)).collect();
        assert!(
            files.is_empty(),
            "{} opened, such as {}",
            files.len(),
            files[0]
        );
        let asked: Vec<&str> = lines
            .lines()
            .filter(|line| line.contains("xattr"))
            .collect();
        assert!(
            asked.is_empty(),
            "{} calls for attributes, such as {}",
            asked.len(),
            asked[0]
        );
        // As a check of the trace: it has the directories.
        let entries = bench.json(["ls", "s"]);
        let entries = entries["entries"].as_array().unwrap();
        let directories = entries
            .iter()
            .filter(|entry| entry["type"] == "dir")
            .count();
        assert!(
            opened.len() >= directories - HOLLOW.len(),
            "{} < {directories}",
            opened.len()
        );
    }
}

#[test]
fn a_copy_through_tar_is_read_in_full_and_writes_nothing() {
    // What tar loses (capabilities, which Fedora's chroots have) is left out of both.
    let (tree, copy) = (
        expected(&chroot("deps-day0"), "keep"),
        expected(&chroot("deps-day0-copy"), "keep"),
    );
    let lost: Vec<&String> = copy
        .iter()
        .filter(|(path, entry)| entry["xattrs"] != tree[*path]["xattrs"])
        .map(|(p, _)| p)
        .collect();
    let options: String = lost
        .iter()
        .map(|path| format!("--exclude {path} "))
        .collect();

    let bench = Bench::new();
    record(&bench, "boot-day0", &options);
    let first = record(&bench, "deps-day0", &options);
    let again = record(&bench, "deps-day0-copy", &options);
    assert_eq!(
        layers(&again),
        ["base reused", "delta reused", "state reused"]
    );
    assert_eq!(again["manifest_digest"], first["manifest_digest"]);
    // An empty file has nothing to read.
    let left = copy.iter().filter(|(path, _)| !lost.contains(path));
    // Nor has an inode more than once, whatever its names.
    let left = left.filter(|(path, e)| {
        e["hardlink_group"]
            .as_str()
            .is_none_or(|first| first == *path)
    });
    let sizes: Vec<u64> = left
        .filter_map(|(_, e)| e["size_bytes"].as_u64())
        .filter(|size| *size > 0)
        .collect();
    let read = (
        again["files_read"].as_u64().unwrap(),
        again["bytes_read"].as_u64().unwrap(),
    );
    assert_eq!(read, (sizes.len() as u64, sizes.iter().sum()));
}

#[test]
fn a_second_store_gets_the_same_layers_with_one_thread_as_with_many() {
    let of = |threads: &str| {
        let bench = Bench::new();
        ["boot-day0", "deps-day0"].map(|name| {
            let snapshot = record(&bench, name, threads);
            let layers = snapshot["layers"].as_array().unwrap().iter();
            let layers: Vec<_> = layers
                .map(|l| [&l["key"], &l["diff_id"], &l["digest"]].map(Value::clone))
                .collect();
            (layers, snapshot["manifest_digest"].clone())
        })
    };
    let one = of("--threads 1");
    assert_eq!(one, of("--threads 4"));
    assert_eq!(one[1].0.len(), 3);
}

#[test]
fn entries_and_the_next_days_update_are_those_of_an_independent_listing() {
    for rule in ["package", "fixed"] {
        let bench = Bench::new();
        let options = format!("--mtime {rule}");
        let boot0 = expected(&chroot("boot-day0"), rule);
        record(&bench, "boot-day0", &options);
        assert_same_tree(&recorded(&bench, &boot0), &boot0);

        let update = record(&bench, "boot-day1", &options);
        let boot1 = expected(&chroot("boot-day1"), rule);
        let changed: BTreeSet<&String> = boot1
            .iter()
            .filter(|(path, entry)| entry["type"] == "file" && boot0.get(*path) != Some(*entry))
            .filter(|(path, _)| {
                !VOLATILE
                    .iter()
                    .any(|at| path == at || at.ends_with('/') && path.starts_with(at))
            })
            .map(|(path, entry)| {
                boot1
                    .get_key_value(entry["hardlink_group"].as_str().unwrap_or(path))
                    .unwrap()
                    .0
            })
            .collect();
        let bytes: u64 = changed
            .iter()
            .map(|path| boot1[*path]["size_bytes"].as_u64().unwrap())
            .sum();
        assert_eq!(
            layer(&update, "update")["content_bytes"].as_u64(),
            Some(bytes),
            "{rule}"
        );

        let deps1 = expected(&chroot("deps-day1"), rule);
        record(&bench, "deps-day1", &options);
        assert_same_tree(&recorded(&bench, &deps1), &deps1);
    }
}

/// The newest snapshot's entries, with the SHA-256 that `tree` has for each path in place of the BLAKE3. Wants the two
/// hashes to tell the same contents apart.
fn recorded(bench: &Bench, tree: &Tree) -> Tree {
    let (mut sha256s, mut blake3s) = (HashMap::new(), HashMap::new());
    let listing = bench.json(["ls", "s"]);
    let entries = listing["entries"].as_array().unwrap().iter().map(|entry| {
        let (path, mut entry) = (name_of(entry), entry.clone());
        if let Some(blake3) = entry.as_object_mut().unwrap().remove("blake3") {
            let sha256 = tree
                .get(&path)
                .map_or(Value::Null, |entry| entry["sha256"].clone());
            assert_eq!(
                *sha256s.entry(blake3.clone()).or_insert(sha256.clone()),
                sha256,
                "{path}"
            );
            assert_eq!(
                *blake3s.entry(sha256.clone()).or_insert(blake3.clone()),
                blake3,
                "{path}"
            );
            entry["sha256"] = sha256;
        }
        if entry["xattrs"].is_null() {
            entry["xattrs"] = json!({});
        }
        (path, entry)
    });
    entries.collect()
}

/// What the profile `mock` is to record of a chroot, by the lister, rpm and the rules of the design.
fn expected(root: &Path, rule: &str) -> Tree {
    let vouched = vouched(root);
    let mut tree = listed(root);
    tree.retain(|path, _| {
        !HOLLOW.iter().any(|kept_empty| {
            path.strip_prefix(kept_empty)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    });
    for (path, entry) in &mut tree {
        let is = |kind: &str| entry["type"] == kind;
        let keeps = match rule {
            "keep" => true,
            "fixed" => is("file") && path.ends_with(".py"),
            _ => !is("dir") && vouched.contains(&(path.clone(), entry["mtime"].as_i64().unwrap())),
        };
        if !keeps {
            entry["mtime"] = json!(EPOCH);
        }
        let machine = ["security.selinux", "security.ima", "security.evm"];
        entry["xattrs"]
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !machine.contains(&name.as_str()));
        if HOLLOW.contains(&path.as_str()) {
            *entry = json!({"path": path, "type": "dir", "mode": "0755", "uid": 0, "gid": 0, "mtime": EPOCH, "xattrs": {}});
        }
    }
    tree
}

/// The files of all packages with the times that rpm gives them; where a package names a directory through a symlink,
/// the path is the real one.
fn vouched(root: &Path) -> HashSet<(String, i64)> {
    // Asked of a copy, since rpm changes files beside its database. Fedora has a link in this place.
    let copy = tempfile::tempdir().unwrap();
    sh(
        copy.path(),
        &format!("cp {}/var/lib/rpm/rpmdb.sqlite* .", root.display()),
    );
    let mut rpm = Command::new("rpm");
    rpm.arg("--dbpath")
        .arg(copy.path())
        .args(["-qa", "--qf", "[%{FILENAMES}\\t%{FILEMTIMES}\\n]"]);
    let mut real: HashMap<String, String> = HashMap::new();
    let files = succeeds(&mut rpm);
    let files = files.lines().map(|line| {
        let (path, mtime) = line.split_once('\t').unwrap();
        let (directory, name) = path.rsplit_once('/').unwrap();
        let directory = real
            .entry(directory.to_owned())
            .or_insert_with_key(|directory| {
                let real = root
                    .join(directory.trim_start_matches('/'))
                    .canonicalize()
                    .ok();
                let inside = real.and_then(|real| {
                    real.strip_prefix(root)
                        .map(|d| d.display().to_string())
                        .ok()
                });
                inside.map_or(directory.clone(), |inside| format!("/{inside}"))
            });
        (
            format!("{}/{name}", directory.trim_end_matches('/')),
            mtime.parse().unwrap(),
        )
    });
    files.collect()
}
