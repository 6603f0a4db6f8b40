//! Releases blobs of layers that a registry has as well: their files go, and rows say where the bytes are.
//!
//! Invariants: the rows are durable before index.json leaves out the images with such a layer, and index.json is durable before
//! the first file goes. So a kill at any point leaves a blob that is here, with or without such a row, or that has the row.
//! Guarded by `a_release_that_is_killed_anywhere_leaves_a_sound_store_and_the_next_ends_it`.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::store::blobs::index::Listed;
use crate::store::handle::{Store, failed_of};
use crate::store::records::remote::{self, RemoteBlob};
use rusqlite::{Transaction, TransactionBehavior};
use std::collections::HashSet;

impl Store {
    /// Removes the files of blobs that registries have, for a process that has the store alone. `render` makes the bytes of
    /// index.json. Fails if rows or index.json cannot be written, and then every file is there; and at the first file that cannot be
    /// removed.
    pub(crate) fn release_blobs(
        &self,
        blobs: &[RemoteBlob],
        render: impl FnOnce(&[Listed]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        self.record_remotes(blobs)?;
        let going: HashSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        self.exclusively(|| {
            let listed = self.listed_without(&going)?;
            self.write_index(&render(&listed)?)
        })?;
        for digest in going {
            self.remove_blob(&digest)?;
        }
        Ok(())
    }

    /// Records durably where blobs are.
    fn record_remotes(&self, blobs: &[RemoteBlob]) -> Result<()> {
        let failed = |source| failed_of(&self.path, &self.database, source);
        self.connection
            .pragma_update(None, "synchronous", "full")
            .map_err(failed)?;
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(failed)?;
        for blob in blobs {
            remote::replace(&transaction, blob).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }
}
