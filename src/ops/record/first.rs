//! Surprises of a new snapshot: a new store, series or stage, and a root without the packages of the last time.

use crate::error::{Error, Result, show};
use crate::fs::root::Root;
use crate::model::policy::Profile;
use crate::store::Store;
use std::path::{Path, PathBuf};

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
    package_set_id: i64,
}

impl PackagesBefore {
    /// Fails if the row of the last snapshot is damaged.
    pub(super) fn find(store: &Store, series: &str, stage: &str) -> Result<Option<Self>> {
        let last = store.latest_of_stage(series, stage)?;
        Ok(last.and_then(|last| {
            Some(Self {
                snapshot_id: last.id,
                package_set_id: last.package_set_id?,
            })
        }))
    }

    /// Returns a warning for a root without packages, if there were some. Fails if the packages before cannot be counted.
    pub(super) fn warning(&self, store: &Store, root: &Path) -> Result<Option<String>> {
        let count = store.packages_len(self.package_set_id)?;
        let (root, before) = (show(root), self.snapshot_id);
        let text = || format!("no packages were found in {root}, and {count} in snapshot {before}");
        Ok((count > 0).then(text))
    }
}

/// Fails with [`Error::MockDirectory`] if the root is a directory of Mock's above the real `root`, or that of all chroots. With the
/// profile `plain`, any directory will do.
pub(super) fn refuse_mock_directory(root: &Root, profile: Option<Profile>) -> Result<()> {
    let path = root.path();
    if profile == Some(Profile::Plain) || is_root(path) {
        return Ok(());
    }
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> = below.map(|entry| entry.path().join("root")).collect();
    below.sort();
    let mut chroots = std::iter::once(path.join("root")).chain(below);
    match chroots.find(|chroot| is_root(chroot)) {
        Some(root) => Err(Error::MockDirectory {
            path: path.to_owned(),
            root,
        }),
        None => Ok(()),
    }
}

/// Tells whether a directory has what a root of a system has.
fn is_root(directory: &Path) -> bool {
    ["usr", "etc", "var"]
        .iter()
        .any(|name| directory.join(name).is_dir())
}
