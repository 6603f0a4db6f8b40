//! Layers laid over one another: the one law of the design, as a function.
//!
//! Pure, and linear in the entries of what lies below and what is laid over it. A snapshot is not recorded as a
//! tree of its own: its tree is what its layers give here, just as any OCI implementation would unpack them.

use super::entry::{Entry, Group};
use super::layer::Item;
use super::path::EntryPath;
use super::tree::Tree;

/// One thing that a recorded layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Laid {
    /// The path is there, like this.
    Entry(Entry),
    /// The path and what is beneath it are gone.
    Whiteout(EntryPath),
}

impl From<Item<'_>> for Laid {
    fn from(item: Item) -> Self {
        match item {
            Item::Entry(entry) => Self::Entry(entry.clone()),
            Item::Whiteout(path) => Self::Whiteout(path.clone()),
        }
    }
}

impl Laid {
    /// Returns it as a layer holds it.
    pub fn as_item(&self) -> Item<'_> {
        match self {
            Self::Entry(entry) => Item::Entry(entry),
            Self::Whiteout(path) => Item::Whiteout(path),
        }
    }
}

/// The entries that the layers so far give.
#[derive(Debug, Default)]
pub struct Overlay {
    entries: Vec<Entry>,
    groups: u32,
}

impl Overlay {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a layer over what is there. `items` come in path order.
    pub fn lay(&mut self, items: impl Iterator<Item = Laid>) {
        let first_group = self.groups;
        let mut below = std::mem::take(&mut self.entries).into_iter().peekable();
        let mut gone: Option<EntryPath> = None; // what is below at this path or beneath it is hidden
        let is_hidden = |path: &EntryPath, gone: &Option<EntryPath>| {
            gone.as_ref().is_some_and(|top| path == top || path.is_beneath(top))
        };
        for item in items {
            let at = match &item {
                Laid::Entry(entry) => &entry.path,
                Laid::Whiteout(path) => path,
            };
            while let Some(entry) = below.next_if(|entry| entry.path < *at) {
                if !is_hidden(&entry.path, &gone) {
                    self.entries.push(entry);
                }
            }
            below.next_if(|entry| entry.path == *at);
            match item {
                Laid::Whiteout(path) => gone = Some(path),
                Laid::Entry(entry) => {
                    if !entry.is_directory() {
                        gone = Some(entry.path.clone());
                    }
                    let group = entry.group.map(|Group(number)| Group(first_group + number));
                    self.groups = self.groups.max(group.map_or(0, |Group(number)| number + 1));
                    self.entries.push(Entry { group, ..entry });
                }
            }
        }
        self.entries.extend(below.filter(|entry| !is_hidden(&entry.path, &gone)));
    }

    /// Returns the tree that the layers give.
    pub fn into_tree(self) -> Tree {
        Tree::new(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layer::LayerContent;
    use crate::model::testing::{directory, file, linked, path};

    fn laid(layers: &[(&[Entry], &[&str])]) -> Vec<String> {
        let mut overlay = Overlay::new();
        for (entries, whiteouts) in layers {
            let tree = Tree::new(entries.to_vec());
            let whiteouts = whiteouts.iter().map(|at| path(at)).collect();
            let all: Vec<usize> = (0..tree.entries().len()).collect();
            overlay.lay(LayerContent::closed(&tree, &all, whiteouts).items().map(Laid::from));
        }
        let shown =
            |e: &Entry| format!("{}{}", e.path, e.group.map_or(String::new(), |g| format!(" #{}", g.0)));
        overlay.into_tree().entries().iter().map(shown).collect()
    }

    #[test]
    fn a_whiteout_hides_all_that_is_beneath_it() {
        let base = [directory("d"), directory("d/e"), file("d/e/f", 1), file("d/g", 1)];
        assert_eq!(laid(&[(&base, &[]), (&[directory("d")], &["d/e"])]), ["/d", "/d/g"]);
    }

    #[test]
    fn a_file_hides_the_directory_that_was_there() {
        let base = [directory("d"), file("d/e", 1), file("d.x", 1)];
        assert_eq!(laid(&[(&base, &[]), (&[file("d", 1)], &[])]), ["/d", "/d.x"]);
    }

    #[test]
    fn groups_of_two_layers_stay_apart() {
        let base = [linked("a", 0), linked("b", 0), linked("c", 0)];
        let upper = [linked("b", 0), linked("d", 0)];
        assert_eq!(laid(&[(&base, &[]), (&upper, &[])]), ["/a #0", "/b #1", "/c #0", "/d #1"]);
    }
}
