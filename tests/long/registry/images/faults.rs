//! Each fault at each request of a push and of a pull: done in the end, or one clear error; never a tag of an image that is
//! not whole, and never a store that is not sound.

use super::hostile::filled;
use super::{
    FARM, MOVING, assert_clear, assert_whole, is_of_repository, layers_of, pull, push_later,
    recorded, sound,
};
use crate::common::Bench;
use crate::common::registry::{FaultyRegistry, What, tried};
use crate::registry::told;
use rootstrata::error::Error;

pub(super) const PASSING: [What; 9] = [
    What::Status(429, Some("1")),
    What::Status(503, None),
    What::Status(500, None),
    What::CutAfter(0),
    What::CutAfter(30),
    What::CutBody(20),
    What::CutUpload(10),
    What::LoseAnswer,
    What::Garbage,
];

pub(super) fn lasting() -> Vec<What> {
    vec![
        What::Status(404, None),
        What::Status(400, None),
        What::Status(403, None),
        What::Says(
            405,
            r#"{"errors":[{"code":"UNSUPPORTED","message":"a[2J"}]}"#.into(),
        ),
        What::Says(200, "{}".into()),
        What::Gone,
        What::WrongBody,
        What::ShortBody,
        What::HugeBody,
        What::NoDigest,
        What::ImmutableTag,
        What::Status(503, Some("0")),
        What::RedirectTo("http://127.0.0.1:1".into()),
        What::UploadTo("http://127.0.0.1:1".into()),
    ]
}

/// How many requests a push and a pull take where nothing goes wrong, with the registry.
fn counted(bench: &Bench) -> (usize, usize, FaultyRegistry) {
    let registry = FaultyRegistry::start();
    push_later(&bench.store(), &registry).unwrap();
    let pushing = registry.requests().len();
    registry.clear_log();
    pull(&Bench::new().store(), &registry, ":fedora.deps-installed").unwrap();
    (pushing, registry.requests().len(), registry)
}

#[test]
fn each_passing_fault_of_a_push_is_got_over() {
    let bench = recorded();
    let (pushing, ..) = counted(&bench);
    assert!(pushing > 20, "{pushing}");
    for nth in 0..pushing {
        for what in tried(PASSING, nth) {
            let label = format!("{nth} {what:?}");
            let registry = FaultyRegistry::start();
            registry.state().is_careless = true;
            registry.nth(nth, what);
            let done = push_later(&bench.store(), &registry);
            assert!(done.is_ok(), "{label}: {done:?}");
            assert!(!registry.has_faults(), "{label}");
            assert_whole(&registry, &label);
            let mut state = registry.state();
            assert!(state.repo(FARM).tags.contains_key(MOVING[1]), "{label}");
        }
    }
    assert_eq!(sound(&bench.store()), 2);
}

#[test]
fn each_lasting_fault_of_a_push_leaves_no_tag_of_an_image_that_lacks_something() {
    let bench = recorded();
    let (pushing, ..) = counted(&bench);
    for nth in 0..pushing {
        for what in tried(lasting(), nth) {
            let label = format!("{nth} {what:?}");
            let registry = FaultyRegistry::start();
            registry.when_after(is_of_repository, nth, usize::MAX, what);
            if let Err(error) = push_later(&bench.store(), &registry) {
                assert_clear(&told(&error), &registry, &label);
            }
            assert_whole(&registry, &label);
        }
    }
    assert_eq!(sound(&bench.store()), 2);
}

#[test]
fn each_fault_of_a_pull_ends_in_the_image_or_one_clear_error() {
    let bench = recorded();
    let (_, pulling, registry) = counted(&bench);
    assert!(pulling > 4, "{pulling}");
    for nth in 0..pulling {
        for what in tried(PASSING, nth) {
            let label = format!("{nth} {what:?}");
            registry.nth(nth, what);
            let other = Bench::new();
            let done = pull(&other.store(), &registry, ":fedora.deps-installed");
            assert!(done.is_ok(), "{label}: {done:?}");
            assert_eq!(sound(&other.store()), 1, "{label}");
            registry.mend();
        }
        for what in tried(lasting(), nth) {
            let label = format!("{nth} {what:?}");
            registry.when_after(is_of_repository, nth, usize::MAX, what);
            let other = Bench::new();
            let done = pull(&other.store(), &registry, ":fedora.deps-installed");
            registry.mend();
            match done {
                Ok(_) => assert_eq!(sound(&other.store()), 1, "{label}"),
                Err(error) => {
                    assert_clear(&told(&error), &registry, &label);
                    assert_eq!(sound(&other.store()), 0, "{label}");
                }
            }
        }
    }
}

#[test]
fn a_layer_that_is_cut_again_and_again_is_a_registry_that_cannot_be_reached() {
    let (registry, _) = filled();
    for layer in layers_of(&registry, MOVING[1]) {
        let path = format!("/blobs/{layer}");
        registry.when(
            move |request| request.path.ends_with(&path),
            usize::MAX,
            What::CutBody(9),
        );
        let bench = Bench::new();
        let store = bench.store();
        let error = pull(&store, &registry, &format!(":{}", MOVING[1])).unwrap_err();
        assert!(
            matches!(error, Error::RegistryUnreachable { .. }),
            "{error:?}"
        );
        assert_clear(&told(&error), &registry, &layer);
        registry.mend();
    }
}
