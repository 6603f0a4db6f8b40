//! A scan of a root merged with the stamps of the root, to find the paths that have not changed.

use crate::error::Result;
use crate::fs::facts::read_facts;
use crate::fs::root::Root;
use crate::fs::scan::{Found, Mask, Paths, Scan, scan};
use crate::model::policy::Rules;
use crate::model::stamp::{Facts, Stat, StatKind, Time};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::observation::{Observation, place_among};
use crate::store::Packed;
use crate::store::StampState;
use crate::store::Stamps;
use crate::threads::joined;
use std::num::NonZeroUsize;

/// The paths of a root, and for each path whether a stamp vouches.
#[derive(Debug)]
pub(crate) struct StampedScan {
    scan: Scan,
    joined: Joined,
}

/// Scans the root; meanwhile `load` reads the stamps, and other data that no scan is needed for, on another thread. Fails if a
/// directory of the root cannot be read, with [`crate::error::Error::Changed`] if the root changes under the scan, and as `load`
/// does.
pub(crate) fn scan_with_stamps<T: Send>(
    root: &Root,
    rules: &Rules,
    threads: NonZeroUsize,
    phases: &Phases,
    load: impl FnOnce() -> Result<((Stamps, StampState), T)> + Send,
) -> Result<(StampedScan, T)> {
    phases.run(Phase::Scan, None, || {
        std::thread::scope(|scope| {
            let loading = scope.spawn(load);
            let scan = scan(root, rules, threads);
            let loaded = joined(loading.join());
            let (scan, ((stamps, state), loaded)) = (scan?, loaded?);
            Ok((StampedScan::new(scan, stamps, state), loaded))
        })
    })
}

impl StampedScan {
    fn new(scan: Scan, stamps: Stamps, state: StampState) -> Self {
        Self {
            joined: Joined::new(stamps, state, &scan.found),
            scan,
        }
    }

    /// Returns the snapshot behind the stamps, and the dead bytes of the snapshot's base or delta; `None` if a path of the snapshot
    /// may be missing from [`StampedScan::gone`], as a mount hides paths.
    pub(crate) fn known_tree(&self) -> Option<(i64, u64)> {
        let Joined {
            state, has_mounts, ..
        } = &self.joined;
        state
            .snapshot_id
            .zip(state.dead_bytes)
            .filter(|_| !has_mounts)
    }

    /// Returns all found paths.
    pub(crate) fn found(&self) -> &Paths {
        &self.scan.found
    }

    /// Returns the places of the paths that no stamp vouches for, sorted.
    pub(crate) fn unknown(&self) -> &[usize] {
        &self.joined.unknown
    }

    /// Tells whether a stamp vouches for the path at this place.
    pub(crate) fn is_vouched(&self, at: usize) -> bool {
        self.joined.vouched[at]
    }

    /// Tells whether the path at this place has a stamp, valid or not.
    pub(crate) fn is_stamped(&self, at: usize) -> bool {
        self.joined.unstamped.binary_search(&at).is_err()
    }

    /// Tells whether the path is stamped and gone.
    pub(crate) fn is_gone(&self, path: &EntryPath) -> bool {
        self.joined
            .gone
            .binary_search_by(|gone| gone.as_slice().cmp(path.key()))
            .is_ok()
    }

    /// Returns the stamped paths that are gone, in order, in their ordered form.
    pub(crate) fn gone(&self) -> &[Vec<u8>] {
        &self.joined.gone
    }

    /// Returns the snapshot with the tree of the root, and the state of the stamps; `None` unless all stamps vouch for all paths.
    pub(crate) fn same_as(&self) -> Option<(i64, StampState)> {
        let Joined {
            unknown,
            gone,
            state,
            ..
        } = &self.joined;
        let is_same = unknown.is_empty() && gone.is_empty();
        state.snapshot_id.filter(|_| is_same).map(|id| (id, *state))
    }

    /// Tells whether the root's filesystem is to be synced, so the stamps hold after a power cut too.
    pub(crate) fn wants_sync(&self) -> bool {
        let Joined {
            state, youngest, ..
        } = &self.joined;
        youngest.is_some_and(|youngest| state.lasting.wants_sync(youngest, self.scan.start))
    }

    /// Returns the number of sockets.
    pub(crate) fn sockets(&self) -> u64 {
        self.scan.sockets
    }

    /// Returns when the scan began.
    pub(crate) fn scan_start(&self) -> Time {
        self.scan.start
    }

    /// Returns the bytes of files that no stamp vouches for.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.joined
            .unknown
            .iter()
            .map(|at| file_bytes(&self.scan.found[*at]))
            .sum()
    }

    /// Returns the paths at `places`, each with its place and whether the path is unread: without a stamp that vouches, and
    /// without a mount.
    pub(crate) fn paths(
        &self,
        places: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = (usize, &EntryPath, &Stat, bool)> {
        places.map(|at| {
            let found = &self.scan.found[at];
            let is_unread = !self.joined.vouched[at] && found.masked.is_none();
            (at, &found.path, &found.stat, is_unread)
        })
    }

    /// Returns a path with its stat data by its place in the order.
    pub(crate) fn at(&self, at: usize) -> (&EntryPath, &Stat) {
        let found = &self.scan.found[at];
        (&found.path, &found.stat)
    }

    /// Reads all paths that no stamp vouches for, except the files at `deferred` places, which are sorted. If `places` are given,
    /// sorted, other paths do not count; deferred places are among `places`. Fails if a path cannot be read, and with
    /// [`crate::error::Error::Changed`] if a path changes meanwhile.
    pub(crate) fn read(
        self,
        root: &Root,
        places: Option<Vec<usize>>,
        deferred: &[usize],
        threads: NonZeroUsize,
        phases: &Phases,
    ) -> Result<Observation> {
        let Self { mut scan, joined } = self;
        let mut facts = joined.vouched_facts(&scan.found, places.as_deref());
        drop((joined.stamps, joined.vouched));
        let mut fresh = joined.unknown;
        fresh.retain(|at| deferred.binary_search(at).is_err());
        let bytes = fresh.iter().map(|at| file_bytes(&scan.found[*at])).sum();
        let keep = |number: usize, read| {
            if let Some(among) = place_among(places.as_deref(), fresh[number]) {
                facts[among] = read;
            }
        };
        let reads = &phases.reads;
        phases.run(Phase::Hash, Some(bytes), || {
            let follow = |progress| reads.follow(progress);
            read_facts(root, &mut scan.found, &fresh, threads, &follow, keep)
        })?;
        Ok(Observation {
            found: scan.found,
            places,
            facts,
            fresh,
            deferred: deferred.to_vec(),
            gone: joined.gone,
            has_mounts: joined.has_mounts,
            scan_start: scan.start,
            sockets: scan.sockets,
            stamps: joined.state,
        })
    }
}

/// The stamps of a root beside what a scan has found.
#[derive(Debug)]
struct Joined {
    stamps: Stamps,
    /// For each found path whether a stamp vouches.
    vouched: Vec<bool>,
    /// The places of the paths that no stamp vouches for.
    unknown: Vec<usize>,
    /// The places of the paths without any stamp; empty for a root without stamps.
    unstamped: Vec<usize>,
    /// Whether something is mounted on a path.
    has_mounts: bool,
    /// Stamped paths that were not found, in their ordered form.
    gone: Vec<Vec<u8>>,
    /// The latest ctime of a stamp.
    youngest: Option<Time>,
    /// The state of the stamps.
    state: StampState,
}

impl Joined {
    /// Merges the found paths with the stamps, both in order.
    fn new(stamps: Stamps, state: StampState, found: &Paths) -> Self {
        let mut joined = Self {
            stamps: Stamps::default(),
            vouched: Vec::with_capacity(found.len()),
            unknown: Vec::new(),
            unstamped: Vec::new(),
            has_mounts: false,
            gone: Vec::new(),
            youngest: None,
            state,
        };
        let mut rest = found.iter().peekable();
        let mut stamps_in_order = stamps.read();
        while let Some(stamp) = stamps_in_order.next() {
            let key = stamps_in_order.key();
            joined.youngest = joined.youngest.max(Some(stamp.mark.ctime));
            while let Some(found) = rest.next_if(|found| found.path.key() < key) {
                joined.add(found, None);
            }
            match rest.next_if(|found| found.path.key() == key) {
                Some(found) => joined.add(found, Some(&stamp)),
                None => joined.gone.push(key.to_owned()),
            }
        }
        rest.for_each(|found| joined.add(found, None));
        if stamps.is_empty() {
            joined.unstamped = Vec::new();
        }
        drop(stamps_in_order);
        joined.stamps = stamps;
        joined
    }

    /// Adds the next path with its stamp.
    fn add(&mut self, found: &Found, stamp: Option<&Packed>) {
        let at = self.vouched.len();
        self.has_mounts |= found.masked == Some(Mask::Mount);
        let is_vouched = stamp.is_some_and(|stamp| {
            stamp.mark.vouches_for(&found.stat) && self.state.lasting.holds(stamp.mark.ctime)
        });
        if !is_vouched {
            self.unknown.push(at);
        }
        if stamp.is_none() {
            self.unstamped.push(at);
        }
        self.vouched.push(is_vouched);
    }

    /// Returns the facts of the paths at `places`, or of all paths; empty where no stamp vouches.
    fn vouched_facts(&self, found: &Paths, places: Option<&[usize]>) -> Vec<Facts> {
        let mut stamps = self.stamps.read();
        let mut facts_at = |at: usize, found: &Found| {
            while self.vouched[at]
                && let Some(stamp) = stamps.next()
            {
                if stamps.key() == found.path.key() {
                    return stamp.facts();
                }
            }
            Facts::default()
        };
        match places {
            Some(places) => places.iter().map(|at| facts_at(*at, &found[*at])).collect(),
            None => (found.iter().enumerate())
                .map(|(at, found)| facts_at(at, found))
                .collect(),
        }
    }
}

fn file_bytes(found: &Found) -> u64 {
    if found.stat.kind == StatKind::File {
        found.stat.size_bytes
    } else {
        0
    }
}
