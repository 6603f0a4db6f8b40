//! Questions about an image of a registry, and what is fetched for them.

use super::{FARM, MOVING, at, push_all, recorded};
use crate::common::registry::{FaultyRegistry, What, sha256};
use crate::common::{Bench, one_error, sh, text};
use serde_json::Value;
use std::process::Command;

/// The later image.
fn image(registry: &FaultyRegistry) -> String {
    at(registry, &format!(":{}", MOVING[1]))
}

/// A command whose stores for images are beneath the bench.
fn asking(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    command.env("TMPDIR", bench.make("tmp"));
    command
}

fn printed(bench: &Bench, arguments: &[&str]) -> Vec<u8> {
    let output = asking(bench, arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    let mut all = vec!["--json", "-q"];
    all.extend(arguments);
    serde_json::from_slice(&printed(bench, &all)).unwrap()
}

/// Takes away what an image has not, and what an image alone has.
fn bare(mut json: Value) -> Value {
    let object = json.as_object_mut().unwrap();
    for name in ["id", "run", "time", "parent", "source", "since", "before"] {
        object.remove(name);
    }
    for name in ["remote_layers", "remote_bytes"] {
        object.remove(name);
    }
    for name in ["layers", "found"] {
        for one in object
            .get_mut(name)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let one = one.as_object_mut().unwrap();
            for name in ["id", "run", "time", "reused"] {
                one.remove(name);
            }
        }
    }
    let layer = object.get_mut("layer").and_then(Value::as_object_mut);
    layer.into_iter().for_each(|layer| {
        layer.remove("reused");
    });
    json
}

#[test]
fn an_image_of_a_registry_answers_like_its_snapshot() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    push_all(&bench.store(), &registry).unwrap();
    let (image, other) = (image(&registry), Bench::new());
    for rest in [&["show"][..], &["ls"], &["which", "/usr/bin/b"]] {
        let (verb, rest) = rest.split_first().unwrap();
        let of = |bench: &Bench, subject: &str| {
            let mut arguments = vec![*verb, subject];
            arguments.extend(rest);
            bare(json(bench, &arguments))
        };
        assert_eq!(of(&other, &image), of(&bench, "2"), "{verb}");
    }
    for what in [
        &["--path", "/usr/bin/*"][..],
        &["--package", "b"],
        &["--package", "nothing"],
    ] {
        let mut arguments = vec!["find", "--json", "-q"];
        arguments.extend(what);
        let found = |bench: &Bench, more: &[&str]| {
            let output = asking(bench, &arguments).args(more).output().unwrap();
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            let all = json["found"].as_array().unwrap().clone();
            let of_stage = |one: &Value| one["stage"] == "deps-installed";
            let all = all.into_iter().filter(of_stage).map(bare);
            (output.status.code(), all.collect::<Vec<_>>())
        };
        assert_eq!(found(&other, &["--in", &image]), found(&bench, &[]));
    }
    let file = printed(&other, &["cat", &image, "/usr/bin/b"]);
    assert_eq!(file, std::fs::read(bench.path("root/usr/bin/b")).unwrap());
    let there = other.path("there");
    printed(&other, &["restore", &image, there.to_str().unwrap()]);
    bench.prints(0, ["diff", "2", &format!("dir:{}", there.display())]);
    // Nobody has asked for a store, and nothing is left over.
    assert!(!other.store().exists());
    assert_eq!(std::fs::read_dir(other.path("tmp")).unwrap().count(), 0);
    let shown = text(&printed(&other, &["show", &image]));
    assert!(shown.starts_with(&format!("{image}: fedora@deps-installed\n")));
    assert!(!shown.contains("in a registry"), "{shown}");
}

#[test]
fn an_image_without_records_is_read_after_a_note() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    push_all(&bench.store(), &registry).unwrap();
    let is_record = |tag: &str| {
        ["layer-", "image-"]
            .iter()
            .any(|kind| tag.starts_with(kind))
    };
    registry
        .state()
        .repo(FARM)
        .tags
        .retain(|tag, _| !is_record(tag));
    let (image, other) = (image(&registry), Bench::new());
    let output = asking(&other, &["ls", &image]).output().unwrap();
    assert!(output.status.success());
    let notes = text(&output.stderr);
    assert!(notes.contains("its layers are read"), "{notes}");
    let expected = bench.command(["ls", "2"]).output().unwrap();
    assert_eq!(text(&output.stdout), text(&expected.stdout));
}

#[test]
fn what_is_no_image_there_is_one_line() {
    let (registry, bench) = (FaultyRegistry::start(), Bench::new());
    let image = at(&registry, ":none");
    for verb in ["ls", "show"] {
        let line = one_error(asking(&bench, &[verb, &image, "-q"]).output().unwrap(), 2);
        assert!(line.contains(&image), "{line}");
    }
    let output = asking(&bench, &["find", "--in", "3", "--path", "/x"]).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

/// A store with one layer of 24 MB that does not shrink, and a file between.
fn large() -> (Bench, FaultyRegistry) {
    let (bench, registry) = (Bench::new(), FaultyRegistry::start());
    let root = bench.make("root");
    sh(
        &root,
        "head -c 12000000 /dev/urandom > a; echo small > b; head -c 12000000 /dev/urandom > c; mkdir d; ln b d/b2; ln -s d e
         head -c 700000 /dev/urandom > d/f",
    );
    bench.snapshot(
        &root,
        "--profile plain --series fedora --stage deps-installed --layers stages",
    );
    bench.prints(0, ["push", &at(&registry, "")]);
    (bench, registry)
}

/// The bytes of blobs that were asked for; each request must ask for a part.
fn parts_bytes(registry: &FaultyRegistry) -> usize {
    let asked = registry.log().into_iter();
    let asked = asked.filter(|one| one.path.contains("/blobs/"));
    let lengths: Vec<usize> = asked
        .map(|one| length(&one.range.unwrap_or_else(|| panic!("all of {}", one.path))))
        .collect();
    assert!(!lengths.is_empty());
    lengths.iter().sum()
}

/// The length of `bytes=FIRST-LAST`.
fn length(range: &str) -> usize {
    let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
    last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
}

#[test]
fn of_a_large_layer_the_part_with_a_file_is_fetched_alone() {
    let (bench, registry) = large();
    let (image, other) = (image(&registry), Bench::new());
    other.prints(0, ["pull", "--lazy", &image]);
    registry.clear_log();
    let there = other.path("there");
    let there = there.to_str().unwrap();
    printed(&other, &["restore", "fedora", there, "b", "d/b2"]);
    let requests = registry.requests();
    assert!(requests.len() <= 4, "{requests:?}");
    assert!(parts_bytes(&registry) < 9 << 20, "{requests:?}");
    assert_eq!(std::fs::read(other.path("there/b")).unwrap(), b"small\n");
    assert_eq!(std::fs::read(other.path("there/d/b2")).unwrap(), b"small\n");
    // Through a link, and at the end of the layer.
    registry.clear_log();
    let file = printed(&other, &["cat", "fedora", "/e/f"]);
    assert_eq!(file, std::fs::read(bench.path("root/d/f")).unwrap());
    assert!(parts_bytes(&registry) < 9 << 20);
    let verified = json(&other, &["verify"]);
    assert_eq!(verified["remote_layers"], 1, "{verified}");
    // All of it is the layer, and a blob of the store.
    printed(&other, &["restore", "fedora", there, "--exact"]);
    assert_eq!(json(&other, &["verify", "--deep"])["remote_layers"], 0);
    bench.prints(0, ["diff", "1", &format!("dir:{there}")]);
}

#[test]
fn a_server_without_ranges_gives_parts_too() {
    let (bench, registry) = large();
    let (image, other) = (image(&registry), Bench::new());
    registry.when(
        |request| request.header("range").is_some(),
        usize::MAX,
        What::NoRange,
    );
    let file = printed(&other, &["cat", &image, "/d/f"]);
    assert_eq!(file, std::fs::read(bench.path("root/d/f")).unwrap());
}

#[test]
fn a_part_that_is_another_is_refused() {
    let (_bench, registry) = large();
    let (image, other) = (image(&registry), Bench::new());
    other.prints(0, ["pull", "--lazy", &image]);
    let there = other.path("there");
    let lengths = "org.rootstrata.layer.frames";
    let mut changed = 0;
    {
        let mut state = registry.state();
        let repo = state.repo(FARM);
        for (tag, digest) in &mut repo.tags {
            let (media_type, bytes) = repo.manifests[digest].clone();
            let mut record: Value = serde_json::from_slice(&bytes).unwrap();
            let Some(frames) = record["annotations"][lengths].as_str() else {
                continue;
            };
            let (content, all) = frames.split_once(':').unwrap();
            let mut all: Vec<u64> = all.split(',').map(|one| one.parse().unwrap()).collect();
            if all.len() < 4 {
                continue;
            }
            // As long together as before, and each beginning elsewhere.
            all[0] -= 3;
            *all.last_mut().unwrap() += 3;
            let all: Vec<String> = all.iter().map(u64::to_string).collect();
            record["annotations"][lengths] = format!("{content}:{}", all.join(",")).into();
            let bytes = record.to_string().into_bytes();
            *digest = sha256(&bytes);
            repo.manifests.insert(digest.clone(), (media_type, bytes));
            assert!(tag.starts_with("layer-"));
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    let line = other.fails(2, ["restore", "fedora", there.to_str().unwrap(), "d/f"]);
    assert!(line.contains("docker://"), "{line}");
    assert!(!other.path("there/d/f").exists());
    other.prints(0, ["verify"]);
}

#[test]
fn a_part_with_other_bytes_is_refused() {
    let (_bench, registry) = large();
    let (image, other) = (image(&registry), Bench::new());
    other.prints(0, ["pull", "--lazy", &image]);
    registry.when(
        |request| request.header("range").is_some(),
        usize::MAX,
        What::WrongBody,
    );
    let there = other.path("there");
    let line = other.fails(2, ["restore", "fedora", there.to_str().unwrap(), "d/f"]);
    assert!(line.contains("docker://"), "{line}");
    assert!(!other.path("there/d/f").exists());
    other.prints(0, ["verify"]);
}
