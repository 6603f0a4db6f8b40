//! Sends a file to the disk while more of the file is written.

use crate::threads::joined;
use std::fs::File;
use std::io;
use std::thread::JoinHandle;

/// After this many bytes a sync begins: the disk writes while we compress or copy, and the last sync finds little to do.
const SYNC_BYTES: u64 = 32 << 20;

/// The sync of one file that is being written.
#[derive(Debug, Default)]
pub(crate) struct BackgroundSync {
    unsynced_bytes: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl BackgroundSync {
    /// Is told how much was written, and starts a sync after many bytes. Fails if the sync before has failed.
    pub(crate) fn wrote(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.unsynced_bytes += bytes;
        if self.unsynced_bytes < SYNC_BYTES {
            return Ok(());
        }
        self.start(file)
    }

    /// Starts a sync on a thread of its own, unless another is going on. For a caller who has more to do before the file is
    /// kept. Fails if the sync before has failed.
    pub(crate) fn start(&mut self, file: &File) -> io::Result<()> {
        if self.running.as_ref().is_none_or(JoinHandle::is_finished) {
            self.end()?;
            let file = file.try_clone()?;
            let sync = std::thread::Builder::new().spawn(move || file.sync_data())?;
            self.running = Some(sync);
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Waits for the last sync. Fails if the last sync has failed: the kernel tells of a failed write once, to the first that
    /// asks.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self.running.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(synced) => joined(synced),
        }
    }
}
