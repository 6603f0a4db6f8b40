//! Layers become blobs of the store: packed from the contents of their files, or from another form of the same layer.

use crate::error::{Error, Result};
use crate::layer::codec::{Codec, Compression};
use crate::layer::pack::{Compressed, Contents, RepackInput, pack, repack};
use crate::model::digest::DiffId;
use crate::model::plan::layer::LayerContent;
use crate::model::tree::entry::Content;
use crate::store::{Blob, Layer, NewBlob, Presence, Store};
use crate::threads;
use crate::threads::joined;
use std::cmp::Reverse;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A layer of more bytes is packed alone, by all threads.
const LARGE_BYTES: u64 = 32 << 20;

/// Packs layers into one store.
pub(crate) struct Packer<'a> {
    pub store: &'a Store,
    pub compression: Compression,
    pub threads: NonZeroUsize,
}

/// A blob, written but not in its place yet.
#[derive(Debug)]
pub(crate) struct PackedBlob {
    file: NewBlob,
    compressed: Compressed,
}

impl PackedBlob {
    /// Returns the SHA-256 of the layer's tar.
    pub(crate) fn diff_id(&self) -> DiffId {
        self.compressed.diff_id
    }

    /// Returns the length of the layer's tar.
    pub(crate) fn tar_bytes(&self) -> u64 {
        self.compressed.tar_bytes
    }

    /// Lets the disk write the blob before `keep`. Fails if an earlier part could not be written.
    pub(crate) fn start_sync(&mut self) -> Result<()> {
        self.file
            .start_sync()
            .map_err(Error::io("write", self.file.path()))
    }
}

impl Packer<'_> {
    /// Packs a layer. Fails as [`pack`] does, and if the store cannot hold another file.
    pub(crate) fn pack<C: Content>(
        &self,
        content: &LayerContent<C>,
        contents: &dyn Contents<C>,
    ) -> Result<PackedBlob> {
        self.write(|out, path| pack(content, contents, self.compression, self.threads, out, path))
    }

    /// Packs layers, each `None` where `layers` has none, several at once: a large layer keeps all threads busy, small ones do
    /// not. Fails as a layer does that cannot be packed.
    pub(crate) fn pack_all<C: Content + Sync>(
        &self,
        layers: &[Option<&LayerContent<C>>],
        contents: &(dyn Contents<C> + Sync),
    ) -> Result<Vec<Option<PackedBlob>>> {
        let mut packed: Vec<Option<PackedBlob>> = Vec::new();
        packed.resize_with(layers.len(), || None);
        let mut small = Vec::new();
        for (at, content) in layers.iter().enumerate() {
            let Some(content) = content else { continue };
            if content.content_bytes() < LARGE_BYTES && self.threads.get() > 1 {
                small.push((at, *content, self.store.new_blob()?));
            } else {
                let mut blob = self.pack(content, contents)?;
                blob.start_sync()?;
                packed[at] = Some(blob);
            }
        }
        // The largest first, so no thread is left with one in the end.
        small.sort_by_key(|(at, content, _)| (Reverse(content.content_bytes()), *at));
        for (at, blob) in self.pack_small(small, contents) {
            packed[at] = Some(blob?);
        }
        Ok(packed)
    }

    /// Packs each layer on one thread.
    fn pack_small<C: Content + Sync>(
        &self,
        layers: Vec<(usize, &LayerContent<C>, NewBlob)>,
        contents: &(dyn Contents<C> + Sync),
    ) -> Vec<(usize, Result<PackedBlob>)> {
        let compression = self.compression;
        let workers = self.threads.get().min(layers.len());
        let queue = Mutex::new(layers.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let mut packed = Vec::new();
            while let Some((at, content, mut file)) = next() {
                let path = file.path().to_owned();
                let one = NonZeroUsize::MIN;
                let compressed = pack(content, contents, compression, one, &mut file, &path);
                let blob = compressed.and_then(|compressed| {
                    let mut blob = PackedBlob { file, compressed };
                    blob.start_sync()?;
                    Ok(blob)
                });
                let is_failed = blob.is_err();
                packed.push((at, blob));
                if is_failed {
                    break;
                }
            }
            packed
        };
        let mut packed = std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut packed = work();
            for other in others {
                packed.extend(joined(other.join()));
            }
            packed
        });
        packed.sort_by_key(|(at, _)| *at);
        packed
    }

    /// Returns the SHA-256 and the length of the tar of layers, each `None` where `layers` has none, without writing them. Fails as
    /// [`pack`] does.
    pub(crate) fn diff_ids<C: Content + Sync>(
        &self,
        layers: &[Option<&LayerContent<C>>],
        contents: &(dyn Contents<C> + Sync),
    ) -> Result<Vec<Option<(DiffId, u64)>>> {
        let path = self.store.path();
        threads::map(self.threads, layers, |content| {
            let Some(content) = content else {
                return Ok(None);
            };
            let one = NonZeroUsize::MIN;
            let tar = pack(
                content,
                contents,
                Compression::None,
                one,
                &mut io::sink(),
                path,
            )?;
            Ok(Some((tar.diff_id, tar.tar_bytes)))
        })
    }

    /// Makes a blob durable in its place. Fails if the disk cannot.
    pub(crate) fn keep(&self, packed: PackedBlob) -> Result<Blob> {
        let Compressed {
            digest, size_bytes, ..
        } = packed.compressed;
        self.store.keep_blob(packed.file, &digest, size_bytes)?;
        Ok(Blob {
            digest,
            media_type: self.compression.codec().media_type().to_owned(),
            size_bytes,
        })
    }

    /// Makes the lost blob of a recorded layer durable. Fails with [`Error::Damaged`] if the blob holds another tar than the
    /// layer had.
    pub(crate) fn keep_again(&self, packed: PackedBlob, layer: &Layer) -> Result<Blob> {
        if packed.diff_id() != layer.diff_id {
            let problem = format!("layer {} cannot be made again", layer.diff_id);
            return Err(Error::damaged(self.store.path(), problem));
        }
        self.keep(packed)
    }

    /// Returns the blob of a recorded layer in the form asked for; a layer in another form alone is packed again,
    /// without a look at the root. Fails with [`Error::Damaged`] if no blob of the layer is left or its content is not the
    /// layer's.
    pub(crate) fn blob_of(&self, layer: &Layer) -> Result<Blob> {
        let recorded = self.store.blobs_of(layer.id)?;
        let lost = recorded
            .first()
            .map(|blob| self.store.blob_path(&blob.digest));
        let media_type = self.compression.codec().media_type();
        let mut kept = Vec::new();
        let mut remote = None;
        for blob in recorded {
            match self.store.presence(&blob.digest, blob.size_bytes)? {
                Presence::Here(_) => kept.push(blob),
                Presence::Remote(there) if there.is_proven && blob.media_type == media_type => {
                    remote = Some(blob);
                }
                Presence::Remote(_) | Presence::Missing | Presence::Damaged(_) => {}
            }
        }
        if let Some(at) = kept.iter().position(|blob| blob.media_type == media_type) {
            return Ok(kept.swap_remove(at));
        }
        if let Some(blob) = remote {
            return Ok(blob);
        }
        let form = kept
            .first()
            .and_then(|blob| Some((blob, Codec::of_media_type(&blob.media_type)?)));
        let Some((blob, codec)) = form else {
            let path = lost.unwrap_or_else(|| self.store.path().to_owned());
            return Err(Error::damaged(path, "the blob of a layer is missing"));
        };
        self.keep(self.repack(layer, blob, codec)?)
    }

    /// Packs a layer again from another form.
    fn repack(&self, layer: &Layer, blob: &Blob, codec: Codec) -> Result<PackedBlob> {
        let input = self.store.open_blob(&blob.digest, blob.size_bytes)?;
        let source = RepackInput {
            input: Box::new(input.reader()),
            path: input.path(),
            codec,
            diff_id: layer.diff_id,
            tar_bytes: layer.tar_bytes,
        };
        self.write(|out, path| repack(source, self.compression, self.threads, out, path))
    }

    fn write(
        &self,
        write: impl FnOnce(&mut NewBlob, &Path) -> Result<Compressed>,
    ) -> Result<PackedBlob> {
        let mut file = self.store.new_blob()?;
        let path = file.path().to_owned();
        let compressed = write(&mut file, &path)?;
        Ok(PackedBlob { file, compressed })
    }
}
