//! From a plan to blobs and an image: layers that are known are taken as they are, the others are packed.

use crate::error::{Error, Result};
use crate::fs::facts::Cost;
use crate::fs::root::Root;
use crate::layer::codec::{Codec, Compression};
use crate::layer::pack::{Compressed, Contents, Opened, Source, pack, repack};
use crate::model::digest::{ContentHash, DiffId, LayerKey};
use crate::model::plan::Planned;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::policy::{Policy, Profile};
use crate::model::tree::entry::{Content, Entry, FileContent};
use crate::model::tree::path::EntryPath;
use crate::oci;
use crate::oci::image::{ImageLayer, Settings};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::record::Options;
use crate::ops::record::deferred::Late;
use crate::store::Blob;
use crate::store::BlobRef;
use crate::store::Layer;
use crate::store::LayerUse;
use crate::store::NewBlob;
use crate::store::NewLayer;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::Store;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// Makes images in one store out of one root.
pub(crate) struct Composer<'a> {
    store: &'a Store,
    root: &'a Root,
    compression: Compression,
    threads: std::num::NonZeroUsize,
    policy: &'a Policy,
    phases: &'a Phases<'a>,
}

/// A blob that is written, but not in its place yet.
#[derive(Debug)]
pub(crate) struct Packed {
    blob: NewBlob,
    compressed: Compressed,
}

/// An image whose blobs are all durable.
#[derive(Debug)]
pub(crate) struct Made<'p> {
    pub(crate) layers: Vec<MadeLayer<'p>>,
    pub(crate) manifest: BlobRef,
    pub(crate) config: BlobRef,
    pub(crate) cost: Cost,
}

/// A layer whose blob is durable.
#[derive(Debug)]
pub(crate) struct MadeLayer<'p> {
    role: Role,
    key: LayerKey,
    diff_id: DiffId,
    tar_bytes: u64,
    blob: Blob,
    /// Whether it is the parent's.
    pub(crate) is_inherited: bool,
    /// What it holds, where it is new.
    new: Option<&'p LayerContent<'p>>,
}

impl<'p> MadeLayer<'p> {
    /// Returns what the store is to record.
    pub(crate) fn as_recorded(&self) -> SnapshotLayer<'p> {
        let Self {
            role,
            key,
            diff_id,
            tar_bytes,
            ..
        } = *self;
        let new = self.new.map(|content| NewLayer {
            content,
            diff_id,
            tar_bytes,
            under: None,
        });
        SnapshotLayer {
            role,
            key,
            blob: self.blob.clone(),
            new,
        }
    }

    fn in_image(&self) -> ImageLayer {
        ImageLayer {
            role: self.role,
            key: self.key,
            diff_id: self.diff_id,
            blob: oci::Blob {
                digest: self.blob.digest,
                size_bytes: self.blob.size_bytes,
            },
            media_type: self.blob.media_type.clone(),
        }
    }
}

impl<'a> Composer<'a> {
    pub(crate) fn new(
        store: &'a Store,
        root: &'a Root,
        options: &Options,
        policy: &'a Policy,
        phases: &'a Phases,
    ) -> Self {
        Self {
            store,
            root,
            compression: options.compression,
            threads: options.threads,
            policy,
            phases,
        }
    }

    /// Makes what `known` is once more, under the compression that is asked for now.
    pub(crate) fn reuse(&self, known: &Snapshot, layers: &[LayerUse]) -> Result<Made<'static>> {
        let media_type = self.compression.codec().media_type();
        let mut made = Vec::with_capacity(layers.len());
        for (
            position,
            LayerUse {
                role, layer, blob, ..
            },
        ) in layers.iter().enumerate()
        {
            let blob = if blob.media_type == media_type {
                blob.clone()
            } else {
                self.blob_of(layer)?
            };
            let is_inherited = position < known.inherited_layers;
            let Layer {
                key,
                diff_id,
                tar_bytes,
                ..
            } = *layer;
            made.push(MadeLayer {
                role: *role,
                key,
                diff_id,
                tar_bytes,
                blob,
                is_inherited,
                new: None,
            });
        }
        let is_same = made
            .iter()
            .zip(layers)
            .all(|(made, layer)| made.blob == layer.blob);
        let manifest = if is_same {
            self.kept(known.manifest)?
        } else {
            None
        };
        let config = known.config;
        let manifest = manifest.map_or_else(|| self.keep_manifest(&config, &made), Ok)?;
        Ok(Made {
            layers: made,
            manifest,
            config,
            cost: Cost::default(),
        })
    }

    /// Packs those layers of a plan that hold files that nobody has read yet, which `late` learns. Returns a place for
    /// each layer of the plan, and what was read.
    pub(crate) fn pack_unread(
        &self,
        planned: &[Planned<FileContent>],
        late: &Late,
    ) -> Result<(Vec<Option<Packed>>, Cost)> {
        let unread: Vec<Option<&LayerContent<FileContent>>> = planned
            .iter()
            .map(|layer| layer.content().filter(|content| content.has_pending()))
            .collect();
        let total = unread
            .iter()
            .flatten()
            .map(|content| content.content_bytes())
            .sum();
        let files = self.contents();
        let contents = DeferredContents {
            files: &files,
            late,
        };
        let packed: Result<Vec<_>> = self.phases.run(Phase::Pack, Some(total), || {
            unread
                .iter()
                .map(|layer| {
                    layer
                        .map(|content| self.pack_and_sync(content, &contents))
                        .transpose()
                })
                .collect()
        });
        packed.map(|packed| (packed, files.cost()))
    }

    /// Makes the layers of a plan and the image of them. `packed` has those that are packed already, each at its place.
    pub(crate) fn make<'p>(
        &self,
        planned: &'p [Planned<'p>],
        mut packed: Vec<Option<Packed>>,
        settings: &Settings,
    ) -> Result<Made<'p>> {
        packed.resize_with(planned.len(), || None);
        let keys: Vec<LayerKey> = planned.iter().map(|layer| layer.key(self.policy)).collect();
        let known: Vec<Option<Layer>> = keys
            .iter()
            .map(|key| self.store.layer_by_key(key))
            .collect::<Result<_>>()?;
        let is_unpacked = |at: &usize| known[*at].is_none() && packed[*at].is_none();
        let bytes = |at: usize| planned[at].content().map_or(0, LayerContent::content_bytes);
        let total = (0..planned.len()).filter(is_unpacked).map(bytes).sum();
        let contents = self.contents();
        let layers: Vec<MadeLayer> = self.phases.run(Phase::Pack, Some(total), || {
            let layers = planned.iter().zip(keys).zip(known).zip(packed);
            layers
                .map(|(((layer, key), known), packed)| {
                    self.make_layer(layer, key, known, packed, &contents)
                })
                .collect::<Result<_>>()
        })?;
        let image: Vec<ImageLayer> = layers.iter().map(MadeLayer::in_image).collect();
        let config = self
            .store
            .keep_bytes(&oci::image::config(settings, &image)?)?;
        let manifest = self.keep_manifest(&config, &layers)?;
        Ok(Made {
            layers,
            manifest,
            config,
            cost: contents.cost(),
        })
    }

    fn make_layer<'p>(
        &self,
        planned: &'p Planned<'p>,
        key: LayerKey,
        known: Option<Layer>,
        packed: Option<Packed>,
        contents: &RootContents,
    ) -> Result<MadeLayer<'p>> {
        let Planned {
            role, is_inherited, ..
        } = *planned;
        match (known, planned.content()) {
            (Some(layer), content) => {
                let blob = match (self.blob_of(&layer), content) {
                    // The blob is lost, but what it held is before us.
                    (Err(Error::Damaged { .. }), Some(content)) => {
                        let packed = packed.map_or_else(|| self.pack(content, contents), Ok)?;
                        self.keep_again(packed, &layer)?
                    }
                    (blob, _) => blob?,
                };
                let Layer {
                    diff_id, tar_bytes, ..
                } = layer;
                Ok(MadeLayer {
                    role,
                    key,
                    diff_id,
                    tar_bytes,
                    blob,
                    is_inherited,
                    new: None,
                })
            }
            (None, Some(content)) => {
                let packed = packed.map_or_else(|| self.pack(content, contents), Ok)?;
                let Compressed {
                    diff_id, tar_bytes, ..
                } = packed.compressed;
                let blob = self.keep(packed)?;
                Ok(MadeLayer {
                    role,
                    key,
                    diff_id,
                    tar_bytes,
                    blob,
                    is_inherited,
                    new: Some(content),
                })
            }
            (None, None) => Err(Error::damaged(
                self.store.path(),
                format!("layer {key} is gone"),
            )),
        }
    }

    fn pack<C: Content>(
        &self,
        content: &LayerContent<C>,
        contents: &dyn Contents<C>,
    ) -> Result<Packed> {
        self.write(|out, path| pack(content, contents, self.compression, self.threads, out, path))
    }

    /// Packs a layer that is kept later, and lets the disk write it meanwhile.
    fn pack_and_sync(
        &self,
        content: &LayerContent<FileContent>,
        contents: &DeferredContents,
    ) -> Result<Packed> {
        let mut packed = self.pack(content, contents)?;
        let started = packed.blob.start_sync();
        started.map_err(Error::io("write", packed.blob.path()))?;
        Ok(packed)
    }

    fn keep_again(&self, packed: Packed, layer: &Layer) -> Result<Blob> {
        if packed.compressed.diff_id != layer.diff_id {
            let what = format!("layer {} cannot be made again", layer.diff_id);
            return Err(Error::damaged(self.store.path(), what));
        }
        self.keep(packed)
    }

    /// Returns the blob of a recorded layer in the form asked for; where it is kept in another form alone, that is
    /// packed again, without a look at the root.
    fn blob_of(&self, layer: &Layer) -> Result<Blob> {
        let mut kept = self.store.blobs_of(layer.id)?;
        let lost = kept.first().map(|blob| self.store.blob_path(&blob.digest));
        for at in (0..kept.len()).rev() {
            if !self.store.has_blob(&kept[at].digest, kept[at].size_bytes)? {
                kept.remove(at);
            }
        }
        let media_type = self.compression.codec().media_type();
        if let Some(at) = kept.iter().position(|blob| blob.media_type == media_type) {
            return Ok(kept.swap_remove(at));
        }
        let Some((blob, codec)) = kept
            .first()
            .and_then(|blob| Some((blob, Codec::of_media_type(&blob.media_type)?)))
        else {
            let path = lost.unwrap_or_else(|| self.store.path().to_owned());
            return Err(Error::damaged(path, "the blob of a layer is missing"));
        };
        let input = self.store.open_blob(&blob.digest, blob.size_bytes)?;
        let input_path = self.store.blob_path(&blob.digest);
        let Layer {
            diff_id, tar_bytes, ..
        } = *layer;
        let source = Source {
            input: Box::new(input.reader()),
            path: &input_path,
            codec,
            diff_id,
            tar_bytes,
        };
        self.keep(
            self.write(|out, path| repack(source, self.compression, self.threads, out, path))?,
        )
    }

    fn write(
        &self,
        write: impl FnOnce(&mut NewBlob, &Path) -> Result<Compressed>,
    ) -> Result<Packed> {
        let mut blob = self.store.new_blob()?;
        let path = blob.path().to_owned();
        let compressed = write(&mut blob, &path)?;
        Ok(Packed { blob, compressed })
    }

    /// Makes a blob durable.
    fn keep(&self, packed: Packed) -> Result<Blob> {
        keep_packed(
            self.store,
            packed.blob,
            &packed.compressed,
            self.compression,
        )
    }

    fn contents(&self) -> RootContents<'_> {
        let (files, bytes) = (Cell::new(0), Cell::new(0));
        RootContents {
            root: self.root,
            profile: self.policy.profile,
            monitor: self.phases.monitor,
            files,
            bytes,
        }
    }

    fn keep_manifest(&self, config: &BlobRef, layers: &[MadeLayer]) -> Result<BlobRef> {
        let image: Vec<ImageLayer> = layers.iter().map(MadeLayer::in_image).collect();
        let config = oci::Blob {
            digest: config.digest,
            size_bytes: config.size_bytes,
        };
        self.store
            .keep_bytes(&oci::image::manifest(&config, &image)?)
    }

    /// `None` where the file has gone: it can be made again.
    fn kept(&self, blob: BlobRef) -> Result<Option<BlobRef>> {
        Ok(self
            .store
            .has_blob(&blob.digest, blob.size_bytes)?
            .then_some(blob))
    }
}

/// Makes the blob of a layer durable.
pub(crate) fn keep_packed(
    store: &Store,
    blob: NewBlob,
    packed: &Compressed,
    compression: Compression,
) -> Result<Blob> {
    let Compressed {
        digest, size_bytes, ..
    } = *packed;
    store.keep_blob(blob, &digest, size_bytes)?;
    Ok(Blob {
        digest,
        media_type: compression.codec().media_type().to_owned(),
        size_bytes,
    })
}

/// The files of a root, counted as they are read.
struct RootContents<'a> {
    root: &'a Root,
    profile: Profile,
    monitor: &'a dyn Monitor,
    files: Cell<u64>,
    bytes: Cell<u64>,
}

impl RootContents<'_> {
    fn cost(&self) -> Cost {
        Cost {
            files: self.files.get(),
            bytes: self.bytes.get(),
        }
    }
}

/// The files of a root, some of which nobody has read before.
struct DeferredContents<'a> {
    files: &'a RootContents<'a>,
    late: &'a Late<'a>,
}

impl Contents<FileContent> for DeferredContents<'_> {
    fn open(&self, entry: &Entry<FileContent>, content: &FileContent) -> Result<Opened<'_>> {
        let RootContents { root, profile, .. } = *self.files;
        match content {
            FileContent::Known(hash) => {
                let file = root.open_file(&entry.path)?;
                Ok(Opened::Hashed(Box::new(file), *hash))
            }
            FileContent::Pending => Ok(Opened::Pending(self.late.open(
                root,
                profile,
                &entry.path,
            )?)),
        }
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        self.files.full_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.files.was_read(bytes);
    }
}

impl Contents for RootContents<'_> {
    fn open(&self, entry: &Entry, content: &ContentHash) -> Result<Opened<'_>> {
        let file = self.root.open_file(&entry.path)?;
        Ok(Opened::Hashed(Box::new(file), *content))
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        self.root.full_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.files.set(self.files.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        self.monitor.advance(bytes);
    }
}
