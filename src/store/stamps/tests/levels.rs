//! The two levels of rows, damaged and lost.

use super::bench::*;
use crate::model::stamp::Facts;
use crate::store::stamps::*;
use proptest::prelude::*;
use std::cell::RefCell;

#[test]
fn any_changes_give_what_a_map_gives() {
    let (_directory, store) = new_store();
    let (merges, kept_apart) = (RefCell::new(0), RefCell::new(0));
    let run = |acts: Vec<Act>| {
        let mut bench = Bench::new(&store);
        bench.update(Vec::new());
        for act in acts {
            let newer = bench.rows("newer_stamp");
            bench.act(act);
            let (found, state) = bench.read();
            assert!(found == bench.map, "{act:?}");
            assert!(state.generation.is_some() && !state.is_damaged);
            assert!(
                bench.bytes("newer_stamp") <= bench.bytes("stamp") / 8
                    || matches!(act, Act::Forget(_))
            );
            *merges.borrow_mut() += u32::from(newer > 0 && bench.rows("newer_stamp") == 0);
            *kept_apart.borrow_mut() += u32::from(bench.rows("newer_stamp") > 0);
        }
        bench.claim();
        assert!(bench.read().0 == bench.map);
        Ok(())
    };
    runner(150)
        .run(&prop::collection::vec(any_act(), 1..12), run)
        .unwrap();
    assert!(
        *merges.borrow() > 50 && *kept_apart.borrow() > 200,
        "{merges:?} {kept_apart:?}"
    );
}

#[test]
fn damaged_rows_give_no_stamp_that_never_was_and_are_gone_after_the_next_change() {
    let (_directory, store) = new_store();
    let found_out = RefCell::new([0, 0]);
    let acts = prop::collection::vec(any_act(), 0..5);
    let damages = prop::collection::vec((any::<bool>(), any::<usize>(), any_damage()), 1..4);
    let run = |(acts, damages): (Vec<Act>, Vec<(bool, usize, Damage)>)| {
        let mut bench = Bench::with_newer(&store);
        acts.into_iter().for_each(|act| bench.act(act));
        bench.claim();
        let [older, newer] =
            ["stamp", "newer_stamp"].map(|table| bench.rows_of(&store.borrow(), table));
        for (is_newer, row, how) in damages {
            bench.damage(["stamp", "newer_stamp"][usize::from(is_newer)], row, how);
        }
        // An older row that is not there any more leaves paths without a stamp, and none in its place.
        let is_older = bench
            .rows_of(&store.borrow(), "stamp")
            .iter()
            .any(|row| !older.contains(row));
        let is_newer = bench.rows_of(&store.borrow(), "newer_stamp") != newer;
        let must_be_missed = is_older || is_newer;
        [is_older, is_newer]
            .iter()
            .zip(&mut *found_out.borrow_mut())
            .for_each(|(is, n)| *n += u32::from(*is));
        let (found, state) = bench.read();
        for (key, stamp) in &found {
            assert!(
                bench
                    .written
                    .get(key)
                    .is_some_and(|written| written.contains(stamp)),
                "{key:?}"
            );
        }
        assert!(!must_be_missed || state.snapshot_id.is_none());
        bench.record();
        let (found, state) = bench.read();
        assert!(found == bench.map);
        assert_eq!((state.snapshot_id, state.is_damaged), (Some(7), false));
        Ok(())
    };
    runner(150).run(&(acts, damages), run).unwrap();
    assert!(
        found_out.borrow().iter().all(|count| *count > 30),
        "{found_out:?}"
    );
}

#[test]
fn a_newer_row_that_is_lost_is_missed() {
    let (_directory, store) = new_store();
    for how in [Damage::Delete, Damage::Root] {
        let bench = Bench::with_newer(&store);
        assert!(bench.damage("newer_stamp", 0, how));
        assert_eq!(bench.read().1.snapshot_id, None);
    }
}

#[test]
fn what_was_forgotten_stays_forgotten_whatever_is_lost() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    // One that has a newer stamp, and one that has none.
    for at in [10, 11] {
        assert!(bench.read().0.contains_key(&key(at)));
        bench.act(Act::Forget(at));
        assert!(bench.read().0 == bench.map);
    }
    while bench.damage("newer_stamp", 0, Damage::Delete) {}
    let (found, _) = bench.read();
    assert!(!found.contains_key(&key(10)) && !found.contains_key(&key(11)));
    assert_eq!(
        found.get(&key(20)),
        Some(&stamp(20, 1)),
        "the older one speaks again"
    );
}

#[test]
fn a_damaged_row_that_a_change_comes_upon_keeps_the_stamps_from_being_claimed() {
    let (_directory, store) = new_store();
    let bench = Bench::with_newer(&store);
    let (_, known) = bench.read();
    assert!(bench.damage("newer_stamp", 0, Damage::Sum(3)));
    let key = key(0);
    let change = std::iter::once((key.as_slice(), Some(stamp(0, 9))));
    let state = bench
        .store
        .borrow_mut()
        .update_stamps(&bench.root, known, change)
        .unwrap();
    bench
        .store
        .borrow_mut()
        .claim_stamps(&bench.root, state, 7)
        .unwrap();
    assert_eq!(bench.read().1.snapshot_id, None);
}

#[test]
fn what_changes_all_over_a_root_leaves_the_older_rows_alone() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    let before = bench.rows_of(&store.borrow(), "stamp");
    let all = Spread {
        first: 0,
        step: 20,
        count: KEYS / 20,
        gone_step: 5,
        is_in_order: true,
    };
    bench.act(Act::Update(all));
    assert!(bench.rows_of(&store.borrow(), "stamp") == before);
    assert!(bench.read().0 == bench.map);
}

#[test]
fn a_stamp_without_its_facts_leaves_none() {
    let (_directory, store) = new_store();
    let mut bench = Bench::with_newer(&store);
    let lacking = Stamp {
        facts: Facts::default(),
        ..stamp(3, 9)
    };
    bench.update(vec![(key(3), Some(lacking))]);
    assert!(!bench.read().0.contains_key(&key(3)));
}
