//! Short ways to write entries in tests.

use crate::model::digest::ContentHash;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::from_slashed(text.as_bytes()).unwrap()
}

pub(crate) fn entry(at: &str, kind: Kind) -> Entry {
    let mode = if kind == Kind::Directory {
        0o755
    } else {
        0o644
    };
    Entry {
        path: path(at),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime_s: 7,
        xattrs: Xattrs::default(),
        group: None,
    }
}

pub(crate) fn directory(at: &str) -> Entry {
    entry(at, Kind::Directory)
}

/// A file of `size_bytes` whose content hash depends on the size alone.
pub(crate) fn file(at: &str, size_bytes: u64) -> Entry {
    let content = ContentHash(*blake3::hash(&size_bytes.to_le_bytes()).as_bytes());
    entry(
        at,
        Kind::File {
            size_bytes,
            content,
        },
    )
}

pub(crate) fn symlink(at: &str, target: &str) -> Entry {
    entry(at, Kind::Symlink(target.as_bytes().into()))
}

/// A file of 10 bytes in a hardlink group.
pub(crate) fn linked(at: &str, group: u32) -> Entry {
    Entry {
        group: Some(Group(group)),
        ..file(at, 10)
    }
}

/// Any tree of few names, three levels deep, with many types, hardlinks and metadata that collide.
pub(crate) fn any_tree() -> impl Strategy<Value = Tree> {
    let node = || (0..8u8, 0..3u32, 0..2u16);

    (prop::collection::vec((0..3usize, 0..4usize, 0..4usize, node()), 0..24)).prop_map(|seeds| {
        let mut entries: BTreeMap<EntryPath, Entry> = BTreeMap::new();
        entries.insert(EntryPath::root(), directory(""));
        for (depth, a, b, (kind, number, mode)) in seeds {
            let parts = [["a", "b", "c", "d"][a], ["w", "x", "y", "z"][b], "leaf"];
            let at = parts[..=depth].join("/");
            let mut above = path(&at).parent();
            let mut is_free = true;
            while let Some(up) = above {
                let there = entries
                    .entry(up.clone())
                    .or_insert_with(|| directory(&String::from_utf8(up.slashed()).unwrap()));
                is_free &= there.is_directory();
                above = up.parent();
            }
            let made = match kind {
                0 | 1 => directory(&at),
                2 => symlink(&at, ["x", "y", "z"][number as usize]),
                3..=5 => linked(&at, number),
                _ => file(&at, u64::from(number)),
            };
            let has_children = entries.keys().any(|other| other.is_beneath(&made.path));
            if is_free && (made.is_directory() || !has_children) {
                // All names of an inode have its metadata.
                let mode = if made.group.is_some() {
                    made.mode
                } else {
                    made.mode + mode
                };
                entries.insert(made.path.clone(), Entry { mode, ..made });
            }
        }
        Tree::new(consistent(entries))
    })
}

/// Nothing lies beneath what is no directory.
fn consistent(entries: BTreeMap<EntryPath, Entry>) -> Vec<Entry> {
    let is_sound = |path: &EntryPath| {
        let mut above = path.parent();
        while let Some(up) = above {
            if !entries[&up].is_directory() {
                return false;
            }
            above = up.parent();
        }
        true
    };
    entries
        .iter()
        .filter(|(path, _)| is_sound(path))
        .map(|(_, entry)| entry.clone())
        .collect()
}
