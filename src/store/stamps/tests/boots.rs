//! Stamps of other boots.

use super::bench::*;
use crate::model::stamp::{Mark, Time};
use crate::store::stamps::*;

/// When all was on the disk.
const UNTIL: Time = Time {
    seconds: 1000,
    nanos: 5,
};

/// Claims the stamps after a sync.
fn claim_synced(bench: &Bench) {
    let (_, state) = bench.read();
    let state = StampState {
        synced_until: Some(UNTIL),
        ..state
    };
    bench
        .store
        .borrow_mut()
        .claim_stamps(&bench.root, state, 7)
        .unwrap();
    assert_eq!(
        bench.read().1.lasting,
        Lasting {
            is_this_boot: true,
            durable_until: Some(UNTIL)
        }
    );
}

#[test]
fn in_another_boot_no_stamp_holds_but_those_of_what_was_on_the_disk() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    assert_eq!(
        bench.read().1.lasting,
        Lasting {
            is_this_boot: true,
            durable_until: None
        }
    );
    bench.store.borrow_mut().boot = b"another".to_vec();
    assert_eq!(bench.read().1.lasting, Lasting::default());
    bench.record();
    claim_synced(&bench);
    bench.store.borrow_mut().boot = b"a third".to_vec();
    assert_eq!(
        bench.read().1.lasting,
        Lasting {
            is_this_boot: false,
            durable_until: Some(UNTIL)
        }
    );
    // What was on the disk is so in every boot.
    bench.version = 2000;
    bench.act(Act::Update(Spread {
        first: 0,
        step: 10,
        count: 9,
        gone_step: 3,
        is_in_order: true,
    }));
    assert_eq!(
        bench.read().1.lasting,
        Lasting {
            is_this_boot: true,
            durable_until: Some(UNTIL)
        }
    );
    assert!(bench.read().0 == bench.map);
}

#[test]
fn a_boot_that_nobody_can_tell_from_others_is_always_another() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    store.borrow_mut().boot.clear();
    bench.record();
    assert_eq!(bench.read().1.lasting, Lasting::default());
}

#[test]
fn what_tells_boots_apart_counts_for_nothing_where_it_is_damaged() {
    let (_directory, store) = new_store();
    for change in [
        "boot = 'another'",
        "boot = NULL",
        "durable_s = durable_s + 1",
        "durable_s = NULL",
        "durable_nanos = durable_nanos + 1",
        "durable_nanos = NULL",
        "durable_nanos = 1 << 40",
        "boot_sum = boot_sum + 1",
        "boot_sum = NULL",
    ] {
        let bench = Bench::with_newer(&store);
        claim_synced(&bench);
        let change = change.replace("'another'", "CAST('another' AS BLOB)");
        let query = format!("UPDATE root SET {change} WHERE id = ?");
        assert_eq!(
            bench
                .store
                .borrow()
                .connection
                .execute(&query, [bench.id()])
                .unwrap(),
            1
        );
        assert_eq!(bench.read().1.lasting, Lasting::default(), "{change}");
    }
}

#[test]
fn a_change_that_is_older_than_the_last_sync_takes_what_the_sync_said_back() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    claim_synced(&bench);
    // A mount point has no times of its own.
    let covered = Mark {
        inode: 0,
        ..stamp(0, 0).mark
    };
    bench.update(vec![(
        key(0),
        Some(Stamp {
            mark: covered,
            ..stamp(0, 0)
        }),
    )]);
    assert_eq!(bench.read().1.lasting.durable_until, Some(UNTIL));
    // The clock was set back: these are new, and have times from before the sync.
    bench.act(Act::Update(Spread {
        first: 0,
        step: 50,
        count: 4,
        gone_step: 9,
        is_in_order: true,
    }));
    assert_eq!(
        bench.read().1.lasting,
        Lasting {
            is_this_boot: true,
            durable_until: None
        }
    );
}

#[test]
fn a_sync_counts_only_for_stamps_that_nobody_has_changed_since() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    let (_, state) = bench.read();
    bench.act(Act::Forget(3));
    let state = StampState {
        synced_until: Some(UNTIL),
        ..state
    };
    bench
        .store
        .borrow_mut()
        .claim_stamps(&bench.root, state, 7)
        .unwrap();
    assert_eq!(bench.read().1.lasting.durable_until, None);
}

#[test]
fn stamps_of_another_boot_that_a_run_did_not_see_are_gone_after_it() {
    let (_directory, store) = new_store();
    let bench = Bench::with_newer(&store);
    bench.store.borrow_mut().boot = b"another".to_vec();
    let key = key(3);
    let change = std::iter::once((key.as_slice(), Some(stamp(3, 9))));
    let unseen = StampState::default();
    bench
        .store
        .borrow_mut()
        .update_stamps(&bench.root, unseen, change)
        .unwrap();
    assert!(bench.read().0.into_keys().eq([key]));
}

#[test]
fn no_stamp_of_another_boot_speaks_again_when_a_newer_one_is_lost() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    bench.store.borrow_mut().boot = b"another".to_vec();
    bench.act(Act::Update(Spread {
        first: 0,
        step: 50,
        count: 9,
        gone_step: 4,
        is_in_order: true,
    }));
    assert!(bench.read().0 == bench.map);
    assert_eq!(bench.rows("newer_stamp"), 0);
}
