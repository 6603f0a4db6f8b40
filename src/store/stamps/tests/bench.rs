//! A root whose stamps are changed at random, beside a plain map of them.

use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Mark, MarkKind, Time};
use crate::model::tree::entry::Xattrs;
use crate::store::stamps::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a path has: the stamp that a map would have.
pub(super) type Map = BTreeMap<Vec<u8>, Stamp>;

/// Enough for several rows.
pub(super) const KEYS: usize = 2500;

pub(super) fn key(at: usize) -> Vec<u8> {
    format!("usr\0share\0{:03}\0file{at:05}", at / 40).into_bytes()
}

/// Another for each `version`; of some paths a symlink or a directory.
pub(super) fn stamp(at: usize, version: usize) -> Stamp {
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
pub(super) struct Spread {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    /// Each so many of them is removed.
    pub gone_step: usize,
    pub is_in_order: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Update(Spread),
    Forget(usize),
}

pub(super) fn any_act() -> impl Strategy<Value = Act> {
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
pub(super) struct Bench<'s> {
    pub store: &'s RefCell<Store>,
    pub root: PathBuf,
    /// What it should have.
    pub map: Map,
    /// All that was written for a path and not forgotten.
    pub written: BTreeMap<Vec<u8>, Vec<Stamp>>,
    pub version: usize,
}

pub(super) fn new_store() -> (tempfile::TempDir, RefCell<Store>) {
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
    pub(super) fn new(store: &'s RefCell<Store>) -> Self {
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
    pub(super) fn with_newer(store: &'s RefCell<Store>) -> Self {
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

    pub(super) fn act(&mut self, act: Act) {
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

    pub(super) fn update(&mut self, changes: Vec<(Vec<u8>, Option<Stamp>)>) -> StampState {
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
    pub(super) fn record(&mut self) {
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

    pub(super) fn claim(&mut self) {
        self.record();
        assert_eq!(self.read().1.snapshot_id, Some(7));
    }

    pub(super) fn read(&self) -> (Map, StampState) {
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

    pub(super) fn id(&self) -> i64 {
        root_of(&self.store.borrow().connection, &self.root)
            .unwrap()
            .unwrap()
            .id
    }

    pub(super) fn number(&self, query: &str) -> u64 {
        self.store
            .borrow()
            .connection
            .query_row(query, [self.id()], |row| row.get(0))
            .unwrap()
    }

    pub(super) fn rows(&self, table: &str) -> u64 {
        self.number(&format!("SELECT count(*) FROM {table} WHERE root_id = ?"))
    }

    pub(super) fn bytes(&self, table: &str) -> u64 {
        self.number(&format!(
            "SELECT coalesce(sum(length(stamps)), 0) FROM {table} WHERE root_id = ?"
        ))
    }

    /// Changes one row. Tells whether there was one.
    pub(super) fn damage(&self, table: &str, row: usize, how: Damage) -> bool {
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
                if other.is_empty() {
                    other.push(1)
                } else {
                    other[at % first.len()] ^= 1 << bit
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

    pub(super) fn rows_of(&self, store: &Store, table: &str) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
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
pub(super) enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Sum(u8),
    First(usize, u8),
    /// It is another root's by now.
    Root,
    Delete,
}

pub(super) fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<usize>().prop_map(Damage::Cut),
        (0..63u8).prop_map(Damage::Sum),
        (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Damage::First(at, bit)),
        Just(Damage::Root),
        Just(Damage::Delete),
    ]
}

pub(super) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}
