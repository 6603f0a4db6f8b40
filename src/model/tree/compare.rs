//! The differences between two trees, path by path.
//!
//! Pure, and linear in the entries. For readers, not for layers (see `plan::difference`): each path of a directory that is gone
//! is a change by itself.

use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind, Xattrs};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

/// The aspects in which two entries of a path differ: a set of the constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aspects(u16);

impl Aspects {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// The type: a directory in the place of a file.
    pub(crate) const TYPE: Self = Self(1);
    /// The content of a file.
    pub const CONTENT: Self = Self(1 << 1);
    /// The target of a symlink.
    pub const TARGET: Self = Self(1 << 2);
    /// The number of a device.
    pub(crate) const DEVICE: Self = Self(1 << 3);
    /// The permission bits.
    pub(crate) const MODE: Self = Self(1 << 4);
    /// Owner or group.
    pub(crate) const OWNER: Self = Self(1 << 5);
    /// The file's capabilities.
    pub(crate) const CAPS: Self = Self(1 << 6);
    /// Other extended attributes.
    pub const XATTRS: Self = Self(1 << 7);
    /// The other names of the inode, among the names that both trees have alike.
    pub const LINKS: Self = Self(1 << 8);
    /// The modification time.
    pub(crate) const MTIME: Self = Self(1 << 9);

    const NAMES: [(Self, &'static str); 10] = [
        (Self::TYPE, "type"),
        (Self::CONTENT, "content"),
        (Self::TARGET, "target"),
        (Self::DEVICE, "device"),
        (Self::MODE, "mode"),
        (Self::OWNER, "owner"),
        (Self::CAPS, "caps"),
        (Self::XATTRS, "xattrs"),
        (Self::LINKS, "links"),
        (Self::MTIME, "mtime"),
    ];

    /// Returns the names of the aspects in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(aspect, _)| self.has(*aspect))
            .map(|(_, name)| name)
    }

    /// Tells whether any of `other` is in the set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the set with `other` in it.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the set without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Tells whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn when(self, differs: bool) -> Self {
        if differs { self } else { Self::NONE }
    }
}

/// A path that differs between the trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The place in the old tree; `None` for a new path.
    pub old: Option<usize>,
    /// The place in the new tree; `None` for a path that is gone.
    pub new: Option<usize>,
    /// The differing aspects of a path in both trees.
    pub what: Aspects,
}

impl Change {
    /// Tells whether the path really differs.
    fn differs(&self) -> bool {
        self.old.is_none() || self.new.is_none() || !self.what.is_empty()
    }
}

/// Returns the paths that differ, in path order, except in `ignored` aspects.
pub fn compare(old: &Tree, new: &Tree, ignored: Aspects) -> Vec<Change> {
    let (old, new) = (old.entries(), new.entries());
    let mut changes = Vec::new();
    let mut kept: Vec<Kept> = Vec::new(); // linked on a side and otherwise the same
    let (mut at_old, mut at_new) = (0, 0);
    loop {
        let order = match (old.get(at_old), new.get(at_new)) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.path.cmp(&is.path),
        };
        let mut change = Change {
            old: order.is_le().then_some(at_old),
            new: order.is_ge().then_some(at_new),
            what: Aspects::NONE,
        };
        if order.is_eq() {
            let (was, is) = (&old[at_old], &new[at_new]);
            change.what = aspects(was, is).without(ignored);
            let is_linked = was.group.is_some() || is.group.is_some();
            if change.what.is_empty() && is_linked {
                kept.push((was.group, is.group, changes.len())); // a change if the links differ
            }
            if !change.what.is_empty() || is_linked {
                changes.push(change);
            }
        } else {
            changes.push(change);
        }
        at_old += usize::from(order.is_le());
        at_new += usize::from(order.is_ge());
    }
    if !ignored.has(Aspects::LINKS) {
        mark_links(&kept, &mut changes);
    }
    changes.retain(Change::differs);
    changes
}

/// The groups before and after of a name that is otherwise the same, and its place among the changes.
type Kept = (Option<Group>, Option<Group>, usize);

/// Marks the names, otherwise the same, that are linked to other names than before. Names that are new or gone or have another
/// content are changes anyway.
fn mark_links(kept: &[Kept], changes: &mut [Change]) {
    // A name without a group is a group of its own.
    let groups = |side: fn(&Kept) -> Option<Group>| {
        group_by(kept.iter().map(|one| (side(one).ok_or(one.2), one.2)))
    };
    let (before, after) = (groups(|one| one.0), groups(|one| one.1));
    for (was, is, at) in kept {
        if before[&was.ok_or(*at)] != after[&is.ok_or(*at)] {
            changes[*at].what = changes[*at].what.with(Aspects::LINKS);
        }
    }
}

fn group_by<K: Eq + Hash>(pairs: impl Iterator<Item = (K, usize)>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// Returns the aspects in which two entries of a path differ, links aside.
pub fn aspects(was: &Entry, is: &Entry) -> Aspects {
    let of_kind = match (&was.kind, &is.kind) {
        (a, b) if a == b => Aspects::NONE,
        (Kind::File { .. }, Kind::File { .. }) => Aspects::CONTENT,
        (Kind::Symlink(_), Kind::Symlink(_)) => Aspects::TARGET,
        (Kind::CharDevice(_), Kind::CharDevice(_))
        | (Kind::BlockDevice(_), Kind::BlockDevice(_)) => Aspects::DEVICE,
        _ => Aspects::TYPE,
    };
    let is_link = matches!(
        (&was.kind, &is.kind),
        (Kind::Symlink(_), _) | (_, Kind::Symlink(_))
    );
    of_kind
        .with(Aspects::MODE.when(was.mode != is.mode && !is_link)) // a symlink has no mode of its own
        .with(Aspects::OWNER.when((was.uid, was.gid) != (is.uid, is.gid)))
        .with(xattr_aspects(&was.xattrs, &is.xattrs))
        .with(Aspects::MTIME.when(was.mtime_s != is.mtime_s))
}

fn xattr_aspects(was: &Xattrs, is: &Xattrs) -> Aspects {
    const CAPABILITY: &[u8] = b"security.capability";
    if was == is {
        return Aspects::NONE;
    }
    let caps = |xattrs: &Xattrs| {
        xattrs
            .iter()
            .find(|(name, _)| *name == CAPABILITY)
            .map(|(_, value)| value.to_vec())
    };
    let others = |xattrs: &Xattrs| {
        xattrs
            .iter()
            .filter(|(name, _)| *name != CAPABILITY)
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect::<Vec<_>>()
    };
    Aspects::CAPS
        .when(caps(was) != caps(is))
        .with(Aspects::XATTRS.when(others(was) != others(is)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{any_tree, directory, file, linked, symlink};
    use proptest::prelude::*;

    fn shown(old: &[Entry], new: &[Entry]) -> Vec<String> {
        let (old, new) = (Tree::new(old.to_vec()), Tree::new(new.to_vec()));
        let show = |change: &Change| {
            let sign = match (change.old, change.new) {
                (None, _) => "+",
                (_, None) => "-",
                _ => "",
            };
            let entry = change
                .new
                .map(|at| &new.entries()[at])
                .or(change.old.map(|at| &old.entries()[at]));
            let what: Vec<_> = change.what.names().collect();
            format!("{sign}{} {}", entry.unwrap().path, what.join(","))
                .trim_end()
                .to_owned()
        };
        compare(&old, &new, Aspects::NONE)
            .iter()
            .map(show)
            .collect()
    }

    #[test]
    fn each_path_is_told_with_what_differs() {
        let changed = Entry {
            mode: 0o4755,
            uid: 1,
            mtime_s: 9,
            ..file("b", 2)
        };
        let capable = Entry {
            xattrs: Xattrs::new(vec![(
                b"security.capability".as_slice().into(),
                b"x".as_slice().into(),
            )]),
            ..file("c", 1)
        };
        let old = [
            directory("a"),
            file("a/x", 1),
            file("b", 1),
            file("c", 1),
            symlink("d", "x"),
            file("e", 1),
        ];
        let new = [
            changed,
            capable,
            symlink("d", "y"),
            directory("e"),
            file("f", 1),
        ];
        assert_eq!(
            shown(&old, &new),
            [
                "-/a",
                "-/a/x",
                "/b content,mode,owner,mtime",
                "/c caps",
                "/d target",
                "/e type,mode",
                "+/f"
            ]
        );
    }

    #[test]
    fn links_differ_where_equal_names_are_linked_to_others() {
        let three = [linked("a", 1), linked("b", 1), linked("c", 1)];
        assert_eq!(shown(&three, &three[..2]), ["-/c"]);
        assert_eq!(
            shown(&three, &[linked("a", 1), linked("b", 1), file("c", 3)]),
            ["/c content"]
        );
        assert_eq!(
            shown(&three[..2], &[file("a", 10), file("b", 10)]),
            ["/a links", "/b links"]
        );
        assert_eq!(
            shown(&three, &[linked("a", 1), linked("b", 1), file("c", 10)]),
            ["/a links", "/b links", "/c links"]
        );
        assert_eq!(shown(&[file("a", 10)], &three[..2]), ["+/b"]);
    }

    #[test]
    fn what_is_ignored_is_no_difference() {
        let (old, new) = (
            Tree::new(vec![file("a", 1)]),
            Tree::new(vec![Entry {
                mtime_s: 8,
                ..file("a", 1)
            }]),
        );
        assert_eq!(compare(&old, &new, Aspects::MTIME), []);
        assert_eq!(compare(&old, &new, Aspects::NONE).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_tree_does_not_differ_from_itself(tree in any_tree()) {
            prop_assert_eq!(compare(&tree, &tree, Aspects::NONE), []);
        }

        #[test]
        fn the_paths_that_differ_are_the_same_in_both_directions(a in any_tree(), b in any_tree()) {
            let there = compare(&a, &b, Aspects::NONE);
            let back = compare(&b, &a, Aspects::NONE);
            let turned: Vec<Change> =
                back.into_iter().map(|c| Change { old: c.new, new: c.old, what: c.what }).collect();
            prop_assert_eq!(there, turned);
        }

        #[test]
        fn trees_without_a_difference_are_equal(a in any_tree(), b in any_tree()) {
            prop_assert_eq!(compare(&a, &b, Aspects::NONE).is_empty(), a == b);
        }
    }
}
