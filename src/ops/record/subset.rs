//! What of a root a plan is made of where little has changed since the last snapshot of it.
//!
//! A path that its stamp vouches for is in the root as it is in the snapshot that the stamps are of. So it is enough to lay
//! the layers over one another, and to compare, at the paths that have changed, at those that updates are about (which may
//! be put together), and at the volatile ones, which are recorded whole. It gives the same plan as all paths would; where
//! that is not sure, there is no part.

use crate::error::Result;
use crate::fs::scan::Paths;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::Role;
use crate::model::plan::{Below, Known};
use crate::model::policy::normalise::Sides;
use crate::model::policy::{MtimeRule, Policy, Profile};
use crate::model::stamp::StatKind;
use crate::model::tree::content_bytes;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::Laid;
use crate::model::tree::path::EntryPath;
use crate::ops::record::lineage::{Ground, Place, have_same_keys, known_of};
use crate::ops::root_view::build_user;
use crate::ops::root_view::observe::Look;
use crate::ops::root_view::packages;
use crate::store::Layer;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// Where more than one path in so many has changed, all are looked at.
const LARGEST_SHARE: usize = 5;

/// So many rows are passed over in the time in which a path is looked up.
const ROWS_PER_LOOKUP: u64 = 30;

/// So many paths are looked up sooner by one thread than another is begun.
const FEW_PATHS: usize = 2_000;

/// The paths that count for a plan.
#[derive(Debug)]
pub(crate) struct Part {
    /// Their places among what was found, sorted. The directories above each are among them.
    pub(crate) places: Vec<usize>,
    /// The paths that may differ, in order, whether they are found or gone.
    differing: Vec<EntryPath>,
    /// What the snapshot has, but for these.
    rest: Totals,
}

/// What a tree has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Its entries.
    pub(crate) entries: u64,
    /// Length of its files.
    pub(crate) content_bytes: u64,
}

impl Totals {
    /// Counts what both sides of a tree have.
    pub(crate) fn of<'e>(
        stable: impl Iterator<Item = &'e Entry> + Clone,
        volatile: impl Iterator<Item = &'e Entry> + Clone,
    ) -> Self {
        Self {
            entries: (stable.clone().count() + volatile.clone().count()) as u64,
            content_bytes: content_bytes(stable) + content_bytes(volatile),
        }
    }

    fn without(self, other: Self) -> Option<Self> {
        let entries = self.entries.checked_sub(other.entries)?;
        Some(Self {
            entries,
            content_bytes: self.content_bytes.checked_sub(other.content_bytes)?,
        })
    }
}

impl Part {
    /// Finds it, and what lies below at the paths that may differ; `None` where all paths count.
    pub(crate) fn find(
        store: &Store,
        looked: &Look,
        ground: &Ground,
        place: &Place,
        policy: &Policy,
        threads: NonZeroUsize,
    ) -> Result<Option<(Self, Below)>> {
        let changes = looked.unknown().len() + looked.gone().len();
        if changes * LARGEST_SHARE > looked.found().len() || matters_elsewhere(looked, policy) {
            return Ok(None);
        }
        let Some(last) = Last::find(store, looked, ground, place, policy)? else {
            return Ok(None);
        };
        let Some(differing) = last.differing(looked).filter(|_| !last.hides(looked)) else {
            return Ok(None);
        };
        let (all, dead_bytes) = (last.totals(), last.dead_bytes);
        let (mut below, state, updates) = last.read(&Lookups {
            store,
            paths: &differing,
            threads,
        })?;
        let found: Vec<Option<usize>> = looked.found().positions(differing.iter()).collect();
        if have_names_elsewhere(looked, &found) {
            return Ok(None);
        }

        let before = below.overlay();
        if parts_links(&below) || before.has_lone_links() {
            return Ok(None);
        }
        let before = before.into_tree();
        let state_at = |path: &EntryPath| state.binary_search_by(|item| item.path().cmp(path)).ok();
        let mut volatile = Vec::new();
        for (path, found) in differing.iter().zip(&found) {
            let mut was = before.position(path).map(|at| &before.entries()[at]);
            if was.is_none() {
                was = state_at(path).and_then(|at| state[at].entry());
                volatile.extend(was);
            }
            // The rows of the layers are not compared with their keys here, but with what the stamps say.
            let is_stamped = found.map_or_else(|| looked.is_gone(path), |at| looked.is_stamped(at));
            let has_changed = found.is_none_or(|at| !looked.is_vouched(at));
            let was_link =
                has_changed && was.is_some_and(|was| matches!(was.kind, Kind::Symlink(_)));
            if was.is_some() != is_stamped || was_link && policy.mtime == MtimeRule::Package {
                return Ok(None);
            }
        }
        let totals = Totals::of(before.entries().iter(), volatile.into_iter());
        if !below.leave_out(dead_bytes, &before) {
            return Ok(None);
        }
        if let Some(updates) = updates {
            below.own.truncate(1);
            below.own.extend(updates);
            if parts_links(&below) {
                return Ok(None);
            }
        }
        let Some(rest) = all.without(totals) else {
            return Ok(None);
        };
        let places = places(
            looked,
            found.into_iter().flatten().collect(),
            &state,
            policy,
        );
        Ok(Some((
            Self {
                places,
                differing,
                rest,
            },
            below,
        )))
    }

    /// Returns the paths that the plan compares.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope::Changed(&self.differing)
    }

    /// Counts all paths of the root.
    pub(crate) fn totals(&self, sides: &Sides) -> Totals {
        let among = |entry: &&Entry| self.differing.binary_search(&entry.path).is_ok();
        let [stable, volatile] =
            [&sides.stable, &sides.volatile].map(|side| side.entries().iter().filter(among));
        let Totals {
            entries,
            content_bytes,
        } = Totals::of(stable, volatile);
        Totals {
            entries: self.rest.entries + entries,
            content_bytes: self.rest.content_bytes + content_bytes,
        }
    }
}

/// The snapshot that the stamps are of.
struct Last {
    snapshot: Snapshot,
    /// Of its stage's base or delta.
    dead_bytes: u64,
    inherited: Vec<LayerUse>,
    /// The base or delta.
    whole: Vec<LayerUse>,
    updates: Vec<Known>,
    state: Option<LayerUse>,
    /// What is planned over has these updates in their place: of another root, perhaps.
    others: Option<Vec<Known>>,
}

impl Last {
    /// Finds it; `None` where what is planned now is another stage, or lies over other layers.
    fn find(
        store: &Store,
        looked: &Look,
        ground: &Ground,
        place: &Place,
        policy: &Policy,
    ) -> Result<Option<Self>> {
        let Some((id, dead_bytes)) = looked.known_tree() else {
            return Ok(None);
        };
        let snapshot = store
            .snapshot(id)?
            .filter(|snapshot| place.is_of(snapshot, &policy.key()));
        let Some(snapshot) = snapshot else {
            return Ok(None);
        };
        let mut inherited = store.layers(id)?;
        let state = inherited.pop_if(|top| top.role == Role::State);
        let mut whole = inherited.split_off(inherited.len().min(snapshot.inherited_layers));
        if whole.is_empty() && inherited.is_empty() {
            return Ok(None);
        }
        let Some(others) = ground.updates_over(&inherited, &whole) else {
            return Ok(None);
        };
        let updates = whole.split_off(whole.len().min(1));
        let others = match have_same_keys(&updates, others) {
            true => None,
            false => Some(known_of(store, others)?),
        };
        let updates = known_of(store, &updates)?;
        Ok(Some(Self {
            snapshot,
            dead_bytes,
            inherited,
            whole,
            updates,
            state,
            others,
        }))
    }

    fn totals(&self) -> Totals {
        Totals {
            entries: self.snapshot.entries,
            content_bytes: self.snapshot.content_bytes,
        }
    }

    fn all_updates(&self) -> impl Iterator<Item = &Known> {
        self.updates.iter().chain(self.others.iter().flatten())
    }

    /// The paths that may differ from what one of the layers has, in order.
    fn differing(&self, looked: &Look) -> Option<Vec<EntryPath>> {
        let mut paths: Vec<EntryPath> = looked
            .gone()
            .iter()
            .map(|key| EntryPath::from_key(key))
            .collect::<Option<_>>()?;
        paths.extend(
            looked
                .unknown()
                .iter()
                .map(|at| looked.found()[*at].path.clone()),
        );
        paths.extend(
            self.all_updates()
                .flat_map(|update| &update.items)
                .map(|item| item.path().clone()),
        );
        if self.inherited.len() + self.whole.len() > 1 {
            // What is above a path in one of them may hide what another has there.
            let above: Vec<EntryPath> = paths.iter().flat_map(EntryPath::ancestors).collect();
            paths.extend(above);
        }
        paths.sort_unstable();
        paths.dedup();
        Some(paths)
    }

    /// Tells whether an update takes a directory away that is there again: what is beneath it in the layers below would come
    /// back without that update, and is not among the paths that may differ.
    fn hides(&self, looked: &Look) -> bool {
        let found = looked.found();
        let is_directory = |at: usize| found[at].stat.kind == StatKind::Directory;
        self.all_updates().any(|update| {
            let not_directories = update
                .items
                .iter()
                .filter(|item| !item.entry().is_some_and(Entry::is_directory));
            found
                .positions(not_directories.map(Laid::path))
                .flatten()
                .any(is_directory)
        })
    }

    /// Reads what its layers have at the paths that may differ, and all of its state. Returns the updates that are to be in the
    /// place of its own as well.
    fn read(self, lookups: &Lookups) -> Result<(Below, Vec<Laid>, Option<Vec<Known>>)> {
        let mut own = lookups.known(&self.whole)?;
        own.extend(self.updates);
        let below = Below::new(lookups.known(&self.inherited)?, own);
        let state = self
            .state
            .as_ref()
            .map(|state| lookups.store.items(state.layer.id));
        Ok((below, state.transpose()?.unwrap_or_default(), self.others))
    }
}

/// Tells whether one of the changes is a reason for entries at other paths to be others.
fn matters_elsewhere(looked: &Look, policy: &Policy) -> bool {
    let by_packages = policy.mtime == MtimeRule::Package;
    let databases = packages::database_files().filter(|_| by_packages);
    let configuration =
        build_user::configuration_files().filter(|_| policy.profile == Profile::Mock);
    let sources: Vec<EntryPath> = databases.chain(configuration).collect();
    let is_source = |key: &[u8]| sources.iter().any(|source| source.key() == key);
    let matters = |at: &usize| {
        let found = &looked.found()[*at];
        by_packages && found.stat.kind == StatKind::Symlink || is_source(found.path.key())
    };
    looked.unknown().iter().any(matters) || looked.gone().iter().any(|key| is_source(key))
}

/// Tells whether an inode has names at these places and at others. A directory that is moved takes names along without a change
/// of their inodes, so that the stamps of the other names still vouch.
fn have_names_elsewhere(looked: &Look, places: &[Option<usize>]) -> bool {
    let inode = |at: usize| {
        let (_, stat) = looked.at(at);
        (stat.nlink > 1 && stat.kind != StatKind::Directory).then_some((stat.device, stat.inode))
    };
    let places: HashSet<usize> = places.iter().flatten().copied().collect();
    let inodes: HashSet<_> = places.iter().filter_map(|at| inode(*at)).collect();
    let is_one = |at: usize| inode(at).is_some_and(|inode| inodes.contains(&inode));
    !inodes.is_empty() && (0..looked.found().len()).any(|at| is_one(at) && !places.contains(&at))
}

/// Tells whether an update takes a name out of a hardlink group: the group's other names would have to be known. The names of
/// an inode that has changed have all changed, since they have its ctime.
fn parts_links(below: &Below) -> bool {
    let Some((whole, updates)) = below.own.split_first() else {
        return false;
    };
    let lower = below
        .inherited
        .iter()
        .chain([whole])
        .flat_map(Known::entries);
    let mut linked = lower.filter(|entry| entry.group.is_some());
    linked.any(|entry| updates.iter().any(|update| update.has(&entry.path)))
}

/// The places of the paths that count: those that differ, at `places`, those that are volatile, and those that tell of
/// others.
fn places(looked: &Look, mut places: Vec<usize>, state: &[Laid], policy: &Policy) -> Vec<usize> {
    let found = looked.found();
    places.extend(found.positions(state.iter().map(Laid::path)).flatten());
    let sources = packages::database_files().chain(build_user::configuration_files());
    places.extend(sources.filter_map(|path| found.position(&path)));
    if policy.mtime == MtimeRule::Package {
        let links = found
            .iter()
            .enumerate()
            .filter(|(_, found)| found.stat.kind == StatKind::Symlink);
        places.extend(links.map(|(at, _)| at));
    }
    with_directories(found, &places)
}

/// Sorts places and adds those of the directories above.
fn with_directories(found: &Paths, places: &[usize]) -> Vec<usize> {
    let mut counts = vec![false; found.len()];
    for at in places {
        let mut next = Some(*at);
        while let Some(at) = next.filter(|at| !counts[*at]) {
            counts[at] = true;
            next = found.above(at);
        }
    }
    counts
        .iter()
        .enumerate()
        .filter_map(|(at, counts)| counts.then_some(at))
        .collect()
}

/// Looks paths up in layers.
struct Lookups<'a> {
    store: &'a Store,
    paths: &'a [EntryPath],
    threads: NonZeroUsize,
}

impl Lookups<'_> {
    fn known(&self, layers: &[LayerUse]) -> Result<Vec<Known>> {
        let known = |LayerUse { role, layer, .. }: &LayerUse| {
            let items = self.items(layer)?;
            Ok(Known {
                role: *role,
                key: layer.key,
                content_bytes: layer.content_bytes,
                items,
            })
        };
        layers.iter().map(known).collect()
    }

    fn items(&self, layer: &Layer) -> Result<Vec<Laid>> {
        let is_dense = self.paths.len() as u64 * ROWS_PER_LOOKUP > layer.entries + layer.whiteouts;
        let look = move |store: &Store, paths: &[EntryPath]| match is_dense {
            true => store.items_among(layer.id, paths),
            false => store.items_at(layer.id, paths),
        };
        let part = self.paths.len().div_ceil(self.threads.get()).max(FEW_PATHS);
        let mut parts = self.paths.chunks(part);
        let Some(first) = parts.next() else {
            return Ok(Vec::new());
        };
        let store = self.store.path();
        std::thread::scope(|scope| {
            // A connection is of one thread.
            let others =
                parts.map(|paths| scope.spawn(move || look(&Store::open_unchecked(store)?, paths)));
            let others: Vec<_> = others.collect();
            let mut items = look(self.store, first)?;
            for other in others {
                items.extend(
                    other
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
                );
            }
            Ok(items)
        })
    }
}
