//! What records say of an image, so the image is known without the layers.
//!
//! A record is a claim. The items of a layer must give the key that the manifest names, and record and configuration must name
//! one diff_id; whether the blob holds these items, only who reads the blob knows.

use crate::error::{Error, Result};
use crate::layer::side_blob::{LARGEST_BLOB_BYTES, decompress};
use crate::model::digest::{Digest, LayerKey, PolicyKey};
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::packages::installed_form::read_installed;
use crate::model::packages::owners::Installed;
use crate::model::plan::items_form::{key_of_bytes, read_items};
use crate::model::tree::overlay::LayerItem;
use crate::oci::read::FoundLayer;
use crate::ops::remote::image_source::RegistryImage;
use crate::ops::remote::records::layer_record;
use crate::registry::Client;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What records say, or why they say nothing: the sentence after the name of the image.
pub(crate) type Said<T> = std::result::Result<T, String>;

/// A layer as its record has it.
#[derive(Clone, Debug)]
pub(crate) struct RecordedLayer {
    pub key: LayerKey,
    /// The key of the policy that is in the key of the layer.
    pub policy: PolicyKey,
    /// The claimed length of the tar.
    pub tar_bytes: u64,
    /// The items, which give the key.
    pub items: Vec<LayerItem>,
}

/// Reads records, several at once, whose items together take no more memory than any tree.
#[derive(Debug)]
pub(crate) struct RecordReader {
    left_bytes: AtomicUsize,
}

impl RecordReader {
    /// Starts with nothing read, for a number of images.
    pub(crate) fn new(images: usize) -> Self {
        Self {
            left_bytes: AtomicUsize::new(images * LARGEST_ENTRIES_BYTES),
        }
    }

    /// Reads the record and the items of a layer. Fails if the registry cannot be reached, or refuses to answer.
    pub(crate) fn layer(&self, client: &Client, layer: &FoundLayer) -> Result<Said<RecordedLayer>> {
        let digest = layer.blob.digest;
        let Some(key) = layer.key else {
            return Ok(Err(format!("layer {digest} of it is not of rootstrata")));
        };
        let record = match said(layer_record(client, &key, &layer.media_type))? {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Err(format!("the registry has no record of layer {key}"))),
            Err(why) => return Ok(Err(why)),
        };
        if record.diff_id != layer.diff_id {
            return Ok(Err(format!(
                "the record of layer {key} names {}, and the image {}",
                record.diff_id, layer.diff_id
            )));
        }
        let bytes = match side_blob(client, &record.items.digest)? {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(format!("the items of layer {key} {why}"))),
        };
        if key_of_bytes(&record.policy, &bytes) != key {
            return Ok(Err(format!(
                "the items of layer {key} do not give that key"
            )));
        }
        let items = read_items(&bytes).filter(|items| self.has_room(items));
        let layer = items.map(|items| RecordedLayer {
            key,
            policy: record.policy,
            tar_bytes: record.tar_bytes,
            items,
        });
        Ok(layer.ok_or_else(|| format!("the items of layer {key} are none that a root has")))
    }

    fn has_room(&self, items: &[LayerItem]) -> bool {
        let bytes: usize = items.iter().map(LayerItem::memory_bytes).sum();
        let order = Ordering::Relaxed;
        self.left_bytes
            .fetch_update(order, order, |left| left.checked_sub(bytes))
            .is_ok()
    }
}

/// Returns the packages by the record of the image; none without a record, or where they are unknown. Fails if the registry
/// cannot be reached, or refuses to answer.
pub(crate) fn read_packages(image: &RegistryImage) -> Result<Said<Option<Vec<Installed>>>> {
    let record = image.record.as_ref();
    let Some((blob, _)) = record.and_then(|record| record.packages.as_ref()) else {
        return Ok(Ok(None));
    };
    let bytes = match side_blob(&image.client, &blob.digest)? {
        Ok(bytes) => bytes,
        Err(why) => return Ok(Err(format!("the packages of its record {why}"))),
    };
    Ok(match read_installed(&bytes) {
        Some(installed) => Ok(Some(installed)),
        None => Err("the packages of its record are malformed".to_owned()),
    })
}

/// Reads a blob that a record names, and unpacks the blob.
fn side_blob(client: &Client, digest: &Digest) -> Result<Said<Vec<u8>>> {
    let blob = match said(client.read_blob(digest, LARGEST_BLOB_BYTES))? {
        Ok(Some(blob)) => blob,
        Ok(None) => return Ok(Err("are not in the registry".to_owned())),
        Err(why) => return Ok(Err(format!("cannot be had: {why}"))),
    };
    Ok(decompress(&blob).map_err(|_| "do not unpack".to_owned()))
}

/// An answer that makes no sense is no record; without an answer, nothing else can be asked either.
fn said<T>(answer: Result<T>) -> Result<Said<T>> {
    match answer {
        Err(error @ Error::Registry { .. }) => Ok(Err(error.in_one_line())),
        answer => answer.map(Ok),
    }
}
