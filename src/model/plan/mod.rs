//! Plans the layers of a tree: existing layers, and layers to be written.
//!
//! Pure, from trees and known layers to a list. A planner decides; [`stage_planner`] has today's rule.

pub mod deferrable;
pub mod difference;
pub mod item;
pub mod items_form;
mod joining;
pub mod layer;
mod layer_rule;
mod limits;
mod packages;
mod planned;
mod planner;
mod prior_layers;
mod reason;
mod stage_planner;
mod weight;

pub(crate) use joining::{Joinable, join_layers, joined_role};
pub use layer_rule::LayerRule;
pub(crate) use layer_rule::{SMALLEST_PACKAGE_BYTES, SQUASH};
pub(crate) use limits::MOST_LAYERS;
pub use limits::{Limits, OpenLimits};
pub use packages::{PackageEntry, PriorPackage};
pub(crate) use packages::{PackagePlanner, label_stem, set_apart, set_modes_apart};
pub(crate) use planned::{FilledLayer, policy_of_layer};
pub use planned::{LayerPurpose, Plan};
pub use planner::Planning;
pub(crate) use planner::{Given, NeedsWhole, Planner};
pub(crate) use prior_layers::weigh;
pub use prior_layers::{Absence, PriorLayer, PriorLayers};
pub use reason::Reason;
pub(crate) use stage_planner::{StagePlanner, Unfit, Upon, build_upon};
pub use weight::Weight;

#[cfg(test)]
mod tests;
