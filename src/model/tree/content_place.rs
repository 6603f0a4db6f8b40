//! Finds the layer that gives a path its content, and the name of the content in the layer.
//!
//! Pure. A layer has the content of an inode once: a native layer under the first of the inode's names in the layer, a foreign
//! layer under any name. A layer above may hide that name.

use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// The place of an entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentPlace {
    /// The place of the layer, counted from the lowest.
    pub layer: usize,
    /// The first name of the inode in the layer.
    pub name: EntryPath,
    /// The hardlink group in the layer.
    pub group: Option<Group>,
}

impl ContentPlace {
    /// Returns the place of an entry's content in the entry's layer, whose groups have these first names.
    fn of(given: &Entry, layer: usize, firsts: &HashMap<Group, &EntryPath>) -> Self {
        let first = given.group.and_then(|group| firsts.get(&group).copied());
        Self {
            layer,
            name: first.unwrap_or(&given.path).clone(),
            group: given.group,
        }
    }
}

/// Returns the place of each entry of `tree` that `is_wanted` with the place of the content, in order. `tree` is the result of
/// `layers`, the lowest first, and the items of each layer are in path order.
pub(crate) fn content_places(
    tree: &Tree,
    layers: &[Vec<LayerItem>],
    is_wanted: impl Fn(usize, &Entry) -> bool,
) -> Vec<(usize, ContentPlace)> {
    let firsts: Vec<HashMap<Group, &EntryPath>> =
        layers.iter().map(|layer| first_names(layer)).collect();
    let mut rests: Vec<&[LayerItem]> = layers.iter().map(Vec::as_slice).collect();
    let mut found = Vec::new();
    for (place, entry) in tree.entries().iter().enumerate() {
        let mut topmost = None;
        for (layer, rest) in rests.iter_mut().enumerate() {
            if let Some(given) = seek(rest, &entry.path) {
                topmost = Some((layer, given));
            }
        }
        if let Some((layer, given)) = topmost
            && is_wanted(place, entry)
        {
            found.push((place, ContentPlace::of(given, layer, &firsts[layer])));
        }
    }
    found
}

/// Goes on to `path` in the rest of a layer, and returns the entry there. Paths are asked for in order.
fn seek<'i>(rest: &mut &'i [LayerItem], path: &EntryPath) -> Option<&'i Entry> {
    let before = rest.iter().take_while(|item| item.path() < path).count();
    *rest = &rest[before..];
    // A whiteout of the path may stand before the entry.
    rest.iter()
        .take_while(|item| item.path() == path)
        .filter_map(LayerItem::entry)
        .last()
}

fn first_names(layer: &[LayerItem]) -> HashMap<Group, &EntryPath> {
    let mut firsts = HashMap::new();
    for item in layer {
        if let LayerItem::Entry(Entry {
            path,
            group: Some(group),
            ..
        }) = item
        {
            firsts.entry(*group).or_insert(path);
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, linked, path};
    use crate::model::tree::overlay::Overlay;

    fn shown(layers: &[Vec<LayerItem>]) -> Vec<String> {
        let mut overlay = Overlay::new();
        layers
            .iter()
            .for_each(|layer| overlay.apply(layer.iter().cloned()));
        let tree = overlay.into_tree();
        let found = content_places(&tree, layers, |_, entry| !entry.is_directory());
        let show = |(at, place): &(usize, ContentPlace)| {
            format!(
                "{} of {} in {}",
                tree.entries()[*at].path,
                place.name,
                place.layer
            )
        };
        found.iter().map(show).collect()
    }

    fn entries(all: &[Entry]) -> Vec<LayerItem> {
        all.iter().cloned().map(LayerItem::Entry).collect()
    }

    #[test]
    fn the_topmost_layer_that_has_a_path_gives_it() {
        let base = entries(&[directory("d"), file("d/a", 1), file("d/b", 1), file("x", 1)]);
        let upper = vec![
            LayerItem::Entry(directory("d")),
            LayerItem::Entry(file("d/b", 2)),
            LayerItem::Whiteout(path("x")),
        ];
        assert_eq!(
            shown(&[base, upper]),
            ["/d/a of /d/a in 0", "/d/b of /d/b in 1"]
        );
    }

    #[test]
    fn what_was_deleted_and_put_back_is_of_the_layer_that_did_so() {
        let base = entries(&[file("x", 1)]);
        let gone = vec![LayerItem::Whiteout(path("x"))];
        let back = vec![
            LayerItem::Whiteout(path("x")),
            LayerItem::Entry(file("x", 1)),
        ];
        assert_eq!(shown(&[base.clone(), gone]), [""; 0]);
        assert_eq!(shown(&[base, back]), ["/x of /x in 1"]);
    }

    #[test]
    fn a_link_has_its_content_under_the_first_name_of_its_layer_even_where_that_is_hidden() {
        let base = entries(&[linked("a", 0), linked("b", 0), linked("c", 0)]);
        let upper = entries(&[file("a", 9)]);
        assert_eq!(
            shown(&[base, upper]),
            ["/a of /a in 1", "/b of /a in 0", "/c of /a in 0"]
        );
    }
}
