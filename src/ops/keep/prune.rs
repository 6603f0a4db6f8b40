//! Removes snapshots by rule, then the blobs that no snapshot needs.
//!
//! Works while nobody else has the store open, so nothing goes that a run or an export is using. A store with
//! damaged rows is left alone: they might be what tells that a blob is needed. Killed at any point, nothing is lost that
//! was to stay, and the next prune removes the rest. A store is refused whose index.json lists what no row has: its
//! blobs might be somebody's.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::keep::{Dated, Reason, Rules, kept};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::store_index::render_index;
pub(crate) use crate::store::Patience;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// By which rules; without any, all snapshots.
    pub(crate) rules: Rules,
    /// Of this series; the others are left alone.
    pub(crate) series: Option<String>,
    /// Find out, and remove nothing.
    pub(crate) dry_run: bool,
    /// How long to wait for others who have the store open.
    pub(crate) patience: Patience,
}

/// What was kept and removed.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The snapshots that stay, the newest first, with the rules that keep each.
    pub(crate) kept: Vec<(Snapshot, Vec<Reason>)>,
    /// The snapshots that are gone, the newest first.
    pub(crate) removed: Vec<Snapshot>,
    /// How many blobs are gone.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) blob_bytes: u64,
    /// Bytes by which the database is shorter now; 0 for a dry run.
    pub(crate) database_bytes: u64,
    /// Roots that are no longer there, whose stamps are gone.
    pub(crate) roots: u64,
    /// The time that each phase took.
    pub(crate) seconds: Vec<(Phase, Duration)>,
}

/// Prunes the store at `store_path`. Fails with [`Error::Locked`] where others have it open for too long.
pub(crate) fn prune(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let mut store = match request.dry_run {
        true => Store::open(store_path)?,
        false => Store::open_alone(store_path, request.patience)?,
    };
    if let Some(what) = store.index_finding()? {
        let what = format!("{what}; rootstrata verify --repair makes it anew");
        return Err(Error::damaged(store.path().join("index.json"), what));
    }
    let phases = Phases::new(monitor);
    let snapshots = store.snapshots(request.series.as_deref())?;
    let dated = |one: &Snapshot| (one.series.clone(), one.stage.clone(), one.created_s, one.id);
    let keys: Vec<_> = snapshots.iter().map(dated).collect();
    let dated: Vec<Dated> = keys
        .iter()
        .map(|(series, stage, created_s, id)| Dated {
            id: *id,
            of: (series, stage),
            created_s: *created_s,
        })
        .collect();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let reasons = kept(&request.rules, &dated, now as i64);
    let (mut staying, mut removed) = (Vec::new(), Vec::new());
    for (snapshot, reasons) in snapshots.into_iter().zip(reasons) {
        match reasons.is_empty() {
            true => removed.push(snapshot),
            false => staying.push((snapshot, reasons)),
        }
    }
    let ids: Vec<i64> = removed.iter().map(|snapshot| snapshot.id).collect();
    // All rows are compared with their seals before any goes.
    let mut left = store.snapshots(None)?;
    store.needed_by(&left)?;
    left.retain(|snapshot| !ids.contains(&snapshot.id));
    let needed = store.needed_by(&left)?;
    let dead = store.dead_blobs(&needed)?;
    let roots: Vec<PathBuf> = store
        .roots()?
        .into_iter()
        .filter(|root| is_gone(root))
        .collect();
    let (before, _) = store.database_bytes()?;
    if !request.dry_run {
        if store.release_reserve()? {
            phases.run(Phase::Record, None, || {
                remove_one_by_one(&mut store, &ids, &roots)
            })?;
        }
        phases.run(Phase::Record, None, || {
            store.remove_snapshots(&ids, &roots, render_index)
        })?;
        phases.run(Phase::Remove, None, || remove_blobs(&store, &needed))?;
        if let Err(error) = phases.run(Phase::Record, None, || store.shrink_database()) {
            monitor.note(&format!("{error}; the database keeps its length"));
        }
        store.keep_reserve();
    }
    let (after, _) = store.database_bytes()?;
    Ok(Outcome {
        kept: staying,
        removed,
        blobs: dead.len() as u64,
        blob_bytes: dead.iter().map(|blob| blob.size_bytes).sum(),
        database_bytes: before.saturating_sub(after),
        roots: roots.len() as u64,
        seconds: phases.spent(),
    })
}

/// On a full disk: what nothing refers to first, then snapshot by snapshot, each with its blobs, so that little room is
/// needed for what the database writes, and more is there for the next.
fn remove_one_by_one(store: &mut Store, ids: &[i64], roots: &[PathBuf]) -> Result<()> {
    remove_blobs(store, &store.needed_by(&store.snapshots(None)?)?)?;
    for id in ids.iter().rev() {
        store.remove_snapshots(&[*id], roots, render_index)?;
        store.empty_log()?;
        remove_blobs(store, &store.needed_by(&store.snapshots(None)?)?)?;
    }
    Ok(())
}

fn remove_blobs(store: &Store, needed: &HashMap<Digest, u64>) -> Result<()> {
    store
        .dead_blobs(needed)?
        .iter()
        .try_for_each(|blob| store.remove_blob(&blob.digest))
}

/// Stamps are a cache: where it cannot be told, they stay.
fn is_gone(root: &Path) -> bool {
    matches!(std::fs::symlink_metadata(root), Err(e) if e.kind() == io::ErrorKind::NotFound)
}
