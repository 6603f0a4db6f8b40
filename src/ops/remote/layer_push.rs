//! Pushes a layer: the blob, the items, and last the record that names both.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::codec::Codec;
use crate::layer::seek::Frames;
use crate::layer::side_blob::{ITEMS_TYPE, compress_items};
use crate::model::frame_table::FrameTable;
use crate::model::repository::Repository;
use crate::model::tree::overlay::LayerItem;
use crate::oci::Blob;
use crate::oci::record::LayerRecord;
use crate::ops::monitor::Monitor;
use crate::ops::remote::pushed_image::{LayerBytes, PushedLayer};
use crate::ops::remote::records::{layer_record, put, put_bytes, tag_of};
use crate::registry::{Access, Client, Right, Source};
use crate::store::Store;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of a repository before a layer is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A record stands for its blob.
    Records,
    /// The repository has said that it lacks a blob.
    Nothing,
}

/// How many blobs of layers were sent or found, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pushed: [AtomicU64; 2],
    mounted: [AtomicU64; 2],
    reused: [AtomicU64; 2],
}

impl Counts {
    fn add(sum: &[AtomicU64; 2], bytes: u64) {
        sum[0].fetch_add(1, Ordering::Relaxed);
        sum[1].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the number and the bytes of the layers pushed, of those that the registry took from another repository,
    /// and of those that were there.
    pub(super) fn totals(&self) -> [(u64, u64); 3] {
        [&self.pushed, &self.mounted, &self.reused].map(|sum| {
            let [count, bytes] = sum.each_ref().map(|one| one.load(Ordering::Relaxed));
            (count, bytes)
        })
    }
}

/// Pushes layers into a repository.
pub(super) struct LayerPusher<'p> {
    pub client: &'p Client,
    pub store_path: &'p Path,
    pub access: &'p Access,
    pub monitor: &'p dyn Monitor,
    pub counts: Counts,
}

impl LayerPusher<'_> {
    /// Pushes what the repository lacks of a layer. Fails if the registry does not take the blob, or if the snapshot of the
    /// layer was removed from the store meanwhile.
    pub(super) fn push(&self, layer: &PushedLayer, trust: Trust) -> Result<()> {
        let PushedLayer {
            key, media_type, ..
        } = layer;
        let known = if layer.is_ours {
            layer_record(self.client, key, media_type)?
        } else {
            None
        };
        let is_same = known.as_ref().is_some_and(|known| known.blob == layer.blob);
        self.push_blob(layer, is_same && trust == Trust::Records)?;
        // Of two records of a layer, either may stay; but not one of a blob that is gone, or of another layer's.
        let is_right = known.is_some_and(|known| known.diff_id == layer.diff_id);
        let is_needed = !is_right || trust == Trust::Nothing;
        if layer.is_ours && is_needed {
            self.put_record(layer)?;
        }
        Ok(())
    }

    /// Counts layers of which the repository has all.
    pub(super) fn skip(&self, layers: &[PushedLayer]) {
        for layer in layers {
            Counts::add(&self.counts.reused, layer.blob.size_bytes);
            self.monitor.advance(layer.blob.size_bytes);
        }
    }

    fn push_blob(&self, layer: &PushedLayer, is_there: bool) -> Result<()> {
        let Blob { digest, size_bytes } = layer.blob;
        if is_there || self.client.has_blob(&digest)? == Some(size_bytes) {
            Counts::add(&self.counts.reused, size_bytes);
            self.monitor.advance(size_bytes);
            return Ok(());
        }
        match &layer.bytes {
            LayerBytes::Here(source) => {
                let source = Told(source, self.monitor);
                self.client.push_blob(&digest, size_bytes, &source)?;
            }
            LayerBytes::In(repository) if self.mount(&layer.blob, repository)? => {
                Counts::add(&self.counts.mounted, size_bytes);
                self.monitor.advance(size_bytes);
                return Ok(());
            }
            LayerBytes::In(repository) => self.carry(&layer.blob, repository)?,
        }
        Counts::add(&self.counts.pushed, size_bytes);
        Ok(())
    }

    /// Lets the registry take a blob from another of its repositories. Tells whether it did.
    fn mount(&self, blob: &Blob, from: &Repository) -> Result<bool> {
        let own = self.client.repository();
        let is_other = own.host() == from.host() && own.name() != from.name();
        if is_other {
            self.client.mount(&blob.digest, from)
        } else {
            Ok(false)
        }
    }

    /// Pushes a blob that another registry has, as it comes from there.
    fn carry(&self, blob: &Blob, from: &Repository) -> Result<()> {
        let client = Client::open(from, self.access, Right::Pull)?;
        let source = Carried(&client, blob, self.monitor);
        let Blob { digest, size_bytes } = blob;
        self.client.push_blob(digest, *size_bytes, &source)
    }

    fn put_record(&self, layer: &PushedLayer) -> Result<()> {
        let items = compressed_items(self.store_path, layer)?;
        put_bytes(self.client, &items)?;
        let record = LayerRecord {
            key: layer.key,
            policy: layer.policy,
            diff_id: layer.diff_id,
            tar_bytes: layer.tar_bytes,
            blob: layer.blob.clone(),
            media_type: layer.media_type.clone(),
            items: Blob::of(&items),
            items_type: ITEMS_TYPE.to_owned(),
            frames: frames_of(layer)?,
        };
        let tag = tag_of(&layer.key, &layer.media_type);
        put(self.client, &tag, &record.to_bytes()?)
    }
}

/// Opens the store for as long as the rows of a layer are read.
fn compressed_items(store_path: &Path, layer: &PushedLayer) -> Result<Vec<u8>> {
    let store = Store::open_unchecked(store_path)?;
    let known = store.layer_by_key(&layer.key)?;
    if known.is_none_or(|known| known.id != layer.id) {
        let what = format!("layer {} was removed while it was pushed", layer.key);
        return Err(Error::damaged(store_path, what));
    }
    let items = store.items(layer.id)?;
    drop(store);
    let items = items.iter().filter_map(LayerItem::as_item);
    compress_items(items).map_err(Error::io("compress", store_path))
}

/// Returns the frames of a blob of the store.
fn frames_of(layer: &PushedLayer) -> Result<Option<FrameTable>> {
    if Codec::of_media_type(&layer.media_type) != Some(Codec::Zstd) {
        return Ok(None);
    }
    let LayerBytes::Here(source) = &layer.bytes else {
        return Ok(None);
    };
    match Frames::open(source, layer.tar_bytes)? {
        Some(frames) => frames.table(),
        None => Ok(None),
    }
}

/// The bytes of a blob, each told to the monitor when it is sent.
struct Told<'t>(&'t BlobSource, &'t dyn Monitor);

impl Source for Told<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Telling {
            input: self.0.reader(),
            monitor: self.1,
        }))
    }
}

/// A blob of another repository, each byte told to the monitor when it is sent.
struct Carried<'t>(&'t Client, &'t Blob, &'t dyn Monitor);

impl Source for Carried<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let Blob { digest, size_bytes } = self.1;
        let input = self.0.open_blob(digest, *size_bytes);
        Ok(Box::new(Telling {
            input: input.map_err(io::Error::other)?,
            monitor: self.2,
        }))
    }
}

struct Telling<'t, R> {
    input: R,
    monitor: &'t dyn Monitor,
}

impl<R: Read> Read for Telling<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.monitor.advance(count as u64);
        Ok(count)
    }
}
