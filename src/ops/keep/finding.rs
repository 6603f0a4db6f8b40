//! One thing that is wrong with a store.

use crate::store::LayerUse;
use crate::store::Snapshot;

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The database, or rows of it.
    Database,
    /// `index.json`.
    Index,
    /// `oci-layout`.
    LayoutFile,
    /// Manifest or configuration of a snapshot.
    Image(Box<Snapshot>),
    /// The blob of a layer.
    Blob(Box<LayerUse>),
}

impl Subject {
    /// Returns the name that JSON uses.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Index => "index",
            Self::LayoutFile => "layout",
            Self::Image(_) => "image",
            Self::Blob(_) => "blob",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What is wrong.
    pub(crate) subject: Subject,
    /// How it is wrong, with the path.
    pub(crate) what: String,
    /// The numbers of the snapshots that it touches, in their order; none where it touches all or none.
    pub(crate) snapshots: Vec<i64>,
}
