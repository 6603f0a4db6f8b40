//! How a store is opened: to be read, to be written to beside others, or alone.

use crate::error::{Error, Result, show};
use crate::store::database::{Database, For};
use crate::store::directory::Directory;
use crate::store::files::{DATABASE, LOCK, TMP_LOCK, lost};
use crate::store::handle::Store;
use crate::store::locks::{self, Hold, InUse, Patience};
use crate::store::stamps;
use std::cell::RefCell;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

impl Store {
    /// Opens a store for reading. Fails with [`Error::NoStore`] without a store, and with [`Error::Damaged`] if its
    /// database is lost or lacks an image.
    pub fn open(path: &Path) -> Result<Self> {
        let mut store = Self::open_unchecked(path)?;
        store.look_at_index()?;
        Ok(store)
    }

    /// Opens a store alone, and keeps others from opening the store. Fails with [`Error::Locked`] if others have the
    /// store open for too long, and as [`Store::open`] does.
    pub(crate) fn open_alone(path: &Path, patience: Patience) -> Result<Self> {
        let mut store = Self::open_alone_unchecked(path, patience)?;
        store.look_at_index()?;
        Ok(store)
    }

    /// As [`Store::open_alone`], without a look at index.json. Fails with [`Error::Locked`] if others have the store
    /// open for longer than `patience`, with [`Error::NoStore`] without a store, and if the directory cannot be written
    /// to.
    pub(crate) fn open_alone_unchecked(path: &Path, patience: Patience) -> Result<Self> {
        let directory = Directory::open(path)?;
        directory.check_writable()?;
        drop(Self::open_unchecked(path)?); // there is a store
        let lock = locks::wait(path, locks::open(&directory)?, Hold::Alone, patience)?;
        Self::prepare_alone(Self::connect(
            directory,
            For::Alone { create: false },
            true,
            Some(lock.into()),
        )?)
    }

    /// Opens a store with a lost or incomplete database, alone, to record the images of the layout again. Fails with
    /// [`Error::NoStore`] if there was no store.
    pub(crate) fn open_to_rebuild(path: &Path) -> Result<Self> {
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

    /// As [`Store::open`], without a look at index.json. Fails with [`Error::NoStore`] without a database, with
    /// [`Error::Damaged`] if the database is lost, and with [`Error::NewerStore`] if a newer version has written the
    /// database.
    pub(crate) fn open_unchecked(path: &Path) -> Result<Self> {
        let directory = Directory::open(path)?;
        let in_use = locks::share(&directory)?;
        let was_store = was_store(&directory);
        match directory.has(DATABASE) {
            false if was_store => Err(lost(directory.path().join(DATABASE))),
            false => Err(Error::NoStore(path.to_owned())),
            true => Self::connect(directory, For::Reading, was_store, in_use),
        }
    }

    /// Opens a store for writing, and makes the store if the directory is missing or empty. Fails with
    /// [`Error::NotAStore`] if the directory holds other things, and with [`Error::Damaged`] if the database is lost.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        if !path.exists() {
            let mut builder = std::fs::DirBuilder::new();
            let created = builder.recursive(true).mode(0o700).create(path);
            created.map_err(Error::io("create", path))?;
        }
        let directory = Directory::open(path)?;
        let was_store = was_store(&directory);
        if !directory.has(DATABASE) {
            check_free(path, &directory, was_store)?;
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

    /// Opens a store to write to it, and makes none. Fails with [`Error::NoStore`] without a store, and as [`Store::open_or_create`] does.
    pub(crate) fn open_to_change(path: &Path) -> Result<Self> {
        drop(Self::open(path)?);
        Self::open_or_create(path)
    }

    /// `was_store` tells whether the directory was a store before the look for the database.
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
}

/// Fails if a directory without a database is no place for a new store: the database is lost, or other things are there.
fn check_free(path: &Path, directory: &Directory, was_store: bool) -> Result<()> {
    if was_store {
        return Err(lost(directory.path().join(DATABASE)));
    }
    // Another writer may be making the same store right now: the lock comes first, then the database. SQLite's files
    // beside the database may be all that a power cut has left.
    let has_others = has_others(path).map_err(Error::io("list", path))?;
    if has_others && !directory.has(DATABASE) {
        return Err(Error::NotAStore(path.to_owned()));
    }
    Ok(())
}

/// Tells whether a directory has other things than the files of a store that is being made.
fn has_others(path: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let is_of_database = name.as_encoded_bytes().starts_with(DATABASE.as_bytes());
        if name != LOCK && !is_of_database {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether a database was made in a directory: `tmp.lock` comes after the database. To be asked before the look
/// for the database, since another process may be making both.
fn was_store(directory: &Directory) -> bool {
    directory.has(TMP_LOCK)
}
