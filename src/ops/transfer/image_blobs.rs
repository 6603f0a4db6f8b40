//! The images of an export, and where their blobs are.

use crate::blob::BlobSource;
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::names::{SnapshotRef, image_name};
use crate::model::origin::{Origin, Planned};
use crate::oci;
use crate::oci::index::Image;
use crate::ops::monitor::Phases;
use crate::ops::store_index::image_blob;
use crate::ops::transfer::joined_image::{JoinedImage, blob_of, joined_image};
use crate::store::{self, LayerUse, Snapshot, Store};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

/// An exported image.
#[derive(Clone, Debug)]
pub struct ExportedImage {
    /// The name in the index.
    pub name: String,
    /// The manifest.
    pub manifest_digest: Digest,
    /// The number of layers.
    pub layers: usize,
    /// The number of layers that the snapshot has.
    pub recorded_layers: usize,
}

/// The images that an export is to have.
pub(crate) struct Wanted<'a> {
    /// The snapshots.
    pub snapshots: &'a [Snapshot],
    /// The snapshot whose blobs are left out.
    pub since: Option<&'a SnapshotRef>,
    /// The most layers of an image.
    pub most_layers: Option<NonZeroUsize>,
    /// The number of threads that join layers.
    pub threads: NonZeroUsize,
}

/// The images of an export.
pub(crate) struct Images {
    /// The images, in the order of their snapshots.
    pub images: Vec<Image>,
    /// The layers of each image, and those of its snapshot.
    counts: Vec<(usize, usize)>,
    /// The blobs of the images, each once, manifests and configurations first.
    pub blobs: Vec<oci::Blob>,
    /// Blobs that the store does not have.
    made: HashMap<Digest, BlobSource>,
}

impl Images {
    /// Describes the images, and joins layers where an image would have more than wanted. Fails as [`joined_image`] does, and with
    /// [`Error::UnknownSnapshot`](crate::error::Error::UnknownSnapshot) if there is no snapshot whose blobs are to be left out.
    pub(crate) fn of(store: &mut Store, wanted: &Wanted, phases: &Phases) -> Result<Self> {
        let mut seen: HashSet<Digest> = HashSet::new();
        if let Some(reference) = wanted.since {
            let excluded = store.find(reference)?;
            let excluded = ImageBlobs::of(store, &excluded, wanted, phases)?;
            let blobs = excluded.small.iter().chain(&excluded.layers);
            seen.extend(blobs.map(|blob| blob.digest));
        }
        let mut images = Vec::new();
        let mut counts = Vec::new();
        let mut made = HashMap::new();
        let (mut small, mut layers) = (Vec::new(), Vec::new());
        for snapshot in wanted.snapshots {
            let blobs = ImageBlobs::of(store, snapshot, wanted, phases)?;
            let manifest = blobs.small[0].clone();
            images.push(image_of(store, snapshot, manifest)?);
            counts.push((blobs.layers.len(), store.layers(snapshot.id)?.len()));
            let new = blobs.small.into_iter();
            small.extend(new.filter(|blob| seen.insert(blob.digest)));
            let new = blobs.layers.into_iter();
            layers.extend(new.filter(|blob| seen.insert(blob.digest)));
            made.extend(blobs.made.into_iter().map(|blob| (blob.digest(), blob)));
        }
        small.extend(layers);
        Ok(Self {
            images,
            counts,
            blobs: small,
            made,
        })
    }

    /// Describes the images once they are written.
    pub(crate) fn exported(self) -> Vec<ExportedImage> {
        let images = self.images.into_iter().zip(self.counts);
        let exported = images.map(|(image, (layers, recorded_layers))| ExportedImage {
            name: image.name.unwrap_or_default(),
            manifest_digest: image.manifest.digest,
            layers,
            recorded_layers,
        });
        exported.collect()
    }

    /// Closes the store, and returns the source of the blobs.
    pub(crate) fn source(&self, store: Store) -> Source {
        Source {
            store: store.into_blobs(self.blobs.iter().map(|blob| blob.digest)),
            made: self.made.clone(),
        }
    }
}

/// Describes an image whose manifest may be another than the snapshot's.
fn image_of(store: &Store, snapshot: &Snapshot, manifest: oci::Blob) -> Result<Image> {
    Ok(Image {
        name: Some(image_name(&snapshot.series, &snapshot.stage)),
        origin: Some(origin_of(store, snapshot, &manifest)?),
        manifest,
    })
}

/// Returns what a reader is told of the origin of a snapshot's image; `manifest` may be another than the snapshot's. Fails if the
/// rows of the snapshot are not as recorded.
pub(crate) fn origin_of(
    store: &Store,
    snapshot: &Snapshot,
    manifest: &oci::Blob,
) -> Result<Origin> {
    Ok(Origin {
        series: snapshot.series.clone(),
        stage: snapshot.stage.clone(),
        policy: store.policy(&snapshot.policy_key)?,
        planned: planned(store, snapshot, manifest)?,
        labels: snapshot.labels.clone(),
        recorded: None,
    })
}

/// Returns the planner and the labels of an image; `None` where no planner has listed the layers, as of joined ones.
fn planned(store: &Store, snapshot: &Snapshot, manifest: &oci::Blob) -> Result<Option<Planned>> {
    let planning = snapshot.planning.as_ref();
    let Some(planning) = planning.filter(|_| manifest.digest == snapshot.manifest.digest) else {
        return Ok(None);
    };
    let layers = store.layers(snapshot.id)?;
    let labels = layers.into_iter().map(LayerUse::into_package);
    Ok(Some(Planned::new(&planning.planner, labels)))
}

/// The blobs of one image.
struct ImageBlobs {
    /// Manifest and configuration.
    small: [oci::Blob; 2],
    layers: Vec<oci::Blob>,
    /// Those of them that the store does not have.
    made: Vec<BlobSource>,
}

impl ImageBlobs {
    fn of(
        store: &mut Store,
        snapshot: &Snapshot,
        wanted: &Wanted,
        phases: &Phases,
    ) -> Result<Self> {
        let layers = store.layers(snapshot.id)?;
        if let Some(most) = wanted.most_layers
            && layers.len() > most.get()
        {
            let joined = joined_image(store, snapshot, (most, wanted.threads), phases)?;
            return Ok(joined.into());
        }
        let layers = layers.iter().map(|used| image_blob(used.blob.as_ref()));
        Ok(Self {
            small: [image_blob(snapshot.manifest), image_blob(snapshot.config)],
            layers: layers.collect(),
            made: Vec::new(),
        })
    }
}

impl From<JoinedImage> for ImageBlobs {
    fn from(image: JoinedImage) -> Self {
        Self {
            small: [blob_of(&image.manifest), blob_of(&image.config)],
            layers: image.layers,
            made: vec![image.manifest, image.config],
        }
    }
}

/// The blobs of images: those of the store, and those made for the export.
pub(crate) struct Source {
    store: store::Blobs,
    made: HashMap<Digest, BlobSource>,
}

impl oci::Blobs for Source {
    fn open(&self, blob: &oci::Blob) -> Result<BlobSource> {
        match self.made.get(&blob.digest) {
            Some(made) => Ok(made.clone()),
            None => self.store.open(&blob.digest, blob.size_bytes),
        }
    }
}
