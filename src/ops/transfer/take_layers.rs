//! Takes the layers of an image into a store.
//!
//! Blobs are kept unchanged, so all digests stay. No claim of an image is believed: a blob must have its digest,
//! unpack to its diff_id, and give its claimed key; otherwise the layer is recorded as a foreign layer, by its changes
//! to the layers below.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, LayerItems, Threads, read_exactly, read_files};
use crate::model::digest::LayerKey;
use crate::model::policy::Policy;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::Entry;
use crate::oci;
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::monitor::Monitor;
use crate::ops::root_view::image::applied_over;
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::is_telling;
use crate::ops::transfer::found_image::{Found, bad_image};
use crate::ops::transfer::new_layers::{NewLayers, unpacked};
use crate::ops::transfer::taken_layer::{
    TakenLayer, TakenLayers, as_native, foreign, is_native, native,
};
use crate::store::{Presence, Store};
use std::path::Path;

/// Takes the layers of a source's images.
pub(crate) struct LayerTaker<'a> {
    pub store: &'a Store,
    pub opened: &'a Opened,
    pub monitor: &'a dyn Monitor,
    /// Bytes of blobs copied into the store.
    pub bytes_written: u64,
}

impl LayerTaker<'_> {
    /// Takes the layers, of which `new` has those that the store lacked, and returns also the entries of their tree. Fails if a
    /// layer is damaged, or holds an item that no layer may hold.
    pub(crate) fn take(
        &mut self,
        found: &Found,
        new: &mut NewLayers,
    ) -> Result<(Vec<TakenLayer>, Vec<Entry>)> {
        let mut below = TakenLayers::default();
        for layer in &found.image.layers {
            let taken = match self.known_layer(layer, &new.files)? {
                Some(taken) => taken,
                None => self.new_layer(layer, found, &mut below, new)?,
            };
            below.push(taken);
        }
        Ok(below.into_parts())
    }

    /// Takes a layer of the store, whose blob need not be in the source. A foreign layer depends on the layers below,
    /// and is read again.
    fn known_layer(&self, layer: &FoundLayer, files: &PackageFiles) -> Result<Option<TakenLayer>> {
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
        let mut files = files.layer();
        read_files(self.open(layer, &path)?, is_telling, |at, size, content| {
            files.copy(at, size, content, &path)?;
            Ok(true)
        })?;
        files.keep_linked(&items, is_telling, || self.open(layer, &path))?;
        self.monitor.advance(size_bytes);
        Ok(native(items, &policy, known.key, known.tar_bytes))
    }

    /// Keeps the blob of a layer that was read, or reads the blob that the store has.
    fn new_layer(
        &mut self,
        layer: &FoundLayer,
        found: &Found,
        below: &mut TakenLayers,
        new: &mut NewLayers,
    ) -> Result<TakenLayer> {
        // An error names the image, not the store.
        let path = self.opened.path_of(&layer.blob);
        let (items, tar_bytes) = match new.keep(self.store, layer, &path)? {
            Some(copied) => {
                self.bytes_written += layer.blob.size_bytes;
                (copied.items, copied.tar_bytes)
            }
            None => self.read(layer, &new.files)?,
        };
        if let Some((name, _)) = items.links_below.first() {
            // The content is not in the layer with the name, where everybody looks for the content.
            return Err(Error::BadLayer {
                path,
                member: shown_path(name),
                what: "is a link to a file of a layer below".to_owned(),
            });
        }
        if let Some((key, policy)) = self.claimed(layer, found, &items)? {
            return Ok(as_native(items.items, &policy, key, tar_bytes));
        }
        let below = below.overlay();
        let after = applied_over(below, items, &path)?;
        Ok(foreign(below, &after, layer.diff_id, tar_bytes))
    }

    fn read(&self, layer: &FoundLayer, files: &PackageFiles) -> Result<(LayerItems, u64)> {
        self.check_presence(layer)?;
        let path = self.opened.path_of(&layer.blob);
        let mut files = files.layer();
        let mut keep = |at: &_, size| files.keep(at, size);
        let read = read_exactly(
            self.open(layer, &path)?,
            (unpacked(layer), Threads::Several),
            &mut keep,
        )?;
        files.keep_linked(&read.0.items, is_telling, || self.open(layer, &path))?;
        self.monitor.advance(layer.blob.size_bytes);
        Ok(read)
    }

    /// Returns the key of a layer as claimed, with the policy of the image under which the key is right.
    fn claimed(
        &self,
        layer: &FoundLayer,
        found: &Found,
        items: &LayerItems,
    ) -> Result<Option<(LayerKey, Policy)>> {
        let Some(key) = layer.key.filter(|_| items.is_in_order) else {
            return Ok(None);
        };
        if self.is_of_another_tar(&key, layer)? {
            return Ok(None);
        }
        let policies = [
            found.policy.clone(),
            found.policy.of_stable_layers(),
            Policy::mock(),
            Policy::plain(),
        ];
        let policy = policies
            .into_iter()
            .find(|policy| is_native(&items.items, policy, key));
        Ok(policy.map(|policy| (key, policy)))
    }

    /// A layer with a key of ours, packed in another way, would be another layer with the same key.
    fn is_of_another_tar(&self, key: &LayerKey, layer: &FoundLayer) -> Result<bool> {
        let known = self.store.layer_by_key(key)?;
        Ok(known.is_some_and(|known| known.diff_id != layer.diff_id))
    }

    /// Fails where neither the source nor the store has a blob.
    fn check_presence(&self, layer: &FoundLayer) -> Result<()> {
        let oci::Blob { digest, size_bytes } = layer.blob;
        let what = match self.store.presence(&digest, size_bytes)? {
            Presence::Missing => format!(
                "layer {digest} is neither in it nor in the store: import the archive first that it follows"
            ),
            Presence::Remote(remote) => format!(
                "layer {digest} is not in it, and in docker://{} alone: rootstrata export of the snapshot with it fetches it",
                remote.repository
            ),
            Presence::Here(_) | Presence::Damaged(_) => return Ok(()),
        };
        Err(bad_image(self.opened, what))
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
