//! Finds the layers with the contents that a restore writes, and how to read each layer.

use crate::blob::BlobSource;
use crate::error::Result;
use crate::layer::codec::Codec;
use crate::layer::partial::PartialBlobs;
use crate::layer::seek::{Frames, Place, parts, places};
use crate::model::policy::Policy;
use crate::model::tree::Tree;
use crate::model::tree::content_place::content_places;
use crate::model::tree::entry::Group;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::restore::plan::{Act, Plan};
use crate::ops::restore::recorded::Recorded;
use crate::store::{LayerUse, Store};
use std::collections::HashMap;
use std::sync::Arc;

/// A layer with wanted contents, or a part of the layer.
pub(crate) struct Source {
    pub blob: BlobSource,
    pub reading: Reading,
    /// By the first name of an inode in the layer: the places of the entries with this inode that are to be made, in order.
    pub wanted: HashMap<EntryPath, Vec<usize>>,
    /// The first name by each of the other names: a foreign layer may have the content under any name.
    pub aliases: HashMap<EntryPath, EntryPath>,
    /// The length of the wanted contents.
    pub bytes: u64,
}

/// How a layer is read.
pub(crate) enum Reading {
    /// From the beginning.
    Whole,
    /// At the places of the wanted contents.
    Places(Arc<Frames>, Vec<Place>),
}

/// Returns the layers with contents that are to be written; layers in parts come last, each in its order. Fails with
/// [`crate::error::Error::Damaged`] if no form of such a layer is sound, and if a blob cannot be read.
pub(crate) fn sources(
    store: &Store,
    recorded: &Recorded,
    plan: &Plan,
    parts: &PartialBlobs,
) -> Result<Vec<Source>> {
    let wanted = wanted_of_layers(recorded, plan);
    let layers = recorded.layers.iter().zip(&recorded.items).zip(wanted);
    let (mut whole, mut in_parts) = (Vec::new(), Vec::new());
    for ((layer, items), wanted) in layers {
        if wanted.places.is_empty() {
            continue;
        }
        if let Some(found) = find_parts(parts, layer, items, &wanted)? {
            in_parts.extend(found.layer.in_parts(wanted, found.frames, &found.places));
            continue;
        }
        let layer = OpenedLayer::open(store, layer, items)?;
        match layer.find_frames(&wanted)? {
            Some((frames, places)) => in_parts.extend(layer.in_parts(wanted, frames, &places)),
            None => whole.push(layer.whole(wanted, &recorded.tree)),
        }
    }
    whole.sort_by_key(|source| std::cmp::Reverse(source.bytes));
    whole.extend(in_parts);
    Ok(whole)
}

/// Parts of a layer with all wanted contents.
struct FoundParts<'r> {
    layer: OpenedLayer<'r>,
    frames: Frames,
    places: Vec<Place>,
}

/// Returns the parts of a layer, if all wanted contents are in them.
fn find_parts<'r>(
    parts: &PartialBlobs,
    layer: &LayerUse,
    items: &'r [LayerItem],
    wanted: &Wanted,
) -> Result<Option<FoundParts<'r>>> {
    if !parts.has(&layer.blob.digest) {
        return Ok(None);
    }
    let (places, _) = places(items, |name| wanted.places.contains_key(name))?;
    let found = parts.find(&layer.blob.digest, &places);
    let is_all = places.len() == wanted.places.len();
    Ok(found.filter(|_| is_all).map(|(blob, frames)| FoundParts {
        layer: OpenedLayer {
            items,
            tar_bytes: layer.layer.tar_bytes,
            blob,
            codec: Some(Codec::Zstd),
            is_ours: true,
        },
        frames,
        places,
    }))
}

/// The wanted contents of one layer.
#[derive(Default)]
struct Wanted {
    /// By the first name of an inode in the layer: the places of the entries that are to be made.
    places: HashMap<EntryPath, Vec<usize>>,
    /// The first name of each hardlink group.
    groups: HashMap<Group, EntryPath>,
}

/// Returns the contents that each layer has to give.
fn wanted_of_layers(recorded: &Recorded, plan: &Plan) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    wanted.resize_with(recorded.layers.len(), Wanted::default);
    let contents = content_places(&recorded.tree, &recorded.items, |at, entry| {
        plan.acts[at] == Act::Make && entry.size_bytes() > 0
    });
    for (place, content) in contents {
        let of_layer: &mut Wanted = &mut wanted[content.layer];
        if let Some(group) = content.group {
            of_layer
                .groups
                .entry(group)
                .or_insert_with(|| content.name.clone());
        }
        of_layer.places.entry(content.name).or_default().push(place);
    }
    wanted
}

/// A recorded layer with an open blob.
struct OpenedLayer<'r> {
    items: &'r [LayerItem],
    tar_bytes: u64,
    blob: BlobSource,
    codec: Option<Codec>,
    /// Whether rootstrata has packed the layer.
    is_ours: bool,
}

impl<'r> OpenedLayer<'r> {
    fn open(store: &Store, layer: &LayerUse, items: &'r [LayerItem]) -> Result<Self> {
        let id = layer.layer.id;
        let kept = store.blobs_of(id)?;
        let (form, blob) = store.open_any(&layer.blob, &kept)?;
        let policy = store.policy(&store.policy_of_layer(id)?)?;
        Ok(Self {
            items,
            tar_bytes: layer.layer.tar_bytes,
            blob,
            codec: Codec::of_media_type(&form.media_type),
            is_ours: Policy::from_canonical(&policy).is_some(),
        })
    }

    /// Finds the wanted contents in frames of the blob; `None` where the layer has to be read as a whole.
    fn find_frames(&self, wanted: &Wanted) -> Result<Option<(Frames, Vec<Place>)>> {
        if !self.is_ours || self.codec != Some(Codec::Zstd) {
            return Ok(None);
        }
        let (places, tar_bytes) = places(self.items, |name| wanted.places.contains_key(name))?;
        if tar_bytes != self.tar_bytes || places.len() != wanted.places.len() {
            return Ok(None);
        }
        let frames = Frames::open(&self.blob, tar_bytes)?;
        Ok(frames.map(|frames| (frames, places)))
    }

    fn in_parts(self, wanted: Wanted, frames: Frames, places: &[Place]) -> Vec<Source> {
        let frames = Arc::new(frames);
        let mut left = wanted.places;
        let mut sources = Vec::new();
        for part in parts(places) {
            let wanted = part
                .iter()
                .filter_map(|place| left.remove_entry(&place.name));
            sources.push(Source {
                blob: self.blob.clone(),
                reading: Reading::Places(Arc::clone(&frames), part.to_vec()),
                wanted: wanted.collect(),
                aliases: HashMap::new(),
                bytes: part.iter().map(|place| place.size_bytes).sum(),
            });
        }
        sources
    }

    fn whole(self, wanted: Wanted, tree: &Tree) -> Source {
        let sizes = wanted
            .places
            .values()
            .map(|places| tree.entries()[places[0]].size_bytes());
        let bytes = sizes.sum();
        let aliases = if self.is_ours {
            HashMap::new()
        } else {
            aliases(self.items, &wanted.groups)
        };
        Source {
            blob: self.blob,
            reading: Reading::Whole,
            wanted: wanted.places,
            aliases,
            bytes,
        }
    }
}

/// Returns the first name of each inode by the other names, for the wanted hardlink groups of a layer.
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
