//! The request and the outcome of a recording.

use crate::layer::codec::Compression;
use crate::model::digest::TreeDigest;
use crate::model::labels::Labels;
use crate::model::names::SnapshotRef;
use crate::model::plan::{LayerRule, OpenLimits};
use crate::model::policy::state::StateRule;
use crate::model::policy::{MtimeRule, Profile};
use crate::ops::monitor::Phase;
use crate::ops::record::first::FirstOf;
use crate::ops::record::nearly::Nearly;
use crate::ops::remote::known_layers::LayersFrom;
use crate::store::{InUse, LayerUse, Snapshot};
use std::num::NonZeroUsize;
use std::time::Duration;

/// The wishes of the caller; an open wish gets a default from root and store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The series; by default the name of the root's Mock directory.
    pub series: Option<String>,
    /// The stage; by default the first usual stage missing from the run.
    pub stage: Option<String>,
    /// The snapshot to plan over; by default the stage before.
    pub parent: Option<SnapshotRef>,
    /// Whether to plan as if the store had no snapshot. Layers that the plan gives are reused all the same.
    pub fresh: bool,
    /// The build; by default the newest of the series without the stage, else a new build.
    pub run: Option<String>,
    /// What the user says of the snapshot.
    pub labels: Labels,
    /// The profile; by default `mock` where the root has an rpm database.
    pub profile: Option<Profile>,
    /// More globs of paths to leave out.
    pub exclude: Vec<String>,
    /// More globs of volatile paths.
    pub volatile: Vec<String>,
    /// The rule for times; by default of the profile.
    pub mtime: Option<MtimeRule>,
    /// The epoch in seconds since 1970.
    pub epoch_s: Option<i64>,
    /// What is recorded of volatile files.
    pub state: StateRule,
    /// How the tree is cut into layers; by default as the series was before, else by packages where the root has them.
    pub rule: Option<LayerRule>,
    /// When a base is made anew.
    pub limits: OpenLimits,
    /// The registry that may have layers, so they need not be packed.
    pub from: Option<LayersFrom>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series: None,
            stage: None,
            parent: None,
            fresh: false,
            run: None,
            labels: Labels::default(),
            profile: None,
            exclude: Vec::new(),
            volatile: Vec::new(),
            mtime: None,
            epoch_s: None,
            state: StateRule::Recorded,
            rule: None,
            limits: OpenLimits::default(),
            from: None,
            compression: Compression::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// A recorded snapshot, and the work for it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// The number of packages; `None` where unknown.
    pub packages: Option<u64>,
    /// The digest of the tree; `None` where the state is as found: to compute the digest takes a look at all entries.
    pub tree_digest: Option<TreeDigest>,
    /// How often a file of the root was read, also by failed attempts: for a hash, for packing, or for both at once. Empty files
    /// are not.
    pub files_read: u64,
    /// Bytes of content read, likewise.
    pub bytes_read: u64,
    /// The number of layers that only a registry has, and the bytes of their blobs.
    pub remote: (u64, u64),
    /// Set for the first snapshot of a store, a series or a stage.
    pub first_of: Option<FirstOf>,
    /// A better parent in another series.
    pub nearly: Option<Nearly>,
    /// The number of planned paths: 0 for an unchanged root, few where little has changed.
    pub paths_planned: u64,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
    /// Keeps others from pruning the store, for an export right after.
    pub in_use: Option<InUse>,
}
