//! What records say of an image, so that the image is known without its layers.
//!
//! A record is a claim. The items of a layer must give the key that the manifest names, and record and configuration must name
//! one diff_id; whether the blob holds these items, only who reads the blob knows.

use crate::error::Result;
use crate::layer::side_blob::{LARGEST_BLOB_BYTES, decompress};
use crate::model::packages::installed_form::read_installed;
use crate::model::packages::owners::Installed;
use crate::model::plan::items_form::{key_of_bytes, read_items};
use crate::model::policy::Policy;
use crate::model::tree::overlay::LayerItem;
use crate::oci::read::FoundLayer;
use crate::oci::record::LayerRecord;
use crate::ops::remote::image_source::RegistryImage;
use crate::ops::remote::records::layer_record;
use crate::ops::transfer::found_image::Found;
use crate::ops::transfer::taken_layer::{TakenLayer, native};
use crate::registry::Client;
use crate::threads;
use std::num::NonZeroUsize;

/// What records say of the layers of an image.
pub(crate) enum ImageRecords {
    /// The layers, the lowest first.
    Read(Vec<TakenLayer>),
    /// Why the layers are not known: the sentence after the name of the image.
    Unknown(String),
}

/// Reads the records of the layers that `known` does not have, each at its place, `jobs` at once. Fails if the registry does not answer.
pub(crate) fn read_layers(
    image: &RegistryImage,
    found: &Found,
    jobs: NonZeroUsize,
    known: Vec<Option<TakenLayer>>,
) -> Result<ImageRecords> {
    let asked: Vec<&FoundLayer> = found
        .image
        .layers
        .iter()
        .zip(&known)
        .filter_map(|(layer, known)| known.is_none().then_some(layer))
        .collect();
    let read = |layer: &&FoundLayer| read_layer(&image.client, layer, &found.policy);
    let mut read = threads::map(jobs, &asked, read)?.into_iter();
    let mut layers = Vec::with_capacity(known.len());
    for known in known {
        let layer = match known {
            Some(layer) => layer,
            None => match read.next() {
                Some(Ok(layer)) => layer,
                Some(Err(why)) => return Ok(ImageRecords::Unknown(why)),
                None => break,
            },
        };
        layers.push(layer);
    }
    Ok(ImageRecords::Read(layers))
}

/// Returns the packages by the record of the image; `None` without a record, or where they are unknown. Fails if the registry
/// does not answer.
pub(crate) fn read_packages(image: &RegistryImage) -> Result<Option<Vec<Installed>>> {
    let record = image.record.as_ref();
    let Some((blob, _)) = record.and_then(|record| record.packages.as_ref()) else {
        return Ok(None);
    };
    let bytes = image.client.read_blob(&blob.digest, LARGEST_BLOB_BYTES)?;
    let bytes = bytes.and_then(|bytes| decompress(&bytes).ok());
    Ok(bytes.and_then(|bytes| read_installed(&bytes)))
}

/// Reads the record and the items of a layer, or says why they are not to be had.
fn read_layer(
    client: &Client,
    layer: &FoundLayer,
    policy: &Policy,
) -> Result<std::result::Result<TakenLayer, String>> {
    let digest = layer.blob.digest;
    let Some(key) = layer.key else {
        return Ok(Err(format!("layer {digest} of it is not of rootstrata")));
    };
    let Some(record) = layer_record(client, &key, &layer.media_type)? else {
        return Ok(Err(format!("the registry has no record of layer {key}")));
    };
    if record.diff_id != layer.diff_id {
        let LayerRecord { diff_id, .. } = record;
        return Ok(Err(format!(
            "the record of layer {key} names {diff_id}, and the image {}",
            layer.diff_id
        )));
    }
    let bytes = client.read_blob(&record.items.digest, LARGEST_BLOB_BYTES)?;
    let taken = bytes.and_then(|bytes| taken(&bytes, &record, policy));
    Ok(taken.ok_or_else(|| format!("the items of layer {key} do not give that key")))
}

/// Takes a layer by its items, if they give the key under a policy of the image.
fn taken(bytes: &[u8], record: &LayerRecord, policy: &Policy) -> Option<TakenLayer> {
    let bytes = decompress(bytes).ok()?;
    let policies = [policy, &Policy::mock(), &Policy::plain()];
    let mut policies = policies.into_iter();
    let policy = policies.find(|policy| policy.key() == record.policy)?;
    if key_of_bytes(&record.policy, &bytes) != record.key {
        return None;
    }
    let items: Vec<LayerItem> = read_items(&bytes)?;
    drop(bytes);
    native(items, policy, record.key, record.tar_bytes)
}
