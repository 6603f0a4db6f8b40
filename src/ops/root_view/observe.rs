//! Looks at a root: a scan, merged with the stamps of the last one, and the facts of what has changed since.
//!
//! A path is read only where its stamp does not vouch for it, and what was read is stamped at once, so that a run
//! that fails later need not read it again.

use crate::error::{Error, Result};
use crate::fs::facts::{check_directories, read_facts};
use crate::fs::root::Root;
use crate::fs::scan::{Cover, Found, Paths, Scan, scan};
use crate::model::policy::Rules;
use crate::model::policy::normalise::Seen;
use crate::model::stamp::{Facts, Stamp, Stat, StatKind, Time, is_settled};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Phase, Phases};
use crate::store::Packed;
use crate::store::StampState;
use crate::store::Stamps;
use crate::store::Store;
use std::io::Read;
use std::num::NonZeroUsize;

/// The largest file that is read as a whole for what it says, such as passwd.
const LARGEST_CONFIGURATION_BYTES: u64 = 4 << 20;

/// What a scan found, and what of it the stamps vouch for.
#[derive(Debug)]
pub(crate) struct Look {
    scan: Scan,
    joined: Joined,
}

/// What a root holds.
#[derive(Debug)]
pub(crate) struct Observation {
    /// All paths in order.
    found: Paths,
    /// The places of those that count, sorted; `None` where all do.
    places: Option<Vec<usize>>,
    /// What there is to know of each of these; nothing yet of late files.
    facts: Vec<Facts>,
    /// Places of those that were read.
    fresh: Vec<usize>,
    /// Places of those that are read when they are packed.
    deferred: Vec<usize>,
    /// Stamped paths that are gone, in their ordered form.
    gone: Vec<Vec<u8>>,
    has_mounts: bool,
    scan_start: Time,
    /// Sockets, which are not among the paths.
    pub(crate) sockets: u64,
    /// The state that the stamps had.
    pub(crate) stamps: StampState,
}

/// Scans the root, and reads the stamps meanwhile; where there are none, `unstamped` loads more in the same time.
pub(crate) fn look<T: Send>(
    store: &mut Store,
    root: &Root,
    rules: &Rules,
    threads: NonZeroUsize,
    phases: &Phases,
    unstamped: impl FnOnce(&Store) -> Result<T> + Send,
) -> Result<(Look, Option<T>)> {
    phases.run(Phase::Scan, None, || {
        std::thread::scope(|scope| {
            let read = scope.spawn(|| -> Result<_> {
                let (stamps, state) = store.stamps(root.path())?;
                let loaded = stamps.is_empty().then(|| unstamped(store)).transpose()?;
                Ok((stamps, state, loaded))
            });
            let scan = scan(root, rules, threads);
            let read = read
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (scan, (stamps, state, loaded)) = (scan?, read?);
            Ok((Look::new(scan, stamps, state), loaded))
        })
    })
}

/// Frees what nobody needs any more on a thread of its own. To free a million paths one by one takes a fifth of a second, in
/// which more could be done.
pub(crate) fn free_aside(unneeded: impl Send + 'static) {
    // Where there can be no thread, it is freed right here.
    let _ = std::thread::Builder::new().spawn(move || drop(unneeded));
}

impl Look {
    /// Merges a scan with stamps.
    pub(crate) fn new(scan: Scan, stamps: Stamps, state: StampState) -> Self {
        Self {
            joined: join(stamps, state, &scan),
            scan,
        }
    }

    /// Returns the snapshot that the stamps are of and how many bytes of its base or delta are dead, where no path of it can be
    /// gone, or hidden by a mount, without being among the [`Look::gone`].
    pub(crate) fn known_tree(&self) -> Option<(i64, u64)> {
        let Joined {
            state, has_mounts, ..
        } = &self.joined;
        state
            .snapshot_id
            .zip(state.dead_bytes)
            .filter(|_| !has_mounts)
    }

    /// Returns all that was found.
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

    /// Tells whether the path at this place has a stamp, as it is now or was.
    pub(crate) fn is_stamped(&self, at: usize) -> bool {
        self.joined.unstamped.binary_search(&at).is_err()
    }

    /// Tells whether the path had a stamp and is gone.
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

    /// Returns the snapshot whose tree this is, where every stamp vouched and none is left over, and the stamps of it.
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

    /// Tells whether the root's filesystem is to be synced, so that what the stamps say holds after a power cut as well.
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

    /// Returns the sum of the files' lengths for which no stamp vouches.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.joined
            .unknown
            .iter()
            .map(|at| file_bytes(&self.scan.found[*at]))
            .sum()
    }

    /// Returns the paths at `places`, each with its place and whether it is unread: no stamp vouches for it, and nothing is
    /// mounted on it.
    pub(crate) fn paths(
        &self,
        places: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = (usize, &EntryPath, &Stat, bool)> {
        places.map(|at| {
            let found = &self.scan.found[at];
            let is_unread = !self.joined.vouched[at] && found.covered.is_none();
            (at, &found.path, &found.stat, is_unread)
        })
    }

    /// Returns a path with its stat data by its place in the order.
    pub(crate) fn at(&self, at: usize) -> (&EntryPath, &Stat) {
        let found = &self.scan.found[at];
        (&found.path, &found.stat)
    }

    /// Reads what no stamp vouches for, but for the files at `deferred`, which are sorted. Where
    /// there are `places`, sorted and all of those among them, nothing else counts.
    pub(crate) fn read(
        self,
        root: &Root,
        places: Option<Vec<usize>>,
        deferred: &[usize],
        threads: NonZeroUsize,
        phases: &Phases,
    ) -> Result<Observation> {
        let Joined {
            stamps,
            vouched,
            unknown: mut fresh,
            gone,
            has_mounts,
            state,
            ..
        } = self.joined;
        let Scan {
            mut found,
            sockets,
            start,
        } = self.scan;
        let mut facts = match &places {
            Some(places) => {
                vouched_facts(&stamps, places.iter().map(|at| (&found[*at], vouched[*at])))
            }
            None => vouched_facts(&stamps, found.iter().zip(vouched.iter().copied())),
        };
        drop((stamps, vouched));
        fresh.retain(|at| deferred.binary_search(at).is_err());
        let bytes = fresh.iter().map(|at| file_bytes(&found[*at])).sum();
        let keep = |number: usize, read| {
            if let Some(among) = place_among(places.as_deref(), fresh[number]) {
                facts[among] = read;
            }
        };
        let reads = &phases.reads;
        phases.run(Phase::Hash, Some(bytes), || {
            read_facts(
                root,
                &mut found,
                &fresh,
                threads,
                &|progress| reads.follow(progress),
                keep,
            )
        })?;
        let deferred = deferred.to_vec();
        let (scan_start, stamps) = (start, state);
        Ok(Observation {
            found,
            places,
            facts,
            fresh,
            deferred,
            gone,
            has_mounts,
            scan_start,
            sockets,
            stamps,
        })
    }
}

#[derive(Debug)]
struct Joined {
    stamps: Stamps,
    /// For each found path whether a stamp vouches for it.
    vouched: Vec<bool>,
    /// Places of the paths that no stamp vouches for.
    unknown: Vec<usize>,
    /// Places of those among them that have none; empty where the root has none at all.
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

/// Merges what was found with the stamps, which come in the same order.
fn join(stamps: Stamps, state: StampState, scan: &Scan) -> Joined {
    let found = &scan.found;
    let mut vouched = Vec::with_capacity(found.len());
    let (mut unknown, mut unstamped, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let (mut has_mounts, mut youngest) = (false, None);
    let mut look = |found: &Found, stamp: Option<Packed>| {
        has_mounts |= found.covered == Some(Cover::Mount);
        let is_vouched = stamp.is_some_and(|stamp| {
            stamp.mark.vouches_for(&found.stat) && state.lasting.holds(stamp.mark.ctime)
        });
        if !is_vouched {
            unknown.push(vouched.len());
        }
        if stamp.is_none() && !stamps.is_empty() {
            unstamped.push(vouched.len());
        }
        vouched.push(is_vouched);
    };
    let mut rest = found.iter().peekable();
    let mut stamps_in_order = stamps.read();
    while let Some(stamp) = stamps_in_order.next() {
        let key = stamps_in_order.key();
        youngest = youngest.max(Some(stamp.mark.ctime));
        while let Some(found) = rest.next_if(|found| found.path.key() < key) {
            look(found, None);
        }
        match rest.next_if(|found| found.path.key() == key) {
            Some(found) => look(found, Some(stamp)),
            None => gone.push(key.to_owned()),
        }
    }
    rest.for_each(|found| look(found, None));
    Joined {
        stamps,
        vouched,
        unknown,
        unstamped,
        has_mounts,
        gone,
        youngest,
        state,
    }
}

/// Returns the facts of each path that a stamp vouches for, as `found` says, which comes in order; of the others, none.
fn vouched_facts<'f>(
    stamps: &Stamps,
    found: impl Iterator<Item = (&'f Found, bool)>,
) -> Vec<Facts> {
    let mut stamps = stamps.read();
    let facts_of = |(found, is_vouched): (&Found, bool)| {
        while is_vouched && let Some(stamp) = stamps.next() {
            if stamps.key() == found.path.key() {
                return stamp.facts();
            }
        }
        Facts::default()
    };
    found.map(facts_of).collect()
}

/// Where the path at this place is among those at `places`, which are sorted; `None` stands for all.
fn place_among(places: Option<&[usize]>, at: usize) -> Option<usize> {
    places.map_or(Some(at), |places| places.binary_search(&at).ok())
}

fn file_bytes(found: &Found) -> u64 {
    if found.stat.kind == StatKind::File {
        found.stat.size_bytes
    } else {
        0
    }
}

impl Observation {
    /// Returns the paths that the stamps do not know as they are now, in order: with a stamp where there can be one. What is
    /// read later is among them, without one, if its stamp may be as it is and still not hold: that of another boot.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<Stamp>)> {
        let late: &[usize] = if self.stamps.lasting.is_this_boot {
            &[]
        } else {
            &self.deferred
        };
        let stamp = move |at: usize| match late.binary_search(&at) {
            Ok(_) => None,
            Err(_) => Stamp::new(&self.found[at].stat, self.scan_start, self.facts_at(at)?),
        };
        let mut places = [&self.fresh, late].concat();
        places.sort_unstable();
        let mut fresh = places
            .into_iter()
            .map(move |at| (self.found[at].path.key(), at))
            .peekable();
        let mut gone = self.gone.iter().map(Vec::as_slice).peekable();
        std::iter::from_fn(move || {
            if let Some(key) = gone.next_if(|gone| fresh.peek().is_none_or(|(key, _)| gone < key)) {
                return Some((key, None));
            }
            fresh.next().map(|(key, at)| (key, stamp(at)))
        })
    }

    fn facts_at(&self, at: usize) -> Option<&Facts> {
        self.facts.get(place_among(self.places.as_deref(), at)?)
    }

    /// Tells whether every path has a stamp once all that was read is stamped, and nothing is mounted on any.
    pub(crate) fn is_known_whole(&self) -> bool {
        !self.has_mounts
            && self
                .fresh
                .iter()
                .all(|at| is_settled(&self.found[*at].stat, self.scan_start))
    }

    /// Frees what there is to know of the paths, which all else can do without.
    pub(crate) fn forget_facts(&mut self) {
        free_aside(std::mem::take(&mut self.facts));
    }

    /// Returns the files that nobody has read, in path order.
    pub(crate) fn deferred(&self) -> impl Iterator<Item = &Found> {
        self.deferred.iter().map(|at| &self.found[*at])
    }

    /// Returns when the scan began.
    pub(crate) fn scan_start(&self) -> Time {
        self.scan_start
    }

    /// Asks about every directory once more: what was moved from one to another meanwhile may have been seen in neither.
    pub(crate) fn check(&self, root: &Root, threads: NonZeroUsize) -> Result<()> {
        check_directories(root, &self.found, threads)
    }

    /// Returns all paths that count, in order.
    pub(crate) fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        self.facts.iter().enumerate().map(|(among, facts)| {
            let found = &self.found[self.places.as_ref().map_or(among, |places| places[among])];
            let is_mount = found.covered.is_some_and(|why| why == Cover::Mount);
            Seen {
                path: &found.path,
                stat: &found.stat,
                facts,
                is_mount,
            }
        })
    }

    /// Returns what stat says of `path`.
    pub(crate) fn stat(&self, path: &EntryPath) -> Option<&Stat> {
        Some(&self.found[self.found.position(path)?].stat)
    }

    /// Returns what was seen at `path`, if it counts.
    pub(crate) fn at(&self, path: &EntryPath) -> Option<(&Stat, &Facts)> {
        let at = self.found.position(path)?;
        Some((&self.found[at].stat, self.facts_at(at)?))
    }

    /// Returns the content of a small file as it was seen; `None` where there is no such file. Fails where it is
    /// another by now.
    pub(crate) fn read_configuration(
        &self,
        root: &Root,
        path: &EntryPath,
    ) -> Result<Option<Vec<u8>>> {
        let Some((stat, content)) = self
            .at(path)
            .and_then(|(stat, facts)| Some((stat, facts.content?)))
        else {
            return Ok(None);
        };
        if stat.size_bytes > LARGEST_CONFIGURATION_BYTES {
            return Ok(None);
        }
        let full = root.full_path(path);
        let mut bytes = Vec::new();
        let mut input = root.open_file(path)?.take(LARGEST_CONFIGURATION_BYTES + 1);
        input
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &full))?;
        if blake3::hash(&bytes).as_bytes() != &content.0 {
            return Err(Error::Changed(full));
        }
        Ok(Some(bytes))
    }
}
