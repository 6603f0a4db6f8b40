//! Which layers give a tree: those that exist, and those to be written.
//!
//! Pure, from trees and known layers to a list. `[base] [update...] [delta] [update...] ... [state]`: the base is
//! the whole first stage as of the last rebase, a delta leads from one stage to the next, updates lead from either to
//! today's tree, the state holds the volatile files, last and whole. So a rebuild with the same packages writes nothing
//! but its state.
//!
//! What has changed becomes one more update, and takes in those below that are not half as large again, or small. So equal
//! changes day by day count like a binary number: few layers, and each of them is seldom written again.

pub mod deferrable;
pub mod difference;
pub mod layer;

use crate::model::digest::{ContentHash, LayerKey};
use crate::model::plan::difference::Scope;
use crate::model::plan::layer::{LayerContent, Outline, Role};
use crate::model::policy::Policy;
use crate::model::policy::normalise::Sides;
use crate::model::tree::entry::{Content, Entry, Group, Kind};
use crate::model::tree::overlay::{Borrowed, Laid, Overlay, Piece};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{self, Tree};
use std::collections::HashSet;

/// No image has more layers than this; some engines refuse one of more than 127.
pub const MOST_LAYERS: usize = 100;

/// What an entry or a whiteout counts in bytes beside its content, where layers are compared.
const MEMBER_BYTES: u64 = 1024;

/// An update of less is rather written again than kept below another.
const SMALL_BYTES: u64 = 1 << 20;

/// When a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// When its updates have more than this share of it, in percent of bytes of content.
    pub update_percent: u64,
    /// When more than this share of it is no longer used, likewise.
    pub dead_percent: u64,
    /// When an image would have more layers; at most [`MOST_LAYERS`].
    pub most_layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            update_percent: 30,
            dead_percent: 25,
            most_layers: MOST_LAYERS,
        }
    }
}

/// What a stage is planned over. Empty where nothing can be reused.
#[derive(Debug, Default)]
pub struct Below {
    /// The layers of the stage before, without its state, the lowest first; none for a first stage.
    pub inherited: Vec<Known>,
    /// What the stage had when it was recorded last, over these or others: a base or a delta, and the updates of it.
    pub own: Vec<Known>,
    /// Where some paths are left out of all layers: how many bytes of the own base or delta are dead there.
    pub dead_elsewhere_bytes: u64,
}

/// A layer that exists.
#[derive(Debug)]
pub struct Known {
    /// What it is for.
    pub role: Role,
    /// Its key.
    pub key: LayerKey,
    /// Length of its files in bytes, a hardlinked inode once.
    pub content_bytes: u64,
    /// What it holds, in path order.
    pub items: Vec<Laid>,
}

impl Known {
    /// Returns the entry that it has at `path`.
    pub fn at(&self, path: &EntryPath) -> Option<&Entry> {
        self.items[self.position(path)?].entry()
    }

    /// Tells whether it has an entry or a whiteout at `path`.
    pub fn has(&self, path: &EntryPath) -> bool {
        self.position(path).is_some()
    }

    fn position(&self, path: &EntryPath) -> Option<usize> {
        self.items
            .binary_search_by(|item| item.path().cmp(path))
            .ok()
    }

    /// Returns the entries that it has, in path order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(Laid::entry)
    }

    /// Tells whether `update` is so much smaller that it is better laid over this update than put in its place.
    fn carries<C>(&self, update: &LayerContent<C>) -> bool {
        let own = self.content_bytes + MEMBER_BYTES * self.items.len() as u64;
        let members = update.entries_len() + update.whiteouts_len();
        own >= SMALL_BYTES
            && 2 * own >= 3 * (update.content_bytes() + MEMBER_BYTES * members as u64)
    }
}

impl Below {
    /// Returns all of its layers.
    pub fn layers(&self) -> impl Iterator<Item = &Known> {
        self.inherited.iter().chain(&self.own)
    }

    /// Takes layers with all of their paths.
    pub fn new(inherited: Vec<Known>, own: Vec<Known>) -> Self {
        Self {
            inherited,
            own,
            dead_elsewhere_bytes: 0,
        }
    }

    fn ground(&self) -> Overlay<Borrowed<'_>> {
        let mut ground = Overlay::new();
        for layer in &self.inherited {
            lay(layer, &mut ground);
        }
        ground
    }

    /// Lays all of its layers over one another.
    pub fn overlay(&self) -> Overlay {
        let mut overlay = Overlay::new();
        self.layers()
            .for_each(|layer| overlay.lay(layer.items.iter().cloned()));
        overlay
    }

    /// Notes that some paths are left out of it, where `dead_bytes` of the own base or delta are dead in all. `tree` is what
    /// its layers give at the others. Tells whether that can be.
    pub fn leave_out(&mut self, dead_bytes: u64, tree: &Tree) -> bool {
        let Some(whole) = self.own.first() else {
            return true;
        };
        let elsewhere =
            dead_bytes.checked_sub(self.dead_bytes(whole, self.ground().entries(), tree));
        self.dead_elsewhere_bytes = elsewhere.unwrap_or_default();
        elsewhere.is_some()
    }

    /// Bytes of the own base or delta that are dead in `now`.
    fn dead_bytes<C>(&self, whole: &Known, ground: &[Borrowed], now: &Tree<C>) -> u64 {
        self.dead_elsewhere_bytes + dead_bytes(whole.entries(), ground, now)
    }
}

/// Returns a whiteout of what is not there.
fn lay<'a>(layer: &'a Known, overlay: &mut Overlay<Borrowed<'a>>) -> Option<EntryPath> {
    overlay.lay_telling(layer.items.iter().map(Laid::borrowed))
}

/// Which layers give a tree, found once and for all: contents that are not known yet make no difference to it.
#[derive(Debug)]
pub struct Plan {
    /// Layers of the stage before, lowest first.
    inherited: Vec<(Role, LayerKey)>,
    /// Layers that the stage had.
    own: Vec<(Role, LayerKey)>,
    /// The one that comes on top of them.
    made: (Role, Outline),
    /// Bytes of the stage's base or delta that are dead.
    dead_bytes: u64,
}

/// One layer of a plan.
#[derive(Debug)]
pub struct Planned<'t, C = ContentHash> {
    /// What it is for.
    pub role: Role,
    /// Where it comes from.
    pub layer: PlannedLayer<'t, C>,
    /// Whether it is one of the stage before.
    pub is_inherited: bool,
}

/// Where a layer of a plan comes from.
#[derive(Debug)]
pub enum PlannedLayer<'t, C = ContentHash> {
    /// It is taken over as it was recorded.
    Known(LayerKey),
    /// It holds this. It may be known all the same.
    Made(LayerContent<'t, C>),
}

impl Planned<'_> {
    /// Returns the layer's key.
    pub fn key(&self, policy: &Policy) -> LayerKey {
        match &self.layer {
            PlannedLayer::Known(key) => *key,
            PlannedLayer::Made(content) => content.key(policy),
        }
    }
}

impl<'t, C> Planned<'t, C> {
    /// Returns what it holds; `None` for one that is taken over.
    pub fn content(&self) -> Option<&LayerContent<'t, C>> {
        match &self.layer {
            PlannedLayer::Known(_) => None,
            PlannedLayer::Made(content) => Some(content),
        }
    }
}

/// The answer to a plan of changed paths alone where a base or a delta is to be written anew, for which all paths count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsWhole;

impl Plan {
    /// Finds the layers that give `now`, the stable side of a tree. Under [`Scope::Changed`], `now` may lack paths outside the
    /// scope, except the directories above those in it, and `below` lacks all of them; the plan is the one that all paths
    /// would give.
    ///
    /// Fails with [`NeedsWhole`] if a base or a delta is to be written that takes paths outside the scope.
    pub fn new<C: Content>(
        now: &Tree<C>,
        below: &Below,
        scope: Scope,
        limits: &Limits,
    ) -> Result<Self, NeedsWhole> {
        let nothing = Below::default();
        let below = if has_room(below, limits) {
            below
        } else {
            &nothing
        };
        if let Some(plan) = Self::upon_own(now, below, scope, limits) {
            return Ok(plan);
        }
        // The first delta of a stage takes changed paths alone.
        let takes_all = below.inherited.is_empty() || !below.own.is_empty();
        match scope {
            Scope::Changed(_) if takes_all => Err(NeedsWhole),
            _ => Ok(Self::anew(now, below, scope)),
        }
    }

    fn upon_own<C: Content>(
        now: &Tree<C>,
        below: &Below,
        scope: Scope,
        limits: &Limits,
    ) -> Option<Self> {
        let Upon::Own {
            kept,
            update,
            weight,
        } = build_upon(below, now, scope, limits)
        else {
            return None;
        };
        let (inherited, own) = (names(&below.inherited), names(&below.own[..kept]));
        Some(Self {
            inherited,
            own,
            made: (Role::Update, update),
            dead_bytes: weight.dead_bytes,
        })
    }

    fn anew<C: Content>(now: &Tree<C>, below: &Below, scope: Scope) -> Self {
        let (inherited, own) = (names(&below.inherited), Vec::new());
        if inherited.is_empty() {
            return Self {
                inherited,
                own,
                made: (Role::Base, Outline::whole()),
                dead_bytes: 0,
            };
        }
        let ground = below.ground();
        let outline = difference::outline(ground.entries(), now, scope);
        let entries = outline.of(now);
        // Of a hardlink group, which comes whole, some names may lie below as they are.
        let dead_bytes = dead_bytes(entries.entries(), ground.entries(), now);
        Self {
            inherited,
            own,
            made: (Role::Delta, outline),
            dead_bytes,
        }
    }

    /// Returns how many bytes of the stage's base or delta are dead.
    pub fn dead_bytes(&self) -> u64 {
        self.dead_bytes
    }

    /// Returns the layers, in the order of the image. `sides` are those that the plan was made for, whatever is known of
    /// contents by now.
    pub fn layers<'t, C>(&self, sides: &'t Sides<C>) -> Vec<Planned<'t, C>> {
        let inherited = self.inherited.iter().map(|layer| (layer, true));
        let known = inherited.chain(self.own.iter().map(|layer| (layer, false)));
        let known = known.map(|((role, key), is_inherited)| Planned {
            role: *role,
            layer: PlannedLayer::Known(*key),
            is_inherited,
        });
        let mut layers: Vec<Planned<'t, C>> = known.collect();
        let (role, outline) = &self.made;
        let state = LayerContent::above(&sides.stable, &sides.volatile);
        let made = [(*role, outline.of(&sides.stable)), (Role::State, state)].into_iter();
        layers.extend(
            made.filter(|(_, content)| !content.is_empty())
                .map(|(role, content)| Planned {
                    role,
                    layer: PlannedLayer::Made(content),
                    is_inherited: false,
                }),
        );
        layers
    }
}

fn has_room(below: &Below, limits: &Limits) -> bool {
    below.inherited.len() + 2 <= limits.most_layers
}

fn names(layers: &[Known]) -> Vec<(Role, LayerKey)> {
    layers.iter().map(|layer| (layer.role, layer.key)).collect()
}

/// What becomes of the layers that a stage had.
#[derive(Debug)]
pub enum Upon {
    /// It had none.
    Nothing,
    /// The first `kept` of them stay.
    Own {
        /// How many.
        kept: usize,
        /// What comes on top of them; empty where nothing has changed.
        update: Outline,
        /// What they weigh with it.
        weight: Weight,
    },
    /// None stays.
    Anew(Unfit),
}

/// Why a base or delta is made anew.
#[derive(Debug)]
pub enum Unfit {
    /// It would weigh this with its updates: one, unless too much of it is dead whatever they are.
    Weight(Weight),
    /// It takes away what is no longer below it.
    Whiteout(EntryPath),
}

/// Decides which of its own layers a stage keeps.
pub fn build_upon<C: Content>(below: &Below, now: &Tree<C>, scope: Scope, limits: &Limits) -> Upon {
    let Some(whole) = below.own.first() else {
        return Upon::Nothing;
    };
    let ground = below.ground();
    let mut weight = Weight {
        base_bytes: whole.content_bytes,
        update_bytes: 0,
        dead_bytes: below.dead_bytes(whole, ground.entries(), now),
    };
    let mut kept = below.own.len();
    loop {
        let mut overlay = ground.clone();
        let mut laid = below.own[..kept].iter().enumerate();
        // Engines need not take a whiteout of nothing.
        if let Some((at, path)) = laid.find_map(|(at, layer)| Some((at, lay(layer, &mut overlay)?)))
        {
            if at == 0 {
                return Upon::Anew(Unfit::Whiteout(path));
            }
            kept = at;
            continue;
        }
        let outline = difference::outline(overlay.entries(), now, scope);
        let update = outline.of(now);
        let kept_bytes: u64 = below.own[1..kept]
            .iter()
            .map(|layer| layer.content_bytes)
            .sum();
        weight.update_bytes = kept_bytes + update.content_bytes();
        // With the update and the state.
        let layers = below.inherited.len() + kept + usize::from(!update.is_empty()) + 1;
        let is_on_top = kept == 1 || update.is_empty() || below.own[kept - 1].carries(&update);
        if layers <= limits.most_layers && weight.is_worth_keeping(limits) && is_on_top {
            return Upon::Own {
                kept,
                update: outline,
                weight,
            };
        }
        if kept == 1 || weight.is_dead(limits) {
            return Upon::Anew(Unfit::Weight(weight));
        }
        kept -= 1;
    }
}

/// What decides whether a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of the base or delta.
    pub base_bytes: u64,
    /// Bytes of the updates of it.
    pub update_bytes: u64,
    /// Bytes of its files in whose place there is none of their length now, or the same without it.
    pub dead_bytes: u64,
}

impl Weight {
    /// Tells whether the updates are too large.
    pub fn is_large(&self, limits: &Limits) -> bool {
        u128::from(self.update_bytes) * 100
            > u128::from(self.base_bytes) * u128::from(limits.update_percent)
    }

    /// Tells whether too much of the base or delta is dead.
    pub fn is_dead(&self, limits: &Limits) -> bool {
        u128::from(self.dead_bytes) * 100
            > u128::from(self.base_bytes) * u128::from(limits.dead_percent)
    }

    /// What has no content is made anew at no cost.
    fn is_worth_keeping(&self, limits: &Limits) -> bool {
        self.base_bytes > 0 && !self.is_large(limits) && !self.is_dead(limits)
    }
}

/// Weighs the layers of its own that a stage has against the tree that all of its layers give.
pub fn weigh(below: &Below, now: &Tree) -> Option<Weight> {
    let (whole, updates) = below.own.split_first()?;
    Some(Weight {
        base_bytes: whole.content_bytes,
        update_bytes: updates.iter().map(|layer| layer.content_bytes).sum(),
        dead_bytes: below.dead_bytes(whole, below.ground().entries(), now),
    })
}

/// Bytes of files of a base or delta in whose place there is none of their length now, or that lie below as well. One that is only
/// given another time, as a rebuilt package has it, is in the update, whose limit is another; what it holds is alive. Contents are not
/// compared with those of now: of a late file nobody knows it yet, and a plan must not depend on that.
fn dead_bytes<'a, C: Content + 'a, D>(
    whole: impl Iterator<Item = &'a Entry<C>>,
    ground: &[Borrowed],
    now: &Tree<D>,
) -> u64 {
    let (mut below, mut above) = (ground, now.entries());
    let mut files = Vec::new();
    for entry in whole {
        if entry.size_bytes() > 0 {
            let there = seek(&mut above, &entry.path, |there| &there.path).map(|there| &there.kind);
            let has_length = matches!(there, Some(Kind::File { size_bytes, .. }) if *size_bytes == entry.size_bytes());
            let lies_below = seek(&mut below, &entry.path, |below| &below.entry().path)
                .is_some_and(|below| entry.same_but_group(below.entry()));
            files.push((entry, has_length && !lies_below));
        }
    }
    let alive: HashSet<Group> = files
        .iter()
        .filter(|(_, is_alive)| *is_alive)
        .filter_map(|(entry, _)| entry.group)
        .collect();
    let is_dead = |(entry, is_alive): &&(&Entry<C>, bool)| match entry.group {
        Some(group) => !alive.contains(&group),
        None => !is_alive,
    };
    tree::content_bytes(files.iter().filter(is_dead).map(|(entry, _)| *entry))
}

/// Goes on to `path`, and returns the entry there. Paths are asked for in order.
fn seek<'a, T>(
    rest: &mut &'a [T],
    path: &EntryPath,
    path_of: impl Fn(&T) -> &EntryPath,
) -> Option<&'a T> {
    let before = rest.iter().take_while(|one| path_of(one) < path).count();
    *rest = &rest[before..];
    rest.first().filter(|one| path_of(one) == path)
}

#[cfg(test)]
mod tests;
