//! The tree to be recorded, each file with a known or a pending content, and the plan of the layers.

use crate::error::Result;
use crate::model::packages::owners::{Installed, Times};
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::{
    FilledLayer, Given, NeedsWhole, Plan, PriorLayers, policy_of_layer, set_apart,
};
use crate::model::policy::normalise::StableVolatile;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::tree::Tree;
use crate::model::tree::entry::FileContent;
use crate::model::tree::overlay::Overlay;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Phase;
use crate::ops::record::session::Session;
use crate::ops::record::subset::ChangedSubset;
use crate::ops::root_view::build_user::BuildUser;
use crate::ops::root_view::derived::Derived;
use crate::ops::root_view::observation::{Observation, free_aside};
use crate::store::{LayerUse, StampState};

/// The entries of the root under the policy, all of them or a subset.
pub(super) struct Content {
    pub observation: Observation,
    pub subset: Option<ChangedSubset>,
    /// The layers below, with all items or with the subset.
    pub prior: PriorLayers,
    pub sides: StableVolatile<FileContent>,
    /// The contents of files that are not as in the root.
    pub derived: Derived,
    /// Sorted; `None` where unknown.
    pub packages: Option<Vec<Installed>>,
    pub user: Option<BuildUser>,
    pub stamps: StampState,
    pub paths_planned: u64,
}

impl Content {
    /// Plans the layers. Returns [`NeedsWhole`] if the subset is not enough. Fails if something is mounted in the root, and the
    /// rows of the tree recorded there before are damaged.
    pub(super) fn plan(&mut self, session: &Session) -> Result<Result<Plan, NeedsWhole>> {
        let hidden = self.tree_below_mounts(session)?;
        let plan = session.phases.run(Phase::Plan, None, || match hidden {
            Some(before) => self.plan_hidden(&before, session),
            None => Ok(self.plan_seen(session)),
        });
        free_aside(std::mem::take(&mut self.prior));
        plan
    }

    fn plan_seen(&self, session: &Session) -> Result<Plan, NeedsWhole> {
        let subset = self.subset.as_ref();
        let scope = subset.map_or(Scope::All, ChangedSubset::scope);
        session.plan(&Given {
            stable: &self.sides.stable,
            volatile: &self.sides.volatile,
            packages: self.packages.as_deref().unwrap_or_default(),
            times: times_under(&session.policy),
            prior: &self.prior,
            scope,
            limits: &session.limits(),
        })
    }

    /// Plans the paths that mounts hide as they were `before`. Hidden files cannot be packed: where a plan would have to, the
    /// mount points are recorded empty.
    fn plan_hidden(
        &mut self,
        before: &Before,
        session: &Session,
    ) -> Result<Result<Plan, NeedsWhole>> {
        let as_seen = [self.sides.stable.clone(), self.sides.volatile.clone()];
        self.sides.keep_below_mounts(&before.stable);
        self.sides.keep_apart_below_mounts(&before.apart);
        let plan = self.plan_seen(session);
        if let Ok(plan) = &plan {
            let filled = plan.filled(&self.sides);
            if packs_hidden(session, &filled, &self.sides.mounts)? {
                [self.sides.stable, self.sides.volatile] = as_seen;
                return Ok(self.plan_seen(session));
            }
        }
        Ok(plan)
    }

    /// Returns the tree that was there before, if something is mounted in the root now: of the stage before, or for a first
    /// stage of the last time.
    fn tree_below_mounts(&self, session: &Session) -> Result<Option<Before>> {
        if self.sides.mounts.is_empty() {
            return Ok(None);
        }
        let before = match session.lineage.parent_id() {
            Some(parent) => Some(parent),
            None => session.last_of_stage()?.map(|last| last.id),
        };
        let Some(before) = before else {
            return Ok(None);
        };
        let layers = session.store.layers(before)?;
        let (states, others): (Vec<_>, Vec<_>) = layers
            .into_iter()
            .partition(|layer| layer.role == Role::State);
        let ids = |layers: &[LayerUse]| -> Vec<i64> {
            let ids = layers.iter().map(|layer| layer.layer.id);
            ids.collect()
        };
        let mut overlay = Overlay::new();
        session.store.apply_all(&ids(&others), &mut overlay)?;
        let stable = overlay.clone().into_tree();
        session.store.apply_all(&ids(&states), &mut overlay)?;
        Ok(Some(Before {
            apart: set_apart(&stable, &overlay.into_tree()),
            stable,
        }))
    }
}

/// A tree that was there before.
struct Before {
    stable: Tree,
    /// Directories whose mode the state alone has.
    apart: Tree,
}

/// Tells whether times of entries tell of packages.
fn times_under(policy: &Policy) -> Times {
    match policy.mtime {
        MtimeRule::Fixed => Times::Lost,
        MtimeRule::Package | MtimeRule::Keep => Times::Kept,
    }
}

/// Tells whether a layer that the store does not have holds the content of a file that a mount hides. Fails if a row of such a
/// layer is damaged.
fn packs_hidden(
    session: &Session,
    planned: &[FilledLayer<FileContent>],
    mounts: &[EntryPath],
) -> Result<bool> {
    let is_hidden = |path: &EntryPath| {
        mounts
            .iter()
            .any(|mount| path == mount || path.is_beneath(mount))
    };
    for layer in planned {
        let Some(content) = layer.content() else {
            continue;
        };
        let has_hidden = content
            .entries()
            .any(|entry| entry.size_bytes() > 0 && is_hidden(&entry.path));
        let role = layer.planned.purpose.role;
        if has_hidden && !is_here(session, content, role)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether the store has a layer with this content, which no plan need know.
fn is_here(session: &Session, content: &LayerContent<FileContent>, role: Role) -> Result<bool> {
    let Some(key) = content.known_key(&policy_of_layer(&session.policy, role)) else {
        return Ok(false);
    };
    match session.store.layer_by_key(&key)? {
        Some(layer) => session.store.has_layer(layer.id),
        None => Ok(false),
    }
}
