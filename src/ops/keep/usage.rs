//! The space of a store: by stage, by series, by layer, by package, and the unneeded rest.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::plan::layer::Role;
use crate::model::plan::{PriorLayers, Weight, weigh};
use crate::ops::keep::package_usage::{PackageUsage, package_usage};
use crate::ops::layers::{Stack, known_of};
use crate::store::BlobRef;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The space of a store. All lengths are bytes of files in the store.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Each stage of each series, in the order of names and first snapshots.
    pub stages: Vec<StageUsage>,
    /// Each series, in the order of names.
    pub series: Vec<SeriesUsage>,
    /// The number of all these snapshots, and the bytes of their blobs, each counted once.
    pub total: (u64, u64),
    /// Each layer, the largest first.
    pub layers: Vec<LayerUsage>,
    /// Each package with layers of its own, the largest first.
    pub packages: Vec<PackageUsage>,
    /// Number and bytes of all blobs.
    pub blobs: (u64, u64),
    /// Number and bytes of the blobs of joined layers.
    pub joined: (u64, u64),
    /// Number and bytes of the layers that only a registry has.
    pub remote: (u64, u64),
    /// Number and bytes of blobs that may go.
    pub dead: (u64, u64),
    /// The length of the database and of the log.
    pub database_bytes: u64,
    /// The unused part of the database.
    pub database_free_bytes: u64,
}

/// The space of a stage.
#[derive(Clone, Debug)]
pub(crate) struct StageUsage {
    /// The series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The number of snapshots.
    pub snapshots: u64,
    /// Bytes of the snapshots' blobs, each counted once.
    pub size_bytes: u64,
    /// Bytes of blobs that no other stage has: the gain of removing the stage.
    pub unique_bytes: u64,
    /// The number of layers of the newest snapshot.
    pub layers: u64,
    /// The weight of the newest snapshot beside its own base or delta; `None` without such a layer.
    pub weight: Option<Weight>,
}

/// The space of a series.
#[derive(Clone, Debug)]
pub(crate) struct SeriesUsage {
    /// The series.
    pub series: String,
    /// The number of stages.
    pub stages: u64,
    /// The number of snapshots.
    pub snapshots: u64,
    /// Bytes of the snapshots' blobs, each counted once.
    pub size_bytes: u64,
    /// Bytes of blobs that no other series has: the gain of removing the series.
    pub unique_bytes: u64,
}

/// The space of a form of a layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerUsage {
    /// The layer, as in the first snapshot.
    pub layer: LayerUse,
    /// Series and stage of the first snapshot.
    pub of: (String, String),
    /// The snapshots with the layer: number, first and last.
    pub snapshots: (u64, i64, i64),
}

/// Finds the space of the store at `store_path`, or of a series; dead blobs are always those of the whole store. Fails
/// with [`Error::UnknownSeries`](crate::error::Error::UnknownSeries) without such a series, and if a row is not as
/// recorded.
pub(crate) fn usage(store_path: &Path, series: Option<&str>) -> Result<Usage> {
    let store = Store::open(store_path)?;
    let all = store.snapshots(None)?;
    let chosen = store.snapshots(series)?;
    let users = users(&store, &all)?;
    let dead = store.dead_blobs(&store.kept_for(&all)?)?;
    let files = store.blob_files()?;
    let (database_bytes, database_free_bytes) = store.database_bytes()?;
    let uses = chosen.iter().map(|one| store.layers(one.id));
    let uses: Vec<Vec<LayerUse>> = uses.collect::<Result<_>>()?;
    Ok(Usage {
        total: (
            chosen.len() as u64,
            store.needed_by(&chosen)?.values().sum(),
        ),
        stages: stages(&store, &chosen, &users)?,
        series: of_series(&store, &chosen, &users)?,
        layers: layers(&store, &chosen)?,
        packages: package_usage(&store, &all, series)?,
        blobs: count_and_bytes(&files),
        joined: joined(&store)?,
        remote: store.remote_of(uses.iter().flatten())?,
        dead: count_and_bytes(&dead),
        database_bytes,
        database_free_bytes,
    })
}

/// Counts the blobs of joined layers that no snapshot has.
fn joined(store: &Store) -> Result<(u64, u64)> {
    let needed = store.needed_by(&store.snapshots(None)?)?;
    let mut blobs = BTreeMap::new();
    for joined in store.all_joined()? {
        let blob = joined.blob.as_ref();
        if !needed.contains_key(&blob.digest) {
            blobs.insert(blob.digest, blob.size_bytes);
        }
    }
    Ok((blobs.len() as u64, blobs.values().sum()))
}

fn count_and_bytes(blobs: &[BlobRef]) -> (u64, u64) {
    let bytes = blobs.iter().map(|blob| blob.size_bytes).sum();
    (blobs.len() as u64, bytes)
}

/// Stages, each after the series.
type Stages = BTreeSet<(String, String)>;

/// The stages that need a blob.
type Users = HashMap<Digest, Stages>;

fn users(store: &Store, snapshots: &[Snapshot]) -> Result<Users> {
    let mut users = Users::new();
    for snapshot in snapshots {
        let only = std::slice::from_ref(snapshot);
        let needed = store.needed_by(only)?;
        for digest in needed.into_keys() {
            let stage = (snapshot.series.clone(), snapshot.stage.clone());
            users.entry(digest).or_default().insert(stage);
        }
    }
    Ok(users)
}

fn of_series(store: &Store, snapshots: &[Snapshot], users: &Users) -> Result<Vec<SeriesUsage>> {
    let mut all: BTreeMap<&str, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        all.entry(&snapshot.series)
            .or_default()
            .push(snapshot.clone());
    }
    let mut usages = Vec::new();
    for (series, snapshots) in all {
        usages.push(series_usage(store, series, &snapshots, users)?);
    }
    Ok(usages)
}

fn series_usage(
    store: &Store,
    series: &str,
    snapshots: &[Snapshot],
    users: &Users,
) -> Result<SeriesUsage> {
    let needed = store.needed_by(snapshots)?;
    let unique_bytes = bytes_used_by(&needed, users, |users| {
        users.iter().all(|(other, _)| other == series)
    });
    let stages: BTreeSet<&str> = snapshots
        .iter()
        .map(|snapshot| snapshot.stage.as_str())
        .collect();
    Ok(SeriesUsage {
        series: series.to_owned(),
        stages: stages.len() as u64,
        snapshots: snapshots.len() as u64,
        size_bytes: needed.values().sum(),
        unique_bytes,
    })
}

/// Sums the bytes of needed blobs whose stages are as `is_meant` says.
fn bytes_used_by(
    needed: &HashMap<Digest, u64>,
    users: &Users,
    is_meant: impl Fn(&Stages) -> bool,
) -> u64 {
    let mut bytes = 0;
    for (digest, size_bytes) in needed {
        if users.get(digest).is_some_and(&is_meant) {
            bytes += size_bytes;
        }
    }
    bytes
}

fn stages(store: &Store, snapshots: &[Snapshot], users: &Users) -> Result<Vec<StageUsage>> {
    let mut of_stage: BTreeMap<(&str, &str), Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        of_stage
            .entry((&snapshot.series, &snapshot.stage))
            .or_default()
            .push(snapshot.clone());
    }
    let mut stages = Vec::new();
    for snapshots in of_stage.into_values() {
        let ids = snapshots.iter().map(|snapshot| snapshot.id);
        let first = ids.min();
        let usage = stage_usage(store, &snapshots, users)?;
        stages.push((first, usage));
    }
    stages.sort_by(|(first_a, a), (first_b, b)| {
        let by_series = a.series.cmp(&b.series);
        by_series.then(first_a.cmp(first_b))
    });
    Ok(stages.into_iter().map(|(_, usage)| usage).collect())
}

/// Finds the space of a stage; `snapshots` are all of the stage, the newest first.
fn stage_usage(store: &Store, snapshots: &[Snapshot], users: &Users) -> Result<StageUsage> {
    let newest = &snapshots[0];
    let needed = store.needed_by(snapshots)?;
    let layers = store.layers(newest.id)?;
    Ok(StageUsage {
        series: newest.series.clone(),
        stage: newest.stage.clone(),
        snapshots: snapshots.len() as u64,
        size_bytes: needed.values().sum(),
        unique_bytes: bytes_used_by(&needed, users, |users| users.len() == 1),
        layers: layers.len() as u64,
        weight: weight(store, &layers)?,
    })
}

/// Weighs a snapshot's own layers.
fn weight(store: &Store, layers: &[LayerUse]) -> Result<Option<Weight>> {
    let stack = Stack::of(layers.to_vec());
    let below = PriorLayers::new(
        known_of(store, &stack.inherited)?,
        known_of(store, &stack.own)?,
    );
    let mut overlay = below.overlay();
    // An imported snapshot without its stage before has more layers.
    let of_remainder = |layer: &&LayerUse| !matches!(layer.role, Role::State | Role::Package);
    let more = layers
        .iter()
        .filter(of_remainder)
        .skip(below.layers().count());
    let more: Vec<i64> = more.map(|layer| layer.layer.id).collect();
    store.apply_all(&more, &mut overlay)?;
    Ok(weigh(&below, &overlay.into_tree()))
}

fn layers(store: &Store, snapshots: &[Snapshot]) -> Result<Vec<LayerUsage>> {
    let mut of_blob: BTreeMap<(i64, Digest), LayerUsage> = BTreeMap::new();
    for snapshot in snapshots.iter().rev() {
        for layer in store.layers(snapshot.id)? {
            let usage = of_blob
                .entry((layer.layer.id, layer.blob.digest))
                .or_insert_with(|| LayerUsage {
                    layer,
                    of: (snapshot.series.clone(), snapshot.stage.clone()),
                    snapshots: (0, snapshot.id, snapshot.id),
                });
            usage.snapshots.0 += 1;
            usage.snapshots.2 = snapshot.id;
        }
    }
    let mut all: Vec<LayerUsage> = of_blob.into_values().collect();
    all.sort_by_key(|usage| {
        (
            std::cmp::Reverse(usage.layer.blob.size_bytes),
            usage.layer.layer.id,
        )
    });
    Ok(all)
}
