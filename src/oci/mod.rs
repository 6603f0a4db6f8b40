//! Images for other tools: configuration, manifest and index, as a layout or an archive (OCI image-spec v1.1).
//!
//! Invariant: all JSON has sorted keys and no time of the clock, so equal layers make equal images.

pub mod archive;
pub mod choose;
mod docker;
pub mod image;
pub mod index;
pub mod layout;
pub mod read;
pub mod record;
pub mod remote;

use crate::blob::BlobSource;
use crate::error::Result;
use crate::model::digest::Digest;

/// A blob of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// The length.
    pub size_bytes: u64,
}

/// The source of the blobs of an image.
pub trait Blobs {
    /// Opens a blob, whose file stands at its first byte. Fails if the blob is missing or damaged.
    fn open(&self, blob: &Blob) -> Result<BlobSource>;
}

/// The annotation with the name of an image in a layout (image-spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Returns the path of a blob, relative to the layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Serialises with sorted keys: the crate keeps annotations and labels in hash maps.
pub(crate) fn to_sorted_json(value: &impl serde::Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("the types of the image-spec have string keys");
    serde_json::to_vec(&value).expect("a JSON value serialises")
}
