//! Carries a plan of a restore out: removes paths, makes directories, fills files out of the layers on several threads, and
//! gives directories their metadata at the end, since a new name in a directory changes the directory's time.

use crate::error::{Error, Result};
use crate::fs::attributes::{Lack, Made};
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
use crate::ops::restore::make_file::{Filled, Parts, make_file};
use crate::ops::restore::plan::{Act, Plan};
use crate::ops::restore::sources::{Reading, Source};
use crate::threads::joined;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A file of no more bytes is compared with the recorded hash before the file is made.
const BUFFER_BYTES: usize = 256 * 1024;

/// The written entries.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The stat data of each written entry, by the place of the entry; in no order.
    pub made: Vec<(usize, Stat)>,
    /// The lacks of entries, by the place of the entry.
    pub lacks: Vec<(usize, Lack)>,
    pub files: u64,
    pub bytes: u64,
}

/// A directory, a tree and the plan to make the directory hold the tree.
pub(crate) struct Work<'a> {
    pub root: &'a Root,
    pub tree: &'a Tree,
    pub plan: Plan,
    pub profile: Profile,
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

/// Carries the plan out with the contents of `sources`. Fails if a path cannot be removed or made, a layer cannot be unpacked,
/// or a layer has another content than was recorded.
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
        self.tree
            .entries()
            .iter()
            .enumerate()
            .filter(move |(at, _)| self.plan.acts[*at] == act)
    }

    /// Removes paths and makes directories. Returns the entries lacking since the filesystem cannot have a directory.
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

    /// Makes all entries but directories.
    fn fill(
        &self,
        sources: Vec<Source>,
        threads: NonZeroUsize,
        monitor: &dyn Monitor,
    ) -> Result<Done> {
        let tasks = Tasks {
            work: self,
            sources: &sources,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            monitor,
        };
        let workers = threads.get().min(1 + sources.len());
        let parts: Vec<Result<Done>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| tasks.run())).collect();
            let workers = workers.into_iter();
            workers.map(|worker| joined(worker.join())).collect()
        });
        let mut done = Done::default();
        for part in parts {
            done.add(part?);
        }
        Ok(done)
    }

    /// Makes entries without content in a layer: empty files, links, FIFOs and devices.
    fn make_empty(&self, done: &mut Done) -> Result<()> {
        let mut writer = Writer::new(self.root);
        for places in self.empty_inodes() {
            self.make_empty_inode(&mut writer, &places, done)?;
        }
        Ok(())
    }

    /// Returns the places of entries to be made without content in a layer, by inode.
    fn empty_inodes(&self) -> Vec<Vec<usize>> {
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
        inodes
    }

    /// Makes an inode without content under all names.
    fn make_empty_inode(
        &self,
        writer: &mut Writer,
        places: &[usize],
        done: &mut Done,
    ) -> Result<()> {
        let names: Vec<&Entry> = places.iter().map(|at| self.entry(*at)).collect();
        let first = names[0];
        let is_file = matches!(first.kind, Kind::File { .. });
        let made = if !is_file {
            writer.make_node(&names)?
        } else if let Some(new) = writer.create(first)? {
            writer.finish(new, &names)?
        } else {
            None
        };
        if let Some(made) = made {
            done.files += u64::from(is_file);
            done.take(places, made);
            return Ok(());
        }
        let lack = match first.kind {
            Kind::CharDevice(_) | Kind::BlockDevice(_) => Lack::Device,
            _ => Lack::All,
        };
        done.lacks.push((places[0], lack));
        Ok(())
    }

    /// Gives present entries and directories their metadata, the innermost first.
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

/// The tasks of all threads: the entries without content, then the files of each source.
struct Tasks<'w> {
    work: &'w Work<'w>,
    sources: &'w [Source],
    /// The number of the next task: 0 for the entries without content, then one task a source.
    next: AtomicUsize,
    /// Whether a task has failed.
    failed: AtomicBool,
    monitor: &'w dyn Monitor,
}

impl Tasks<'_> {
    /// Runs tasks until none is left or one has failed.
    fn run(&self) -> Result<Done> {
        let mut done = Done::default();
        let mut decompressor = Decompressor::default();
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task > self.sources.len() || self.failed.load(Ordering::Relaxed) {
                return Ok(done);
            }
            self.run_one(task, &mut decompressor, &mut done)
                .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        }
    }

    fn run_one(&self, task: usize, decompressor: &mut Decompressor, done: &mut Done) -> Result<()> {
        match task.checked_sub(1) {
            None => self.work.make_empty(done),
            Some(at) => self.unpack(&self.sources[at], decompressor, done),
        }
    }

    /// Makes the files whose content is in one layer.
    fn unpack(
        &self,
        source: &Source,
        decompressor: &mut Decompressor,
        done: &mut Done,
    ) -> Result<()> {
        // The closures use the filling in turns.
        let filling = RefCell::new(Filling::new(self, source, done));
        match &source.reading {
            Reading::Whole => read_files(
                (&source.blob).into(),
                |path, size_bytes| filling.borrow().wanted(path, size_bytes).is_some(),
                |path, size_bytes, content| filling.borrow_mut().take(path, size_bytes, content),
            )?,
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
}

/// The files of one layer that are still to be made.
struct Filling<'w> {
    work: &'w Work<'w>,
    source: &'w Source,
    writer: Writer<'w>,
    buffer: Vec<u8>,
    left: HashMap<&'w EntryPath, &'w Vec<usize>>,
    /// A name whose content was not the recorded content.
    unlike: Option<EntryPath>,
    done: &'w mut Done,
    failed: &'w AtomicBool,
    monitor: &'w dyn Monitor,
}

impl<'w> Filling<'w> {
    fn new(tasks: &'w Tasks<'w>, source: &'w Source, done: &'w mut Done) -> Self {
        Self {
            work: tasks.work,
            source,
            writer: Writer::new(tasks.work.root),
            buffer: vec![0; BUFFER_BYTES],
            left: source.wanted.iter().collect(),
            unlike: None,
            done,
            failed: &tasks.failed,
            monitor: tasks.monitor,
        }
    }

    fn is_over(&self) -> bool {
        self.left.is_empty() || self.failed.load(Ordering::Relaxed)
    }

    /// Returns the first name of the inode whose content a member may have.
    fn wanted(&self, path: &EntryPath, size_bytes: u64) -> Option<&'w EntryPath> {
        let first = self.source.aliases.get(path).unwrap_or(path);
        let (name, places) = self.left.get_key_value(first)?;
        (self.work.entry(places[0]).size_bytes() == size_bytes).then_some(*name)
    }

    /// Makes the file, if the content is the recorded content. Tells whether files are left.
    fn take(&mut self, path: &EntryPath, size_bytes: u64, content: &mut dyn Read) -> Result<bool> {
        if let Some(name) = self.wanted(path, size_bytes) {
            self.make(name, content)?;
        }
        Ok(!self.is_over())
    }

    fn make(&mut self, name: &'w EntryPath, content: &mut dyn Read) -> Result<()> {
        let work = self.work;
        // Names whose directory the filesystem cannot have are left out.
        let mut places = self.left[name].clone();
        places.retain(|at| work.plan.acts[*at] == Act::Make);
        if let Some(first) = places.first() {
            let names: Vec<&Entry> = places.iter().map(|at| work.entry(*at)).collect();
            let parts = Parts::new(content, &mut self.buffer, self.source.blob.path());
            match make_file(&mut self.writer, &names, parts)? {
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

    /// Makes the files left whose contents lie under other names, as in foreign layers alone. Fails with the name of a file
    /// whose content the layer does not have.
    fn finish(mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.make_by_hash()?;
        if self.is_over() {
            return Ok(());
        }
        Err(Error::damaged(self.source.blob.path(), self.damage()))
    }

    /// Makes the files left out of any member of the layer with the recorded content.
    fn make_by_hash(&mut self) -> Result<()> {
        let blob = &self.source.blob;
        let sizes: HashSet<u64> = self
            .left
            .values()
            .map(|places| self.work.entry(places[0]).size_bytes())
            .collect();
        read_by_hash(
            blob.into(),
            |size_bytes| sizes.contains(&size_bytes),
            |held| {
                for name in self.names_with(held.size_bytes, held.hash) {
                    self.make(name, held.read()?)?;
                }
                Ok(!self.is_over())
            },
        )
    }

    /// Returns the first names of the files left with this content.
    fn names_with(&self, size_bytes: u64, content: ContentHash) -> Vec<&'w EntryPath> {
        let wanted = Kind::File {
            size_bytes,
            content,
        };
        let alike = self
            .left
            .iter()
            .filter(|(_, places)| self.work.entry(places[0]).kind == wanted);
        alike.map(|(name, _)| *name).collect()
    }

    /// Says why the layer is damaged.
    fn damage(&self) -> String {
        let unlike = self.unlike.as_ref();
        match unlike.filter(|name| self.left.contains_key(name)) {
            Some(name) => format!("the content of {name} is not what was recorded"),
            None => {
                let missing = self.left.keys().min().copied();
                format!("it does not hold {}", missing.cloned().unwrap_or_default())
            }
        }
    }
}
