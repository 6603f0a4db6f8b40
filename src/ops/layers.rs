//! Recorded layers in the form for the planner and the commands about snapshots.

use crate::error::Result;
use crate::model::plan::PriorLayer;
use crate::model::plan::layer::Role;
use crate::model::tree::overlay::LayerItem;
use crate::store::{LayerUse, Store};

/// Tells whether both are the same layers.
pub(crate) fn have_same_keys(a: &[LayerUse], b: &[LayerUse]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.layer.key == b.layer.key)
}

/// Returns the base or delta of the snapshot itself, and the updates over the base or delta.
pub(crate) fn own_layers(layers: Vec<LayerUse>) -> Vec<LayerUse> {
    let own = layers
        .into_iter()
        .filter(|layer| !layer.is_inherited && layer.role != Role::State);
    let own = own
        .enumerate()
        .take_while(|(at, layer)| *at == 0 || layer.role == Role::Update);
    own.map(|(_, layer)| layer).collect()
}

/// Reads the items of layers. Fails if the rows of a layer do not give the layer's key.
pub(crate) fn known_of(store: &Store, layers: &[LayerUse]) -> Result<Vec<PriorLayer>> {
    layers
        .iter()
        .map(|used| Ok(known(used, store.items(used.layer.id)?)))
        .collect()
}

/// Returns a recorded layer with `items` of it.
pub(crate) fn known(used: &LayerUse, items: Vec<LayerItem>) -> PriorLayer {
    PriorLayer {
        role: used.role,
        label: used.label.clone(),
        key: used.layer.key,
        content_bytes: used.layer.content_bytes,
        items,
    }
}

/// Returns how many of the first layers are of the stage before.
pub(crate) fn inherited_len(layers: &[LayerUse]) -> usize {
    layers.iter().take_while(|layer| layer.is_inherited).count()
}
