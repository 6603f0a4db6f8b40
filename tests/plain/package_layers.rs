//! Layers by package: what a package's layer holds and does not hold, and that all layers together give the tree that
//! layers by stage give.

use crate::common::layers::{Layout, layers_of, members, tree_of};
use crate::common::rpmdb::{CONFIG, GHOST, RpmFile, files, install};
use crate::common::tree::differences;
use crate::common::{Bench, settle, sh};
use rootstrata::model::plan::LayerRule;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::record::{Options, Outcome, snapshot};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Two packages of 300 kB and one of 1 kB, and files of no package.
const TREE: &str = "mkdir -p usr/bin usr/lib/b usr/share etc opt
    head -c 300000 /dev/urandom > usr/bin/a; head -c 300000 /dev/urandom > usr/lib/b/one; echo two > usr/lib/b/two
    echo c > usr/share/c; echo conf > etc/a.conf; echo mine > opt/mine; head -c 90000 /dev/urandom > opt/large
    touch -d @700 usr/bin/a usr/lib/b/* usr/share/c etc/a.conf";

/// A root with an rpm database, recorded by packages and by stages.
pub(crate) struct Case {
    pub(crate) bench: Bench,
    pub(crate) by_stages: Bench,
    pub(crate) root: PathBuf,
}

impl Case {
    pub(crate) fn new() -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, TREE);
        let case = Self {
            bench,
            by_stages: Bench::new(),
            root,
        };
        case.install(&case.packages());
        case
    }

    pub(crate) fn packages(&self) -> Vec<(&'static str, Vec<RpmFile<'static>>)> {
        let mut a = files(&["/usr/bin/a", "/etc/a.conf"]);
        a[1].flags = CONFIG;
        vec![
            ("a-1", a),
            ("b-1", files(&["/usr/lib/b/one", "/usr/lib/b/two"])),
            ("c-1", files(&["/usr/share/c"])),
        ]
    }

    pub(crate) fn install(&self, packages: &[(&str, Vec<RpmFile>)]) {
        install(&self.root, packages);
    }

    /// Records the root, and wants the layers to give what those by stage give.
    pub(crate) fn record(&self, script: &str, options: &str) -> Value {
        sh(&self.root, script);
        settle(&self.root);
        let options = format!("--profile mock {options}");
        let recorded = self
            .bench
            .snapshot(&self.root, &format!("--layers packages:9 {options}"));
        let expected = self
            .by_stages
            .snapshot(&self.root, &format!("--layers stages {options}"));
        let tree = |bench: &Bench, snapshot: &Value| {
            let manifest = snapshot["manifest_digest"].as_str().unwrap().to_owned();
            tree_of(&manifest, &Layout(&bench.store()))
        };
        let wrong = differences(
            &tree(&self.bench, &recorded),
            &tree(&self.by_stages, &expected),
        );
        assert!(wrong.is_empty(), "{script}\n{}", wrong.join("\n"));
        self.bench.prints(0, ["-q", "verify", "--deep"]);
        recorded
    }

    /// What the layer with this label holds, directories left out.
    fn holds(&self, snapshot: &Value, label: &str) -> Vec<String> {
        let manifest = snapshot["manifest_digest"].as_str().unwrap();
        let at = labels(snapshot).iter().position(|one| one == label);
        let layers = layers_of(manifest, &Layout(&self.bench.store()));
        let members = members(&layers[at.unwrap_or_else(|| panic!("{snapshot}"))]);
        let names = members.iter().filter(|member| member.flag != b'5');
        names
            .map(|member| String::from_utf8_lossy(&member.name).into_owned())
            .collect()
    }
}

pub(crate) fn labels(snapshot: &Value) -> Vec<String> {
    let layers = snapshot["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["label"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// `role state label` of each layer; the label of packages alone.
pub(crate) fn listed(snapshot: &Value) -> Vec<String> {
    let layers = snapshot["layers"].as_array().unwrap().iter();
    let shown = layers.map(|layer| {
        let role = layer["role"].as_str().unwrap();
        let state = if layer["reused"] == true {
            "reused"
        } else {
            "new"
        };
        match role {
            "package" => format!("{state} {}", layer["label"].as_str().unwrap()),
            _ => format!("{state} {role}"),
        }
    });
    shown.collect()
}

fn digest<'s>(snapshot: &'s Value, label: &str) -> &'s str {
    let at = labels(snapshot)
        .iter()
        .position(|one| one == label)
        .unwrap();
    snapshot["layers"][at]["digest"].as_str().unwrap()
}

pub(crate) const A: &str = "a-1-1.x86_64";
pub(crate) const B: &str = "b-1-1.x86_64";

#[test]
fn a_large_package_has_a_layer_with_its_files_and_all_else_is_the_remainder() {
    let case = Case::new();
    let first = case.record("", "");
    assert_eq!(
        listed(&first),
        [
            "new base",
            &format!("new {A}"),
            &format!("new {B}"),
            "new state"
        ]
    );
    assert_eq!(case.holds(&first, A), ["usr/bin/a"]);
    assert_eq!(case.holds(&first, B), ["usr/lib/b/one", "usr/lib/b/two"]);
    let again = case.record("", "");
    assert!(
        listed(&again)
            .iter()
            .all(|layer| layer.starts_with("reused"))
    );
    assert_eq!(again["manifest_digest"], first["manifest_digest"]);
}

#[test]
fn a_package_has_one_layer_in_every_root_and_store() {
    let case = Case::new();
    let first = case.record("", "");
    let other = Case::new();
    sh(
        &other.root,
        &format!(
            "cp -a {}/usr/bin/a usr/bin/; echo d > usr/share/d; rm -r usr/lib/b",
            case.root.display()
        ),
    );
    // Another set of packages, in another order, and one that shares a path.
    let a = case.packages().remove(0);
    other.install(&[("d-1", files(&["/usr/share/d", "/usr/bin/a"])), a]);
    let second = other.record("", "--series t --stage other");
    assert_eq!(digest(&first, A), digest(&second, A));
}

#[test]
fn a_path_of_several_packages_is_in_the_layer_of_each() {
    let case = Case::new();
    let mut packages = case.packages();
    packages[0].1.extend(files(&["/usr/lib/b/two"]));
    case.install(&packages);
    let snapshot = case.record("", "");
    assert_eq!(case.holds(&snapshot, A), ["usr/bin/a", "usr/lib/b/two"]);
    assert_eq!(case.holds(&snapshot, B), ["usr/lib/b/one", "usr/lib/b/two"]);
}

#[test]
fn configuration_ghosts_and_files_that_are_not_as_the_package_has_them_are_the_remainder() {
    let case = Case::new();
    let first = case.record("", "");
    // An edited configuration file does not renew its package.
    let edited = case.record("echo more >> etc/a.conf", "");
    assert_eq!(digest(&first, A), digest(&edited, A));
    assert!(listed(&edited).contains(&"new update".to_owned()));
    let mut packages = case.packages();
    packages[1].1[1].flags = GHOST;
    case.install(&packages);
    assert_eq!(case.holds(&case.record("", ""), B), ["usr/lib/b/one"]);
    case.install(&case.packages());
    for change in [
        "echo more >> usr/lib/b/two",
        "echo one > usr/lib/b/two; touch -d @701 usr/lib/b/two",
        "rm usr/lib/b/two; ln -s one usr/lib/b/two",
        "rm usr/lib/b/two",
    ] {
        let changed = case.record(change, "");
        assert_eq!(case.holds(&changed, B), ["usr/lib/b/one"], "{change}");
    }
    let back = case.record("echo two > usr/lib/b/two; touch -d @700 usr/lib/b/two", "");
    assert_eq!(digest(&back, B), digest(&first, B));
}

#[test]
fn what_rpm_did_not_install_or_replaced_is_no_part_of_a_package() {
    for state in 1..=4 {
        let case = Case::new();
        let mut packages = case.packages();
        packages[1].1[1].state = state;
        case.install(&packages);
        let snapshot = case.record("", "");
        assert_eq!(case.holds(&snapshot, B), ["usr/lib/b/one"], "{state}");
    }
}

#[test]
fn hardlinks_across_packages_are_the_remainder_and_those_of_one_package_are_in_its_layer() {
    let case = Case::new();
    sh(
        &case.root,
        "ln usr/bin/a usr/bin/a2; ln usr/lib/b/one usr/share/one",
    );
    let mut packages = case.packages();
    packages[0].1.extend(files(&["/usr/bin/a2"]));
    case.install(&packages);
    let snapshot = case.record("", "");
    assert_eq!(case.holds(&snapshot, A), ["usr/bin/a", "usr/bin/a2"]);
    assert!(!labels(&snapshot).contains(&B.to_owned())); // too little is left
}

#[test]
fn an_upgraded_package_is_replaced_a_removed_one_takes_its_layer_with_it() {
    let case = Case::new();
    let first = case.record("", "");
    let mut packages = case.packages();
    packages[1] = ("b-2", files(&["/usr/lib/b/one"]));
    sh(
        &case.root,
        "rm usr/lib/b/two; head -c 300000 /dev/urandom > usr/lib/b/one; touch -d @800 usr/lib/b/one",
    );
    case.install(&packages);
    let upgraded = case.record("", "");
    assert_eq!(
        listed(&upgraded),
        [
            "reused base",
            &format!("reused {A}"),
            "new b-2-1.x86_64",
            "new state"
        ]
    );
    packages.remove(1);
    sh(&case.root, "rm -r usr/lib/b");
    case.install(&packages);
    let removed = case.record("", "");
    assert_eq!(
        listed(&removed),
        ["reused base", &format!("reused {A}"), "new state"]
    );
    assert_eq!(digest(&removed, A), digest(&first, A));
}

#[test]
fn a_later_stage_keeps_the_layers_below_and_lays_its_own_on_top() {
    let case = Case::new();
    let run = |stage: &str| format!("--run r --stage {stage}");
    case.record("", &run("bootstrap"));
    sh(
        &case.root,
        "head -c 300000 /dev/urandom > usr/share/d; echo new > opt/new; touch -d @900 usr/share/d",
    );
    let mut packages = case.packages();
    packages.push(("d-1", files(&["/usr/share/d"])));
    case.install(&packages);
    let deps = case.record("", &run("deps-installed"));
    let expected = [
        "reused base".to_owned(),
        format!("reused {A}"),
        format!("reused {B}"),
        "new delta".to_owned(),
        "new d-1-1.x86_64".to_owned(),
        "new state".to_owned(),
    ];
    assert_eq!(listed(&deps), expected);
    let built = case.record("echo out > opt/out", &run("built"));
    assert_eq!(listed(&built).len(), 7);
    // The next day: a package of the bootstrap is upgraded above it alone.
    packages[0] = ("a-2", files(&["/usr/bin/a"]));
    sh(
        &case.root,
        "head -c 300000 /dev/urandom > usr/bin/a; touch -d @950 usr/bin/a; rm opt/out",
    );
    case.install(&packages);
    let next = case.record("", "--run r2 --stage deps-installed");
    assert_eq!(listed(&next)[1], "new a-2-1.x86_64");
    assert_eq!(listed(&next)[4], "reused d-1-1.x86_64");
}

#[test]
fn changing_over_between_stages_and_packages_begins_anew_and_is_no_damage() {
    let case = Case::new();
    let by_stages = "--profile mock --layers stages";
    case.bench.snapshot(&case.root, by_stages);
    let over = case.record("", "");
    assert!(listed(&over)[0] == "new base" && labels(&over).contains(&A.to_owned()));
    let back = case.bench.snapshot(&case.root, by_stages);
    assert!(
        listed(&back)
            .iter()
            .all(|layer| layer.starts_with("reused"))
    );
    case.bench.prints(0, ["-q", "verify", "--deep"]);
    let explained = case.bench.json(["explain", "2"]);
    assert_eq!(explained["layers"][0]["reason"], "other-rule");
}

#[test]
fn package_layers_need_a_rule_that_fixes_the_times_of_directories() {
    let case = Case::new();
    let root = case.root.to_str().unwrap();
    let error = case.bench.fails(
        2,
        [
            "snapshot", root, "--layers", "packages", "--mtime", "keep", "--series", "s",
        ],
    );
    assert!(error.contains("--mtime package or fixed"), "{error}");
    let output = case
        .bench
        .command(["snapshot", root, "--layers", "packages:91"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("packages:N"));
    case.record("", "--mtime fixed");
}

/// The packages of a case, and one that brings directories.
fn with_directories(case: &Case) -> Vec<(&'static str, Vec<RpmFile<'static>>)> {
    let mut packages = case.packages();
    let directories = files(&["/usr", "/usr/bin", "/usr/lib", "/usr/lib/b"]);
    packages.push(("filesystem-1", directories));
    packages
}

#[test]
fn another_mode_of_a_directory_renews_no_package() {
    let case = Case::new();
    case.install(&with_directories(&case));
    let first = case.record("", "");
    for script in ["chmod 700 usr usr/lib/b", "echo more >> opt/mine", ""] {
        let changed = case.record(script, "");
        assert_eq!(digest(&changed, A), digest(&first, A), "{script}");
        assert_eq!(digest(&changed, B), digest(&first, B), "{script}");
    }
    let back = case.record("chmod 755 usr usr/lib/b", "");
    assert!(listed(&back).contains(&"reused state".to_owned()));
    // Where no package has the directory, its mode is that of the tree.
    let other = case.record("chmod 750 usr/share", "");
    assert_eq!(digest(&other, A), digest(&first, A));
}

#[test]
fn another_mode_of_a_directory_is_planned_alone() {
    let case = Case::new();
    case.install(&with_directories(&case));
    planned_alike(&case, "for n in $(seq 99); do echo $n > opt/$n; done");
    for script in [
        "chmod 700 usr/lib/b",
        "echo more >> opt/mine",
        "chmod 700 usr; echo c2 > usr/share/c",
        "chmod 755 usr usr/lib/b",
    ] {
        let (planned, all) = planned_alike(&case, script);
        assert!(planned < all / 2, "{script}: {planned} of {all}");
    }
}

#[test]
fn updates_may_be_as_large_as_what_packages_leave() {
    let case = Case::new();
    case.record("", "");
    let half = case.record("head -c 60000 /dev/urandom > opt/half", "");
    assert!(listed(&half).contains(&"new update".to_owned()));
    let planning = case.bench.json(["explain", "s"])["planning"].clone();
    assert_eq!(planning["limits"]["update_percent"], 100);
    let given = case.record("echo more >> opt/mine", "--rebase-update 30");
    assert_eq!(listed(&given)[0], "new base");
    // Those by stages are made anew at 30 percent.
    let planning = case.by_stages.json(["explain", "1"])["planning"].clone();
    assert_eq!(planning["limits"]["update_percent"], 30);
}

#[test]
fn a_root_without_packages_is_all_remainder() {
    let case = Case::new();
    sh(&case.root, "rm -r usr/lib/sysimage");
    assert_eq!(listed(&case.record("", "")), ["new base"]);
}

#[test]
fn the_image_is_restored_exported_imported_squashed_and_pruned_like_any_other() {
    let case = Case::new();
    case.record("", "--run r --stage bootstrap");
    let deps = case.record("echo more >> opt/mine", "--run r --stage deps-installed");
    let (bench, path) = (&case.bench, |name: &str| case.bench.path(name));
    let to = path("to");
    bench.json(["restore", "s@deps-installed", to.to_str().unwrap()]);
    let source = format!("dir:{}", to.display());
    assert_eq!(
        bench.compared(["s@deps-installed", &source])["different"],
        false
    );
    let archive = path("s.oci");
    bench.json([
        "export",
        "s@deps-installed",
        "-o",
        archive.to_str().unwrap(),
    ]);
    let source = format!("oci-archive:{}", archive.display());
    assert_eq!(
        bench.compared(["s@deps-installed", &source])["different"],
        false
    );
    let other = Bench::new();
    other.json(["import", &source]);
    other.prints(0, ["-q", "verify", "--deep"]);
    let imported = other.json(["show", "1"]);
    assert_eq!(imported["manifest_digest"], deps["manifest_digest"]);
    let squashed = bench.json(["squash", "s@deps-installed"]);
    assert_eq!(squashed["layers"].as_array().unwrap().len(), 1);
    case.record("echo more >> opt/mine", "--run r2 --stage bootstrap");
    bench.json(["prune", "--keep-last", "1"]);
    bench.prints(0, ["-q", "verify", "--deep"]);
    case.record("", "--run r2 --stage deps-installed");
}

#[test]
fn a_lost_layer_of_a_package_is_made_again_where_little_has_changed_too() {
    let case = Case::new();
    let first = case.record("", "");
    for script in ["", "echo more >> opt/mine"] {
        let blob = digest(&first, A).replace("sha256:", "");
        let blob = case.bench.store().join("blobs/sha256").join(blob);
        std::fs::remove_file(&blob).unwrap();
        let again = case.record(script, "");
        assert_eq!(digest(&again, A), digest(&first, A));
        assert!(blob.exists());
    }
}

#[test]
fn an_imported_image_of_packages_is_no_base_for_stages() {
    let case = Case::new();
    case.record("", "--run r --stage bootstrap");
    let archive = case.bench.path("s.oci");
    case.bench
        .json(["export", "s@bootstrap", "-o", archive.to_str().unwrap()]);
    let other = Bench::new();
    other.json(["import", &format!("oci-archive:{}", archive.display())]);
    let to = other.path("to");
    other.json(["restore", "s@bootstrap", to.to_str().unwrap()]);
    settle(&to);
    let source = format!("dir:{}", to.display());
    for script in ["", "echo more >> opt/mine", "echo more >> opt/mine"] {
        sh(&to, script);
        settle(&to);
        let options = "--profile mock --stage bootstrap --layers stages";
        let snapshot = other.snapshot(&to, options);
        let compared = other.compared(["s@bootstrap", &source]);
        assert_eq!(compared["different"], false, "{script}");
        let mut layers = snapshot["layers"].as_array().unwrap().iter();
        assert!(layers.all(|layer| layer["role"] != "package"), "{script}");
    }
}

/// Records a root in two stores, one of which knows what it saw there last, and wants the same image. Returns how many paths
/// were planned, and the number of entries.
fn planned_alike(case: &Case, script: &str) -> (u64, u64) {
    sh(&case.root, script);
    settle(&case.root);
    let unknowing = case.bench.path("unknowing");
    let database = unknowing.join("rootstrata.sqlite");
    if database.exists() {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let forget = "UPDATE root SET snapshot_id = NULL";
        connection.execute(forget, []).unwrap();
    }
    let options = Options {
        series: Some("s".to_owned()),
        stage: Some("bootstrap".to_owned()),
        rule: Some(LayerRule::Packages(9)),
        ..Options::default()
    };
    let record = |store: &Path| snapshot(store, &case.root, &options, &Silent).unwrap();
    let (known, whole) = (record(&case.bench.store()), record(&unknowing));
    let listed = |outcome: &Outcome| -> Vec<_> {
        let layers = outcome.layers.iter();
        layers
            .map(|used| (used.role, used.label.clone(), used.layer.key))
            .collect()
    };
    assert_eq!(listed(&known), listed(&whole), "{script}");
    assert_eq!(known.snapshot.manifest, whole.snapshot.manifest, "{script}");
    (known.paths_planned, known.snapshot.entries)
}

#[test]
fn few_changes_are_planned_as_a_look_at_all_of_the_root_would_plan_them() {
    let case = Case::new();
    planned_alike(
        &case,
        "for n in $(seq 99); do echo $n > opt/$n; done; head -c 3000000 /dev/urandom > opt/huge",
    );
    let of_part = |script: &str| {
        let (planned, entries) = planned_alike(&case, script);
        assert!(
            planned > 0 && planned < entries,
            "{script}: {planned} of {entries}"
        );
    };
    let of_all = |script: &str| {
        let (planned, entries) = planned_alike(&case, script);
        assert_eq!(planned, entries, "{script}");
    };
    of_part("echo more >> opt/1");
    of_part("echo more >> etc/a.conf");
    of_part("echo new > usr/bin/new; mkdir usr/lib/b/more");
    of_part("rm -r opt/2 usr/lib/b/more; mkfifo opt/3.pipe");
    of_all("ln -s 1 opt/3.link");
    of_all("echo more >> usr/lib/b/two");
    of_all("echo two > usr/lib/b/two; touch -d @700 usr/lib/b/two");
    of_part("echo more >> usr/lib/b/other");
    // A package that could have a layer, and has none while its only large file is another.
    of_part("echo more >> usr/share/c");
    of_all("touch -d @701 usr/bin/a");
    of_all("touch -d @700 usr/bin/a");
    of_all("ln usr/lib/b/two opt/two");
    of_all("rm opt/two");
    of_part("echo more >> usr/lib/b/other");
    of_all("chmod 700 usr/lib/b");
    of_all("chmod 755 usr/lib/b");
    of_part("echo more >> opt/1");
}
