//! Reads what stat does not tell: content hashes, link targets and extended attributes, on several threads.
//!
//! A file that changes while it is read is read again, and is an error if it does not hold still; so no hash is of
//! a mixture of two states.

use super::content::{Content, is_other_length, other_length};
use super::root::{Root, handle_path, place_of};
use super::scan::{Found, Paths};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::policy::keeps_xattr;
use crate::model::stamp::{Facts, Stat, StatKind};
use crate::model::tree::entry::Xattrs;
use crate::model::tree::path::EntryPath;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often a path is read that is another after reading than it was before.
const MOST_READS: usize = 5;

const BUFFER_BYTES: usize = 256 * 1024;

const READING_XATTRS: &str = "read the extended attributes of";

/// The bytes of a file whose facts have become known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// The file was read; it is not empty.
    Read(u64),
    /// The inode was read under another name.
    Shared(u64),
}

/// What a thread has read.
#[derive(Default)]
struct Done {
    /// Each with its number among the positions.
    facts: Vec<(usize, Facts)>,
    /// The positions of paths that have changed since they were found.
    changed: Vec<(usize, Stat)>,
}

/// Reads the facts of `found` at `positions`, brings the stat data up to date where a path has changed since, and gives
/// `keep` the facts of each, in any order, with its number among the positions. `read` is told of each file at once. A file
/// with several names is read at the first of them.
pub(crate) fn read_facts(
    root: &Root,
    found: &mut Paths,
    positions: &[usize],
    threads: NonZeroUsize,
    read: &(dyn Fn(Progress) + Sync),
    mut keep: impl FnMut(usize, Facts),
) -> Result<()> {
    let (firsts, others) = by_inode(found, positions);
    let firsts_of_others = others.iter().map(|(_, first)| (*first, Facts::default()));
    let mut of_inodes: HashMap<usize, Facts> = firsts_of_others.collect();
    let mut keep_each = |number: usize, facts: Facts| {
        if let Some(known) = of_inodes.get_mut(&number) {
            known.clone_from(&facts);
        }
        keep(number, facts);
    };
    read_each(
        root,
        found,
        positions,
        &firsts,
        threads,
        read,
        &mut keep_each,
    )?;
    let (alike, unlike): (Vec<_>, Vec<_>) = others.into_iter().partition(|(number, first)| {
        found[positions[*number]].stat == found[positions[*first]].stat
    });
    for (number, first) in alike {
        read(Progress::Shared(found[positions[number]].stat.size_bytes));
        keep(number, of_inodes.get(&first).cloned().unwrap_or_default());
    }
    // What has changed since is perhaps no longer the same inode.
    let unlike: Vec<usize> = unlike.into_iter().map(|(number, _)| number).collect();
    read_each(root, found, positions, &unlike, threads, read, &mut keep)
}

/// Parts the positions, by their numbers, into those of inodes and those of further names, each with that of the first name.
fn by_inode(found: &Paths, positions: &[usize]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut first_names: HashMap<(u64, u64), usize> = HashMap::new();
    let (mut firsts, mut others) = (Vec::with_capacity(positions.len()), Vec::new());
    for (number, position) in positions.iter().enumerate() {
        let Found { stat, covered, .. } = &found[*position];
        let may_be_known = stat.kind == StatKind::File && stat.nlink > 1 && covered.is_none();
        let first = may_be_known.then(|| {
            *first_names
                .entry((stat.device, stat.inode))
                .or_insert(number)
        });
        match first.filter(|first| *first != number) {
            Some(first) => others.push((number, first)),
            None => firsts.push(number),
        }
    }
    (firsts, others)
}

/// Reads the facts at those of the positions that have these numbers.
fn read_each(
    root: &Root,
    found: &mut Paths,
    positions: &[usize],
    numbers: &[usize],
    threads: NonZeroUsize,
    read: &(dyn Fn(Progress) + Sync),
    keep: &mut dyn FnMut(usize, Facts),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let shared: &Paths = found;
    let work = || -> Result<Done> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut done = Done::default();
        loop {
            let number = numbers.get(next.fetch_add(1, Ordering::Relaxed));
            let Some(number) = number.copied().filter(|_| !failed.load(Ordering::Relaxed)) else {
                return Ok(done);
            };
            let one = &shared[positions[number]];
            let (stat, facts) = facts_of(root, one, &mut buffer)
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            if facts.content.is_some() && stat.size_bytes > 0 {
                read(Progress::Read(stat.size_bytes));
            }
            done.facts.push((number, facts));
            if stat != one.stat {
                done.changed.push((positions[number], stat));
            }
        }
    };
    let workers = threads.get().min(numbers.len().div_ceil(16)).max(1);
    let all: Vec<Result<Done>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|h| {
                h.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    for done in all {
        let Done { facts, changed } = done?;
        facts
            .into_iter()
            .for_each(|(number, facts)| keep(number, facts));
        changed
            .into_iter()
            .for_each(|(position, stat)| found[position].stat = stat);
    }
    Ok(())
}

fn facts_of(root: &Root, found: &Found, buffer: &mut [u8]) -> Result<(Stat, Facts)> {
    if found.covered.is_some() {
        let content = (found.stat.kind == StatKind::File).then(|| hash_of(&blake3::Hasher::new()));
        return Ok((
            found.stat.clone(),
            Facts {
                content,
                ..Facts::default()
            },
        ));
    }
    for _ in 0..MOST_READS {
        let handle = root.open_handle(&found.path)?;
        let before = stat_of(root, &handle, &found.path)?;
        let is_same_kind =
            std::mem::discriminant(&before.kind) == std::mem::discriminant(&found.stat.kind);
        if !is_same_kind || before.kind == StatKind::Directory && before != found.stat {
            break; // this needs another walk
        }
        let mut is_of_its_length = true;
        let facts = match before.kind {
            StatKind::File => {
                let file = root.reopen(&handle, &found.path)?;
                let xattrs = file_xattrs(root, &file, &found.path)?;
                let content = root.content(file, before.size_bytes, &found.path)?;
                let content = hash_content(root, content, &found.path, buffer)?;
                is_of_its_length = content.is_some();
                Facts {
                    content,
                    xattrs,
                    ..Facts::default()
                }
            }
            StatKind::Symlink => {
                let target = rustix::fs::readlinkat(&handle, c"", Vec::new())
                    .map_err(|e| root.failed("read the link", &found.path, e))?;
                let xattrs = handle_xattrs(root, &handle, &found.path)?;
                Facts {
                    target: target.into_bytes().into(),
                    xattrs,
                    ..Facts::default()
                }
            }
            _ => Facts {
                xattrs: handle_xattrs(root, &handle, &found.path)?,
                ..Facts::default()
            },
        };
        match stat_of(root, &handle, &found.path)? == before {
            true if is_of_its_length => return Ok((before, facts)),
            true => {
                return Err(Error::io("read", root.full_path(&found.path))(
                    other_length(),
                ));
            }
            false => {}
        }
    }
    Err(Error::Changed(root.full_path(&found.path)))
}

/// Asks about every directory once more. Fails with [`Error::Changed`] where one is not what it was when it was found:
/// names may have come or gone since.
pub fn check_directories(root: &Root, found: &Paths, threads: NonZeroUsize) -> Result<()> {
    let is_entered =
        |found: &&Found| found.stat.kind == StatKind::Directory && found.covered.is_none();
    let check = |found: &Found| match stat_of(root, &root.open_handle(&found.path)?, &found.path)?
        == found.stat
    {
        true => Ok(()),
        false => Err(Error::Changed(root.full_path(&found.path))),
    };
    let check_all =
        |places: Range<usize>| found.range(places).filter(is_entered).try_for_each(check);
    let part = found.len().div_ceil(threads.get()).max(1024);
    let check_all = &check_all;
    std::thread::scope(|scope| {
        let starts = (0..found.len()).step_by(part);
        let parts = starts.map(|start| start..found.len().min(start + part));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(move || check_all(part)))
            .collect();
        parts.into_iter().try_for_each(|part| {
            part.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

pub(super) fn stat_of(root: &Root, handle: &impl AsFd, path: &EntryPath) -> Result<Stat> {
    let placed = place_of(handle.as_fd()).map_err(|e| root.failed("stat", path, e))?;
    placed
        .stat
        .ok_or_else(|| Error::Changed(root.full_path(path)))
}

/// Reads as much as the file had, so that one who keeps appending cannot keep us; `None` where it has more or less.
fn hash_content(
    root: &Root,
    mut content: Content,
    path: &EntryPath,
    buffer: &mut [u8],
) -> Result<Option<ContentHash>> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match content.read(buffer) {
            Ok(0) => return Ok((content.left_bytes() == 0).then(|| hash_of(&hasher))),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) if is_other_length(&e) => return Ok(None),
            Err(e) => return Err(Error::io("read", root.full_path(path))(e)),
        };
    }
}

fn hash_of(hasher: &blake3::Hasher) -> ContentHash {
    ContentHash(*hasher.finalize().as_bytes())
}

/// Returns the attributes of an open file that belong to the tree.
pub(super) fn file_xattrs(root: &Root, file: &File, path: &EntryPath) -> Result<Xattrs> {
    xattrs(
        |buffer| rustix::fs::flistxattr(file, buffer),
        |name, buffer| rustix::fs::fgetxattr(file, name, buffer),
    )
    .map_err(|e| root.failed(READING_XATTRS, path, e))
}

/// Returns those of what a handle names. Its link in /proc leads to the very inode, also where that is a symlink, which
/// the calls that take a handle cannot do with `O_PATH`.
pub(super) fn handle_xattrs(root: &Root, handle: &OwnedFd, path: &EntryPath) -> Result<Xattrs> {
    let link = handle_path(handle);
    xattrs(
        |buffer| rustix::fs::listxattr(&link, buffer),
        |name, buffer| rustix::fs::getxattr(&link, name, buffer),
    )
    .map_err(|e| root.failed(READING_XATTRS, path, e))
}

/// Tells whether what is made in a directory may get attributes from it that a tree can have: an access list, or what a
/// filesystem makes its own settings of.
pub(super) fn hands_on_attributes(root: &Root, handle: &OwnedFd, path: &EntryPath) -> Result<bool> {
    inherited(root, handle, path).map(|names| !names.is_empty())
}

/// Returns the names of the attributes of a handle that a tree can have and that may go from a directory to what is made in
/// it. Those of users and of file capabilities never do (xattr(7), capabilities(7)).
pub(super) fn inherited(
    root: &Root,
    handle: &impl AsFd,
    path: &EntryPath,
) -> Result<Vec<Box<[u8]>>> {
    let link = handle_path(handle);
    let names = match grown(|buffer| rustix::fs::listxattr(&link, buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        names => names.map_err(|e| root.failed(READING_XATTRS, path, e))?,
    };
    let stays = |name: &[u8]| name.starts_with(b"user.") || name == b"security.capability";
    let names = names
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty() && keeps_xattr(name) && !stays(name));
    Ok(names.map(Into::into).collect())
}

fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Xattrs> {
    let names = match grown(list) {
        Err(Errno::NOTSUP) => return Ok(Xattrs::default()),
        names => names?,
    };
    let mut pairs = Vec::new();
    for name in names
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty() && keeps_xattr(name))
    {
        match grown(|buffer| get(name, buffer)) {
            Err(Errno::NODATA) => {} // removed meanwhile: the ctime tells
            value => pairs.push((name.into(), value?.into())),
        }
    }
    Ok(Xattrs::new(pairs))
}

/// Calls with a small buffer, and once more with the largest that the kernel fills (XATTR_SIZE_MAX, XATTR_LIST_MAX)
/// where that was too small.
fn grown(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 512];
    match call(&mut small) {
        Err(Errno::RANGE) => {
            let mut large = vec![0; 64 << 10];
            let length = call(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        length => Ok(small[..length?].to_vec()),
    }
}
