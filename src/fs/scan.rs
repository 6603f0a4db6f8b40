//! Finds every path of a root with its stat data, by directory handles and on several threads.
//!
//! Opens directories and nothing else. Mount points, on the same device or another, are never entered; what
//! covers them is not recorded. Whatever cannot be listed is an error, never an absence.

use super::root::{Placed, Root, place_in, place_of};
use crate::error::{Error, Result};
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LONGEST_PATH_BYTES};
use crate::model::policy::Rules;
use crate::model::stamp::{Stat, StatKind, Time};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::{Index, IndexMut, Range};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// How often a directory is listed anew when a name in it was gone before it could be asked about.
const MOST_LISTINGS: usize = 5;

/// A path that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: EntryPath,
    /// Its stat data; made up for what is covered.
    pub stat: Stat,
    /// Why what is there is neither opened nor recorded, but an empty directory or file of root's in its place.
    pub covered: Option<Cover>,
}

/// What keeps a path from being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Something is mounted on it.
    Mount,
    /// The policy keeps it empty.
    Policy,
}

/// All that was found.
#[derive(Debug)]
pub struct Scan {
    /// What is there.
    pub found: Paths,
    /// Sockets, which a layer cannot hold.
    pub sockets: u64,
    /// The filesystem's time before the first path was looked at.
    pub start: Time,
}

/// All paths in order; the root itself comes first. They stay where the threads put them, since in one list they would be
/// there twice while it is made.
#[derive(Debug)]
pub struct Paths {
    /// For each thread what it has found.
    found: Vec<Vec<Found>>,
    /// For each path in order the thread and the place.
    order: Vec<(u32, u32)>,
}

impl Paths {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Tells whether there is none, not even the root.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Found> + Clone {
        self.range(0..self.len())
    }

    /// Returns some of them in order.
    pub fn range(&self, places: Range<usize>) -> impl ExactSizeIterator<Item = &Found> + Clone {
        self.order[places]
            .iter()
            .map(|(thread, at)| &self.found[*thread as usize][*at as usize])
    }

    /// Returns the place of the directory that holds the path at `at`; `None` for the root.
    pub fn above(&self, at: usize) -> Option<usize> {
        let directory = self[at].path.parent_key()?;
        // It is not far before.
        let mut step = 1;
        let first = loop {
            let before = at.saturating_sub(step);
            if before == 0 || self[before].path.key() <= directory {
                break before;
            }
            step *= 2;
        };
        self.position_among(first..at, directory).ok()
    }

    /// Returns the place of each path; `None` for one that was not found. `paths` come in order.
    pub fn positions<'p>(
        &self,
        paths: impl Iterator<Item = &'p EntryPath>,
    ) -> impl Iterator<Item = Option<usize>> {
        let mut next = 0;
        paths.map(move |path| {
            // It is not far after the one before.
            let mut step = 1;
            while next + step < self.len() && self[next + step].path < *path {
                step *= 2;
            }
            let found = self.position_among(next..self.len().min(next + step + 1), path.key());
            next = found.unwrap_or_else(|next| next);
            found.ok()
        })
    }

    fn position_among(
        &self,
        places: Range<usize>,
        key: &[u8],
    ) -> std::result::Result<usize, usize> {
        let found = |&(thread, at): &(u32, u32)| &self.found[thread as usize][at as usize];
        let among = self.order[places.clone()].binary_search_by(|at| found(at).path.key().cmp(key));
        among
            .map(|among| places.start + among)
            .map_err(|among| places.start + among)
    }

    /// Returns the place of `path` in the order.
    pub fn position(&self, path: &EntryPath) -> Option<usize> {
        self.position_among(0..self.len(), path.key()).ok()
    }
}

impl Index<usize> for Paths {
    type Output = Found;

    fn index(&self, at: usize) -> &Found {
        let (thread, at) = self.order[at];
        &self.found[thread as usize][at as usize]
    }
}

impl IndexMut<usize> for Paths {
    fn index_mut(&mut self, at: usize) -> &mut Found {
        let (thread, at) = self.order[at];
        &mut self.found[thread as usize][at as usize]
    }
}

/// Takes paths in order.
impl From<Vec<Found>> for Paths {
    fn from(found: Vec<Found>) -> Self {
        Self {
            order: (0..found.len() as u32).map(|at| (0, at)).collect(),
            found: vec![found],
        }
    }
}

/// Walks the root.
pub fn scan(root: &Root, rules: &Rules, threads: NonZeroUsize) -> Result<Scan> {
    let start = root.now()?;
    let handle = root.open_directory(&EntryPath::root())?;
    let top = place_of(handle.as_fd()).map_err(|e| root.failed("stat", &EntryPath::root(), e))?;
    let stat = top
        .stat
        .ok_or_else(|| Error::NotADirectory(root.path().to_owned()))?;
    let top = Found {
        path: EntryPath::root(),
        stat,
        covered: None,
    };

    let (numbers, memory_bytes) = (AtomicUsize::new(1), AtomicUsize::new(0));
    let queue = Queue::new(Directory {
        number: 0,
        path: EntryPath::root(),
    });
    let workers: Vec<Result<Walker>> = std::thread::scope(|scope| {
        let spawn = |_| {
            scope.spawn(|| {
                let mut walker = Walker::new(root, rules, &numbers, &memory_bytes);
                queue
                    .work(|directory| walker.list(directory))
                    .map(|()| walker)
            })
        };
        let handles: Vec<_> = (0..threads.get()).map(spawn).collect();
        handles
            .into_iter()
            .map(|h| {
                h.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let (mut sockets, mut found, mut listings) = (0, Vec::new(), Vec::new());
    for (thread, worker) in workers.into_iter().enumerate() {
        let worker = worker?;
        sockets += worker.sockets;
        found.push(worker.found);
        listings.extend(
            worker
                .listings
                .into_iter()
                .map(|listing| (thread as u32, listing)),
        );
    }
    listings.sort_unstable_by_key(|(_, listing)| listing.number);
    Ok(Scan {
        found: in_path_order(top, found, &listings),
        sockets,
        start,
    })
}

/// Puts in order what each directory holds: what is beneath a directory comes right after it. `listings`, each with the thread
/// that made it, are in order of their numbers.
fn in_path_order(top: Found, mut found: Vec<Vec<Found>>, listings: &[(u32, Listing)]) -> Paths {
    let mut order = Vec::with_capacity(1 + found.iter().map(Vec::len).sum::<usize>());
    order.push((found.len() as u32, 0));
    let open = |number: usize| {
        let (
            thread,
            Listing {
                found, first_below, ..
            },
        ) = listings.get(number)?;
        Some((*thread, found.clone(), *first_below))
    };
    let mut opened: Vec<_> = open(0).into_iter().collect();
    while let Some((thread, rest, below)) = opened.last_mut() {
        let Some(at) = rest.next() else {
            opened.pop();
            continue;
        };
        order.push((*thread, at));
        if found[*thread as usize][at as usize].is_entered() {
            let number = *below;
            *below += 1;
            opened.extend(open(number));
        }
    }
    found.push(vec![top]);
    Paths { found, order }
}

/// A directory that is to be listed.
struct Directory {
    number: usize,
    path: EntryPath,
}

/// What a directory holds.
struct Listing {
    number: usize,
    /// The places of what it holds among what its thread has found, in order of names.
    found: Range<u32>,
    /// The number of the first directory among them that is entered; the others have those that follow.
    first_below: usize,
}

impl Found {
    fn is_entered(&self) -> bool {
        self.covered.is_none() && self.stat.kind == StatKind::Directory
    }
}

struct Walker<'a> {
    root: &'a Root,
    rules: &'a Rules,
    /// How many directories have a number.
    numbers: &'a AtomicUsize,
    /// What the entries of all that was found will take at least.
    memory_bytes: &'a AtomicUsize,
    found: Vec<Found>,
    listings: Vec<Listing>,
    sockets: u64,
    /// Empty, for what the next directory holds.
    spare: Vec<Found>,
}

impl<'a> Walker<'a> {
    fn new(
        root: &'a Root,
        rules: &'a Rules,
        numbers: &'a AtomicUsize,
        memory_bytes: &'a AtomicUsize,
    ) -> Self {
        let (found, listings, spare) = Default::default();
        Self {
            root,
            rules,
            numbers,
            memory_bytes,
            found,
            listings,
            sockets: 0,
            spare,
        }
    }

    /// Lists a directory and returns those in it that are to be listed.
    fn list(&mut self, directory: &Directory) -> Result<Vec<Directory>> {
        for _ in 0..MOST_LISTINGS {
            let mut found = std::mem::take(&mut self.spare);
            found.clear();
            if let Some(sockets) = self.try_list(&directory.path, &mut found)? {
                let above = directory.path.key().len();
                found.sort_unstable_by(|a, b| a.path.key()[above..].cmp(&b.path.key()[above..]));
                found.dedup_by(|a, b| a.path == b.path); // a rename meanwhile can show a name twice
                self.sockets += sockets;
                self.weigh(directory, &found)?;
                return Ok(self.keep(directory.number, found));
            }
        }
        Err(Error::Changed(self.root.full_path(&directory.path)))
    }

    /// Fails where the root has more names than a tree may have: their memory would have no bound.
    fn weigh(&self, directory: &Directory, found: &[Found]) -> Result<()> {
        let bytes = found
            .iter()
            .map(|found| Entry::path_memory_bytes(&found.path))
            .sum();
        if self.memory_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > LARGEST_ENTRIES_BYTES {
            let reason = "the root has more names than a tree may have";
            return Err(Error::Unrecordable {
                path: self.root.full_path(&directory.path),
                reason,
            });
        }
        Ok(())
    }

    fn keep(&mut self, number: usize, mut found: Vec<Found>) -> Vec<Directory> {
        let entered = found.iter().filter(|found| found.is_entered());
        let first_below = self
            .numbers
            .fetch_add(entered.clone().count(), Ordering::Relaxed);
        let below = entered.zip(first_below..).map(|(found, number)| Directory {
            number,
            path: found.path.clone(),
        });
        let below = below.collect();
        let start = self.found.len() as u32;
        self.found.append(&mut found);
        self.spare = found;
        self.listings.push(Listing {
            number,
            found: start..self.found.len() as u32,
            first_below,
        });
        below
    }

    /// Adds what the directory holds to `found`, and returns the number of sockets in it; `None` where a name was gone before
    /// it could be asked about.
    fn try_list(&self, directory: &EntryPath, found: &mut Vec<Found>) -> Result<Option<u64>> {
        let handle = self.root.open_directory(directory)?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut listing = RawDir::new(&handle, &mut buffer);
        let mut sockets = 0;
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|e| self.root.failed("list", directory, e))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = directory.join(name.to_bytes());
            if self.rules.excludes(&path) {
                continue;
            }
            if path.key().len() > LONGEST_PATH_BYTES {
                let reason = "its path is longer than 16 KiB";
                return Err(Error::Unrecordable {
                    path: self.root.full_path(&path),
                    reason,
                });
            }
            match place_in(handle.as_fd(), name) {
                Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(self.root.failed("stat", &path, e)),
                Ok(placed) => match self.found(path, placed) {
                    Some(one) => found.push(one),
                    None => sockets += 1,
                },
            }
        }
        Ok(Some(sockets))
    }

    /// `None` for a socket.
    fn found(&self, path: EntryPath, placed: Placed) -> Option<Found> {
        let covered = match placed.is_directory && self.rules.hollows(&path) {
            true => Some(Cover::Policy), // also where something is mounted on it
            false => (!self.root.is_own_mount(placed.mount)).then_some(Cover::Mount),
        };
        let stat = match covered {
            Some(_) => covered_stat(if placed.is_directory {
                StatKind::Directory
            } else {
                StatKind::File
            }),
            None => placed.stat?,
        };
        Some(Found {
            path,
            stat,
            covered,
        })
    }
}

/// Returns what is seen of a path that is covered: the same whatever covers it.
pub fn covered_stat(kind: StatKind) -> Stat {
    Stat {
        kind,
        mode: if kind == StatKind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        nlink: 1,
        device: 0,
        inode: 0,
        size_bytes: 0,
        mtime: Time::default(),
        ctime: Time::default(),
    }
}

/// Directories that wait to be listed, shared by the threads.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<Directory>,
    working: usize,
    failed: bool,
}

impl Queue {
    fn new(first: Directory) -> Self {
        let state = State {
            waiting: vec![first],
            working: 0,
            failed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes directories until none is left and nobody could add one, or until a thread failed.
    fn work(&self, mut list: impl FnMut(&Directory) -> Result<Vec<Directory>>) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.failed || state.waiting.is_empty() && state.working == 0 {
                return Ok(());
            }
            let Some(directory) = state.waiting.pop() else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.working += 1;
            drop(state);
            let listed =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| list(&directory)));
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.working -= 1;
            let listed = match listed {
                Ok(listed) => listed,
                Err(panic) => {
                    state.failed = true; // or the others would wait for ever
                    self.changed.notify_all();
                    drop(state);
                    std::panic::resume_unwind(panic)
                }
            };
            state.failed |= listed.is_err();
            let added = listed.as_ref().map_or(0, Vec::len);
            let error = listed.map(|below| state.waiting.extend(below)).err();
            if added > 1 || state.working == 0 || state.failed {
                self.changed.notify_all();
            }
            error.map_or(Ok(()), Err)?;
        }
    }
}
