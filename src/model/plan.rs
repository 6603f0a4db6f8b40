//! Which layers give a tree: those that exist, and those to be written.
//!
//! A pure function from trees and known layers to a list. `[base] [update] [delta...] [state]`: the base is the
//! whole first stage as of the last rebase, the update leads from it to today's first stage (cumulative, not a
//! chain of days), a delta leads from one stage to the next, the state holds the volatile files, last and whole.
//! So a rebuild with the same packages writes nothing but its state.

use super::diff;
use super::digest::LayerKey;
use super::entry::{Entry, Group, Kind};
use super::layer::{LayerContent, Role};
use super::normalise::Sides;
use super::policy::Policy;
use super::tree::{self, Tree};
use std::collections::HashSet;

/// No image has more layers than this; some engines refuse one of more than 127.
pub const MOST_LAYERS: usize = 100;

/// When a base is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// When the update is more than this share of the base, in percent of bytes of content.
    pub update_percent: u64,
    /// When more than this share of the base is no longer used, likewise.
    pub dead_percent: u64,
    /// When an image would have more layers; at most [`MOST_LAYERS`].
    pub most_layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { update_percent: 30, dead_percent: 25, most_layers: MOST_LAYERS }
    }
}

/// What the tree is laid over.
#[derive(Debug)]
pub enum Below<'a> {
    /// Nothing that could be reused.
    Nothing,
    /// A first stage over the series' base.
    Base {
        /// The base layer.
        key: LayerKey,
        /// What it gives.
        tree: &'a Tree,
    },
    /// A later stage over the one before.
    Stage {
        /// The layers of that stage, without its state.
        layers: &'a [(Role, LayerKey)],
        /// What they give.
        tree: &'a Tree,
    },
}

/// One layer of a plan.
#[derive(Debug)]
pub struct Planned<'t> {
    /// What it is for.
    pub role: Role,
    /// Its key.
    pub key: LayerKey,
    /// What it holds; `None` for a layer taken over as it was recorded.
    pub content: Option<LayerContent<'t>>,
    /// Whether it is one of the stage before.
    pub is_inherited: bool,
}

/// Plans the layers that give `sides`, in the order of the image.
pub fn plan<'t>(sides: &'t Sides, below: &Below, policy: &Policy, limits: &Limits) -> Vec<Planned<'t>> {
    let mut layers: Vec<Planned<'t>> = Vec::new();
    match below {
        Below::Stage { layers: inherited, tree } if inherited.len() + 2 <= limits.most_layers => {
            layers.extend(inherited.iter().map(|(role, key)| known(*role, *key, true)));
            layers.extend(made(Role::Delta, diff::delta(tree, &sides.stable), policy));
        }
        Below::Base { key, tree } => {
            let update = diff::delta(tree, &sides.stable);
            if weigh(tree, &update, &sides.stable).is_worth_keeping(limits) {
                layers.push(known(Role::Base, *key, false));
                layers.extend(made(Role::Update, update, policy));
            } else {
                layers.extend(made(Role::Base, LayerContent::whole(&sides.stable), policy));
            }
        }
        Below::Nothing | Below::Stage { .. } => {
            layers.extend(made(Role::Base, LayerContent::whole(&sides.stable), policy));
        }
    }
    layers.extend(made(Role::State, LayerContent::above(&sides.stable, &sides.volatile), policy));
    layers
}

fn known<'t>(role: Role, key: LayerKey, is_inherited: bool) -> Planned<'t> {
    Planned { role, key, content: None, is_inherited }
}

fn made<'t>(role: Role, content: LayerContent<'t>, policy: &Policy) -> Option<Planned<'t>> {
    (!content.is_empty()).then(|| Planned {
        role,
        key: content.key(policy),
        content: Some(content),
        is_inherited: false,
    })
}

/// What decides whether a base is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of the update.
    pub update_bytes: u64,
    /// Bytes of files of the base in whose place there is none of their length now.
    pub dead_bytes: u64,
}

impl Weight {
    /// Tells whether an update is too large.
    pub fn is_large(&self, limits: &Limits) -> bool {
        u128::from(self.update_bytes) * 100 > u128::from(self.base_bytes) * u128::from(limits.update_percent)
    }

    /// Tells whether too much of the base is dead.
    pub fn is_dead(&self, limits: &Limits) -> bool {
        u128::from(self.dead_bytes) * 100 > u128::from(self.base_bytes) * u128::from(limits.dead_percent)
    }

    fn is_worth_keeping(&self, limits: &Limits) -> bool {
        !self.is_large(limits) && !self.is_dead(limits)
    }
}

/// Weighs an update that leads from `base` to `now`.
pub fn weigh(base: &Tree, update: &LayerContent, now: &Tree) -> Weight {
    Weight {
        base_bytes: base.content_bytes(),
        update_bytes: update.content_bytes(),
        dead_bytes: dead_bytes(base, now),
    }
}

/// Bytes of files of the base in whose place there is none of their length now. One that is only given another time, as a
/// rebuilt package has it, is in the update, whose limit is another; what it holds is alive. Contents are not compared: of a late file
/// nobody knows it yet, and a plan must not depend on that.
fn dead_bytes(base: &Tree, now: &Tree) -> u64 {
    let is_alive = |entry: &Entry| {
        let there = now.position(&entry.path).map(|at| &now.entries()[at].kind);
        matches!(there, Some(Kind::File { size_bytes, .. }) if *size_bytes == entry.size_bytes())
    };
    let files = || base.entries().iter().filter(|entry| entry.size_bytes() > 0);
    let alive: HashSet<Group> =
        files().filter(|entry| is_alive(entry)).filter_map(|entry| entry.group).collect();
    tree::content_bytes(files().filter(|entry| match entry.group {
        Some(group) => !alive.contains(&group),
        None => !is_alive(entry),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, linked};

    fn sides(stable: &[Entry], volatile: &[Entry]) -> Sides {
        let tree = |entries: &[Entry]| Tree::new([&[directory("")], entries].concat());
        Sides { stable: tree(stable), volatile: Tree::new(volatile.to_vec()), mounts: Vec::new() }
    }

    fn roles(plan: &[Planned]) -> Vec<(Role, bool)> {
        plan.iter().map(|layer| (layer.role, layer.content.is_some())).collect()
    }

    #[test]
    fn a_first_tree_is_base_and_state() {
        let sides = sides(&[file("a", 9)], &[file("log", 1)]);
        let plan = plan(&sides, &Below::Nothing, &Policy::plain(), &Limits::default());
        assert_eq!(roles(&plan), [(Role::Base, true), (Role::State, true)]);
    }

    #[test]
    fn a_tree_without_volatile_files_has_no_state() {
        let sides = sides(&[file("a", 9)], &[]);
        assert_eq!(
            roles(&plan(&sides, &Below::Nothing, &Policy::plain(), &Limits::default())),
            [(Role::Base, true)]
        );
    }

    #[test]
    fn the_same_tree_needs_no_update_and_a_changed_one_an_update() {
        let policy = Policy::plain();
        let old = sides(&[file("a", 90), file("b", 9)], &[]);
        let key = LayerContent::whole(&old.stable).key(&policy);
        let below = Below::Base { key, tree: &old.stable };
        assert_eq!(roles(&plan(&old, &below, &policy, &Limits::default())), [(Role::Base, false)]);
        let new = sides(&[file("a", 90), file("b", 8)], &[]);
        assert_eq!(
            roles(&plan(&new, &below, &policy, &Limits::default())),
            [(Role::Base, false), (Role::Update, true)]
        );
    }

    #[test]
    fn a_large_update_and_a_dead_base_are_made_anew() {
        let policy = Policy::plain();
        let old = sides(&[file("a", 90), file("b", 80)], &[]);
        let key = LayerContent::whole(&old.stable).key(&policy);
        let below = Below::Base { key, tree: &old.stable };
        for new in [sides(&[file("a", 91), file("b", 80)], &[]), sides(&[file("b", 80)], &[])] {
            assert_eq!(roles(&plan(&new, &below, &policy, &Limits::default())), [(Role::Base, true)]);
        }
    }

    #[test]
    fn a_file_with_another_time_is_no_dead_one_and_a_hardlinked_one_dies_with_its_last_name() {
        let old = sides(&[file("a", 90), linked("b", 1), linked("c", 1)], &[]).stable;
        let touched = Entry { mtime_s: file("a", 90).mtime_s + 1, ..file("a", 90) };
        let weigh = |now: &[Entry]| {
            let now = sides(now, &[]).stable;
            let weight = weigh(&old, &diff::delta(&old, &now), &now);
            (weight.update_bytes, weight.dead_bytes)
        };
        assert_eq!(weigh(&[touched, linked("b", 1), linked("c", 1)]), (90, 0));
        let one = Entry { group: None, ..linked("c", 1) };
        assert_eq!(weigh(&[file("a", 90), one]).1, 0);
        assert_eq!(weigh(&[file("a", 91)]), (91, 90 + linked("b", 1).size_bytes()));
    }

    #[test]
    fn the_delta_of_a_stage_does_not_depend_on_what_lies_below() {
        let policy = Policy::plain();
        let key = |byte| LayerKey([byte; 32]);
        let delta_over = |old: &[Entry], layers: &[(Role, LayerKey)]| {
            let (before, after) = (sides(old, &[]), sides(&[old, &[file("new", 3)]].concat(), &[]));
            let plan =
                plan(&after, &Below::Stage { layers, tree: &before.stable }, &policy, &Limits::default());
            assert_eq!(plan.len(), layers.len() + 1);
            plan[layers.len()].key
        };
        let first = delta_over(&[file("a", 1)], &[(Role::Base, key(1))]);
        let second = delta_over(&[file("a", 2)], &[(Role::Base, key(1)), (Role::Update, key(2))]);
        assert_eq!(first, second);
    }

    #[test]
    fn an_image_never_has_more_than_the_most_layers() {
        let policy = Policy::plain();
        let now = sides(&[file("a", 1)], &[file("s", 1)]);
        let layers: Vec<_> = (0..99).map(|n| (Role::Delta, LayerKey([n; 32]))).collect();
        let planned = plan(
            &now,
            &Below::Stage { layers: &layers, tree: &Tree::default() },
            &policy,
            &Limits::default(),
        );
        assert_eq!(roles(&planned), [(Role::Base, true), (Role::State, true)]);
    }
}
