//! Records of a snapshot that several questions need.

use crate::error::Result;
use crate::model::packages::owners::Times;
use crate::model::policy::{MtimeRule, Policy};
use crate::store::{LayerUse, Snapshot, Store};

/// Returns the numbers of the snapshot's layers, the lowest first. Fails if the row of a layer is not as recorded.
pub(super) fn layer_ids(store: &Store, snapshot: &Snapshot) -> Result<Vec<i64>> {
    Ok(ids_of(&store.layers(snapshot.id)?))
}

/// Returns the numbers of layers, in the order of the layers.
pub(super) fn ids_of(layers: &[LayerUse]) -> Vec<i64> {
    layers.iter().map(|layer| layer.layer.id).collect()
}

/// Tells whether the snapshot's policy keeps times of files; an unknown policy counts as one that does not. Fails if
/// the snapshot's policy is missing in the database.
pub(super) fn times(store: &Store, snapshot: &Snapshot) -> Result<Times> {
    let canonical = store.policy(&snapshot.policy_key)?;
    let Some(policy) = Policy::from_canonical(&canonical) else {
        return Ok(Times::Lost);
    };
    match policy.mtime {
        MtimeRule::Fixed => Ok(Times::Lost),
        _ => Ok(Times::Kept),
    }
}
