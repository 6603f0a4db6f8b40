//! Images that are pulled by their records: what is asked for, what is fetched when it is wanted, and faults on the way.

use super::hostile::filled;
use super::{
    FARM, MOVING, assert_clear, at, blobs_read, is_of_repository, layers_of, pull_lazy, push_later,
    recorded, sound,
};
use crate::common::Bench;
use crate::common::registry::{FaultyRegistry, tried};
use crate::registry::images::faults::{PASSING, lasting};
use crate::registry::told;
use std::collections::HashSet;

/// What is asked for besides records of layers: the manifest, the record, the configuration and the packages of the image.
const OF_IMAGE: usize = 4;

fn index(bench: &Bench) -> String {
    std::fs::read_to_string(bench.store().join("index.json")).unwrap()
}

/// A store with the later image, pulled by its records.
fn pulled() -> (Bench, FaultyRegistry, String) {
    let (registry, digest) = filled();
    let bench = Bench::new();
    bench.json(["pull", "--lazy", &at(&registry, &format!(":{}", MOVING[1]))]);
    registry.clear_log();
    (bench, registry, digest)
}

#[test]
fn a_lazy_pull_asks_for_records_alone_and_the_next_one_for_those_of_new_layers() {
    let (registry, _) = filled();
    let bench = Bench::new();
    let mut known: HashSet<String> = HashSet::new();
    for tag in MOVING {
        let layers = layers_of(&registry, tag);
        let new = layers
            .iter()
            .filter(|layer| !known.contains(*layer))
            .count();
        assert!(new > 0 && (known.is_empty() || new < layers.len()));
        registry.clear_log();
        let pulled = pull_lazy(&bench.store(), &registry, &format!(":{tag}")).unwrap();
        assert_eq!(pulled.bytes_written, 0);
        let requests = registry.requests();
        assert_eq!(requests.len(), OF_IMAGE + 2 * new, "{requests:#?}");
        assert!(requests.iter().all(|one| one.starts_with("GET ")));
        let read = blobs_read(&registry);
        assert!(read.iter().all(|blob| !layers.contains(blob)), "{read:?}");
        known.extend(layers);
    }
    registry.clear_log();
    let again = pull_lazy(&bench.store(), &registry, &format!(":{}", MOVING[1])).unwrap();
    assert!(again.images[0].was_there);
    assert!(registry.requests().len() <= OF_IMAGE);
    assert_eq!(sound(&bench.store()), 2);
}

#[test]
fn a_pull_of_what_was_pulled_lazily_fetches_the_layers() {
    let (bench, registry, digest) = pulled();
    let image = at(&registry, &format!(":{}", MOVING[1]));
    let wanted: HashSet<String> = layers_of(&registry, MOVING[1]).into_iter().collect();
    assert_eq!(bench.json(["pull", &image])["images"][0]["was_there"], true);
    let read: HashSet<String> = blobs_read(&registry).into_iter().collect();
    assert!(wanted.is_subset(&read), "{read:?}");
    assert_eq!(
        bench.json(["show", "fedora@deps-installed"])["remote_layers"],
        0
    );
    assert!(index(&bench).contains(&digest));
    registry.clear_log();
    bench.json(["pull", &image]);
    assert!(
        blobs_read(&registry)
            .iter()
            .all(|blob| !wanted.contains(blob))
    );
    assert_eq!(sound(&bench.store()), 1);
}

#[test]
fn an_archive_of_what_was_pulled_lazily_brings_the_layers() {
    let (source, registry) = (recorded(), FaultyRegistry::start());
    push_later(&source.store(), &registry).unwrap();
    let archive = source.path("whole.tar");
    source.json(["export", "2", "-o", archive.to_str().unwrap()]);
    let bench = Bench::new();
    bench.json(["pull", "--lazy", &at(&registry, &format!(":{}", MOVING[1]))]);
    registry.clear_log();
    let image = format!("oci-archive:{}", archive.display());
    assert_eq!(
        bench.json(["import", &image])["images"][0]["was_there"],
        true
    );
    assert!(registry.requests().is_empty());
    assert_eq!(
        bench.json(["show", "fedora@deps-installed"])["remote_layers"],
        0
    );
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
}

#[test]
fn layers_of_a_lazy_pull_are_counted_apart_and_the_store_is_sound_without_them() {
    let (bench, registry, digest) = pulled();
    let layers = layers_of(&registry, MOVING[1]).len();
    for (arguments, field) in [
        (vec!["show", "fedora@deps-installed"], "remote_layers"),
        (vec!["du"], "remote_layers"),
        (vec!["verify", "--deep"], "remote_layers"),
    ] {
        assert_eq!(bench.json(&arguments)[field], layers, "{arguments:?}");
    }
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    assert!(!index(&bench).contains(&digest));
    assert_eq!(sound(&bench.store()), 1);
    // All that rows tell is told without the registry.
    let other = Bench::new();
    other.json(["pull", &at(&registry, &format!(":{}", MOVING[1]))]);
    registry.clear_log();
    for arguments in [
        vec!["ls", "1"],
        vec!["which", "1", "usr/bin/b"],
        vec!["explain", "1"],
    ] {
        // They were pulled at different moments.
        let told = |bench: &Bench| {
            let text = bench.prints(0, &arguments);
            let words = text.split(' ').filter(|word| !word.starts_with("20"));
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&bench), told(&other));
    }
    let packages = |bench: &Bench| bench.json(["show", "1"])["packages"].clone();
    assert_eq!(packages(&bench), packages(&other));
    assert_eq!(registry.requests(), [""; 0]);
}

#[test]
fn layers_of_a_lazy_pull_are_fetched_when_their_bytes_are_wanted_and_then_the_image_is_listed() {
    for wanted in ["cat", "restore", "export"] {
        let (bench, registry, digest) = pulled();
        let layers = layers_of(&registry, MOVING[1]);
        let (target, archive) = (bench.path("out"), bench.path("out.oci"));
        let said = match wanted {
            "cat" => bench.prints(0, ["cat", "1", "etc/a.conf"]),
            "restore" => bench.prints(0, ["restore", "1", target.to_str().unwrap()]),
            _ => bench.prints(0, ["export", "1", "-o", archive.to_str().unwrap()]),
        };
        match wanted {
            "cat" => assert_eq!(said, "conf\n"),
            "restore" => assert!(target.join("usr/bin/b").exists()),
            _ => {
                let archive = format!("oci-archive:{}", archive.display());
                bench.prints(0, ["diff", "1", &archive]);
            }
        }
        let read = blobs_read(&registry);
        assert!(
            read.iter().all(|blob| layers.contains(blob)),
            "{wanted}: {read:?}"
        );
        let left = bench.json(["show", "1"])["remote_layers"].as_u64().unwrap() as usize;
        assert_eq!(left, layers.len() - read.len(), "{wanted}");
        assert_eq!(index(&bench).contains(&digest), left == 0, "{wanted}");
        assert_eq!(bench.json(["verify", "--deep"])["sound"], true, "{wanted}");
        bench.prints(
            0,
            ["export", "1", "-o", bench.path("all.oci").to_str().unwrap()],
        );
        assert!(index(&bench).contains(&digest), "{wanted}");
        assert_eq!(bench.json(["verify", "--deep"])["remote_layers"], 0);
        assert_eq!(sound(&bench.store()), 1);
    }
}

#[test]
fn a_push_of_a_lazy_pull_to_another_repository_proves_the_layers_first() {
    let (bench, registry, _) = pulled();
    let target = format!("docker://{}/other/roots:t", registry.host());
    let pushed = bench.json(["push", "1", &target]);
    let layers = layers_of(&registry, MOVING[1]);
    let read = blobs_read(&registry);
    assert!(layers.iter().all(|layer| read.contains(layer)), "{read:?}");
    assert_eq!(pushed["images"][0]["was_there"], false);
    let lacking = registry.state().lacking("other/roots");
    assert!(lacking.is_empty(), "{lacking:?}");
}

#[test]
fn each_fault_of_a_lazy_pull_ends_in_the_image_or_one_clear_error() {
    let (registry, _) = filled();
    let tag = format!(":{}", MOVING[1]);
    registry.clear_log();
    pull_lazy(&Bench::new().store(), &registry, &tag).unwrap();
    let asked = registry.requests().len();
    assert!(asked > 8, "{asked}");
    for nth in 0..asked {
        for what in tried(PASSING, nth) {
            let label = format!("{nth} {what:?}");
            registry.nth(nth, what);
            let bench = Bench::new();
            let done = pull_lazy(&bench.store(), &registry, &tag);
            registry.mend();
            assert!(done.is_ok(), "{label}: {done:?}");
            assert_eq!(sound(&bench.store()), 1, "{label}");
        }
        for what in tried(lasting(), nth) {
            let label = format!("{nth} {what:?}");
            registry.when_after(is_of_repository, nth, usize::MAX, what);
            let bench = Bench::new();
            let done = pull_lazy(&bench.store(), &registry, &tag);
            registry.mend();
            match done {
                Ok(_) => assert_eq!(sound(&bench.store()), 1, "{label}"),
                Err(error) => {
                    assert_clear(&told(&error), &registry, &label);
                    assert_eq!(sound(&bench.store()), 0, "{label}");
                }
            }
        }
    }
    assert_eq!(registry.state().lacking(FARM), [""; 0]);
}
