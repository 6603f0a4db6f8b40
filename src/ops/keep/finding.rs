//! A fault of a store.

use crate::store::JoinedLayer;
use crate::store::LayerUse;
use crate::store::Snapshot;

/// The subject of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The database, or rows.
    Database,
    /// `index.json`.
    Index,
    /// `oci-layout`.
    LayoutFile,
    /// Manifest or configuration of a snapshot.
    Image(Box<Snapshot>),
    /// The blob of a layer.
    Blob(Box<LayerUse>),
    /// The blob of a joined layer, which no snapshot needs.
    Joined(Box<JoinedLayer>),
    /// The remembered digest of a snapshot's tree.
    TreeDigest(Box<Snapshot>),
}

impl Subject {
    /// Returns the name in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Index => "index",
            Self::LayoutFile => "layout",
            Self::Image(_) => "image",
            Self::Blob(_) => "blob",
            Self::Joined(_) => "joined",
            Self::TreeDigest(_) => "tree",
        }
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The subject.
    pub subject: Subject,
    /// The fault, with the path.
    pub what: String,
    /// The numbers of the touched snapshots, in order; empty for a fault of all snapshots or of none.
    pub snapshots: Vec<i64>,
}
