//! The snapshot behind the stamps, and the layers of the snapshot at paths that may differ now.

use crate::error::Result;
use crate::model::plan::layer::Role;
use crate::model::plan::{PackageEntry, PriorLayer, PriorLayers, PriorPackage};
use crate::model::stamp::StatKind;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::layers::{Stack, have_same_keys, known, known_of};
use crate::ops::record::session::Session;
use crate::ops::record::totals::Totals;
use crate::ops::root_view::stamped_scan::StampedScan;
use crate::store::{Layer, LayerUse, Snapshot, Store};
use crate::threads::joined;
use std::cmp::Reverse;
use std::num::NonZeroUsize;

/// So many rows are passed over in the time of a lookup.
const ROWS_PER_LOOKUP: u64 = 30;

/// So many paths are looked up in the time in which another thread begins.
const FEW_PATHS: usize = 2_000;

/// The snapshot behind the stamps.
pub(super) struct KnownTree {
    snapshot: Snapshot,
    /// Of the stage's base or delta.
    dead_bytes: u64,
    inherited: Vec<LayerUse>,
    /// The base or delta; empty where the stage is as the stage before.
    whole: Vec<LayerUse>,
    updates: Vec<PriorLayer>,
    state: Option<LayerUse>,
    packages: Vec<PriorPackage>,
    package_layers: Vec<LayerUse>,
    /// Updates of the stage now, where they are others: of another root, perhaps.
    other_updates: Option<Vec<PriorLayer>>,
}

/// The layers at the differing paths.
pub(super) struct Loaded {
    pub below: PriorLayers,
    /// All of the state.
    pub state: Vec<LayerItem>,
    /// Updates that belong in the place of the layers' own.
    pub other_updates: Option<Vec<PriorLayer>>,
}

impl KnownTree {
    /// Finds the snapshot; `None` if the new snapshot is of another stage or lies over other layers. Fails if the store
    /// cannot be read.
    pub(super) fn find(session: &Session, scan: &StampedScan) -> Result<Option<Self>> {
        let store = &session.store;
        let Some((id, dead_bytes)) = scan.known_tree() else {
            return Ok(None);
        };
        let Some(snapshot) = session.of_stage(id)? else {
            return Ok(None);
        };
        let layers = store.layers(id)?;
        let stack = Stack::of(layers.clone());
        let state = layers.last().filter(|top| top.role == Role::State).cloned();
        let listed =
            stack.remainder().count() + stack.packages.len() + usize::from(state.is_some());
        if listed < layers.len() || stack.remainder().next().is_none() {
            return Ok(None);
        }
        if !session.lineage.is_of(store, &snapshot, &layers)? {
            return Ok(None);
        }
        // A lost layer is made again from all paths of its package.
        for (_, used) in &stack.packages {
            if !store.has_layer(used.layer.id)? {
                return Ok(None);
            }
        }
        let packages = session.lineage.packages_of(&stack);
        let Stack {
            inherited,
            own: mut whole,
            packages: package_layers,
        } = stack;
        let Some(updates_now) = session.lineage.updates_over(&inherited, &whole) else {
            return Ok(None);
        };
        let updates = whole.split_off(whole.len().min(1));
        let other_updates = if have_same_keys(&updates, updates_now) {
            None
        } else {
            Some(known_of(store, updates_now)?)
        };
        Ok(Some(Self {
            updates: known_of(store, &updates)?,
            snapshot,
            dead_bytes,
            inherited,
            whole,
            state,
            packages,
            package_layers: package_layers.into_iter().map(|(_, used)| used).collect(),
            other_updates,
        }))
    }

    /// Returns the totals of the snapshot.
    pub(super) fn totals(&self) -> Totals {
        Totals::of_snapshot(&self.snapshot)
    }

    /// Returns the dead bytes of the stage's base or delta.
    pub(super) fn dead_bytes(&self) -> u64 {
        self.dead_bytes
    }

    fn all_updates(&self) -> impl Iterator<Item = &PriorLayer> {
        self.updates
            .iter()
            .chain(self.other_updates.iter().flatten())
    }

    /// Returns the paths at which the root may differ from a layer, in order; `None` if the key of a stamp is no path.
    pub(super) fn differing(&self, scan: &StampedScan) -> Option<Vec<EntryPath>> {
        let mut paths: Vec<EntryPath> = scan
            .gone()
            .iter()
            .map(|key| EntryPath::from_key(key))
            .collect::<Option<_>>()?;
        let changed = scan.unknown().iter().map(|at| &scan.found()[*at].path);
        paths.extend(changed.cloned());
        let updated = self.all_updates().flat_map(|update| &update.items);
        paths.extend(updated.map(LayerItem::path).cloned());
        if self.inherited.len() + self.whole.len() > 1 {
            // An entry above a path in a layer may hide the path in the layer below.
            let above: Vec<EntryPath> = paths.iter().flat_map(EntryPath::ancestors).collect();
            paths.extend(above);
        }
        paths.sort_unstable();
        paths.dedup();
        Some(paths)
    }

    /// Tells whether an update takes a directory away and the root has the directory again: paths beneath in the layers below
    /// would come back without the update, and are not among the differing paths.
    pub(super) fn hides(&self, scan: &StampedScan) -> bool {
        let found = scan.found();
        let is_directory = |at: usize| found[at].stat.kind == StatKind::Directory;
        self.all_updates().any(|update| {
            let not_directories = update
                .items
                .iter()
                .filter(|item| !item.entry().is_some_and(Entry::is_directory));
            found
                .positions(not_directories.map(LayerItem::path))
                .flatten()
                .any(is_directory)
        })
    }

    /// Reads the items of the layers at `paths`, and all of the state. Fails if a thread cannot open the store once more, or the
    /// rows of the state do not give the state's key.
    pub(super) fn load(self, session: &Session, paths: &[EntryPath]) -> Result<Loaded> {
        let lookups = Lookups {
            store: &session.store,
            paths,
            threads: session.options.threads,
        };
        let mut own = lookups.known(&self.whole)?;
        own.extend(self.updates);
        let below = PriorLayers {
            package_entries: lookups.package_entries(&self.packages, &self.package_layers)?,
            packages: self.packages,
            ..PriorLayers::new(lookups.known(&self.inherited)?, own)
        };
        Ok(Loaded {
            below,
            state: match &self.state {
                Some(state) => session.store.items(state.layer.id)?,
                None => Vec::new(),
            },
            other_updates: self.other_updates,
        })
    }
}

/// Looks paths up in layers.
struct Lookups<'a> {
    store: &'a Store,
    paths: &'a [EntryPath],
    threads: NonZeroUsize,
}

impl Lookups<'_> {
    fn known(&self, layers: &[LayerUse]) -> Result<Vec<PriorLayer>> {
        layers
            .iter()
            .map(|used| Ok(known(used, self.items(&used.layer)?)))
            .collect()
    }

    /// Returns the entries of package layers at the paths, of each path the highest.
    fn package_entries(
        &self,
        packages: &[PriorPackage],
        layers: &[LayerUse],
    ) -> Result<Vec<PackageEntry>> {
        let mut found = Vec::new();
        let of_height = |height: Option<usize>| -> Vec<i64> {
            let both = packages.iter().zip(layers);
            let same = both.filter(|(package, _)| package.height == height);
            same.map(|(_, used)| used.layer.id).collect()
        };
        let mut heights: Vec<Option<usize>> =
            packages.iter().map(|package| package.height).collect();
        heights.sort_by_key(|height| Reverse(height.unwrap_or(usize::MAX)));
        heights.dedup();
        let groups = heights
            .into_iter()
            .map(|height| (height, of_height(height)));
        let groups: Vec<(Option<usize>, Vec<i64>)> = groups.collect();
        for path in self.paths {
            for (height, ids) in &groups {
                if let Some(entry) = self.store.topmost(ids.iter().copied(), path)? {
                    let height = *height;
                    found.push(PackageEntry { height, entry });
                    break;
                }
            }
        }
        Ok(found)
    }

    fn items(&self, layer: &Layer) -> Result<Vec<LayerItem>> {
        // Path by path, or all rows where there are few others.
        let is_dense = self.paths.len() as u64 * ROWS_PER_LOOKUP > layer.entries + layer.whiteouts;
        let look_up = if is_dense {
            Store::items_among
        } else {
            Store::items_at
        };
        let share = self.paths.len().div_ceil(self.threads.get()).max(FEW_PATHS);
        let mut shares = self.paths.chunks(share);
        let Some(first) = shares.next() else {
            return Ok(Vec::new());
        };
        let id = layer.id;
        std::thread::scope(|scope| {
            // A connection is of one thread.
            let others: Vec<_> = shares
                .map(|paths| {
                    let store = self.store.path();
                    scope.spawn(move || look_up(&Store::open_unchecked(store)?, id, paths))
                })
                .collect();
            let mut items = look_up(self.store, id, first)?;
            for other in others {
                items.extend(joined(other.join())?);
            }
            Ok(items)
        })
    }
}
