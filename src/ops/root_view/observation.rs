//! The observed state of a root: every path of a scan, with facts from a stamp or as read.

use crate::error::Result;
use crate::fs::facts::check_directories;
use crate::fs::root::Root;
use crate::fs::scan::{Found, Mask, Paths};
use crate::model::digest::ContentHash;
use crate::model::policy::normalise::Seen;
use crate::model::stamp::{Facts, Stamp, Stat, StatKind, Time, is_settled};
use crate::model::tree::path::EntryPath;
use crate::store::StampState;
use std::num::NonZeroUsize;

/// An observed root. Paths are named by their places in the order of the scan.
#[derive(Debug)]
pub(crate) struct Observation {
    /// All paths in order.
    pub found: Paths,
    /// The places of the paths that count, sorted; `None` if all paths count.
    pub places: Option<Vec<usize>>,
    /// The facts of each path that counts; empty for deferred files.
    pub facts: Vec<Facts>,
    /// The places of the paths that were read.
    pub fresh: Vec<usize>,
    /// The places of the files that are read when their layer is packed, in order.
    pub deferred: Vec<usize>,
    /// Stamped paths that are gone, in their ordered form.
    pub gone: Vec<Vec<u8>>,
    pub has_mounts: bool,
    pub scan_start: Time,
    /// The number of sockets, which are not among the paths.
    pub sockets: u64,
    /// The state of the stamps when they were read.
    pub stamps: StampState,
}

/// Frees a value on another thread, since freeing a million paths takes a fifth of a second.
pub(crate) fn free_aside(unneeded: impl Send + 'static) {
    // Without a thread the value is freed right here.
    let _ = std::thread::Builder::new().spawn(move || drop(unneeded));
}

/// Returns where the path at place `at` is among `places`, which are sorted; `None` stands for all places.
pub(super) fn place_among(places: Option<&[usize]>, at: usize) -> Option<usize> {
    places.map_or(Some(at), |places| places.binary_search(&at).ok())
}

impl Observation {
    /// Returns the paths whose stamps are to change, in order: each with the new stamp, or `None` if the path is gone or cannot
    /// have a stamp. Deferred files lose the stamp of another boot, which may look right and still not hold.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<Stamp>)> {
        let deferred: &[usize] = if self.stamps.lasting.is_this_boot {
            &[]
        } else {
            &self.deferred
        };
        let mut places = [&self.fresh, deferred].concat();
        places.sort_unstable();
        let mut changed = places
            .into_iter()
            .map(|at| (self.found[at].path.key(), at))
            .peekable();
        let mut gone = self.gone.iter().map(Vec::as_slice).peekable();
        std::iter::from_fn(move || {
            let is_next = |gone: &&[u8]| changed.peek().is_none_or(|(key, _)| gone < key);
            if let Some(key) = gone.next_if(is_next) {
                return Some((key, None));
            }
            let (key, at) = changed.next()?;
            let is_deferred = deferred.binary_search(&at).is_ok();
            Some((key, if is_deferred { None } else { self.stamp_at(at) }))
        })
    }

    fn stamp_at(&self, at: usize) -> Option<Stamp> {
        Stamp::new(&self.found[at].stat, self.scan_start, self.facts_at(at)?)
    }

    fn facts_at(&self, at: usize) -> Option<&Facts> {
        self.facts.get(place_among(self.places.as_deref(), at)?)
    }

    /// Tells whether every path has a stamp once the read paths are stamped, and no path is hidden by a mount.
    pub(crate) fn is_known_whole(&self) -> bool {
        let is_settled_at = |at: &usize| is_settled(&self.found[*at].stat, self.scan_start);
        !self.has_mounts && self.fresh.iter().all(is_settled_at)
    }

    /// Frees the facts of all paths. Paths and stat data stay.
    pub(crate) fn forget_facts(&mut self) {
        free_aside(std::mem::take(&mut self.facts));
    }

    /// Returns the files that are to be read when their layer is packed, in order.
    pub(crate) fn deferred(&self) -> impl Iterator<Item = &Found> {
        self.deferred.iter().map(|at| &self.found[*at])
    }

    /// Returns when the scan began.
    pub(crate) fn scan_start(&self) -> Time {
        self.scan_start
    }

    /// Reads the stat data of every directory once more: a file moved between directories during the scan may have been
    /// seen in none. Fails with [`crate::error::Error::Changed`] if a directory has changed, and if a directory cannot be opened.
    pub(crate) fn check(&self, root: &Root, threads: NonZeroUsize) -> Result<()> {
        check_directories(root, &self.found, threads)
    }

    /// Returns all paths that count, in order.
    pub(crate) fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        self.facts.iter().enumerate().map(|(among, facts)| {
            let at = self.places.as_ref().map_or(among, |places| places[among]);
            let Found { path, stat, masked } = &self.found[at];
            Seen {
                path,
                stat,
                facts,
                is_mount: *masked == Some(Mask::Mount),
            }
        })
    }

    /// Returns the stat data of `path`.
    pub(crate) fn stat(&self, path: &EntryPath) -> Option<&Stat> {
        Some(&self.found[self.found.position(path)?].stat)
    }

    /// Returns the stat data and the facts of `path`, if the path counts.
    pub(crate) fn at(&self, path: &EntryPath) -> Option<(&Stat, &Facts)> {
        let at = self.found.position(path)?;
        Some((&self.found[at].stat, self.facts_at(at)?))
    }

    /// Returns the length and the hash of the file at `path`; `None` without such a file, and for a mount.
    pub(crate) fn file(&self, path: &EntryPath) -> Option<(u64, ContentHash)> {
        let at = self.found.position(path)?;
        let Found { stat, masked, .. } = &self.found[at];
        let is_file = stat.kind == StatKind::File && masked.is_none();
        let content = self.facts_at(at).filter(|_| is_file)?.content?;
        Some((stat.size_bytes, content))
    }

    /// Returns the names in a directory.
    pub(crate) fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>> {
        let Some(at) = self.found.position(directory) else {
            return Vec::new();
        };
        self.found
            .range(at + 1..self.found.len())
            .take_while(|found| found.path.is_beneath(directory))
            .filter(|found| found.path.parent_key() == Some(directory.key()))
            .map(|found| found.path.name().to_vec())
            .collect()
    }
}
