//! A snapshot and its entries, as recorded.

use crate::error::{Error, Result};
use crate::model::digest::TreeDigest;
use crate::model::names::{SnapshotRef, image_name};
use crate::model::packages::owners::Installed;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::query::records::layer_ids;
use crate::ops::root_view::recorded::{tree_digest_of, tree_of};
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::path::Path;

/// All records of a snapshot but the entries.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// The packages, sorted, without their files; `None` for unknown packages.
    pub packages: Option<Vec<Installed>>,
    /// The digest of the tree.
    pub tree_digest: TreeDigest,
    /// The number of layers that only a registry has, and the bytes of their blobs.
    pub remote: (u64, u64),
    /// The policy's canonical form.
    pub policy: String,
    /// The name in the store's layout; `None` if a newer snapshot of the series and stage has the name.
    pub image_name: Option<String>,
}

/// Returns a snapshot. Fails with [`Error::UnknownSnapshot`] without such a snapshot, and if a row is not as recorded.
pub fn show(store_path: &Path, reference: &SnapshotRef) -> Result<Shown> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let newest = store.find(&SnapshotRef::Latest {
        series: snapshot.series.clone(),
        stage: Some(snapshot.stage.clone()),
        at: None,
        back: 0,
    })?;
    let is_named = newest.manifest == snapshot.manifest;
    let image_name = is_named.then(|| {
        let Snapshot { series, stage, .. } = &snapshot;
        image_name(series, stage)
    });
    let layers = store.layers(snapshot.id)?;
    Ok(Shown {
        remote: store.remote_of(layers.iter())?,
        tree_digest: tree_digest_of(&store, &snapshot)?,
        layers,
        packages: snapshot
            .package_set_id
            .map(|set| store.described_packages(set))
            .transpose()?,
        policy: store.policy(&snapshot.policy_key)?,
        image_name,
        snapshot,
    })
}

/// Returns the entries of a snapshot at `path` and beneath, in path order, and the snapshot's number. Fails with
/// [`Error::UnknownPath`] if the snapshot has nothing there.
pub fn ls(
    store_path: &Path,
    reference: &SnapshotRef,
    path: &EntryPath,
) -> Result<(i64, Vec<Entry>)> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let ids = layer_ids(&store, &snapshot)?;
    let mut entries = tree_of(&store, &ids)?.into_entries();
    entries.retain(|entry| {
        let at = &entry.path;
        at == path || at.is_beneath(path)
    });
    if entries.is_empty() {
        return Err(Error::UnknownPath {
            path: path.to_string(),
            snapshot: snapshot.id,
        });
    }
    Ok((snapshot.id, entries))
}
