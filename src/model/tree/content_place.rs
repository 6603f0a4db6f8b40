//! Which layer gives a path its content, and under which name.
//!
//! Pure. A layer has the content of an inode once: one of ours under the first of the inode's names in it, one of others under
//! any. That name may be one that a layer above hides.

use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// Where the content of an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPlace {
    /// The place of the layer, counted from the lowest.
    pub layer: usize,
    /// The first of the names that the inode has there.
    pub name: EntryPath,
    /// The group that these names are.
    pub group: Option<Group>,
}

/// Returns where the content is of each entry of `tree` that `is_wanted`, by its place, in the order of places. `tree` is what
/// `layers` give, of which each is in path order, the lowest first.
pub(crate) fn content_places(
    tree: &Tree,
    layers: &[Vec<LayerItem>],
    is_wanted: impl Fn(usize, &Entry) -> bool,
) -> Vec<(usize, ContentPlace)> {
    let firsts: Vec<HashMap<Group, &EntryPath>> =
        layers.iter().map(|layer| first_names(layer)).collect();
    let mut at: Vec<usize> = vec![0; layers.len()];
    let mut found = Vec::new();
    for (place, entry) in tree.entries().iter().enumerate() {
        let mut topmost = None;
        for (layer, items) in layers.iter().enumerate() {
            let at = &mut at[layer];
            while items.get(*at).is_some_and(|item| item.path() < &entry.path) {
                *at += 1;
            }
            // A whiteout of the path may stand before its entry.
            let here = items[*at..]
                .iter()
                .take_while(|item| item.path() == &entry.path);
            let given = here.filter_map(|item| match item {
                LayerItem::Entry(given) => Some(given),
                _ => None,
            });
            topmost = given.last().map(|given| (layer, given)).or(topmost);
        }
        if let Some((layer, given)) = topmost.filter(|_| is_wanted(place, entry)) {
            let first = given
                .group
                .and_then(|group| firsts[layer].get(&group).copied());
            let name = first.unwrap_or(&given.path).clone();
            found.push((
                place,
                ContentPlace {
                    layer,
                    name,
                    group: given.group,
                },
            ));
        }
    }
    found
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
