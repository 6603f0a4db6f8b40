//! Does what a plan of a restore says: removes, makes directories, fills files out of the layers on several threads, and
//! gives the directories their metadata at the end, since what is made in them changes their times.

use super::monitor::{Monitor, Phase, Phases};
use super::restore_plan::{Act, Plan};
use super::restore_sources::{Reading, Source};
use crate::error::{Error, Result};
use crate::fs::attributes::{Lack, Made};
use crate::fs::new_file::NewFile;
use crate::fs::root::Root;
use crate::fs::write::Writer;
use crate::layer::read::{Blob, read_files};
use crate::layer::seek::Decompressor;
use crate::model::digest::ContentHash;
use crate::model::entry::{Entry, Group, Kind};
use crate::model::path::EntryPath;
use crate::model::policy::Profile;
use crate::model::stamp::Stat;
use crate::model::tree::Tree;
use std::collections::HashMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file that is not longer is compared with its hash before it is made.
const BUFFER_BYTES: usize = 256 * 1024;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What each entry that was touched is like now, by its place; in no order.
    pub(super) made: Vec<(usize, Stat)>,
    /// What could not be done, by the place of the entry.
    pub(super) lacks: Vec<(usize, Lack)>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What a restore works on.
pub(super) struct Work<'a> {
    pub(super) root: &'a Root,
    pub(super) tree: &'a Tree,
    pub(super) plan: Plan,
    pub(super) profile: Profile,
}

impl Done {
    fn take(&mut self, names: &[usize], made: Made) {
        self.lacks.extend(made.lacks.into_iter().map(|lack| (names[0], lack)));
        self.made.extend(names.iter().map(|at| (*at, made.stat.clone())));
    }

    fn add(&mut self, other: Self) {
        self.made.extend(other.made);
        self.lacks.extend(other.lacks);
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Writes all that is to be written.
pub(super) fn write(
    mut work: Work,
    sources: Vec<Source>,
    threads: NonZeroUsize,
    phases: &Phases,
) -> Result<Done> {
    let bytes = sources.iter().map(|source| source.bytes).sum();
    phases.run(Phase::Write, Some(bytes), || {
        let lacks = work.prepare()?;
        let mut done = work.fill(sources, threads, phases.monitor)?;
        done.lacks.extend(lacks);
        work.finish(&mut done)?;
        Ok(done)
    })
}

impl Work<'_> {
    fn entry(&self, at: usize) -> &Entry {
        &self.tree.entries()[at]
    }

    fn with_act(&self, act: Act) -> impl DoubleEndedIterator<Item = (usize, &Entry)> {
        let all = self.tree.entries().iter().enumerate();
        all.filter(move |(at, _)| self.plan.acts[*at] == act)
    }

    /// Removes what is to go, and makes the directories. Returns what lacks since the filesystem cannot have one of them.
    fn prepare(&mut self) -> Result<Vec<(usize, Lack)>> {
        let mut writer = Writer::new(self.root);
        for at in &self.plan.opened {
            if writer.open_up(&self.tree.entries()[*at].path)? {
                self.plan.acts[*at] = Act::Adjust;
            }
        }
        for path in &self.plan.removed {
            writer.remove(path)?;
        }
        let mut lacks = Vec::new();
        let mut unmade: Option<&EntryPath> = None;
        for (at, entry) in self.tree.entries().iter().enumerate() {
            let is_unmade = unmade.is_some_and(|above| entry.path.is_beneath(above));
            let is_new_directory = self.plan.acts[at] == Act::Make && entry.is_directory();
            if is_unmade && self.plan.acts[at] == Act::Make {
                lacks.push((at, Lack::All));
            } else if is_new_directory && !is_unmade && !writer.make_directory(&entry.path)? {
                unmade = Some(&entry.path);
                lacks.push((at, Lack::All));
            }
        }
        for (at, _) in &lacks {
            self.plan.acts[*at] = Act::Leave;
        }
        Ok(lacks)
    }

    /// Makes all that is no directory.
    fn fill(&self, sources: Vec<Source>, threads: NonZeroUsize, monitor: &dyn Monitor) -> Result<Done> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let work = || -> Result<Done> {
            let mut done = Done::default();
            let mut decompressor = Decompressor::default();
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if failed.load(Ordering::Relaxed) {
                    return Ok(done);
                }
                let did = match task.checked_sub(1).map(|at| sources.get(at)) {
                    None => self.make_empty(&mut done),
                    Some(Some(source)) => self.unpack(source, &mut decompressor, &mut done, &failed, monitor),
                    Some(None) => return Ok(done),
                };
                did.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
        };
        let workers = threads.get().min(1 + sources.len());
        let parts: Vec<Result<Done>> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let join = |handle: std::thread::ScopedJoinHandle<'_, _>| handle.join();
            handles
                .into_iter()
                .map(|h| join(h).unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut done = Done::default();
        for part in parts {
            done.add(part?);
        }
        Ok(done)
    }

    /// Makes what has no content in a layer: empty files, links, FIFOs and devices.
    fn make_empty(&self, done: &mut Done) -> Result<()> {
        let mut writer = Writer::new(self.root);
        let mut groups: HashMap<Group, Vec<usize>> = HashMap::new();
        let mut inodes: Vec<Vec<usize>> = Vec::new();
        for (at, entry) in self.with_act(Act::Make) {
            match entry.group {
                _ if entry.is_directory() || entry.size_bytes() > 0 => {}
                Some(group) => groups.entry(group).or_default().push(at),
                None => inodes.push(vec![at]),
            }
        }
        inodes.extend(groups.into_values());
        for places in inodes {
            let names: Vec<&Entry> = places.iter().map(|at| self.entry(*at)).collect();
            let made = match names[0].kind {
                Kind::File { .. } => {
                    let new = writer.create(names[0])?;
                    new.map(|new| writer.finish(new, &names)).transpose()?.flatten()
                }
                _ => writer.make_node(&names)?,
            };
            let is_file = matches!(names[0].kind, Kind::File { .. });
            match (made, &names[0].kind) {
                (Some(made), _) => {
                    done.files += u64::from(is_file);
                    done.take(&places, made);
                }
                (None, Kind::CharDevice(_) | Kind::BlockDevice(_)) => {
                    done.lacks.push((places[0], Lack::Device));
                }
                (None, _) => done.lacks.push((places[0], Lack::All)),
            }
        }
        Ok(())
    }

    /// Makes the files whose content is in one layer.
    fn unpack(
        &self,
        source: &Source,
        decompressor: &mut Decompressor,
        done: &mut Done,
        failed: &AtomicBool,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let mut writer = Writer::new(self.root);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = source.wanted.len();
        let wants = |path: &EntryPath, size_bytes: u64| {
            let places = source.wanted.get(path);
            places.is_some_and(|places| self.entry(places[0]).size_bytes() == size_bytes)
        };
        let mut take = |path: &EntryPath, size_bytes: u64, content: &mut dyn Read| {
            // Not those that the filesystem cannot have the directory of.
            let is_made = |at: &usize| self.plan.acts[*at] == Act::Make;
            let places: Vec<usize> = source.wanted[path].iter().copied().filter(is_made).collect();
            if let Some(first) = places.first() {
                let names: Vec<&Entry> = places.iter().map(|at| self.entry(*at)).collect();
                match make_file(&mut writer, &names, content, &mut buffer, source)? {
                    Some(made) => {
                        done.take(&places, made);
                        done.files += 1;
                        done.bytes += size_bytes;
                    }
                    None => done.lacks.push((*first, Lack::All)),
                }
            }
            monitor.advance(size_bytes);
            left -= 1;
            Ok(left > 0 && !failed.load(Ordering::Relaxed))
        };
        match &source.reading {
            Reading::Whole(file) => {
                let blob = Blob { input: Box::new(file), path: &source.path, digest: source.blob.digest };
                read_files(blob, wants, take)?;
            }
            Reading::Places(frames, places) => {
                frames.read(places, decompressor, |place, content| {
                    take(&place.name, place.size_bytes, content)
                })?;
            }
        }
        if left > 0 && !failed.load(Ordering::Relaxed) {
            let made: std::collections::HashSet<usize> = done.made.iter().map(|(at, _)| *at).collect();
            let missing = source.wanted.iter().filter(|(_, places)| !made.contains(&places[0]));
            let missing = missing.map(|(name, _)| name).min().cloned().unwrap_or_default();
            return Err(Error::damaged(&source.path, format!("it does not hold {missing}")));
        }
        Ok(())
    }

    /// Gives what was there its metadata, and the directories theirs, the innermost first.
    fn finish(&self, done: &mut Done) -> Result<()> {
        let mut writer = Writer::new(self.root);
        for (at, entry) in self.tree.entries().iter().enumerate().rev() {
            match self.plan.acts[at] {
                Act::Adjust => {
                    let is_recorded = |name: &[u8]| !self.profile.is_cache_xattr(name);
                    done.take(&[at], writer.adjust(entry, is_recorded)?);
                }
                Act::Make if entry.is_directory() => done.take(&[at], writer.finish_directory(entry)?),
                Act::Date => done.made.push((at, writer.date(entry)?)),
                Act::Make | Act::Leave => {}
            }
        }
        Ok(())
    }
}

/// Makes a file with its names, if its content is the recorded one; `None` where the filesystem cannot have it.
fn make_file(
    writer: &mut Writer,
    names: &[&Entry],
    content: &mut dyn Read,
    buffer: &mut [u8],
    source: &Source,
) -> Result<Option<Made>> {
    let entry = names[0];
    let mut filled = fill(content, buffer, source)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&buffer[..filled]);
    let is_whole = filled as u64 == entry.size_bytes();
    if is_whole {
        check(&hasher, entry, source)?;
    }
    // What is written at once is made in its place: there is but a moment in which it is cut.
    let new = if is_whole { writer.create(entry)? } else { writer.create_unnamed(entry)? };
    let Some(mut new) = new else { return Ok(None) };
    let mut copy = |new: &mut NewFile| -> Result<bool> {
        while filled > 0 {
            if !writer.write(new, &buffer[..filled], entry)? {
                return Ok(false);
            }
            if is_whole {
                return Ok(true);
            }
            filled = fill(content, buffer, source)?;
            hasher.update(&buffer[..filled]);
        }
        check(&hasher, entry, source).map(|()| true)
    };
    match copy(&mut new) {
        Ok(true) => writer.finish(new, names),
        Ok(false) => writer.discard(&new, entry).map(|()| None),
        Err(error) => writer.discard(&new, entry).and(Err(error)),
    }
}

fn check(hasher: &blake3::Hasher, entry: &Entry, source: &Source) -> Result<()> {
    match &entry.kind {
        Kind::File { content, .. } if *content == ContentHash(*hasher.finalize().as_bytes()) => Ok(()),
        _ => {
            let what = format!("the content of {} is not what was recorded", entry.path);
            Err(Error::damaged(&source.path, what))
        }
    }
}

/// Reads until the buffer is full or the content is over.
fn fill(content: &mut dyn Read, buffer: &mut [u8], source: &Source) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", &source.path)(e)), // whoever reads the layer tells more
        }
    }
    Ok(filled)
}
