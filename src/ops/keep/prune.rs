//! Removes snapshots, by rule or by name, then the blobs without a snapshot.
//!
//! Works while nobody else has the store open, so no file goes that a run or an export is using. A store with damaged
//! rows is left alone: a damaged row might be the need for a blob. Killed at any point, prune has lost nothing that
//! was to stay, and the next prune removes the rest. A store with images in index.json and without rows is refused:
//! the blobs might be somebody's.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::keep::{Dated, Reason, Rules, kept};
use crate::model::names::SnapshotRef;
use crate::ops::keep::change::named;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::store_index::render_index;
use crate::store::BlobRef;
pub(crate) use crate::store::Patience;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The snapshots to remove.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Those that no rule keeps, of a series or of all; without rules, none.
    ByRules(Rules, Option<String>),
    /// Those of a series, or of one of its stages.
    OfSeries(String, Option<String>),
    /// These.
    Named(Vec<SnapshotRef>),
}

/// What to remove, and how.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The snapshots to remove.
    pub selection: Selection,
    /// Find out, and remove nothing.
    pub dry_run: bool,
    /// The patience with others who have the store open.
    pub patience: Patience,
}

/// The kept and the removed.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The snapshots that stay, the newest first, with the rules that keep each.
    pub kept: Vec<(Snapshot, Vec<Reason>)>,
    /// The removed snapshots, the newest first.
    pub removed: Vec<Snapshot>,
    /// The number of removed blobs.
    pub blobs: u64,
    /// The bytes of removed blobs.
    pub blob_bytes: u64,
    /// The bytes by which the database is shorter now; 0 for a dry run.
    pub database_bytes: u64,
    /// The number of vanished roots, whose stamps were removed.
    pub roots: u64,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Prunes the store at `store_path`. Fails with [`Error::Locked`] if others have the store open for too long, and with
/// [`Error::Damaged`] if index.json or a row is not as recorded.
pub(crate) fn prune(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let mut store = open(store_path, request)?;
    let phases = Phases::new(monitor);
    let (staying, removed) = request.selection.divide(&store)?;
    let going = Going::find(&store, &removed)?;
    let (before, _) = store.database_bytes()?;
    if !request.dry_run {
        going.remove(&mut store, &phases)?;
    }
    let (after, _) = store.database_bytes()?;
    let dead_sizes = going.dead.iter().map(|blob| blob.size_bytes);
    Ok(Outcome {
        kept: staying,
        removed,
        blobs: going.dead.len() as u64,
        blob_bytes: dead_sizes.sum(),
        database_bytes: before.saturating_sub(after),
        roots: going.roots.len() as u64,
        seconds: phases.spent(),
    })
}

/// Opens the store, alone unless nothing is to be removed, and refuses a store with a damaged index.json.
fn open(store_path: &Path, request: &Request) -> Result<Store> {
    let store = if request.dry_run {
        Store::open(store_path)?
    } else {
        Store::open_alone(store_path, request.patience)?
    };
    check_index(&store)?;
    Ok(store)
}

/// Fails with [`Error::Damaged`] if index.json is not as recorded.
pub(crate) fn check_index(store: &Store) -> Result<()> {
    match store.index_finding()? {
        None => Ok(()),
        Some(what) => {
            let what = format!("{what}; rootstrata verify --repair makes it anew");
            Err(Error::damaged(store.path().join("index.json"), what))
        }
    }
}

/// Snapshots that stay, with their rules, and snapshots that go; the newest first.
type Chosen = (Vec<(Snapshot, Vec<Reason>)>, Vec<Snapshot>);

impl Selection {
    /// Divides snapshots into those that stay, as far as rules or pins were asked, and those that go. Fails without a series, a stage or
    /// a snapshot named, for a named one pinned, and if a row is not as recorded.
    fn divide(&self, store: &Store) -> Result<Chosen> {
        match self {
            Self::ByRules(rules, series) => chosen(store, rules, series.as_deref()),
            Self::OfSeries(series, stage) => {
                let all = of_stage(store, series, stage.as_deref())?.into_iter();
                let (pinned, removed): (Vec<_>, _) = all.partition(|one| one.is_pinned);
                let pinned = pinned.into_iter().map(|one| (one, vec![Reason::Pinned]));
                Ok((pinned.collect(), removed))
            }
            Self::Named(names) => {
                let removed = named(store, names)?;
                match removed.iter().find(|one| one.is_pinned) {
                    Some(one) => Err(Error::Pinned { snapshot: one.id }),
                    None => Ok((Vec::new(), removed)),
                }
            }
        }
    }
}

/// Returns the snapshots of a series, or of one of its stages. Fails without any.
fn of_stage(store: &Store, series: &str, stage: Option<&str>) -> Result<Vec<Snapshot>> {
    let mut snapshots = store.snapshots(Some(series))?;
    snapshots.retain(|snapshot| stage.is_none_or(|stage| snapshot.stage == stage));
    if snapshots.is_empty() {
        let reference = SnapshotRef::Latest {
            series: series.to_owned(),
            stage: stage.map(str::to_owned),
            at: None,
            back: 0,
        };
        store.find(&reference)?;
    }
    Ok(snapshots)
}

/// Divides the snapshots of a series, or of all, by rules. Fails without such a series, and if a row is not as recorded.
pub(crate) fn chosen(store: &Store, rules: &Rules, series: Option<&str>) -> Result<Chosen> {
    let snapshots = store.snapshots(series)?;
    let dated: Vec<Dated> = snapshots.iter().map(dated).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.unwrap_or_default().as_secs() as i64;
    let reasons = kept(rules, &dated, now_s);
    let (mut staying, mut removed) = (Vec::new(), Vec::new());
    for (snapshot, reasons) in snapshots.into_iter().zip(reasons) {
        if reasons.is_empty() {
            removed.push(snapshot);
        } else {
            staying.push((snapshot, reasons));
        }
    }
    Ok((staying, removed))
}

fn dated(snapshot: &Snapshot) -> Dated<'_> {
    Dated {
        id: snapshot.id,
        of: (&snapshot.series, &snapshot.stage),
        created_s: snapshot.created_s,
        labels: Some(&snapshot.labels),
        is_pinned: snapshot.is_pinned,
    }
}

/// Snapshots that go, with their blobs and roots.
struct Going {
    ids: Vec<i64>,
    /// The blobs that stay with the snapshots that stay.
    kept: HashMap<Digest, u64>,
    /// All other blobs.
    dead: Vec<BlobRef>,
    /// Vanished roots.
    roots: Vec<PathBuf>,
}

impl Going {
    /// Finds out before anything goes; all rows are compared with their seals.
    fn find(store: &Store, removed: &[Snapshot]) -> Result<Self> {
        let ids = removed.iter().map(|snapshot| snapshot.id);
        let ids: Vec<i64> = ids.collect();
        let mut left = store.snapshots(None)?;
        store.needed_by(&left)?;
        left.retain(|snapshot| !ids.contains(&snapshot.id));
        let kept = store.kept_for(&left)?;
        let mut roots = store.roots()?;
        roots.retain(|root| is_gone(root));
        Ok(Self {
            dead: store.dead_blobs(&kept)?,
            ids,
            kept,
            roots,
        })
    }

    fn remove(&self, store: &mut Store, phases: &Phases) -> Result<()> {
        if store.release_reserve()? {
            phases.run(Phase::Record, None, || {
                remove_one_by_one(store, &self.ids, &self.roots)
            })?;
        }
        phases.run(Phase::Record, None, || {
            store.remove_snapshots(&self.ids, &self.roots, render_index)
        })?;
        phases.run(Phase::Remove, None, || remove_blobs(store, &self.kept))?;
        let shrunk = phases.run(Phase::Record, None, || store.shrink_database());
        if let Err(error) = shrunk {
            let what = format!("{error}; the database keeps its length");
            phases.monitor.note(&what);
        }
        store.keep_reserve();
        Ok(())
    }
}

/// On a full disk: first the files without a reference, then snapshot by snapshot, each with its blobs. So the
/// database needs little room at a time, and each step makes room for the next.
fn remove_one_by_one(store: &mut Store, ids: &[i64], roots: &[PathBuf]) -> Result<()> {
    remove_unneeded(store)?;
    for id in ids.iter().rev() {
        store.remove_snapshots(&[*id], roots, render_index)?;
        store.empty_log()?;
        remove_unneeded(store)?;
    }
    Ok(())
}

fn remove_unneeded(store: &Store) -> Result<()> {
    let snapshots = store.snapshots(None)?;
    let kept = store.kept_for(&snapshots)?;
    remove_blobs(store, &kept)
}

fn remove_blobs(store: &Store, kept: &HashMap<Digest, u64>) -> Result<()> {
    for blob in store.dead_blobs(kept)? {
        store.remove_blob(&blob.digest)?;
    }
    Ok(())
}

/// Stamps are a cache: in doubt, a root's stamps stay.
fn is_gone(root: &Path) -> bool {
    match std::fs::symlink_metadata(root) {
        Ok(_) => false,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}
