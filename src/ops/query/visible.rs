//! Which of the entries that layers have at some paths each snapshot shows.

use crate::error::Result;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::query::records::layer_ids;
use crate::store::{Matches, Snapshot, Store};
use std::collections::HashMap;
use std::ops::Range;

/// A found thing, and the snapshots that have it.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence<T> {
    pub thing: T,
    /// The places of the snapshots in the order of the search.
    pub snapshots: Vec<usize>,
}

/// What a layer does to the view of the paths: first places are emptied, then entries put.
#[derive(Default)]
struct Step {
    emptied: Vec<Range<usize>>,
    /// The place of the path, and of the entry among all.
    put: Vec<(usize, usize)>,
}

/// Returns the entries that snapshots show, in the order of paths, each state of a path by itself. Fails if the rows of a snapshot are
/// not as recorded.
pub(super) fn visible(
    store: &Store,
    snapshots: &[Snapshot],
    matches: Matches,
) -> Result<Vec<Occurrence<Entry>>> {
    let paths: Vec<EntryPath> = matches.paths.into_iter().collect();
    let mut entries = Vec::new();
    let mut steps: HashMap<i64, Step> = HashMap::new();
    for (layer, ends) in matches.ends {
        let beneath = ends.iter().map(|end| beneath(&paths, end));
        steps.entry(layer).or_default().emptied.extend(beneath);
    }
    for (layer, items) in matches.items {
        let step = steps.entry(layer).or_default();
        for item in items {
            step.add(item, &paths, &mut entries);
        }
    }
    let mut found: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut view: Vec<Option<usize>> = vec![None; paths.len()];
    for (number, snapshot) in snapshots.iter().enumerate() {
        view.fill(None);
        for id in layer_ids(store, snapshot)? {
            if let Some(step) = steps.get(&id) {
                step.apply(&mut view);
            }
        }
        for entry in view.iter().flatten() {
            found[*entry].push(number);
        }
    }
    let occurrences = entries.into_iter().zip(found);
    let occurrences = occurrences.filter(|(_, snapshots)| !snapshots.is_empty());
    let mut occurrences: Vec<Occurrence<Entry>> = occurrences
        .map(|(thing, snapshots)| Occurrence { thing, snapshots })
        .collect();
    occurrences.sort_by(|a, b| {
        let by_path = a.thing.path.cmp(&b.thing.path);
        by_path.then(a.snapshots.cmp(&b.snapshots))
    });
    Ok(occurrences)
}

impl Step {
    /// Adds what an item does.
    fn add(&mut self, item: LayerItem, paths: &[EntryPath], entries: &mut Vec<Entry>) {
        let Ok(place) = paths.binary_search(item.path()) else {
            return;
        };
        let beneath = beneath(paths, item.path());
        match item {
            LayerItem::Entry(entry) => {
                if !entry.is_directory() {
                    self.emptied.push(beneath);
                }
                self.put.push((place, entries.len()));
                entries.push(entry);
            }
            LayerItem::Opaque(_) => self.emptied.push(beneath),
            LayerItem::Whiteout(_) => self.emptied.push(place..beneath.end.max(place + 1)),
        }
    }

    fn apply(&self, view: &mut [Option<usize>]) {
        for range in &self.emptied {
            view[range.clone()].fill(None);
        }
        for (place, entry) in &self.put {
            view[*place] = Some(*entry);
        }
    }
}

/// Returns the places of the paths beneath a path, which follow it in the order of paths.
fn beneath(paths: &[EntryPath], path: &EntryPath) -> Range<usize> {
    let first = paths.partition_point(|one| one <= path);
    let count = paths[first..].partition_point(|one| one.is_beneath(path));
    first..first + count
}
