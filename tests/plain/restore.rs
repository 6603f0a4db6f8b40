//! What is recorded comes back: into an empty directory, over one that holds something, in part, and never beside it.

use crate::common::sh;
use crate::common::tree::walked;
use crate::shared::restore::{Case, assert_same, counts};

#[test]
fn every_layer_gives_what_no_upper_one_replaces_and_nothing_is_written_twice() {
    let case = Case::new(
        "head -c 500000 /dev/urandom > a; head -c 500000 /dev/urandom > b; ln b c; mkdir d; echo 1 > d/1",
    );
    sh(
        &case.root,
        "head -c 1000 /dev/urandom > b.new; mv b.new b; rm d/1; echo 2 > d/2",
    );
    case.record("--profile plain --stage t --run r1");
    let to = case.bench.path("to");
    let restored = case.restore(&to, "");
    assert_same(&walked(&to), &case.expected());
    assert_eq!(
        (
            restored["files_written"].as_u64(),
            restored["bytes_written"].as_u64()
        ),
        (Some(4), Some(1_001_002))
    );
    assert_eq!(restored["layers_read"], 2);
}

#[test]
fn only_layers_that_have_something_to_give_are_read() {
    let case = Case::new("head -c 500000 /dev/urandom > a; mkdir d; echo 1 > d/1");
    sh(&case.root, "echo 2 > d/2");
    case.record("--profile plain --stage t --run r1");
    let to = case.bench.path("to");
    case.restore(&to, "");
    sh(&to, "echo 3 > d/2; chmod 0600 d/1");
    let restored = case.restore(&to, "");
    assert_eq!(counts(&restored), [1, 1, 0, 3]);
    assert_eq!(
        (
            restored["layers_read"].as_u64(),
            restored["bytes_written"].as_u64()
        ),
        (Some(1), Some(2))
    );
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_would_be_done() {
    let case = Case::new("echo 1 > a; echo 2 > b; mkdir d");
    let to = case.bench.path("to");
    assert_eq!(counts(&case.restore(&to, "--dry-run")), [3, 1, 0, 0]);
    assert!(!to.exists());
    case.restore(&to, "");
    sh(
        &to,
        "echo x > a; touch more; chmod 0600 b; touch -r ../root .",
    ); // or its time would differ, too
    let before = walked(&to);
    assert_eq!(counts(&case.restore(&to, "--exact -n")), [1, 1, 1, 2]);
    assert_same(&walked(&to), &before);
}
