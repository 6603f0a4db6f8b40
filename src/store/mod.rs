//! The store: one directory that is an OCI image layout and holds the database beside it.
//!
//! ```text
//! STORE/oci-layout  index.json  blobs/sha256/…   the image layout (image-spec, image-layout.md)
//!       rootstrata.sqlite                        what was recorded, and the stamps
//!       tmp/                                     files that are being written
//!       lock  tmp.lock                           see `LOCK`, `TMP_LOCK`
//!       reserve                                  see `RESERVE`
//! ```
//! The only place that writes there. Invariants: a blob is durable before a row names it; a snapshot is recorded in
//! one transaction; index.json is derived from the database, so a run that is killed anywhere leaves only files that
//! nothing refers to.

mod blobs;
mod database;
mod directory;
mod inside;
mod locks;
mod migrations;
mod needed;
mod records;
mod stamps;

pub use blobs::index::Listed;
pub use blobs::presence::Presence;
pub use blobs::reading::Blobs;
pub use blobs::{NewBlob, Scratch};
pub use inside::is_in_store;
pub use locks::{InUse, Patience};
pub use records::lookups::ItemsAlong;
pub use records::packages::FileLists;
pub use records::snapshots::{Blob, BlobRef, Layer, LayerUse, Snapshot};
pub use records::write::{NewLayer, NewSnapshot, PackagesOf, SnapshotLayer};
pub use stamps::StampState;
pub use stamps::rows::{Packed, Reader, Stamps};

use crate::error::{Error, Result, show};
use crate::model::digest::Digest;
use blobs::stamp::BlobStamp;
use database::{Database, For, Still};
use directory::Directory;
use locks::Hold;
use rusqlite::{Connection, ErrorCode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const DATABASE: &str = "rootstrata.sqlite";
/// Held by whoever makes the store or changes its format, and shared by whoever reads the database as a file that nobody
/// changes (see `database`).
const LOCK: &str = "lock";
/// See `locks`.
const TMP_LOCK: &str = "tmp.lock";
/// Room that prune gives back first, where a full disk has none left for what removing takes.
const RESERVE: &str = "reserve";
/// Enough for the rows of a snapshot that go, and for index.json.
const RESERVE_BYTES: u64 = 512 << 10;
/// How long a writer waits for others before it says that the store is locked.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    directory: Arc<Directory>,
    database: PathBuf,
    connection: Connection,
    /// Where nothing can be written to the database: a cache is left as it is.
    still: Option<Still>,
    /// What tells this boot from others; see `boots`.
    boot: Vec<u8>,
    /// Blobs that were written, until they are recorded.
    written: RefCell<Vec<(Digest, BlobStamp)>>,
    /// The layers of snapshots whose rows are known to be those that were recorded. Nobody changes such rows, and nobody
    /// removes them but one who has the store alone.
    confirmed: RefCell<HashMap<i64, Arc<[LayerUse]>>>,
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
        let directory = Directory::open(path)?;
        directory.check_writable()?;
        drop(Self::open_unchecked(path)?); // there is one
        let lock = locks::wait(path, locks::open(&directory)?, Hold::Alone, patience)?;
        Self::prepare_alone(Self::connect(
            directory,
            For::Alone { create: false },
            true,
            Some(lock.into()),
        )?)
    }

    /// Opens a store whose database is missing or lacks something, alone, to record again what its layout has. Fails where
    /// there was no store.
    pub fn open_to_rebuild(path: &Path) -> Result<Self> {
        let directory = Directory::open(path)?;
        if !was_store(&directory) {
            return Err(Error::NoStore(path.to_owned()));
        }
        directory.check_writable()?;
        let lock = locks::wait(path, locks::open(&directory)?, Hold::Alone, Patience::Usual)?;
        let connected = Self::connect(
            directory,
            For::Alone { create: true },
            false,
            Some(lock.into()),
        )?;
        let mut store = Self::prepare_alone(connected)?;
        store.create_layout(false)?;
        Ok(store)
    }

    fn prepare_alone(store: Self) -> Result<Self> {
        store.create_directories()?;
        store.empty_scratch()?;
        Ok(store)
    }

    /// As [`Store::open`], whatever index.json says.
    pub fn open_unchecked(path: &Path) -> Result<Self> {
        let directory = Directory::open(path)?;
        let in_use = locks::share(&directory)?;
        let was_store = was_store(&directory);
        match directory.has(DATABASE) {
            false if was_store => Err(lost(directory.path().join(DATABASE))),
            false => Err(Error::NoStore(path.to_owned())),
            true => Self::connect(directory, For::Reading, was_store, in_use),
        }
    }

    /// Opens a store for writing, and makes it where the directory is missing or empty.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        if !path.exists() {
            builder
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(Error::io("create", path))?;
        }
        let directory = Directory::open(path)?;
        let was_store = was_store(&directory);
        if !directory.has(DATABASE) {
            if was_store {
                return Err(lost(directory.path().join(DATABASE)));
            }
            // Another writer may be making the same store right now: its lock comes first, then the database.
            // What SQLite has beside the database may be all that a power cut has left of it.
            let others = || -> io::Result<bool> {
                let is_other = |name: &OsStr| {
                    name != LOCK && !name.as_encoded_bytes().starts_with(DATABASE.as_bytes())
                };
                std::fs::read_dir(path)?.try_fold(false, |found, entry| {
                    Ok(found || is_other(&entry?.file_name()))
                })
            };
            if others().map_err(Error::io("list", path))? && !directory.has(DATABASE) {
                return Err(Error::NotAStore(path.to_owned()));
            }
        }
        directory.check_writable()?;
        // Until index.json is compared with the database, nobody may remove from both.
        let in_use = locks::share(&directory)?;
        let mut store = Self::connect(directory, For::Writing { create: true }, was_store, in_use)?;
        store.look_at_index()?;
        store.in_use = None;
        store.create_directories()?;
        store.in_use = Some(store.clean_scratch()?);
        store.create_layout(was_store)?;
        store.keep_reserve();
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
    fn connect(
        directory: Directory,
        purpose: For,
        was_store: bool,
        in_use: Option<InUse>,
    ) -> Result<Self> {
        let Database { connection, still } = Database::open(&directory, purpose)?;
        let path = directory.path().to_owned();
        let database = path.join(DATABASE);
        let (boot, written, findings) = (
            stamps::boots::current().to_owned(),
            RefCell::default(),
            Vec::new(),
        );
        let directory = Arc::new(directory);
        let mut store = Self {
            path,
            directory,
            database,
            connection,
            still,
            boot,
            written,
            confirmed: RefCell::default(),
            findings,
            in_use,
        };
        store.migrate(was_store, purpose)?;
        Ok(store)
    }

    fn look_at_index(&mut self) -> Result<()> {
        if let Some(wrong) = self.check_index()? {
            self.findings.push(format!(
                "{} is damaged: {wrong}",
                show(&self.path.join("index.json"))
            ));
        }
        Ok(())
    }

    /// Waits for the store's lock, which is free again when the file is dropped.
    fn lock(&self) -> Result<File> {
        let lock = self.directory.lock_file(LOCK)?;
        lock.lock()
            .map_err(Error::io("lock", self.path.join(LOCK)))?;
        Ok(lock)
    }

    /// Makes the reserve where it is missing. Where it cannot be made, prune has none.
    pub fn keep_reserve(&self) {
        if self.directory.length(RESERVE) == 0 && !self.directory.is_full() {
            let _ = self.directory.allocate(RESERVE, RESERVE_BYTES);
        }
    }

    /// Gives the reserve back where there is no room left, and tells whether that is so.
    pub fn release_reserve(&self) -> Result<bool> {
        if !self.directory.is_full() {
            return Ok(false);
        }
        match self.directory.remove(RESERVE) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.path.join(RESERVE))(e))
            }
            _ => {
                let kept = self.connection.pragma_update(None, "cache_spill", false); // or rows that go take room first
                kept.map(|()| true).map_err(|e| self.failed(e))
            }
        }
    }

    /// Tells whether nothing can be written to the database.
    fn is_still(&self) -> bool {
        self.still.is_some()
    }

    /// Works while no other process writes to the database, and so to what is derived from it.
    fn exclusively<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|e| self.failed(e))?;
        let done = work();
        let ended = self
            .connection
            .execute_batch("ROLLBACK")
            .map_err(|e| self.failed(e)); // nothing was written to it
        done.and_then(|done| ended.map(|()| done))
    }

    /// Turns an error of the database into ours.
    fn failed(&self, source: rusqlite::Error) -> Error {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::Locked(self.path.clone())
            }
            None => self.damaged(format!("a row does not hold what it must ({source})")),
            _ => Error::Database {
                path: self.database.clone(),
                source,
            },
        }
    }

    /// Says that a row of the database does not hold what it must.
    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(&self.database, what)
    }
}

/// Tells whether a database was made in this directory: `tmp.lock` comes after it. To be asked before the database is looked
/// for, since another process may be making both.
fn was_store(directory: &Directory) -> bool {
    directory.has(TMP_LOCK)
}

fn lost(database: PathBuf) -> Error {
    let store = show(database.parent().unwrap_or(&database));
    let what = format!(
        "it is missing or empty, and the files of a store are beside it: \
         rootstrata import oci:{store} records again what they tell"
    );
    Error::damaged(database, what)
}
