//! The part of a tree that no package layer gives, and the remainder's layers as far as no package layer hides them. Pure.

use crate::model::plan::prior_layers::{PriorLayer, PriorLayers};
use crate::model::tree::entry::{Content, Entry, Group};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::model::tree::{Tree, content_bytes};
use std::collections::HashSet;

/// For each place of a tree, how many layers of the remainder lie below the highest package layer that has the path; 0 where
/// none has.
///
/// A package layer lies over at least one layer of the remainder, or all of them: the highest number stands for all.
pub(super) type Heights = Vec<usize>;

/// The height of a package layer that lies over all layers of the remainder.
pub(super) const TOP: usize = usize::MAX;

/// The remainder of a tree.
#[derive(Debug)]
pub(super) struct Remainder<C> {
    /// The entries that no package layer gives, or that a layer of the remainder above the package layer would hide.
    pub tree: Tree<C>,
    /// The place in the whole tree of each of these entries.
    pub places: Vec<u32>,
}

impl<C: Content> Remainder<C> {
    /// Takes the entries of `tree` without height, what the layers of the remainder touch above a package layer, and the
    /// directories above them.
    pub(super) fn of(tree: &Tree<C>, heights: &Heights, prior: &PriorLayers) -> Self {
        let mut taken: Vec<bool> = heights.iter().map(|height| *height == 0).collect();
        for (at, layer) in prior.layers().enumerate() {
            for item in &layer.items {
                take_touched(tree, heights, (at, item), &mut taken);
            }
        }
        take_whole_groups(tree, &mut taken);
        take_directories_above(tree, &mut taken);
        let places: Vec<u32> = (0..taken.len() as u32)
            .filter(|at| taken[*at as usize])
            .collect();
        let entries = places.iter().map(|at| tree.entries()[*at as usize].clone());
        Self {
            tree: Tree::new(entries.collect()),
            places,
        }
    }
}

/// Returns the places of paths that a layer of the remainder has as something else: as a directory, or in the place of one. A
/// package layer with such a path between two layers of the remainder would take away what a whiteout above it names.
pub(super) fn clashes<C>(tree: &Tree<C>, prior: &PriorLayers) -> HashSet<usize> {
    let entries = prior.layers().flat_map(PriorLayer::entries);
    let clashing = entries.filter_map(|entry| {
        let place = tree.position(&entry.path)?;
        let is_clash = tree.entries()[place].is_directory() != entry.is_directory();
        is_clash.then_some(place)
    });
    clashing.collect()
}

/// Takes what an item of the layer at this height would hide from a package layer below, and directories that layers of the
/// remainder have.
fn take_touched<C>(
    tree: &Tree<C>,
    heights: &Heights,
    (at, item): (usize, &LayerItem),
    taken: &mut [bool],
) {
    let path = item.path();
    let is_directory = item.entry().is_some_and(Entry::is_directory);
    let from = tree.entries().partition_point(|entry| entry.path < *path);
    let Some(entry) = tree.entries().get(from) else {
        return;
    };
    if entry.path == *path {
        // A directory that becomes a file, or the other way round, would need a whiteout, which would hide what a package has.
        let is_other_kind = item.entry().is_some() && is_directory != entry.is_directory();
        let is_hidden = is_below(heights[from], at);
        taken[from] |= is_other_kind || is_hidden || is_directory;
    }
    if is_directory {
        return;
    }
    let beneath = tree.entries()[from..].iter().enumerate();
    let beneath = beneath.skip_while(|(_, entry)| entry.path == *path);
    for (offset, _) in beneath.take_while(|(_, entry)| entry.path.is_beneath(path)) {
        taken[from + offset] |= is_below(heights[from + offset], at);
    }
}

/// Tells whether a package layer of this height lies below the remainder's layer at place `at`.
fn is_below(height: usize, at: usize) -> bool {
    height != 0 && height <= at
}

/// A hardlink group comes whole.
fn take_whole_groups<C>(tree: &Tree<C>, taken: &mut [bool]) {
    let grouped = tree.entries().iter().zip(taken.iter());
    let groups: HashSet<Group> = grouped
        .filter(|(_, is_taken)| **is_taken)
        .filter_map(|(entry, _)| entry.group)
        .collect();
    for (entry, is_taken) in tree.entries().iter().zip(taken) {
        *is_taken |= entry.group.is_some_and(|group| groups.contains(&group));
    }
}

fn take_directories_above<C>(tree: &Tree<C>, taken: &mut [bool]) {
    // From the last path on, every directory comes after all that is beneath.
    let mut wanted: HashSet<EntryPath> = HashSet::new();
    for (at, entry) in tree.entries().iter().enumerate().rev() {
        taken[at] |= wanted.remove(&entry.path);
        if taken[at]
            && let Some(parent) = entry.path.parent()
        {
            wanted.insert(parent);
        }
    }
}

/// Returns the layers of the remainder without the items that a package layer above overrides: those are neither there nor
/// gone. Bytes of a base or delta that are overridden count as dead. `None` where all items are visible.
pub(super) fn visible<C>(
    prior: &PriorLayers,
    tree: &Tree<C>,
    heights: &Heights,
) -> Option<PriorLayers> {
    // A whiteout counts, so whatever it takes away is there for it.
    let items = prior.layers().flat_map(|layer| &layer.items);
    let gone = items.filter(|item| item.entry().is_none());
    let gone: HashSet<&EntryPath> = gone.map(LayerItem::path).collect();
    let is_overridden = |at: usize, item: &LayerItem| {
        let file = item.entry().filter(|entry| !entry.is_directory());
        let place = file.and_then(|file| tree.position(&file.path));
        // An entry in the place of a directory may hide more than its path.
        place.is_some_and(|place| heights[place] > at && !tree.entries()[place].is_directory())
            && !gone.contains(item.path())
    };
    let has_overridden = |(at, layer): (usize, &PriorLayer)| {
        let mut items = layer.items.iter();
        items.any(|item| is_overridden(at, item))
    };
    if !prior.layers().enumerate().any(has_overridden) {
        return None;
    }
    let mut all = Vec::new();
    let mut overridden_bytes = 0;
    for (at, layer) in prior.layers().enumerate() {
        let mut items = Vec::with_capacity(layer.items.len());
        let mut gone = Vec::new();
        for item in &layer.items {
            if is_overridden(at, item) {
                gone.extend(item.entry());
            } else {
                items.push(item.clone());
            }
        }
        if at == prior.inherited.len() {
            overridden_bytes = content_bytes(gone);
        }
        all.push(PriorLayer {
            items,
            label: layer.label.clone(),
            ..*layer
        });
    }
    let own = all.split_off(prior.inherited.len());
    Some(PriorLayers {
        inherited: all,
        own,
        absence: prior.absence,
        dead_elsewhere_bytes: prior.dead_elsewhere_bytes + overridden_bytes,
        ..PriorLayers::default()
    })
}
