//! What the rows of snapshots, layers and blobs say.

use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::plan::layer::Role;

/// A recorded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number in the store, never given twice.
    pub id: i64,
    /// The series that it is of.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The build that it is of.
    pub run: String,
    /// The snapshot that it was planned over.
    pub parent_id: Option<i64>,
    /// The policy that it was recorded under.
    pub policy_key: PolicyKey,
    /// When it was recorded, in seconds since 1970.
    pub created_s: i64,
    /// How many of its first layers are the parent's.
    pub inherited_layers: usize,
    /// Its packages; `None` where they are unknown.
    pub package_set_id: Option<i64>,
    /// Its image manifest, a blob of the store.
    pub manifest: BlobRef,
    /// Its image configuration, a blob of the store.
    pub config: BlobRef,
    /// Entries of its tree.
    pub entries: u64,
    /// Length of all its files in bytes, a hardlinked inode once.
    pub content_bytes: u64,
    /// Sockets that were passed over.
    pub sockets: u64,
}

/// A file under blobs/sha256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// A recorded layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its number in the store.
    pub id: i64,
    /// The hash of policy, entries and whiteouts.
    pub key: LayerKey,
    /// SHA-256 of its tar.
    pub diff_id: DiffId,
    /// Length of its tar.
    pub tar_bytes: u64,
    /// Length of its files, a hardlinked inode once.
    pub content_bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many whiteouts it has.
    pub whiteouts: u64,
}

/// A compressed form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Media type (image-spec, layer.md).
    pub media_type: String,
    /// Length of the file.
    pub size_bytes: u64,
}

impl Blob {
    /// Returns what names the file.
    pub fn as_ref(&self) -> BlobRef {
        BlobRef {
            digest: self.digest,
            size_bytes: self.size_bytes,
        }
    }
}

/// A layer as one snapshot has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// What it is for.
    pub role: Role,
    /// The layer.
    pub layer: Layer,
    /// The form in which the snapshot's manifest has it.
    pub blob: Blob,
    /// Whether it was there before the snapshot.
    pub reused: bool,
}
