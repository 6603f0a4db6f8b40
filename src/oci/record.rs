//! Records in a registry: small manifests under tags, each of which says what rootstrata knows of a layer, an image or a push.
//!
//! A record is an image manifest without an image (image-spec, manifest.md, "Guidelines for Artifact Usage"): annotations say
//! all there is to say, so one request reads it. Its layers are the blobs that it speaks of, so a registry keeps them.

use super::image::{descriptor, unbuildable};
use super::{Blob, to_sorted_json};
use crate::error::Result;
use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::frame_table::FrameTable;
use crate::model::origin::{Origin, SERIES, STAGE};
use crate::model::repository::is_tag;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// The media type of each record.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The bytes of the configuration of each record, and of the only layer of a push's record.
pub(crate) const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

const LAYER_TYPE: &str = "application/vnd.rootstrata.layer.v1";
const IMAGE_TYPE: &str = "application/vnd.rootstrata.image.v1";
const PUSH_TYPE: &str = "application/vnd.rootstrata.push.v1";

const KEY: &str = "org.rootstrata.layer.key";
const POLICY_KEY: &str = "org.rootstrata.policy.key";
const DIFF_ID: &str = "org.rootstrata.layer.diff_id";
const TAR_BYTES: &str = "org.rootstrata.layer.tar.bytes";
const FRAMES: &str = "org.rootstrata.layer.frames";
const IMAGE: &str = "org.rootstrata.image";
const TAG: &str = "org.rootstrata.tag";
const PUSHED: &str = "org.rootstrata.pushed";
const LAYERS: &str = "org.rootstrata.layers";

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
    /// The manifest of the image; absent in a record that names none. By it, no two images have one record.
    pub image: Option<Digest>,
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
    /// The tag that moves, or was asked for; absent where the record names no tag.
    pub tag: Option<String>,
    /// When, in seconds since 1970.
    pub pushed_s: i64,
    /// The keys of the layers.
    pub layers: Vec<LayerKey>,
}

impl LayerRecord {
    /// Returns the bytes of the record. Fails if the image-spec refuses the descriptor of the blob or of the items.
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
    /// Returns the bytes of the record. Fails if the image-spec refuses the descriptor of the packages.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let empty = Blob::of(EMPTY);
        let layer = match &self.packages {
            Some((blob, media_type)) => (blob, media_type.as_str()),
            None => (&empty, EMPTY_TYPE),
        };
        let mut annotations = self.origin.annotations();
        annotations.extend(
            self.image
                .map(|image| (IMAGE.to_owned(), image.to_string())),
        );
        record(IMAGE_TYPE, &[layer], annotations)
    }

    /// Reads a record; `None` where the bytes are no record of an image.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let Read { layers, said } = Read::of(bytes, IMAGE_TYPE)?;
        let [layer] = layers.try_into().ok()?;
        Some(Self {
            image: said.get(IMAGE).and_then(|image| Digest::parse(image)),
            origin: Origin::of(&said)?,
            packages: Some(layer).filter(|(_, media_type)| media_type != EMPTY_TYPE),
        })
    }
}

impl PushRecord {
    /// Returns the bytes of the record. Fails if the image-spec refuses the record of a push.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let layers = self.layers.iter().map(LayerKey::to_string);
        let mut annotations = vec![
            (IMAGE, self.image.to_string()),
            (SERIES, self.series.clone()),
            (STAGE, self.stage.clone()),
            (PUSHED, self.pushed_s.to_string()),
            (LAYERS, layers.collect::<Vec<_>>().join(",")),
        ];
        annotations.extend(self.tag.clone().map(|tag| (TAG, tag)));
        record(PUSH_TYPE, &[(&Blob::of(EMPTY), EMPTY_TYPE)], annotations)
    }

    /// Reads a record; `None` where the bytes are no record of a push.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let Read { said, .. } = Read::of(bytes, PUSH_TYPE)?;
        let layers = said.get(LAYERS)?.split(',').map(LayerKey::parse);
        Some(Self {
            image: Digest::parse(said.get(IMAGE)?)?,
            series: said.get(SERIES)?.clone(),
            stage: said.get(STAGE)?.clone(),
            tag: said.get(TAG).filter(|tag| is_tag(tag)).cloned(),
            pushed_s: said.get(PUSHED)?.parse().ok()?,
            layers: layers.collect::<Option<_>>()?,
        })
    }
}

impl Blob {
    /// Describes bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest(Sha256::digest(bytes).into()),
            size_bytes: bytes.len() as u64,
        }
    }
}

/// Returns the bytes of a record of a kind.
fn record(
    kind: &str,
    layers: &[(&Blob, &str)],
    annotations: impl IntoIterator<Item = (impl Into<String>, String)>,
) -> Result<Vec<u8>> {
    let annotations = annotations.into_iter();
    let annotations = annotations.map(|(name, value)| (name.into(), value));
    let built = || -> oci_spec::Result<_> {
        let layers = layers
            .iter()
            .map(|(blob, media_type)| descriptor(blob, MediaType::from(*media_type))?.build());
        ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::from(kind))
            .config(descriptor(&Blob::of(EMPTY), MediaType::EmptyJSON)?.build()?)
            .layers(layers.collect::<oci_spec::Result<Vec<_>>>()?)
            .annotations(annotations.collect::<HashMap<_, _>>())
            .build()
    };
    built()
        .map(|manifest| to_sorted_json(&manifest))
        .map_err(unbuildable)
}

/// What a record has.
struct Read {
    layers: Vec<(Blob, String)>,
    said: HashMap<String, String>,
}

impl Read {
    /// Reads a record of a kind.
    fn of(bytes: &[u8], kind: &str) -> Option<Self> {
        let manifest: ImageManifest = serde_json::from_slice(bytes).ok()?;
        let is_kind = manifest.artifact_type().as_ref() == Some(&MediaType::from(kind));
        let layers = manifest.layers().iter().map(blob_of);
        let layers = layers.collect::<Option<Vec<_>>>()?;
        let said = manifest.annotations().clone().unwrap_or_default();
        is_kind.then_some(Self { layers, said })
    }
}

fn blob_of(descriptor: &Descriptor) -> Option<(Blob, String)> {
    let blob = Blob {
        digest: Digest::parse(descriptor.digest().as_ref())?,
        size_bytes: descriptor.size(),
    };
    Some((blob, descriptor.media_type().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    #[test]
    fn records_are_read_as_they_are_written() {
        let blob = |of: &[u8]| Blob::of(of);
        let layer = LayerRecord {
            key: LayerKey([1; 32]),
            policy: PolicyKey([2; 32]),
            diff_id: DiffId([3; 32]),
            tar_bytes: 77,
            blob: blob(b"layer"),
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
            items: blob(b"items"),
            items_type: "application/vnd.x".to_owned(),
            frames: Some(FrameTable::new(4, vec![2, 3])),
        };
        let bytes = layer.to_bytes().unwrap();
        assert_eq!(LayerRecord::of_bytes(&bytes), Some(layer));
        assert_eq!(ImageRecord::of_bytes(&bytes), None);
        let origin = Origin {
            series: "s".to_owned(),
            stage: "t".to_owned(),
            policy: "{}".to_owned(),
            planned: None,
            labels: Labels::default(),
            recorded: None,
        };
        for packages in [None, Some((blob(b"p"), "application/vnd.p".to_owned()))] {
            let origin = origin.clone();
            let image = ImageRecord {
                image: Some(Digest([8; 32])),
                origin,
                packages,
            };
            let bytes = image.to_bytes().unwrap();
            assert_eq!(ImageRecord::of_bytes(&bytes), Some(image));
        }
        let push = PushRecord {
            image: Digest([9; 32]),
            series: "s".to_owned(),
            stage: "t".to_owned(),
            tag: Some("s.t".to_owned()),
            pushed_s: 5,
            layers: vec![LayerKey([1; 32]), LayerKey([2; 32])],
        };
        let bytes = push.to_bytes().unwrap();
        assert_eq!(PushRecord::of_bytes(&bytes), Some(push));
        assert_eq!(LayerRecord::of_bytes(&bytes), None);
    }
}
