//! A layer before packing: entries, whiteouts, and the key of both.
//!
//! Invariants: no path stands twice; every directory above an entry or a whiteout is an entry of the layer too, once and before;
//! a hardlink group has all names in the layer or none. The key is a function of the
//! policy, the entries and the whiteouts alone.

use crate::model::digest::{ContentHash, LayerKey};
use crate::model::plan::item::Item;
use crate::model::plan::items_form::key_of;
use crate::model::policy::Policy;
use crate::model::tree::entry::{Entry, FileContent};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{self, Tree};
use std::collections::HashSet;

/// The purpose of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A whole tree.
    Base,
    /// The difference of a stage from the base or delta and the lower updates.
    Update,
    /// The difference of a later stage from the stage before.
    Delta,
    /// The paths that are as one package has them, with the directories above.
    Package,
    /// The volatile files, whole.
    State,
}

impl Role {
    /// Returns the name that the database, JSON and annotations use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Update => "update",
            Self::Delta => "delta",
            Self::Package => "package",
            Self::State => "state",
        }
    }

    /// Reads a name back.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Base,
            Self::Update,
            Self::Delta,
            Self::Package,
            Self::State,
        ];
        all.into_iter().find(|role| role.name() == name)
    }
}

/// The entries and whiteouts of a layer, borrowed from the resulting tree.
#[derive(Debug)]
pub struct LayerContent<'t, C = ContentHash> {
    entries: Vec<&'t Entry<C>>,
    whiteouts: Vec<EntryPath>,
}

/// The places of a layer's entries in a tree, and the whiteouts. Valid also after changes of the tree that keep all paths.
#[derive(Debug)]
pub struct Outline {
    /// Places in the tree, sorted; `None` for the whole tree.
    places: Option<Vec<u32>>,
    /// Sorted.
    whiteouts: Vec<EntryPath>,
}

impl Outline {
    /// Takes a whole tree.
    pub fn whole() -> Self {
        Self {
            places: None,
            whiteouts: Vec::new(),
        }
    }

    /// Takes the `chosen` entries of `tree`, the whiteouts, and the directories above both. `whiteouts` are sorted, not in `tree`,
    /// and directly beneath directories of `tree`.
    pub fn closed<C>(tree: &Tree<C>, mut chosen: Vec<bool>, whiteouts: Vec<EntryPath>) -> Self {
        let entries = tree.entries();
        let mut is_closed = vec![false; entries.len()];
        let mut above: Vec<u32> = Vec::new();
        let mut choose_above = |path: &EntryPath| {
            let mut next = path.parent();
            while let Some(directory) = next {
                let Some(at) = tree.position(&directory).filter(|at| !is_closed[*at]) else {
                    break;
                };
                is_closed[at] = true;
                above.push(at as u32);
                next = directory.parent();
            }
        };
        entries
            .iter()
            .zip(&chosen)
            .filter(|(_, is_chosen)| **is_chosen)
            .for_each(|(entry, _)| choose_above(&entry.path));
        whiteouts.iter().for_each(choose_above);
        above.into_iter().for_each(|at| chosen[at as usize] = true);
        let places = chosen
            .iter()
            .enumerate()
            .filter_map(|(at, chosen)| chosen.then_some(at as u32));
        Self {
            places: Some(places.collect()),
            whiteouts,
        }
    }

    /// Takes the entries of `tree` at `places`, which are sorted, and the directories above them.
    pub(super) fn of_places<C>(tree: &Tree<C>, places: &[u32]) -> Self {
        let entries = tree.entries();
        let mut all = places.to_vec();
        let mut above: HashSet<EntryPath> = HashSet::new();
        for place in places {
            let mut next = entries[*place as usize].path.parent();
            while let Some(directory) = next.filter(|directory| !above.contains(directory)) {
                all.extend(tree.position(&directory).map(|at| at as u32));
                next = directory.parent();
                above.insert(directory);
            }
        }
        all.sort_unstable();
        all.dedup();
        Self {
            places: Some(all),
            whiteouts: Vec::new(),
        }
    }

    /// Returns the places in the tree; none for a whole tree.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let places = self.places.iter().flatten();
        places.map(|place| *place as usize)
    }

    /// Moves the outline from a part of a tree, whose entries are at `places` of the tree, to the tree.
    pub(super) fn move_to(&mut self, places: &[u32]) {
        self.places = Some(match &self.places {
            None => places.to_vec(),
            Some(own) => own.iter().map(|at| places[*at as usize]).collect(),
        });
    }

    /// Returns the layer.
    pub fn of<'t, C>(&self, tree: &'t Tree<C>) -> LayerContent<'t, C> {
        let entries = tree.entries();
        let entries = match &self.places {
            None => entries.iter().collect(),
            Some(places) => places.iter().map(|at| &entries[*at as usize]).collect(),
        };
        LayerContent {
            entries,
            whiteouts: self.whiteouts.clone(),
        }
    }
}

impl<'t, C> LayerContent<'t, C> {
    /// Takes a whole tree.
    pub fn whole(tree: &'t Tree<C>) -> Self {
        Outline::whole().of(tree)
    }

    /// Takes a whole tree and whiteouts, which are sorted and not in the tree.
    pub fn all(tree: &'t Tree<C>, whiteouts: Vec<EntryPath>) -> Self {
        Self {
            whiteouts,
            ..Self::whole(tree)
        }
    }

    /// Takes all of `upper`, and the directories of `lower` above, unless `upper` has them; empty for an empty `upper`.
    pub fn above(lower: &'t Tree<C>, upper: &'t Tree<C>) -> Self {
        let mut entries: Vec<&Entry<C>> = upper.entries().iter().collect();
        let mut parents: Vec<EntryPath> = Vec::new();
        for entry in upper.entries() {
            let mut above = entry.path.parent();
            while let Some(path) = above {
                above = path.parent();
                parents.push(path);
            }
        }
        parents.sort_unstable();
        parents.dedup();
        let of_lower = |path: &EntryPath| lower.position(path).map(|at| &lower.entries()[at]);
        parents.retain(|path| upper.position(path).is_none());
        entries.extend(parents.iter().filter_map(of_lower));
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Self {
            entries,
            whiteouts: Vec::new(),
        }
    }

    /// Tells whether the layer would change nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.whiteouts.is_empty()
    }

    /// Returns the number of entries, whiteouts not counted.
    pub(crate) fn entries_len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entries in path order.
    pub fn entries(&self) -> impl Iterator<Item = &'t Entry<C>> {
        self.entries.iter().copied()
    }

    /// Returns the number of whiteouts.
    pub(crate) fn whiteouts_len(&self) -> usize {
        self.whiteouts.len()
    }

    /// Returns the sum of the files' lengths in bytes, a hardlinked inode once.
    pub fn content_bytes(&self) -> u64 {
        tree::content_bytes(self.entries.iter().copied())
    }

    /// Returns entries and whiteouts, together in path order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_, C>> {
        let mut entries = self.entries.iter().peekable();
        let mut whiteouts = self.whiteouts.iter().peekable();
        std::iter::from_fn(move || match (entries.peek(), whiteouts.peek()) {
            (Some(entry), Some(gone)) if entry.path > **gone => {
                whiteouts.next().map(Item::Whiteout)
            }
            (None, _) => whiteouts.next().map(Item::Whiteout),
            _ => entries.next().map(|entry| Item::Entry(entry)),
        })
    }
}

impl LayerContent<'_, FileContent> {
    /// Tells whether a file of the layer has not been read.
    pub(crate) fn has_pending(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_pending())
    }

    /// Returns the layer's key under a policy; `None` while a file of the layer has not been read.
    pub(crate) fn known_key(&self, policy: &Policy) -> Option<LayerKey> {
        let entries = self
            .entries
            .iter()
            .map(|entry| (*entry).clone().into_known());
        let tree: Vec<Entry> = entries.collect::<Result<_, _>>().ok()?;
        let known = LayerContent {
            entries: tree.iter().collect(),
            whiteouts: self.whiteouts.clone(),
        };
        Some(known.key(policy))
    }
}

impl LayerContent<'_> {
    /// Returns the layer's key under a policy.
    pub fn key(&self, policy: &Policy) -> LayerKey {
        key_of(&policy.key(), self.items())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, linked, path, symlink};

    fn key(entries: Vec<Entry>, whiteouts: Vec<EntryPath>) -> LayerKey {
        let tree = Tree::new(entries);
        LayerContent {
            entries: tree.entries().iter().collect(),
            whiteouts,
        }
        .key(&Policy::plain())
    }

    #[test]
    fn names_and_targets_that_concatenate_alike_have_different_keys() {
        assert_ne!(
            key(vec![symlink("ab", "c")], vec![]),
            key(vec![symlink("a", "bc")], vec![])
        );
        assert_ne!(
            key(vec![], vec![path("a"), path("b")]),
            key(vec![], vec![path("a/b")])
        );
    }

    #[test]
    fn a_whiteout_is_no_entry() {
        assert_ne!(
            key(vec![file("a", 0)], vec![]),
            key(vec![], vec![path("a")])
        );
    }

    #[test]
    fn links_and_copies_have_different_keys() {
        let mut copies = vec![linked("a", 1), linked("b", 1)];
        let links = key(copies.clone(), vec![]);
        copies.iter_mut().for_each(|entry| entry.group = None);
        assert_ne!(key(copies, vec![]), links);
    }

    #[test]
    fn another_policy_gives_another_key() {
        let tree = Tree::new(vec![file("a", 1)]);
        let content = LayerContent::whole(&tree);
        assert_ne!(content.key(&Policy::plain()), content.key(&Policy::mock()));
    }

    #[test]
    fn parents_come_once_and_before_the_child_also_for_a_whiteout() {
        let tree = Tree::new(vec![
            directory(""),
            directory("a"),
            directory("a/b"),
            file("a/b/c", 1),
            file("z", 1),
        ]);
        let chosen = [false, false, false, true, false].to_vec();
        let content = Outline::closed(&tree, chosen, vec![path("a/b/a"), path("a/x")]).of(&tree);
        let paths: Vec<_> = content
            .items()
            .map(|item| item.path().to_string())
            .collect();
        assert_eq!(paths, ["/", "/a", "/a/b", "/a/b/a", "/a/b/c", "/a/x"]);
    }
}
