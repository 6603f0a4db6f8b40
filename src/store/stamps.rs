//! The cache of what was last seen at which root.

use super::Store;
use super::values::{bits, bytes, encode_xattrs, or_null, path, time, xattrs};
use crate::error::Result;
use crate::model::digest::ContentHash;
use crate::model::path::EntryPath;
use crate::model::stamp::{Facts, Stamp};
use rusqlite::{OptionalExtension, Row, params};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Store {
    /// Gives the stamps of the root at `root_path`, in path order, to `each`.
    pub fn each_stamp(&self, root_path: &Path, mut each: impl FnMut(EntryPath, Stamp)) -> Result<()> {
        let mut run = || -> rusqlite::Result<()> {
            let mut query = self.connection.prepare_cached(
                "SELECT stamp.path, inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos, content, target, xattrs
                 FROM stamp JOIN root ON root.id = root_id WHERE root.path = ? ORDER BY stamp.path",
            )?;
            let mut rows = query.query([root_path.as_os_str().as_bytes()])?;
            while let Some(row) = rows.next()? {
                each(path(row, 0)?, stamp(row)?);
            }
            Ok(())
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns the snapshot whose tree the stamps of this root are of.
    pub fn stamped_snapshot(&self, root_path: &Path) -> Result<Option<i64>> {
        let query = "SELECT snapshot_id FROM root WHERE path = ?";
        let found: rusqlite::Result<Option<Option<i64>>> =
            self.connection.prepare_cached(query).and_then(|mut query| {
                query.query_row([root_path.as_os_str().as_bytes()], |row| row.get(0)).optional()
            });
        found.map(Option::flatten).map_err(|e| self.failed(e))
    }

    /// Replaces the stamps of the given paths; `None` removes one. The stamps are then of no snapshot's tree until
    /// [`Self::record`](Store::record) says so. Not durable: a cache may be lost.
    pub fn update_stamps<'a>(
        &mut self,
        root_path: &Path,
        stamps: impl Iterator<Item = (&'a EntryPath, Option<Stamp>)>,
    ) -> Result<()> {
        let run = || -> rusqlite::Result<()> {
            self.connection.pragma_update(None, "synchronous", "normal")?;
            let transaction =
                self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let root_id: i64 = transaction
                    .prepare_cached(
                        "INSERT INTO root (path) VALUES (?)
                         ON CONFLICT (path) DO UPDATE SET snapshot_id = NULL RETURNING id",
                    )?
                    .query_row([root_path.as_os_str().as_bytes()], |row| row.get(0))?;
                let mut upsert = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO stamp VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?;
                let mut remove =
                    transaction.prepare_cached("DELETE FROM stamp WHERE root_id = ? AND path = ?")?;
                for (path, stamp) in stamps {
                    match stamp {
                        None => remove.execute(params![root_id, path.key()])?,
                        Some(stamp) => upsert.execute(params![
                            root_id,
                            path.key(),
                            stamp.inode.cast_signed(),
                            stamp.size_bytes.cast_signed(),
                            stamp.mtime.seconds,
                            stamp.mtime.nanos,
                            stamp.ctime.seconds,
                            stamp.ctime.nanos,
                            stamp.facts.content.map(|hash| hash.0),
                            or_null(&stamp.facts.target),
                            encode_xattrs(&stamp.facts.xattrs),
                        ])?,
                    };
                }
            }
            transaction.commit()
        };
        let done = run();
        done.map_err(|e| self.failed(e))
    }
}

fn stamp(row: &Row) -> rusqlite::Result<Stamp> {
    let content: Option<[u8; 32]> = row.get(7)?;
    Ok(Stamp {
        inode: bits(row, 1)?,
        size_bytes: bits(row, 2)?,
        mtime: time(row, 3)?,
        ctime: time(row, 5)?,
        facts: Facts { content: content.map(ContentHash), target: bytes(row, 8)?, xattrs: xattrs(row, 9)? },
    })
}
