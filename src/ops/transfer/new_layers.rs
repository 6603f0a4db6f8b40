//! Reads the layers of an image that a store lacks, several at once, before any of them is taken: nobody waits for the store
//! meanwhile.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, LayerItems, Threads, Unpacked};
use crate::model::digest::Digest;
use crate::model::plan::items_form::key_of;
use crate::model::policy::Policy;
use crate::model::tree::overlay::LayerItem;
use crate::oci;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::copied_layer::{CopiedLayer, Original, at_once, threads_for};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::is_telling;
use crate::store::{Layer, Store};
use crate::threads;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// A larger tar is no layer of a root.
const LARGEST_TAR_BYTES: u64 = 64 << 30;

/// Returns what a layer must unpack to.
pub(crate) fn unpacked(layer: &FoundLayer) -> Unpacked {
    Unpacked {
        diff_id: layer.diff_id,
        most_bytes: LARGEST_TAR_BYTES,
    }
}

/// The layers that a store lacked, and the files of all layers that tell of packages and users.
pub(crate) struct NewLayers {
    /// Where blobs are kept.
    directory: PathBuf,
    layers: HashMap<Digest, CopiedLayer>,
    /// The files; those of other layers may be added.
    pub files: PackageFiles,
}

impl NewLayers {
    /// Starts without a layer; blobs will be kept in `directory`. Fails if no temporary directory can be made.
    pub(crate) fn create(directory: PathBuf) -> Result<Self> {
        Ok(Self {
            files: PackageFiles::create()?,
            layers: HashMap::new(),
            directory,
        })
    }

    /// Returns the layers of an image whose blobs neither the store has nor were read, each once. Those that the source lacks as
    /// well are left out. Fails if a blob of the store cannot be asked for.
    pub(crate) fn missing(
        &self,
        store: &Store,
        opened: &Opened,
        image: &FoundImage,
    ) -> Result<Vec<FoundLayer>> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for layer in &image.layers {
            let oci::Blob { digest, size_bytes } = layer.blob;
            let is_had = !seen.insert(digest) || self.layers.contains_key(&digest);
            if !is_had && !store.has_blob(&digest, size_bytes)? && opened.has(&layer.blob) {
                missing.push(layer.clone());
            }
        }
        Ok(missing)
    }

    /// Reads the missing layers of an image, and copies their blobs to files without names. Fails if a layer is damaged, unpacks to
    /// another tar than its diff_id names, or holds an item that no layer may hold.
    pub(crate) fn read(
        &mut self,
        opened: &Opened,
        mut missing: Vec<FoundLayer>,
        jobs: NonZeroUsize,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        // The largest first, so no thread is left with one in the end.
        missing.sort_by_key(|layer| Reverse(layer.blob.size_bytes));
        let all_bytes = bytes_of(&missing);
        let layers = threads::map(at_once(jobs), &missing, |layer| {
            let threads = threads_for(layer.blob.size_bytes, all_bytes);
            read_layer(
                (opened, layer, threads),
                &self.files,
                &self.directory,
                monitor,
            )
        })?;
        let digests = missing.iter().map(|layer| layer.blob.digest);
        self.layers.extend(digests.zip(layers));
        Ok(())
    }

    /// Takes out a layer if it was read, and keeps the blob in the store. Fails in the name of `path` if a record has called
    /// the blob another layer, which the store knows by the record alone, and if the store cannot be written to.
    pub(crate) fn keep(
        &mut self,
        store: &Store,
        layer: &FoundLayer,
        path: &Path,
    ) -> Result<Option<CopiedLayer>> {
        let digest = &layer.blob.digest;
        let Some(copied) = self.layers.remove(digest) else {
            return Ok(None);
        };
        for known in store.layers_of_blob(digest)? {
            if known.diff_id != layer.diff_id || !gives_key(store, &known, &copied.items)? {
                let what = format!("layer {digest} is not {}, as a record has said", known.key);
                return Err(Error::damaged(path, what));
            }
        }
        store.keep_fetched(&copied.file, digest)?;
        Ok(Some(copied))
    }
}

/// Tells whether items are those of a recorded layer; of a foreign layer, the key does not follow from them.
fn gives_key(store: &Store, known: &Layer, items: &LayerItems) -> Result<bool> {
    let policy = store.policy_of_layer(known.id)?;
    let is_ours = Policy::from_canonical(&store.policy(&policy)?).is_some();
    let items = items.items.iter().filter_map(LayerItem::as_item);
    Ok(!is_ours || key_of(&policy, items) == known.key)
}

/// Returns the lengths of the blobs of layers together.
pub(crate) fn bytes_of(layers: &[FoundLayer]) -> u64 {
    let sizes = layers.iter().map(|layer| layer.blob.size_bytes);
    sizes.fold(0, u64::saturating_add)
}

fn read_layer(
    (opened, layer, threads): (&Opened, &FoundLayer, Threads),
    files: &PackageFiles,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<CopiedLayer> {
    // An error names the image, not the file.
    let path = opened.path_of(&layer.blob);
    let original = Original {
        input: opened.open(&layer.blob)?,
        path: &path,
        digest: layer.blob.digest,
        expected: unpacked(layer),
        threads,
    };
    let mut files = files.layer();
    let mut keep = |at: &_, size| files.keep(at, size);
    let copied = CopiedLayer::read(original, directory, &mut keep, monitor)?;
    files.keep_linked(&copied.items.items, is_telling, || {
        Ok(Blob {
            input: Box::new(copied.reader()),
            path: &path,
            digest: layer.blob.digest,
        })
    })?;
    Ok(copied)
}
