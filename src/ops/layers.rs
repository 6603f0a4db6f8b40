//! Recorded layers in the form for the planner and the commands about snapshots.

use crate::error::Result;
use crate::model::plan::Known;
use crate::model::plan::layer::Role;
use crate::store::{LayerUse, Snapshot, Store};

/// Tells whether both are the same layers.
pub(crate) fn have_same_keys(a: &[LayerUse], b: &[LayerUse]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.layer.key == b.layer.key)
}

/// Returns the base or delta of snapshot `of` itself, and the updates over the base or delta.
pub(crate) fn own_layers(layers: Vec<LayerUse>, of: &Snapshot) -> Vec<LayerUse> {
    let own = layers
        .into_iter()
        .skip(of.inherited_layers)
        .filter(|layer| layer.role != Role::State);
    let own = own
        .enumerate()
        .take_while(|(at, layer)| *at == 0 || layer.role == Role::Update);
    own.map(|(_, layer)| layer).collect()
}

/// Reads the items of layers. Fails if the store cannot be read.
pub(crate) fn known_of(store: &Store, layers: &[LayerUse]) -> Result<Vec<Known>> {
    layers
        .iter()
        .map(|LayerUse { role, layer, .. }| {
            Ok(Known {
                role: *role,
                key: layer.key,
                content_bytes: layer.content_bytes,
                items: store.items(layer.id)?,
            })
        })
        .collect()
}
