//! Layers laid over one another: the one law of the design, as a function.
//!
//! Pure, and linear in the items of all layers that are laid at once. A snapshot is not recorded as a tree of its own:
//! its tree is what its layers give here, just as any OCI implementation would unpack them.

pub(crate) use crate::model::tree::layer_item::Borrowed;
pub use crate::model::tree::layer_item::{LayerItem, Piece};

use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::merge::{Merged, merge};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// The entries that the layers so far give.
#[derive(Clone, Debug)]
pub struct Overlay<E = Entry> {
    entries: Vec<E>,
    groups: u32,
}

impl<E> Default for Overlay<E> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            groups: 0,
        }
    }
}

impl<E: Piece> Overlay<E> {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns what the layers so far give, in path order.
    pub fn entries(&self) -> &[E] {
        &self.entries
    }

    /// Returns what the layers so far have at `path`.
    pub fn at(&self, path: &EntryPath) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|piece| piece.entry().path.cmp(path));
        at.ok().map(|at| self.entries[at].entry())
    }

    /// Returns about how many bytes of memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|piece| piece.entry().memory_bytes())
            .sum()
    }

    /// Lays a layer over what is there. `items` come in path order, an entry after the whiteout of its path.
    pub fn apply(&mut self, items: impl Iterator<Item = LayerItem<E>>) {
        self.apply_telling(items);
    }

    /// Likewise, and returns the first whiteout of what was not there.
    pub(crate) fn apply_telling(
        &mut self,
        items: impl Iterator<Item = LayerItem<E>>,
    ) -> Option<EntryPath> {
        self.apply_all([items])
    }

    /// Lays layers over what is there, the lowest first, in one pass. Returns the first whiteout of what was not there, of the
    /// lowest layer with such a whiteout.
    pub(crate) fn apply_all<I: Iterator<Item = LayerItem<E>>>(
        &mut self,
        layers: impl IntoIterator<Item = I>,
    ) -> Option<EntryPath> {
        let mut layers = layers.into_iter().peekable();
        layers.peek()?;
        let below = std::mem::take(&mut self.entries);
        let Merged {
            entries,
            groups,
            dangling,
        } = merge(below, self.groups, layers);
        (self.entries, self.groups) = (entries, groups);
        dangling
    }
}

impl Overlay {
    /// Tells whether there is a hardlink group of which there is one name alone.
    pub(crate) fn has_lone_links(&self) -> bool {
        let mut names: HashMap<Group, usize> = HashMap::new();
        self.entries
            .iter()
            .filter_map(|entry| entry.group)
            .for_each(|group| *names.entry(group).or_default() += 1);
        names.values().any(|count| *count == 1)
    }

    /// Returns the tree that the layers give.
    pub fn into_tree(self) -> Tree {
        Tree::new(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::layer::Outline;
    use crate::model::testing::{directory, file, linked, path};

    fn laid(layers: &[(&[Entry], &[&str])]) -> Vec<String> {
        let mut overlay = Overlay::new();
        for (entries, whiteouts) in layers {
            let tree = Tree::new(entries.to_vec());
            let whiteouts = whiteouts.iter().map(|at| path(at)).collect();
            let all = vec![true; tree.entries().len()];
            overlay.apply(
                Outline::closed(&tree, all, whiteouts)
                    .of(&tree)
                    .items()
                    .map(LayerItem::from),
            );
        }
        let shown = |e: &Entry| {
            format!(
                "{}{}",
                e.path,
                e.group.map_or(String::new(), |g| format!(" #{}", g.0))
            )
        };
        overlay.into_tree().entries().iter().map(shown).collect()
    }

    #[test]
    fn a_whiteout_hides_all_that_is_beneath_it() {
        let base = [
            directory("d"),
            directory("d/e"),
            file("d/e/f", 1),
            file("d/g", 1),
        ];
        assert_eq!(
            laid(&[(&base, &[]), (&[directory("d")], &["d/e"])]),
            ["/d", "/d/g"]
        );
    }

    #[test]
    fn an_opaque_directory_hides_what_was_in_it_and_stays() {
        let base = [
            directory("d"),
            directory("d/e"),
            file("d/e/f", 1),
            file("d/g", 1),
            file("x", 1),
        ];
        let laid = |upper: Vec<LayerItem>| {
            let mut overlay = Overlay::new();
            overlay.apply(base.iter().cloned().map(LayerItem::Entry));
            overlay.apply(upper.into_iter());
            let tree = overlay.into_tree();
            tree.entries()
                .iter()
                .map(|e| format!("{} {:o}", e.path, e.mode))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            laid(vec![LayerItem::Opaque(path("d"))]),
            ["/d 755", "/x 644"]
        );
        let other = Entry {
            mode: 0o700,
            ..directory("d")
        };
        let upper = vec![
            LayerItem::Opaque(path("d")),
            LayerItem::Entry(other),
            LayerItem::Entry(file("d/g", 2)),
        ];
        assert_eq!(laid(upper), ["/d 700", "/d/g 644", "/x 644"]);
        let new = vec![
            LayerItem::Whiteout(path("d")),
            LayerItem::Entry(directory("d")),
            LayerItem::Entry(file("d/a", 1)),
        ];
        assert_eq!(laid(new), ["/d 755", "/d/a 644", "/x 644"]);
        let new = vec![
            LayerItem::Whiteout(path("d")),
            LayerItem::Entry(directory("d")),
        ];
        assert_eq!(laid(new), ["/d 755", "/x 644"]);
    }

    #[test]
    fn a_file_hides_the_directory_that_was_there() {
        let base = [directory("d"), file("d/e", 1), file("d.x", 1)];
        assert_eq!(
            laid(&[(&base, &[]), (&[file("d", 1)], &[])]),
            ["/d", "/d.x"]
        );
    }

    #[test]
    fn groups_of_two_layers_stay_apart() {
        let base = [linked("a", 0), linked("b", 0), linked("c", 0)];
        let upper = [linked("b", 0), linked("d", 0)];
        assert_eq!(
            laid(&[(&base, &[]), (&upper, &[])]),
            ["/a #0", "/b #1", "/c #0", "/d #1"]
        );
    }
}
