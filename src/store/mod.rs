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
mod checks;
mod entries;
mod index;
mod inside;
mod locks;
mod lookups;
mod migrations;
mod needed;
mod packages;
mod record;
mod seal;
mod snapshots;
mod sound;
mod stamp_levels;
mod stamp_rows;
mod stamps;
mod values;

pub use blobs::{NewBlob, Scratch};
pub use index::Listed;
pub use inside::is_in_store;
pub use locks::{InUse, Patience};
pub use packages::FileLists;
pub use record::PackagesOf;
pub use record::{NewLayer, NewSnapshot, SnapshotLayer};
pub use snapshots::{Blob, BlobRef, Layer, LayerUse, Snapshot};
pub use sound::Blobs;
pub use stamp_rows::{Packed, Reader, Stamps};
pub use stamps::StampState;

use crate::error::{Error, Result, show};
use crate::model::digest::Digest;
use locks::Hold;
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
/// See `locks`.
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
    /// Held while it is open.
    in_use: Option<InUse>,
}

impl Store {
    /// Opens a store for reading. Fails where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let mut store = Self::open_unchecked(path)?;
        store.look_at_index()?;
        Ok(store)
    }

    /// Opens a store of which nobody else has anything open, and keeps others from opening it. Fails where there is none.
    pub fn open_alone(path: &Path, patience: Patience) -> Result<Self> {
        let mut store = Self::open_alone_unchecked(path, patience)?;
        store.look_at_index()?;
        Ok(store)
    }

    /// As [`Store::open_alone`], whatever index.json says.
    pub fn open_alone_unchecked(path: &Path, patience: Patience) -> Result<Self> {
        drop(Self::open_unchecked(path)?); // there is one
        let lock = locks::wait(path, locks::open(path)?, Hold::Alone, patience)?;
        let mut store = Self::connect(path, OpenFlags::empty(), true)?;
        store.create_directories()?;
        store.empty_scratch()?;
        store.in_use = Some(lock.into());
        Ok(store)
    }

    /// Opens a store whose database is missing or lacks something, alone, to record again what its layout has. Fails where
    /// there was no store.
    pub fn open_to_rebuild(path: &Path) -> Result<Self> {
        if !was_store(path) {
            return Err(Error::NoStore(path.to_owned()));
        }
        let lock = locks::wait(path, locks::open(path)?, Hold::Alone, Patience::Usual)?;
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE, false)?;
        store.create_directories()?;
        store.empty_scratch()?;
        store.create_layout(false)?;
        store.in_use = Some(lock.into());
        Ok(store)
    }

    /// As [`Store::open`], whatever index.json says.
    pub fn open_unchecked(path: &Path) -> Result<Self> {
        let in_use = locks::share(path)?;
        let database = path.join(DATABASE);
        let was_store = was_store(path);
        match std::fs::symlink_metadata(&database) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && was_store => Err(lost(database)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NoStore(path.to_owned())),
            Err(e) => Err(Error::io("open", &database)(e)),
            Ok(_) => Ok(Self { in_use, ..Self::connect(path, OpenFlags::empty(), was_store)? }),
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
        // Until index.json is compared with the database, nobody may remove from both.
        let in_use = locks::share(path)?;
        let mut store = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE, was_store)?;
        store.look_at_index()?;
        drop(in_use);
        store.create_directories()?;
        store.in_use = Some(store.clean_scratch()?);
        store.create_layout(was_store)?;
        Ok(store)
    }

    /// Returns what is wrong with files that are derived from the database, and are made anew when something is recorded.
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Returns what keeps its files from being removed, for one who needs them longer than the store is open.
    pub fn in_use(&self) -> Option<InUse> {
        self.in_use.clone()
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
        let mut store = Self { path, database, connection, written, findings, in_use: None };
        store.prepare().map_err(|e| store.failed(e))?;
        store.migrate(was_store)?;
        Ok(store)
    }

    fn look_at_index(&mut self) -> Result<()> {
        if let Some(wrong) = self.check_index()? {
            self.findings.push(format!("{} is damaged: {wrong}", show(&self.path.join("index.json"))));
        }
        Ok(())
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
    let store = show(database.parent().unwrap_or(&database));
    let what = format!(
        "it is missing or empty, and the files of a store are beside it: \
         rootstrata import oci:{store} records again what they tell"
    );
    Error::damaged(database, what)
}
