//! Makes a directory hold the tree of a snapshot.
//!
//! Entries of the directory are compared as a snapshot would see the entries, with the help of stamps, and only differing
//! entries are touched. Each content comes from the topmost layer with the entry; content that an upper layer replaces is never
//! written. Written entries are stamped, so the next snapshot of the directory reads nothing.

mod compare;
mod make_file;
mod plan;
mod recorded;
mod sources;
mod stamp;
mod write;

use crate::error::{Error, Result};
use crate::fs::attributes::Lack;
use crate::fs::root::Root;
use crate::fs::write::{Writer, make_root};
use crate::layer::partial::PartialBlobs;
use crate::model::names::SnapshotRef;
use crate::model::policy::globs::Pathspec;
use crate::model::policy::{Policy, Rules};
use crate::model::tree::Tree;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::restore::compare::{Job, compare_present};
pub use crate::ops::restore::plan::Extra;
use crate::ops::restore::plan::{Act, Plan, plan_anew};
use crate::ops::restore::recorded::{Recorded, load};
use crate::ops::restore::sources::sources;
use crate::ops::restore::stamp::{Written, stamp};
use crate::ops::restore::write::{Done, Work, write};
use crate::ops::root_view::attempts::until_unchanged;
use crate::ops::root_view::observation::Observation;
use crate::ops::root_view::stamped_scan::scan_with_stamps;
use crate::ops::store_inside::refuse_store_inside;
use crate::store::Snapshot;
use crate::store::StampState;
use crate::store::Store;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The snapshot to restore, and the directory.
#[derive(Clone, Debug)]
pub struct Request {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// The directory; made if missing.
    pub directory: PathBuf,
    /// Paths or globs that choose a part of the snapshot; without any, all is chosen.
    pub pathspec: Vec<OsString>,
    /// Whether paths that the snapshot does not have are removed.
    pub extra: Extra,
    /// Whether anything is written.
    pub writes: Writes,
    /// How many threads work.
    pub threads: NonZeroUsize,
    /// Parts of layers that the store lacks.
    pub parts: PartialBlobs,
}

/// Whether a restore is for real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// The directory is written.
    #[default]
    Done,
    /// The work is planned only.
    Planned,
}

/// The outcome of a restore.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// The number of entries made, or to be made.
    pub made: u64,
    /// The number of entries that kept their content and got other metadata.
    pub adjusted: u64,
    /// The number of paths removed with all beneath.
    pub removed: u64,
    /// The number of chosen entries that were as recorded.
    pub unchanged: u64,
    /// The number of paths that stay though the snapshot does not have them.
    pub extra: u64,
    /// The number of files written.
    pub files_written: u64,
    /// Bytes of content written.
    pub bytes_written: u64,
    /// The number of layers read.
    pub layers_read: u64,
    /// Each kind of lack, with the number of lacking entries and the first lacking path in order.
    pub lacks: Vec<(Lack, u64, EntryPath)>,
    /// The number of entries hidden by mounts in the directory.
    pub hidden: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

impl Outcome {
    /// Tells whether all chosen entries are there as recorded.
    pub fn is_complete(&self) -> bool {
        self.lacks.is_empty() && self.hidden == 0
    }
}

/// Restores. Fails with the path of the part that cannot be read or written; the parts restored until then stay, and are not
/// restored again by the next run.
pub fn restore(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let phases = Phases::new(monitor);
    let mut store = Store::open(store_path)?;
    let spec = Pathspec::new(&request.pathspec)?;
    let snapshot = store.find(&request.snapshot)?;
    let is_new_root = request.writes == Writes::Done && make_root(&request.directory)?;
    let policy = policy_of(&store, &snapshot)?;
    let source = Source {
        request,
        snapshot: &snapshot,
        policy: &policy,
        spec: &spec,
    };
    let mut outcome = if request.writes == Writes::Planned && !request.directory.exists() {
        plan_missing(&store, &source, &phases)?
    } else {
        restore_into(&mut store, source, is_new_root, &phases)?
    };
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// Returns the policy of a snapshot; an unknown policy counts as the plain policy.
fn policy_of(store: &Store, snapshot: &Snapshot) -> Result<Policy> {
    let policy = store.policy(&snapshot.policy_key)?;
    Ok(Policy::from_canonical(&policy).unwrap_or_else(Policy::plain))
}

/// Restores into a directory that exists; `is_new_root` says whether the directory was made just now.
fn restore_into(
    store: &mut Store,
    source: Source,
    is_new_root: bool,
    phases: &Phases,
) -> Result<Outcome> {
    let root = Root::open(&source.request.directory)?;
    if is_new_root {
        Writer::new(&root).strip_root()?;
    }
    refuse_store(store, &root, source.policy)?;
    let mut restoring = Restoring {
        rules: source.policy.rules(&source.snapshot.stage)?,
        store,
        root: &root,
        source,
        is_new_root,
        phases,
    };
    restoring.restore()
}

/// The snapshot, and the wishes of the user.
#[derive(Clone, Copy)]
struct Source<'a> {
    request: &'a Request,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    spec: &'a Pathspec,
}

impl Source<'_> {
    /// Loads the snapshot. Fails if a row is damaged or missing, or the snapshot lacks a path asked for.
    fn load(&self, store: &Store) -> Result<Recorded> {
        let recorded = load(store, self.snapshot.clone(), self.policy.clone())?;
        refuse_unknown(&recorded, self.request)?;
        Ok(recorded)
    }
}

/// Plans a restore into a directory that is missing.
fn plan_missing(store: &Store, source: &Source, phases: &Phases) -> Result<Outcome> {
    let recorded = phases.run(Phase::Plan, None, || source.load(store))?;
    let directory = &source.request.directory;
    let directory = std::path::absolute(directory).map_err(Error::io("find", directory))?;
    let plan = plan_anew(&recorded.tree, source.spec);
    Ok(outcome(&recorded, &plan, source.spec, &directory))
}

/// A restore into a directory that exists.
struct Restoring<'a> {
    store: &'a mut Store,
    root: &'a Root,
    source: Source<'a>,
    rules: Rules,
    /// Whether the directory was made just now.
    is_new_root: bool,
    phases: &'a Phases<'a>,
}

impl Restoring<'_> {
    fn restore(&mut self) -> Result<Outcome> {
        let mut loaded = None;
        let prepared = until_unchanged(|| self.prepare(&mut loaded))?;
        let recorded = match loaded {
            Some(recorded) => recorded,
            None => self.source.load(self.store)?,
        };
        let outcome = outcome(
            &recorded,
            &prepared.plan,
            self.source.spec,
            self.root.path(),
        );
        match self.source.request.writes {
            Writes::Planned => Ok(outcome),
            Writes::Done => self.write(&recorded, prepared, outcome),
        }
    }

    /// Plans the restore, and loads the snapshot unless loaded by an earlier attempt.
    fn prepare(&mut self, loaded: &mut Option<Recorded>) -> Result<Prepared> {
        if is_empty(self.root)? {
            self.prepare_empty(loaded)
        } else {
            self.prepare_present(loaded)
        }
    }

    fn prepare_empty(&mut self, loaded: &mut Option<Recorded>) -> Result<Prepared> {
        let Self {
            store,
            root,
            source,
            phases,
            ..
        } = self;
        let recorded = match loaded.take() {
            Some(recorded) => recorded,
            None => phases.run(Phase::Plan, None, || source.load(store))?,
        };
        let recorded = loaded.insert(recorded);
        let stamps = match source.request.writes {
            Writes::Done => store.forget_stamps(root.path())?,
            Writes::Planned => StampState::default(),
        };
        Ok(Prepared {
            plan: plan_anew(&recorded.tree, source.spec),
            observed: None,
            stamps,
        })
    }

    fn prepare_present(&mut self, loaded: &mut Option<Recorded>) -> Result<Prepared> {
        let Self {
            store,
            root,
            source,
            rules,
            phases,
            ..
        } = self;
        let Request {
            threads,
            extra,
            writes,
            ..
        } = *source.request;
        let known = loaded.take();
        let load = || {
            let stamps = store.stamps(root.path())?;
            // Beside the scan, which needs no snapshot.
            let recorded = known.map_or_else(|| source.load(store), Ok)?;
            Ok((stamps, recorded))
        };
        let (scan, recorded) = scan_with_stamps(root, rules, threads, phases, load)?;
        let recorded = &*loaded.insert(recorded);
        let observed = scan.read(root, None, &[], threads, phases)?;
        observed.check(root, threads)?;
        let mut stamps = observed.stamps;
        if writes == Writes::Done {
            stamps = store.update_stamps(root.path(), stamps, observed.changes())?;
        }
        let job = Job {
            root,
            recorded,
            rules,
            spec: source.spec,
            extra,
        };
        let plan = phases.run(Phase::Compare, None, || compare_present(&job, &observed))?;
        Ok(Prepared {
            plan,
            observed: Some(observed),
            stamps,
        })
    }

    /// Carries the plan out, and stamps the written entries.
    fn write(
        &mut self,
        recorded: &Recorded,
        prepared: Prepared,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        let Prepared {
            mut plan,
            observed,
            stamps,
        } = prepared;
        if self.is_new_root
            && let Some(at) = recorded.tree.position(&EntryPath::root())
        {
            plan.acts[at] = Act::Adjust; // as for any missing directory above a chosen path
        }
        let sources = sources(self.store, recorded, &plan, &self.source.request.parts)?;
        outcome.layers_read = layers_len(&sources);
        let removed = plan.removed.clone();
        let work = Work {
            root: self.root,
            tree: &recorded.tree,
            plan,
            profile: recorded.policy.profile,
        };
        let done = write(work, sources, self.source.request.threads, self.phases)?;
        outcome.files_written = done.files;
        outcome.bytes_written = done.bytes;
        outcome.lacks = summarise(&recorded.tree, &done);
        let written = Written {
            observed: observed.as_ref(),
            stamps,
            done,
            removed,
        };
        let is_all = self.source.spec.is_empty() && outcome.is_complete() && outcome.extra == 0;
        self.stamp(recorded, &written, is_all);
        Ok(outcome)
    }

    /// Stamps a directory; if the directory `is_all` of the snapshot and nothing else, the stamps count as the snapshot's. A
    /// failure costs the next snapshot time alone, and is a note.
    fn stamp(&mut self, recorded: &Recorded, written: &Written, is_all: bool) {
        let Self {
            store,
            root,
            rules,
            phases,
            ..
        } = self;
        let stamped = phases.run(Phase::Record, None, || {
            let state = stamp(store, root, recorded, rules, written)?;
            if is_all {
                store.claim_stamps(root.path(), state, recorded.snapshot.id)
            } else {
                Ok(())
            }
        });
        if let Err(error) = stamped {
            phases.monitor.note(&format!(
                "{error}; the next snapshot will read the directory again"
            ));
        }
    }
}

/// Counts the layers of sources; parts of one layer stand side by side.
fn layers_len(sources: &[sources::Source]) -> u64 {
    sources
        .chunk_by(|a, b| a.blob.digest() == b.blob.digest())
        .count() as u64
}

fn acts_len(plan: &Plan, act: Act) -> u64 {
    plan.acts.iter().filter(|found| **found == act).count() as u64
}

/// Returns the outcome of a plan, before anything is written.
fn outcome(recorded: &Recorded, plan: &Plan, spec: &Pathspec, directory: &Path) -> Outcome {
    let made = acts_len(plan, Act::Make);
    let adjusted = acts_len(plan, Act::Adjust);
    let chosen = recorded
        .tree
        .entries()
        .iter()
        .filter(|entry| spec.chooses(&entry.path))
        .count() as u64;
    Outcome {
        snapshot: recorded.snapshot.clone(),
        directory: directory.to_owned(),
        made,
        adjusted,
        removed: plan.removed.len() as u64,
        unchanged: chosen.saturating_sub(made + adjusted), // directories above a part are made, but were not chosen
        extra: plan.extra,
        hidden: plan.hidden,
        files_written: 0,
        bytes_written: 0,
        layers_read: 0,
        lacks: Vec::new(),
        seconds: Vec::new(),
    }
}

fn refuse_store(store: &Store, root: &Root, policy: &Policy) -> Result<()> {
    let is_in_store = crate::store::is_in_store(root.path(), store.path());
    if root.path().starts_with(store.path())
        || is_in_store.map_err(Error::io("open", root.path()))?
    {
        return Err(Error::InsideStore(root.path().to_owned()));
    }
    refuse_store_inside(store.path(), root, policy)
}

/// Refuses a chosen path that the snapshot does not have, unless such paths are to be removed.
fn refuse_unknown(recorded: &Recorded, request: &Request) -> Result<()> {
    for spec in request
        .pathspec
        .iter()
        .filter(|_| request.extra == Extra::Kept)
    {
        let one = Pathspec::new(std::slice::from_ref(spec))?;
        let mut entries = recorded.tree.entries().iter();
        if !entries.any(|entry| one.chooses(&entry.path)) {
            let path = crate::printable::printable(spec.as_encoded_bytes());
            return Err(Error::UnknownPath {
                path,
                snapshot: recorded.snapshot.id,
            });
        }
    }
    Ok(())
}

/// A plan, and the state of the directory behind the plan.
struct Prepared {
    plan: Plan,
    /// The directory as observed; `None` if empty.
    observed: Option<Observation>,
    stamps: StampState,
}

fn is_empty(root: &Root) -> Result<bool> {
    let mut names = std::fs::read_dir(root.path()).map_err(Error::io("list", root.path()))?;
    Ok(names.next().is_none())
}

fn summarise(tree: &Tree, done: &Done) -> Vec<(Lack, u64, EntryPath)> {
    let mut lacks: Vec<(Lack, usize)> = done.lacks.iter().map(|(at, lack)| (*lack, *at)).collect();
    lacks.sort_unstable();
    lacks
        .chunk_by(|a, b| a.0 == b.0)
        .map(|all| {
            let (lack, first) = all[0];
            let path = tree.entries()[first].path.clone();
            (lack, all.len() as u64, path)
        })
        .collect()
}
