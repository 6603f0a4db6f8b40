//! Finds out of which layers a restore takes the contents that it writes, and how each of these is read.

use crate::blob::BlobSource;
use crate::error::Result;
use crate::layer::codec::Codec;
use crate::layer::seek::{Frames, Place, parts, places};
use crate::model::policy::Policy;
use crate::model::tree::content_place::content_places;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::restore::plan::{Act, Plan};
use crate::ops::restore::recorded::Recorded;
use crate::store::Store;
use std::collections::HashMap;
use std::sync::Arc;

/// A layer out of which files are wanted, or a part of it.
pub(crate) struct Source {
    pub(crate) blob: BlobSource,
    pub(crate) reading: Reading,
    /// By the first name of the inode in the layer: the entries of the inode that are to be made, by their places in order.
    pub(crate) wanted: HashMap<EntryPath, Vec<usize>>,
    /// The first name by each of the others: a layer of others may have the content under any.
    pub(crate) aliases: HashMap<EntryPath, EntryPath>,
    /// The length of these contents.
    pub(crate) bytes: u64,
}

/// How a layer is read.
pub(crate) enum Reading {
    /// From its beginning.
    Whole,
    /// At the places of what is wanted.
    Places(Arc<Frames>, Vec<Place>),
}

/// The layers that have a content which is to be written; those in parts come last, each in its order.
pub(crate) fn sources(store: &Store, recorded: &Recorded, plan: &Plan) -> Result<Vec<Source>> {
    let is_wanted = |at: usize, entry: &Entry| plan.acts[at] == Act::Make && entry.size_bytes() > 0;
    let mut wanted: Vec<HashMap<EntryPath, Vec<usize>>> =
        vec![HashMap::new(); recorded.layers.len()];
    let mut groups: Vec<HashMap<Group, EntryPath>> = vec![HashMap::new(); recorded.layers.len()];
    for (place, content) in content_places(&recorded.tree, &recorded.items, is_wanted) {
        if let Some(group) = content.group {
            groups[content.layer]
                .entry(group)
                .or_insert_with(|| content.name.clone());
        }
        wanted[content.layer]
            .entry(content.name)
            .or_default()
            .push(place);
    }
    let size = |at: usize| recorded.tree.entries()[at].size_bytes();
    let (mut whole, mut in_parts) = (Vec::new(), Vec::new());
    let layers = recorded
        .layers
        .iter()
        .zip(&recorded.items)
        .zip(wanted.into_iter().zip(groups));
    for ((layer, items), (mut wanted, groups)) in
        layers.filter(|(_, (wanted, _))| !wanted.is_empty())
    {
        let kept = store.blobs_of(layer.layer.id)?;
        let (form, blob) = store.open_any(&layer.blob, &kept)?;
        let is_ours =
            Policy::from_canonical(&store.policy(&store.policy_of_layer(layer.layer.id)?)?)
                .is_some();
        if is_ours && Codec::of_media_type(&form.media_type) == Some(Codec::Zstd) {
            let (places, tar_bytes) = places(items, |name| wanted.contains_key(name))?;
            let is_as_ours = tar_bytes == layer.layer.tar_bytes && places.len() == wanted.len();
            if is_as_ours && let Some(frames) = Frames::open(&blob, tar_bytes)? {
                let frames = Arc::new(frames);
                in_parts.extend(parts(&places).map(|places| {
                    Source {
                        blob: blob.clone(),
                        reading: Reading::Places(Arc::clone(&frames), places.to_vec()),
                        wanted: places
                            .iter()
                            .filter_map(|place| wanted.remove_entry(&place.name))
                            .collect(),
                        aliases: HashMap::new(),
                        bytes: places.iter().map(|place| place.size_bytes).sum(),
                    }
                }));
                continue;
            }
        }
        let bytes = wanted.values().map(|places| size(places[0])).sum();
        let aliases = if is_ours {
            HashMap::new()
        } else {
            aliases(items, &groups)
        };
        whole.push(Source {
            blob,
            reading: Reading::Whole,
            wanted,
            aliases,
            bytes,
        });
    }
    whole.sort_by_key(|source| std::cmp::Reverse(source.bytes));
    whole.extend(in_parts);
    Ok(whole)
}

/// The first name of each inode by its others, of the groups of a layer that are wanted.
fn aliases(
    items: &[LayerItem],
    groups: &HashMap<Group, EntryPath>,
) -> HashMap<EntryPath, EntryPath> {
    let linked = items
        .iter()
        .filter_map(LayerItem::entry)
        .filter_map(|entry| {
            let first = groups.get(&entry.group?)?;
            (*first != entry.path).then(|| (entry.path.clone(), first.clone()))
        });
    linked.collect()
}
