//! Who uses the files of a store.
//!
//! `tmp.lock` is held shared by everyone who has a store open: writers have files in `tmp`, and blobs that no row names
//! yet; readers open blobs by the rows that they have read. Who has it alone may remove both. The locks are those of
//! flock(2), which end with their process, however it ends.

use super::{PATIENCE, TMP_LOCK};
use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

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

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Shared,
    Alone,
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
    let failed = || Error::io::<io::Error>("lock", store.join(TMP_LOCK));
    let tried = match hold {
        Hold::Shared => lock.try_lock_shared(),
        Hold::Alone => lock.try_lock(),
    };
    match tried {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) if patience == Patience::None => {
            return Err(Error::Locked(store.to_owned()));
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(e)) => return Err(failed()(e)),
    }
    // flock(2) has no timeout: a thread waits, and lets go of what it gets too late.
    let (sender, receiver) = sync_channel(1);
    let waiting = move || {
        let locked = match hold {
            Hold::Shared => lock.lock_shared(),
            Hold::Alone => lock.lock(),
        };
        let _ = sender.send(locked.map(|()| lock));
    };
    std::thread::Builder::new().spawn(waiting).map_err(failed())?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(locked) => locked.map_err(failed()),
        Err(_) => Err(Error::Locked(store.to_owned())),
    }
}
