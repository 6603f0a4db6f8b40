//! A scanned root, and the decision how much to read and plan.

use crate::error::Result;
use crate::model::plan::PriorLayers;
use crate::ops::monitor::Phase;
use crate::ops::record::prior_layers::PriorReading;
use crate::ops::record::session::Session;
use crate::ops::record::subset::ChangedSubset;
use crate::ops::record::unchanged::Unchanged;
use crate::ops::root_view::stamped_scan::{StampedScan, scan_with_stamps};

/// The paths of the root with stat data and stamps.
pub(super) struct Scanned {
    scan: StampedScan,
    prior: PriorReading,
}

/// How much of a scanned root is to be planned.
pub(super) enum Decision {
    /// No path: the root equals the last snapshot.
    Same(StampedScan, Box<Unchanged>),
    /// The changed paths.
    Subset(StampedScan, ChangedSubset, PriorLayers),
    /// All paths.
    Whole(StampedScan, PriorReading),
}

impl Scanned {
    /// Scans the root and reads the stamps meanwhile; without stamps, the layers below are sure to be needed and are
    /// read too. Fails if the root cannot be scanned or the store cannot be read.
    pub(super) fn scan(session: &mut Session) -> Result<Self> {
        let Session {
            store,
            root,
            options,
            phases,
            rules,
            lineage,
            ..
        } = session;
        let load = || {
            let (stamps, state) = store.stamps(root.path())?;
            let prior = if stamps.is_empty() {
                PriorReading::Read(lineage.load(store)?)
            } else {
                PriorReading::Unread
            };
            Ok(((stamps, state), prior))
        };
        let (scan, prior) = scan_with_stamps(root, rules, options.threads, phases, load)?;
        Ok(Self { scan, prior })
    }

    /// Decides. Fails if the rows of the snapshot behind the stamps are damaged, or a blob of the snapshot cannot be opened.
    pub(super) fn decide(self, session: &Session) -> Result<Decision> {
        let Self { scan, prior } = self;
        if let Some(unchanged) = Unchanged::find(session, &scan)? {
            return Ok(Decision::Same(scan, Box::new(unchanged)));
        }
        if !session.may_plan_subset {
            return Ok(Decision::Whole(scan, prior));
        }
        let subset = session
            .phases
            .run(Phase::Plan, None, || ChangedSubset::find(session, &scan))?;
        Ok(match subset {
            Some((subset, below)) => Decision::Subset(scan, subset, below),
            None => Decision::Whole(scan, prior),
        })
    }
}
