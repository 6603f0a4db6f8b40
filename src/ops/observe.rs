//! Looks at a root: a scan, merged with the stamps of the last one, and the facts of what has changed since.
//!
//! A path is read only where its stamp does not vouch for it, and what was read is stamped at once, so that a run
//! that fails later need not read it again.

use super::late::{Late, LateFile};
use super::monitor::{Phase, Phases};
use crate::error::{Error, Result};
use crate::fs::facts::{Cost, check_directories, read_facts};
use crate::fs::root::Root;
use crate::fs::scan::{Cover, Found, Scan, scan};
use crate::model::normalise::Seen;
use crate::model::path::EntryPath;
use crate::model::policy::Rules;
use crate::model::stamp::{Facts, Stamp, Stat, StatKind, Time};
use crate::store::{StampState, Stamps, Store};
use std::cell::OnceCell;
use std::io::Read;
use std::num::NonZeroUsize;

/// The largest file that is read as a whole for what it says, such as passwd.
const LARGEST_CONFIGURATION_BYTES: u64 = 4 << 20;

/// What a scan found, and what of it the stamps vouch for.
#[derive(Debug)]
pub(super) struct Look {
    scan: Scan,
    joined: Joined,
}

/// What a root holds.
#[derive(Debug)]
pub(super) struct Observation {
    /// All paths in order, with what there is to know.
    pub(super) seen: Vec<Seen>,
    /// Those of them that nobody has read yet.
    pub(super) late: Late,
    /// Sockets, which are not among them.
    pub(super) sockets: u64,
    /// The stamps, which are of this tree now, but for the late files.
    pub(super) stamps: StampState,
    /// What was read.
    pub(super) cost: Cost,
}

/// Scans the root and asks the stamps.
pub(super) fn look(
    store: &mut Store,
    root: &Root,
    rules: &Rules,
    threads: NonZeroUsize,
    phases: &Phases,
) -> Result<Look> {
    phases.run(Phase::Scan, None, || {
        std::thread::scope(|scope| {
            let stamps = scope.spawn(|| store.stamps(root.path())); // the disk and the database side by side
            let scan = scan(root, rules, threads);
            let stamps = stamps.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (scan, (stamps, state)) = (scan?, stamps?);
            Ok(Look { joined: join(stamps, state, &scan), scan })
        })
    })
}

impl Look {
    /// Returns the snapshot whose tree this is, where every stamp vouched and none is left over, and the stamps of it.
    pub(super) fn same_as(&self) -> Option<(i64, StampState)> {
        let Joined { unknown, gone, stamps, .. } = &self.joined;
        let is_same = unknown.is_empty() && gone.is_empty();
        stamps.snapshot_id.filter(|_| is_same).map(|id| (id, *stamps))
    }

    /// Returns the number of sockets.
    pub(super) fn sockets(&self) -> u64 {
        self.scan.sockets
    }

    /// Returns when the scan began.
    pub(super) fn scan_start(&self) -> Time {
        self.scan.start
    }

    /// Returns the sum of the files' lengths for which no stamp vouches.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.joined.unknown.iter().map(|at| file_bytes(&self.scan.found[*at])).sum()
    }

    /// Returns all paths in order, with whether it is unread: no stamp vouches for it, and nothing is
    /// mounted on it.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&EntryPath, &Stat, bool)> {
        let found = self.scan.found.iter().zip(&self.joined.facts);
        found.map(|(found, facts)| (&found.path, &found.stat, facts.is_none() && found.covered.is_none()))
    }

    /// Returns a path with its stat data by its place in the order.
    pub(super) fn at(&self, at: usize) -> (&EntryPath, &Stat) {
        let found = &self.scan.found[at];
        (&found.path, &found.stat)
    }

    /// Reads what no stamp vouches for, but for the files at `late_positions`, which are sorted.
    pub(super) fn read(
        self,
        store: &mut Store,
        root: &Root,
        late_positions: &[usize],
        threads: NonZeroUsize,
        phases: &Phases,
    ) -> Result<Observation> {
        let Joined { mut facts, mut unknown, gone, mut stamps } = self.joined;
        let Scan { mut found, sockets, start } = self.scan;
        unknown.retain(|at| late_positions.binary_search(at).is_err());
        let mut cost = Cost::default();
        if !(unknown.is_empty() && gone.is_empty() && late_positions.is_empty()) {
            let bytes = unknown.iter().map(|at| file_bytes(&found[*at])).sum();
            phases.run(Phase::Hash, Some(bytes), || {
                let advance = |bytes| phases.monitor.advance(bytes);
                let read = read_facts(root, &mut found, &unknown, threads, &advance)?;
                cost = read.1;
                let fresh = unknown.iter().zip(&read.0);
                let fresh = fresh
                    .map(|(at, facts)| (found[*at].path.key(), Stamp::new(&found[*at].stat, start, facts)));
                let changes = gone.iter().map(|key| (key.as_slice(), None)).chain(fresh);
                stamps = store.update_stamps(root.path(), stamps, changes)?;
                unknown.iter().zip(read.0).for_each(|(at, fact)| facts[*at] = Some(fact));
                // What was moved from one directory to another meanwhile may have been seen in neither.
                check_directories(root, &found)
            })?;
        }
        let late = |at: &usize| {
            let Found { path, stat, .. } = &found[*at];
            LateFile { path: path.clone(), stat: stat.clone(), facts: OnceCell::new() }
        };
        let late = Late { files: late_positions.iter().map(late).collect(), scan_start: start };
        let seen = found.into_iter().zip(facts).map(|(Found { path, stat, covered }, facts)| {
            let facts = facts.unwrap_or_default(); // a late file's are not known yet
            Seen { path, stat, facts, is_mount: covered.is_some_and(|why| why == Cover::Mount) }
        });
        Ok(Observation { seen: seen.collect(), late, sockets, stamps, cost })
    }
}

#[derive(Debug)]
struct Joined {
    /// For each found path what its stamp vouches for.
    facts: Vec<Option<Facts>>,
    /// Places of the paths that no stamp vouches for.
    unknown: Vec<usize>,
    /// Stamped paths that were not found, in their ordered form.
    gone: Vec<Vec<u8>>,
    /// The state of the stamps.
    stamps: StampState,
}

/// Merges what was found with the stamps, which come in the same order.
fn join(stamps: Stamps, state: StampState, scan: &Scan) -> Joined {
    let found = &scan.found;
    let mut facts: Vec<Option<Facts>> = Vec::with_capacity(found.len());
    let mut gone = Vec::new();
    stamps.for_each(|key, stamp| {
        while found.get(facts.len()).is_some_and(|found| found.path.key() < key) {
            facts.push(None);
        }
        match found.get(facts.len()).filter(|found| found.path.key() == key) {
            Some(found) => facts.push(stamp.vouches_for(&found.stat).then_some(stamp.facts)),
            None => gone.push(key.to_owned()),
        }
    });
    facts.resize(found.len(), None);
    let unknown = facts.iter().enumerate().filter_map(|(at, facts)| facts.is_none().then_some(at)).collect();
    Joined { facts, unknown, gone, stamps: state }
}

fn file_bytes(found: &Found) -> u64 {
    if found.stat.kind == StatKind::File { found.stat.size_bytes } else { 0 }
}

impl Observation {
    /// Returns what was seen at `path`.
    pub(super) fn at(&self, path: &EntryPath) -> Option<&Seen> {
        self.seen.binary_search_by(|seen| seen.path.cmp(path)).ok().map(|at| &self.seen[at])
    }

    /// Returns the content of a small file as it was seen; `None` where there is no such file. Fails where it is
    /// another by now.
    pub(super) fn read_configuration(&self, root: &Root, path: &EntryPath) -> Result<Option<Vec<u8>>> {
        let Some((seen, content)) = self.at(path).and_then(|seen| Some((seen, seen.facts.content?))) else {
            return Ok(None);
        };
        if seen.stat.size_bytes > LARGEST_CONFIGURATION_BYTES {
            return Ok(None);
        }
        let full = root.full_path(path);
        let mut bytes = Vec::new();
        let mut input = root.open_file(path)?.take(LARGEST_CONFIGURATION_BYTES + 1);
        input.read_to_end(&mut bytes).map_err(Error::io("read", &full))?;
        if blake3::hash(&bytes).as_bytes() != &content.0 {
            return Err(Error::Changed(full));
        }
        Ok(Some(bytes))
    }
}
