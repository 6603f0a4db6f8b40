//! Whose a path of a snapshot is, which layer gives it, and since when it is as it is.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::packages::owners::{Owners, Times, deviations};
use crate::model::packages::package::Package;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::tree::compare::{Aspects, aspects};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::query::recorded_path::entry_of;
use crate::ops::root_view::recorded::tree_of;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::path::Path;

/// What is known of a path.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    /// The snapshot.
    pub(crate) snapshot: Snapshot,
    /// The entry.
    pub(crate) entry: Entry,
    /// The packages that own it, those that brought it first.
    pub(crate) owners: Vec<OwnedBy>,
    /// Whether it is recorded who owns what.
    pub(crate) owners_are_known: bool,
    /// The layer that gives it.
    pub(crate) layer: LayerUse,
    /// The earliest of the series' snapshots of this stage since which it is as it is.
    pub(crate) since: Snapshot,
    /// Whether the one before that has it, but otherwise; `None` where there is none before.
    pub(crate) before: Option<Before>,
}

/// What the snapshot before had at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// Something else.
    Another(Aspects),
}

/// A package that owns a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedBy {
    /// The package.
    pub(crate) package: Package,
    /// Whether it is a configuration file.
    pub(crate) is_config: bool,
    /// Whether the package does not bring it, but owns it where it comes to be.
    pub(crate) is_ghost: bool,
    /// In what it is not as the package has it, as far as the records tell.
    pub(crate) deviations: Aspects,
}

/// Finds out about `path` in a snapshot. Fails where it is not there.
pub(crate) fn which(store_path: &Path, reference: &SnapshotRef, path: &EntryPath) -> Result<Which> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let found = entry_of(&store, &snapshot, path)?;
    let (owners, owners_are_known) = owners(&store, &snapshot, &found.entry)?;
    let (since, before) = since(&store, &snapshot, &found.entry)?;
    Ok(Which {
        snapshot,
        entry: found.entry,
        owners,
        owners_are_known,
        layer: found.layer,
        since,
        before,
    })
}

fn owners(store: &Store, snapshot: &Snapshot, entry: &Entry) -> Result<(Vec<OwnedBy>, bool)> {
    let Some(set) = snapshot.package_set_id else {
        return Ok((Vec::new(), false));
    };
    let installed = store.installed(set, &mut FileLists::default())?;
    let are_known = installed.iter().any(|one| one.files.is_some());
    let ids: Vec<i64> = store
        .layers(snapshot.id)?
        .iter()
        .map(|layer| layer.layer.id)
        .collect();
    let tree = tree_of(store, &ids)?;
    let policy = Policy::from_canonical(&store.policy(&snapshot.policy_key)?);
    let times = match policy {
        Some(policy) if policy.mtime != MtimeRule::Fixed => Times::Kept,
        _ => Times::Lost,
    };
    let found = Owners::new(&installed, tree.entries().iter()).of(&[&entry.path]);
    let owned = found.into_iter().flatten().map(|owner| OwnedBy {
        package: installed[owner.package].package.clone(),
        is_config: owner.file.is_config(),
        is_ghost: owner.file.is_ghost(),
        deviations: deviations(entry, &owner.file, times),
    });
    Ok((owned.collect(), are_known))
}

/// Goes back through the snapshots of the stage until one does not have the entry as it is.
fn since(store: &Store, snapshot: &Snapshot, entry: &Entry) -> Result<(Snapshot, Option<Before>)> {
    let mut since = snapshot.clone();
    let all = store.snapshots(Some(&snapshot.series))?; // the newest first
    for earlier in all
        .into_iter()
        .filter(|one| one.stage == snapshot.stage && one.id < snapshot.id)
    {
        let ids: Vec<i64> = store
            .layers(earlier.id)?
            .iter()
            .map(|layer| layer.layer.id)
            .collect();
        match store.entry_at(&ids, &entry.path)? {
            Some((_, was)) if was.same_but_group(entry) => since = earlier,
            Some((_, was)) => return Ok((since, Some(Before::Another(aspects(&was, entry))))),
            None => return Ok((since, Some(Before::Nothing))),
        }
    }
    Ok((since, None))
}
