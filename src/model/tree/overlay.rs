//! Layers laid over one another: the one law of the design, as a function.
//!
//! Pure, and linear in the entries of what lies below and what is laid over it. A snapshot is not recorded as a
//! tree of its own: its tree is what its layers give here, just as any OCI implementation would unpack them.

use crate::model::plan::layer::Item;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// An entry, owned or borrowed, with the number of its hardlink group among all that is laid.
pub trait Piece {
    /// Returns the entry; its own number of a group may be another.
    fn entry(&self) -> &Entry;

    /// Returns the group.
    fn group(&self) -> Option<Group>;

    /// Gives it another number of a group.
    fn regrouped(self, group: Option<Group>) -> Self;
}

impl Piece for Entry {
    fn entry(&self) -> &Entry {
        self
    }

    fn group(&self) -> Option<Group> {
        self.group
    }

    fn regrouped(self, group: Option<Group>) -> Self {
        Self { group, ..self }
    }
}

/// An entry of a layer that somebody else keeps.
#[derive(Clone, Copy, Debug)]
pub struct Borrowed<'a> {
    entry: &'a Entry,
    group: Option<Group>,
}

impl Piece for Borrowed<'_> {
    fn entry(&self) -> &Entry {
        self.entry
    }

    fn group(&self) -> Option<Group> {
        self.group
    }

    fn regrouped(self, group: Option<Group>) -> Self {
        Self { group, ..self }
    }
}

/// One thing that a recorded layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Laid<E = Entry> {
    /// The path is there, like this.
    Entry(E),
    /// The path and what is beneath it are gone.
    Whiteout(EntryPath),
    /// What is beneath the path is gone, but not the path itself. rootstrata writes none of these, others do.
    Opaque(EntryPath),
}

impl<E: Piece> Laid<E> {
    /// Returns the path that it is about.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Entry(piece) => &piece.entry().path,
            Self::Whiteout(path) | Self::Opaque(path) => path,
        }
    }
}

impl Laid {
    /// Returns the same without its entry.
    pub fn borrowed(&self) -> Laid<Borrowed<'_>> {
        match self {
            Self::Entry(entry) => Laid::Entry(Borrowed {
                entry,
                group: entry.group,
            }),
            Self::Whiteout(path) => Laid::Whiteout(path.clone()),
            Self::Opaque(path) => Laid::Opaque(path.clone()),
        }
    }

    /// Returns the entry, if it is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Whiteout(_) | Self::Opaque(_) => None,
        }
    }

    /// Returns it as a layer of ours holds it, which is never opaque.
    pub fn as_item(&self) -> Option<Item<'_>> {
        match self {
            Self::Entry(entry) => Some(Item::Entry(entry)),
            Self::Whiteout(path) => Some(Item::Whiteout(path)),
            Self::Opaque(_) => None,
        }
    }
}

impl From<Item<'_>> for Laid {
    fn from(item: Item) -> Self {
        match item {
            Item::Entry(entry) => Self::Entry(entry.clone()),
            Item::Whiteout(path) => Self::Whiteout(path.clone()),
        }
    }
}

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
    pub fn memory_bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|piece| piece.entry().memory_bytes())
            .sum()
    }

    /// Lays a layer over what is there. `items` come in path order, an entry after the whiteout of its path.
    pub fn lay(&mut self, items: impl Iterator<Item = Laid<E>>) {
        self.lay_telling(items);
    }

    /// Likewise, and returns the first whiteout of what was not there.
    pub fn lay_telling(&mut self, items: impl Iterator<Item = Laid<E>>) -> Option<EntryPath> {
        let mut idle = None;
        let first_group = self.groups;
        let mut below = std::mem::take(&mut self.entries).into_iter().peekable();
        let mut gone: Option<EntryPath> = None; // what is below at this path or beneath it is hidden
        let is_hidden = |path: &EntryPath, gone: &Option<EntryPath>| {
            gone.as_ref()
                .is_some_and(|top| path == top || path.is_beneath(top))
        };
        for item in items {
            let at = item.path();
            while let Some(entry) = below.next_if(|piece| piece.entry().path < *at) {
                if !is_hidden(&entry.entry().path, &gone) {
                    self.entries.push(entry);
                }
            }
            let there = below
                .next_if(|piece| piece.entry().path == *at)
                .filter(|_| !is_hidden(at, &gone));
            // Beneath what is hidden already, all that is below stays hidden.
            let hides = !matches!(&item, Laid::Entry(piece) if piece.entry().is_directory())
                && below
                    .peek()
                    .is_some_and(|next| next.entry().path.is_beneath(at))
                && !is_hidden(at, &gone);
            if hides {
                gone = Some(at.clone());
            }
            match item {
                Laid::Opaque(_) => self.entries.extend(there),
                Laid::Whiteout(path) => {
                    if there.is_none() && idle.is_none() {
                        idle = Some(path);
                    }
                }
                Laid::Entry(entry) => {
                    let group = entry
                        .group()
                        .map(|Group(number)| Group(first_group + number));
                    self.groups = self.groups.max(group.map_or(0, |Group(number)| number + 1));
                    if self
                        .entries
                        .last()
                        .is_some_and(|last| last.entry().path == entry.entry().path)
                    {
                        self.entries.pop(); // it was kept when its directory was made opaque
                    }
                    self.entries.push(entry.regrouped(group));
                }
            }
        }
        self.entries
            .extend(below.filter(|piece| !is_hidden(&piece.entry().path, &gone)));
        idle
    }
}

impl Overlay {
    /// Tells whether there is a hardlink group of which there is one name alone.
    pub fn has_lone_links(&self) -> bool {
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
            overlay.lay(
                Outline::closed(&tree, all, whiteouts)
                    .of(&tree)
                    .items()
                    .map(Laid::from),
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
        let laid = |upper: Vec<Laid>| {
            let mut overlay = Overlay::new();
            overlay.lay(base.iter().cloned().map(Laid::Entry));
            overlay.lay(upper.into_iter());
            let tree = overlay.into_tree();
            tree.entries()
                .iter()
                .map(|e| format!("{} {:o}", e.path, e.mode))
                .collect::<Vec<_>>()
        };
        assert_eq!(laid(vec![Laid::Opaque(path("d"))]), ["/d 755", "/x 644"]);
        let other = Entry {
            mode: 0o700,
            ..directory("d")
        };
        let upper = vec![
            Laid::Opaque(path("d")),
            Laid::Entry(other),
            Laid::Entry(file("d/g", 2)),
        ];
        assert_eq!(laid(upper), ["/d 700", "/d/g 644", "/x 644"]);
        let new = vec![
            Laid::Whiteout(path("d")),
            Laid::Entry(directory("d")),
            Laid::Entry(file("d/a", 1)),
        ];
        assert_eq!(laid(new), ["/d 755", "/d/a 644", "/x 644"]);
        let new = vec![Laid::Whiteout(path("d")), Laid::Entry(directory("d"))];
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
