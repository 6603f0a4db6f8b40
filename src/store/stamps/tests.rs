//! Stamps of a root against a plain map, also where rows are damaged or lost.

use super::*;
use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Mark, MarkKind, Time};
use crate::model::tree::entry::Xattrs;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a path has: the stamp that a map would have.
type Map = BTreeMap<Vec<u8>, Stamp>;

/// Enough for several rows.
const KEYS: usize = 2500;

fn key(at: usize) -> Vec<u8> {
    format!("usr\0share\0{:03}\0file{at:05}", at / 40).into_bytes()
}

/// Another for each `version`; of some paths a symlink or a directory.
fn stamp(at: usize, version: usize) -> Stamp {
    let xattrs = Xattrs::new(vec![((*b"user.a").into(), version.to_le_bytes().into())]);
    let (kind, facts) = match at % 7 {
        0 => (
            MarkKind::Other,
            Facts {
                xattrs,
                ..Facts::default()
            },
        ),
        1 => (
            MarkKind::Symlink,
            Facts {
                target: format!("../{version}").into_bytes().into(),
                ..Facts::default()
            },
        ),
        _ => (
            MarkKind::File,
            Facts {
                content: Some(ContentHash([version as u8; 32])),
                ..Facts::default()
            },
        ),
    };
    let time = Time {
        seconds: version as i64,
        nanos: at as u32,
    };
    let mark = Mark {
        kind,
        inode: at as u64,
        size_bytes: 9,
        mtime: time,
        ctime: time,
        owner: (0o644, 0, 0),
    };
    Stamp { mark, facts }
}

/// A change of some paths: the first, how far the next is, and how many.
#[derive(Clone, Copy, Debug)]
struct Spread {
    first: usize,
    step: usize,
    count: usize,
    /// Each so many of them is removed.
    gone_step: usize,
    is_in_order: bool,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Update(Spread),
    Forget(usize),
}

fn any_act() -> impl Strategy<Value = Act> {
    let some = |step: std::ops::Range<usize>, count: std::ops::Range<usize>, is_in_order| {
        (0..KEYS, step, count, 1..9usize).prop_map(move |(first, step, count, gone_step)| {
            Act::Update(Spread {
                first,
                step,
                count,
                gone_step,
                is_in_order,
            })
        })
    };
    prop_oneof![
        2 => some(1..2, 0..KEYS, true),
        6 => some(1..60, 0..200, true),
        1 => some(1..60, 0..20, false),
        1 => (0..KEYS).prop_map(Act::Forget),
    ]
}

/// A root of a store, and what is known of it.
struct Bench<'s> {
    store: &'s RefCell<Store>,
    root: PathBuf,
    /// What it should have.
    map: Map,
    /// All that was written for a path and not forgotten.
    written: BTreeMap<Vec<u8>, Vec<Stamp>>,
    version: usize,
}

fn new_store() -> (tempfile::TempDir, RefCell<Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(&directory.path().join("store")).unwrap();
    // Of which snapshot's tree they are said to be does not matter here.
    store
        .connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    (directory, RefCell::new(store))
}

impl<'s> Bench<'s> {
    fn new(store: &'s RefCell<Store>) -> Self {
        let roots = store.borrow().roots().unwrap().len();
        let root = PathBuf::from(format!("/root{roots}"));
        Self {
            store,
            root,
            map: Map::new(),
            written: BTreeMap::new(),
            version: 0,
        }
    }

    /// One with all paths, and some newer stamps of every tenth.
    fn with_newer(store: &'s RefCell<Store>) -> Self {
        let mut bench = Self::new(store);
        let all = Spread {
            first: 0,
            step: 1,
            count: KEYS,
            gone_step: usize::MAX,
            is_in_order: true,
        };
        bench.act(Act::Update(all));
        bench.act(Act::Update(Spread {
            step: 10,
            count: 200,
            ..all
        }));
        bench.claim();
        assert!(bench.rows("newer_stamp") > 0);
        bench
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Update(some) => {
                self.version += 1;
                let mut changes: Vec<_> = (0..some.count)
                    .map(|n| {
                        (
                            some.first + n * some.step,
                            n % some.gone_step == some.gone_step - 1,
                        )
                    })
                    .filter(|(at, _)| *at < KEYS)
                    .map(|(at, is_gone)| (key(at), (!is_gone).then(|| stamp(at, self.version))))
                    .collect();
                if !some.is_in_order {
                    changes.reverse();
                    let third = changes.len() / 3;
                    changes.rotate_left(third);
                }
                self.update(changes);
            }
            Act::Forget(at) => {
                self.store
                    .borrow_mut()
                    .forget_stamp(&self.root, &key(at))
                    .unwrap();
                self.map.remove(&key(at));
                self.written.remove(&key(at));
            }
        }
    }

    fn update(&mut self, changes: Vec<(Vec<u8>, Option<Stamp>)>) -> StampState {
        let (_, state) = self.read();
        for (key, stamp) in &changes {
            match stamp {
                None => drop(self.map.remove(key)),
                Some(stamp) => {
                    self.map.insert(key.clone(), stamp.clone());
                    self.written
                        .entry(key.clone())
                        .or_default()
                        .push(stamp.clone());
                }
            }
        }
        let changes = changes
            .iter()
            .map(|(key, stamp)| (key.as_slice(), stamp.clone()));
        self.store
            .borrow_mut()
            .update_stamps(&self.root, state, changes)
            .unwrap()
    }

    /// What a run does: everything that the stamps do not know as it is gets another, and they are then of its snapshot.
    fn record(&mut self) {
        let (found, _) = self.read();
        let gone = found
            .keys()
            .filter(|key| !self.map.contains_key(*key))
            .map(|key| (key.clone(), None));
        let fresh = self
            .map
            .iter()
            .filter(|(key, stamp)| found.get(*key) != Some(stamp));
        let mut changes: Vec<_> = gone
            .chain(fresh.map(|(key, stamp)| (key.clone(), Some(stamp.clone()))))
            .collect();
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        let state = self.update(changes);
        self.store
            .borrow_mut()
            .claim_stamps(&self.root, state, 7)
            .unwrap();
    }

    fn claim(&mut self) {
        self.record();
        assert_eq!(self.read().1.snapshot_id, Some(7));
    }

    fn read(&self) -> (Map, StampState) {
        let (stamps, state) = self.store.borrow_mut().stamps(&self.root).unwrap();
        let (mut reader, mut all) = (stamps.read(), Vec::new());
        while let Some(packed) = reader.next() {
            all.push((
                reader.key().to_owned(),
                Stamp {
                    mark: packed.mark,
                    facts: packed.facts(),
                },
            ));
        }
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b));
        (all.into_iter().collect(), state)
    }

    fn id(&self) -> i64 {
        root_of(&self.store.borrow().connection, &self.root)
            .unwrap()
            .unwrap()
            .id
    }

    fn number(&self, query: &str) -> u64 {
        self.store
            .borrow()
            .connection
            .query_row(query, [self.id()], |row| row.get(0))
            .unwrap()
    }

    fn rows(&self, table: &str) -> u64 {
        self.number(&format!("SELECT count(*) FROM {table} WHERE root_id = ?"))
    }

    fn bytes(&self, table: &str) -> u64 {
        self.number(&format!(
            "SELECT coalesce(sum(length(stamps)), 0) FROM {table} WHERE root_id = ?"
        ))
    }

    /// Changes one row. Tells whether there was one.
    fn damage(&self, table: &str, row: usize, how: Damage) -> bool {
        let store = self.store.borrow();
        let (id, rows) = (self.id(), self.rows_of(&store, table));
        let Some((first, sum, mut stamps)) =
            (!rows.is_empty()).then(|| rows[row % rows.len()].clone())
        else {
            return false;
        };
        let of = "root_id = ?1 AND first = ?2";
        let set = |what: &str, value: &dyn rusqlite::ToSql| {
            let query = format!("UPDATE OR REPLACE {table} SET {what} = ?3 WHERE {of}");
            assert_eq!(
                store
                    .connection
                    .execute(&query, params![id, first, value])
                    .unwrap(),
                1
            );
        };
        match how {
            Damage::Flip(at, bit) => {
                let at = at % stamps.len();
                stamps[at] ^= 1 << bit;
                set("stamps", &stamps);
            }
            Damage::Cut(at) => set("stamps", &&stamps[..at % stamps.len()]),
            Damage::Sum(bit) => set("sum", &(sum ^ (1 << bit))),
            Damage::First(at, bit) => {
                let mut other = first.clone();
                match other.is_empty() {
                    true => other.push(1),
                    false => other[at % first.len()] ^= 1 << bit,
                }
                set("first", &other);
            }
            Damage::Root => set("root_id", &(id + 1_000_000)),
            Damage::Delete => {
                let query = format!("DELETE FROM {table} WHERE {of}");
                store
                    .connection
                    .execute(&query, params![id, first])
                    .unwrap();
            }
        }
        true
    }

    fn rows_of(&self, store: &Store, table: &str) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let id = root_of(&store.connection, &self.root).unwrap().unwrap().id;
        let query =
            format!("SELECT first, sum, stamps FROM {table} WHERE root_id = ? ORDER BY first");
        let mut query = store.connection.prepare(&query).unwrap();
        let rows = query
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Sum(u8),
    First(usize, u8),
    /// It is another root's by now.
    Root,
    Delete,
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<usize>().prop_map(Damage::Cut),
        (0..63u8).prop_map(Damage::Sum),
        (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Damage::First(at, bit)),
        Just(Damage::Root),
        Just(Damage::Delete),
    ]
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

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
