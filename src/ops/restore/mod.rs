//! Makes a directory hold what a snapshot does.
//!
//! What is there already is compared as a snapshot would see it, with the help of its stamps, and only what differs is
//! touched. Everything comes out of the layer that gives it; what an upper layer replaces is never written. What was
//! written is stamped, so that the next snapshot of the directory reads nothing.

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

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// Where it goes; made where it is missing.
    pub directory: PathBuf,
    /// Paths or globs that choose a part of it; none choose all.
    pub pathspec: Vec<OsString>,
    /// What becomes of what the snapshot does not have.
    pub extra: Extra,
    /// Whether anything is written.
    pub writes: Writes,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

/// Whether a restore is for real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// It is.
    #[default]
    Done,
    /// Only what would be done is found out.
    Planned,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The directory, absolute.
    pub directory: PathBuf,
    /// How many entries were made, or would be.
    pub made: u64,
    /// How many kept their content and got other metadata.
    pub adjusted: u64,
    /// How many paths were removed with all beneath them.
    pub removed: u64,
    /// How many entries were as they should be.
    pub unchanged: u64,
    /// How many paths the snapshot does not have and stayed.
    pub extra: u64,
    /// How many files were written.
    pub files_written: u64,
    /// Bytes of content that were written.
    pub bytes_written: u64,
    /// How many layers were read.
    pub layers_read: u64,
    /// What could not be done: of how many entries, and the first of them in path order.
    pub lacks: Vec<(Lack, u64, EntryPath)>,
    /// How many entries are hidden by what is mounted in the directory.
    pub hidden: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

impl Outcome {
    /// Tells whether all that was asked for is there as it was recorded.
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
    let policy =
        Policy::from_canonical(&store.policy(&snapshot.policy_key)?).unwrap_or_else(Policy::plain);
    let source = Source {
        request,
        snapshot: &snapshot,
        policy: &policy,
        spec: &spec,
    };
    let mut outcome = if request.writes == Writes::Planned && !request.directory.exists() {
        plan_missing(&store, &source, &phases)?
    } else {
        let root = Root::open(&request.directory)?;
        if is_new_root {
            Writer::new(&root).strip_root()?;
        }
        refuse_store(&store, &root, &policy)?;
        let mut restoring = Restoring {
            rules: policy.rules(&snapshot.stage)?,
            store: &mut store,
            root: &root,
            source,
            is_new_root,
            phases: &phases,
        };
        restoring.restore()?
    };
    outcome.seconds = phases.spent();
    Ok(outcome)
}

/// The snapshot, and what the user wants of it.
#[derive(Clone, Copy)]
struct Source<'a> {
    request: &'a Request,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    spec: &'a Pathspec,
}

impl Source<'_> {
    /// Loads the snapshot. Fails if a row is damaged or missing, or the snapshot lacks a path that was asked for.
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

    /// Plans what is to be done, and loads the snapshot unless an attempt before has.
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
            // Beside the scan, which does not depend on it.
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

    /// Writes what is planned, and stamps it.
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
            plan.acts[at] = Act::Adjust; // as any directory that is missing above a chosen path
        }
        let sources = sources(self.store, recorded, &plan)?;
        outcome.layers_read = sources
            .chunk_by(|a, b| a.blob.digest() == b.blob.digest())
            .count() as u64;
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

    /// Stamps a directory; where it `is_all` that the snapshot has, the stamps are the snapshot's. A failure costs the next
    /// snapshot time alone, and is a note.
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

/// What comes of a plan, before anything is written.
fn outcome(recorded: &Recorded, plan: &Plan, spec: &Pathspec, directory: &Path) -> Outcome {
    let count = |act: Act| plan.acts.iter().filter(|found| **found == act).count() as u64;
    let (made, adjusted) = (count(Act::Make), count(Act::Adjust));
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

/// What was asked for by its path must be there, unless it is to be removed.
fn refuse_unknown(recorded: &Recorded, request: &Request) -> Result<()> {
    for spec in request
        .pathspec
        .iter()
        .filter(|_| request.extra == Extra::Kept)
    {
        let one = Pathspec::new(std::slice::from_ref(spec))?;
        if !recorded
            .tree
            .entries()
            .iter()
            .any(|entry| one.chooses(&entry.path))
        {
            let path = crate::printable::printable(spec.as_encoded_bytes());
            return Err(Error::UnknownPath {
                path,
                snapshot: recorded.snapshot.id,
            });
        }
    }
    Ok(())
}

/// What is to be done, and what was seen to find that out.
struct Prepared {
    plan: Plan,
    /// `None` of a directory that was empty.
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
    let of_kind = lacks.chunk_by(|a, b| a.0 == b.0);
    of_kind
        .map(|all| {
            (
                all[0].0,
                all.len() as u64,
                tree.entries()[all[0].1].path.clone(),
            )
        })
        .collect()
}
