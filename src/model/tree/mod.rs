//! All entries of a root, or of one side of it, in path order.
//!
//! Invariants: paths are unique and sorted; a hardlink group has at least two names; groups are numbered in the
//! order of their first names, so equal trees are equal values.

pub mod compare;
pub mod content_place;
pub mod entry;
mod layer_item;
mod merge;
pub mod overlay;
pub mod path;

use crate::model::digest::ContentHash;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// Entries in path order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree<C = ContentHash> {
    entries: Vec<Entry<C>>,
}

impl<C> Default for Tree<C> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<C> Tree<C> {
    /// Sorts the entries and numbers their hardlink groups anew. Of two entries with one path the later counts.
    pub fn new(mut entries: Vec<Entry<C>>) -> Self {
        if !entries.is_sorted_by(|a, b| a.path < b.path) {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            let mut unique: Vec<Entry<C>> = Vec::with_capacity(entries.len());
            for entry in entries {
                if unique.last().is_some_and(|last| last.path == entry.path) {
                    unique.pop();
                }
                unique.push(entry);
            }
            entries = unique;
        }
        renumber_groups(entries.iter_mut().map(|entry| &mut entry.group));
        Self { entries }
    }

    /// Returns the entries in path order.
    pub fn entries(&self) -> &[Entry<C>] {
        &self.entries
    }

    /// Changes each entry, in path order, into another with the same path and group. Fails as the first `change` that
    /// fails.
    pub(crate) fn try_map<D, E>(
        self,
        change: impl FnMut(Entry<C>) -> Result<Entry<D>, E>,
    ) -> Result<Tree<D>, E> {
        // Both kinds of entries have one size, so the vector keeps its memory.
        let entries = self
            .entries
            .into_iter()
            .map(change)
            .collect::<Result<_, _>>()?;
        Ok(Tree { entries })
    }

    /// Gives the entries away, in path order.
    pub(crate) fn into_entries(self) -> Vec<Entry<C>> {
        self.entries
    }

    /// Returns the place of `path` among the entries.
    pub fn position(&self, path: &EntryPath) -> Option<usize> {
        self.entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()
    }

    /// Returns the sum of the files' lengths in bytes, a hardlinked inode once.
    pub fn content_bytes(&self) -> u64 {
        content_bytes(&self.entries)
    }
}

/// Returns the sum of the files' lengths in bytes; of a hardlink group, one name counts.
pub fn content_bytes<'a, C: 'a>(entries: impl IntoIterator<Item = &'a Entry<C>>) -> u64 {
    let mut seen = std::collections::HashSet::new();
    entries
        .into_iter()
        .filter(|e| e.group.is_none_or(|g| seen.insert(g)))
        .map(Entry::size_bytes)
        .sum()
}

/// Drops groups with one name and numbers the others in the order of their first names.
pub(crate) fn renumber_groups<'a>(groups: impl Iterator<Item = &'a mut Option<Group>>) {
    let mut of_number: HashMap<Group, Vec<&'a mut Option<Group>>> = HashMap::new();
    let mut order = Vec::new();
    for group in groups {
        let Some(number) = *group else { continue };
        let names = of_number.entry(number).or_default();
        if names.is_empty() {
            order.push(number);
        }
        names.push(group);
    }
    let mut next = 0;
    for number in order {
        let names = of_number.remove(&number).unwrap_or_default();
        let group = (names.len() > 1).then_some(Group(next));
        next += u32::from(group.is_some());
        for name in names {
            *name = group;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{file, linked};

    #[test]
    fn groups_are_numbered_by_first_name_and_single_names_have_none() {
        let tree = Tree::new(vec![
            linked("c", 9),
            linked("b", 4),
            linked("a", 9),
            linked("d", 4),
            linked("z", 1),
        ]);
        let groups: Vec<_> = tree
            .entries()
            .iter()
            .map(|e| e.group.map(|g| g.0))
            .collect();
        assert_eq!(groups, [Some(0), Some(1), Some(0), Some(1), None]);
    }

    #[test]
    fn a_hardlinked_inode_counts_once() {
        assert_eq!(
            Tree::new(vec![linked("a", 1), linked("b", 1), file("c", 5)]).content_bytes(),
            15
        );
    }
}
