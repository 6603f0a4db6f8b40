//! A push that is cut at each of its requests, and the next push.

use super::{
    FARM, MOVING, OPTIONS, assert_whole, at, is_of_repository, pull, push_all, push_request,
    recorded, snapshot, sound,
};
use crate::common::registry::{FaultyRegistry, What};
use crate::common::{Bench, sh};
use crate::registry::access;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::remote::push::push;
use std::process::Stdio;

/// Pushes to a mended registry, and wants both images there.
fn assert_next_ends_it(bench: &Bench, registry: &FaultyRegistry, label: &str) {
    registry.mend();
    let next = push_all(&bench.store(), registry);
    assert!(next.is_ok(), "{label}: {next:?}");
    assert_whole(registry, label);
    let mut state = registry.state();
    for tag in MOVING {
        assert!(state.repo(FARM).tags.contains_key(tag), "{label}");
    }
}

#[test]
fn a_push_that_a_registry_cuts_anywhere_leaves_whole_images_and_the_next_ends_it() {
    let bench = recorded();
    let mut at_request = 0;
    loop {
        let mut is_cut = false;
        for what in [
            What::Status(503, Some("0")),
            What::Status(403, None),
            What::LoseAnswer,
        ] {
            let label = format!("{at_request} {what:?}");
            let registry = FaultyRegistry::start();
            registry.state().is_careless = true;
            registry.when_after(is_of_repository, at_request, usize::MAX, what);
            is_cut |= push_all(&bench.store(), &registry).is_err();
            assert_whole(&registry, &label);
            assert_next_ends_it(&bench, &registry, &label);
        }
        if !is_cut {
            break;
        }
        at_request += 1;
    }
    assert!(at_request > 20, "{at_request}");
    assert_eq!(sound(&bench.store()), 2);
}

#[test]
fn a_push_that_is_killed_anywhere_leaves_whole_images_and_the_next_ends_it() {
    let bench = recorded();
    for at_request in 0.. {
        let label = at_request.to_string();
        let registry = FaultyRegistry::start();
        registry.state().is_careless = true;
        registry.nth(at_request, What::Stall);
        let target = at(&registry, "");
        let mut command = bench.command(["push", "-q", "--jobs", "1", &target]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        while registry.has_faults() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let is_over = registry.has_faults();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole(&registry, &label);
        assert_next_ends_it(&bench, &registry, &label);
        if is_over {
            assert!(at_request > 20, "{at_request}");
            break;
        }
    }
    assert_eq!(sound(&bench.store()), 2);
}

#[test]
fn blobs_that_a_registry_has_lost_are_sent_again() {
    let bench = recorded();
    let registry = FaultyRegistry::start();
    push_all(&bench.store(), &registry).unwrap();
    let all: Vec<String> = registry.state().repo(FARM).blobs.keys().cloned().collect();
    for digest in all {
        registry.state().repo(FARM).blobs.remove(&digest);
        let done = push_all(&bench.store(), &registry);
        assert!(done.is_ok(), "{digest}: {done:?}");
        let lacking = registry.state().lacking(FARM);
        // A record of a layer may lack its items; an image lacks nothing.
        let of_images = lacking.iter().filter(|one| one.starts_with("fedora."));
        assert_eq!(of_images.count(), 0, "{digest}: {lacking:?}");
        pull(&Bench::new().store(), &registry, ":fedora.deps-installed").unwrap();
    }
}

#[test]
fn pushes_side_by_side_end_in_whole_images() {
    let bench = recorded();
    let registry = FaultyRegistry::start();
    registry.state().is_careless = true;
    std::thread::scope(|scope| {
        for number in [1, 2, 1, 2] {
            let (bench, registry) = (&bench, &registry);
            scope.spawn(move || {
                let mut request = push_request(registry, &access());
                request.snapshots = vec![snapshot(number)];
                request.jobs = 4.try_into().unwrap();
                push(&bench.store(), &request, &Silent).unwrap();
            });
        }
    });
    assert_whole(&registry, "side by side");
    assert_next_ends_it(&bench, &registry, "side by side");
}

#[test]
fn the_store_is_free_while_a_push_is_stalled() {
    let bench = recorded();
    let registry = FaultyRegistry::start();
    registry.when(
        |r| r.method == "PUT" && r.path.contains("/blobs/"),
        1,
        What::Stall,
    );
    let target = at(&registry, "");
    let mut command = bench.command(["push", "-q", "2", &target]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    while registry.has_faults() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let root = bench.path("root");
    sh(&root, "echo later > etc/later");
    bench.snapshot(&root, &format!("{OPTIONS} --stage deps-installed"));
    bench.prints(0, ["prune", "--keep-last", "1", "--no-wait"]);
    assert_eq!(bench.ids(), [3, 1]);
    bench.prints(0, ["verify", "--deep"]);
    assert!(child.try_wait().unwrap().is_none(), "the push is over");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_whole(&registry, "stalled");
    assert_next_ends_it(&bench, &registry, "stalled");
}
