//! Verification: rows against rows, files against rows, and, where asked for, every byte.
//!
//! Names every fault, each with the touched snapshots; a finding does not keep other faults from being found.
//! Repairing looks again afterwards: faults of the first look alone were repaired.

use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::ops::keep::check::{Check, Found, Used};
pub(crate) use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::keep::repair::repair;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::store::Patience;
use crate::store::Store;
use std::path::Path;
use std::time::Duration;

/// The extent of a verification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// All snapshots of a series, or a snapshot; `None` for the whole store.
    pub of: Option<SnapshotRef>,
    /// Also read every blob.
    pub deep: bool,
    /// Also repair the store.
    pub repair: bool,
}

/// The counts and findings of a verification.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The faults.
    pub findings: Vec<Finding>,
    /// The repaired faults.
    pub repaired: Vec<Finding>,
    /// The number of snapshots.
    pub snapshots: u64,
    /// The number of layers.
    pub layers: u64,
    /// The number of blobs that were read whole.
    pub blobs_read: u64,
    /// The bytes of these blobs.
    pub bytes_read: u64,
    /// Number and bytes of the layers that only a registry has, and that nobody has looked at.
    pub remote: (u64, u64),
    /// Number and bytes of blobs without a reference, in the whole store: no harm, prune removes such blobs.
    pub dead: Option<(u64, u64)>,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Verifies the store at `store_path`. Faults of the store are no errors here. Fails with
/// [`Error::NoStore`] without a store, if the requested snapshot or series is not there, if a
/// file cannot be opened, read or repaired, and if the store stays in use while a repair waits.
pub(crate) fn verify(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let mut store = match open(store_path, request) {
        Err(error) if error.is_damage() => return Ok(unopened(&error)),
        opened => opened?,
    };
    let phases = Phases::new(monitor);
    let mut outcome = look(&store, request, &phases)?;
    if request.repair {
        repair(&mut store, &outcome.findings, monitor)?;
        let before = std::mem::take(&mut outcome.findings);
        outcome = look(&store, request, &phases)?;
        outcome.repaired = before
            .into_iter()
            .filter(|was| !outcome.findings.contains(was))
            .collect();
    }
    outcome.seconds = phases.spent();
    Ok(outcome)
}

fn open(store_path: &Path, request: &Request) -> Result<Store> {
    if request.repair {
        Store::open_alone_unchecked(store_path, Patience::Usual)
    } else {
        Store::open_unchecked(store_path)
    }
}

/// Returns the outcome for a store that is too damaged to be opened.
fn unopened(error: &Error) -> Outcome {
    let finding = Finding {
        subject: Subject::Database,
        what: error.in_one_line(),
        snapshots: Vec::new(),
    };
    Outcome {
        findings: vec![finding],
        ..Outcome::default()
    }
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        Self {
            findings: found.findings,
            snapshots: found.snapshots,
            layers: found.layers,
            blobs_read: found.blobs_read,
            bytes_read: found.bytes_read,
            remote: found.remote,
            dead: found.dead,
            ..Self::default()
        }
    }
}

/// Looks at the store to the requested extent.
fn look(store: &Store, request: &Request, phases: &Phases) -> Result<Outcome> {
    let of = request.of.as_ref();
    let mut check = Check::new(store);
    let used = phases.run(Phase::Compare, None, || check.rows(of))?;
    if let Some(used) = used {
        look_at_blobs(&mut check, &used, request, phases)?;
        look_at_joined(&mut check, store, request, phases)?;
    }
    Ok(Outcome::from(check.found))
}

/// Looks at layers joined for exports: at those of the whole store alone.
fn look_at_joined(
    check: &mut Check,
    store: &Store,
    request: &Request,
    phases: &Phases,
) -> Result<()> {
    if request.of.is_some() {
        return Ok(());
    }
    phases.run(Phase::Read, None, || {
        for joined in store.all_joined()? {
            check.joined(&joined, request.deep)?;
        }
        Ok(())
    })
}

fn look_at_blobs(
    check: &mut Check,
    used: &[Used],
    request: &Request,
    phases: &Phases,
) -> Result<()> {
    let sizes = used.iter().map(|used| used.layer.blob.size_bytes);
    let total = request.deep.then_some(sizes.sum());
    phases.run(Phase::Read, total, || {
        for used in used {
            if request.deep {
                check.read_blob(used, phases.monitor)?;
            } else {
                check.find_blob(used)?;
            }
        }
        Ok(())
    })
}
