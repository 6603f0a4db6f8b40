//! The cache of stamps: the inodes of a root as last seen.

pub(crate) mod boots;
pub(crate) mod levels;
mod new_row;
pub(crate) mod rows;

use crate::error::Result;
use crate::model::stamp::{Lasting, Stamp, Time};
use crate::store::handle::Store;
use crate::store::records::seal::sum;
use crate::store::stamps::boots::Boot;
use crate::store::stamps::rows::Stamps;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The state of a root's stamps, as a run knows the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StampState {
    /// The count of changes; `None` without stamps, and after another run has changed the stamps.
    pub generation: Option<i64>,
    /// The snapshot to whose tree the stamps belong.
    pub snapshot_id: Option<i64>,
    /// Dead bytes in the base or delta of the snapshot's stage; `None` where nobody knows, or where a path of the tree
    /// has no stamp.
    pub dead_bytes: Option<u64>,
    /// Which stamps hold in this boot.
    pub lasting: Lasting,
    /// Up to this time, every change on the root's filesystem has come to the disk since the stamps were read; `None`
    /// without a sync.
    pub synced_until: Option<Time>,
    /// Whether a row is damaged; the next change removes the row.
    is_damaged: bool,
}

/// The row of a root.
struct Found {
    id: i64,
    generation: i64,
    snapshot_id: Option<i64>,
    dead_bytes: Option<u64>,
    sum: i64,
    boot: Boot,
}

impl Store {
    /// Returns the stamps of the root at `root_path` and their state at the moment. Fails with
    /// [`crate::error::Error::Database`] if SQLite cannot read the rows, but not for rows with a wrong sum.
    pub fn stamps(&mut self, root_path: &Path) -> Result<(Stamps, StampState)> {
        let mut run = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            let Some(root) = root_of(&transaction, root_path)? else {
                return Ok(Default::default());
            };
            let (stamps, is_sound) = levels::load(&transaction, root.id)?;
            // The content of a damaged row is unknown, and so are its paths: some may be gone.
            let snapshot_id = match root.snapshot_id.filter(|_| is_sound) {
                Some(id) => {
                    let newer = levels::newer_sums(&transaction, root.id)?;
                    (root.sum == root_sum(root_path, &root, id, &newer)).then_some(id)
                }
                None => None,
            };
            let Found {
                generation,
                dead_bytes,
                ..
            } = root;
            let (generation, is_damaged) = (Some(generation), !is_sound);
            let (lasting, synced_until) = (root.boot.lasting(&self.boot), None);
            Ok((
                stamps,
                StampState {
                    generation,
                    snapshot_id,
                    dead_bytes,
                    lasting,
                    synced_until,
                    is_damaged,
                },
            ))
        };
        let stamps = run();
        stamps.map_err(|e| self.failed(e))
    }

    /// Replaces the stamps of the given paths, in their ordered form; `None` removes a stamp. Paths may come in any
    /// order, but each path out of order costs a row. The stamps then belong to no snapshot's tree until a snapshot is
    /// recorded with the returned state. Not durable: a cache may be lost. Fails with [`crate::error::Error::Locked`]
    /// if others write for too long, and with [`crate::error::Error::Database`] if the disk is full; then no stamp has
    /// changed.
    ///
    /// In another boot than the last change's, the paths must include every path whose stamp does not hold by `known`:
    /// all other stamps count as seen in this boot.
    pub(crate) fn update_stamps<'a>(
        &mut self,
        root_path: &Path,
        known: StampState,
        stamps: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
    ) -> Result<StampState> {
        if self.is_still() {
            return Ok(known);
        }
        let updated = update(&mut self.connection, &self.boot, root_path, known, stamps);
        updated.map_err(|e| self.failed(e))
    }

    /// Removes all stamps of a root, and returns the state without stamps. Fails with [`crate::error::Error::Locked`]
    /// if others write for too long, and with [`crate::error::Error::Database`] if the rows cannot be deleted; then all
    /// stamps are left.
    pub(crate) fn forget_stamps(&mut self, root_path: &Path) -> Result<StampState> {
        if self.is_still() {
            return Ok(StampState::default());
        }
        let mut run = || -> rusqlite::Result<StampState> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let Some(root) = root_of(&transaction, root_path)? else {
                return Ok(StampState::default());
            };
            let query = "UPDATE root SET generation = generation + 1, snapshot_id = NULL WHERE id = ? RETURNING generation";
            let generation = transaction.query_row(query, [root.id], |row| row.get(0))?;
            levels::clear(&transaction, root.id)?;
            transaction.commit()?;
            let lasting = root.boot.lasting(&self.boot);
            Ok(StampState {
                generation: Some(generation),
                lasting,
                ..StampState::default()
            })
        };
        let state = run();
        state.map_err(|e| self.failed(e))
    }

    /// Says that the stamps belong to a snapshot's tree, if nobody has changed the stamps since `known`. Fails with
    /// [`crate::error::Error::Locked`] if others write for too long, and with [`crate::error::Error::Database`] if the
    /// root's row cannot be written.
    pub(crate) fn claim_stamps(
        &mut self,
        root_path: &Path,
        known: StampState,
        snapshot_id: i64,
    ) -> Result<()> {
        if self.is_still() {
            return Ok(());
        }
        let known = StampState {
            dead_bytes: None,
            ..known
        }; // perhaps of another snapshot
        claim(&self.connection, root_path, known, snapshot_id).map_err(|e| self.failed(e))
    }

    /// Removes the stamp of a path, in its ordered form: the file had another content than the stamp says. Fails with
    /// [`crate::error::Error::Locked`] if others write for too long; then the wrong stamp is left.
    pub(crate) fn forget_stamp(&mut self, root_path: &Path, key: &[u8]) -> Result<()> {
        if self.is_still() {
            return Ok(());
        }
        let mut run = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(root) = root_of(&transaction, root_path)? {
                let query =
                    "UPDATE root SET generation = generation + 1, snapshot_id = NULL WHERE id = ?";
                transaction.execute(query, [root.id])?;
                levels::forget(&transaction, root.id, key)?;
            }
            transaction.commit()
        };
        let done = run();
        done.map_err(|e| self.failed(e))
    }
}

/// Replaces stamps in the boot `this_boot`, as [`Store::update_stamps`] does.
fn update<'a>(
    connection: &mut Connection,
    this_boot: &[u8],
    root_path: &Path,
    known: StampState,
    stamps: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
) -> rusqlite::Result<StampState> {
    connection.pragma_update(None, "synchronous", "normal")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = root_of(&transaction, root_path)?;
    // Stamps of two runs at once are all true, but together may belong to no tree that was ever seen.
    let is_ours = found.as_ref().map(|root| root.generation) == known.generation;
    let before = found.map(|root| root.boot).unwrap_or_default();
    let is_this_boot = before.is(this_boot);
    let (root_id, generation) = count_change(&transaction, root_path)?;
    if known.is_damaged {
        levels::sweep(&transaction, root_id)?;
    }
    if !is_this_boot && !is_ours {
        levels::clear(&transaction, root_id)?; // nobody knows which stamps hold
    }
    // A write after the sync has a later ctime than the sync, unless the clock was set back meanwhile.
    let lasting = before.lasting(&[]);
    let mut is_past = false;
    let stamps = stamps.inspect(|(_, stamp)| is_past |= is_durable(stamp.as_ref(), lasting));
    // A row whose damage was not known is gone, and older stamps stand in its place, at which nobody has looked. Older
    // stamps must be of this boot as well.
    let is_sound = if is_this_boot {
        levels::change(&transaction, root_id, stamps)?
    } else {
        levels::change_whole(&transaction, root_id, stamps)?
    };
    let boot = Boot::new(this_boot, before.durable_until.filter(|_| !is_past));
    boot.save(&transaction, root_id, root_path)?;
    transaction.commit()?;
    Ok(StampState {
        generation: Some(generation).filter(|_| is_ours && is_sound),
        lasting: boot.lasting(this_boot),
        ..StampState::default()
    })
}

/// Counts a change of a root's stamps, and makes the root's row if missing. Returns the number of the root and the count.
fn count_change(connection: &Connection, root_path: &Path) -> rusqlite::Result<(i64, i64)> {
    let query = "INSERT INTO root (path, generation) VALUES (?, 1) ON CONFLICT (path)
        DO UPDATE SET generation = generation + 1, snapshot_id = NULL RETURNING id, generation";
    let mut query = connection.prepare_cached(query)?;
    query.query_row([root_path.as_os_str().as_bytes()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Tells whether a stamp is of an inode whose last change has come to the disk.
fn is_durable(stamp: Option<&Stamp>, lasting: Lasting) -> bool {
    let mark = stamp.map(|stamp| stamp.mark);
    mark.is_some_and(|mark| mark.inode != 0 && lasting.is_durable(mark.ctime))
}

/// Says that the stamps belong to a snapshot's tree, if nobody has changed the stamps since `known`. Fails if SQLite
/// cannot read the sums of the stamps, or cannot write the root's row.
pub(crate) fn claim(
    connection: &Connection,
    root_path: &Path,
    known: StampState,
    snapshot_id: i64,
) -> rusqlite::Result<()> {
    let Some(root) = root_of(connection, root_path)? else {
        return Ok(());
    };
    if known.generation != Some(root.generation) {
        return Ok(());
    }
    let mut root = Found {
        dead_bytes: known.dead_bytes,
        ..root
    };
    if known.synced_until.is_some()
        && root.boot.lasting(&[]).durable_until == known.lasting.durable_until
    {
        root.boot.durable_until = known.synced_until;
        root.boot.save(connection, root.id, root_path)?;
    }
    let newer = levels::newer_sums(connection, root.id)?;
    let sum = root_sum(root_path, &root, snapshot_id, &newer);
    connection
        .prepare_cached(
            "UPDATE root SET snapshot_id = ?, dead_bytes = ?, sum = ? WHERE id = ? AND generation = ?",
        )?
        .execute(params![snapshot_id, root.dead_bytes, sum, root.id, root.generation])
        .map(drop)
}

/// The sum of a root's row. Without it, after damage or the loss of newer stamps, nobody believes that the stamps
/// belong to the snapshot's tree.
fn root_sum(root_path: &Path, root: &Found, snapshot_id: i64, newer_sums: &[i64]) -> i64 {
    let numbers: Vec<_> = [&[root.generation, snapshot_id], newer_sums]
        .concat()
        .into_iter()
        .map(i64::to_le_bytes)
        .collect();
    let numbers = numbers.iter().map(<[u8; 8]>::as_slice);
    let dead = root
        .dead_bytes
        .map(|bytes| [&b"d"[..], &bytes.to_le_bytes()].concat());
    sum(std::iter::once(root_path.as_os_str().as_bytes())
        .chain(numbers)
        .chain(dead.as_deref()))
}

fn root_of(connection: &Connection, root_path: &Path) -> rusqlite::Result<Option<Found>> {
    connection
        .prepare_cached(
            "SELECT id, generation, snapshot_id, dead_bytes, sum, boot, durable_s, durable_nanos, boot_sum
             FROM root WHERE path = ?",
        )?
        .query_row([root_path.as_os_str().as_bytes()], |row| {
            let (id, generation, snapshot_id) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let boot = Boot::load(root_path, row, 5)?;
            Ok(Found { id, generation, snapshot_id, dead_bytes: row.get(3)?, sum: row.get(4)?, boot })
        })
        .optional()
}

#[cfg(test)]
mod tests;
