//! Each fault of a registry at each request: done in the end, or one clear error and nothing is removed.

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

fn lasting() -> Vec<What> {
    vec![
        What::Status(404, None),
        What::Status(403, None),
        What::Status(405, None),
        What::Status(503, Some("0")),
        What::CutAfter(0),
        What::Says(200, "{}".into()),
        What::WrongBody,
        What::ShortBody,
        What::Garbage,
    ]
}

/// A shelf, and how to make its store as it was.
struct Again {
    shelf: Shelf,
    requests: usize,
}

impl Again {
    /// `begin` of tags is taken away first.
    fn new(begin: Option<&str>) -> Self {
        let shelf = Shelf::new();
        if let Some(begin) = begin {
            let mut state = shelf.registry.state();
            state
                .repo(FARM)
                .tags
                .retain(|tag, _| !tag.starts_with(begin));
        }
        sh(&shelf.bench.path(""), "cp -a store before");
        shelf.release().unwrap();
        let requests = shelf.registry.requests().len();
        Self { shelf, requests }
    }

    fn refill(&self) {
        sh(
            &self.shelf.bench.path(""),
            "rm -r store; cp -a before store",
        );
        self.shelf.registry.mend();
    }
}

#[test]
fn each_passing_fault_of_a_release_is_got_over() {
    for begin in [None, Some("layer-")] {
        let again = Again::new(begin);
        let shelf = &again.shelf;
        assert!(again.requests >= 2 * shelf.old().len());
        for nth in 0..again.requests {
            for what in tried(PASSING, nth) {
                let label = format!("{nth} {what:?}");
                again.refill();
                shelf.registry.nth(nth, what);
                let done = shelf.release();
                assert!(done.is_ok(), "{label}: {done:?}");
                assert!(!shelf.registry.has_faults(), "{label}");
                assert_eq!(shelf.here(&shelf.old()), BTreeSet::new(), "{label}");
            }
        }
        shelf.assert_sound("passing");
    }
}

#[test]
fn each_lasting_fault_of_a_release_removes_nothing_that_the_registry_has_not_answered_for() {
    for begin in [None, Some("layer-")] {
        let again = Again::new(begin);
        let shelf = &again.shelf;
        let old = shelf.old();
        for nth in 0..again.requests {
            for what in tried(lasting(), nth) {
                for times in [1, usize::MAX] {
                    let label = format!("{nth} {what:?} {times}");
                    again.refill();
                    let registry = &shelf.registry;
                    registry.when_after(is_of_repository, nth, times, what.clone());
                    match shelf.release() {
                        Err(error) => {
                            assert_clear(&told(&error), registry, &label);
                            assert_eq!(shelf.here(&old), old, "{label}");
                        }
                        Ok(done) => {
                            let left = done.lacking.0 + done.unnamed.0;
                            assert_eq!(shelf.here(&old).len() as u64, left, "{label}");
                            assert_eq!(done.released.0 + left, old.len() as u64, "{label}");
                        }
                    }
                    sound(&shelf.bench.store());
                    registry.mend();
                    shelf.release().unwrap();
                    assert_eq!(shelf.here(&old), BTreeSet::new(), "{label}");
                }
            }
        }
        shelf.assert_sound("lasting");
    }
}
