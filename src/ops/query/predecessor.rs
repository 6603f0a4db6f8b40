//! The layers and the tree that a new layer is compared with.

use crate::error::Result;
use crate::model::plan::layer::Role;
use crate::model::tree::Tree;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::query::records::ids_of;
use crate::ops::root_view::recorded::tree_of;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::BTreeMap;

/// The other side of a new layer's comparison.
#[derive(Clone, Debug)]
pub enum Against {
    /// Nothing: the layer is the first.
    Nothing,
    /// The layers below; of this snapshot, if the layers are of a stage before.
    PriorLayers(Option<Snapshot>),
    /// The last snapshot of the stage.
    Before(Snapshot),
}

/// A layer written for a snapshot.
pub(super) struct NewLayer<'a> {
    pub store: &'a Store,
    pub snapshot: &'a Snapshot,
    /// The series' last snapshot of the stage under the same policy.
    pub before: Option<&'a Snapshot>,
    /// All layers of the snapshot, the lowest first.
    pub layers: &'a [LayerUse],
    /// The position of the new layer among `layers`.
    pub place: usize,
}

impl NewLayer<'_> {
    /// Returns the new layer itself.
    pub(super) fn layer(&self) -> &LayerUse {
        &self.layers[self.place]
    }

    /// Tells whether the layer could stand in the place of an earlier layer: both are state, or neither is and the
    /// earlier is no package's, and the snapshot no longer has the earlier layer.
    fn replaces(&self, earlier: &LayerUse) -> bool {
        let is_state = self.layer().role == Role::State;
        let is_same_side = (earlier.role == Role::State) == is_state;
        is_same_side
            && earlier.role != Role::Package
            && !self
                .layers
                .iter()
                .any(|layer| layer.layer.id == earlier.layer.id)
    }
}

/// The content that a new layer is compared with.
pub(super) struct Predecessor {
    pub tree: Tree,
    pub package_set_id: Option<i64>,
    /// The items of the layers in whose place the new layer is, in path order.
    pub items: Vec<LayerItem>,
}

impl Predecessor {
    /// Finds the predecessor of a layer: in the last snapshot of the stage, else in the layers below. Fails if a row of the
    /// snapshot with the predecessor is not as recorded.
    pub(super) fn of(new: &NewLayer) -> Result<(Against, Self)> {
        match new.before {
            Some(before) => {
                let predecessor = Self::in_snapshot(new, before)?;
                Ok((Against::Before(before.clone()), predecessor))
            }
            None if new.place == 0 => Ok((Against::Nothing, Self::empty())),
            None => Self::below(new),
        }
    }

    fn in_snapshot(new: &NewLayer, before: &Snapshot) -> Result<Self> {
        let earlier = new.store.layers(before.id)?;
        let tree = tree_of(new.store, &ids_of(&earlier))?;
        let own = earlier.iter().filter(|layer| !layer.is_inherited);
        let replaced = own.filter(|layer| new.replaces(layer));
        // The item of the uppermost layer counts.
        let mut items: BTreeMap<EntryPath, LayerItem> = BTreeMap::new();
        for layer in replaced {
            for item in new.store.items(layer.layer.id)? {
                items.insert(item.path().clone(), item);
            }
        }
        Ok(Self {
            tree,
            package_set_id: before.package_set_id,
            items: items.into_values().collect(),
        })
    }

    fn empty() -> Self {
        Self {
            tree: Tree::default(),
            package_set_id: None,
            items: Vec::new(),
        }
    }

    fn below(new: &NewLayer) -> Result<(Against, Self)> {
        let parent = match new.snapshot.parent_id {
            Some(id) => new.store.snapshot(id)?,
            None => None,
        };
        let below = ids_of(&new.layers[..new.place]);
        let tree = tree_of(new.store, &below)?;
        let package_set_id = match &parent {
            Some(parent) => parent.package_set_id,
            None => None,
        };
        let predecessor = Self {
            tree,
            package_set_id,
            items: Vec::new(),
        };
        Ok((Against::PriorLayers(parent), predecessor))
    }
}
