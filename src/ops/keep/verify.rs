//! Whether a store holds what was recorded: rows against rows, files against rows, and, where asked for, every byte.
//!
//! Names everything that is wrong, each with the snapshots that it touches; one finding does not keep others from being
//! found. Repairing looks again afterwards: what is not found any more was repaired.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::ops::keep::check::{Check, Found};
pub(crate) use crate::ops::keep::finding::{Finding, Subject};
use crate::ops::keep::repair::repair;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::store::Patience;
use crate::store::Store;
use std::path::Path;
use std::time::Duration;

/// What is verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// All snapshots of a series, or one snapshot; `None` for the whole store.
    pub(crate) of: Option<SnapshotRef>,
    /// Also read every blob.
    pub(crate) deep: bool,
    /// Put right what can be.
    pub(crate) repair: bool,
}

/// What was verified, and what was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    /// What was, and is put right.
    pub(crate) repaired: Vec<Finding>,
    /// How many snapshots were looked at.
    pub(crate) snapshots: u64,
    /// How many of their layers.
    pub(crate) layers: u64,
    /// How many blobs were read whole.
    pub(crate) blobs_read: u64,
    /// Bytes of them.
    pub(crate) bytes_read: u64,
    /// Number and bytes of the blobs that nothing refers to: no harm, prune removes them. Of the whole store alone.
    pub(crate) dead: Option<(u64, u64)>,
    /// The time that each phase took.
    pub(crate) seconds: Vec<(Phase, Duration)>,
}

/// Verifies the store at `store_path`. What is wrong with it is no error of this function.
pub(crate) fn verify(
    store_path: &Path,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let opened = match request.repair {
        true => Store::open_alone_unchecked(store_path, Patience::Usual),
        false => Store::open_unchecked(store_path),
    };
    let mut store = match opened {
        Err(error) if error.is_damage() => {
            let findings = vec![Finding {
                subject: Subject::Database,
                what: error.in_one_line(),
                snapshots: Vec::new(),
            }];
            return Ok(Outcome {
                findings,
                ..Outcome::default()
            });
        }
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

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        Self {
            findings: found.findings,
            snapshots: found.snapshots,
            layers: found.layers,
            blobs_read: found.blobs_read,
            bytes_read: found.bytes_read,
            dead: found.dead,
            ..Self::default()
        }
    }
}

/// Looks at all that is asked for.
fn look(store: &Store, request: &Request, phases: &Phases) -> Result<Outcome> {
    let of = request.of.as_ref();
    let mut check = Check::new(store);
    let used = phases.run(Phase::Compare, None, || check.rows(of))?;
    if let Some(used) = used {
        let total = used.iter().map(|used| used.layer.blob.size_bytes).sum();
        let total = request.deep.then_some(total);
        phases.run(Phase::Read, total, || {
            used.iter().try_for_each(|used| {
                if request.deep {
                    check.read_blob(used, phases.monitor)
                } else {
                    check.find_blob(used)
                }
            })
        })?;
    }
    Ok(Outcome::from(check.found))
}
