//! The owners and the layer of a path of a snapshot, and since when the entry is unchanged.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::packages::owners::{Owners, deviations};
use crate::model::packages::package::Package;

use crate::model::tree::compare::{Aspects, aspects};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::query::recorded_path::entry_of;
use crate::ops::query::records::{layer_ids, times};
use crate::ops::root_view::recorded::tree_of;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::path::Path;

/// The knowledge about a path.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The entry.
    pub entry: Entry,
    /// The packages that own the path, bringers first.
    pub owners: Vec<OwnedBy>,
    /// Whether file lists of packages are recorded.
    pub owners_are_known: bool,
    /// The layer with the entry.
    pub layer: LayerUse,
    /// The earliest snapshot of series and stage since which the entry is unchanged.
    pub since: Snapshot,
    /// The state in the snapshot before; `None` without a snapshot before.
    pub before: Option<Before>,
}

/// The state of a path in the snapshot before.
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
    pub package: Package,
    /// Whether the path is a configuration file of the package.
    pub is_config: bool,
    /// Whether the package does not bring the path, but owns the path once there.
    pub is_ghost: bool,
    /// The differences from the package's file, as far as the records tell.
    pub deviations: Aspects,
}

/// Finds out about `path` in a snapshot. Fails with [`Error::UnknownPath`](crate::error::Error::UnknownPath) without
/// an entry there, and if a row is not as recorded.
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
    let are_known = installed.iter().any(|package| package.files.is_some());
    let tree = tree_of(store, &layer_ids(store, snapshot)?)?;
    let times = times(store, snapshot)?;
    let owners = Owners::new(&installed, tree.entries().iter());
    let found = owners.of(&[&entry.path]);
    let owned = found.into_iter().flatten().map(|owner| OwnedBy {
        package: installed[owner.package].package.clone(),
        is_config: owner.file.is_config(),
        is_ghost: owner.file.is_ghost(),
        deviations: deviations(entry, &owner.file, times),
    });
    Ok((owned.collect(), are_known))
}

/// Goes back through the snapshots of the stage, up to a snapshot with another entry.
fn since(store: &Store, snapshot: &Snapshot, entry: &Entry) -> Result<(Snapshot, Option<Before>)> {
    let mut since = snapshot.clone();
    let all = store.snapshots(Some(&snapshot.series))?; // the newest first
    let of_stage = all
        .into_iter()
        .filter(|one| one.stage == snapshot.stage && one.id < snapshot.id);
    for earlier in of_stage {
        let ids = layer_ids(store, &earlier)?;
        let Some((_, was)) = store.entry_at(&ids, &entry.path)? else {
            return Ok((since, Some(Before::Nothing)));
        };
        if !was.same_but_group(entry) {
            let what = aspects(&was, entry);
            return Ok((since, Some(Before::Another(what))));
        }
        since = earlier;
    }
    Ok((since, None))
}
