//! The cache of what was last seen at which root.

use super::Store;
use super::seal::sum;
use super::values::{bits, bytes, encode_xattrs, or_null, time, xattrs};
use crate::error::Result;
use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Stamp};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The state of a root's stamps as one run knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StampState {
    /// Counts the changes; `None` where there are no stamps, or where another run has changed them since.
    pub generation: Option<i64>,
    /// The snapshot whose tree they are of.
    pub snapshot_id: Option<i64>,
}

/// Stamps in path order. Their paths are in one buffer: most are compared once and dropped.
#[derive(Debug, Default)]
pub struct Stamps {
    keys: Vec<u8>,
    /// Each with the end of its path in `keys`.
    stamps: Vec<(usize, Stamp)>,
}

impl Stamps {
    fn push(&mut self, key: &[u8], stamp: Stamp) {
        self.keys.extend_from_slice(key);
        self.stamps.push((self.keys.len(), stamp));
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Returns each stamp with the ordered form of its path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Stamp)> {
        let mut start = 0;
        self.stamps.iter().map(move |(end, stamp)| {
            let key = &self.keys[start..*end];
            start = *end;
            (key, stamp)
        })
    }

    /// Takes the facts out of a stamp, given by its place in the order.
    pub fn take_facts(&mut self, at: usize) -> Facts {
        std::mem::take(&mut self.stamps[at].1.facts)
    }
}

impl Store {
    /// Returns the stamps of the root at `root_path` and their state at that moment.
    pub fn stamps(&mut self, root_path: &Path) -> Result<(Stamps, StampState)> {
        let mut run = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            let root = root_of(&transaction, root_path)?;
            let Some((root_id, state)) = root else { return Ok((Stamps::default(), StampState::default())) };
            let mut query = transaction.prepare_cached(
                "SELECT path, inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos, mode, uid, gid,
                        content, target, xattrs, sum
                 FROM stamp WHERE root_id = ? ORDER BY path",
            )?;
            let mut rows = query.query([root_id])?;
            let mut stamps = Stamps::default();
            while let Some(row) = rows.next()? {
                // A row that does not hold what it must vouches for nothing.
                if let (Ok(true), Ok(stamp)) = (is_as_written(row), stamp(row)) {
                    stamps.push(row.get_ref(0)?.as_blob()?, stamp);
                }
            }
            Ok((stamps, state))
        };
        let stamps = run();
        stamps.map_err(|e| self.failed(e))
    }

    /// Replaces the stamps of the given paths, in their ordered form; `None` removes one. They are then of no snapshot's tree until one is
    /// recorded with the state that this returns. Not durable: a cache may be lost.
    pub fn update_stamps<'a>(
        &mut self,
        root_path: &Path,
        known: StampState,
        stamps: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
    ) -> Result<StampState> {
        let run = || -> rusqlite::Result<StampState> {
            self.connection.pragma_update(None, "synchronous", "normal")?;
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = root_of(&transaction, root_path)?;
            // Stamps of two runs at once are all true, but together they may be of no tree that was ever seen.
            let is_ours = found.map(|(_, state)| state.generation) == known.generation.map(Some);
            let (root_id, generation): (i64, i64) = transaction
                .prepare_cached(
                    "INSERT INTO root (path, generation) VALUES (?, 1) ON CONFLICT (path)
                     DO UPDATE SET generation = generation + 1, snapshot_id = NULL RETURNING id, generation",
                )?
                .query_row([root_path.as_os_str().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            write(&transaction, root_id, stamps)?;
            transaction.commit()?;
            Ok(StampState { generation: is_ours.then_some(generation), snapshot_id: None })
        };
        let state = run();
        state.map_err(|e| self.failed(e))
    }

    /// Removes all stamps of a root, and returns the state in which that is known.
    pub fn forget_stamps(&mut self, root_path: &Path) -> Result<StampState> {
        let mut run = || -> rusqlite::Result<StampState> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some((root_id, _)) = root_of(&transaction, root_path)? else {
                return Ok(StampState::default());
            };
            let query = "UPDATE root SET generation = generation + 1, snapshot_id = NULL WHERE id = ? RETURNING generation";
            let generation = transaction.query_row(query, [root_id], |row| row.get(0))?;
            transaction.execute("DELETE FROM stamp WHERE root_id = ?", [root_id])?;
            transaction.commit()?;
            Ok(StampState { generation: Some(generation), snapshot_id: None })
        };
        let state = run();
        state.map_err(|e| self.failed(e))
    }

    /// Says that the stamps are of a snapshot's tree, if nobody has changed them since `known`.
    pub fn claim_stamps(&mut self, root_path: &Path, known: StampState, snapshot_id: i64) -> Result<()> {
        claim(&self.connection, root_path, known, snapshot_id).map_err(|e| self.failed(e))
    }

    /// Removes the stamp of a path, in its ordered form: what it said was not what was read.
    pub fn forget_stamp(&mut self, root_path: &Path, key: &[u8]) -> Result<()> {
        let query = "DELETE FROM stamp WHERE path = ? AND root_id = (SELECT id FROM root WHERE path = ?)";
        let done = self.connection.execute(query, params![key, root_path.as_os_str().as_bytes()]);
        done.map(drop).map_err(|e| self.failed(e))
    }
}

/// Says that the stamps are of a snapshot's tree, if nobody has changed them since `known`.
pub(super) fn claim(
    connection: &Connection,
    root_path: &Path,
    known: StampState,
    snapshot_id: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE root SET snapshot_id = ?, sum = ? WHERE path = ? AND generation = ?")?
        .execute(params![
            snapshot_id,
            root_sum(root_path, known.generation, snapshot_id),
            root_path.as_os_str().as_bytes(),
            known.generation
        ])
        .map(drop)
}

/// What a damaged row does not have: that its stamps are of the tree of this snapshot is then not believed.
fn root_sum(root_path: &Path, generation: Option<i64>, snapshot_id: i64) -> i64 {
    let [generation, snapshot_id] = [generation.unwrap_or(0), snapshot_id].map(i64::to_le_bytes);
    sum([root_path.as_os_str().as_bytes(), &generation, &snapshot_id])
}

fn root_of(connection: &Connection, root_path: &Path) -> rusqlite::Result<Option<(i64, StampState)>> {
    connection
        .prepare_cached("SELECT id, generation, snapshot_id, sum FROM root WHERE path = ?")?
        .query_row([root_path.as_os_str().as_bytes()], |row| {
            let (generation, snapshot_id, sum): (_, Option<i64>, i64) =
                (row.get(1)?, row.get(2)?, row.get(3)?);
            let snapshot_id = snapshot_id.filter(|id| sum == root_sum(root_path, generation, *id));
            Ok((row.get(0)?, StampState { generation, snapshot_id }))
        })
        .optional()
}

fn write<'a>(
    connection: &Connection,
    root_id: i64,
    stamps: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO stamp VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut remove = connection.prepare_cached("DELETE FROM stamp WHERE root_id = ? AND path = ?")?;
    for (key, stamp) in stamps {
        let Some(stamp) = stamp else {
            remove.execute(params![root_id, key])?;
            continue;
        };
        let xattrs = encode_xattrs(&stamp.facts.xattrs);
        upsert.execute(params![
            root_id,
            key,
            stamp.inode.cast_signed(),
            stamp.size_bytes.cast_signed(),
            stamp.mtime.seconds,
            stamp.mtime.nanos,
            stamp.ctime.seconds,
            stamp.ctime.nanos,
            stamp.owner.0,
            stamp.owner.1,
            stamp.owner.2,
            stamp.facts.content.map(|hash| hash.0),
            or_null(&stamp.facts.target),
            xattrs,
            sum_of(key, &stamp.facts.target, xattrs.as_deref()),
        ])?;
    }
    Ok(())
}

/// What a damaged row does not have. Of a content, packing compares the hash with what it reads; but nobody looks at a target
/// or an attribute again.
fn sum_of(key: &[u8], target: &[u8], xattrs: Option<&[u8]>) -> Option<i64> {
    (!target.is_empty() || xattrs.is_some()).then(|| sum([key, target, xattrs.unwrap_or_default()]))
}

/// Tells whether a row is as it was written, as far as packing would not notice.
fn is_as_written(row: &Row) -> rusqlite::Result<bool> {
    let target = row.get_ref(11)?.as_blob_or_null()?.unwrap_or_default();
    let xattrs = row.get_ref(12)?.as_blob_or_null()?;
    let recorded: Option<i64> = row.get(13)?;
    Ok(recorded == sum_of(row.get_ref(0)?.as_blob()?, target, xattrs))
}

fn stamp(row: &Row) -> rusqlite::Result<Stamp> {
    let content: Option<[u8; 32]> = row.get(10)?;
    Ok(Stamp {
        inode: bits(row, 1)?,
        size_bytes: bits(row, 2)?,
        mtime: time(row, 3)?,
        ctime: time(row, 5)?,
        owner: (row.get(7)?, row.get(8)?, row.get(9)?),
        facts: Facts { content: content.map(ContentHash), target: bytes(row, 11)?, xattrs: xattrs(row, 12)? },
    })
}
