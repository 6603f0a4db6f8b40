//! Who uses the files of a store.
//!
//! `tmp.lock` is held shared by everyone who has a store open: writers have files in `tmp`, and blobs that no row names
//! yet; readers open blobs by the rows that they have read. Who has it alone may remove both. The locks are those of
//! flock(2), which end with their process, however it ends.

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

/// Keeps the files of a store from being removed, until the last copy of it is dropped.
#[derive(Clone, Debug)]
pub struct InUse {
    lock: Arc<File>,
}

impl InUse {
    /// Works while nobody else has the store open, and has it shared again afterwards. Until then others may have it.
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

    /// Lets others have it alone, until [`InUse::alone`] or [`InUse::resume`].
    pub(crate) fn pause(&self, store: &Path) -> Result<()> {
        self.lock
            .unlock()
            .map_err(Error::io("unlock", store.join(TMP_LOCK)))
    }

    /// Takes it again.
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

/// How long somebody waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Half a minute.
    #[default]
    Usual,
    /// Not at all.
    None,
}

/// Takes the lock of a store for a reader; `None` where nobody has written to it yet.
pub(crate) fn share(store: &Directory) -> Result<Option<InUse>> {
    let Some(lock) = store.file(TMP_LOCK)? else {
        return Ok(None);
    };
    wait(store.path(), lock, Hold::Shared, Patience::Usual).map(|lock| Some(lock.into()))
}

/// Opens the lock file, and makes it where it is missing.
pub(crate) fn open(store: &Directory) -> Result<File> {
    store.lock_file(TMP_LOCK)
}

/// Waits for a lock. Fails with [`Error::Locked`] where others do not let go of it in time.
pub(crate) fn wait(store: &Path, lock: File, hold: Hold, patience: Patience) -> Result<File> {
    let patience = if patience == Patience::None {
        Duration::ZERO
    } else {
        PATIENCE
    };
    lock::wait(lock, hold, &store.join(TMP_LOCK), store, patience)
}
