//! Locks of flock(2): a lock ends with the process, so the owner of an unlocked file is gone.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By several processes.
    Shared,
    /// By one process.
    Alone,
}

impl Hold {
    fn try_now(self, lock: &File) -> Result<(), TryLockError> {
        match self {
            Self::Shared => lock.try_lock_shared(),
            Self::Alone => lock.try_lock(),
        }
    }

    fn wait_for(self, lock: &File) -> io::Result<()> {
        match self {
            Self::Shared => lock.lock_shared(),
            Self::Alone => lock.lock(),
        }
    }
}

/// Waits for the lock of an open file, named `path` in errors. Fails with [`Error::Locked`] of `of` if other processes hold
/// the lock longer than `patience`; without patience, at once.
pub(crate) fn wait(
    lock: File,
    hold: Hold,
    path: &Path,
    of: &Path,
    patience: Duration,
) -> Result<File> {
    let failed = || Error::io::<io::Error>("lock", path);
    match hold.try_now(&lock) {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) if patience.is_zero() => {
            return Err(Error::Locked(of.to_owned()));
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(e)) => return Err(failed()(e)),
    }
    // flock(2) has no timeout: a thread waits, and drops a lock that comes too late.
    let (sender, receiver) = sync_channel(1);
    let waiting = move || {
        let locked = hold.wait_for(&lock);
        let _ = sender.send(locked.map(|()| lock));
    };
    std::thread::Builder::new()
        .spawn(waiting)
        .map_err(failed())?;
    match receiver.recv_timeout(patience) {
        Ok(locked) => locked.map_err(failed()),
        Err(_) => Err(Error::Locked(of.to_owned())),
    }
}
