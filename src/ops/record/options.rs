//! The request of a recording, and its outcome.

use crate::layer::codec::Compression;
use crate::model::names::SnapshotRef;
use crate::model::plan::Limits;
use crate::model::policy::{MtimeRule, Profile};
use crate::ops::monitor::Phase;
use crate::store::{InUse, LayerUse, Snapshot};
use std::num::NonZeroUsize;
use std::time::Duration;

/// The wishes of the caller; a wish that is left open gets its default from the root and the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The series; by default the name of the root's Mock directory.
    pub series: Option<String>,
    /// The stage; by default the first usual one that the run does not have.
    pub stage: Option<String>,
    /// The snapshot to plan over; by default the stage before.
    pub parent: Option<SnapshotRef>,
    /// The build; by default the newest of the series that lacks the stage, else one of its own.
    pub run: Option<String>,
    /// The profile; by default `mock` where the root has an rpm database.
    pub profile: Option<Profile>,
    /// More globs of paths to leave out.
    pub exclude: Vec<String>,
    /// More globs of volatile paths.
    pub volatile: Vec<String>,
    /// The files whose times are kept; by default as the profile has it.
    pub mtime: Option<MtimeRule>,
    /// The epoch in seconds since 1970.
    pub epoch_s: Option<i64>,
    /// When a base is made anew.
    pub limits: Limits,
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
            run: None,
            profile: None,
            exclude: Vec::new(),
            volatile: Vec::new(),
            mtime: None,
            epoch_s: None,
            limits: Limits::default(),
            compression: Compression::default(),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// A recorded snapshot, and the work it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// How many packages it has; `None` where nobody knows.
    pub packages: Option<u64>,
    /// How often a file of the root was read, also by attempts that the root changed under: to hash it, to pack it, or for
    /// both at once. Empty files are not.
    pub files_read: u64,
    /// Bytes of content that were read, likewise.
    pub bytes_read: u64,
    /// How many paths the plan was made of: none where nothing has changed, not all where little has.
    pub paths_planned: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
    /// As long as it is there, nobody prunes the store: for an export right after.
    pub in_use: Option<InUse>,
}
