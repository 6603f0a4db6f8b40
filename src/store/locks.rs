//! Who uses the files of a store.
//!
//! `tmp.lock` is held shared by everyone who has a store open: writers have files in `tmp`, and blobs that no row names
//! yet; readers open blobs by the rows that they have read. Who has it alone may remove both. The locks are those of
//! flock(2), which end with their process, however it ends.

use super::{PATIENCE, TMP_LOCK};
use crate::error::{Error, Result};
use crate::lock;
pub(super) use crate::lock::Hold;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the files of a store from being removed, until the last copy of it is dropped.
#[derive(Clone, Debug)]
pub struct InUse {
    _lock: Arc<File>,
}

impl From<File> for InUse {
    fn from(lock: File) -> Self {
        Self { _lock: Arc::new(lock) }
    }
}

/// How long somebody waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// Half a minute.
    #[default]
    Usual,
    /// Not at all.
    None,
}

/// Takes the lock of the store at `store` for a reader; `None` where nobody has written to it yet.
pub(super) fn share(store: &Path) -> Result<Option<InUse>> {
    let path = store.join(TMP_LOCK);
    match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        lock => wait(store, lock.map_err(Error::io("open", &path))?, Hold::Shared, Patience::Usual)
            .map(|lock| Some(lock.into())),
    }
}

/// Opens the lock file, and makes it where it is missing.
pub(super) fn open(store: &Path) -> Result<File> {
    let path = store.join(TMP_LOCK);
    File::options().create(true).append(true).open(&path).map_err(Error::io("open", path))
}

/// Waits for a lock. Fails with [`Error::Locked`] where others do not let go of it in time.
pub(super) fn wait(store: &Path, lock: File, hold: Hold, patience: Patience) -> Result<File> {
    let patience = if patience == Patience::None { Duration::ZERO } else { PATIENCE };
    lock::wait(lock, hold, &store.join(TMP_LOCK), store, patience)
}
