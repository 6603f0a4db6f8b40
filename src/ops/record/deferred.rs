//! Files that nobody reads before their layer is packed.

use crate::error::{Error, Result};
use crate::fs::content::Unchanged;
use crate::fs::facts::{Cost, read_facts};
use crate::fs::root::Root;
use crate::fs::scan::{Found, Paths};
use crate::layer::pack::PendingFile;
use crate::model::digest::ContentHash;
use crate::model::plan::deferrable::Expected;
use crate::model::policy::Profile;
use crate::model::policy::normalise::{Resolved, recorded_xattrs};
use crate::model::stamp::{Facts, Stamp, Stat, Time};
use crate::model::tree::entry::Xattrs;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Monitor;
use crate::ops::record::lineage::{Ground, Loading};
use crate::ops::root_view::build_user;
use crate::ops::root_view::observe::Look;
use crate::ops::root_view::packages;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::HashMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reading less than this twice costs less than to find out whether it is needed.
const WORTHWHILE_BYTES: u64 = 16 << 20;

/// Files that were found and not read, in path order.
#[derive(Debug, Default)]
pub(crate) struct Late<'o> {
    pub(crate) files: Vec<LateFile<'o>>,
    /// When the scan began that found them.
    pub(crate) scan_start: Time,
    /// The place of the one that is opened next, if they are opened in order.
    next: AtomicUsize,
}

/// One of them, as it was found, and what was read.
#[derive(Debug)]
pub(crate) struct LateFile<'o> {
    found: &'o Found,
    facts: OnceLock<Facts>,
}

/// Chooses the files to be read late, among those at `places` or all: those that go into a layer which is sure to be new.
/// Returns their places.
pub(crate) fn choose(
    store: &Store,
    looked: &Look,
    places: Option<&[usize]>,
    expected: &Expected,
    ground: &Ground,
    below: &mut Loading,
    last: Option<&Snapshot>,
) -> Result<Vec<usize>> {
    if looked.unread_bytes() < WORTHWHILE_BYTES {
        return Ok(Vec::new());
    }
    let candidates = match places {
        Some(places) => expected.candidates(looked.paths(places.iter().copied())),
        None => expected.candidates(looked.paths(0..looked.found().len())),
    };
    let is_needed = below.done.is_some() || ground.is_read_sooner_than(candidates.len());
    let below = if is_needed {
        Some(below.wait(store, ground)?)
    } else {
        None
    };
    let mut sure = Vec::new();
    for at in candidates {
        let (path, stat) = looked.at(at);
        // Which of the layers below stay is not known yet: none may have it.
        let differs = match below {
            Some(below) => below
                .layers()
                .all(|layer| expected.differs(layer.at(path), stat)),
            None => ground.differs(store, (path, stat), expected)?,
        };
        if differs && !is_read_early(path) {
            sure.push(at);
        }
    }
    // Where nothing tells the tree from the last one, its layers may be known.
    let Some(last) = last else { return Ok(sure) };
    let layers = store.layers(last.id)?;
    for at in &sure {
        let (path, stat) = looked.at(*at);
        if expected.differs(store.topmost(ids(&layers), path)?.as_ref(), stat) {
            return Ok(sure);
        }
    }
    Ok(Vec::new())
}

/// From the topmost.
fn ids(layers: &[LayerUse]) -> impl Iterator<Item = i64> {
    layers.iter().rev().map(|layer| layer.layer.id)
}

/// Tells whether the file's content counts before a layer is planned.
fn is_read_early(path: &EntryPath) -> bool {
    packages::database_files()
        .chain(build_user::configuration_files())
        .any(|early| early == *path)
}

impl<'o> Late<'o> {
    /// Takes files that nobody has read, as they were found.
    pub(crate) fn new(found: impl Iterator<Item = &'o Found>, scan_start: Time) -> Self {
        let files = found
            .map(|found| LateFile {
                found,
                facts: OnceLock::new(),
            })
            .collect();
        Self {
            files,
            scan_start,
            next: AtomicUsize::new(0),
        }
    }

    /// Opens one of them to pack it.
    pub(crate) fn open<'a>(
        &'a self,
        root: &'a Root,
        profile: Profile,
        path: &EntryPath,
    ) -> Result<Box<dyn PendingFile + 'a>> {
        let changed = || Error::Changed(root.full_path(path));
        let at = self.position(path).ok_or_else(changed)?;
        let late = &self.files[at];
        let file = root.open_unchanged(&late.found.path, &late.found.stat)?;
        let all_xattrs = file.xattrs()?;
        let xattrs = recorded_xattrs(all_xattrs.clone(), profile);
        Ok(Box::new(OpenLate {
            late,
            file,
            xattrs,
            all_xattrs,
        }))
    }

    fn position(&self, path: &EntryPath) -> Option<usize> {
        let next = self.next.load(Ordering::Relaxed);
        let at = match self.files.get(next).filter(|file| file.found.path == *path) {
            Some(_) => next,
            None => self
                .files
                .binary_search_by(|file| file.found.path.cmp(path))
                .ok()?,
        };
        self.next.store(at + 1, Ordering::Relaxed);
        Some(at)
    }

    /// Finds out the rest: what is the same inode as one that was packed, and what no layer had to hold.
    pub(crate) fn read_rest(
        &self,
        root: &Root,
        threads: NonZeroUsize,
        monitor: &dyn Monitor,
    ) -> Result<Cost> {
        let inode = |file: &LateFile| (file.found.stat.device, file.found.stat.inode);
        let linked = self.files.iter().filter(|file| file.found.stat.nlink > 1);
        let packed: HashMap<(u64, u64), (&Stat, &Facts)> = linked
            .filter_map(|file| Some((inode(file), (&file.found.stat, file.facts.get()?))))
            .collect();
        let mut rest = Vec::new();
        for file in self.files.iter().filter(|file| file.facts.get().is_none()) {
            match packed
                .get(&inode(file))
                .filter(|(stat, _)| **stat == file.found.stat)
            {
                Some((_, facts)) => file.learn((*facts).clone()),
                None => rest.push(file),
            }
        }
        let mut found = Paths::from(
            rest.iter()
                .map(|file| file.found.clone())
                .collect::<Vec<_>>(),
        );
        let all: Vec<usize> = (0..found.len()).collect();
        let learn = |number: usize, facts| rest[number].learn(facts);
        let cost = read_facts(
            root,
            &mut found,
            &all,
            threads,
            &|bytes| monitor.advance(bytes),
            learn,
        )?;
        let mut seen = rest.iter().zip(found.iter());
        match seen.find(|(file, found)| found.stat != file.found.stat) {
            Some((file, _)) => Err(Error::Changed(root.full_path(&file.found.path))),
            None => Ok(cost),
        }
    }

    /// Returns what was read, in path order, as the entries get it.
    pub(crate) fn resolved(&self, profile: Profile) -> impl Iterator<Item = Resolved<'_>> {
        self.files.iter().filter_map(move |file| {
            let facts = file.facts.get()?;
            Some(Resolved {
                path: &file.found.path,
                content: facts.content?,
                xattrs: recorded_xattrs(facts.xattrs.clone(), profile),
            })
        })
    }

    /// Returns the stamps of those that were read.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = (&[u8], Option<Stamp>)> {
        let stamp =
            |file: &LateFile| Stamp::new(&file.found.stat, self.scan_start, file.facts.get()?);
        self.files
            .iter()
            .map(move |file| (file.found.path.key(), stamp(file)))
    }
}

impl LateFile<'_> {
    fn learn(&self, facts: Facts) {
        let _ = self.facts.set(facts); // whoever was earlier has found out the same
    }
}

/// A late file that is being packed.
struct OpenLate<'a> {
    late: &'a LateFile<'a>,
    file: Unchanged<'a>,
    /// Those that the entry gets.
    xattrs: Xattrs,
    /// Those that the stamp gets.
    all_xattrs: Xattrs,
}

impl Read for OpenLate<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl PendingFile for OpenLate<'_> {
    fn xattrs(&self) -> &Xattrs {
        &self.xattrs
    }

    fn finish(self: Box<Self>, content: ContentHash) -> Result<()> {
        self.file.check()?;
        let facts = Facts {
            content: Some(content),
            xattrs: self.all_xattrs,
            ..Facts::default()
        };
        self.late.learn(facts);
        Ok(())
    }
}
