//! Merges layers in one pass over their items, which come in path order.
//!
//! The cost grows with the items, and hardly with the layers. At each path the items come from the lowest layer to the
//! topmost; the last entry among these items stands, unless a higher layer hides a directory above the path.

use crate::model::tree::entry::Group;
use crate::model::tree::layer_item::{LayerItem, Piece};
use crate::model::tree::path::EntryPath;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::vec::IntoIter;

/// The entries that merged layers give.
pub(crate) struct Merged<E> {
    /// In path order.
    pub entries: Vec<E>,
    /// A number above those of all hardlink groups.
    pub groups: u32,
    /// The first whiteout without an entry below, of the lowest layer with such a whiteout.
    pub dangling: Option<EntryPath>,
}

/// Merges layers, the lowest first, over entries whose groups have numbers below `groups`.
pub(crate) fn merge<E: Piece, I: Iterator<Item = LayerItem<E>>>(
    below: Vec<E>,
    groups: u32,
    layers: impl IntoIterator<Item = I>,
) -> Merged<E> {
    let mut sources = Sources::new(below, layers);
    let mut merging = Merging {
        lowest: usize::from(!sources.has_below),
        there: None,
        covers: Vec::new(),
        path: None,
        numbers: HashMap::new(),
        groups,
        entries: Vec::with_capacity(sources.most_items),
        dangling: None,
    };
    while let Some(Head { item, layer }) = sources.next() {
        merging.add(item, layer);
    }
    merging.end_path();
    Merged {
        entries: merging.entries,
        groups: merging.groups,
        dangling: merging.dangling.map(|(_, path)| path),
    }
}

/// The next item of a layer. Layer 0 is the tree below.
struct Head<E> {
    item: LayerItem<E>,
    layer: usize,
}

impl<E: Piece> Ord for Head<E> {
    /// The greatest leaves a heap first: the first path, and for equal paths the lowest layer.
    fn cmp(&self, other: &Self) -> Ordering {
        self.item
            .path()
            .cmp(other.item.path())
            .then(self.layer.cmp(&other.layer))
            .reverse()
    }
}

impl<E: Piece> PartialOrd for Head<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E: Piece> PartialEq for Head<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E: Piece> Eq for Head<E> {}

/// The items of all layers, by path and then by layer.
struct Sources<E, I> {
    below: IntoIter<E>,
    has_below: bool,
    layers: Vec<I>,
    heads: BinaryHeap<Head<E>>,
    /// Items of the largest layer, as far as the layers tell.
    most_items: usize,
}

impl<E: Piece, I: Iterator<Item = LayerItem<E>>> Sources<E, I> {
    fn new(below: Vec<E>, layers: impl IntoIterator<Item = I>) -> Self {
        let layers: Vec<I> = layers.into_iter().collect();
        let hints = layers.iter().map(|layer| layer.size_hint().0);
        let mut sources = Self {
            most_items: hints.max().unwrap_or_default().max(below.len()),
            has_below: !below.is_empty(),
            below: below.into_iter(),
            heads: BinaryHeap::with_capacity(layers.len() + 1),
            layers,
        };
        for layer in 0..=sources.layers.len() {
            let item = sources.item_of(layer);
            sources.heads.extend(item.map(|item| Head { item, layer }));
        }
        sources
    }

    fn item_of(&mut self, layer: usize) -> Option<LayerItem<E>> {
        match layer.checked_sub(1) {
            None => self.below.next().map(LayerItem::Entry),
            Some(at) => self.layers[at].next(),
        }
    }

    /// Most items follow an item of the same layer, and stay at the top of the heap after two comparisons.
    fn next(&mut self) -> Option<Head<E>> {
        let layer = self.heads.peek()?.layer;
        let next = self.item_of(layer);
        let mut top = self.heads.peek_mut()?;
        Some(match next {
            Some(item) => std::mem::replace(&mut *top, Head { item, layer }),
            None => PeekMut::pop(top),
        })
    }
}

/// A path at which a layer hides the entries of lower layers beneath the path.
struct Cover {
    path: EntryPath,
    layer: usize,
}

/// A merge, at one path.
struct Merging<E> {
    /// The lowest layer hides nothing.
    lowest: usize,
    /// The entry of the layers so far at the path, and its layer.
    there: Option<(usize, E)>,
    /// The covers at directories above the path, the uppermost first, and at the path.
    covers: Vec<Cover>,
    path: Option<EntryPath>,
    /// Each layer has its own numbers of hardlink groups.
    numbers: HashMap<(usize, Group), Group>,
    groups: u32,
    entries: Vec<E>,
    dangling: Option<(usize, EntryPath)>,
}

impl<E: Piece> Merging<E> {
    /// Adds the next item, by path and then by layer.
    fn add(&mut self, item: LayerItem<E>, layer: usize) {
        if self.path.as_ref() != Some(item.path()) {
            self.end_path();
            self.begin_path(item.path().clone());
        }
        let hides = match item {
            LayerItem::Entry(piece) => {
                let is_directory = piece.entry().is_directory();
                let group = piece.group().map(|group| self.number(layer, group));
                self.there = Some((layer, piece.regrouped(group)));
                !is_directory
            }
            LayerItem::Whiteout(path) => {
                self.whiten(path, layer);
                true
            }
            LayerItem::Opaque(_) => true,
        };
        if hides && layer > self.lowest {
            let path = self.path.clone().unwrap_or_default();
            self.covers.push(Cover { path, layer });
        }
    }

    fn begin_path(&mut self, path: EntryPath) {
        while let Some(last) = self.covers.last()
            && !path.is_beneath(&last.path)
        {
            self.covers.pop();
        }
        self.path = Some(path);
    }

    /// Keeps the entry at the path, unless a directory above the path is hidden.
    fn end_path(&mut self) {
        let Some((layer, piece)) = self.there.take() else {
            return;
        };
        if !self.is_hidden(layer, usize::MAX) {
            self.entries.push(piece);
        }
    }

    fn whiten(&mut self, path: EntryPath, layer: usize) {
        let there = self.there.take();
        let was_there = there.is_some_and(|(other, _)| !self.is_hidden(other, layer));
        let is_lowest = self
            .dangling
            .as_ref()
            .is_none_or(|(other, _)| layer < *other);
        if !was_there && is_lowest {
            self.dangling = Some((layer, path));
        }
    }

    /// Tells whether a layer above `layer`, up to `last`, hides a directory above the path.
    fn is_hidden(&self, layer: usize, last: usize) -> bool {
        let is_above = |cover: &&Cover| Some(&cover.path) != self.path.as_ref();
        self.covers
            .iter()
            .take_while(is_above)
            .any(|cover| layer < cover.layer && cover.layer <= last)
    }

    fn number(&mut self, layer: usize, group: Group) -> Group {
        if layer == 0 {
            return group;
        }
        *self.numbers.entry((layer, group)).or_insert_with(|| {
            let number = Group(self.groups);
            self.groups += 1;
            number
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, path};
    use crate::model::tree::entry::Entry;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PATHS: [&str; 9] = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a.x", "f", "f/g", "h"];

    /// The items of a layer, in path order.
    fn any_layer() -> impl Strategy<Value = Vec<LayerItem>> {
        let kinds = proptest::collection::vec(0..8_u64, PATHS.len());
        kinds.prop_map(|kinds| {
            let mut items = Vec::new();
            for (at, kind) in PATHS.into_iter().zip(kinds) {
                match kind {
                    0 => items.push(LayerItem::Entry(directory(at))),
                    1 => items.push(LayerItem::Whiteout(path(at))),
                    2 => items.push(LayerItem::Opaque(path(at))),
                    3 => items.extend([
                        LayerItem::Whiteout(path(at)),
                        LayerItem::Entry(directory(at)),
                    ]),
                    4 => items.push(LayerItem::Entry(file(at, 1))),
                    5 => {
                        items.extend([LayerItem::Opaque(path(at)), LayerItem::Entry(directory(at))])
                    }
                    _ => {}
                }
            }
            items.sort_by(|a, b| a.path().cmp(b.path()));
            items
        })
    }

    /// Applies layers to a map, each by itself.
    fn applied(layers: &[Vec<LayerItem>]) -> (Vec<Entry>, Option<EntryPath>) {
        let mut map: BTreeMap<EntryPath, Entry> = BTreeMap::new();
        let mut dangling = None;
        for layer in layers {
            for item in layer {
                let at = item.path();
                let hides_itself = matches!(item, LayerItem::Whiteout(_));
                let hides = item.entry().is_none_or(|entry| !entry.is_directory());
                if hides_itself && !map.contains_key(at) {
                    dangling = dangling.or(Some(at.clone()));
                }
                map.retain(|other, _| {
                    !(hides && other.is_beneath(at) || hides_itself && other == at)
                });
            }
            let entries = layer.iter().filter_map(LayerItem::entry);
            map.extend(entries.map(|entry| (entry.path.clone(), entry.clone())));
        }
        (map.into_values().collect(), dangling)
    }

    fn iterators(layers: &[Vec<LayerItem>]) -> impl Iterator<Item = std::vec::IntoIter<LayerItem>> {
        layers.iter().cloned().map(Vec::into_iter)
    }

    proptest! {
        #[test]
        fn layers_are_merged_in_one_pass_as_one_after_the_other(
            layers in proptest::collection::vec(any_layer(), 0..9),
            first in 0..9_usize,
        ) {
            let (below, above) = layers.split_at(first.min(layers.len()));
            let (expected, dangling) = applied(&layers);
            let below = merge(Vec::new(), 0, iterators(below));
            let merged = merge(below.entries, below.groups, iterators(above));
            prop_assert_eq!(merged.entries, expected);
            prop_assert_eq!(below.dangling.or(merged.dangling), dangling);
        }
    }
}
