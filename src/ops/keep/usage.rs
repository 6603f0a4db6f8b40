//! The space of a store: by stage, by series, by layer, and the unneeded rest.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::plan::layer::Role;
use crate::model::plan::{PriorLayers, Weight, weigh};
use crate::ops::layers::{inherited_len, known_of, own_layers};
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The space of a store. All lengths are bytes of files in the store.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Each stage of each series, in the order of names and first snapshots.
    pub(crate) stages: Vec<StageUsage>,
    /// Each series, in the order of names.
    pub(crate) series: Vec<SeriesUsage>,
    /// Each layer, the largest first.
    pub(crate) layers: Vec<LayerUsage>,
    /// Number and bytes of all blobs.
    pub(crate) blobs: (u64, u64),
    /// Number and bytes of blobs that no snapshot needs.
    pub(crate) dead: (u64, u64),
    /// The length of the database with its log.
    pub(crate) database_bytes: u64,
    /// The unused part of the database.
    pub(crate) database_free_bytes: u64,
}

/// The space of a stage.
#[derive(Clone, Debug)]
pub(crate) struct StageUsage {
    /// The series.
    pub(crate) series: String,
    /// The stage.
    pub(crate) stage: String,
    /// The number of snapshots.
    pub(crate) snapshots: u64,
    /// Bytes of the snapshots' blobs, each counted once.
    pub(crate) size_bytes: u64,
    /// Bytes of blobs that no other stage has: the gain of removing the stage.
    pub(crate) unique_bytes: u64,
    /// Layers of the newest.
    pub(crate) layers: u64,
    /// The weight of the newest snapshot beside its own base or delta; `None` without such a layer.
    pub(crate) weight: Option<Weight>,
}

/// The space of a series.
#[derive(Clone, Debug)]
pub(crate) struct SeriesUsage {
    /// The series.
    pub(crate) series: String,
    /// The number of stages.
    pub(crate) stages: u64,
    /// The number of snapshots.
    pub(crate) snapshots: u64,
    /// Bytes of the snapshots' blobs, each counted once.
    pub(crate) size_bytes: u64,
    /// Bytes of blobs that no other series has: the gain of removing the series.
    pub(crate) unique_bytes: u64,
}

/// The space of a form of a layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerUsage {
    /// The layer, as in the first snapshot.
    pub(crate) layer: LayerUse,
    /// Series and stage of the first snapshot.
    pub(crate) of: (String, String),
    /// The snapshots with the layer: number, first and last.
    pub(crate) snapshots: (u64, i64, i64),
}

/// Finds the space of the store at `store_path`, or of a series; dead blobs are always those of the whole store. Fails
/// with [`Error::UnknownSeries`](crate::error::Error::UnknownSeries) without such a series, and if a row is not as
/// recorded.
pub(crate) fn usage(store_path: &Path, series: Option<&str>) -> Result<Usage> {
    let store = Store::open(store_path)?;
    let all = store.snapshots(None)?;
    let chosen = store.snapshots(series)?;
    let mut users: Users = HashMap::new();
    for snapshot in &all {
        for digest in store.needed_by(std::slice::from_ref(snapshot))?.into_keys() {
            users
                .entry(digest)
                .or_default()
                .insert((snapshot.series.clone(), snapshot.stage.clone()));
        }
    }
    let dead = store.dead_blobs(&store.needed_by(&all)?)?;
    let files = store.blob_files()?;
    let (database_bytes, database_free_bytes) = store.database_bytes()?;
    let sum = |blobs: &[crate::store::BlobRef]| {
        (
            blobs.len() as u64,
            blobs.iter().map(|blob| blob.size_bytes).sum::<u64>(),
        )
    };
    Ok(Usage {
        stages: stages(&store, &chosen, &users)?,
        series: of_series(&store, &chosen, &users)?,
        layers: layers(&store, &chosen)?,
        blobs: sum(&files),
        dead: sum(&dead),
        database_bytes,
        database_free_bytes,
    })
}

/// The stages of a blob, with their series.
type Users = HashMap<Digest, BTreeSet<(String, String)>>;

fn of_series(store: &Store, snapshots: &[Snapshot], users: &Users) -> Result<Vec<SeriesUsage>> {
    let mut all: BTreeMap<&str, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        all.entry(&snapshot.series)
            .or_default()
            .push(snapshot.clone());
    }
    let usage = |(series, snapshots): (&str, Vec<Snapshot>)| {
        let needed = store.needed_by(&snapshots)?;
        let is_unique = |digest: &Digest| {
            users
                .get(digest)
                .is_some_and(|users| users.iter().all(|user| user.0 == series))
        };
        let unique = needed.iter().filter(|(digest, _)| is_unique(digest));
        let stages: BTreeSet<&str> = snapshots
            .iter()
            .map(|snapshot| snapshot.stage.as_str())
            .collect();
        Ok(SeriesUsage {
            series: series.to_owned(),
            stages: stages.len() as u64,
            snapshots: snapshots.len() as u64,
            size_bytes: needed.values().sum(),
            unique_bytes: unique.map(|(_, bytes)| bytes).sum(),
        })
    };
    all.into_iter().map(usage).collect()
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
    for ((series, stage), snapshots) in of_stage {
        let needed = store.needed_by(&snapshots)?;
        let is_unique = |digest: &Digest| users.get(digest).is_some_and(|users| users.len() == 1);
        let unique = needed.iter().filter(|(digest, _)| is_unique(digest));
        let layers = store.layers(snapshots[0].id)?; // the newest comes first
        let first = snapshots
            .iter()
            .map(|snapshot| snapshot.id)
            .min()
            .unwrap_or_default();
        let usage = StageUsage {
            series: series.to_owned(),
            stage: stage.to_owned(),
            snapshots: snapshots.len() as u64,
            size_bytes: needed.values().sum(),
            unique_bytes: unique.map(|(_, bytes)| bytes).sum(),
            layers: layers.len() as u64,
            weight: weight(store, &layers)?,
        };
        stages.push((series.to_owned(), first, usage));
    }
    stages.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(stages.into_iter().map(|(_, _, usage)| usage).collect())
}

/// Weighs a snapshot's own layers.
fn weight(store: &Store, layers: &[LayerUse]) -> Result<Option<Weight>> {
    let inherited = known_of(store, &layers[..inherited_len(layers)])?;
    let own = known_of(store, &own_layers(layers.to_vec()))?;
    let below = PriorLayers::new(inherited, own);
    let mut overlay = below.overlay();
    // An imported snapshot without its stage before has more layers.
    let more = layers.iter().skip(below.layers().count());
    let more = more.filter(|layer| layer.role != Role::State);
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
