//! Takes the layers of an image into a store.
//!
//! Blobs are kept unchanged, so all digests stay. No claim of an image is believed: a blob must have its digest,
//! unpack to its diff_id, and give its claimed key; otherwise the layer is recorded as a foreign layer, by its changes
//! to the layers below.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, LayerItems, Unpacked, read_exactly, read_files};
use crate::model::digest::{Digest, LayerKey};
use crate::model::policy::Policy;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::Overlay;
use crate::oci;
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::image::applied_over;
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::is_telling;
use crate::ops::transfer::found_image::{Found, bad_image};
use crate::ops::transfer::taken_layer::{TakenLayer, foreign, native};
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};
use std::path::Path;

/// A larger tar is no layer of a root.
const LARGEST_TAR_BYTES: u64 = 64 << 30;

const BUFFER_BYTES: usize = 256 << 10;

/// Takes the layers of a source's images.
pub(crate) struct LayerTaker<'a> {
    pub store: &'a Store,
    pub opened: &'a Opened,
    pub monitor: &'a dyn Monitor,
    /// Bytes of blobs copied into the store.
    pub bytes_written: u64,
}

impl LayerTaker<'_> {
    /// Takes the layers, and returns also the entries of their tree. Files of package managers go to `kept`. Fails if
    /// a layer is missing or damaged, or holds an item that no layer may hold.
    pub(crate) fn take(
        &mut self,
        found: &Found,
        kept: &mut PackageFiles,
    ) -> Result<(Vec<TakenLayer>, Vec<Entry>)> {
        let mut overlay = Overlay::new();
        let mut taken: Vec<TakenLayer> = Vec::new();
        for layer in &found.image.layers {
            let one = match self.known_layer(layer, kept)? {
                Some(one) => one,
                None => self.new_layer(layer, found, &overlay, kept)?,
            };
            overlay.apply(one.laid().into_iter());
            taken.push(one);
            self.monitor.advance(layer.blob.size_bytes);
        }
        Ok((taken, overlay.into_tree().into_entries()))
    }

    /// Takes a layer of the store, whose blob need not be in the source. A foreign layer depends on the layers below,
    /// and is read again.
    fn known_layer(
        &self,
        layer: &FoundLayer,
        kept: &mut PackageFiles,
    ) -> Result<Option<TakenLayer>> {
        let oci::Blob { digest, size_bytes } = layer.blob;
        let Some(known) = self.store.layer_of_blob(&digest)? else {
            return Ok(None);
        };
        let policy = self.store.policy_of_layer(known.id)?;
        let Some(policy) = Policy::from_canonical(&self.store.policy(&policy)?) else {
            return Ok(None);
        };
        if !self.store.has_blob(&digest, size_bytes)? {
            return Ok(None);
        }
        if known.diff_id != layer.diff_id {
            let what = format!("layer {digest} has not the diff_id that it claims");
            return Err(bad_image(self.opened, what));
        }
        let items = self.store.items(known.id)?;
        let path = self.store.blob_path(&digest);
        read_files(self.open(layer, &path)?, is_telling, |at, size, content| {
            if let Some(mut out) = kept.keep(at, size)? {
                io::copy(content, &mut out).map_err(Error::io("read", &path))?;
            }
            Ok(true)
        })?;
        kept.keep_linked(&items, is_telling, || self.open(layer, &path))?;
        Ok(native(items, &policy, known.key, known.tar_bytes))
    }

    /// Copies the blob into the store, and reads the blob there.
    fn new_layer(
        &mut self,
        layer: &FoundLayer,
        found: &Found,
        below: &Overlay,
        kept: &mut PackageFiles,
    ) -> Result<TakenLayer> {
        self.keep_blob(&layer.blob)?;
        // An error names the image, not the store.
        let path = self.opened.path_of(&layer.blob);
        let expected = Unpacked {
            diff_id: layer.diff_id,
            most_bytes: LARGEST_TAR_BYTES,
        };
        let mut keep = |at: &_, size| kept.keep(at, size);
        let (items, tar_bytes) = read_exactly(self.open(layer, &path)?, expected, &mut keep)?;
        kept.keep_linked(&items.items, is_telling, || self.open(layer, &path))?;
        if let Some((name, _)) = items.links_below.first() {
            // The content is not in the layer with the name, where everybody looks for the content.
            return Err(Error::BadLayer {
                path,
                member: shown_path(name),
                what: "is a link to a file of a layer below".to_owned(),
            });
        }
        if let Some(taken) = self.as_claimed(layer, found, &items, tar_bytes)? {
            return Ok(taken);
        }
        let after = applied_over(below, items, &path)?;
        Ok(foreign(below, &after, layer.diff_id, tar_bytes))
    }

    /// Takes a layer as claimed, if the key is right under a policy of the image.
    fn as_claimed(
        &self,
        layer: &FoundLayer,
        found: &Found,
        items: &LayerItems,
        tar_bytes: u64,
    ) -> Result<Option<TakenLayer>> {
        let Some(key) = layer.key.filter(|_| items.is_in_order) else {
            return Ok(None);
        };
        if self.is_of_another_tar(&key, layer)? {
            return Ok(None);
        }
        let policies = [&found.policy, &Policy::mock(), &Policy::plain()];
        Ok(policies
            .into_iter()
            .find_map(|policy| native(items.items.clone(), policy, key, tar_bytes)))
    }

    /// A layer with a key of ours, packed in another way, would be another layer with the same key.
    fn is_of_another_tar(&self, key: &LayerKey, layer: &FoundLayer) -> Result<bool> {
        let known = self.store.layer_by_key(key)?;
        Ok(known.is_some_and(|known| known.diff_id != layer.diff_id))
    }

    fn keep_blob(&mut self, blob: &oci::Blob) -> Result<()> {
        if self.store.has_blob(&blob.digest, blob.size_bytes)? {
            return Ok(());
        }
        if !self.opened.has(blob) {
            let digest = blob.digest;
            let what = format!(
                "layer {digest} is neither in it nor in the store: import the archive first that it follows"
            );
            return Err(bad_image(self.opened, what));
        }
        self.copy(blob)
    }

    /// Copies a blob into the store. Fails if the bytes have another digest.
    fn copy(&mut self, blob: &oci::Blob) -> Result<()> {
        if let Some(file) = self.opened.fetched(blob) {
            self.store.keep_fetched(file, &blob.digest)?;
            self.bytes_written += blob.size_bytes;
            return Ok(());
        }
        let mut new = self.store.new_blob()?;
        let place = new.path().to_owned();
        let mut input = self.opened.open(blob)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    new.write_all(&buffer[..count])
                        .map_err(Error::io("write", &place))?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", self.opened.path())(e)),
            }
        }
        let digest = Digest(hasher.finalize().into());
        if digest != blob.digest {
            let what = format!("the content of blob {} is {digest}", blob.digest);
            return Err(Error::damaged(self.opened.path(), what));
        }
        self.store.keep_blob(new, &digest, blob.size_bytes)?;
        self.bytes_written += blob.size_bytes;
        Ok(())
    }

    /// Opens the blob of a layer in the store; errors name `path`.
    fn open<'b>(&self, layer: &FoundLayer, path: &'b Path) -> Result<Blob<'b>> {
        let oci::Blob { digest, size_bytes } = layer.blob;
        let source = self.store.find_blob(&digest, size_bytes)?;
        Ok(Blob {
            input: Box::new(source.reader()),
            path,
            digest,
        })
    }
}
