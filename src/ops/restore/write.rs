//! Does what a plan of a restore says: removes, makes directories, fills files out of the layers on several threads, and
//! gives the directories their metadata at the end, since what is made in them changes their times.

use crate::error::{Error, Result};
use crate::fs::attributes::{Lack, Made};
use crate::fs::new_file::NewFile;
use crate::fs::root::Root;
use crate::fs::write::Writer;
use crate::layer::read::{read_by_hash, read_files};
use crate::layer::seek::Decompressor;
use crate::model::digest::ContentHash;
use crate::model::policy::Profile;
use crate::model::stamp::Stat;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::restore::plan::{Act, Plan};
use crate::ops::restore::sources::{Reading, Source};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file that is not longer is compared with its hash before it is made.
const BUFFER_BYTES: usize = 256 * 1024;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What each entry that was touched is like now, by its place; in no order.
    pub(crate) made: Vec<(usize, Stat)>,
    /// What could not be done, by the place of the entry.
    pub(crate) lacks: Vec<(usize, Lack)>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What a restore works on.
pub(crate) struct Work<'a> {
    pub(crate) root: &'a Root,
    pub(crate) tree: &'a Tree,
    pub(crate) plan: Plan,
    pub(crate) profile: Profile,
}

impl Done {
    fn take(&mut self, names: &[usize], made: Made) {
        self.lacks
            .extend(made.lacks.into_iter().map(|lack| (names[0], lack)));
        self.made
            .extend(names.iter().map(|at| (*at, made.stat.clone())));
    }

    fn add(&mut self, other: Self) {
        self.made.extend(other.made);
        self.lacks.extend(other.lacks);
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Writes all that is to be written.
pub(crate) fn write(
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
    fn fill(
        &self,
        sources: Vec<Source>,
        threads: NonZeroUsize,
        monitor: &dyn Monitor,
    ) -> Result<Done> {
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
                    Some(Some(source)) => {
                        self.unpack(source, &mut decompressor, &mut done, &failed, monitor)
                    }
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
                    new.map(|new| writer.finish(new, &names))
                        .transpose()?
                        .flatten()
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
        let filling = RefCell::new(Filling {
            work: self,
            source,
            writer: Writer::new(self.root),
            buffer: vec![0; BUFFER_BYTES],
            left: source.wanted.iter().collect(),
            unlike: None,
            done,
            failed,
            monitor,
        }); // closures look at it in turns
        let wants =
            |path: &EntryPath, size_bytes: u64| filling.borrow().wanted(path, size_bytes).is_some();
        let take = |path: &EntryPath, size_bytes: u64, content: &mut dyn Read| {
            filling.borrow_mut().take(path, size_bytes, content)
        };
        match &source.reading {
            Reading::Whole => read_files((&source.blob).into(), wants, take)?,
            Reading::Places(frames, places) => {
                frames.read(places, decompressor, |place, content| {
                    filling
                        .borrow_mut()
                        .take(&place.name, place.size_bytes, content)
                })?
            }
        }
        filling.into_inner().finish()
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
                Act::Make if entry.is_directory() => {
                    done.take(&[at], writer.finish_directory(entry)?)
                }
                Act::Date => done.made.push((at, writer.date(entry)?)),
                Act::Make | Act::Leave => {}
            }
        }
        Ok(())
    }
}

/// The files of one layer that are still to be made.
struct Filling<'w> {
    work: &'w Work<'w>,
    source: &'w Source,
    writer: Writer<'w>,
    buffer: Vec<u8>,
    left: HashMap<&'w EntryPath, &'w Vec<usize>>,
    /// A name whose content was not the recorded one.
    unlike: Option<EntryPath>,
    done: &'w mut Done,
    failed: &'w AtomicBool,
    monitor: &'w dyn Monitor,
}

impl<'w> Filling<'w> {
    fn is_over(&self) -> bool {
        self.left.is_empty() || self.failed.load(Ordering::Relaxed)
    }

    /// The first name of the inode that a member may have the content of.
    fn wanted(&self, path: &EntryPath, size_bytes: u64) -> Option<&'w EntryPath> {
        let first = self.source.aliases.get(path).unwrap_or(path);
        let (name, places) = self.left.get_key_value(first)?;
        (self.work.entry(places[0]).size_bytes() == size_bytes).then_some(*name)
    }

    /// Makes the file, if the content is the recorded one. Tells whether there is more to do.
    fn take(&mut self, path: &EntryPath, size_bytes: u64, content: &mut dyn Read) -> Result<bool> {
        if let Some(name) = self.wanted(path, size_bytes) {
            self.make(name, content)?;
        }
        Ok(!self.is_over())
    }

    fn make(&mut self, name: &'w EntryPath, content: &mut dyn Read) -> Result<()> {
        let work = self.work;
        // Not those that the filesystem cannot have the directory of.
        let is_made = |at: &usize| work.plan.acts[*at] == Act::Make;
        let places: Vec<usize> = self.left[name].iter().copied().filter(is_made).collect();
        if let Some(first) = places.first() {
            let names: Vec<&Entry> = places.iter().map(|at| work.entry(*at)).collect();
            match make_file(
                &mut self.writer,
                &names,
                content,
                &mut self.buffer,
                self.source,
            )? {
                Filled::Unlike => {
                    self.unlike = Some(name.clone());
                    return Ok(());
                }
                Filled::Unfit => self.done.lacks.push((*first, Lack::All)),
                Filled::Made(made) => {
                    self.done.take(&places, made);
                    self.done.files += 1;
                    self.done.bytes += names[0].size_bytes();
                }
            }
        }
        self.monitor
            .advance(work.entry(self.left[name][0]).size_bytes());
        self.left.remove(name);
        Ok(())
    }

    /// Makes what is left of contents that lie under other names, as only layers of others have them.
    fn finish(mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let source = self.source;
        let sizes: HashSet<u64> = self
            .left
            .values()
            .map(|places| self.work.entry(places[0]).size_bytes())
            .collect();
        read_by_hash(
            (&source.blob).into(),
            |size_bytes| sizes.contains(&size_bytes),
            |held| {
                let is_held = |places: &[usize]| match self.work.entry(places[0]).kind {
                    Kind::File {
                        size_bytes,
                        content,
                    } => size_bytes == held.size_bytes && content == held.hash,
                    _ => false,
                };
                let alike = self.left.iter().filter(|(_, places)| is_held(places));
                for name in alike.map(|(name, _)| *name).collect::<Vec<_>>() {
                    self.make(name, held.read()?)?;
                }
                Ok(!self.is_over())
            },
        )?;
        if self.is_over() {
            return Ok(());
        }
        let what = match self.unlike.filter(|name| self.left.contains_key(name)) {
            Some(name) => format!("the content of {name} is not what was recorded"),
            None => {
                format!(
                    "it does not hold {}",
                    self.left.keys().min().copied().cloned().unwrap_or_default()
                )
            }
        };
        Err(Error::damaged(source.blob.path(), what))
    }
}

/// What became of a file that was to be made.
enum Filled {
    Made(Made),
    /// Its content is not the recorded one.
    Unlike,
    /// The filesystem cannot have it.
    Unfit,
}

/// Makes a file with its names.
fn make_file(
    writer: &mut Writer,
    names: &[&Entry],
    content: &mut dyn Read,
    buffer: &mut [u8],
    source: &Source,
) -> Result<Filled> {
    let entry = names[0];
    let mut filled = fill(content, buffer, source)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&buffer[..filled]);
    let is_whole = filled as u64 == entry.size_bytes();
    if is_whole && !is_recorded(&hasher, entry) {
        return Ok(Filled::Unlike);
    }
    // What is written at once is made in its place: there is but a moment in which it is cut.
    let new = if is_whole {
        writer.create(entry)?
    } else {
        writer.create_unnamed(entry)?
    };
    let Some(mut new) = new else {
        return Ok(Filled::Unfit);
    };
    let mut is_like = true;
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
        is_like = is_recorded(&hasher, entry);
        Ok(is_like)
    };
    match copy(&mut new) {
        Ok(true) => Ok(writer
            .finish(new, names)?
            .map_or(Filled::Unfit, Filled::Made)),
        Ok(false) => {
            writer.discard(&new, entry)?;
            Ok(if is_like {
                Filled::Unfit
            } else {
                Filled::Unlike
            })
        }
        Err(error) => writer.discard(&new, entry).and(Err(error)),
    }
}

fn is_recorded(hasher: &blake3::Hasher, entry: &Entry) -> bool {
    matches!(&entry.kind, Kind::File { content, .. } if *content == ContentHash(*hasher.finalize().as_bytes()))
}

/// Reads until the buffer is full or the content is over.
fn fill(content: &mut dyn Read, buffer: &mut [u8], source: &Source) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", source.blob.path())(e)), // whoever reads the layer tells more
        }
    }
    Ok(filled)
}
