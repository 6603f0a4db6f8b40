//! Records in a registry: small manifests under tags, each of which says what rootstrata knows of a layer, an image or a push.
//!
//! A record is an image manifest without an image (image-spec, manifest.md, "Guidelines for Artifact Usage"): annotations say
//! all there is to say, so one request reads it. Its layers are the blobs that it speaks of, so that a registry keeps them.

use super::image::{descriptor, unbuildable};
use super::{Blob, to_sorted_json};
use crate::error::Result;
use crate::layer_frames::FrameTable;
use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::origin::Origin;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use std::collections::HashMap;

/// The media type of each record.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The bytes of the configuration of each record, and of the only layer of a push's record.
pub(crate) const EMPTY: &[u8] = b"{}";

const LAYER_TYPE: &str = "application/vnd.rootstrata.layer.v1";
const IMAGE_TYPE: &str = "application/vnd.rootstrata.image.v1";
const PUSH_TYPE: &str = "application/vnd.rootstrata.push.v1";

const KEY: &str = "org.rootstrata.layer.key";
const POLICY_KEY: &str = "org.rootstrata.policy.key";
const DIFF_ID: &str = "org.rootstrata.layer.diff_id";
const TAR_BYTES: &str = "org.rootstrata.layer.tar.bytes";
const FRAMES: &str = "org.rootstrata.layer.frames";
const IMAGE: &str = "org.rootstrata.image";
const PUSHED: &str = "org.rootstrata.pushed";

/// What a registry knows of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRecord {
    /// The key.
    pub key: LayerKey,
    /// The key of the policy.
    pub policy: PolicyKey,
    /// SHA-256 of the tar: a claim, until the tar is seen.
    pub diff_id: DiffId,
    /// Length of the tar.
    pub tar_bytes: u64,
    /// The layer, compressed.
    pub blob: Blob,
    /// The media type of the blob.
    pub media_type: String,
    /// The items of the layer, compressed.
    pub items: Blob,
    /// The media type of the items.
    pub items_type: String,
    /// The frames of the blob, if it has any that can be read by themselves.
    pub frames: Option<FrameTable>,
}

/// What a registry knows of an image beyond its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Where the image comes from.
    pub origin: Origin,
    /// The packages, compressed, with the media type; absent where they are unknown.
    pub packages: Option<(Blob, String)>,
}

/// What a registry knows of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRecord {
    /// The manifest of the image.
    pub image: Digest,
    /// The series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// When, in seconds since 1970.
    pub pushed_s: i64,
}

impl LayerRecord {
    /// Returns the bytes of the record. Fails if the image-spec refuses a descriptor.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut annotations = vec![
            (KEY, self.key.to_string()),
            (POLICY_KEY, self.policy.to_string()),
            (DIFF_ID, self.diff_id.to_string()),
            (TAR_BYTES, self.tar_bytes.to_string()),
        ];
        let frames = self.frames.as_ref();
        annotations.extend(frames.map(|frames| (FRAMES, frames.to_string())));
        let layers = [
            (&self.blob, self.media_type.as_str()),
            (&self.items, &self.items_type),
        ];
        record(LAYER_TYPE, &layers, annotations)
    }

    /// Reads a record; `None` where the bytes are no record of a layer.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let Read { layers, said } = Read::of(bytes, LAYER_TYPE)?;
        let [(blob, media_type), (items, items_type)] = layers.try_into().ok()?;
        let frames = said.get(FRAMES);
        let frames = match frames {
            Some(text) => Some(FrameTable::parse(text, blob.size_bytes)?),
            None => None,
        };
        Some(Self {
            key: LayerKey::parse(said.get(KEY)?)?,
            policy: PolicyKey::parse(said.get(POLICY_KEY)?)?,
            diff_id: DiffId::parse(said.get(DIFF_ID)?)?,
            tar_bytes: said.get(TAR_BYTES)?.parse().ok()?,
            blob,
            media_type,
            items,
            items_type,
            frames,
        })
    }
}

impl ImageRecord {
    /// Returns the bytes of the record. Fails if the image-spec refuses a descriptor.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let empty = Blob::of(EMPTY);
        let layer = match &self.packages {
            Some((blob, media_type)) => (blob, media_type.as_str()),
            None => (&empty, EMPTY_TYPE),
        };
        record(IMAGE_TYPE, &[layer], self.origin.annotations())
    }

    /// Reads a record; `None` where the bytes are no record of an image.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let Read { layers, said } = Read::of(bytes, IMAGE_TYPE)?;
        let [layer] = layers.try_into().ok()?;
        Some(Self {
            origin: Origin::of(&said)?,
            packages: Some(layer).filter(|(_, media_type)| media_type != EMPTY_TYPE),
        })
    }
}

impl PushRecord {
    /// Returns the bytes of the record. Fails if the image-spec refuses a descriptor.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let annotations = vec![
            (IMAGE, self.image.to_string()),
            (SERIES, self.series.clone()),
            (STAGE, self.stage.clone()),
            (PUSHED, self.pushed_s.to_string()),
        ];
        record(PUSH_TYPE, &[(&Blob::of(EMPTY), EMPTY_TYPE)], annotations)
    }

    /// Reads a record; `None` where the bytes are no record of a push.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let Read { said, .. } = Read::of(bytes, PUSH_TYPE)?;
        Some(Self {
            image: Digest::parse(said.get(IMAGE)?)?,
            series: said.get(SERIES)?.clone(),
            stage: said.get(STAGE)?.clone(),
            pushed_s: said.get(PUSHED)?.parse().ok()?,
        })
    }
}
