//! The cache of what was last seen at which root.

use super::Store;
use super::seal::sum;
use super::stamp_rows::{NewRow, Stamps};
use crate::error::Result;
use crate::model::stamp::Stamp;
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

impl Store {
    /// Returns the stamps of the root at `root_path` and their state at that moment.
    pub fn stamps(&mut self, root_path: &Path) -> Result<(Stamps, StampState)> {
        let mut run = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            let root = root_of(&transaction, root_path)?;
            let Some((root_id, state)) = root else { return Ok((Stamps::default(), StampState::default())) };
            let mut query = transaction
                .prepare_cached("SELECT first, sum, stamps FROM stamp WHERE root_id = ? ORDER BY first")?;
            let mut rows = query.query([root_id])?;
            let (mut stamps, mut state) = (Stamps::default(), state);
            while let Some(row) = rows.next()? {
                match sound(row)? {
                    Some(row) => stamps.push(row),
                    // What it said is not known, nor of which paths: they may be gone.
                    None => state.snapshot_id = None,
                }
            }
            Ok((stamps, state))
        };
        let stamps = run();
        stamps.map_err(|e| self.failed(e))
    }

    /// Replaces the stamps of the given paths, in their ordered form; `None` removes one. They may come in any order, but each
    /// that does not follow the one before costs a row. The stamps are then of no snapshot's tree until one is recorded with
    /// the state that this returns. Not durable: a cache may be lost.
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
        let mut run = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some((root_id, _)) = root_of(&transaction, root_path)? {
                write(&transaction, root_id, std::iter::once((key, None)))?;
            }
            transaction.commit()
        };
        let done = run();
        done.map_err(|e| self.failed(e))
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

/// Each row that a change belongs to is written anew, with what it keeps.
fn write<'a>(
    connection: &Connection,
    root_id: i64,
    changes: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO stamp VALUES (?, ?, ?, ?)")?;
    let mut insert = |first: &[u8], stamps: &[u8]| {
        insert.execute(params![root_id, first, sum([first, stamps]), stamps]).map(drop)
    };
    let mut changes = changes.peekable();
    while let Some((first, _)) = changes.peek() {
        let (old, end) = take_row(connection, root_id, first)?;
        let mut old = old.read();
        let mut kept = old.next();
        let mut new = NewRow::default();
        let mut last: Option<&[u8]> = None;
        let follows = |key: &[u8], last: Option<&[u8]>| {
            last.is_none_or(|last| last < key) && end.as_deref().is_none_or(|end| key < end)
        };
        while let Some((key, stamp)) = changes.next_if(|(key, _)| follows(key, last)) {
            while let Some(stamp) = kept.filter(|_| old.key() < key) {
                new.keep(old.key(), &stamp);
                new.split_off().map_or(Ok(()), |(first, stamps)| insert(&first, &stamps))?;
                kept = old.next();
            }
            if kept.is_some() && old.key() == key {
                kept = old.next();
            }
            if let Some(stamp) = stamp {
                new.push(key, &stamp);
                new.split_off().map_or(Ok(()), |(first, stamps)| insert(&first, &stamps))?;
            }
            last = Some(key);
        }
        while let Some(stamp) = kept {
            new.keep(old.key(), &stamp);
            new.split_off().map_or(Ok(()), |(first, stamps)| insert(&first, &stamps))?;
            kept = old.next();
        }
        new.rest().map_or(Ok(()), |(first, stamps)| insert(&first, &stamps))?;
    }
    Ok(())
}

/// Takes the row out that a path belongs to, and returns it with the place where the next begins. One that is damaged is
/// as good as empty.
fn take_row(
    connection: &Connection,
    root_id: i64,
    key: &[u8],
) -> rusqlite::Result<(Stamps, Option<Vec<u8>>)> {
    let query =
        "SELECT first, sum, stamps FROM stamp WHERE root_id = ? AND first <= ? ORDER BY first DESC LIMIT 1";
    let found = connection.prepare_cached(query)?.query_row(params![root_id, key], |row| {
        let mut stamps = Stamps::default();
        sound(row)?.into_iter().for_each(|sound| stamps.push(sound));
        Ok((row.get::<_, Vec<u8>>(0)?, stamps))
    });
    let stamps = match found.optional()? {
        None => Stamps::default(),
        Some((first, stamps)) => {
            let mut delete =
                connection.prepare_cached("DELETE FROM stamp WHERE root_id = ? AND first = ?")?;
            delete.execute(params![root_id, first])?;
            stamps
        }
    };
    let query = "SELECT first FROM stamp WHERE root_id = ? AND first > ? ORDER BY first LIMIT 1";
    let end = connection.prepare_cached(query)?.query_row(params![root_id, key], |row| row.get(0));
    Ok((stamps, end.optional()?))
}

/// Returns the stamps of a row (`first`, `sum`, `stamps`) that is as it was written. Of a content, packing compares the hash
/// with what it reads; but nobody looks at a target or an attribute again.
fn sound<'r>(row: &'r Row) -> rusqlite::Result<Option<&'r [u8]>> {
    let (first, stamps) = (row.get_ref(0)?.as_blob()?, row.get_ref(2)?.as_blob()?);
    Ok((row.get::<_, i64>(1)? == sum([first, stamps])).then_some(stamps))
}
