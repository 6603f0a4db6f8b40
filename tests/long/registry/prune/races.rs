//! Builders that push while a prune goes on, at each request of either.

use super::*;
use std::sync::Arc;

/// Prunes with a push from beginning to end before request `nth`; tells whether there was such a request.
fn prune_with_push(farm: &Farm, nth: usize, number: i64, tag: Option<&str>) -> bool {
    farm.refill();
    let mut request = push_request(&farm.registry, &access());
    request.snapshots = vec![snapshot(number)];
    if let Some(tag) = tag {
        request.target.reference = Some(super::super::tag(tag));
    }
    let store = farm.bench.store();
    farm.registry.before(nth, move || {
        push(&store, &request, &Silent).unwrap();
    });
    farm.prune().unwrap();
    !farm.registry.forget_before()
}

#[test]
fn a_push_at_any_moment_of_a_prune_loses_nothing() {
    let farm = Farm::new();
    for (number, tag) in [
        // Expired images, one of them under a tag that nobody knows of; and a new one, whose package only expired images have.
        (2, Some("asked")),
        (3, None),
        (5, None),
    ] {
        for nth in 0.. {
            let label = format!("{number} at {nth}");
            if !prune_with_push(&farm, nth, number, tag) {
                assert!(nth > 30, "{label}");
                break;
            }
            farm.collect();
            if nth % 8 == 0 {
                farm.assert_complete(number, &label);
            }
            farm.assert_there(number, &label);
            farm.assert_there(1, &label);
            let tag = tag.unwrap_or("fedora.deps-installed");
            let digest = farm.digest(number);
            let found = farm.registry.state().repo(FARM).tags.get(tag).cloned();
            assert_eq!(found, Some(digest), "{label}: {tag}");
        }
    }
}

/// Pushes with a whole prune before request `nth`; tells whether there was such a request.
fn push_with_prune(farm: &Farm, nth: usize, number: i64, grace_s: i64) -> bool {
    farm.refill();
    let mut request = request(&farm.registry);
    request.grace_s = grace_s;
    farm.registry.before(nth, move || {
        prune(&request, &Silent).unwrap();
    });
    push_one(&farm.bench.store(), &farm.registry, number).unwrap();
    !farm.registry.forget_before()
}

#[test]
fn a_prune_at_any_moment_of_a_push_loses_nothing_of_it() {
    let farm = Farm::new();
    // Less than no grace: all pushes count as over.
    for grace_s in [DAY_S, -DAY_S] {
        for number in [2, 5] {
            for nth in 0.. {
                let label = format!("{number} at {nth}, grace {grace_s}");
                if !push_with_prune(&farm, nth, number, grace_s) {
                    assert!(nth >= 6, "{label}");
                    break;
                }
                farm.assert_there(number, &label);
            }
            farm.assert_complete(number, "pushed");
        }
    }
}

#[test]
fn prunes_and_pushes_side_by_side_leave_what_was_pushed() {
    let farm = Arc::new(Farm::new());
    for _ in 0..3 {
        farm.refill();
        std::thread::scope(|scope| {
            for number in [2, 5] {
                let farm = &farm;
                scope.spawn(move || push_one(&farm.bench.store(), &farm.registry, number).unwrap());
            }
            for _ in 0..2 {
                let farm = &farm;
                scope.spawn(move || {
                    let mut request = request(&farm.registry);
                    request.jobs = NonZeroUsize::new(4).unwrap();
                    for _ in 0..3 {
                        prune(&request, &Silent).unwrap();
                    }
                });
            }
        });
        farm.collect();
        for number in [1, 2, 5] {
            farm.assert_complete(number, "side by side");
        }
    }
}
