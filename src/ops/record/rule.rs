//! How the tree of a new snapshot is cut into layers: as was asked for, as the series was before, or as the root allows.

use crate::error::{Error, Result};
use crate::model::packages::owners::Installed;
use crate::model::plan::LayerRule;
use crate::model::policy::{MtimeRule, Policy, Profile};
use crate::ops::record::lineage::rule_of;
use crate::ops::record::options::Options;
use crate::ops::record::slot::StageSlot;
use crate::store::Store;

/// A rule, and whether it still depends on the packages of the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChosenRule {
    pub rule: LayerRule,
    /// Whether the series has nothing to follow: without packages, the rule is stages.
    needs_packages: bool,
}

impl ChosenRule {
    fn settled(rule: LayerRule) -> Self {
        Self {
            rule,
            needs_packages: false,
        }
    }

    /// Chooses the rule: that of `options`, else, unless the plan is to be fresh, of the parent asked for or of the snapshots before,
    /// else packages under the profile `mock`. Fails with [`Error::UnfitRule`] if package layers were asked for and directories keep their times: each
    /// new file in a directory would renew the layers of all packages there. Fails also if the parent is missing, or the row of
    /// a snapshot is damaged.
    pub(super) fn choose(
        store: &Store,
        slot: &StageSlot,
        options: &Options,
        policy: &Policy,
    ) -> Result<Self> {
        let are_times_kept = policy.mtime == MtimeRule::Keep;
        match options.rule {
            Some(LayerRule::Packages(_)) if are_times_kept => return Err(Error::UnfitRule),
            Some(rule) => return Ok(Self::settled(rule)),
            None if are_times_kept => return Ok(Self::settled(LayerRule::Stages)),
            None => {}
        }
        let before = match &options.parent {
            _ if options.fresh => None,
            Some(parent) => Some(store.find(parent)?),
            None => store.latest_cut(&slot.series, &slot.stage, slot.run.as_deref())?,
        };
        Ok(match (before, policy.profile) {
            (Some(before), _) => Self::settled(rule_of(&before)),
            (None, Profile::Plain) => Self::settled(LayerRule::Stages),
            (None, Profile::Mock) => Self {
                rule: LayerRule::USUAL_PACKAGES,
                needs_packages: true,
            },
        })
    }

    /// Returns the rule for a root with these packages; `None` where they are unknown.
    pub(super) fn over(self, packages: Option<&[Installed]>) -> LayerRule {
        let has_none = packages.is_none_or(<[_]>::is_empty);
        if self.needs_packages && has_none {
            LayerRule::Stages
        } else {
            self.rule
        }
    }
}
