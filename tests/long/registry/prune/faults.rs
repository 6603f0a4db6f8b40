//! Each fault of a registry at each request of a prune: done in the end, or one clear error; what is to stay stays, and the next
//! prune ends it.

use super::*;
use crate::common::registry::{What, tried};
use crate::registry::images::{assert_clear, is_of_repository};
use crate::registry::told;

const PASSING: [What; 4] = [
    What::Status(503, None),
    What::CutAfter(0),
    What::CutBody(20),
    What::LoseAnswer,
];

/// Faults, each with how often it comes.
fn lasting() -> Vec<(What, usize)> {
    let nonsense = What::Says(200, "{}".into());
    vec![
        (What::Status(404, None), 1),
        (nonsense.clone(), 1),
        (What::WrongBody, 1),
        (What::Status(404, None), usize::MAX),
        (What::Status(403, None), usize::MAX),
        (What::Status(405, None), usize::MAX),
        (What::Status(503, Some("0")), usize::MAX),
        (nonsense, usize::MAX),
    ]
}

/// The tags after a prune without a fault, and the number of its requests.
fn undisturbed(farm: &Farm) -> (BTreeSet<String>, usize) {
    farm.registry.clear_log();
    farm.prune().unwrap();
    (farm.tags(), farm.registry.requests().len())
}

/// Wants all that is to stay, by its tags.
fn assert_stays(farm: &Farm, staying: &BTreeSet<String>, label: &str) {
    let tags = farm.tags();
    let gone: Vec<&String> = staying.difference(&tags).collect();
    assert!(gone.is_empty(), "{label}: {gone:?}");
    let lacking = farm.registry.state().lacking(FARM);
    assert!(lacking.is_empty(), "{label}: {lacking:?}");
}

#[test]
fn each_passing_fault_of_a_prune_is_got_over() {
    let farm = Farm::new();
    let (staying, requests) = undisturbed(&farm);
    assert!(requests > 30, "{requests}");
    for nth in 0..requests {
        for what in tried(PASSING, nth) {
            let label = format!("{nth} {what:?}");
            farm.refill();
            farm.registry.nth(nth, what);
            let done = farm.prune();
            assert!(done.is_ok(), "{label}: {done:?}");
            assert!(!farm.registry.has_faults(), "{label}");
            assert_eq!(farm.tags(), staying, "{label}");
        }
    }
}

#[test]
fn each_lasting_fault_of_a_prune_leaves_what_is_to_stay_and_the_next_ends_it() {
    let farm = Farm::new();
    let (staying, requests) = undisturbed(&farm);
    for nth in 0..requests {
        for (what, times) in tried(lasting(), nth) {
            let label = format!("{nth} {what:?} {times}");
            farm.refill();
            farm.registry.when_after(is_of_repository, nth, times, what);
            if let Err(error) = farm.prune() {
                assert_clear(&told(&error), &farm.registry, &label);
            }
            assert_stays(&farm, &staying, &label);
            farm.registry.mend();
            farm.prune().unwrap();
            assert_eq!(farm.tags(), staying, "{label}");
        }
    }
    farm.assert_complete(1, "faults");
    farm.assert_complete(4, "faults");
}

#[test]
fn what_a_push_needs_is_put_back_though_the_prune_fails() {
    let farm = Farm::new();
    for nth in 0..9 {
        farm.refill();
        let (store, mut request) = (farm.bench.store(), push_request(&farm.registry, &access()));
        request.snapshots = vec![snapshot(2)];
        // The push comes once the repository was looked at, and before the first deletion.
        let looks = farm.full.tags.len();
        farm.registry.before(looks, move || {
            push(&store, &request, &Silent).unwrap();
        });
        farm.registry
            .when_after(|r| r.method == "DELETE", nth, 1, What::Status(400, None));
        let _ = farm.prune();
        farm.assert_complete(2, &format!("{nth}"));
    }
}
