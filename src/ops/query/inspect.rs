//! Reads what is recorded.

use crate::error::{Error, Result};
use crate::model::names::{SnapshotRef, image_name};
use crate::model::packages::package::Package;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::recorded::tree_of;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::path::Path;

/// A snapshot with its layers.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerUse>,
}

/// Returns the snapshots of a store, or of one series, the newest first.
pub fn log(store_path: &Path, series: Option<&str>) -> Result<Vec<Logged>> {
    let store = Store::open(store_path)?;
    let snapshots = store.snapshots(series)?.into_iter();
    snapshots
        .map(|snapshot| {
            Ok(Logged {
                layers: store.layers(snapshot.id)?,
                snapshot,
            })
        })
        .collect()
}

/// All that is known of one snapshot but its entries.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// Its packages, sorted; `None` where they are unknown.
    pub packages: Option<Vec<Package>>,
    /// Its policy's canonical form.
    pub policy: String,
    /// Its name in the store's layout; `None` where a newer snapshot of its series and stage has that.
    pub image_name: Option<String>,
}

/// Returns one snapshot.
pub fn show(store_path: &Path, reference: &SnapshotRef) -> Result<Shown> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let (series, stage) = (snapshot.series.clone(), Some(snapshot.stage.clone()));
    let newest = store.find(&SnapshotRef::Latest {
        series,
        stage,
        back: 0,
    })?;
    let is_named = newest.manifest == snapshot.manifest;
    Ok(Shown {
        layers: store.layers(snapshot.id)?,
        packages: snapshot
            .package_set_id
            .map(|set| store.packages(set))
            .transpose()?,
        policy: store.policy(&snapshot.policy_key)?,
        image_name: is_named.then(|| image_name(&snapshot.series, &snapshot.stage)),
        snapshot,
    })
}

/// Returns the entries of a snapshot at `path` and beneath it, in path order, and the snapshot's number. Fails where
/// `path` is not in it.
pub fn ls(
    store_path: &Path,
    reference: &SnapshotRef,
    path: &EntryPath,
) -> Result<(i64, Vec<Entry>)> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let layers = store.layers(snapshot.id)?;
    let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
    let mut entries = tree_of(&store, &ids)?.into_entries();
    entries.retain(|entry| entry.path == *path || entry.path.is_beneath(path));
    if entries.is_empty() {
        return Err(Error::UnknownPath {
            path: path.to_string(),
            snapshot: snapshot.id,
        });
    }
    Ok((snapshot.id, entries))
}
