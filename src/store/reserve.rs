//! Room that is set aside in the store, for removing snapshots on a full disk.

use crate::error::{Error, Result};
use crate::store::files::RESERVE;
use crate::store::handle::Store;
use std::io;

/// Enough for the rows of a snapshot that go, and for index.json.
const RESERVE_BYTES: u64 = 512 << 10;

impl Store {
    /// Makes the reserve where it is missing. Where it cannot be made, prune has none.
    pub(crate) fn keep_reserve(&self) {
        if self.directory.length(RESERVE) == 0 && !self.directory.is_full() {
            let _ = self.directory.allocate(RESERVE, RESERVE_BYTES);
        }
    }

    /// Gives the reserve back where there is no room left, and tells whether that is so.
    pub(crate) fn release_reserve(&self) -> Result<bool> {
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
}
