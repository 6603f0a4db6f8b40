//! Builders with stores of their own that share layers through a registry.

use crate::common::registry::{Auth, FaultyRegistry};
use crate::common::{Bench, settle, sh};
use crate::package_layers::Case;
use rootstrata::oci::record::LayerRecord;
use serde_json::Value;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

const NAME: &str = "farm/layers";
const RECORD: &str = "--profile mock --layers packages:9 --series f --volatile /log/*";

/// A builder that has pushed its root, and the registry.
struct Farm {
    case: Case,
    registry: FaultyRegistry,
}

impl Farm {
    fn new() -> Self {
        let case = Case::new();
        sh(&case.root, "mkdir log; echo first > log/a");
        settle(&case.root);
        let farm = Self {
            case,
            registry: FaultyRegistry::start(),
        };
        farm.case
            .bench
            .snapshot(&farm.case.root, &format!("{RECORD} --to {}", farm.target()));
        farm
    }

    fn target(&self) -> String {
        format!("docker://{}/{NAME}", self.registry.host())
    }

    /// Another installation of the same, whose log is another.
    fn other_root(&self, bench: &Bench) -> PathBuf {
        let root = bench.path("other");
        let script = format!("cp -a {} {}", self.case.root.display(), root.display());
        sh(Path::new("/"), &script);
        sh(&root, "echo second > log/a");
        settle(&root);
        root
    }

    /// Records another installation without a registry: what it must be like.
    fn alone(&self, root: &Path) -> Value {
        Bench::new().snapshot(root, RECORD)
    }
}

fn layers(snapshot: &Value) -> u64 {
    snapshot["layers"].as_array().unwrap().len() as u64
}

fn has_blob(bench: &Bench, digest: &Value) -> bool {
    let hex = digest.as_str().unwrap().replace("sha256:", "blobs/sha256/");
    bench.store().join(hex).exists()
}

#[test]
fn a_builder_with_an_empty_store_packs_and_sends_its_state_alone() {
    let farm = Farm::new();
    let bench = Bench::new();
    let root = farm.other_root(&bench);
    let target = farm.target();
    let snapshot = bench.snapshot(&root, &format!("{RECORD} --from {target} --to {target}"));
    let expected = farm.alone(&root);
    assert_eq!(snapshot["manifest_digest"], expected["manifest_digest"]);
    assert_eq!(snapshot["push"]["pushed"]["layers"], 1, "{snapshot}");
    assert_eq!(snapshot["remote_layers"], layers(&snapshot) - 1);
    let all = snapshot["layers"].as_array().unwrap();
    let (state, others) = all.split_last().unwrap();
    assert!(has_blob(&bench, &state["digest"]));
    assert!(
        others
            .iter()
            .all(|layer| !has_blob(&bench, &layer["digest"]))
    );
    let received = &snapshot["push"]["traffic"]["bytes_received"];
    assert!(received.as_u64().unwrap() < 20_000, "{received}");
}

#[test]
fn a_layer_that_only_a_registry_has_is_planned_over_and_fetched_when_its_bytes_are_wanted() {
    let farm = Farm::new();
    let bench = Bench::new();
    let root = farm.other_root(&bench);
    let from = format!("{RECORD} --from {}", farm.target());
    let snapshot = bench.snapshot(&root, &from);
    let remote = layers(&snapshot) - 1;
    let verified = bench.json(["verify", "--deep"]);
    assert_eq!(verified["sound"], true);
    assert_eq!(verified["remote_layers"], remote);
    assert_eq!(bench.json(["du"])["remote_layers"], remote);
    assert_eq!(bench.json(["show", "f"])["remote_layers"], remote);
    let index = || std::fs::read_to_string(bench.store().join("index.json")).unwrap();
    let digest = snapshot["manifest_digest"].as_str().unwrap();
    assert!(!index().contains(digest));
    // Without the registry, too.
    let again = bench.snapshot(&root, RECORD);
    assert_eq!(again["files_read"], 0);
    assert_eq!(again["manifest_digest"], snapshot["manifest_digest"]);
    sh(&root, "echo more > opt/mine; echo third > log/a");
    settle(&root);
    let changed = bench.snapshot(&root, RECORD);
    assert_eq!(changed["remote_layers"], remote);
    assert_eq!(
        changed["manifest_digest"],
        farm_like(&farm, &root, &changed)
    );
    bench.json(["prune", "--keep-last", "9"]);
    let archive = bench.path("out.oci");
    bench.json(["export", "f", "-o", archive.to_str().unwrap()]);
    let verified = bench.json(["verify", "--deep"]);
    assert_eq!(
        (&verified["sound"], &verified["remote_layers"]),
        (&true.into(), &0.into())
    );
    assert!(index().contains(digest));
}

/// The manifest of what two recordings of the root's history give without a registry.
fn farm_like(farm: &Farm, root: &Path, changed: &Value) -> Value {
    let bench = Bench::new();
    let before = farm.other_root(&bench);
    bench.snapshot(&before, RECORD);
    let now = bench.snapshot(root, RECORD);
    assert_eq!(layers(&now), layers(changed));
    now["manifest_digest"].clone()
}

#[test]
fn a_record_of_another_layer_is_named_and_the_layer_is_packed() {
    let farm = Farm::new();
    let mut lied = String::new();
    {
        let mut state = farm.registry.state();
        let repo = state.repos.get_mut(NAME).unwrap();
        let mut records: Vec<(String, LayerRecord)> = repo
            .tags
            .iter()
            .filter(|(tag, _)| tag.starts_with("layer-"))
            .filter_map(|(tag, digest)| {
                let record = LayerRecord::of_bytes(&repo.manifests[digest].1)?;
                Some((tag.clone(), record))
            })
            .collect();
        // The largest are packages', which both builders have.
        records.sort_by_key(|(_, record)| Reverse(record.tar_bytes));
        let (tag, own) = &records[0];
        let other = &records[1].1;
        let lie = LayerRecord {
            key: own.key,
            ..other.clone()
        };
        let bytes = lie.to_bytes().unwrap();
        let digest = crate::common::registry::sha256(&bytes);
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        repo.manifests.insert(digest.clone(), (media_type, bytes));
        repo.tags.insert(tag.clone(), digest);
        lied.push_str(&own.key.to_string());
    }
    let bench = Bench::new();
    let root = farm.other_root(&bench);
    let target = farm.target();
    let mut command = bench.command(["snapshot", root.to_str().unwrap()]);
    command.args(RECORD.split(' '));
    let output = command
        .args(["--from", &target, "--to", &target, "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&lied), "{said}");
    let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The blob of the layer was there all the time; the record is put right.
    let push = &snapshot["push"];
    assert_eq!(push["pushed"]["layers"], 1, "{said}\n{push}");
    let third = Bench::new();
    let root = farm.other_root(&third);
    let snapshot = third.snapshot(&root, &format!("{RECORD} --from {target}"));
    assert_eq!(snapshot["remote_layers"], layers(&snapshot));
    assert_eq!(
        snapshot["manifest_digest"],
        farm.alone(&root)["manifest_digest"]
    );
    let reader = Bench::new();
    reader.json([
        "pull",
        &format!("{target}@{}", snapshot["manifest_digest"].as_str().unwrap()),
        "--series",
        "f",
    ]);
    assert_eq!(reader.json(["verify", "--deep"])["sound"], true);
}

#[test]
fn a_layer_whose_blob_the_registry_has_lost_is_packed() {
    let farm = Farm::new();
    {
        let mut state = farm.registry.state();
        let repo = state.repos.get_mut(NAME).unwrap();
        repo.blobs.clear();
    }
    let bench = Bench::new();
    let root = farm.other_root(&bench);
    let target = farm.target();
    let snapshot = bench.snapshot(&root, &format!("{RECORD} --from {target} --to {target}"));
    assert_eq!(snapshot["remote_layers"], 0);
    assert_eq!(snapshot["push"]["pushed"]["layers"], layers(&snapshot));
}

#[test]
fn a_build_goes_on_without_a_registry_that_is_optional() {
    let auth = Auth::Basic("bm9ib2R5OnNlY3JldA==".to_owned());
    let registry = FaultyRegistry::with(auth);
    let target = format!("docker://{}/{NAME}", registry.host());
    let case = Case::new();
    settle(&case.root);
    let mut command = case
        .bench
        .command(["snapshot", case.root.to_str().unwrap()]);
    command
        .args(RECORD.split(' '))
        .args(["--from", &target, "--to", &target]);
    let refused = crate::common::one_error(command.output().unwrap(), 2);
    assert!(refused.contains("podman login"), "{refused}");
    assert_eq!(case.bench.ids().len(), 0);
    let output = command.arg("--registry-optional").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("not pushed"), "{said}");
    assert_eq!(case.bench.ids().len(), 1);
}

#[test]
fn a_fetched_layer_that_is_another_is_refused_and_the_store_stays_as_it_was() {
    let farm = Farm::new();
    let bench = Bench::new();
    let root = farm.other_root(&bench);
    let snapshot = bench.snapshot(&root, &format!("{RECORD} --from {}", farm.target()));
    let digest = snapshot["layers"][0]["digest"].as_str().unwrap().to_owned();
    {
        let mut state = farm.registry.state();
        let blob = state
            .repos
            .get_mut(NAME)
            .unwrap()
            .blobs
            .get_mut(&digest)
            .unwrap();
        blob[20] ^= 1;
    }
    let archive = bench.path("out.oci");
    let mut command = bench.command(["-q", "export", "f", "-o", archive.to_str().unwrap()]);
    let said = crate::common::one_error(command.output().unwrap(), 2);
    assert!(said.contains(&digest), "{said}");
    assert!(!archive.exists());
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
}
