//! The processes that use the files of a store.
//!
//! `tmp.lock` is held shared by everyone who has a store open: writers have files in `tmp`, and blobs without a row
//! yet; readers open blobs by the rows in their hands. A process that has the lock alone may remove both. The locks
//! are those of flock(2): they end with their process, by whatever end.

use crate::error::{Error, Result};
use crate::lock;
pub(crate) use crate::lock::Hold;
use crate::store::directory::Directory;
use crate::store::files::PATIENCE;
use crate::store::files::TMP_LOCK;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the files of a store from being removed, until the last copy is dropped.
#[derive(Clone, Debug)]
pub struct InUse {
    lock: Arc<File>,
}

impl InUse {
    /// Works while nobody else has the store open, and has the store shared again afterwards. Until then others may
    /// take the store. Fails with [`Error::Locked`] if others hold the store for too long.
    pub(crate) fn alone<T>(&self, store: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let lock = || {
            self.lock
                .try_clone()
                .map_err(Error::io("lock", store.join(TMP_LOCK)))
        };
        wait(store, lock()?, Hold::Alone, Patience::Usual)?;
        let done = work();
        wait(store, lock()?, Hold::Shared, Patience::Usual)?;
        done
    }

    /// Lets others have the store alone, until [`InUse::alone`] or [`InUse::resume`]. Fails as flock(2) does.
    pub(crate) fn pause(&self, store: &Path) -> Result<()> {
        self.lock
            .unlock()
            .map_err(Error::io("unlock", store.join(TMP_LOCK)))
    }

    /// Takes the lock again. Fails with [`Error::Locked`] if others hold the store for too long.
    pub(crate) fn resume(&self, store: &Path) -> Result<()> {
        let lock = self
            .lock
            .try_clone()
            .map_err(Error::io("lock", store.join(TMP_LOCK)))?;
        wait(store, lock, Hold::Shared, Patience::Usual).map(drop)
    }
}

impl From<File> for InUse {
    fn from(lock: File) -> Self {
        Self {
            lock: Arc::new(lock),
        }
    }
}

/// The patience with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Half a minute.
    #[default]
    Usual,
    /// Not at all.
    None,
}

/// Takes the lock of a store for a reader; `None` if nobody has written to the store yet. Fails with [`Error::Locked`]
/// if a process has the store alone for too long.
pub(crate) fn share(store: &Directory) -> Result<Option<InUse>> {
    let Some(lock) = store.file(TMP_LOCK)? else {
        return Ok(None);
    };
    wait(store.path(), lock, Hold::Shared, Patience::Usual).map(|lock| Some(lock.into()))
}

/// Opens the lock file, and makes the file if missing. Fails if something else is in its place.
pub(crate) fn open(store: &Directory) -> Result<File> {
    store.lock_file(TMP_LOCK)
}

/// Waits for a lock. Fails with [`Error::Locked`] if others do not let go of the lock in time.
pub(crate) fn wait(store: &Path, lock: File, hold: Hold, patience: Patience) -> Result<File> {
    let patience = if patience == Patience::None {
        Duration::ZERO
    } else {
        PATIENCE
    };
    lock::wait(lock, hold, &store.join(TMP_LOCK), store, patience)
}
