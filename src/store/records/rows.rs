//! Snapshots, layers and blobs, as their rows say.

use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::labels::Labels;
use crate::model::plan::layer::Role;
use crate::model::plan::{LayerPurpose, Planning, Reason};

/// A recorded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The number in the store, never given twice.
    pub id: i64,
    /// The series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The build.
    pub run: String,
    /// The snapshot below in the plan.
    pub parent_id: Option<i64>,
    /// The policy of the recording.
    pub policy_key: PolicyKey,
    /// The time of the recording, in seconds since 1970.
    pub created_s: i64,
    /// How many of the first layers are the parent's.
    pub inherited_layers: usize,
    /// The packages; `None` for unknown packages.
    pub package_set_id: Option<i64>,
    /// The image manifest, a blob of the store.
    pub manifest: BlobRef,
    /// The image configuration, a blob of the store.
    pub config: BlobRef,
    /// Entries of the tree.
    pub entries: u64,
    /// Length of all files in bytes, a hardlinked inode once.
    pub content_bytes: u64,
    /// Sockets, which no layer can hold.
    pub sockets: u64,
    /// The planner of the layers, and the limits; `None` if not recorded.
    pub planning: Option<Planning>,
    /// What its user says of it.
    pub labels: Labels,
    /// Whether neither rm nor prune removes the snapshot.
    pub is_pinned: bool,
}

/// A file under blobs/sha256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The length of the file.
    pub size_bytes: u64,
}

/// A recorded layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The number in the store.
    pub id: i64,
    /// The hash of policy, entries and whiteouts.
    pub key: LayerKey,
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// Length of the tar.
    pub tar_bytes: u64,
    /// Length of the files, a hardlinked inode once.
    pub content_bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// The number of whiteouts.
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
    /// Returns digest and length.
    pub fn as_ref(&self) -> BlobRef {
        BlobRef {
            digest: self.digest,
            size_bytes: self.size_bytes,
        }
    }
}

/// A layer in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// The role of the layer.
    pub role: Role,
    /// The layer's name for readers; `None` if not recorded.
    pub label: Option<String>,
    /// Whether the layer is one of the stage before.
    pub is_inherited: bool,
    /// Why the planner has taken the layer; `None` if not recorded.
    pub reason: Option<Reason>,
    /// The layer.
    pub layer: Layer,
    /// The form in the snapshot's manifest.
    pub blob: Blob,
    /// Whether the layer was there before the snapshot.
    pub reused: bool,
}

impl LayerUse {
    /// Returns the label of a package layer; `None` for any other layer.
    pub(crate) fn into_package(self) -> Option<String> {
        self.label.filter(|_| self.role == Role::Package)
    }

    /// Returns role, label and reason.
    pub(crate) fn purpose(&self) -> LayerPurpose {
        LayerPurpose {
            role: self.role,
            label: self.label.clone(),
            is_inherited: self.is_inherited,
            reason: self.reason.clone(),
        }
    }
}
