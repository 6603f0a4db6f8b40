//! Images as others read them: configuration, manifest, index, and the two forms in which they leave the store
//! (OCI image-spec v1.1).
//!
//! Invariant: all JSON has sorted keys and no time but the one it is given, so equal layers make equal images.

pub mod archive;
pub mod choose;
mod docker;
pub mod image;
pub mod index;
pub mod layout;
pub mod read;

use crate::blob::BlobSource;
use crate::error::Result;
use crate::model::digest::Digest;

/// A blob that an image refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of it.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Where the blobs of an image come from.
pub trait Blobs {
    /// Opens a blob, whose file stands at its first byte. Fails if the blob is missing or damaged.
    fn open(&self, blob: &Blob) -> Result<BlobSource>;
}

/// What names an image in a layout (image-spec, annotations.md).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Returns where a blob is in a layout, relative to it.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Serialises with sorted keys: the crate keeps annotations and labels in hash maps.
pub(crate) fn to_sorted_json(value: &impl serde::Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("the types of the image-spec have string keys");
    serde_json::to_vec(&value).expect("a JSON value serialises")
}
