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

/// The layers of a snapshot by their place in the plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stack {
    /// Layers of the stage before that are no package's: a base, deltas, updates.
    pub inherited: Vec<LayerUse>,
    /// The base or delta of the snapshot itself, and the updates over the base or delta.
    pub own: Vec<LayerUse>,
    /// Package layers, each with the number of the remainder's layers below.
    pub packages: Vec<(usize, LayerUse)>,
}

impl Stack {
    /// Sorts the layers of a snapshot, the lowest first. The state is left out, and layers that no planner would list: an image
    /// of others may have more deltas.
    pub(crate) fn of(layers: Vec<LayerUse>) -> Self {
        let mut stack = Self::default();
        let mut is_over = false;
        for layer in layers {
            let is_own_first = stack.own.is_empty() && !is_over;
            match layer.role {
                Role::State => {}
                Role::Package => stack.packages.push((stack.height(), layer)),
                _ if layer.is_inherited => stack.inherited.push(layer),
                Role::Update if !is_over => stack.own.push(layer),
                _ if is_own_first => stack.own.push(layer),
                _ => is_over = true,
            }
        }
        stack
    }

    fn height(&self) -> usize {
        self.inherited.len() + self.own.len()
    }

    /// Returns the layers of the remainder, the lowest first.
    pub(crate) fn remainder(&self) -> impl Iterator<Item = &LayerUse> {
        self.inherited.iter().chain(&self.own)
    }
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
