//! Names of packages beside their layers: told by the index of an image, kept by whoever takes the image, believed only where
//! nothing depends on them.

use crate::common::rpmdb::files;
use crate::common::{Bench, settle, sh, text};
use crate::package_layers::{A, B, Case, labels, listed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

pub(crate) const BOOTSTRAP: &str = "--run r --stage bootstrap";
pub(crate) const DEPS: &str = "--run r --stage deps-installed";

/// Records a bootstrap, and over it a stage with another package and an upgraded one.
pub(crate) fn two_stages(case: &Case) {
    case.record("", BOOTSTRAP);
    sh(
        &case.root,
        "head -c 300000 /dev/urandom > usr/share/d; head -c 300000 /dev/urandom > usr/bin/a
         touch -d @900 usr/share/d usr/bin/a",
    );
    let mut packages = case.packages();
    packages[0] = ("a-2", files(&["/usr/bin/a"]));
    packages.push(("d-1", files(&["/usr/share/d"])));
    case.install(&packages);
    case.record("", DEPS);
}

/// The next day: B is upgraded.
pub(crate) fn upgrade(case: &Case) {
    sh(
        &case.root,
        "head -c 300000 /dev/urandom > usr/lib/b/one; touch -d @950 usr/lib/b/one",
    );
    let mut packages = case.packages();
    packages[0] = ("a-2", files(&["/usr/bin/a"]));
    packages[1].0 = "b-2";
    packages.push(("d-1", files(&["/usr/share/d"])));
    case.install(&packages);
}

/// What is recorded of each layer of a snapshot beside its content: role, the package, and whether it is of the stage before.
fn told(bench: &Bench, id: &str) -> Vec<Value> {
    let explained = bench.json(["explain", id]);
    let layers = explained["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let is_package = layer["role"] == "package";
            let label = is_package.then_some(&layer["label"]);
            json!([layer["role"], label, layer["inherited"]])
        })
        .collect()
}

fn reasons(bench: &Bench, id: &str) -> Vec<(String, String)> {
    let explained = bench.json(["explain", id]);
    let layers = explained["layers"].as_array().unwrap().iter();
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    layers
        .map(|layer| (of(&layer["role"]), of(&layer["reason"])))
        .collect()
}

/// Exports all stages of `s` as a layout, and returns its path.
pub(crate) fn layout_of(bench: &Bench) -> PathBuf {
    let layout = bench.path("layout");
    bench.json([
        "export",
        "s",
        "--all-stages",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    layout
}

/// The same root, recorded into a store that has imported the layout.
fn with_imported(case: Case, layout: &Path) -> (Case, Bench) {
    let bench = Bench::new();
    bench.json(["import", &format!("oci:{}", layout.display())]);
    let (old, case) = (case.bench, Case { bench, ..case });
    (case, old)
}

/// Wants the stage of the last snapshot to go on from what the store has: every layer is reused, and for the packages that is
/// the reason; the next day tells which package was upgraded.
fn goes_on(case: &Case) {
    let again = case.record("", DEPS);
    assert!(listed(&again).iter().all(|one| one.starts_with("reused")));
    let id = again["id"].to_string();
    let unchanged = |(role, reason): &(String, String)| role != "package" || reason == "unchanged";
    let reasons = reasons(&case.bench, &id);
    assert!(reasons.iter().all(unchanged), "{reasons:?}");
    assert_eq!(reasons.iter().filter(|one| one.0 == "package").count(), 3);
    upgrade(case);
    let next = case.record("", DEPS);
    let explained = case.bench.json(["explain", &next["id"].to_string()]);
    let layers = explained["layers"].as_array().unwrap().iter();
    let upgraded: Vec<&Value> = layers
        .filter(|layer| layer["reason"] == "upgraded")
        .collect();
    assert_eq!(upgraded.len(), 1, "{explained}");
    assert_eq!(upgraded[0]["label"], "b-2-1.x86_64");
    assert_eq!(upgraded[0]["upgraded_from"], B);
}

#[test]
fn an_imported_image_keeps_the_names_of_its_layers_and_the_series_goes_on_from_it() {
    let case = Case::new();
    two_stages(&case);
    let before: Vec<_> = ["1", "2"].map(|id| told(&case.bench, id)).into();
    let layout = layout_of(&case.bench);
    let (case, _old) = with_imported(case, &layout);
    let now: Vec<_> = ["1", "2"].map(|id| told(&case.bench, id)).into();
    assert_eq!(now, before);
    let explained = case.bench.json(["explain", "2"]);
    assert_eq!(
        explained["planning"],
        json!({"planner": "packages:9", "limits": null})
    );
    assert_eq!(explained["reasons"], "derived");
    let text = case.bench.prints(0, ["explain", "2"]);
    assert!(text.contains("reasons are derived, not recorded"), "{text}");
    goes_on(&case);
}

#[test]
fn an_image_whose_stage_before_is_not_there_goes_on_too() {
    let case = Case::new();
    two_stages(&case);
    let archive = case.bench.path("s.oci");
    case.bench.json([
        "export",
        "s@deps-installed",
        "-o",
        archive.to_str().unwrap(),
    ]);
    let bench = Bench::new();
    bench.json(["import", &format!("oci-archive:{}", archive.display())]);
    let (_old, case) = (case.bench, Case { bench, ..case });
    let shown = case.bench.json(["show", "1"]);
    assert_eq!(labels(&shown)[1..3], ["a-2-1.x86_64", B]);
    goes_on(&case);
}

#[test]
fn a_lost_database_comes_back_with_the_names_of_layers() {
    let case = Case::new();
    two_stages(&case);
    let bench = &case.bench;
    let all = |bench: &Bench| -> Vec<_> { ["1", "2"].map(|id| told(bench, id)).into() };
    let (before, index) = (all(bench), bench.store().join("index.json"));
    let bytes = std::fs::read(&index).unwrap();
    sh(&bench.store(), "rm rootstrata.sqlite*");
    bench.json(["import", &format!("oci:{}", bench.store().display())]);
    assert_eq!(all(bench), before);
    assert_eq!(std::fs::read(&index).unwrap(), bytes);
    bench.prints(0, ["-q", "verify", "--deep"]);
    goes_on(&case);
    // Only the newest of a stage has labels in the index, or each snapshot would cost the next more.
    let index = std::fs::read_to_string(&index).unwrap();
    assert_eq!(index.matches("layer.labels").count(), 2);
    assert!(index.matches("rootstrata.planner").count() > 2);
}

#[test]
fn nothing_of_an_image_but_its_index_tells_of_labels() {
    let case = Case::new();
    case.record("", BOOTSTRAP);
    let layout = layout_of(&case.bench);
    let hits = sh(&layout, "grep -rl -e rootstrata.planner -e layer.labels .");
    assert_eq!(hits, "./index.json\n");
    let (other, _old) = with_imported(case, &layout);
    let labels = told(&other.bench, "1");
    // Planner and labels are part of the seal.
    for change in [
        "UPDATE snapshot_layer SET label = 'x' WHERE position = 1",
        "UPDATE snapshot_layer SET label = NULL WHERE position = 1",
        "UPDATE snapshot_layer SET inherited = 1 WHERE position = 1",
        "UPDATE snapshot SET planner = 'stages'",
    ] {
        let database = other.bench.store().join("rootstrata.sqlite");
        let sound = std::fs::read(&database).unwrap();
        let connection = rusqlite::Connection::open(&database).unwrap();
        assert_eq!(connection.execute(change, []).unwrap(), 1);
        drop(connection);
        let said = other.bench.fails(2, ["show", "1"]);
        assert!(said.contains("recorded"), "{change}: {said}");
        std::fs::write(&database, sound).unwrap();
        assert_eq!(told(&other.bench, "1"), labels);
    }
}

/// Changes what the index of a layout says of its first image; null takes a claim away.
pub(crate) fn claim(layout: &Path, claims: &Value) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let there = index["manifests"][0]["annotations"]
        .as_object_mut()
        .unwrap();
    for (name, value) in claims.as_object().unwrap() {
        let name = format!("org.rootstrata.{name}");
        match value {
            Value::Null => there.remove(&name),
            value => there.insert(name, value.clone()),
        };
    }
    std::fs::write(&path, index.to_string()).unwrap();
}

#[test]
fn claims_of_layers_that_no_image_can_have_are_told_and_left_out() {
    let case = Case::new();
    case.record("", BOOTSTRAP);
    let layout = layout_of(&case.bench);
    let sound =
        json!({"planner": "packages:9", "layer.labels": format!(r#"[null,"{A}","{B}",null]"#)});
    let many = format!("[null{}]", ",null".repeat(1_000_000));
    let long = format!(r#"["{}",null,null,null]"#, "x".repeat(513));
    let source = format!("oci:{}", layout.display());
    for bad in [
        json!({"planner": "magic"}),
        json!({"planner": "packages:1000"}),
        json!({"planner": "\u{1b}[31mpackages:9"}),
        json!({"layer.labels": "[]"}),
        json!({"layer.labels": "["}),
        json!({"layer.labels": r#"[null,null,null]"#}),
        json!({"layer.labels": r#"["a","\u001b[31m",null,null]"#}),
        json!({"layer.labels": many}),
        json!({"layer.labels": long}),
    ] {
        claim(&layout, &sound);
        claim(&layout, &bad);
        let bench = Bench::new();
        let output = bench.command(["import", &source, "-q"]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("s@bootstrap claims names of layers"),
            "{bad}: {said}"
        );
        assert_eq!((said.lines().count(), said.contains('\u{1b}')), (1, false));
        let explained = bench.json(["explain", "1"]);
        assert_eq!(explained["planning"], Value::Null, "{bad}");
        let mut layers = explained["layers"].as_array().unwrap().iter();
        assert!(layers.all(|layer| layer["label"].is_null()), "{bad}");
    }
    // Nothing is claimed: nothing is told.
    claim(&layout, &json!({"planner": null, "layer.labels": null}));
    let bench = Bench::new();
    let output = bench.command(["import", &source, "-q"]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

/// Puts bytes into a layout as a blob, and returns digest and size as a descriptor has them.
fn put(layout: &Path, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    std::fs::write(layout.join("blobs/sha256").join(&digest), bytes).unwrap();
    json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
}

fn get(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap();
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    serde_json::from_slice(&std::fs::read(blob).unwrap()).unwrap()
}

/// Makes images in `layout` of the layers of those that are there: each of a stage, with layers by place and role.
fn stack(layout: &Path, stages: &[(&str, [(usize, &str); 3])]) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let there: Vec<Value> = index["manifests"].as_array().unwrap().clone();
    let updated = |value: &mut Value, with: Value| {
        let fields = value.as_object_mut().unwrap();
        fields.extend(with.as_object().unwrap().clone());
    };
    let image = |(stage, layers): &(&str, [(usize, &str); 3])| {
        let mut manifest = get(layout, &there[0]);
        let mut config = get(layout, &manifest["config"]);
        let of = layers.map(|(at, _)| get(layout, &there[at]));
        let diff_ids = of.clone().map(|of| {
            let config = get(layout, &of["config"]);
            config["rootfs"]["diff_ids"][0].clone()
        });
        config["rootfs"]["diff_ids"] = json!(diff_ids);
        config["history"] = json!([{}, {}, {}]);
        let mut taken = of.map(|of| of["layers"][0].clone());
        let mut labels = [Value::Null, Value::Null, Value::Null];
        for (place, (_, role)) in layers.iter().enumerate() {
            taken[place]["annotations"]["org.rootstrata.layer.role"] = json!(role);
            if *role == "package" {
                labels[place] = json!("x-1-1.x86_64");
            }
        }
        let config = put(layout, config.to_string().as_bytes());
        updated(&mut manifest["config"], config);
        manifest["layers"] = json!(taken);
        let mut listed = there[0].clone();
        updated(&mut listed, put(layout, manifest.to_string().as_bytes()));
        let claims = json!({
            "org.rootstrata.series": "s",
            "org.rootstrata.stage": stage,
            "org.rootstrata.planner": "packages:9",
            "org.rootstrata.layer.labels": json!(labels).to_string(),
        });
        updated(&mut listed["annotations"], claims);
        listed
    };
    index["manifests"] = stages.iter().map(image).collect();
    std::fs::write(&path, index.to_string()).unwrap();
}

/// Restores the stage from the store, changes little, and wants each snapshot to have what is there, in no layer of a package.
fn goes_on_soundly(bench: &Bench, stage: &str, options: &str) {
    let to = bench.path("to");
    bench.json(["restore", &format!("s@{stage}"), to.to_str().unwrap()]);
    settle(&to);
    let source = format!("dir:{}", to.display());
    for script in ["", "echo more >> opt/mine", "echo more >> opt/mine"] {
        sh(&to, script);
        settle(&to);
        let snapshot = bench.snapshot(&to, &format!("--profile mock --stage {stage} {options}"));
        let mut layers = snapshot["layers"].as_array().unwrap().iter();
        assert!(layers.all(|layer| layer["role"] != "package"), "{script}");
        let compared = bench.compared([&format!("s@{stage}"), &source]);
        assert_eq!(compared["different"], false, "{script}");
        bench.prints(0, ["-q", "verify", "--deep"]);
    }
}

#[test]
fn images_that_lie_of_their_package_layers_make_no_wrong_snapshot() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir opt; for n in $(seq 99); do echo $n > opt/$n; done",
    );
    let layout = bench.path("layout");
    for (series, content) in [("a", "1"), ("b", "2"), ("c", "22")] {
        sh(&root, &format!("echo {content} > opt/f"));
        bench.snapshot(&root, &format!("--profile mock --series {series}"));
        let to = layout.to_str().unwrap();
        bench.json(["export", series, "--format", "oci-dir", "-o", to]);
    }
    // The layer of the package lies elsewhere in the stage before, where another layer hides it.
    let below = [(0, "base"), (1, "package"), (2, "update")];
    let above = [(0, "base"), (2, "update"), (1, "package")];
    stack(&layout, &[("bootstrap", below), ("deps-installed", above)]);
    let other = Bench::new();
    other.json(["import", &format!("oci:{}", layout.display())]);
    assert_eq!(
        other.prints(0, ["cat", "s@deps-installed", "/opt/f"]),
        "2\n"
    );
    goes_on_soundly(&other, "deps-installed", "--layers packages:9");
    assert_eq!(
        other.prints(0, ["cat", "s@deps-installed", "/opt/f"]),
        "2\n"
    );
}

#[test]
fn an_image_that_does_not_tell_its_rule_is_no_base_for_stages() {
    let case = Case::new();
    case.record("", BOOTSTRAP);
    let layout = layout_of(&case.bench);
    claim(&layout, &json!({"planner": null, "layer.labels": null}));
    let (case, _old) = with_imported(case, &layout);
    goes_on_soundly(&case.bench, "bootstrap", "--layers stages");
}
