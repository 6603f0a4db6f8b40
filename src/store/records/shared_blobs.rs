//! Layers that have a blob in common: the blob is one tar, so they have one diff_id and the same items, under two policies.
//!
//! A record of a registry may say that the blob of one layer is another layer. Invariant: such a layer is recorded beside no other
//! layer with the blob, so whoever proves the blob for one has proven it for all. Guarded by
//! `a_blob_of_the_store_is_not_taken_for_another_layer_that_a_record_calls_so`.

use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::model::plan::items_form::key_of;
use crate::model::policy::Policy;
use crate::store::handle::Store;
use crate::store::records::read::layer;
use crate::store::records::rows::Layer;
use crate::store::records::write::{NewLayer, SnapshotLayer};
use std::collections::HashMap;

impl Store {
    /// Tells whether a layer with this key is recorded with the blob. Fails if the rows cannot be read.
    pub(crate) fn is_recorded_as(&self, digest: &Digest, key: &LayerKey) -> Result<bool> {
        let layers = self.layers_of_blob(digest)?;
        Ok(layers.iter().any(|layer| layer.key == *key))
    }

    /// Fails with [`Error::Damaged`] if a blob of these layers is another layer's.
    pub(crate) fn refuse_other_layers(&self, layers: &[SnapshotLayer]) -> Result<()> {
        let mut diff_ids: HashMap<Digest, DiffId> = HashMap::new();
        for SnapshotLayer { key, blob, new, .. } in layers {
            let Some(new) = new else {
                continue;
            };
            let first = *diff_ids.entry(blob.digest).or_insert(new.diff_id);
            let mut is_other = first != new.diff_id;
            for known in self.layers_of_blob(&blob.digest)? {
                is_other |= known.key != *key && !self.is_same(&known, new)?;
            }
            if is_other {
                let what = format!("blob {} is not layer {key} alone", blob.digest);
                return Err(Error::damaged(self.path(), what));
            }
        }
        Ok(())
    }

    /// Tells whether layers with one blob can have one tar. Items of foreign layers depend on the layers below.
    fn is_same(&self, known: &Layer, new: &NewLayer) -> Result<bool> {
        let policy = self.policy_of_layer(known.id)?;
        let canonical = self.policy(&policy)?;
        if is_foreign(&canonical) || new.under.is_some_and(is_foreign) {
            return Ok(known.diff_id == new.diff_id);
        }
        let key = key_of(&policy, new.content.items());
        Ok((key, new.diff_id) == (known.key, known.diff_id))
    }

    /// Returns the layers with a blob. Fails if the rows cannot be read.
    pub(crate) fn layers_of_blob(&self, digest: &Digest) -> Result<Vec<Layer>> {
        let query = "SELECT layer.id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts
             FROM blob JOIN layer ON layer.id = layer_id WHERE digest = ?";
        self.all(query, [digest.0], |row| layer(row, 0))
    }
}

/// Tells whether a layer is of another maker, by the text in its key.
fn is_foreign(under: &str) -> bool {
    Policy::from_canonical(under).is_none()
}
