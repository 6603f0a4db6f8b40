//! An image of the store as a push needs it: read from the rows at once, with open blobs, so the store may change meanwhile.

use crate::blob::BlobSource;
use crate::error::Result;
use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::names::SnapshotRef;
use crate::model::origin::Origin;
use crate::model::policy::Policy;
use crate::model::repository::Repository;
use crate::oci;
use crate::ops::store_index::image_blob;
use crate::ops::transfer::image_blobs::origin_of;
use crate::store::{Blob, LayerUse, Presence, Snapshot, Store};
use std::collections::HashSet;
use std::path::Path;

/// An image pushed.
pub(super) struct PushedImage {
    pub snapshot: Snapshot,
    pub origin: Origin,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<PushedLayer>,
}

/// Where the bytes of a layer are.
#[derive(Clone)]
pub(super) enum LayerBytes {
    /// In the store.
    Here(BlobSource),
    /// In this repository alone.
    In(Repository),
}

/// A layer of the image.
#[derive(Clone)]
pub(super) struct PushedLayer {
    /// The number in the store.
    pub id: i64,
    pub key: LayerKey,
    pub policy: PolicyKey,
    pub diff_id: DiffId,
    pub tar_bytes: u64,
    pub blob: oci::Blob,
    pub media_type: String,
    pub bytes: LayerBytes,
    /// Whether the layer is one of rootstrata's, and not one of others imported.
    pub is_ours: bool,
}

impl PushedImage {
    /// Returns the digest of the manifest.
    pub(super) fn digest(&self) -> Digest {
        self.snapshot.manifest.digest
    }

    fn load(store: &Store, snapshot: Snapshot) -> Result<Self> {
        let layers = store.layers(snapshot.id)?;
        let layers = layers
            .into_iter()
            .map(|used| PushedLayer::load(store, used));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            origin: origin_of(store, &snapshot, &image_blob(snapshot.manifest))?,
            manifest: store.read_blob(&snapshot.manifest)?,
            config: store.read_blob(&snapshot.config)?,
            snapshot,
        })
    }
}

impl PushedLayer {
    fn load(store: &Store, used: LayerUse) -> Result<Self> {
        let LayerUse { layer, blob, .. } = used;
        let policy = store.policy_of_layer(layer.id)?;
        let canonical = store.policy(&policy)?;
        Ok(Self {
            id: layer.id,
            key: layer.key,
            policy,
            diff_id: layer.diff_id,
            tar_bytes: layer.tar_bytes,
            bytes: LayerBytes::of(store, &blob)?,
            blob: image_blob(blob.as_ref()),
            media_type: blob.media_type,
            is_ours: Policy::from_canonical(&canonical).is_some(),
        })
    }
}

impl LayerBytes {
    fn of(store: &Store, blob: &Blob) -> Result<Self> {
        match store.presence(&blob.digest, blob.size_bytes)? {
            Presence::Remote(remote) if remote.is_proven => {
                Repository::parse(&remote.repository).map(Self::In)
            }
            _ => store
                .open_blob(&blob.digest, blob.size_bytes)
                .map(Self::Here),
        }
    }
}

/// Loads the images of snapshots, each once; of no snapshots, those of the newest of each stage of each series. Fails with [`Error::UnknownSnapshot`](crate::error::Error::UnknownSnapshot)
/// without such a snapshot, and with [`Error::Damaged`](crate::error::Error::Damaged) if a blob is missing or damaged.
pub(super) fn load(store_path: &Path, wanted: &[SnapshotRef]) -> Result<Vec<PushedImage>> {
    let store = Store::open(store_path)?;
    let mut images: Vec<PushedImage> = Vec::new();
    for snapshot in found(&store, wanted)? {
        if !images.iter().any(|image| image.snapshot.id == snapshot.id) {
            images.push(PushedImage::load(&store, snapshot)?);
        }
    }
    Ok(images)
}

/// Returns the snapshots that are meant, as [`load`] does, by their numbers. Fails without such a snapshot.
pub(super) fn meant(store_path: &Path, wanted: &[SnapshotRef]) -> Result<Vec<SnapshotRef>> {
    let found = found(&Store::open(store_path)?, wanted)?;
    Ok(found.iter().map(|one| SnapshotRef::Id(one.id)).collect())
}

fn found(store: &Store, wanted: &[SnapshotRef]) -> Result<Vec<Snapshot>> {
    match wanted {
        [] => Ok(newest(store.snapshots(None)?)),
        wanted => wanted.iter().map(|one| store.find(one)).collect(),
    }
}

/// Returns the newest snapshot of each stage of each series; `all` has the newest first.
fn newest(all: Vec<Snapshot>) -> Vec<Snapshot> {
    let mut seen = HashSet::new();
    let mut newest = all;
    newest.retain(|one| seen.insert((one.series.clone(), one.stage.clone())));
    newest.reverse();
    newest
}
