//! A plan: the list of the layers that give a tree. Pure.

use crate::model::digest::{ContentHash, LayerKey};
use crate::model::plan::layer::{LayerContent, Outline, Role};
use crate::model::plan::reason::Reason;
use crate::model::policy::Policy;
use crate::model::policy::normalise::StableVolatile;

/// The layers that give a tree, in the order of the image. Contents that are not known yet make no difference to a plan.
#[derive(Debug)]
pub struct Plan {
    pub(super) layers: Vec<PlannedLayer>,
    pub(super) dead_bytes: Option<u64>,
}

/// One layer of a plan.
#[derive(Debug)]
pub(crate) struct PlannedLayer {
    /// What the layer is for, and why.
    pub purpose: LayerPurpose,
    /// Where the layer comes from.
    pub origin: LayerOrigin,
}

/// What a layer is for in one snapshot, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerPurpose {
    /// What the layer is for.
    pub role: Role,
    /// A name for readers; `None` for a layer recorded without.
    pub label: Option<String>,
    /// Whether the layer is one of the stage before.
    pub is_inherited: bool,
    /// Why the layer is there; `None` where no planner has decided.
    pub reason: Option<Reason>,
}

/// Returns the policy in the key of a layer of a snapshot under `policy`.
pub(crate) fn policy_of_layer(policy: &Policy, role: Role) -> Policy {
    match role {
        Role::State => policy.clone(),
        Role::Base | Role::Update | Role::Delta | Role::Package => policy.of_stable_layers(),
    }
}

/// Where a layer of a plan comes from.
#[derive(Debug)]
pub(crate) enum LayerOrigin {
    /// A recorded layer is reused.
    Reused(LayerKey),
    /// Entries of the stable tree. The store may have the layer all the same.
    Stable(Outline),
    /// All of the volatile tree, with the directories above.
    Volatile,
}

/// One layer of a plan with its content.
#[derive(Debug)]
pub(crate) struct FilledLayer<'t, C = ContentHash> {
    /// The layer.
    pub planned: &'t PlannedLayer,
    content: Option<LayerContent<'t, C>>,
}

impl Plan {
    /// Returns how many bytes of the stage's base or delta are dead; `None` where the next plan of the same tree could be another,
    /// and so has to be one of all paths.
    pub fn dead_bytes(&self) -> Option<u64> {
        self.dead_bytes
    }

    /// Returns the layers with what they take from `sides`: the trees of the plan, whatever is known of contents by now.
    pub(crate) fn filled<'t, C>(&'t self, sides: &'t StableVolatile<C>) -> Vec<FilledLayer<'t, C>> {
        let filled = self.layers.iter().map(|planned| FilledLayer {
            planned,
            content: match &planned.origin {
                LayerOrigin::Reused(_) => None,
                LayerOrigin::Stable(outline) => Some(outline.of(&sides.stable)),
                LayerOrigin::Volatile => Some(LayerContent::above(&sides.stable, &sides.volatile)),
            },
        });
        filled.collect()
    }
}

impl FilledLayer<'_> {
    /// Returns the layer's key in a snapshot under `policy`.
    pub(crate) fn key(&self, policy: &Policy) -> LayerKey {
        match (&self.planned.origin, &self.content) {
            (LayerOrigin::Reused(key), _) => *key,
            (_, content) => content
                .as_ref()
                .expect("a layer that is not reused has a content")
                .key(&policy_of_layer(policy, self.planned.purpose.role)),
        }
    }
}

impl<'t, C> FilledLayer<'t, C> {
    /// Returns the content; `None` for a layer reused.
    pub(crate) fn content(&self) -> Option<&LayerContent<'t, C>> {
        self.content.as_ref()
    }
}
