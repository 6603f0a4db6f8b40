//! Makes a directory hold what a snapshot does.
//!
//! What is there already is compared as a snapshot would see it, with the help of its stamps, and only what differs is
//! touched. Everything comes out of the layer that gives it; what an upper layer replaces is never written. What was
//! written is stamped, so that the next snapshot of the directory reads nothing.

mod compare;
mod plan;
mod recorded;
mod sources;
mod stamp;
mod write;

use crate::error::{Error, Result};
use crate::fs::attributes::Lack;
use crate::fs::root::Root;
use crate::fs::scan::scan;
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
use crate::ops::root_view::observe::{Look, Observation};
use crate::ops::store_inside::refuse_store_inside;
use crate::store::Snapshot;
use crate::store::StampState;
use crate::store::Stamps;
use crate::store::Store;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a directory that changes while it is read is looked at anew.
const MOST_ATTEMPTS: usize = 3;

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

/// Restores. Fails with the path where a part of it cannot be read or written; what was done until then stays, and is not
/// done again.
pub fn restore(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let phases = Phases::new(monitor);
    let mut store = Store::open(store_path)?;
    let spec = Pathspec::new(&request.pathspec)?;
    let snapshot = store.find(&request.snapshot)?;
    let is_new_root = request.writes == Writes::Done && make_root(&request.directory)?;
    let policy =
        Policy::from_canonical(&store.policy(&snapshot.policy_key)?).unwrap_or_else(Policy::plain);
    if request.writes == Writes::Planned && !request.directory.exists() {
        let recorded = phases.run(Phase::Plan, None, || load(&store, snapshot, policy))?;
        refuse_unknown(&recorded, request)?;
        let directory = std::path::absolute(&request.directory);
        let directory = directory.map_err(Error::io("find", &request.directory))?;
        let outcome = outcome(
            &recorded,
            &plan_anew(&recorded.tree, &spec),
            &spec,
            &directory,
        );
        return Ok(Outcome {
            seconds: phases.spent(),
            ..outcome
        });
    }
    let root = Root::open(&request.directory)?;
    if is_new_root {
        Writer::new(&root).strip_root()?;
    }
    refuse_store(&store, &root, &policy)?;
    let rules = policy.rules(&snapshot.stage)?;
    let (recorded, mut look) = if is_empty(&root)? {
        (
            phases.run(Phase::Plan, None, || load(&store, snapshot, policy))?,
            None,
        )
    } else {
        let load = |store: &Store| load(store, snapshot, policy);
        let (look, recorded) =
            look_beside(&mut store, &root, &rules, request.threads, &phases, load)?;
        (recorded, Some(look))
    };
    refuse_unknown(&recorded, request)?;
    let job = Job {
        root: &root,
        recorded: &recorded,
        rules: &rules,
        spec: &spec,
        extra: request.extra,
    };
    let mut attempt = 1;
    let prepared = loop {
        match prepare(&mut store, &job, request, look.take(), &phases) {
            Err(Error::Changed(_)) if attempt < MOST_ATTEMPTS => attempt += 1,
            prepared => break prepared?,
        }
    };
    let Prepared {
        mut plan,
        observed,
        stamps,
    } = prepared;
    let mut outcome = outcome(&recorded, &plan, &spec, root.path());
    if is_new_root && let Some(at) = recorded.tree.position(&EntryPath::root()) {
        plan.acts[at] = Act::Adjust; // as any directory that is missing above what was asked for
    }
    if request.writes == Writes::Done {
        let sources = sources(&store, &recorded, &plan)?;
        outcome.layers_read = sources
            .chunk_by(|a, b| a.blob.digest() == b.blob.digest())
            .count() as u64;
        let removed = plan.removed.clone();
        let work = Work {
            root: &root,
            tree: &recorded.tree,
            plan,
            profile: recorded.policy.profile,
        };
        let done = write(work, sources, request.threads, &phases)?;
        outcome.files_written = done.files;
        outcome.bytes_written = done.bytes;
        outcome.lacks = summarise(&recorded.tree, &done);
        let written = Written {
            observed: observed.as_ref(),
            stamps,
            done,
            removed,
        };
        let is_all = spec.is_empty() && outcome.is_complete() && outcome.extra == 0;
        let stamped = phases.run(Phase::Record, None, || {
            let state = stamp(&mut store, &root, &recorded, &rules, &written)?;
            if is_all {
                store.claim_stamps(root.path(), state, recorded.snapshot.id)
            } else {
                Ok(())
            }
        });
        if let Err(error) = stamped {
            monitor.note(&format!(
                "{error}; the next snapshot will read the directory again"
            ));
        }
    }
    outcome.seconds = phases.spent();
    Ok(outcome)
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

/// Scans the directory, and reads its stamps meanwhile and does `load`, whose result does not depend on the scan's.
fn look_beside<T: Send>(
    store: &mut Store,
    root: &Root,
    rules: &Rules,
    threads: NonZeroUsize,
    phases: &Phases,
    load: impl FnOnce(&Store) -> Result<T> + Send,
) -> Result<(Result<Look>, T)> {
    phases.run(Phase::Scan, None, || {
        std::thread::scope(|scope| {
            let read =
                scope.spawn(|| -> Result<_> { Ok((store.stamps(root.path())?, load(store)?)) });
            let scan = scan(root, rules, threads);
            let read = read
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let ((stamps, state), loaded): ((Stamps, StampState), T) = read?;
            Ok((scan.map(|scan| Look::new(scan, stamps, state)), loaded))
        })
    })
}

/// Finds out what is to be done; `look` is what was seen just now, if anything was.
fn prepare(
    store: &mut Store,
    job: &Job,
    request: &Request,
    look: Option<Result<Look>>,
    phases: &Phases,
) -> Result<Prepared> {
    let Job {
        root,
        recorded,
        rules,
        spec,
        ..
    } = *job;
    let look = match look {
        Some(look) => look?,
        None if is_empty(root)? => {
            let stamps = match request.writes {
                Writes::Done => store.forget_stamps(root.path())?,
                Writes::Planned => StampState::default(),
            };
            return Ok(Prepared {
                plan: plan_anew(&recorded.tree, spec),
                observed: None,
                stamps,
            });
        }
        None => look_beside(store, root, rules, request.threads, phases, |_| Ok(()))?.0?,
    };
    let observed = look.read(root, None, &[], request.threads, phases)?;
    observed.check(root, request.threads)?;
    let mut stamps = observed.stamps;
    if request.writes == Writes::Done {
        stamps = store.update_stamps(root.path(), stamps, observed.changes())?;
    }
    let plan = phases.run(Phase::Compare, None, || compare_present(job, &observed))?;
    Ok(Prepared {
        plan,
        observed: Some(observed),
        stamps,
    })
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
