//! The store: one directory that is an OCI image layout and holds the database beside it.
//!
//! ```text
//! STORE/oci-layout  index.json  blobs/sha256/…   the image layout (image-spec, image-layout.md)
//!       rootstrata.sqlite                        what was recorded, and the stamps
//!       tmp/                                     files that are being written
//!       lock  tmp.lock                           see `LOCK`, `TMP_LOCK`
//! ```
//! The only place that writes there. Invariants: a blob is durable before a row names it; a snapshot is recorded in
//! one transaction; index.json is derived from the database, so a run that is killed anywhere leaves only files that
//! nothing refers to.

mod blobs;
mod entries;
mod index;
mod lookups;
mod migrations;
mod packages;
mod record;
mod seal;
mod snapshots;
mod sound;
mod stamps;
mod values;

pub use blobs::{NewBlob, Scratch};
pub use index::Listed;
pub use packages::FileLists;
pub use record::PackagesOf;
pub use record::{NewLayer, NewSnapshot, SnapshotLayer};
pub use snapshots::{Blob, BlobRef, Layer, LayerUse, Snapshot};
pub use stamps::{StampState, Stamps};

use crate::error::{Error, Result, show};
use crate::model::digest::Digest;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sound::BlobStamp;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DATABASE: &str = "rootstrata.sqlite";
/// Held by whoever makes the store or changes its format.
const LOCK: &str = "lock";
/// Held shared by all that have files in `tmp`.
const TMP_LOCK: &str = "tmp.lock";
/// How long a writer waits for others before it says that the store is locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: PathBuf,
    connection: Connection,
    /// Blobs that were written, until they are recorded.
    written: RefCell<Vec<(Digest, BlobStamp)>>,
    /// See [`Store::findings`].
    findings: Vec<String>,
    /// Held shared while this process may have files in `tmp`.
    _writing: Option<File>,
}

impl Store {
    /// Opens a store for reading. Fails where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let database = path.join(DATABASE);
        let was_store = was_store(path);
        match std::fs::symlink_metadata(&database) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && was_store => Err(lost(database)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NoStore(path.to_owned())),
            Err(e) => Err(Error::io("open", &database)(e)),
            Ok(_) => Self::connect(path, OpenFlags::empty(), was_store),
        }
    }

    /// Opens a store for writing, and makes it where the directory is missing or empty.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        let was_store = was_store(path);
        if !path.join(DATABASE).exists() {
            if was_store {
                return Err(lost(path.join(DATABASE)));
            }
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))?;
            // Another writer may be making the same store right now: its lock comes first, then the database.
            let others = || -> io::Result<bool> {
                std::fs::read_dir(path)?
                    .try_fold(false, |found, entry| Ok(found || entry?.file_name() != LOCK))
            };
            if others().map_err(Error::io("list", path))? && !path.join(DATABASE).exists() {
                return Err(Error::NotAStore(path.to_owned()));
            }
        }
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE, was_store)?;
        store.create_directories()?;
        store._writing = Some(store.clean_scratch()?);
        store.create_layout(was_store)?;
        Ok(store)
    }

    /// Returns what is wrong with files that are derived from the database, and are made anew when something is recorded.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Returns the store's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `was_store` is what the directory was before it was looked for the database.
    fn connect(path: &Path, create: OpenFlags, was_store: bool) -> Result<Self> {
        let path = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
        let database = path.join(DATABASE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let connection = Connection::open_with_flags(&database, flags)
            .map_err(|source| Error::Database { path: database.clone(), source })?;
        let (written, findings) = (RefCell::default(), Vec::new());
        let mut store = Self { path, database, connection, written, findings, _writing: None };
        store.prepare().map_err(|e| store.failed(e))?;
        store.migrate(was_store)?;
        if let Some(wrong) = store.check_index()? {
            store.findings.push(format!("{} is damaged: {wrong}", show(&store.path.join("index.json"))));
        }
        Ok(store)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(PATIENCE)?;
        self.connection.set_prepared_statement_cache_capacity(64);
        self.connection.pragma_update(None, "foreign_keys", true)?;
        self.connection.pragma_update(None, "trusted_schema", false)?;
        self.connection.pragma_update(None, "cell_size_check", true)
    }

    /// Waits for the store's lock, which is free again when the file is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.path.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path).map_err(Error::io("open", &path))?;
        lock.lock().map_err(Error::io("lock", &path))?;
        Ok(lock)
    }

    /// Works while no other process writes to the database, and so to what is derived from it.
    fn exclusively<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|e| self.failed(e))?;
        let done = work();
        let ended = self.connection.execute_batch("ROLLBACK").map_err(|e| self.failed(e)); // nothing was written to it
        done.and_then(|done| ended.map(|()| done))
    }

    /// Turns an error of the database into ours.
    fn failed(&self, source: rusqlite::Error) -> Error {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked(self.path.clone()),
            None => self.damaged(format!("a row does not hold what it must ({source})")),
            _ => Error::Database { path: self.database.clone(), source },
        }
    }

    /// Says that a row of the database does not hold what it must.
    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(&self.database, what)
    }
}

/// Tells whether a database was made in this directory: `tmp.lock` comes after it. To be asked before the database is looked
/// for, since another process may be making both.
fn was_store(path: &Path) -> bool {
    path.join(TMP_LOCK).exists()
}

fn lost(database: PathBuf) -> Error {
    Error::damaged(database, "it is missing or empty, and the files of a store are beside it")
}
