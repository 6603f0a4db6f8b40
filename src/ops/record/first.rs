//! Surprises of a new snapshot: a new store, series or stage, and a root without the packages of the last time.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::policy::Profile;
use crate::store::Store;
use std::path::Path;

/// The first snapshot of a store, a series or a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstOf {
    /// The store has no other snapshot.
    Store,
    /// The series has no other snapshot.
    Series,
    /// The stage has no other; the series has the listed stages.
    Stage(Vec<String>),
}

impl FirstOf {
    /// Foresees the next snapshot's place; `None` where the stage has a snapshot. Fails if the stages of the series cannot be listed.
    pub(super) fn find(store: &Store, series: &str, stage: &str) -> Result<Option<Self>> {
        let stages = store.stages(series)?;
        if stages.iter().any(|known| known == stage) {
            return Ok(None);
        }
        Ok(Some(if !stages.is_empty() {
            Self::Stage(stages)
        } else if store.has_snapshots()? {
            Self::Series
        } else {
            Self::Store
        }))
    }
}

/// Packages of the last snapshot of a stage.
pub(super) struct PackagesBefore {
    snapshot_id: i64,
    count: u64,
}

impl PackagesBefore {
    /// Fails if the row of the last snapshot is damaged.
    pub(super) fn find(store: &Store, series: &str, stage: &str) -> Result<Option<Self>> {
        let last = store.latest_of_stage(series, stage)?;
        let Some((set, snapshot_id)) = last.and_then(|one| Some((one.package_set_id?, one.id)))
        else {
            return Ok(None);
        };
        let count = store.packages_len(set)?;
        Ok(Some(Self { snapshot_id, count }))
    }

    /// Returns a warning, by the number of packages found in the root.
    pub(super) fn warning(&self, root: &Path, found: Option<u64>) -> Option<String> {
        let Self { snapshot_id, count } = self;
        let is_lost = found.unwrap_or(0) == 0 && *count > 0;
        is_lost.then(|| {
            let root = crate::error::show(root);
            format!("no packages were found in {root}, and {count} in snapshot {snapshot_id}")
        })
    }
}

/// Fails with [`Error::MockDirectory`] if the root is a directory of Mock's above the real `root`. With the profile
/// `plain`, any directory will do.
pub(super) fn refuse_mock_directory(root: &Root, profile: Option<Profile>) -> Result<()> {
    const OF_A_ROOT: [&str; 3] = ["usr", "etc", "var"];
    let has = |directory: &Path| OF_A_ROOT.iter().any(|name| directory.join(name).is_dir());
    let path = root.path();
    let meant = path.join("root");
    let is_meant = profile != Some(Profile::Plain) && !has(path) && has(&meant);
    if is_meant {
        let path = path.to_owned();
        return Err(Error::MockDirectory { path, root: meant });
    }
    Ok(())
}
