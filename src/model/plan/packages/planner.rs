//! The planner of packages. Pure.

use super::changed;
use super::chosen::{Chosen, Room, choose};
use super::paths::{PackagePaths, package_paths};
use super::prior::{PriorPackage, stem};
use super::remainder::{Heights, Remainder, TOP, clashes, visible};
use super::stack::{Stack, limits_beside};
use crate::model::names::BOOTSTRAP;
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{Outline, Role};
use crate::model::plan::layer_rule::RESERVED_LAYERS;
use crate::model::plan::limits::Limits;
use crate::model::plan::planned::{LayerOrigin, LayerPurpose, Plan, PlannedLayer};
use crate::model::plan::planner::{Given, NeedsWhole, Planner};
use crate::model::plan::prior_layers::PriorLayers;
use crate::model::plan::reason::Reason;
use crate::model::plan::stage_planner::StagePlanner;
use crate::model::tree::entry::{Content, Entry};
use crate::model::tree::overlay::Piece;
use crate::model::tree::{Tree, content_bytes};

/// The planner of one stage that gives packages layers of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackagePlanner<'a> {
    /// Plans the remainder.
    pub remainder: StagePlanner<'a>,
    /// The most package layers that the stage may add.
    pub most: usize,
    /// A package of fewer bytes is left to the remainder.
    pub smallest_bytes: u64,
}

impl Planner for PackagePlanner<'_> {
    fn plan<C: Content>(&self, given: &Given<C>) -> Result<Plan, NeedsWhole> {
        match given.scope {
            Scope::All => self.plan_whole(
                given,
                &package_paths(given.stable, given.packages, given.times),
            ),
            Scope::Changed(_) => changed::plan(self.remainder, self.smallest_bytes, given),
        }
    }
}

impl PackagePlanner<'_> {
    /// Plans a whole tree with the paths of its packages. Fails with [`NeedsWhole`] as the planner of the remainder does: never
    /// under [`Scope::All`].
    pub(super) fn plan_whole<C: Content>(
        &self,
        given: &Given<C>,
        paths: &[PackagePaths],
    ) -> Result<Plan, NeedsWhole> {
        let prior = given.prior;
        let new_bytes = new_bytes(given.stable, paths, prior);
        let room = self.room(given.limits);
        let chosen = choose(paths, &new_bytes, &prior.packages, &room);
        let mut layers: Vec<PackageLayer> = chosen
            .iter()
            .map(|one| PackageLayer::of(given.stable, paths, one))
            .collect();
        let clashes = clashes(given.stable, prior);
        let wanted = layers.len();
        layers.retain(|layer| !layer.outline.places().any(|at| clashes.contains(&at)));
        // What a package clashes with may be gone the next time, whatever changes then.
        let is_settled = layers.len() == wanted;
        let heights = heights(given.stable, &layers);
        let remainder = Remainder::of(given.stable, &heights, prior);
        let visible = visible(prior, given.stable, &heights);
        let plan = self.remainder.plan(&Given {
            stable: &remainder.tree,
            prior: visible.as_ref().unwrap_or(prior),
            limits: &limits_beside(given.limits, layers.len()),
            ..*given
        })?;
        let mut stack = Stack::of(plan, &remainder.places);
        for layer in layers {
            let planned = PlannedLayer {
                purpose: purpose(layer.label, &prior.packages),
                origin: LayerOrigin::Stable(layer.outline),
            };
            stack.push(layer.height, planned);
        }
        let plan = stack.into_plan();
        Ok(Plan {
            dead_bytes: plan.dead_bytes.filter(|_| is_settled),
            ..plan
        })
    }

    fn room(&self, limits: &Limits) -> Room {
        let all = limits.most_layers.saturating_sub(RESERVED_LAYERS);
        // A bootstrap leaves room for the stages above.
        let above = if self.remainder.stage == BOOTSTRAP {
            self.most
        } else {
            0
        };
        Room {
            added: self.most,
            all: all.saturating_sub(above),
            smallest_bytes: self.smallest_bytes,
        }
    }
}

/// Returns how many bytes of each package the remainder of the stage before does not have: a layer on top would only repeat them.
fn new_bytes<C: Content>(tree: &Tree<C>, paths: &[PackagePaths], prior: &PriorLayers) -> Vec<u64> {
    let ground = prior.ground();
    let ground = ground.entries();
    let is_new = |entry: &&Entry<C>| {
        let below = ground.binary_search_by(|below| below.entry().path.cmp(&entry.path));
        !below.is_ok_and(|at| entry.same_but_group(ground[at].entry()))
    };
    let mut bytes = Vec::with_capacity(paths.len());
    for of_package in paths {
        let places = of_package.places.iter();
        let entries = places.map(|at| &tree.entries()[*at as usize]);
        bytes.push(content_bytes(entries.filter(is_new)));
    }
    bytes
}

/// A package layer of a plan.
struct PackageLayer<'p> {
    label: &'p str,
    height: Option<usize>,
    /// The paths of the package with the directories above.
    outline: Outline,
}

impl<'p> PackageLayer<'p> {
    fn of<C>(tree: &Tree<C>, paths: &'p [PackagePaths], chosen: &Chosen) -> Self {
        let of_package = &paths[chosen.package];
        Self {
            label: &of_package.label,
            height: chosen.height,
            outline: Outline::of_places(tree, &of_package.places),
        }
    }
}

fn heights<C>(tree: &Tree<C>, layers: &[PackageLayer]) -> Heights {
    let mut heights = vec![0; tree.entries().len()];
    for layer in layers {
        let height = layer.height.unwrap_or(TOP);
        for place in layer.outline.places() {
            heights[place] = height.max(heights[place]);
        }
    }
    heights
}

/// What a package layer is for, beside the package layers before.
fn purpose(label: &str, prior: &[PriorPackage]) -> LayerPurpose {
    let same = prior.iter().find(|layer| layer.label == label);
    let older = prior.iter().find(|layer| layer.stem() == stem(label));
    let reason = match (same, older) {
        (Some(_), _) => Reason::Unchanged,
        (None, Some(older)) => Reason::Upgraded(older.label.clone()),
        (None, None) => Reason::Package,
    };
    LayerPurpose {
        role: Role::Package,
        label: Some(label.to_owned()),
        is_inherited: same.is_some_and(|layer| layer.is_inherited),
        reason: Some(reason),
    }
}
