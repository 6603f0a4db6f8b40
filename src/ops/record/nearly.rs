//! A series nearly equal to the first snapshot of another series: a parent that would spare most new layers.

use crate::error::Result;
use crate::model::plan::layer::Role;
use crate::model::tree::entry::Entry;
use crate::ops::root_view::recorded::tree_of;
use crate::store::{LayerUse, Snapshot, Store};

/// Fewer new bytes are not worth a word.
const LEAST_BYTES: u64 = 1 << 20;
/// The least share of new content in the other series, in percent.
const LEAST_PERCENT: u64 = 90;
/// A tree is loaded for each candidate.
const MOST_CANDIDATES: usize = 8;

/// A better parent for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearly {
    /// The parent's series.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// About how many bytes of layers would not have been new.
    pub spared_bytes: u64,
}

/// Finds the series with most of the new content of a first snapshot. `is_alike` tells whether a snapshot was recorded
/// under the same policy and rule. Fails if the rows of a layer do not give the key.
pub(super) fn find(
    store: &Store,
    snapshot: &Snapshot,
    layers: &[LayerUse],
    is_alike: impl Fn(&Snapshot) -> bool,
) -> Result<Option<Nearly>> {
    let new = layers
        .iter()
        .filter(|layer| !layer.reused && layer.role != Role::State);
    let new: Vec<&LayerUse> = new.collect();
    let new_bytes: u64 = new.iter().map(|layer| layer.blob.size_bytes).sum();
    if new_bytes < LEAST_BYTES {
        return Ok(None);
    }
    let mut items = Vec::new();
    for layer in new {
        items.extend(store.items(layer.layer.id)?);
    }
    let entries: Vec<&Entry> = items.iter().filter_map(|item| item.entry()).collect();
    let all = weight(entries.iter().copied());
    let mut best: Option<(u64, Snapshot)> = None;
    for candidate in candidates(store, snapshot, is_alike)? {
        let below = store.layers(candidate.id)?;
        let below = below.iter().filter(|layer| layer.role != Role::State);
        let tree = tree_of(
            store,
            &below.map(|layer| layer.layer.id).collect::<Vec<_>>(),
        )?;
        let is_same = |entry: &&&Entry| {
            let at = tree.position(&entry.path);
            at.is_some_and(|at| tree.entries()[at].same_but_group(entry))
        };
        let same = weight(entries.iter().filter(is_same).copied());
        if best.as_ref().is_none_or(|(most, _)| same > *most) {
            best = Some((same, candidate));
        }
    }
    let near = best.filter(|(same, _)| same * 100 >= all * LEAST_PERCENT);
    Ok(near.map(|(same, other)| Nearly {
        spared_bytes: (u128::from(new_bytes) * u128::from(same) / u128::from(all)) as u64,
        series: other.series,
        stage: other.stage,
    }))
}

/// Returns the weight of entries: the contents, and some bytes for each name.
fn weight<'a>(entries: impl Iterator<Item = &'a Entry>) -> u64 {
    const OF_A_NAME: u64 = 64;
    entries.map(|entry| entry.size_bytes() + OF_A_NAME).sum()
}

/// Returns the newest snapshot of the stage of each other series of the same manner, the nearest in size.
fn candidates(
    store: &Store,
    snapshot: &Snapshot,
    is_alike: impl Fn(&Snapshot) -> bool,
) -> Result<Vec<Snapshot>> {
    let mut newest: Vec<Snapshot> = Vec::new();
    for one in store.snapshots(None)? {
        let is_other = one.series != snapshot.series && one.stage == snapshot.stage;
        let is_known = newest.iter().any(|known| known.series == one.series);
        if is_other && !is_known {
            newest.push(one);
        }
    }
    newest.retain(is_alike);
    newest.sort_by_key(|one| one.content_bytes.abs_diff(snapshot.content_bytes));
    newest.truncate(MOST_CANDIDATES);
    Ok(newest)
}
