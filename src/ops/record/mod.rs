//! Records one stage of a root: known layers are reused, new ones are packed.
//!
//! A recording passes states, each a type consumed by the next:
//! [`Session`] → [`Scanned`] → [`Decision`] → [`Observed`] → [`Content`](content::Content) →
//! [`PlannedContent`](packed::PlannedContent) → [`Packed`](packed::Packed) → [`Recorded`].
//! Two answers lead back to the scan, both handled by [`snapshot`] alone: the root has changed, and the planner needs the
//! whole root.

mod choose_deferred;
mod content;
mod deferred;
mod files;
mod first;
mod image;
mod known_tree;
mod lineage;
mod nearly;
mod observed;
mod options;
mod packed;
mod prior_layers;
mod recorded;
mod rule;
mod scanned;
mod session;
mod slot;
mod subset;
mod totals;
mod unchanged;

use crate::error::{Error, Result};
use crate::model::plan::NeedsWhole;
use crate::ops::monitor::Monitor;
pub use crate::ops::record::first::FirstOf;
pub use crate::ops::record::nearly::Nearly;
use crate::ops::record::observed::Observed;
pub use crate::ops::record::options::{Options, Outcome};
use crate::ops::record::packed::PlannedContent;
use crate::ops::record::prior_layers::PriorReading;
use crate::ops::record::recorded::Recorded;
use crate::ops::record::scanned::{Decision, Scanned};
use crate::ops::record::session::Session;
pub(crate) use crate::ops::record::slot::name_of_series;
use crate::ops::root_view::attempts::until_unchanged;
use std::path::Path;

/// Records `root` in the store at `store_path`, made where missing. A recording that fails leaves no snapshot.
///
/// Fails if a name in `options` is malformed, the root cannot be read as a whole, holds a path unfit for a layer, holds the
/// store or goes on changing ([`Error::Changed`]), or the store cannot be written.
pub fn snapshot(
    store_path: &Path,
    root: &Path,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let mut session = Session::open(store_path, root, options, monitor)?;
    let recorded = until_unchanged(|| {
        let recorded = record(&mut session);
        if let Err(Error::Changed(path)) = &recorded {
            session.attempt_again(path)?;
        }
        recorded
    })?;
    recorded.outcome(session)
}

fn record(session: &mut Session) -> Result<Recorded> {
    loop {
        match attempt(session)? {
            Ok(recorded) => return Ok(recorded),
            Err(NeedsWhole) => session.attempt_whole()?,
        }
    }
}

/// Goes from state to state.
fn attempt(session: &mut Session) -> Result<Result<Recorded, NeedsWhole>> {
    let observed = match Scanned::scan(session)?.decide(session)? {
        Decision::Same(scan, unchanged) => return Ok(Ok(unchanged.record(session, scan)?)),
        Decision::Subset(scan, subset, below) => {
            Observed::read(session, scan, Some(subset), PriorReading::Read(below))?
        }
        Decision::Whole(scan, prior) => Observed::read(session, scan, None, prior)?,
    };
    let content = observed.into_content(session)?;
    let planned = match PlannedContent::new(content, session)? {
        Ok(planned) => planned,
        Err(needs_whole) => return Ok(Err(needs_whole)),
    };
    let packed = planned.pack(session)?;
    Ok(Ok(packed.record(session)?))
}
