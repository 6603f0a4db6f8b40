//! A tree as inodes: what each is, and the names in each directory.
//!
//! A tree may come from a stranger. Directories that are missing are made up, and a path through something that is no directory is
//! left out, as is a name that no filesystem has.

use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// The longest name in a directory (limits.h, `NAME_MAX`).
const LONGEST_NAME_BYTES: usize = 255;

/// The inodes of a tree; the root is the first.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// Bytes of all files, an inode once.
    pub content_bytes: u64,
}

/// An inode.
pub(super) struct Node {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime_s: i64,
    pub xattrs: Xattrs,
    pub links: u32,
    /// The directory of the first name.
    pub parent: u32,
    /// Names in a directory, sorted.
    pub children: Vec<Child>,
}

/// A name in a directory.
pub(super) struct Child {
    pub name: Box<[u8]>,
    pub node: u32,
}

impl Node {
    /// Takes an entry; names and further links are counted later.
    pub(super) fn new(entry: Entry, parent: u32) -> Self {
        let links = if entry.is_directory() { 2 } else { 1 };
        Self {
            kind: entry.kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime_s: entry.mtime_s,
            xattrs: entry.xattrs,
            links,
            parent,
            children: Vec::new(),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

/// Returns a directory that only root writes to.
pub(super) fn plain_directory(path: EntryPath, mtime_s: i64) -> Entry {
    Entry {
        path,
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_s,
        xattrs: Xattrs::default(),
        group: None,
    }
}

impl Nodes {
    /// Takes a tree.
    pub(super) fn new(tree: Tree) -> Self {
        let mut building = Building::default();
        for entry in tree.into_entries() {
            building.add(entry);
        }
        if building.nodes.is_empty() {
            building.add(plain_directory(EntryPath::root(), 0));
        }
        let sizes = building.nodes.iter().map(|node| match node.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        });
        Self {
            content_bytes: sizes.fold(0, u64::saturating_add),
            nodes: building.nodes,
        }
    }

    /// Returns the number of inodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns an inode.
    pub(super) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// Returns the inode of a name in a directory.
    pub(super) fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        let children = &self.node(directory)?.children;
        let at = children.binary_search_by(|child| (*child.name).cmp(name));
        at.ok().map(|at| children[at].node)
    }

    /// Returns the first path of an inode.
    pub(super) fn path(&self, number: u32) -> EntryPath {
        let mut names = Vec::new();
        let mut at = number;
        while at != 0 && names.len() <= self.len() {
            let Some(parent) = self.node(at).map(|node| node.parent) else {
                break;
            };
            let children = self.node(parent).map(|parent| &parent.children);
            let mut children = children.into_iter().flatten();
            names.extend(
                children
                    .find(|child| child.node == at)
                    .map(|child| &child.name),
            );
            at = parent;
        }
        let names = names.iter().rev();
        names.fold(EntryPath::root(), |path, name| path.join(name))
    }
}

/// A tree, entry by entry in path order.
#[derive(Default)]
struct Building {
    nodes: Vec<Node>,
    /// The directories from the root to the last entry.
    open: Vec<(EntryPath, u32)>,
    groups: HashMap<Group, u32>,
}

impl Building {
    fn add(&mut self, entry: Entry) {
        if entry.path.is_root() && entry.is_directory() && self.nodes.is_empty() {
            self.open.push((EntryPath::root(), 0));
            self.nodes.push(Node::new(entry, 0));
            return;
        }
        let Some(above) = entry.path.parent() else {
            return;
        };
        if self.nodes.is_empty() {
            self.add(plain_directory(EntryPath::root(), 0));
        }
        let Some(parent) = self.directory(&above) else {
            return;
        };
        let name = entry.path.name();
        if name.len() > LONGEST_NAME_BYTES || self.is_taken(parent, name) {
            return;
        }
        let name = Box::from(name);
        let group = entry.group.filter(|_| !entry.is_directory());
        let known = group.and_then(|group| self.groups.get(&group).copied());
        let node = known.unwrap_or(self.nodes.len() as u32);
        match self.nodes.get_mut(node as usize) {
            Some(linked) => linked.links = linked.links.saturating_add(1),
            None => self.push(entry, parent),
        }
        if let Some(group) = group {
            self.groups.insert(group, node);
        }
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children.push(Child { name, node });
        }
    }

    fn push(&mut self, entry: Entry, parent: u32) {
        if entry.is_directory() {
            self.open
                .push((entry.path.clone(), self.nodes.len() as u32));
            if let Some(parent) = self.nodes.get_mut(parent as usize) {
                parent.links = parent.links.saturating_add(1);
            }
        }
        self.nodes.push(Node::new(entry, parent));
    }

    /// Names come in order, so only the last of a directory can come again.
    fn is_taken(&self, directory: u32, name: &[u8]) -> bool {
        let children = self
            .nodes
            .get(directory as usize)
            .map(|node| &node.children);
        let last = children.and_then(|children| children.last());
        last.is_some_and(|last| *last.name >= *name)
    }

    /// Returns the directory at a path, made up if missing; `None` if something else is there or above.
    fn directory(&mut self, path: &EntryPath) -> Option<u32> {
        while let Some((open, node)) = self.open.last() {
            if open == path {
                return Some(*node);
            }
            if path.is_beneath(open) {
                break;
            }
            self.open.pop();
        }
        let mut missing: Vec<EntryPath> = path.ancestors().collect();
        missing.insert(0, path.clone());
        let (nearest, _) = self.open.last()?.clone();
        let missing = missing
            .into_iter()
            .filter(|above| above.is_beneath(&nearest));
        for above in missing.collect::<Vec<_>>().into_iter().rev() {
            self.add(plain_directory(above, 0));
        }
        self.open
            .last()
            .filter(|(open, _)| open == path)
            .map(|(_, node)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, linked, path};

    fn shown(entries: Vec<Entry>) -> Vec<String> {
        let nodes = Nodes::new(Tree::new(entries));
        let mut left = vec![0];
        let mut lines = Vec::new();
        while let Some(at) = left.pop() {
            let node = nodes.node(at).unwrap();
            lines.push(format!("{} {}", nodes.path(at), node.links));
            for child in &node.children {
                assert_eq!(nodes.child(at, &child.name), Some(child.node));
                left.push(child.node);
            }
        }
        lines.sort();
        lines
    }

    #[test]
    fn links_are_counted_and_missing_directories_made_up() {
        let entries = vec![
            directory("d"),
            file("d/e/f/g", 1),
            linked("x", 1),
            linked("y", 1),
        ];
        let wanted = [
            "/ 3",
            "/d 3",
            "/d/e 3",
            "/d/e/f 2",
            "/d/e/f/g 1",
            "/x 2",
            "/x 2",
        ];
        assert_eq!(shown(entries), wanted);
        assert_eq!(shown(Vec::new()), ["/ 2"]);
    }

    #[test]
    fn what_lies_beneath_a_file_and_names_that_are_too_long_are_left_out() {
        let long = Entry {
            path: path("d").join(&[b'n'; 256]),
            ..file("x", 1)
        };
        let entries = vec![
            file("f", 1),
            file("f/a", 1),
            file("f/b/c", 1),
            directory("d"),
            long,
        ];
        assert_eq!(shown(entries), ["/ 3", "/d 2", "/f 1"]);
    }
}
