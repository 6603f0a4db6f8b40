//! Room set aside in the store, for removing snapshots on a full disk.

use crate::error::{Error, Result};
use crate::store::files::RESERVE;
use crate::store::handle::Store;
use std::io;

/// Enough for the removal of a snapshot's rows, and for index.json.
const RESERVE_BYTES: u64 = 512 << 10;

impl Store {
    /// Makes the missing reserve. On failure, prune has no reserve.
    pub(crate) fn keep_reserve(&self) {
        if self.directory.length(RESERVE) == 0 && !self.directory.is_full() {
            let _ = self.directory.allocate(RESERVE, RESERVE_BYTES);
        }
    }

    /// Gives the reserve back if no room is left, and tells whether no room is left. Fails if the reserve cannot be
    /// removed.
    pub(crate) fn release_reserve(&self) -> Result<bool> {
        if !self.directory.is_full() {
            return Ok(false);
        }
        match self.directory.remove(RESERVE) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.path.join(RESERVE))(e))
            }
            _ => {
                let kept = self.connection.pragma_update(None, "cache_spill", false); // or removed rows take room first
                kept.map(|()| true).map_err(|e| self.failed(e))
            }
        }
    }
}
