//! The paths to be planned where little has changed since the last snapshot of the root.
//!
//! A path with a stamp that vouches is in the root as in the snapshot of the stamps. So layers need to be applied and compared
//! only at changed paths, at paths of updates (the plan may put updates together), and at volatile paths, recorded whole. The
//! planner gets the paths as a scope and gives the same plan as for all paths; where the plan could be another, there is no
//! subset.

use crate::error::Result;
use crate::fs::scan::Paths;
use crate::model::plan::difference::Scope;
use crate::model::plan::{PriorLayer, PriorLayers};
use crate::model::policy::Profile;
use crate::model::policy::normalise::StableVolatile;
use crate::model::stamp::StatKind;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::record::known_tree::{KnownTree, Loaded};
use crate::ops::record::session::Session;
use crate::ops::record::totals::Totals;
use crate::ops::root_view::places::{
    deciding_files, dnf_history_files, package_sources, user_files,
};
use crate::ops::root_view::stamped_scan::StampedScan;
use std::collections::HashSet;

/// If more than a share of 1 in so many paths has changed, all are planned.
const LARGEST_SHARE: usize = 5;

/// The paths for a plan.
#[derive(Debug)]
pub(super) struct ChangedSubset {
    /// Places among the found paths, sorted, with the directories above each.
    pub places: Vec<usize>,
    /// The differing paths, in order, found or gone.
    differing: Vec<EntryPath>,
    /// Totals of the last snapshot without the differing paths.
    rest: Totals,
}

impl ChangedSubset {
    /// Finds the subset, and the items of the layers below at the differing paths; `None` where all paths count. Fails if
    /// the store cannot be read.
    pub(super) fn find(
        session: &Session,
        scan: &StampedScan,
    ) -> Result<Option<(Self, PriorLayers)>> {
        let changes = scan.unknown().len() + scan.gone().len();
        if changes * LARGEST_SHARE > scan.found().len() || matters_elsewhere(scan, session) {
            return Ok(None);
        }
        let Some(known) = KnownTree::find(session, scan)? else {
            return Ok(None);
        };
        let Some(differing) = known.differing(scan).filter(|_| !known.hides(scan)) else {
            return Ok(None);
        };
        let (all, dead_bytes) = (known.totals(), known.dead_bytes());
        let loaded = known.load(session, &differing)?;
        let subset = Self::of(scan, session, differing, loaded, all, dead_bytes);
        Ok(subset)
    }

    /// `None` where other paths count as well.
    fn of(
        scan: &StampedScan,
        session: &Session,
        differing: Vec<EntryPath>,
        loaded: Loaded,
        all: Totals,
        dead_bytes: u64,
    ) -> Option<(Self, PriorLayers)> {
        let Loaded {
            mut below,
            state,
            other_updates,
        } = loaded;
        let found: Vec<Option<usize>> = scan.found().positions(differing.iter()).collect();
        if have_names_elsewhere(scan, &found) || parts_links(&below) {
            return None;
        }
        if below.overlay().has_lone_links() {
            return None;
        }
        let before = below.tree();
        let volatile = volatile_before(scan, session, &differing, &found, &before, &state)?;
        let is_stable = |entry: &&Entry| {
            let among = volatile.binary_search_by(|other| other.path.cmp(&entry.path));
            among.is_err()
        };
        let stable = before.entries().iter().filter(is_stable);
        let rest = all.without(Totals::of(stable, volatile.iter().copied()))?;
        if !below.leave_out_beside_packages(dead_bytes, &before) {
            return None;
        }
        if let Some(updates) = other_updates {
            below.own.truncate(1);
            below.own.extend(updates);
            if parts_links(&below) {
                return None;
            }
        }
        let places = places(scan, found.into_iter().flatten().collect(), &state, session);
        let subset = Self {
            places,
            differing,
            rest,
        };
        Some((subset, below))
    }

    /// Returns the paths for the planner to compare.
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::Changed(&self.differing)
    }

    /// Counts all paths of the root.
    pub(super) fn totals(&self, sides: &StableVolatile) -> Totals {
        let among = |path: &EntryPath| self.differing.binary_search(path).is_ok();
        self.rest.with(Totals::of_sides(sides, among))
    }
}

/// Returns the volatile entries of the last snapshot at the `differing` paths; `None` if the layers do not agree with the
/// stamps. The rows of the layers are not compared with their keys here, but with the stamped paths.
fn volatile_before<'s>(
    scan: &StampedScan,
    session: &Session,
    differing: &[EntryPath],
    found: &[Option<usize>],
    before: &Tree,
    state: &'s [LayerItem],
) -> Option<Vec<&'s Entry>> {
    let derivations = session.rules.derivations();
    let mut volatile = Vec::new();
    for (path, found) in differing.iter().zip(found) {
        let stable = before.position(path).map(|at| &before.entries()[at]);
        let at_state = state.binary_search_by(|item| item.path().cmp(path));
        let was_volatile = at_state.ok().and_then(|at| state[at].entry());
        volatile.extend(was_volatile);
        let was = stable.or(was_volatile);
        if was.is_none() && derivations.is_some_and(|of| of.may_leave_out(path)) {
            continue;
        }
        let is_stamped = found.map_or_else(|| scan.is_gone(path), |at| scan.is_stamped(at));
        let has_changed = found.is_none_or(|at| !scan.is_vouched(at));
        // Files of packages are found through symlinks.
        let was_link = was.is_some_and(|was| matches!(was.kind, Kind::Symlink(_)));
        let matters = has_changed && was_link && session.asks_packages();
        if was.is_some() != is_stamped || matters {
            return None;
        }
    }
    Some(volatile)
}

/// Tells whether a change is a reason for entries at unchanged paths to differ.
fn matters_elsewhere(scan: &StampedScan, session: &Session) -> bool {
    let policy = &session.policy;
    let by_packages = session.asks_packages();
    let of_packages = package_sources().filter(|_| by_packages);
    let configuration = user_files()
        .into_iter()
        .filter(|_| policy.profile == Profile::Mock);
    let is_derived = session.rules.derivations().is_some();
    let history = dnf_history_files().filter(|_| is_derived);
    let deciding = deciding_files().filter(|_| is_derived);
    let sources = of_packages.chain(configuration).chain(history);
    let sources: Vec<EntryPath> = sources.chain(deciding).collect();
    let is_source = |key: &[u8]| sources.iter().any(|source| source.key() == key);
    let matters = |at: &usize| {
        let found = &scan.found()[*at];
        by_packages && found.stat.kind == StatKind::Symlink || is_source(found.path.key())
    };
    scan.unknown().iter().any(matters) || scan.gone().iter().any(|key| is_source(key))
}

/// Tells whether an inode has names at `places` and elsewhere. A moved directory takes names along without a change of their
/// inodes, so the stamps of the other names still vouch.
fn have_names_elsewhere(scan: &StampedScan, places: &[Option<usize>]) -> bool {
    let inode = |at: usize| {
        let (_, stat) = scan.at(at);
        (stat.nlink > 1 && stat.kind != StatKind::Directory).then_some((stat.device, stat.inode))
    };
    let places: HashSet<usize> = places.iter().flatten().copied().collect();
    let inodes: HashSet<_> = places.iter().filter_map(|at| inode(*at)).collect();
    let is_among = |at: usize| inode(at).is_some_and(|inode| inodes.contains(&inode));
    !inodes.is_empty() && (0..scan.found().len()).any(|at| is_among(at) && !places.contains(&at))
}

/// Tells whether an update takes a name out of a hardlink group: the group's other names would have to be known. All names
/// of a changed inode have changed, since they share a ctime.
fn parts_links(below: &PriorLayers) -> bool {
    let Some((whole, updates)) = below.own.split_first() else {
        return false;
    };
    let lower = below
        .inherited
        .iter()
        .chain([whole])
        .flat_map(PriorLayer::entries);
    lower
        .filter(|entry| entry.group.is_some())
        .any(|entry| updates.iter().any(|update| update.has(&entry.path)))
}

/// The places of the paths for a plan: `places` of differing paths, volatile paths, and paths other entries depend on.
fn places(
    scan: &StampedScan,
    mut places: Vec<usize>,
    state: &[LayerItem],
    session: &Session,
) -> Vec<usize> {
    let found = scan.found();
    places.extend(found.positions(state.iter().map(LayerItem::path)).flatten());
    let sources = deciding_files().chain(dnf_history_files());
    places.extend(sources.filter_map(|path| found.position(&path)));
    if session.asks_packages() {
        let links = found
            .iter()
            .enumerate()
            .filter(|(_, found)| found.stat.kind == StatKind::Symlink);
        places.extend(links.map(|(at, _)| at));
    }
    with_directories(found, &places)
}

/// Sorts places and adds the directories above.
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
