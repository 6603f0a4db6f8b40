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
mod image;
mod known_tree;
mod lineage;
mod observed;
mod options;
mod packed;
mod prior_layers;
mod recorded;
mod scanned;
mod session;
mod slot;
mod subset;
mod totals;
mod unchanged;

use crate::error::{Error, Result};
use crate::model::plan::NeedsWhole;
use crate::ops::monitor::Monitor;
use crate::ops::record::observed::Observed;
pub use crate::ops::record::options::{Options, Outcome};
use crate::ops::record::packed::PlannedContent;
use crate::ops::record::prior_layers::PriorLayers;
use crate::ops::record::recorded::Recorded;
use crate::ops::record::scanned::{Decision, Scanned};
use crate::ops::record::session::Session;
use std::path::Path;

/// How often a changing root is scanned.
const MOST_ATTEMPTS: usize = 3;

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
    let mut attempts = 1;
    loop {
        match attempt(&mut session) {
            Ok(Ok(recorded)) => return recorded.outcome(session),
            Ok(Err(NeedsWhole)) => session.attempt_whole()?,
            Err(Error::Changed(path)) => {
                session.attempt_again(&path)?;
                if attempts == MOST_ATTEMPTS {
                    return Err(Error::Changed(path));
                }
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Goes from state to state.
fn attempt(session: &mut Session) -> Result<Result<Recorded, NeedsWhole>> {
    let observed = match Scanned::scan(session)?.decide(session)? {
        Decision::Same(look, unchanged) => return Ok(Ok(unchanged.record(session, look)?)),
        Decision::Subset(look, subset, below) => {
            Observed::read(session, look, Some(subset), PriorLayers::Read(below))?
        }
        Decision::Whole(look, prior) => Observed::read(session, look, None, prior)?,
    };
    let content = observed.into_content(session)?;
    let planned = match PlannedContent::new(content, session)? {
        Ok(planned) => planned,
        Err(needs_whole) => return Ok(Err(needs_whole)),
    };
    let packed = planned.pack(session)?;
    Ok(Ok(packed.record(session)?))
}
