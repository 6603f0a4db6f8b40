//! A layer of an image, as the store is to record the layer: a native layer unchanged, a foreign layer by its changes
//! to the layers below.

use crate::model::digest::{DiffId, LayerKey, PolicyKey};
use crate::model::plan::difference::delta;
use crate::model::plan::item::Item;
use crate::model::plan::items_form::key_of;
use crate::model::plan::layer::LayerContent;
use crate::model::policy::Policy;
use crate::model::tree::Tree;
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

    /// Returns the items, to be laid over lower layers.
    pub(crate) fn laid(&self) -> Vec<LayerItem> {
        self.content().items().map(LayerItem::from).collect()
    }

    fn of<'i>(
        items: impl Iterator<Item = Item<'i>>,
        key: LayerKey,
        tar_bytes: u64,
        under: String,
    ) -> Self {
        let (mut entries, mut whiteouts) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Entry(entry) => entries.push(entry.clone()),
                Item::Whiteout(path) => whiteouts.push(path.clone()),
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

/// Takes a native layer: the key is right under the policy, and we would write a layer of the same items.
pub(crate) fn native(
    items: Vec<LayerItem>,
    policy: &Policy,
    key: LayerKey,
    tar_bytes: u64,
) -> Option<TakenLayer> {
    let is_plain = items.iter().all(|item| item.as_item().is_some());
    let plain = || items.iter().filter_map(LayerItem::as_item);
    if !is_plain || key_of(&policy.key(), plain()) != key {
        return None;
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
    if !plain().all(is_closed) || !paths.is_sorted_by(|a, b| a < b) {
        return None; // the key is right, but we write no such layers
    }
    Some(TakenLayer::of(plain(), key, tar_bytes, policy.canonical()))
}

/// Takes a foreign layer by its changes: `below` is the tree without the layer, `after` with the layer. The key is
/// under the diff_id, so that no other layer has the same key.
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
    TakenLayer::of(content.items(), key, tar_bytes, under)
}
