//! Finds every path of a root with its stat data, by directory handles and on several threads.
//!
//! Opens directories and nothing else. Mount points, on the same device or another, are never entered; mounted content
//! is not recorded. A directory that cannot be listed is an error, never an absence.

pub(crate) use super::paths::{Found, Mask, Paths, masked_stat};
use super::queue::{Directory, Queue, on_threads};
use super::root::{Placed, Root, place_in, place_of};
use crate::error::{Error, Result};
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LONGEST_PATH_BYTES};
use crate::model::policy::Rules;
use crate::model::stamp::{StatKind, Time};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use rustix::fs::RawDir;
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often a directory is listed while names vanish between listing and stat.
const MOST_LISTINGS: usize = 5;

/// The result of a scan.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The paths.
    pub found: Paths,
    /// Sockets, which a layer cannot hold.
    pub sockets: u64,
    /// The filesystem's time before the first path was looked at.
    pub start: Time,
}

/// Walks the root.
///
/// Fails with [`Error::Changed`] if a directory keeps changing, and if a directory cannot be listed or the root has more names
/// than a tree may have.
pub(crate) fn scan(root: &Root, rules: &Rules, threads: NonZeroUsize) -> Result<Scan> {
    let start = root.now()?;
    let top = find_top(root)?;
    let (numbers, memory_bytes) = (AtomicUsize::new(1), AtomicUsize::new(0));
    let queue = Queue::new(Directory {
        number: 0,
        path: EntryPath::root(),
    });
    let walk = || {
        let mut walker = Walker::new(root, rules, &numbers, &memory_bytes);
        let walked = queue.work(|directory| walker.list(directory));
        walked.map(|()| walker)
    };
    let workers: Vec<Result<Walker>> = on_threads(threads.get(), walk);
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

/// Returns the root itself.
fn find_top(root: &Root) -> Result<Found> {
    let path = EntryPath::root();
    let handle = root.open_directory(&path)?;
    let placed = place_of(handle.as_fd()).map_err(|e| root.failed("stat", &path, e))?;
    let stat = placed
        .stat
        .ok_or_else(|| Error::NotADirectory(root.path().to_owned()))?;
    Ok(Found {
        path,
        stat,
        masked: None,
    })
}

/// Puts the listings in path order: the content of a directory follows the directory. `listings`, each with a thread, are in
/// order of the numbers.
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

/// The names in a directory.
struct Listing {
    number: usize,
    /// The places among the paths of the thread, in order of names.
    found: Range<u32>,
    /// The number of the first entered directory; the other directories have the following numbers.
    first_below: usize,
}

struct Walker<'a> {
    root: &'a Root,
    rules: &'a Rules,
    /// How many directories have a number.
    numbers: &'a AtomicUsize,
    /// The least memory of all entries so far.
    memory_bytes: &'a AtomicUsize,
    found: Vec<Found>,
    listings: Vec<Listing>,
    sockets: u64,
    /// An empty list for the next directory.
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

    /// Lists a directory and returns the directories below entered.
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

    /// Fails if the root has more names than a tree may have: memory would have no bound.
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

    /// Adds the names in a directory to `found` and returns the number of sockets; `None` where a name vanished between
    /// listing and stat.
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
        let masked = if placed.is_directory && self.rules.keeps_empty(&path) {
            Some(Mask::Policy) // even on a mount point
        } else {
            (!self.root.is_own_mount(placed.mount)).then_some(Mask::Mount)
        };
        let stat = match masked {
            Some(_) => masked_stat(if placed.is_directory {
                StatKind::Directory
            } else {
                StatKind::File
            }),
            None => placed.stat?,
        };
        Some(Found { path, stat, masked })
    }
}
