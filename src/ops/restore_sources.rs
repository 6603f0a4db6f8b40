//! Finds out of which layers a restore takes the contents that it writes, and how each of these is read.

use super::restore::Recorded;
use super::restore_plan::{Act, Plan};
use crate::error::Result;
use crate::layer::codec::Codec;
use crate::layer::seek::{Frames, Place, parts, places};
use crate::model::content_place::content_places;
use crate::model::entry::Entry;
use crate::model::path::EntryPath;
use crate::store::{Blob, Store};
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// A layer out of which files are wanted, or a part of it.
pub(super) struct Source {
    pub(super) blob: Blob,
    pub(super) path: PathBuf,
    pub(super) reading: Reading,
    /// By the name that has the content: the entries of the inode that are to be made, by their places in order.
    pub(super) wanted: HashMap<EntryPath, Vec<usize>>,
    /// The length of these contents.
    pub(super) bytes: u64,
}

/// How a layer is read.
pub(super) enum Reading {
    /// From its beginning.
    Whole(File),
    /// At the places of what is wanted.
    Places(Arc<Frames>, Vec<Place>),
}

/// The layers that have a content which is to be written; those in parts come last, each in its order.
pub(super) fn sources(store: &Store, recorded: &Recorded, plan: &Plan) -> Result<Vec<Source>> {
    let is_wanted = |at: usize, entry: &Entry| plan.acts[at] == Act::Make && entry.size_bytes() > 0;
    let mut wanted: Vec<HashMap<EntryPath, Vec<usize>>> = vec![HashMap::new(); recorded.layers.len()];
    for (place, content) in content_places(&recorded.tree, &recorded.items, is_wanted) {
        wanted[content.layer].entry(content.name).or_default().push(place);
    }
    let size = |at: usize| recorded.tree.entries()[at].size_bytes();
    let (mut whole, mut in_parts) = (Vec::new(), Vec::new());
    let layers = recorded.layers.iter().zip(&recorded.items).zip(wanted);
    for ((layer, items), mut wanted) in layers.filter(|(_, wanted)| !wanted.is_empty()) {
        let kept = store.blobs_of(layer.layer.id)?;
        let sound = [&layer.blob].into_iter().chain(&kept);
        let blob = sound.clone().find(|blob| store.has_blob(&blob.digest, blob.size_bytes));
        let blob = blob.unwrap_or(&layer.blob).clone(); // its absence is the error
        let file = store.open_blob(&blob.digest, blob.size_bytes)?;
        let path = store.blob_path(&blob.digest);
        if Codec::of_media_type(&blob.media_type) == Some(Codec::Zstd) {
            let (places, tar_bytes) = places(items, |name| wanted.contains_key(name))?;
            let is_ours = tar_bytes == layer.layer.tar_bytes && places.len() == wanted.len();
            if is_ours && let Some(frames) = Frames::open(&file, &path, tar_bytes)? {
                let frames = Arc::new(frames);
                in_parts.extend(parts(&places).map(|places| Source {
                    blob: blob.clone(),
                    path: path.clone(),
                    reading: Reading::Places(Arc::clone(&frames), places.to_vec()),
                    wanted: places.iter().filter_map(|place| wanted.remove_entry(&place.name)).collect(),
                    bytes: places.iter().map(|place| place.size_bytes).sum(),
                }));
                continue;
            }
        }
        let bytes = wanted.values().map(|places| size(places[0])).sum();
        whole.push(Source { blob, path, reading: Reading::Whole(file), wanted, bytes });
    }
    whole.sort_by_key(|source| std::cmp::Reverse(source.bytes));
    whole.extend(in_parts);
    Ok(whole)
}
