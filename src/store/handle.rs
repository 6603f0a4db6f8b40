//! An open store: the state of all its parts, and the errors of its database.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::blobs::stamp::BlobStamp;
use crate::store::database::Still;
use crate::store::directory::Directory;
use crate::store::files::LOCK;
use crate::store::locks::InUse;
use crate::store::records::rows::LayerUse;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) directory: Arc<Directory>,
    pub(in crate::store) database: PathBuf,
    pub(in crate::store) connection: Connection,
    /// Set while nothing can be written to the database; caches then stay as they are.
    pub(in crate::store) still: Option<Still>,
    /// The mark of this boot; see `boots`.
    pub(in crate::store) boot: Vec<u8>,
    /// Written blobs, until they are recorded.
    pub(in crate::store) written: RefCell<Vec<(Digest, BlobStamp)>>,
    /// The layers of snapshots whose rows were compared with their seals. Nobody changes such rows, and only a process
    /// that has the store alone removes rows.
    pub(in crate::store) confirmed: RefCell<HashMap<i64, Arc<[LayerUse]>>>,
    /// See [`Store::findings`].
    pub(in crate::store) findings: Vec<String>,
    /// Held while the store is open.
    pub(in crate::store) in_use: Option<InUse>,
}

/// Turns an error of a store's database into ours: a row that cannot be read as what it must be is damage.
pub(in crate::store) fn failed_of(store: &Path, database: &Path, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Locked(store.to_owned())
        }
        None => {
            let what = format!("a row does not hold what it must ({source})");
            Error::damaged(database, what)
        }
        _ => Error::Database {
            path: database.to_owned(),
            source,
        },
    }
}

impl Store {
    /// Returns the faults of files derived from the database; the next recording makes such files again.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Returns a guard of the store's files, for a caller who needs the files longer than the store is open.
    pub(crate) fn in_use(&self) -> Option<InUse> {
        self.in_use.clone()
    }

    /// Returns the store's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the store's lock, free again when the file is dropped. Fails if the lock file cannot be opened or
    /// locked.
    pub(in crate::store) fn lock(&self) -> Result<File> {
        let lock = self.directory.lock_file(LOCK)?;
        lock.lock()
            .map_err(Error::io("lock", self.path.join(LOCK)))?;
        Ok(lock)
    }

    /// Tells whether nothing can be written to the database.
    pub(in crate::store) fn is_still(&self) -> bool {
        self.still.is_some()
    }

    /// Works while no other process writes to the database, and so to files derived from the database. Fails with
    /// [`Error::Locked`] if others write for too long.
    pub(in crate::store) fn exclusively<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|e| self.failed(e))?;
        let done = work();
        let ended = self
            .connection
            .execute_batch("ROLLBACK")
            .map_err(|e| self.failed(e)); // nothing was written
        done.and_then(|done| ended.map(|()| done))
    }

    /// Turns an error of the database into ours.
    pub(in crate::store) fn failed(&self, source: rusqlite::Error) -> Error {
        failed_of(&self.path, &self.database, source)
    }

    /// Says that the database is damaged.
    pub(in crate::store) fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(&self.database, what)
    }

    /// Returns the first row of a query, as `read` reads the row; `None` without a row. Fails with [`Error::Damaged`]
    /// if `read` refuses the row, and with [`Error::Locked`] or [`Error::Database`] if SQLite does not come to a row.
    pub(in crate::store) fn one<T>(
        &self,
        query: &str,
        values: impl Params,
        read: fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let found = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row(values, read).optional());
        found.map_err(|e| self.failed(e))
    }

    /// Returns all rows of a query, as `read` reads each. Fails with [`Error::Damaged`] at the first row that `read`
    /// refuses, and with [`Error::Locked`] or [`Error::Database`] if SQLite cannot run the query to its end.
    pub(in crate::store) fn all<T>(
        &self,
        query: &str,
        values: impl Params,
        read: fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let found = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_map(values, read)?.collect());
        found.map_err(|e| self.failed(e))
    }
}
