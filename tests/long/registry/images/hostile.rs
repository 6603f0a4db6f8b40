//! A registry that lies: each lie is refused in one line, and nothing of it counts.

use super::{FARM, MOVING, pull, push_all, recorded, refused_by, sound};
use crate::common::Bench;
use crate::common::registry::{FaultyRegistry, sha256};
use crate::registry::{TYPE, told};
use serde_json::{Value, json};

/// A registry with both images, and the digest of the later one.
pub(super) fn filled() -> (FaultyRegistry, String) {
    let registry = FaultyRegistry::start();
    push_all(&recorded().store(), &registry).unwrap();
    let digest = registry.state().repo(FARM).tags[MOVING[1]].clone();
    (registry, digest)
}

pub(super) fn manifest(registry: &FaultyRegistry, digest: &str) -> Value {
    let mut state = registry.state();
    serde_json::from_slice(&state.repo(FARM).manifests[digest].1).unwrap()
}

/// Puts a manifest under a tag, whatever it names.
pub(super) fn put(
    registry: &FaultyRegistry,
    tag: &str,
    media_type: &str,
    content: &Value,
) -> String {
    let bytes = content.to_string().into_bytes();
    let digest = sha256(&bytes);
    let mut state = registry.state();
    let repo = state.repo(FARM);
    let entry = (media_type.to_owned(), bytes);
    repo.manifests.insert(digest.clone(), entry);
    repo.tags.insert(tag.to_owned(), digest.clone());
    digest
}

/// Puts an image with another configuration, which `change` makes.
pub(super) fn put_with_config(
    registry: &FaultyRegistry,
    digest: &str,
    change: impl Fn(&mut Value),
) {
    let mut image = manifest(registry, digest);
    let config = image["config"]["digest"].as_str().unwrap().to_owned();
    let bytes = registry.state().repo(FARM).blobs[&config].clone();
    let mut config: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut config);
    let bytes = config.to_string().into_bytes();
    image["config"]["digest"] = registry.state().put_blob(FARM, &bytes).into();
    image["config"]["size"] = bytes.len().into();
    let lying = put(registry, "lie", TYPE, &image);
    // With the record, so that the series is known.
    let record = registry.state().repo(FARM).tags[&format!("image-{}", &digest[7..])].clone();
    let tag = format!("image-{}", &lying[7..]);
    registry.state().repo(FARM).tags.insert(tag, record);
}

/// Puts the record of an image anew, with other annotations.
pub(super) fn change_record(registry: &FaultyRegistry, digest: &str, name: &str, value: &str) {
    let tag = format!("image-{}", &digest[7..]);
    let record = registry.state().repo(FARM).tags[&tag].clone();
    let mut record = manifest(registry, &record);
    assert!(record["annotations"][name].is_string(), "{record}");
    record["annotations"][name] = value.into();
    put(registry, &tag, TYPE, &record);
}

fn refused(registry: &FaultyRegistry, rest: &str) -> String {
    refused_by(pull, registry, rest)
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let (registry, digest) = filled();
    let mut other = manifest(&registry, &digest);
    other["layers"] = json!([]);
    let bytes = other.to_string().into_bytes();
    let entry = (TYPE.to_owned(), bytes);
    registry
        .state()
        .repo(FARM)
        .manifests
        .insert(digest.clone(), entry);
    for rest in [format!("@{digest}"), format!(":{}", MOVING[1])] {
        let text = refused(&registry, &rest);
        assert!(text.contains("has the digest"), "{text}");
    }
}

#[test]
fn a_layer_or_a_configuration_of_other_bytes_is_refused() {
    let (registry, digest) = filled();
    let image = manifest(&registry, &digest);
    let layers = image["layers"].as_array().unwrap().iter();
    let named = layers.chain([&image["config"]]);
    for name in named.map(|one| one["digest"].as_str().unwrap()) {
        let sound = registry.state().repo(FARM).blobs[name].clone();
        let mut flipped = sound.clone();
        *flipped.last_mut().unwrap() ^= 1;
        // The unused bit of a frame's header (RFC 8878, 3.1.1.1.1.3): it unpacks alike, and has another digest.
        let mut alike = sound.clone();
        alike[4] ^= 0x10;
        for other in [flipped, alike, sound[1..].to_vec(), Vec::new()] {
            registry
                .state()
                .repo(FARM)
                .blobs
                .insert(name.to_owned(), other);
            refused(&registry, &format!(":{}", MOVING[1]));
        }
        registry
            .state()
            .repo(FARM)
            .blobs
            .insert(name.to_owned(), sound);
    }
}

#[test]
fn a_configuration_that_lies_of_the_content_is_refused() {
    let (registry, digest) = filled();
    for place in 0..2 {
        put_with_config(&registry, &digest, |config| {
            config["rootfs"]["diff_ids"][place] = format!("sha256:{}", "a".repeat(64)).into();
        });
        refused(&registry, ":lie");
    }
    put_with_config(&registry, &digest, |config| {
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    });
    let text = refused(&registry, ":lie");
    assert!(text.contains("another number of layers"), "{text}");
    put_with_config(&registry, &digest, |config| *config = json!(7));
    refused(&registry, ":lie");
}

#[test]
fn a_record_with_a_bad_name_is_refused() {
    let (registry, digest) = filled();
    for name in ["org.rootstrata.series", "org.rootstrata.stage"] {
        for value in ["../x", "", "a b", "\u{1b}[2J"] {
            let before = registry.state().repo(FARM).tags.clone();
            change_record(&registry, &digest, name, value);
            let bench = Bench::new();
            let error = pull(&bench.store(), &registry, &format!("@{digest}")).unwrap_err();
            let text = told(&error);
            assert!(
                text.starts_with("bad ") && !text.contains(char::is_control),
                "{text}"
            );
            assert_eq!(sound(&bench.store()), 0);
            registry.state().repo(FARM).tags = before;
        }
    }
}

#[test]
fn other_claims_of_a_record_count_only_as_far_as_the_content_bears_them_out() {
    let (registry, digest) = filled();
    for (name, value) in [
        ("org.rootstrata.policy", "{}"),
        ("org.rootstrata.policy", "nonsense"),
        ("org.rootstrata.planner", "magic:9"),
        ("org.rootstrata.layer.labels", "[\"a\"]"),
    ] {
        let before = registry.state().repo(FARM).tags.clone();
        change_record(&registry, &digest, name, value);
        let bench = Bench::new();
        let pulled = pull(&bench.store(), &registry, &format!("@{digest}")).unwrap();
        let manifest = pulled.images[0].snapshot.manifest.digest.to_string();
        assert_eq!(manifest, digest);
        assert_eq!(sound(&bench.store()), 1);
        bench.prints(0, ["verify", "--deep"]);
        registry.state().repo(FARM).tags = before;
    }
}

#[test]
fn an_index_without_end_is_refused_before_much_is_asked() {
    let (registry, digest) = filled();
    let index = "application/vnd.oci.image.index.v1+json";
    let listed = |digest: &str, size: usize, media_type: &str| json!({"digest": digest, "size": size, "mediaType": media_type});
    let list = |all: Vec<Value>| json!({"schemaVersion": 2, "mediaType": index, "manifests": all});
    // Far more images than any index has, none for this machine.
    let size = manifest(&registry, &digest).to_string().len();
    let many = vec![listed(&digest, size, TYPE); 20_000];
    put(&registry, "many", index, &list(many));
    // Each of which the registry does not have.
    let absent = |n: usize| listed(&format!("sha256:{n:064x}"), 700, TYPE);
    put(
        &registry,
        "absent",
        index,
        &list((0..20_000).map(absent).collect()),
    );
    // Indexes of indexes.
    let mut below = list(vec![listed(&digest, size, TYPE)]).to_string();
    for _ in 0..20 {
        let inner = put(
            &registry,
            "deep",
            index,
            &serde_json::from_str(&below).unwrap(),
        );
        let inner = listed(&inner, below.len(), index);
        below = list(vec![inner]).to_string();
    }
    for tag in ["many", "absent", "deep"] {
        registry.clear_log();
        let text = refused(&registry, &format!(":{tag}"));
        let asked = registry.requests().len();
        assert!(asked < 20, "{tag}: {asked} requests: {text}");
    }
}

#[test]
fn a_record_of_another_layer_or_of_nothing_does_not_keep_a_push_from_its_blobs() {
    let bench = recorded();
    let (registry, sound_one) = (FaultyRegistry::start(), FaultyRegistry::start());
    push_all(&bench.store(), &sound_one).unwrap();
    let tags = sound_one.state().repo(FARM).tags.clone();
    let records: Vec<_> = tags
        .iter()
        .filter(|(tag, _)| tag.starts_with("layer-"))
        .collect();
    for (tag, _) in &records {
        // The record of another layer.
        let (_, other) = records.iter().find(|(one, _)| one != tag).unwrap();
        put(&registry, tag, TYPE, &manifest(&sound_one, other));
    }
    push_all(&bench.store(), &registry).unwrap();
    let mut state = registry.state();
    for tag in tags.keys().filter(|tag| !tag.starts_with("run-")) {
        assert_eq!(state.repo(FARM).tags.get(tag), tags.get(tag), "{tag}");
    }
    assert!(state.lacking(FARM).is_empty());
}
