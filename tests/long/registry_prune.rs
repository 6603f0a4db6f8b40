//! `prune --registry` with Debian's docker-registry: what is kept is pulled after the registry has collected its garbage, and the disk
//! has more room; and `prune --local-blobs`.

use crate::common::registry::DebianRegistry;
use crate::common::{Bench, one_error, sh, succeeds};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const NAME: &str = "farm/roots";
const OPTIONS: &str = "--profile plain --series fedora --stage deps-installed";

/// The bytes of the files below a directory.
fn used(directory: &Path) -> u64 {
    let told = succeeds(Command::new("du").args(["-sb", directory.to_str().unwrap()]));
    told.split_whitespace().next().unwrap().parse().unwrap()
}

/// A store with three snapshots, each with a large file of its own, all of them pushed.
fn pushed(registry: &DebianRegistry, bench: &Bench) -> Vec<Value> {
    let root = bench.make("root");
    let target = format!("docker://{}/{NAME}", registry.host());
    let mut all = Vec::new();
    for number in 0..3 {
        let script = format!("head -c 3000000 /dev/urandom > large; echo {number} > number");
        sh(&root, &script);
        bench.snapshot(&root, OPTIONS);
        let mut arguments = vec!["push", "fedora", &target];
        let authfile = registry.authfile();
        let authfile = authfile.as_ref().map(|file| file.to_str().unwrap());
        arguments.extend(authfile.iter().flat_map(|file| ["--authfile", file]));
        all.push(bench.json(arguments)["images"][0].clone());
    }
    all
}

fn prune_and_collect(kind: &[&str]) {
    let bench = Bench::new();
    let directory = bench.path("registry");
    let registry = DebianRegistry::start(&directory, kind);
    let images = pushed(&registry, &bench);
    let target = format!("docker://{}/{NAME}", registry.host());
    let authfile = registry.authfile();
    let authfile = authfile.as_ref().map(|file| file.to_str().unwrap());
    let with: Vec<&str> = authfile
        .iter()
        .flat_map(|file| ["--authfile", file])
        .collect();
    let others = Bench::new();
    let json = |arguments: &[&str]| others.json(arguments.iter().chain(&with));
    // Pushes of these seconds go on, by the grace.
    let prune = ["prune", "--registry", &target, "--keep-last", "1"];
    assert_eq!(json(&prune)["removed"].as_array().unwrap().len(), 0);
    let before = used(&directory.join("data"));
    let grace = [&prune[..], &["--grace", "0"]].concat();
    let mut removed = 0;
    // Until the second of the last push is over.
    while removed < 2 {
        let pruned = json(&grace);
        removed += pruned["removed"].as_array().unwrap().len();
        let kept = pruned["kept"].as_array().unwrap().len();
        assert_eq!(removed + kept, 3, "{pruned}");
    }
    let collect = "docker-registry garbage-collect registry.yml > collected 2>&1";
    sh(&directory, collect);
    let after = used(&directory.join("data"));
    assert!(after + 5_000_000 < before, "{before} {after}");
    let last = images.last().unwrap();
    let digest = last["manifest_digest"].as_str().unwrap();
    for tag in last["tags"].as_array().unwrap() {
        let name = format!("{target}:{}", tag.as_str().unwrap());
        let pulled = json(&["pull", &name]);
        assert_eq!(pulled["images"][0]["manifest_digest"], digest);
    }
    others.prints(0, ["verify", "--deep"]);
    for image in &images[..2] {
        let name = format!("{target}@{}", image["manifest_digest"].as_str().unwrap());
        let mut command = others.command(["pull", &name, "-q"]);
        one_error(command.args(&with).output().unwrap(), 2);
    }
    // A builder goes on, with what was collected as well.
    let mut again = vec!["push", "fedora~1", &target];
    again.extend(&with);
    bench.json(again);
    let name = format!("{target}:{}", images[1]["tags"][1].as_str().unwrap());
    let pulled = json(&["pull", &name]);
    assert_eq!(
        pulled["images"][0]["manifest_digest"],
        images[1]["manifest_digest"]
    );
    others.prints(0, ["verify", "--deep"]);
}

#[test]
fn what_is_kept_is_pulled_after_a_collection_and_the_disk_has_more_room() {
    prune_and_collect(&[]);
}

#[test]
fn what_a_registry_alone_has_is_there_after_a_collection_and_the_store_has_more_room() {
    let bench = Bench::new();
    let directory = bench.path("registry");
    let registry = DebianRegistry::start(&directory, &[]);
    pushed(&registry, &bench);
    let target = format!("docker://{}/{NAME}", registry.host());
    let archive = bench.path("out.oci");
    let export = |number: &str| {
        let _ = std::fs::remove_file(&archive);
        bench.json(["export", number, "-o", archive.to_str().unwrap()]);
        std::fs::read(&archive).unwrap()
    };
    let exported = ["1", "2", "3"].map(export);
    let before = used(&bench.store());
    let done = bench.json(["prune", "--local-blobs", &target]);
    assert!(done["blob_bytes"].as_u64().unwrap() > 6_000_000, "{done}");
    let after = used(&bench.store());
    assert!(after + 5_900_000 < before, "{before} {after}");
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let collect = "docker-registry garbage-collect registry.yml > collected 2>&1";
    sh(&directory, collect);
    assert!(["1", "2", "3"].map(export) == exported);
    assert_eq!(bench.json(["verify", "--deep"])["remote_layers"], 0);
}

#[test]
fn a_token_with_the_right_to_delete_is_asked_for() {
    prune_and_collect(&["--token"]);
}

#[test]
fn a_registry_without_deletion_says_what_to_set_and_loses_nothing() {
    let bench = Bench::new();
    let registry = DebianRegistry::start(&bench.path("registry"), &["--no-delete"]);
    let images = pushed(&registry, &bench);
    let target = format!("docker://{}/{NAME}", registry.host());
    let prune = ["prune", "--registry", &target, "--keep-last", "1", "-q"];
    let grace = [&prune[..], &["--grace", "0"]].concat();
    let output = loop {
        let output = bench.command(&grace).output().unwrap();
        // Until the second of the last push is over.
        if output.status.code() != Some(0) {
            break output;
        }
    };
    let line = one_error(output, 2);
    assert!(line.contains("storage.delete.enabled"), "{line}");
    for image in &images {
        let name = format!("{target}@{}", image["manifest_digest"].as_str().unwrap());
        bench.prints(0, ["pull", "--series", "back", &name]);
    }
}
