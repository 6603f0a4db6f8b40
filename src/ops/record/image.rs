//! The image of a snapshot: blobs of known and of packed layers, with configuration and manifest, all durable.

use crate::error::{Error, Result};
use crate::model::digest::{DiffId, LayerKey};
use crate::model::plan::layer::LayerContent;
use crate::model::plan::{FilledLayer, LayerPurpose, Reason};
use crate::oci;
use crate::oci::image::{ImageLayer, Settings};
use crate::ops::monitor::Phase;
use crate::ops::packing::PackedBlob;
use crate::ops::record::files::FilesOfRoot;
use crate::ops::record::session::Session;
use crate::ops::remote::known_layers::FoundLayer;
use crate::store::{
    Blob, BlobRef, Layer, LayerUse, NewLayer, RemoteBlob, Snapshot, SnapshotLayer, Store,
};

/// An image with durable blobs.
#[derive(Debug)]
pub(super) struct Image {
    pub layers: Vec<PackedLayer>,
    pub manifest: BlobRef,
    pub config: BlobRef,
    /// The blobs of the layers found in a registry.
    pub remotes: Vec<RemoteBlob>,
}

/// A layer whose blob is durable.
#[derive(Debug)]
pub(super) struct PackedLayer {
    purpose: LayerPurpose,
    key: LayerKey,
    diff_id: DiffId,
    tar_bytes: u64,
    blob: Blob,
    /// Whether the store has no rows of the layer yet.
    is_new: bool,
}

impl Image {
    /// Makes the image of a recorded snapshot once more, under the compression asked for now. Fails if a blob is
    /// missing or cannot be written.
    pub(super) fn of_recorded(
        session: &Session,
        known: &Snapshot,
        layers: &[LayerUse],
    ) -> Result<Self> {
        let packer = session.packer();
        let media_type = session.options.compression.codec().media_type();
        let mut packed = Vec::with_capacity(layers.len());
        for used in layers {
            let LayerUse { layer, blob, .. } = used;
            let blob = if blob.media_type == media_type {
                blob.clone()
            } else {
                packer.blob_of(layer)?
            };
            let purpose = LayerPurpose {
                reason: Some(Reason::Unchanged),
                ..used.purpose()
            };
            packed.push(PackedLayer::recorded(purpose, layer, blob));
        }
        Ok(Self {
            manifest: manifest_again(&session.store, known, layers, &packed)?,
            layers: packed,
            config: known.config,
            remotes: Vec::new(),
        })
    }

    /// Makes the layers of a plan and their image. `ahead` has the layers packed already, each at its place. Fails if
    /// a file of the root is not as it was hashed, a blob of a known layer is missing, or a blob cannot be written.
    pub(super) fn of_plan<'p>(
        session: &Session,
        files: &FilesOfRoot,
        planned: &'p [FilledLayer<'p>],
        mut ahead: Vec<Option<PackedBlob>>,
        settings: &Settings,
    ) -> Result<Self> {
        ahead.resize_with(planned.len(), || None);
        let store = &session.store;
        let steps = planned
            .iter()
            .zip(ahead)
            .map(|(planned, ahead)| Step::new(session, planned, ahead));
        let steps: Vec<Step> = steps.collect::<Result<_>>()?;
        let unpacked = steps.iter().filter_map(Step::unpacked);
        let total = unpacked.map(LayerContent::content_bytes).sum();
        let (layers, remotes) = session.phases.run(Phase::Pack, Some(total), || {
            finish_all(session, files, steps)
        })?;
        let image = in_image(&layers);
        let config = store.keep_bytes(&oci::image::config(settings, &image)?)?;
        let manifest = keep_manifest(store, &config, &layers)?;
        Ok(Self {
            layers,
            manifest,
            config,
            remotes,
        })
    }

    /// Returns the layers for the store to record; new ones take their content from the plan, which `planned` is.
    pub(super) fn to_record<'p>(&self, planned: &'p [FilledLayer<'p>]) -> Vec<SnapshotLayer<'p>> {
        let contents = planned
            .iter()
            .map(FilledLayer::content)
            .chain(std::iter::repeat(None));
        self.layers
            .iter()
            .zip(contents)
            .map(|(layer, content)| SnapshotLayer {
                purpose: layer.purpose.clone(),
                key: layer.key,
                blob: layer.blob.clone(),
                new: content.filter(|_| layer.is_new).map(|content| NewLayer {
                    content,
                    diff_id: layer.diff_id,
                    tar_bytes: layer.tar_bytes,
                    under: None,
                }),
            })
            .collect()
    }
}

impl PackedLayer {
    /// Takes the layer of a step as a registry has it. Fails with [`Error::Damaged`] if the store has another diff_id, as
    /// a record may have claimed.
    fn found(step: Step, found: FoundLayer, store: &Store) -> Result<Self> {
        let known = step.known.as_ref();
        if known.is_some_and(|known| known.diff_id != found.diff_id) {
            return Err(another_diff_id(store, &step.key));
        }
        Ok(Self {
            purpose: step.purpose,
            key: step.key,
            diff_id: found.diff_id,
            tar_bytes: found.tar_bytes,
            blob: found.blob,
            is_new: step.known.is_none(),
        })
    }

    fn recorded(purpose: LayerPurpose, layer: &Layer, blob: Blob) -> Self {
        Self {
            purpose,
            key: layer.key,
            diff_id: layer.diff_id,
            tar_bytes: layer.tar_bytes,
            blob,
            is_new: false,
        }
    }
}

/// A layer of a plan, on the way to a durable blob.
struct Step<'p> {
    planned: &'p FilledLayer<'p>,
    purpose: LayerPurpose,
    key: LayerKey,
    /// The recorded layer with the key.
    known: Option<Layer>,
    /// The blob, if packed already.
    ahead: Option<PackedBlob>,
}

impl<'p> Step<'p> {
    fn new(
        session: &Session,
        planned: &'p FilledLayer<'p>,
        ahead: Option<PackedBlob>,
    ) -> Result<Self> {
        let key = planned.key(&session.policy);
        Ok(Self {
            planned,
            purpose: session.lineage.settled(&planned.planned.purpose, &key),
            key,
            known: session.store.layer_by_key(&key)?,
            ahead,
        })
    }

    /// Returns the content still to be packed.
    fn unpacked(&self) -> Option<&'p LayerContent<'p>> {
        let is_packed = self.known.is_some() || self.ahead.is_some();
        self.planned.content().filter(|_| !is_packed)
    }

    fn finish(self, session: &Session, files: &FilesOfRoot) -> Result<PackedLayer> {
        match self.known {
            Some(layer) => known_layer(
                (session, files),
                self.planned,
                self.purpose,
                layer,
                self.ahead,
            ),
            None => new_layer(
                (session, files),
                self.planned,
                self.purpose,
                self.key,
                self.ahead,
            ),
        }
    }
}

/// Makes the layers of steps, and returns also the blobs that a registry has.
fn finish_all(
    session: &Session,
    files: &FilesOfRoot,
    mut steps: Vec<Step>,
) -> Result<(Vec<PackedLayer>, Vec<RemoteBlob>)> {
    let found = find_remote(session, files, &steps)?;
    let mut unpacked: Vec<Option<&LayerContent>> = steps.iter().map(Step::unpacked).collect();
    for (content, _) in unpacked
        .iter_mut()
        .zip(&found)
        .filter(|(_, found)| found.is_some())
    {
        *content = None;
    }
    let packed = session.packer().pack_all(&unpacked, files)?;
    for (step, packed) in steps.iter_mut().zip(packed) {
        step.ahead = step.ahead.take().or(packed);
    }
    let mut remotes = Vec::new();
    let mut layers = Vec::new();
    for (step, found) in steps.into_iter().zip(found) {
        let layer = match found {
            Some(found) => {
                remotes.push(found.remote());
                PackedLayer::found(step, found, &session.store)?
            }
            None => step.finish(session, files)?,
        };
        layers.push(layer);
    }
    Ok((layers, remotes))
}

/// Finds the layers that would be packed in the registry, each proven by the files of the root.
fn find_remote(
    session: &Session,
    files: &FilesOfRoot,
    steps: &[Step],
) -> Result<Vec<Option<FoundLayer>>> {
    let Some(registry) = &session.registry else {
        return Ok(steps.iter().map(|_| None).collect());
    };
    let wanted = steps.iter().map(|step| {
        let is_wanted = match &step.known {
            Some(known) => !session.store.has_layer(known.id)?,
            None => step.ahead.is_none(),
        };
        let content = step.planned.content().filter(|_| is_wanted);
        Ok(content.map(|content| (step.key, content)))
    });
    let wanted: Vec<_> = wanted.collect::<Result<_>>()?;
    let packer = session.packer();
    registry.find(&wanted, &packer, files, session.phases.monitor)
}

fn another_diff_id(store: &Store, key: &LayerKey) -> Error {
    let what = format!("layer {key} was recorded with a diff_id that its files do not give");
    Error::damaged(store.path(), what)
}

/// Takes a recorded layer of a plan; a lost blob is packed again where its content is in the plan.
fn known_layer(
    (session, files): (&Session, &FilesOfRoot),
    planned: &FilledLayer,
    purpose: LayerPurpose,
    layer: Layer,
    ahead: Option<PackedBlob>,
) -> Result<PackedLayer> {
    let packer = session.packer();
    let blob = match (packer.blob_of(&layer), planned.content()) {
        (Err(Error::Damaged { .. }), Some(content)) => {
            packer.keep_again(packed((session, files), content, ahead)?, &layer)?
        }
        (blob, _) => blob?,
    };
    Ok(PackedLayer::recorded(purpose, &layer, blob))
}

fn new_layer(
    (session, files): (&Session, &FilesOfRoot),
    planned: &FilledLayer,
    purpose: LayerPurpose,
    key: LayerKey,
    ahead: Option<PackedBlob>,
) -> Result<PackedLayer> {
    let Some(content) = planned.content() else {
        let problem = format!("layer {key} is gone");
        return Err(Error::damaged(session.store.path(), problem));
    };
    let packed = packed((session, files), content, ahead)?;
    Ok(PackedLayer {
        purpose,
        key,
        diff_id: packed.diff_id(),
        tar_bytes: packed.tar_bytes(),
        blob: session.packer().keep(packed)?,
        is_new: true,
    })
}

fn packed(
    (session, files): (&Session, &FilesOfRoot),
    content: &LayerContent,
    ahead: Option<PackedBlob>,
) -> Result<PackedBlob> {
    match ahead {
        Some(packed) => Ok(packed),
        None => session.packer().pack(content, files),
    }
}

fn in_image(layers: &[PackedLayer]) -> Vec<ImageLayer> {
    layers
        .iter()
        .map(|layer| ImageLayer {
            role: layer.purpose.role,
            key: layer.key,
            diff_id: layer.diff_id,
            blob: oci::Blob {
                digest: layer.blob.digest,
                size_bytes: layer.blob.size_bytes,
            },
            media_type: layer.blob.media_type.clone(),
        })
        .collect()
}

/// Returns the manifest of a recorded snapshot for the `packed` layers; a lost manifest is made again.
fn manifest_again(
    store: &Store,
    known: &Snapshot,
    layers: &[LayerUse],
    packed: &[PackedLayer],
) -> Result<BlobRef> {
    let is_same = packed
        .iter()
        .zip(layers)
        .all(|(packed, layer)| packed.blob == layer.blob);
    let BlobRef { digest, size_bytes } = known.manifest;
    if is_same && store.has_blob(&digest, size_bytes)? {
        Ok(known.manifest)
    } else {
        keep_manifest(store, &known.config, packed)
    }
}

fn keep_manifest(store: &Store, config: &BlobRef, layers: &[PackedLayer]) -> Result<BlobRef> {
    let config = oci::Blob {
        digest: config.digest,
        size_bytes: config.size_bytes,
    };
    store.keep_bytes(&oci::image::manifest(&config, &in_image(layers))?)
}
