//! Runs random cases, each from a seed of its own: a failure prints the seed, and a seed gives the same case again.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds of cases that failed once.
const KEPT: &str = include_str!("seeds.txt");

/// Runs the seeds that are kept for the test `name`, then `cases` new ones; or the seed of `ROOTSTRATA_SEED` alone.
pub(super) fn run<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: &S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let number = |variable| {
        std::env::var(variable)
            .ok()
            .map(|number| number.parse::<u64>().unwrap())
    };
    if let Some(seed) = number("ROOTSTRATA_SEED") {
        return run_seed(name, seed, strategy, &test);
    }
    let kept = kept_for(name, KEPT);
    let cases = number("ROOTSTRATA_CASES").unwrap_or(cases.into());
    let first = RandomState::new().hash_one(name);
    println!(
        "{name}: {} kept seeds, then {cases} from {first}",
        kept.len()
    );
    let new = (0..cases).map(|at| first.wrapping_add(at));
    for seed in kept.into_iter().chain(new) {
        run_seed(name, seed, strategy, &test);
    }
}

/// The seeds that a text has for a test.
fn kept_for(name: &str, text: &str) -> Vec<u64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter(|(test, _)| *test == name)
        .map(|(_, seed)| seed.parse().unwrap())
        .collect()
}

/// Runs the case of one seed. A case that fails is made smaller, and fails with its seed.
fn run_seed<S: Strategy>(
    name: &str,
    seed: u64,
    strategy: &S,
    test: &impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, generator(seed));
    let result = catch_unwind(AssertUnwindSafe(|| runner.run(strategy, test)));
    let failed = match result {
        Ok(Ok(())) => return,
        Ok(Err(failed)) => failed.to_string(),
        Err(_) => "panicked".to_owned(),
    };
    panic!(
        "{failed}\nagain with ROOTSTRATA_SEED={seed}; to keep it, a line of tests/long/random/seeds.txt:\n{name} {seed}"
    );
}

fn generator(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

#[test]
fn a_case_that_fails_names_a_seed_that_gives_the_same_case_again() {
    let strategy = prop::collection::vec(0..1_000_000u32, 5..9);
    // The first case of a seed is given to the test before it is made smaller.
    let first_of = |seed: u64| {
        let first = std::cell::RefCell::new(None);
        let said = catch_unwind(AssertUnwindSafe(|| {
            run_seed("a_test", seed, &strategy, &|case| {
                first.borrow_mut().get_or_insert(case);
                Err(TestCaseError::fail("odd"))
            });
        }))
        .unwrap_err();
        (first.take().unwrap(), said.downcast::<String>().unwrap())
    };
    let (first, said) = first_of(42);
    assert!(said.contains("ROOTSTRATA_SEED=42"), "{said}");
    assert!(said.ends_with("\na_test 42"), "{said}");
    let again = kept_for("a_test", said.lines().last().unwrap())[0];
    assert_eq!(first_of(again).0, first);
    assert_ne!(first_of(43).0, first);
}

#[test]
fn each_kept_seed_is_of_a_test_that_is_there() {
    assert_eq!(kept_for("a", "# a 1\na 2\nb 3\na 4"), [2, 4]);
    let tests = include_str!("mod.rs");
    for line in KEPT.lines().filter(|line| !line.starts_with('#')) {
        let (name, seed) = line.split_once(' ').unwrap();
        assert!(tests.contains(&format!("fn {name}()")), "{line}");
        seed.parse::<u64>().unwrap();
    }
}
