//! Between plan and packing: deferred files are hashed as their layers are packed. Afterwards every content is known, and no
//! later step can tell a deferred file from another.

use crate::error::{Error, Result};
use crate::fs::content::Unchanged;
use crate::fs::facts::read_facts;
use crate::fs::root::Root;
use crate::fs::scan::{Found, Paths};
use crate::layer::pack::{Contents, Opened, PendingFile};
use crate::model::digest::ContentHash;
use crate::model::plan::layer::LayerContent;
use crate::model::plan::{FilledLayer, Plan};
use crate::model::policy::Profile;
use crate::model::policy::normalise::{Resolved, StableVolatile, recorded_xattrs};
use crate::model::stamp::{Facts, Stamp, Stat, Time};
use crate::model::tree::entry::{Entry, FileContent, Xattrs};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Phase, Reads};
use crate::ops::packing::PackedBlob;
use crate::ops::record::files::FilesOfRoot;
use crate::ops::record::session::Session;
use crate::ops::root_view::derived::Derived;
use crate::ops::root_view::facts::in_root;
use crate::ops::root_view::observation::Observation;
use crate::store::StampState;
use crate::threads::joined;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tree with all contents known.
pub(super) struct Hashed {
    pub sides: StableVolatile,
    /// The layers packed already, each at its place in the plan.
    pub ahead: Vec<Option<PackedBlob>>,
    pub stamps: StampState,
}

/// Finds out the pending contents: packs the layers of `plan` with pending files, reads the other pending files, and stamps
/// all. Fails with [`Error::Changed`] if a file is not as the scan found it, and if a file cannot be read or the store cannot
/// be written.
pub(super) fn hash_pending(
    session: &mut Session,
    plan: &Plan,
    sides: StableVolatile<FileContent>,
    (observation, derived): (&Observation, &Derived),
    stamps: StampState,
) -> Result<Hashed> {
    let deferred = Deferred::of(observation);
    if deferred.files.is_empty() {
        let known = sides.into_known();
        return Ok(Hashed {
            sides: known.map_err(|path| Error::Changed(session.root.full_path(&path)))?,
            ahead: Vec::new(),
            stamps,
        });
    }
    let ahead = deferred
        .pack(session, derived, &plan.filled(&sides))
        .map_err(|error| in_root(error, session.root.path()))?;
    deferred.read_rest(session)?;
    deferred.stamp_and_resolve(session, sides, ahead, stamps)
}

/// Files found and not read, in path order.
struct Deferred<'o> {
    files: Vec<DeferredFile<'o>>,
    /// The beginning of the scan.
    scan_start: Time,
    /// The place of the file to be opened next, if files are opened in order.
    next: AtomicUsize,
}

/// A file as found, and the facts once read.
struct DeferredFile<'o> {
    found: &'o Found,
    facts: OnceLock<Facts>,
}

impl<'o> Deferred<'o> {
    fn of(observation: &'o Observation) -> Self {
        let files = observation.deferred().map(|found| DeferredFile {
            found,
            facts: OnceLock::new(),
        });
        Self {
            files: files.collect(),
            scan_start: observation.scan_start(),
            next: AtomicUsize::new(0),
        }
    }

    /// Packs the layers with pending files, and lets the disk write meanwhile.
    fn pack(
        &self,
        session: &Session,
        derived: &Derived,
        planned: &[FilledLayer<FileContent>],
    ) -> Result<Vec<Option<PackedBlob>>> {
        let pending = planned
            .iter()
            .map(|layer| layer.content().filter(|content| content.has_pending()));
        let pending: Vec<Option<&LayerContent<FileContent>>> = pending.collect();
        let total = pending
            .iter()
            .flatten()
            .map(|layer| layer.content_bytes())
            .sum();
        let files = DeferredFiles {
            deferred: self,
            files: FilesOfRoot::of(session, derived),
            root: &session.root,
            profile: session.policy.profile,
        };
        let packer = session.packer();
        session.phases.run(Phase::Pack, Some(total), || {
            packer.pack_all(&pending, &files)
        })
    }

    /// Finds out the rest: further names of packed inodes, and files in no new layer.
    fn read_rest(&self, session: &Session) -> Result<()> {
        let rest = self.share_facts();
        let found = rest.iter().map(|file| file.found.clone());
        let mut found = Paths::from(found.collect::<Vec<_>>());
        let all: Vec<usize> = (0..found.len()).collect();
        let reads: &Reads = &session.phases.reads;
        read_facts(
            &session.root,
            &mut found,
            &all,
            session.options.threads,
            &|progress| reads.follow(progress),
            |number, facts| rest[number].learn(facts),
        )?;
        let mut seen = rest.iter().zip(found.iter());
        match seen.find(|(file, found)| found.stat != file.found.stat) {
            Some((file, _)) => Err(Error::Changed(session.root.full_path(&file.found.path))),
            None => Ok(()),
        }
    }

    /// Gives the other names of a packed inode the same facts, and returns the files without facts.
    fn share_facts(&self) -> Vec<&DeferredFile<'o>> {
        let packed: HashMap<(u64, u64), (&Stat, &Facts)> = self
            .files
            .iter()
            .filter(|file| file.found.stat.nlink > 1)
            .filter_map(|file| Some((file.inode(), (&file.found.stat, file.facts.get()?))))
            .collect();
        let mut rest = Vec::new();
        for file in self.files.iter().filter(|file| file.facts.get().is_none()) {
            match packed.get(&file.inode()) {
                Some((stat, facts)) if **stat == file.found.stat => file.learn((*facts).clone()),
                _ => rest.push(file),
            }
        }
        rest
    }

    /// Stamps the files, and gives the entries the contents meanwhile.
    fn stamp_and_resolve(
        &self,
        session: &mut Session,
        sides: StableVolatile<FileContent>,
        ahead: Vec<Option<PackedBlob>>,
        stamps: StampState,
    ) -> Result<Hashed> {
        let Session {
            store,
            root,
            policy,
            ..
        } = session;
        let (stamps, known) = std::thread::scope(|scope| {
            let stamped = scope.spawn(|| store.update_stamps(root.path(), stamps, self.stamps()));
            let known = sides.resolve(self.resolved(policy.profile));
            (joined(stamped.join()), known)
        });
        Ok(Hashed {
            sides: known.map_err(|path| Error::Changed(root.full_path(&path)))?,
            ahead,
            stamps: stamps?,
        })
    }

    fn position(&self, path: &EntryPath) -> Option<usize> {
        let next = self.next.load(Ordering::Relaxed);
        let is_next = self
            .files
            .get(next)
            .is_some_and(|file| file.found.path == *path);
        let at = if is_next {
            next
        } else {
            self.files
                .binary_search_by(|file| file.found.path.cmp(path))
                .ok()?
        };
        self.next.store(at + 1, Ordering::Relaxed);
        Some(at)
    }

    /// Returns the contents and attributes for the entries, in path order.
    fn resolved(&self, profile: Profile) -> impl Iterator<Item = Resolved<'_>> {
        self.files.iter().filter_map(move |file| {
            let facts = file.facts.get()?;
            Some(Resolved {
                path: &file.found.path,
                content: facts.content?,
                xattrs: recorded_xattrs(facts.xattrs.clone(), profile),
            })
        })
    }

    /// Returns the stamp of each file; `None` where no stamp may vouch.
    fn stamps(&self) -> impl Iterator<Item = (&[u8], Option<Stamp>)> {
        self.files.iter().map(|file| {
            let facts = file.facts.get();
            let stamp =
                facts.and_then(|facts| Stamp::new(&file.found.stat, self.scan_start, facts));
            (file.found.path.key(), stamp)
        })
    }
}

impl DeferredFile<'_> {
    fn inode(&self) -> (u64, u64) {
        (self.found.stat.device, self.found.stat.inode)
    }

    fn learn(&self, facts: Facts) {
        let _ = self.facts.set(facts); // an earlier reader has found out the same
    }
}

/// The files of the root while some are pending.
struct DeferredFiles<'a> {
    deferred: &'a Deferred<'a>,
    files: FilesOfRoot<'a>,
    root: &'a Root,
    profile: Profile,
}

impl Contents<FileContent> for DeferredFiles<'_> {
    fn open(&self, entry: &Entry<FileContent>, content: &FileContent) -> Result<Opened<'_>> {
        let path = &entry.path;
        if let FileContent::Known(hash) = content {
            return self.files.open_hashed(path, *hash);
        }
        let at = self
            .deferred
            .position(path)
            .ok_or_else(|| Error::Changed(self.root.full_path(path)))?;
        let deferred = &self.deferred.files[at];
        let file = self
            .root
            .open_unchanged(&deferred.found.path, &deferred.found.stat)?;
        let all_xattrs = file.xattrs()?;
        Ok(Opened::Pending(Box::new(OpenFile {
            deferred,
            file,
            xattrs: recorded_xattrs(all_xattrs.clone(), self.profile),
            all_xattrs,
        })))
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        self.files.full_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.files.was_read(bytes);
    }
}

/// A deferred file during packing.
struct OpenFile<'a> {
    deferred: &'a DeferredFile<'a>,
    file: Unchanged<'a>,
    /// The attributes for the entry.
    xattrs: Xattrs,
    /// The attributes for the stamp.
    all_xattrs: Xattrs,
}

impl Read for OpenFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl PendingFile for OpenFile<'_> {
    fn xattrs(&self) -> &Xattrs {
        &self.xattrs
    }

    fn finish(self: Box<Self>, content: ContentHash) -> Result<()> {
        self.file.check()?;
        self.deferred.learn(Facts {
            content: Some(content),
            xattrs: self.all_xattrs,
            ..Facts::default()
        });
        Ok(())
    }
}
