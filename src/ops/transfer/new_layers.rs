//! Reads the layers of an image that a store lacks, several at once, before any of them is taken: nobody waits for the store
//! meanwhile.

use crate::error::Result;
use crate::layer::read::{Blob, Threads, Unpacked};
use crate::model::digest::Digest;
use crate::model::names::SnapshotRef;
use crate::oci;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::copied_layer::{CopiedLayer, Original, threads_for};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::fetch_layers::{Wanted, fetch_layers};
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::is_telling;
use crate::ops::transfer::found_image::{Found, bad_image};
use crate::ops::transfer::record_image::known_image;
use crate::registry::Access;
use crate::store::Store;
use crate::threads;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;

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
    layers: HashMap<Digest, CopiedLayer>,
    /// The files; those of other layers may be added.
    pub files: PackageFiles,
}

impl NewLayers {
    /// Reads the missing layers of an image, and copies their blobs to files without names in `directory`. Fails if a layer is
    /// damaged, unpacks to another tar than its diff_id names, or holds an item that no layer may hold.
    pub(crate) fn read(
        opened: &Opened,
        mut missing: Vec<FoundLayer>,
        (directory, jobs): (&Path, NonZeroUsize),
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        // The largest first, so that no thread is left with one in the end.
        missing.sort_by_key(|layer| Reverse(layer.blob.size_bytes));
        let files = PackageFiles::create()?;
        let all_bytes = bytes_of(&missing);
        let layers = threads::map(jobs, &missing, |layer| {
            let threads = threads_for(layer.blob.size_bytes, all_bytes);
            read_layer((opened, layer, threads), &files, directory, monitor)
        })?;
        let digests = missing.iter().map(|layer| layer.blob.digest);
        Ok(Self {
            layers: digests.zip(layers).collect(),
            files,
        })
    }

    /// Reads what the store at `store_path` lacks of the image of a registry, while the store is closed; `None` where its
    /// layers are kept already. Fails as [`NewLayers::read`] does.
    pub(crate) fn fetch(
        store_path: &Path,
        (opened, found): (&Opened, &Found),
        (access, jobs): (&Access, NonZeroUsize),
        phases: &Phases,
    ) -> Result<Option<Self>> {
        let store = Store::open_or_create(store_path)?;
        if let Some(known) = known_image(&store, found)? {
            drop(store);
            let wanted = Wanted::one(&SnapshotRef::Id(known.snapshot.id));
            fetch_layers(store_path, &wanted, (access, jobs), phases.monitor)?;
            return Ok(None);
        }
        let missing = missing_layers(&store, opened, &found.image)?;
        drop(store);
        let total = bytes_of(&missing);
        let directory = store_path.join("tmp");
        let fetched = phases.run(Phase::Fetch, Some(total), || {
            Self::read(opened, missing, (&directory, jobs), phases.monitor)
        })?;
        Ok(Some(fetched))
    }

    /// Takes out a layer that was read.
    pub(crate) fn take(&mut self, layer: &FoundLayer) -> Option<CopiedLayer> {
        self.layers.remove(&layer.blob.digest)
    }
}

/// Returns the layers whose blobs the store lacks, each once. Fails with [`BadImage`](crate::error::Error::BadImage) if the source lacks one as well.
pub(crate) fn missing_layers(
    store: &Store,
    opened: &Opened,
    image: &FoundImage,
) -> Result<Vec<FoundLayer>> {
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for layer in &image.layers {
        let oci::Blob { digest, size_bytes } = layer.blob;
        if !seen.insert(digest) || store.has_blob(&digest, size_bytes)? {
            continue;
        }
        if !opened.has(&layer.blob) {
            let what = format!(
                "layer {digest} is neither in it nor in the store: import the archive first that it follows"
            );
            return Err(bad_image(opened, what));
        }
        missing.push(layer.clone());
    }
    Ok(missing)
}

fn bytes_of(layers: &[FoundLayer]) -> u64 {
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
