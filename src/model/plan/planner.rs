//! What a planner is given, and what it answers. Pure.

use crate::model::packages::owners::{Installed, Times};
use crate::model::plan::difference::Scope;
use crate::model::plan::limits::Limits;
use crate::model::plan::planned::Plan;
use crate::model::plan::prior_layers::PriorLayers;
use crate::model::tree::Tree;
use crate::model::tree::entry::Content;

/// A rule that cuts a tree into layers.
pub(crate) trait Planner {
    /// Lists the layers that give the trees. Under [`Scope::Changed`], the stable tree may lack paths outside the scope, except
    /// the directories above those in it, and the known layers lack all of them; the plan is the one that all paths would give.
    ///
    /// Fails with [`NeedsWhole`] if a layer is to be written that takes paths outside the scope.
    fn plan<C: Content>(&self, given: &Given<C>) -> Result<Plan, NeedsWhole>;
}

/// The trees, known layers and limits of a plan.
#[derive(Debug)]
pub(crate) struct Given<'a, C> {
    /// The stable tree.
    pub stable: &'a Tree<C>,
    /// The volatile tree.
    pub volatile: &'a Tree<C>,
    /// The packages, sorted, with their files; empty where unknown.
    pub packages: &'a [Installed],
    /// Whether the times of entries tell of packages.
    pub times: Times,
    /// The known layers.
    pub prior: &'a PriorLayers,
    /// The paths that may differ.
    pub scope: Scope<'a>,
    /// The limits.
    pub limits: &'a Limits,
}

/// Which planner made a snapshot, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planning {
    /// The planner's name.
    pub planner: String,
    /// The limits; `None` for a planner without.
    pub limits: Option<Limits>,
}

/// The answer to a plan of changed paths alone where a base or a delta is to be written anew, for which all paths count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeedsWhole;
