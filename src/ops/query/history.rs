//! The history of a path or of a package, from snapshot to snapshot of each stage.

use crate::error::Result;
use crate::model::packages::package::Package;
use crate::model::tree::compare::{Aspects, aspects};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::query::filter::Filter;
use crate::ops::query::log::predecessors;
use crate::ops::query::package_pattern::PackagePattern;
use crate::ops::query::visible::visible;
use crate::store::{Snapshot, Store};
use std::collections::HashMap;
use std::path::Path;

/// A change of the path or the package.
#[derive(Clone, Debug)]
pub(crate) struct Turn<T> {
    /// The snapshot with the new state.
    pub snapshot: Snapshot,
    /// The state in the snapshot before of the stage.
    pub was: T,
    /// The new state.
    pub is: T,
}

/// Returns the changes of a path in the snapshots that the filter leaves, the newest first. Fails with
/// [`crate::error::Error::UnknownSeries`] without a series asked for, and if a row is not as recorded.
pub(crate) fn of_path(
    store_path: &Path,
    filter: &Filter,
    path: &EntryPath,
) -> Result<Vec<Turn<Option<Entry>>>> {
    let store = Store::open(store_path)?;
    let all = store.snapshots(None)?;
    let found = visible(&store, &all, store.matches(|one| one == path)?)?;
    let mut there: HashMap<i64, Entry> = HashMap::new();
    for one in found {
        let ids = one.snapshots.iter().map(|place| all[*place].id);
        there.extend(ids.map(|id| (id, one.thing.clone())));
    }
    let is_same = |was: &Option<Entry>, is: &Option<Entry>| match (was, is) {
        (Some(was), Some(is)) => was.same_but_group(is),
        (was, is) => was.is_none() && is.is_none(),
    };
    let state = |snapshot: &Snapshot| Ok(there.get(&snapshot.id).cloned());
    turns((&store, &all), filter, state, is_same)
}

/// Returns what differs between the states of a path; all, where it came or went.
pub(crate) fn what_differs(turn: &Turn<Option<Entry>>) -> Option<Aspects> {
    let both = turn.was.as_ref().zip(turn.is.as_ref());
    both.map(|(was, is)| aspects(was, is))
}

/// Returns the changes of the packages with a name, or of those that match a glob, likewise. Fails with
/// [`crate::error::Error::BadGlob`] for a bad glob, and as [`of_path`] does.
pub(crate) fn of_package(
    store_path: &Path,
    filter: &Filter,
    name: &str,
) -> Result<Vec<Turn<Vec<Package>>>> {
    let pattern = PackagePattern::new(name)?;
    let store = Store::open(store_path)?;
    let packages = |snapshot: &Snapshot| match snapshot.package_set_id {
        Some(set) => pattern.packages(&store, set),
        None => Ok(Vec::new()),
    };
    let all = store.snapshots(None)?;
    turns((&store, &all), filter, packages, PartialEq::eq)
}

/// Returns the snapshots in which something is otherwise than in the one before of the stage; what was never there has no turn.
fn turns<T: Default + Clone>(
    (store, all): (&Store, &[Snapshot]),
    filter: &Filter,
    state: impl Fn(&Snapshot) -> Result<T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Result<Vec<Turn<T>>> {
    let before = predecessors(all);
    let mut known: HashMap<i64, T> = HashMap::new();
    let mut turns = Vec::new();
    for snapshot in filter.of(store, all)? {
        let older = before.get(&snapshot.id).copied();
        let was = older.map(&state).transpose()?.unwrap_or_default();
        let is = match known.remove(&snapshot.id) {
            Some(is) => is,
            None => state(&snapshot)?,
        };
        if let Some(older) = older {
            known.insert(older.id, was.clone());
        }
        if !is_same(&was, &is) {
            turns.push(Turn { snapshot, was, is });
        }
    }
    Ok(turns)
}
