//! A layer of an image, as the store is to record the layer: a native layer unchanged, a foreign layer by its changes
//! to the layers below.

use crate::model::digest::{DiffId, LayerKey, PolicyKey};
use crate::model::plan::difference::delta;
use crate::model::plan::item::Item;
use crate::model::plan::items_form::key_of;
use crate::model::plan::layer::LayerContent;
use crate::model::policy::Policy;
use crate::model::tree::Tree;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;
use std::collections::HashSet;

/// A taken layer.
#[derive(Debug)]
pub(crate) struct TakenLayer {
    pub key: LayerKey,
    pub tar_bytes: u64,
    /// The canonical text in the key.
    pub under: String,
    tree: Tree,
    whiteouts: Vec<EntryPath>,
}

impl TakenLayer {
    /// Returns the entries and whiteouts.
    pub(crate) fn content(&self) -> LayerContent<'_> {
        LayerContent::all(&self.tree, self.whiteouts.clone())
    }

    /// Takes items, none of which is opaque.
    fn of(
        items: impl Iterator<Item = LayerItem>,
        key: LayerKey,
        tar_bytes: u64,
        under: String,
    ) -> Self {
        let (mut entries, mut whiteouts) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                LayerItem::Entry(entry) => entries.push(entry),
                LayerItem::Whiteout(path) | LayerItem::Opaque(path) => whiteouts.push(path),
            }
        }
        Self {
            key,
            tar_bytes,
            under,
            tree: Tree::new(entries),
            whiteouts,
        }
    }
}

/// The layers of an image taken, the lowest first.
#[derive(Default)]
pub(crate) struct TakenLayers {
    layers: Vec<TakenLayer>,
    /// What the first of them give, and how many these are.
    overlay: Overlay,
    laid: usize,
}

impl From<Vec<TakenLayer>> for TakenLayers {
    fn from(layers: Vec<TakenLayer>) -> Self {
        Self {
            layers,
            ..Self::default()
        }
    }
}

impl TakenLayers {
    /// Adds a layer on top.
    pub(crate) fn push(&mut self, layer: TakenLayer) {
        self.layers.push(layer);
    }

    /// Returns what the layers give.
    pub(crate) fn overlay(&mut self) -> &Overlay {
        let new: Vec<LayerContent> = self.layers[self.laid..]
            .iter()
            .map(TakenLayer::content)
            .collect();
        let items = new.iter().map(LayerContent::items);
        self.overlay
            .apply_all(items.map(|items| items.map(LayerItem::from)));
        self.laid = self.layers.len();
        &self.overlay
    }

    /// Returns the layers, and the entries of their tree.
    pub(crate) fn into_parts(mut self) -> (Vec<TakenLayer>, Vec<Entry>) {
        self.overlay();
        (self.layers, self.overlay.into_tree().into_entries())
    }
}

/// Tells whether a layer is native: the key is right under the policy, and we would write a layer of the same items.
pub(crate) fn is_native(items: &[LayerItem], policy: &Policy, key: LayerKey) -> bool {
    let is_plain = items.iter().all(|item| item.as_item().is_some());
    let plain = || items.iter().filter_map(LayerItem::as_item);
    if !is_plain || key_of(&policy.key(), plain()) != key {
        return false;
    }
    let directory = |item: Item| match item {
        Item::Entry(entry) if entry.is_directory() => Some(entry.path.clone()),
        _ => None,
    };
    let directories: HashSet<EntryPath> = plain().filter_map(directory).collect();
    let is_closed = |item: Item| {
        item.path()
            .parent()
            .is_none_or(|parent| directories.contains(&parent))
    };
    let paths: Vec<&EntryPath> = items.iter().map(LayerItem::path).collect();
    // With the right key, it may still be such as we never write.
    plain().all(is_closed) && paths.is_sorted_by(|a, b| a < b)
}

/// Takes a native layer; `None` where it is none.
pub(crate) fn native(
    items: Vec<LayerItem>,
    policy: &Policy,
    key: LayerKey,
    tar_bytes: u64,
) -> Option<TakenLayer> {
    is_native(&items, policy, key).then(|| as_native(items, policy, key, tar_bytes))
}

/// Takes a layer that [`is_native`].
pub(crate) fn as_native(
    items: Vec<LayerItem>,
    policy: &Policy,
    key: LayerKey,
    tar_bytes: u64,
) -> TakenLayer {
    TakenLayer::of(items.into_iter(), key, tar_bytes, policy.canonical())
}

/// Takes a foreign layer by its changes: `below` is the tree without the layer, `after` with the layer. The key is
/// under the diff_id, so no other layer has the same key.
pub(crate) fn foreign(
    below: &Overlay,
    after: &Tree,
    diff_id: DiffId,
    tar_bytes: u64,
) -> TakenLayer {
    let under =
        serde_json::json!({ "diff_id": diff_id.to_string(), "profile": "foreign" }).to_string();
    let policy = PolicyKey(*blake3::hash(under.as_bytes()).as_bytes());
    let content = delta(below.entries(), after);
    let key = key_of(&policy, content.items());
    let items = content.items().map(LayerItem::from);
    TakenLayer::of(items, key, tar_bytes, under)
}
