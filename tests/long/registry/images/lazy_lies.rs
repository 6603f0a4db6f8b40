//! Records that lie: refused in one line, or found out before anybody is told of a layer.

use super::compared::{bomb, change_layer, layer_record, layer_tags};
use super::hostile::{change_record, filled, manifest, put, put_with_config};
use super::{
    FARM, MOVING, OPTIONS, at, layers_of, pull_lazy, push_all, recorded, refused_by, sound,
};
use crate::common::registry::FaultyRegistry;
use crate::common::{Bench, one_error, text};
use crate::registry::TYPE;
use rootstrata::layer::side_blob::compress;
use rootstrata::model::digest::Digest;
use rootstrata::oci::record::LayerRecord;
use serde_json::Value;

fn refused(registry: &FaultyRegistry, rest: &str) -> String {
    refused_by(pull_lazy, registry, rest)
}

#[test]
fn a_record_of_a_layer_that_is_not_the_layer_is_refused_and_the_store_stays_as_it_was() {
    let (registry, _) = filled();
    let tags = layer_tags(&registry);
    let image = format!(":{}", MOVING[1]);
    let of_image: Vec<&String> = {
        let layers = layers_of(&registry, MOVING[1]);
        let is_of =
            |tag: &&String| layers.contains(&layer_record(&registry, tag).blob.digest.to_string());
        tags.iter().filter(is_of).collect()
    };
    let (first, second) = (of_image[0], of_image[1]);
    let other = layer_record(&registry, second);
    let put_items = |record: &mut LayerRecord, bytes: &[u8]| {
        let digest = registry.state().put_blob(FARM, bytes);
        record.items.digest = Digest::parse(&digest).unwrap();
    };
    type Lie<'l> = (&'l str, Box<dyn Fn(&mut LayerRecord) + 'l>);
    let lies: Vec<Lie> = vec![
        (
            "do not give that key",
            Box::new(|record| record.items = other.items.clone()),
        ),
        (
            "do not give that key",
            Box::new(|record| record.policy.0[0] ^= 1),
        ),
        (
            "and the image",
            Box::new(|record| record.diff_id = other.diff_id),
        ),
        (
            "has no record of layer",
            Box::new(|record| record.key = other.key),
        ),
        (
            "do not unpack",
            Box::new(|record| put_items(record, &bomb())),
        ),
        (
            "do not give that key",
            Box::new(|record| put_items(record, &compress(b"e").unwrap())),
        ),
        (
            "are not in the registry",
            Box::new(|record| record.items.digest.0[0] ^= 1),
        ),
    ];
    for (why, lie) in lies {
        let tags = registry.state().repo(FARM).tags.clone();
        change_layer(&registry, first, lie);
        let said = refused(&registry, &image);
        registry.state().repo(FARM).tags = tags;
        assert!(said.contains(why), "{why}: {said}");
    }
    registry
        .state()
        .repo(FARM)
        .tags
        .retain(|tag, _| tag != first);
    assert!(refused(&registry, &image).contains("has no record of layer"));
}

#[test]
fn layers_of_a_policy_that_nobody_knows_are_refused() {
    let bench = Bench::new();
    let root = bench.make("root");
    std::fs::write(root.join("file"), "x").unwrap();
    bench.snapshot(
        &root,
        "--profile plain --series fedora --stage bootstrap --volatile /log/*",
    );
    let registry = FaultyRegistry::start();
    let image = at(&registry, &format!(":{}", MOVING[0]));
    let pushed = bench.json(["push", "1", &image]);
    let digest = pushed["images"][0]["manifest_digest"].as_str().unwrap();
    change_record(&registry, digest, "org.rootstrata.policy", "nonsense");
    let said = refused(&registry, &format!(":{}", MOVING[0]));
    assert!(said.contains("unknown policy"), "{said}");
}

#[test]
fn packages_that_are_malformed_are_unknown_with_a_note() {
    let (registry, digest) = filled();
    let tag = format!("image-{}", &digest[7..]);
    let record = registry.state().repo(FARM).tags[&tag].clone();
    let mut record = manifest(&registry, &record);
    for bytes in [compress(b"none").unwrap(), b"none".to_vec(), bomb()] {
        record["layers"][0]["digest"] = registry.state().put_blob(FARM, &bytes).into();
        put(&registry, &tag, TYPE, &record);
        let bench = Bench::new();
        let image = at(&registry, &format!(":{}", MOVING[1]));
        let output = bench.command(["pull", "--lazy", &image]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        let notes: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("packages are unknown"))
            .collect();
        assert_eq!(notes.len(), 1, "{said}");
        assert_eq!(bench.json(["show", "1"])["packages"], Value::Null);
        assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    }
}

/// Puts an image as `lie`, whose lowest layer has in the manifest the uppermost blob of the earlier image: a sound blob, and another's.
fn put_with_other_blob(registry: &FaultyRegistry, digest: &str) -> String {
    let mut image = manifest(registry, digest);
    let earlier = registry.state().repo(FARM).tags[MOVING[0]].clone();
    let earlier = manifest(registry, &earlier);
    let other = earlier["layers"].as_array().unwrap().last().unwrap();
    assert!(
        !image["layers"]
            .to_string()
            .contains(other["digest"].as_str().unwrap())
    );
    for field in ["digest", "size"] {
        image["layers"][0][field] = other[field].clone();
    }
    let lying = put(registry, "lie", TYPE, &image);
    let record = registry.state().repo(FARM).tags[&format!("image-{}", &digest[7..])].clone();
    let tag = format!("image-{}", &lying[7..]);
    registry.state().repo(FARM).tags.insert(tag, record);
    image["layers"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_blob_that_is_another_layer_is_refused_when_it_is_fetched_and_nothing_of_it_gets_out() {
    let (registry, digest) = filled();
    let blob = put_with_other_blob(&registry, &digest);
    for wanted in ["restore", "export", "push", "cat"] {
        let bench = Bench::new();
        bench.json(["pull", "--lazy", &at(&registry, ":lie")]);
        let target = bench.path("out");
        let target = target.to_str().unwrap();
        let other = format!("docker://{}/other/roots:t", registry.host());
        let mut command = match wanted {
            "restore" => bench.command(["restore", "1", target]),
            "export" => bench.command(["export", "1", "-o", target]),
            "push" => bench.command(["push", "1", &other]),
            _ => bench.command(["cat", "1", "etc/mine"]),
        };
        let said = one_error(command.arg("-q").output().unwrap(), 2);
        assert!(said.contains(&blob), "{wanted}: {said}");
        assert!(!bench.path("out").exists(), "{wanted}");
        assert!(
            registry.state().repo("other/roots").tags.is_empty(),
            "{wanted}"
        );
        assert_eq!(sound(&bench.store()), 1, "{wanted}");
        let verified = bench.json(["verify", "--deep"]);
        assert_eq!(verified["sound"], true, "{wanted}");
        let index = std::fs::read_to_string(bench.store().join("index.json")).unwrap();
        assert!(!index.contains("sha256:"), "{index}");
        // A file would count as what the lie says.
        let hex = blob.trim_start_matches("sha256:");
        assert!(!bench.store().join("blobs/sha256").join(hex).exists());
        std::fs::create_dir(bench.path("root")).unwrap();
        bench.snapshot(
            &bench.path("root"),
            "--profile plain --series fedora --stage deps-installed",
        );
        bench.json(["prune", "--keep-last", "1"]);
        assert_eq!(bench.ids(), [2], "{wanted}");
        assert_eq!(sound(&bench.store()), 1, "{wanted}");
    }
}

#[test]
fn a_blob_of_the_store_is_not_taken_for_another_layer_that_a_record_calls_so() {
    let (registry, digest) = filled();
    let blob = put_with_other_blob(&registry, &digest);
    let bench = Bench::new();
    bench.json(["pull", &at(&registry, &format!(":{}", MOVING[1]))]);
    let earlier = at(&registry, &format!(":{}", MOVING[0]));
    bench.json(["pull", &earlier]);
    let line = bench.fails(2, ["pull", "--lazy", &at(&registry, ":lie")]);
    assert!(line.contains(&blob), "{line}");
    assert_eq!(bench.ids(), [2, 1]);
    assert_eq!(sound(&bench.store()), 2);
    // The other way round: first the lie, then the image.
    for lazy in [vec!["pull", "--lazy"], vec!["pull"]] {
        let bench = Bench::new();
        bench.json(["pull", "--lazy", &at(&registry, ":lie"), "--series", "lie"]);
        let line = bench.fails(2, lazy.iter().copied().chain([earlier.as_str()]));
        assert!(line.contains(&blob), "{line}");
        assert_eq!(bench.ids(), [1]);
        let index = std::fs::read_to_string(bench.store().join("index.json")).unwrap();
        assert!(!index.contains("sha256:"), "{index}");
        // A file would count as what the lie says.
        let hex = blob.trim_start_matches("sha256:");
        assert!(!bench.store().join("blobs/sha256").join(hex).exists());
    }
}

#[test]
fn a_recording_over_a_lying_record_never_names_the_claimed_diff_id() {
    let bench = recorded();
    let registry = FaultyRegistry::start();
    push_all(&bench.store(), &registry).unwrap();
    let digest = registry.state().repo(FARM).tags[MOVING[1]].clone();
    let claimed = format!("sha256:{}", "a".repeat(64));
    put_with_config(&registry, &digest, |config| {
        config["rootfs"]["diff_ids"][0] = claimed.clone().into();
    });
    let lowest = layers_of(&registry, MOVING[1])[0].clone();
    let tags = layer_tags(&registry);
    let is_lowest = |tag: &&String| layer_record(&registry, tag).blob.digest.to_string() == lowest;
    let tag = tags.iter().find(is_lowest).unwrap();
    change_layer(&registry, tag, |record| record.diff_id.0 = [0xaa; 32]);
    std::fs::remove_dir_all(bench.store()).unwrap();
    bench.json(["pull", "--lazy", &at(&registry, ":lie")]);
    let root = bench.path("root");
    for options in [
        OPTIONS.to_owned(),
        format!("{OPTIONS} --from {}", at(&registry, "")),
    ] {
        let options = format!("{options} --stage deps-installed");
        let mut command = bench.command(["snapshot", "-q", root.to_str().unwrap()]);
        let output = command.args(options.split(' ')).output().unwrap();
        if !output.status.success() {
            // A note on the record may come before.
            let said = text(&output.stderr);
            let error = said.lines().last().unwrap();
            assert!(
                error.contains("diff_id") || error.contains(&claimed),
                "{said}"
            );
        }
        for entry in std::fs::read_dir(bench.store().join("blobs/sha256")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let is_own = text(&bytes).contains(&claimed) && !is_of_lie(&registry, &bytes);
            assert!(!is_own, "{options}");
        }
        assert_eq!(bench.json(["verify", "--deep"])["sound"], true, "{options}");
    }
}

/// Whether these bytes are the configuration that the registry has.
fn is_of_lie(registry: &FaultyRegistry, bytes: &[u8]) -> bool {
    let mut state = registry.state();
    state.repo(FARM).blobs.values().any(|blob| blob == bytes)
}
