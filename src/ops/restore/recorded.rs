//! A recorded snapshot as a restore needs it: all layers with their items, and the tree that they give.

use crate::error::Result;
use crate::model::packages::owners::Installed;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::tree::Tree;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::store::{FileLists, LayerUse, Snapshot, Store};

/// A snapshot, ready to be compared.
pub(crate) struct Recorded {
    pub snapshot: Snapshot,
    pub policy: Policy,
    pub layers: Vec<LayerUse>,
    pub items: Vec<Vec<LayerItem>>,
    pub tree: Tree,
    /// The packages, if the policy asks for the times that they give.
    pub installed: Vec<Installed>,
}

/// Loads a snapshot. Fails if a row is damaged or missing.
pub(super) fn load(store: &Store, snapshot: Snapshot, policy: Policy) -> Result<Recorded> {
    let layers = store.layers(snapshot.id)?;
    let items = layers
        .iter()
        .map(|layer| store.items(layer.layer.id))
        .collect::<Result<Vec<_>>>()?;
    let mut overlay = Overlay::new();
    overlay.apply_all(items.iter().map(|layer| layer.iter().cloned()));
    let installed = match snapshot
        .package_set_id
        .filter(|_| policy.mtime == MtimeRule::Package)
    {
        Some(set) => store.installed(set, &mut FileLists::default())?,
        None => Vec::new(),
    };
    Ok(Recorded {
        policy,
        layers,
        items,
        tree: overlay.into_tree(),
        installed,
        snapshot,
    })
}
