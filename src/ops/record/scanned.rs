//! A scanned root, and the decision how much to read and plan.

use crate::error::Result;
use crate::model::plan::Below;
use crate::ops::monitor::Phase;
use crate::ops::record::prior_layers::PriorLayers;
use crate::ops::record::session::Session;
use crate::ops::record::subset::ChangedSubset;
use crate::ops::record::unchanged::Unchanged;
use crate::ops::root_view::observe::{Look, look};

/// The paths of the root with stat data and stamps.
pub(super) struct Scanned {
    look: Look,
    prior: PriorLayers,
}

/// How much of a scanned root is to be planned.
pub(super) enum Decision {
    /// No path: the root equals the last snapshot.
    Same(Look, Box<Unchanged>),
    /// The changed paths.
    Subset(Look, ChangedSubset, Below),
    /// All paths.
    Whole(Look, PriorLayers),
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
        let (look, loaded) = look(store, root, rules, options.threads, phases, |store| {
            lineage.load(store)
        })?;
        Ok(Self {
            look,
            prior: loaded.map_or(PriorLayers::Unread, PriorLayers::Read),
        })
    }

    /// Decides. Fails if the store cannot be read.
    pub(super) fn decide(self, session: &Session) -> Result<Decision> {
        let Self { look, prior } = self;
        if let Some(unchanged) = Unchanged::find(session, &look)? {
            return Ok(Decision::Same(look, Box::new(unchanged)));
        }
        if !session.may_plan_subset {
            return Ok(Decision::Whole(look, prior));
        }
        let subset = session
            .phases
            .run(Phase::Plan, None, || ChangedSubset::find(session, &look))?;
        Ok(match subset {
            Some((subset, below)) => Decision::Subset(look, subset, below),
            None => Decision::Whole(look, prior),
        })
    }
}
