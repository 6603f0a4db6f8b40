//! Images of a registry that are compared by their records: as if their layers were read, and without a layer.

use super::hostile::{filled, manifest, put};
use super::{FARM, MOVING, at, blobs_read, layers_of};
use crate::common::registry::FaultyRegistry;
use crate::common::rpmdb::{files, install};
use crate::common::{Bench, sh, text};
use crate::registry::TYPE;
use rootstrata::layer::side_blob::compress;
use rootstrata::oci::record::LayerRecord;
use std::path::PathBuf;

/// What a comparison says in all its forms, and its notes.
fn said(bench: &Bench, [a, b]: [&str; 2]) -> ([String; 3], String) {
    let mut notes = String::new();
    let forms = [vec![], vec!["--json"], vec!["--html", "-"]];
    let forms = forms.map(|form| {
        let mut command = bench.command(["diff", a, b, "--jobs", "2"]);
        let output = command.args(form).output().unwrap();
        notes = text(&output.stderr);
        assert!(output.status.code().unwrap() < 2, "{a} {b}: {notes}");
        text(&output.stdout)
    });
    (forms, notes)
}

/// Compares by records, and again where the registry has none; wants the same, and returns the JSON.
fn assert_same_both_ways(bench: &Bench, registry: &FaultyRegistry, sides: [&str; 2]) -> String {
    let layers: Vec<String> = MOVING
        .iter()
        .filter(|tag| registry.state().repo(FARM).tags.contains_key(**tag))
        .flat_map(|tag| layers_of(registry, tag))
        .collect();
    registry.clear_log();
    let (by_records, notes) = said(bench, sides);
    assert_eq!(notes, "", "{sides:?}");
    let read = blobs_read(registry);
    assert!(!read.is_empty(), "{sides:?}");
    let is_layer = |digest: &&String| layers.contains(digest);
    let is_beside_snapshot = sides.iter().any(|side| !side.contains(':'));
    if !is_beside_snapshot {
        assert_eq!(read.iter().find(is_layer), None, "{sides:?}");
    }
    let tags = registry.state().repo(FARM).tags.clone();
    registry
        .state()
        .repo(FARM)
        .tags
        .retain(|tag, _| !tag.starts_with("image-"));
    let (by_layers, notes) = said(bench, sides);
    registry.state().repo(FARM).tags = tags;
    let images = sides.iter().filter(|side| side.starts_with("docker://"));
    assert_eq!(notes.lines().count(), images.count(), "{notes}");
    assert!(
        notes.contains("the registry has no record of it: its layers are read"),
        "{notes}"
    );
    let [text, json, html] = by_records;
    assert_eq!([&text, &json, &html], by_layers.each_ref(), "{sides:?}");
    json
}

/// A Mock chroot of two stages, with users, links, hardlinks and what the second stage takes away.
fn chroot(bench: &Bench, options: &str) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p usr/bin etc builddir/build var/log; echo a > usr/bin/a; ln usr/bin/a usr/bin/a2; ln -s a usr/bin/link
         echo conf > etc/a.conf; echo gone > etc/gone; mkfifo etc/pipe; head -c 100000 /dev/urandom > usr/bin/large
         echo 'mockbuild:x:1000:135:Mock:/builddir:/bin/bash' > etc/passwd; echo 'mock:x:135:' > etc/group
         echo mine > builddir/mine; echo log > var/log/l; chmod 4755 usr/bin/a; touch -d @700 usr/bin/a etc/a.conf",
    );
    let a = || ("a-1", files(&["/usr/bin/a", "/usr/bin/a2", "/etc/a.conf"]));
    install(&root, &[a()]);
    bench.snapshot(&root, &format!("{options} --stage bootstrap"));
    sh(
        &root,
        "echo b > usr/bin/b; rm etc/gone; echo changed > builddir/mine; echo more >> var/log/l; mkdir -p opt/d; ln etc/a.conf opt/d/h
         touch -d @700 usr/bin/b; chmod 600 etc/a.conf",
    );
    install(&root, &[a(), ("b-2", files(&["/usr/bin/b"]))]);
    bench.snapshot(&root, &format!("{options} --stage deps-installed"));
    root
}

fn pushed(bench: &Bench) -> (FaultyRegistry, [String; 2]) {
    let registry = FaultyRegistry::start();
    bench.json(["push", &at(&registry, "")]);
    let images = MOVING.map(|tag| at(&registry, &format!(":{tag}")));
    (registry, images)
}

#[test]
fn images_that_are_compared_by_their_records_are_as_their_layers_are() {
    for options in [
        "--profile mock --layers packages:9 --series fedora --volatile /var/log/*",
        "--profile mock --layers stages --series fedora",
        "--profile plain --mtime fixed --layers packages:4 --series fedora",
    ] {
        let bench = Bench::new();
        let root = chroot(&bench, options);
        let (registry, [a, b]) = pushed(&bench);
        let archive = bench.path("image.oci");
        bench.prints(0, ["export", "1", "-o", archive.to_str().unwrap()]);
        let archive = format!("oci-archive:{}", archive.display());
        let other = Bench::new();
        for store in [&other, &bench] {
            let json = assert_same_both_ways(store, &registry, [&a, &b]);
            assert!(
                json.contains("etc/gone") && json.contains("b-2") || json.contains("\"b\""),
                "{json}"
            );
            assert_same_both_ways(store, &registry, [&b, &a]);
            assert_same_both_ways(store, &registry, [&a, &a]);
            assert_same_both_ways(store, &registry, [&archive, &b]);
            assert_same_both_ways(store, &registry, [&format!("dir:{}", root.display()), &a]);
        }
        for sides in [["1", b.as_str()], ["2", &b], [&a, "2"], [&a, "1"]] {
            assert_same_both_ways(&bench, &registry, sides);
        }
    }
}

#[test]
fn an_image_beside_a_snapshot_is_normalised_as_its_layers_are() {
    let plain = Bench::new();
    chroot(&plain, "--profile plain --layers stages --series fedora");
    let (registry, [a, _]) = pushed(&plain);
    let mock = Bench::new();
    chroot(&mock, "--profile mock --layers stages --series fedora");
    // Who owns the home of the build user follows from passwd, which no record has.
    let json = assert_same_both_ways(&mock, &registry, ["1", &a]);
    assert!(!json.contains("builddir"), "{json}");
}

#[test]
fn packages_that_no_record_has_are_read_out_of_the_layers_that_tell_of_them() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p var/lib/dpkg/info usr/bin; echo a > usr/bin/a; echo /usr/bin/a > var/lib/dpkg/info/a.list
         printf 'Package: a\\nStatus: install ok installed\\nArchitecture: amd64\\nVersion: 1\\n' > var/lib/dpkg/status",
    );
    let options = "--profile plain --layers stages --series fedora";
    bench.snapshot(&root, &format!("{options} --stage bootstrap"));
    sh(
        &root,
        "sed -i 's/Version: 1/Version: 2/' var/lib/dpkg/status",
    );
    bench.snapshot(&root, &format!("{options} --stage deps-installed"));
    let (registry, sides) = pushed(&bench);
    let other = Bench::new();
    let sides = sides.each_ref().map(String::as_str);
    let (by_records, notes) = said(&other, sides);
    assert_eq!(notes, "");
    assert!(by_records[1].contains("\"dpkg\""), "{}", by_records[1]);
    registry
        .state()
        .repo(FARM)
        .tags
        .retain(|tag, _| !tag.starts_with("image-"));
    assert_eq!(said(&other, sides).0, by_records);
}

#[test]
fn a_comparison_by_records_asks_for_each_layer_once_and_for_a_layer_where_contents_are_wanted() {
    let (registry, _) = filled();
    let layers = MOVING.map(|tag| layers_of(&registry, tag));
    let sides = MOVING.map(|tag| at(&registry, &format!(":{tag}")));
    let bench = Bench::new();
    registry.clear_log();
    bench.compared(["--jobs", "2", &sides[0], &sides[1]]);
    let all: std::collections::BTreeSet<&String> = layers.iter().flatten().collect();
    assert!(
        all.len() < layers.iter().map(Vec::len).sum(),
        "none is shared"
    );
    // Of each image the manifest, its record, its configuration and its packages; of each layer its record and its items.
    assert_eq!(registry.requests().len(), 2 * 4 + 2 * all.len());
    let read = blobs_read(&registry);
    assert!(read.iter().all(|digest| !all.contains(digest)), "{read:?}");
    assert!(!bench.store().exists());
    registry.clear_log();
    let compared = bench.compared([&sides[0], &sides[1], "--content", "usr/bin/b"]);
    assert_eq!(compared["files"][0]["path"], "/usr/bin/b", "{compared}");
    let read = blobs_read(&registry);
    assert!(read.iter().any(|digest| all.contains(digest)), "{read:?}");
}

/// The record of the layer at a tag.
pub(super) fn layer_record(registry: &FaultyRegistry, tag: &str) -> LayerRecord {
    let mut state = registry.state();
    let repo = state.repo(FARM);
    LayerRecord::of_bytes(&repo.manifests[&repo.tags[tag]].1).unwrap()
}

/// The tags of the records of layers.
pub(super) fn layer_tags(registry: &FaultyRegistry) -> Vec<String> {
    let tags = registry.state().repo(FARM).tags.clone();
    tags.into_keys()
        .filter(|tag| tag.starts_with("layer-"))
        .collect()
}

/// Puts the record of a layer anew, as `change` makes it.
pub(super) fn change_layer(
    registry: &FaultyRegistry,
    tag: &str,
    change: impl FnOnce(&mut LayerRecord),
) {
    let mut record = layer_record(registry, tag);
    change(&mut record);
    let record = serde_json::from_slice(&record.to_bytes().unwrap()).unwrap();
    put(registry, tag, TYPE, &record);
}

/// Bytes that unpack to more than any items have.
pub(super) fn bomb() -> Vec<u8> {
    compress(&vec![0; (1 << 30) + 1]).unwrap()
}

#[test]
fn images_whose_records_are_missing_or_lie_are_compared_by_their_layers_with_a_note_that_says_why()
{
    let (registry, digest) = filled();
    let sides = MOVING.map(|tag| at(&registry, &format!(":{tag}")));
    let sides = sides.each_ref().map(String::as_str);
    let bench = Bench::new();
    let (sound, notes) = said(&bench, sides);
    assert_eq!(notes, "");
    let tags = layer_tags(&registry);
    let items = |tag: &str| layer_record(&registry, tag).items;
    let put_items = |bytes: &[u8], record: &mut LayerRecord| {
        let digest = registry.state().put_blob(FARM, bytes);
        record.items.digest = rootstrata::model::digest::Digest::parse(&digest).unwrap();
        record.items.size_bytes = bytes.len() as u64;
    };
    type Lie<'l> = (&'l str, Box<dyn Fn() + 'l>);
    let first = tags[0].as_str();
    let lies: Vec<Lie> = vec![
        (
            "has no record of layer",
            Box::new(|| drop(registry.state().repo(FARM).tags.remove(first))),
        ),
        (
            "has no record of layer",
            Box::new(|| {
                let other = registry.state().repo(FARM).tags[&tags[1]].clone();
                put(&registry, first, TYPE, &manifest(&registry, &other));
            }),
        ),
        (
            "has no record of it",
            Box::new(|| {
                drop(
                    registry
                        .state()
                        .repo(FARM)
                        .tags
                        .remove(&format!("image-{}", &digest[7..])),
                )
            }),
        ),
        (
            "do not give that key",
            Box::new(|| change_layer(&registry, first, |record| record.items = items(&tags[1]))),
        ),
        (
            "do not give that key",
            Box::new(|| change_layer(&registry, first, |record| record.policy.0[0] ^= 1)),
        ),
        (
            "and the image",
            Box::new(|| change_layer(&registry, first, |record| record.diff_id.0[0] ^= 1)),
        ),
        (
            "do not unpack",
            Box::new(|| change_layer(&registry, first, |record| put_items(b"none", record))),
        ),
        (
            "do not unpack",
            Box::new(|| change_layer(&registry, first, |record| put_items(&bomb(), record))),
        ),
        (
            "are not in the registry",
            Box::new(|| change_layer(&registry, first, |record| record.items.digest.0[0] ^= 1)),
        ),
        (
            "cannot be had",
            Box::new(|| {
                let digest = items(first).digest.to_string();
                registry
                    .state()
                    .repo(FARM)
                    .blobs
                    .insert(digest, b"other".to_vec());
            }),
        ),
        (
            "are malformed",
            Box::new(|| {
                let tag = format!("image-{}", &digest[7..]);
                let at = registry.state().repo(FARM).tags[&tag].clone();
                let mut record = manifest(&registry, &at);
                let bytes = compress(b"none").unwrap();
                record["layers"][0]["digest"] = registry.state().put_blob(FARM, &bytes).into();
                record["layers"][0]["size"] = bytes.len().into();
                put(&registry, &tag, TYPE, &record);
            }),
        ),
    ];
    for (why, lie) in lies {
        let tags = registry.state().repo(FARM).tags.clone();
        let blobs = registry.state().repo(FARM).blobs.clone();
        lie();
        let (forms, notes) = said(&bench, sides);
        registry.state().repo(FARM).tags = tags;
        registry.state().repo(FARM).blobs = blobs;
        assert_eq!(forms, sound, "{why}: {notes}");
        let lines: Vec<&str> = notes.lines().collect();
        assert!(!lines.is_empty() && lines.len() <= 2, "{why}: {notes}");
        for line in lines {
            assert!(
                line.contains(why) && line.ends_with(": its layers are read"),
                "{why}: {notes}"
            );
        }
    }
}

#[test]
fn a_layer_that_one_repository_has_no_record_of_is_asked_of_the_other() {
    let (registry, _) = filled();
    let other = filled_like(&registry);
    let tags = layer_tags(&registry);
    for tag in &tags {
        registry.state().repo(FARM).tags.remove(tag);
    }
    let sides = [
        at(&registry, &format!(":{}", MOVING[1])),
        at(&other, &format!(":{}", MOVING[1])),
    ];
    let (_, notes) = said(&Bench::new(), sides.each_ref().map(String::as_str));
    assert_eq!(notes.lines().count(), 0, "{notes}");
}

/// Another registry with the same.
fn filled_like(registry: &FaultyRegistry) -> FaultyRegistry {
    let other = FaultyRegistry::start();
    let mut from = registry.state();
    let from = from.repo(FARM);
    let mut to = other.state();
    let repo = to.repo(FARM);
    (repo.blobs, repo.manifests, repo.tags) = (
        from.blobs.clone(),
        from.manifests.clone(),
        from.tags.clone(),
    );
    drop(to);
    other
}

#[test]
fn an_image_of_others_is_compared_by_its_layers() {
    let (registry, digest) = filled();
    let mut image = manifest(&registry, &digest);
    for layer in image["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("annotations");
    }
    put(&registry, "foreign", TYPE, &image);
    let sides = [
        at(&registry, ":foreign"),
        at(&registry, &format!(":{}", MOVING[1])),
    ];
    let (forms, notes) = said(&Bench::new(), sides.each_ref().map(String::as_str));
    assert!(
        notes.contains("is not of rootstrata: its layers are read"),
        "{notes}"
    );
    assert_eq!(notes.lines().count(), 1, "{notes}");
    assert!(forms[1].contains("\"different\":false"), "{}", forms[1]);
}

#[test]
fn a_registry_that_is_away_is_told_of_before_a_layer_is_read() {
    let (registry, _) = filled();
    let image = at(&registry, &format!(":{}", MOVING[1]));
    registry.when(
        |request| request.path.contains("/manifests/layer-"),
        usize::MAX,
        crate::common::registry::What::Status(503, Some("0")),
    );
    let line = Bench::new().fails(75, ["diff", &image, &image]);
    assert!(line.contains("cannot be reached"), "{line}");
}
