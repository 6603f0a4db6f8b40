//! Pins of snapshots, and names of series.

use crate::error::Result;
use crate::model::names::{SnapshotRef, check_series};
use crate::ops::store_index::update_index;
use crate::store::{Snapshot, Store};
use std::path::Path;

/// Pins snapshots, or takes the pin from them, all or none, and returns each once, as it is now, the newest first. Fails with
/// [`Error::UnknownSnapshot`](crate::error::Error::UnknownSnapshot) without one of them, and if a row is not as recorded.
pub(crate) fn pin(
    store_path: &Path,
    names: &[SnapshotRef],
    is_pinned: bool,
) -> Result<Vec<Snapshot>> {
    let mut store = Store::open_to_change(store_path)?;
    let snapshots = named(&store, names)?;
    let ids: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    store.pin(&ids, is_pinned)?;
    update_index(&store)?;
    let ids = ids.into_iter().map(SnapshotRef::Id);
    ids.map(|id| store.find(&id)).collect()
}

/// Gives a series another name, and returns the number of its snapshots. Fails with [`Error::BadName`](crate::error::Error::BadName) for a
/// name that no series has, with [`Error::SeriesExists`](crate::error::Error::SeriesExists) for one that another has, and if a row is not
/// as recorded.
pub(crate) fn rename(store_path: &Path, series: &str, new: &str) -> Result<usize> {
    check_series(new)?;
    let mut store = Store::open_to_change(store_path)?;
    let count = store.rename_series(series, new)?;
    update_index(&store)?;
    Ok(count)
}

/// Returns the named snapshots, each once, the newest first. Fails without one of them: a name may mean another snapshot once
/// others are gone, so all are found before anything changes.
pub(super) fn named(store: &Store, names: &[SnapshotRef]) -> Result<Vec<Snapshot>> {
    let found = names.iter().map(|name| store.find(name));
    let mut found = found.collect::<Result<Vec<Snapshot>>>()?;
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.id));
    found.dedup_by_key(|snapshot| snapshot.id);
    Ok(found)
}
