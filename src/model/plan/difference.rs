//! The layer that turns a tree into another tree.
//!
//! Pure. The rules (image-spec, layer.md, "Representing Changes"): a changed path comes whole; a path that is
//! gone gets one whiteout at the topmost place, and only where the directory above is still there; a directory replaced by a
//! file needs no whiteout. Links never cross layers, so a hardlink group comes whole or not at all.

use crate::model::plan::layer::{LayerContent, Outline};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Content, Entry, Group};
use crate::model::tree::overlay::Piece;
use crate::model::tree::path::EntryPath;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::num::NonZeroU32;

/// Returns the layer that turns `old`, which is in path order, into `new`; empty where they are equal.
pub fn delta<'t>(old: &[impl Piece], new: &'t Tree) -> LayerContent<'t> {
    outline(old, new, Scope::All).of(new)
}

/// The paths that may differ.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'s> {
    /// Any path may differ.
    All,
    /// These paths may differ, in path order; at other paths both trees are alike, and the old tree need not be given.
    /// A hardlink group has all of its names in the scope or none.
    Changed(&'s [EntryPath]),
}

impl Scope<'_> {
    fn has(self, path: &EntryPath) -> bool {
        match self {
            Self::All => true,
            Self::Changed(paths) => paths.binary_search(path).is_ok(),
        }
    }
}

/// Returns the entries and whiteouts of the layer that turns `old` into `new`.
pub fn outline<C: Content>(old: &[impl Piece], new: &Tree<C>, scope: Scope) -> Outline {
    let (kept, whiteouts) = compare(old, new.entries());
    let changed = changed(old, new.entries(), &kept, scope);
    Outline::closed(new, changed, whiteouts)
}

/// Returns for each new entry the place, counted from 1, of the old entry that is equal but for hardlinks, and the whiteouts in
/// path order.
fn compare<C: Content>(
    old: &[impl Piece],
    new: &[Entry<C>],
) -> (Vec<Option<NonZeroU32>>, Vec<EntryPath>) {
    let mut kept = vec![None; new.len()];
    let mut whiteouts = Vec::new();
    let mut covered: Option<&EntryPath> = None; // old entries beneath are gone without a whiteout
    let mut at_new = 0;
    for (at_old, was) in old.iter().map(Piece::entry).enumerate() {
        let order = loop {
            match new.get(at_new).map(|is| is.path.cmp(&was.path)) {
                Some(Ordering::Less) => at_new += 1,
                order => break order,
            }
        };
        if order == Some(Ordering::Equal) {
            let is = &new[at_new];
            if is.same_but_place(was) {
                kept[at_new] = NonZeroU32::new(at_old as u32 + 1);
            } else if was.is_directory() && !is.is_directory() {
                covered = Some(&was.path);
            }
            at_new += 1;
        } else if !covered.is_some_and(|above| was.path.is_beneath(above)) {
            whiteouts.push(was.path.clone());
            covered = Some(&was.path);
        }
    }
    (kept, whiteouts)
}

/// Returns the old entry at a kept place.
fn before<P: Piece>(old: &[P], kept: Option<NonZeroU32>) -> Option<&P> {
    kept.map(|place| &old[place.get() as usize - 1])
}

/// Tells for each new entry whether the layer must hold the entry: differing entries, and all names of each hardlink group that
/// the old tree would not give by itself. `kept` has the place of the equal old entry, counted from 1.
fn changed<C>(
    old: &[impl Piece],
    new: &[Entry<C>],
    kept: &[Option<NonZeroU32>],
    scope: Scope,
) -> Vec<bool> {
    let mut changed: Vec<bool> = new
        .iter()
        .zip(kept)
        .map(|(entry, kept)| kept.is_none() && scope.has(&entry.path))
        .collect();
    for names in groups_in(new, scope).into_values() {
        if !was_linked(old, kept, &names) {
            names.into_iter().for_each(|at| changed[at] = true);
        }
    }
    part_old_groups(old, new, kept, &mut changed);
    changed
}

/// Returns the places of the names in each hardlink group of the scope.
fn groups_in<C>(new: &[Entry<C>], scope: Scope) -> HashMap<Group, Vec<usize>> {
    let mut names: HashMap<Group, Vec<usize>> = HashMap::new();
    for (at, entry) in new.iter().enumerate() {
        if let Some(group) = entry.group
            && scope.has(&entry.path)
        {
            names.entry(group).or_default().push(at);
        }
    }
    names
}

/// Tells whether all names are kept and were in one group before.
fn was_linked(old: &[impl Piece], kept: &[Option<NonZeroU32>], names: &[usize]) -> bool {
    let mut groups = names
        .iter()
        .map(|at| before(old, kept[*at]).and_then(Piece::group));
    let first = groups.next().flatten();
    first.is_some() && groups.all(|group| group == first)
}

/// Marks names of old groups that have fallen apart: a part, the first in path order, may stay; the names of other parts would
/// still be linked to the first.
fn part_old_groups<C>(
    old: &[impl Piece],
    new: &[Entry<C>],
    kept: &[Option<NonZeroU32>],
    changed: &mut [bool],
) {
    let mut part_that_stays: HashMap<Group, Result<Group, usize>> = HashMap::new();
    for (at, entry) in new.iter().enumerate() {
        let unchanged = kept[at].filter(|_| !changed[at]);
        let Some(was) = before(old, unchanged).and_then(Piece::group) else {
            continue;
        };
        let part = entry.group.ok_or(at);
        if *part_that_stays.entry(was).or_insert(part) != part {
            changed[at] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::item::Item;
    use crate::model::testing::{any_tree, directory, file, linked, symlink};
    use crate::model::tree::overlay::{LayerItem, Overlay};
    use proptest::prelude::*;

    fn tree(entries: &[Entry]) -> Tree {
        Tree::new([&[directory("")], entries].concat())
    }

    /// The delta's paths, whiteouts marked with `-`, after a check that laying it over `old` gives `new`.
    fn shown(old: &[Entry], new: &[Entry]) -> Vec<String> {
        let (old, new) = (tree(old), tree(new));
        let delta = delta(old.entries(), &new);
        let mut overlay = Overlay::new();
        overlay.apply(LayerContent::whole(&old).items().map(LayerItem::from));
        overlay.apply(delta.items().map(LayerItem::from));
        assert_eq!(overlay.into_tree(), new);
        let mark = |item: Item| match item {
            Item::Entry(entry) => entry.path.to_string(),
            Item::Whiteout(path) => format!("-{path}"),
        };
        delta.items().map(mark).collect()
    }

    #[test]
    fn equal_trees_have_an_empty_delta() {
        let entries = [directory("a"), linked("a/b", 1), linked("c", 1)];
        assert_eq!(shown(&entries, &entries), [""; 0]);
    }

    #[test]
    fn a_removed_directory_is_one_whiteout() {
        let old = [
            directory("a"),
            directory("a/d"),
            file("a/d/x", 1),
            directory("a/d/e"),
            file("a/d/e/y", 1),
        ];
        assert_eq!(shown(&old, &old[..1]), ["/", "/a", "-/a/d"]);
    }

    #[test]
    fn an_emptied_directory_gets_a_whiteout_a_child() {
        let old = [
            directory("d"),
            file("d/x", 1),
            directory("d/y"),
            file("d/y/z", 1),
        ];
        assert_eq!(shown(&old, &old[..1]), ["/", "/d", "-/d/x", "-/d/y"]);
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_needs_no_whiteout() {
        let old = [
            directory("d"),
            directory("d/e"),
            file("d/e/x", 1),
            file("e", 1),
        ];
        assert_eq!(shown(&old, &[file("d", 1), file("e", 1)]), ["/", "/d"]);
        assert_eq!(shown(&old, &[symlink("d", "e"), file("e", 1)]), ["/", "/d"]);
    }

    #[test]
    fn a_directory_in_the_place_of_a_link_comes_with_its_children() {
        let new = [directory("d"), file("d/x", 1)];
        assert_eq!(shown(&[symlink("d", "usr")], &new), ["/", "/d", "/d/x"]);
    }

    #[test]
    fn a_new_name_of_an_inode_brings_the_whole_group() {
        let new = [linked("a", 1), linked("b", 1), linked("c", 1)];
        assert_eq!(shown(&new[..2], &new), ["/", "/a", "/b", "/c"]);
        assert_eq!(shown(&[file("a", 10)], &new[..2]), ["/", "/a", "/b"]);
    }

    #[test]
    fn a_name_replaced_by_rename_comes_alone() {
        let old = [linked("a", 1), linked("b", 1), linked("c", 1)];
        assert_eq!(
            shown(&old, &[linked("a", 1), file("b", 3), linked("c", 1)]),
            ["/", "/b"]
        );
        assert_eq!(
            shown(&old[..2], &[file("a", 10), file("b", 3)]),
            ["/", "/b"]
        );
    }

    #[test]
    fn a_removed_name_leaves_the_others_alone() {
        let old = [linked("a", 1), linked("b", 1), linked("c", 1)];
        assert_eq!(shown(&old, &old[1..]), ["/", "-/a"]);
        assert_eq!(shown(&old, &[file("c", 10)]), ["/", "-/a", "-/b"]);
    }

    #[test]
    fn names_that_are_no_longer_linked_are_written_apart() {
        let old = [
            linked("a", 1),
            linked("b", 1),
            linked("c", 1),
            linked("d", 1),
        ];
        assert_eq!(
            shown(&old[..2], &[file("a", 10), file("b", 10)]),
            ["/", "/b"]
        );
        let parted = [
            linked("a", 1),
            linked("b", 2),
            linked("c", 1),
            linked("d", 2),
        ];
        assert_eq!(shown(&old, &parted), ["/", "/b", "/d"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_delta_laid_over_the_old_tree_gives_the_new_one(old in any_tree(), new in any_tree(), later in any_tree()) {
            let mut overlay = Overlay::new();
            overlay.apply(LayerContent::whole(&old).items().map(LayerItem::from));
            overlay.apply(delta(old.entries(), &new).items().map(LayerItem::from));
            overlay.apply(delta(new.entries(), &later).items().map(LayerItem::from));
            prop_assert_eq!(overlay.into_tree(), later);
        }

        #[test]
        fn the_old_tree_at_the_changed_paths_alone_gives_the_same_layer(old in any_tree(), new in any_tree()) {
            let at = |tree: &Tree, path: &EntryPath| tree.position(path).map(|at| tree.entries()[at].clone());
            let is_changed = |entry: &&Entry| {
                let (was, is) = (at(&old, &entry.path), at(&new, &entry.path));
                // Of hardlink groups, all names count.
                was != is || was.is_some_and(|was| was.group.is_some())
            };
            let both = old.entries().iter().chain(new.entries());
            let mut changed: Vec<EntryPath> = both.filter(is_changed).map(|entry| entry.path.clone()).collect();
            changed.sort_unstable();
            changed.dedup();
            let known: Vec<Entry> = old.entries().iter().filter(|entry| changed.contains(&entry.path)).cloned().collect();
            let whole = delta(old.entries(), &new);
            let outline = outline(&known, &new, Scope::Changed(&changed));
            prop_assert!(outline.of(&new).items().eq(whole.items()));
        }

        #[test]
        fn a_layer_names_no_path_twice_and_every_parent_before_its_child(old in any_tree(), new in any_tree()) {
            let delta = delta(old.entries(), &new);
            let paths: Vec<EntryPath> = delta.items().map(|item| item.path().clone()).collect();
            prop_assert!(paths.is_sorted_by(|a, b| a < b));
            for item in delta.items() {
                let parent = item.path().parent();
                prop_assert!(parent.is_none_or(|parent| new.position(&parent).is_some() && paths.contains(&parent)));
                if let Item::Whiteout(path) = item {
                    prop_assert!(old.position(path).is_some() && new.position(path).is_none());
                }
            }
        }
    }
}
