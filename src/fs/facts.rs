//! Reads the facts beyond stat data: content hashes, link targets and extended attributes, on several threads.
//!
//! A file that changes meanwhile is read again, and is an error if the changes go on; so no hash mixes two states.

use super::content::{Content, is_other_length, other_length};
use super::paths::{Found, Paths};
use super::queue::on_threads;
use super::root::Root;
use super::xattrs::{file_xattrs, handle_xattrs};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Stat, StatKind};
use crate::model::tree::path::EntryPath;
use crate::threads::joined;
use std::collections::HashMap;
use std::io::Read;
use std::mem::discriminant;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How often a path is read that changes meanwhile.
const MOST_READS: usize = 5;

const BUFFER_BYTES: usize = 256 * 1024;

/// The bytes of a file whose facts have become known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Progress {
    /// The file was read; it is not empty.
    Read(u64),
    /// The inode was read under another name.
    Shared(u64),
}

/// The results of a thread.
#[derive(Default)]
struct Done {
    /// Each with the number among the positions.
    facts: Vec<(usize, Facts)>,
    /// The positions of paths that have changed since the scan.
    changed: Vec<(usize, Stat)>,
}

/// Reads the facts of `found` at `positions`, and gives `keep` the facts of each path, in any order, with the number among
/// the positions. Stat data of changed paths are brought up to date. `read` is told of each file at once. A file with
/// several names is read at the first name.
///
/// Fails with [`Error::Changed`] if a path vanishes, has another type, or keeps changing.
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
    // A changed name is perhaps no longer a name of the same inode.
    let unlike: Vec<usize> = unlike.into_iter().map(|(number, _)| number).collect();
    read_each(root, found, positions, &unlike, threads, read, &mut keep)
}

/// Parts the numbers of positions into first names of inodes and further names, each beside the first name.
fn by_inode(found: &Paths, positions: &[usize]) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut first_names: HashMap<(u64, u64), usize> = HashMap::new();
    let (mut firsts, mut others) = (Vec::with_capacity(positions.len()), Vec::new());
    for (number, position) in positions.iter().enumerate() {
        let Found { stat, masked, .. } = &found[*position];
        let may_be_known = stat.kind == StatKind::File && stat.nlink > 1 && masked.is_none();
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

/// Reads the facts at the positions of these numbers.
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
    let take_number = || {
        let number = numbers.get(next.fetch_add(1, Ordering::Relaxed));
        number.copied().filter(|_| !failed.load(Ordering::Relaxed))
    };
    let work = || -> Result<Done> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut done = Done::default();
        while let Some(number) = take_number() {
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
        Ok(done)
    };
    let workers = threads.get().min(numbers.len().div_ceil(16)).max(1);
    for done in on_threads(workers, work) {
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

/// Returns the facts of a path whose content is masked: a file counts as empty.
fn masked_facts(found: &Found) -> Facts {
    let is_file = found.stat.kind == StatKind::File;
    Facts {
        content: is_file.then(|| hash_of(&blake3::Hasher::new())),
        ..Facts::default()
    }
}

fn facts_of(root: &Root, found: &Found, buffer: &mut [u8]) -> Result<(Stat, Facts)> {
    if found.masked.is_some() {
        return Ok((found.stat.clone(), masked_facts(found)));
    }
    for _ in 0..MOST_READS {
        let handle = root.open_handle(&found.path)?;
        let before = root.stat_of(&handle, &found.path)?;
        let is_same_kind = discriminant(&before.kind) == discriminant(&found.stat.kind);
        if !is_same_kind || before.kind == StatKind::Directory && before != found.stat {
            break; // needs another scan
        }
        let facts = read_once(root, &handle, &before, &found.path, buffer)?;
        if root.stat_of(&handle, &found.path)? != before {
            continue;
        }
        let Some(facts) = facts else {
            let path = root.full_path(&found.path);
            return Err(Error::io("read", path)(other_length()));
        };
        return Ok((before, facts));
    }
    Err(Error::Changed(root.full_path(&found.path)))
}

/// Reads the facts of an inode of which stat said `before`; `None` for a file of another length.
fn read_once(
    root: &Root,
    handle: &OwnedFd,
    before: &Stat,
    path: &EntryPath,
    buffer: &mut [u8],
) -> Result<Option<Facts>> {
    let mut facts = Facts::default();
    if before.kind == StatKind::File {
        let file = root.reopen(handle, path)?;
        facts.xattrs = file_xattrs(root, &file, path)?;
        let content = root.content(file, before.size_bytes, path)?;
        facts.content = hash_content(root, content, path, buffer)?;
        return Ok(facts.content.is_some().then_some(facts));
    }
    if before.kind == StatKind::Symlink {
        let target = rustix::fs::readlinkat(handle, c"", Vec::new())
            .map_err(|e| root.failed("read the link", path, e))?;
        facts.target = target.into_bytes().into();
    }
    facts.xattrs = handle_xattrs(root, handle, path)?;
    Ok(Some(facts))
}

/// Asks about every directory once more. Fails with [`Error::Changed`] if the stat data of a directory are no longer as
/// the scan found: names may have come or gone since.
pub(crate) fn check_directories(root: &Root, found: &Paths, threads: NonZeroUsize) -> Result<()> {
    let part = found.len().div_ceil(threads.get()).max(1024);
    std::thread::scope(|scope| {
        let starts = (0..found.len()).step_by(part);
        let parts = starts.map(|start| start..found.len().min(start + part));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(move || check_part(root, found.range(part))))
            .collect();
        let mut parts = parts.into_iter();
        parts.try_for_each(|part| joined(part.join()))
    })
}

fn check_part<'f>(root: &Root, found: impl Iterator<Item = &'f Found>) -> Result<()> {
    for directory in found.filter(|found| found.is_entered()) {
        let path = &directory.path;
        if root.stat_of(&root.open_handle(path)?, path)? != directory.stat {
            return Err(Error::Changed(root.full_path(path)));
        }
    }
    Ok(())
}

/// Reads as many bytes as stat said, so endless appending cannot hold the reader; `None` where the file has more or
/// fewer.
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
