//! A plan of changed paths alone, over package layers that stay. Pure.

use super::prior::PackageEntry;
use super::remainder::{Heights, Remainder, TOP, visible};
use super::stack::{Stack, limits_beside};
use crate::model::packages::owners::{Installed, Owner, Owners};
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::Role;
use crate::model::plan::planned::{LayerOrigin, LayerPurpose, Plan, PlannedLayer};
use crate::model::plan::planner::{Given, NeedsWhole, Planner};
use crate::model::plan::prior_layers::PriorLayers;
use crate::model::plan::reason::Reason;
use crate::model::plan::stage_planner::StagePlanner;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Content, Entry};
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;

/// Plans the changed paths as a plan of all paths would: every package layer stays. Fails with [`NeedsWhole`] if a package
/// layer may have to be another, or to be added.
pub(super) fn plan<C: Content>(
    planner: StagePlanner,
    smallest_bytes: u64,
    given: &Given<C>,
) -> Result<Plan, NeedsWhole> {
    let Scope::Changed(paths) = given.scope else {
        return Err(NeedsWhole);
    };
    if matters_to_packages(given, paths, smallest_bytes) {
        return Err(NeedsWhole);
    }
    let prior = given.prior;
    let heights = heights(prior, given.stable);
    let remainder = Remainder::of(given.stable, &heights, prior);
    let visible = visible(prior, given.stable, &heights);
    let plan = planner.plan(&Given {
        stable: &remainder.tree,
        prior: visible.as_ref().unwrap_or(prior),
        limits: &limits_beside(given.limits, prior.packages.len()),
        ..*given
    })?;
    let mut stack = Stack::of(plan, &remainder.places);
    for layer in &prior.packages {
        let purpose = LayerPurpose {
            role: Role::Package,
            label: Some(layer.label.clone()),
            is_inherited: layer.is_inherited,
            reason: Some(Reason::Unchanged),
        };
        let origin = LayerOrigin::Reused(layer.key);
        stack.push(layer.height, PlannedLayer { purpose, origin });
    }
    Ok(stack.into_plan())
}

/// Tells whether a package layer has one of the paths otherwise, or a package could have a layer or another one for the path.
fn matters_to_packages<C: Content>(
    given: &Given<C>,
    paths: &[EntryPath],
    smallest_bytes: u64,
) -> bool {
    let entries = given.stable.entries();
    let owners = Owners::new(given.packages, entries.iter());
    let all: Vec<&EntryPath> = paths.iter().collect();
    let owners = owners.of(&all);
    let remainder = given.prior.overlay();
    for (path, owners) in paths.iter().zip(owners) {
        let now = given.stable.position(path).map(|at| &entries[at]);
        if let Some(was) = entry_of_packages(given.prior, path) {
            if !now.is_some_and(|now| is_same(now, &was.entry)) {
                return true;
            }
            continue;
        }
        let was = remainder.at(path);
        let is_kept = match (now, was) {
            (Some(now), Some(was)) => is_same(now, was),
            (None, None) => true,
            _ => false,
        };
        if !is_kept && may_concern_layers(given.packages, &owners, smallest_bytes) {
            return true;
        }
    }
    false
}

/// Tells whether a package that brings a path has as many bytes, as far as its header tells, as a layer takes.
fn may_concern_layers(packages: &[Installed], owners: &[Owner], smallest_bytes: u64) -> bool {
    owners.iter().any(|owner| {
        if owner.file.is_config() || owner.file.is_ghost() {
            return false;
        }
        let files = packages[owner.package].files.iter();
        let files = files.flat_map(|list| list.files());
        let bytes: u64 = files.map(|file| file.size_bytes).sum();
        bytes >= smallest_bytes
    })
}

fn entry_of_packages<'p>(prior: &'p PriorLayers, path: &EntryPath) -> Option<&'p PackageEntry> {
    let entries = &prior.package_entries;
    let at = entries.binary_search_by(|one| one.entry.path.cmp(path));
    at.ok().map(|at| &entries[at])
}

/// A hardlink may have got a name elsewhere, and then belongs to the remainder.
fn is_same<C: Content>(now: &Entry<C>, was: &Entry) -> bool {
    let is_linked = now.group.is_some() || was.group.is_some();
    !is_linked && now.same_but_group(was)
}

/// Returns the heights of the places of a tree, as far as the entries of package layers are given.
fn heights<C>(prior: &PriorLayers, tree: &Tree<C>) -> Heights {
    let mut heights = vec![0; tree.entries().len()];
    for one in &prior.package_entries {
        if let Some(place) = tree.position(&one.entry.path) {
            heights[place] = one.height.unwrap_or(TOP);
        }
    }
    heights
}

impl PriorLayers {
    /// Returns the tree that all layers give where some paths are left out: those of the remainder, and package layers.
    pub(crate) fn tree(&self) -> Tree {
        if self.package_entries.is_empty() {
            return self.overlay().into_tree();
        }
        let mut overlay = Overlay::new();
        let mut count = 0;
        for layer in self.layers() {
            self.apply_packages(Some(count), &mut overlay);
            overlay.apply(layer.items.iter().cloned());
            count += 1;
        }
        self.apply_packages(Some(count), &mut overlay);
        self.apply_packages(None, &mut overlay);
        overlay.into_tree()
    }

    /// Applies the entries of the package layers over so many layers of the remainder, or over all.
    fn apply_packages(&self, height: Option<usize>, overlay: &mut Overlay) {
        let mut items = Vec::new();
        for one in &self.package_entries {
            if one.height == height {
                let entry = one.entry.clone();
                items.push(LayerItem::Entry(entry));
            }
        }
        overlay.apply(items.into_iter());
    }

    /// Notes that some paths are left out of the layers, as [`PriorLayers::leave_out`] does. `tree` is what all layers give.
    pub(crate) fn leave_out_beside_packages(&mut self, dead_bytes: u64, tree: &Tree) -> bool {
        let Some(mut visible) = visible(self, tree, &heights(self, tree)) else {
            let remainder = self.overlay().into_tree();
            return self.leave_out(dead_bytes, &remainder);
        };
        let remainder = visible.overlay().into_tree();
        let is_known = visible.leave_out(dead_bytes, &remainder);
        self.dead_elsewhere_bytes = visible.dead_elsewhere_bytes;
        is_known
    }
}
