//! Why each layer of a snapshot was written or reused.
//!
//! The rule that asked for a base or a delta is recorded with the snapshot, or for an older snapshot derived. The paths that
//! made a layer new are derived; see [`Novelty`].

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::plan::layer::Role;
pub use crate::ops::query::novelty::{Cause, Novelty};
pub use crate::ops::query::package_novelty::PackageNovelty;
pub use crate::ops::query::predecessor::Against;
use crate::ops::query::predecessor::NewLayer;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::path::Path;

/// A snapshot with the reason for each of its layers.
#[derive(Debug)]
pub struct Explained {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The layers of the snapshot, the lowest first.
    pub layers: Vec<ExplainedLayer>,
}

impl Explained {
    /// Tells whether the planner's reasons were recorded: those of an old snapshot, and of an imported image, were not.
    pub(crate) fn has_recorded_reasons(&self) -> bool {
        let mut layers = self.layers.iter();
        layers.all(|explained| explained.layer.reason.is_some())
    }
}

/// A layer with its reason.
#[derive(Debug)]
pub struct ExplainedLayer {
    /// The layer.
    pub layer: LayerUse,
    /// The reason for the layer.
    pub reason: Reason,
}

/// Why a layer was written or reused.
#[derive(Debug)]
pub enum Reason {
    /// The layer was there, first in this snapshot.
    Reused(Box<Snapshot>),
    /// The layer was written.
    New(Box<Novelty>),
    /// The layer of a package was written.
    NewOfPackage(PackageNovelty),
}

/// Explains the layers of a snapshot. Fails with [`Error::UnknownSnapshot`](crate::error::Error::UnknownSnapshot) without
/// such a snapshot, and if a row of the snapshot, or of an earlier snapshot of the series, is not as recorded.
pub fn explain(store_path: &Path, reference: &SnapshotRef) -> Result<Explained> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let layers = store.layers(snapshot.id)?;
    let before = before(&store, &snapshot)?;
    let mut explained = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        let new = NewLayer {
            store: &store,
            snapshot: &snapshot,
            before: before.as_ref(),
            layers: &layers,
            place,
        };
        let reason = if layer.reused {
            let first = store.first_with_layer(layer.layer.id)?;
            let first = first.unwrap_or_else(|| snapshot.clone());
            Reason::Reused(Box::new(first))
        } else if layer.role == Role::Package && layer.label.is_some() {
            Reason::NewOfPackage(PackageNovelty::of(&new)?)
        } else {
            Reason::New(Box::new(Novelty::of(&new)?))
        };
        explained.push(ExplainedLayer {
            layer: layer.clone(),
            reason,
        });
    }
    Ok(Explained {
        snapshot,
        layers: explained,
    })
}

/// The series' last snapshot of the stage under the same policy.
fn before(store: &Store, snapshot: &Snapshot) -> Result<Option<Snapshot>> {
    let all = store.snapshots(Some(&snapshot.series))?;
    Ok(all.into_iter().find(|earlier| {
        earlier.id < snapshot.id
            && earlier.stage == snapshot.stage
            && earlier.policy_key == snapshot.policy_key
    }))
}
