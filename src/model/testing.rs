//! Short ways to write entries in tests.

use super::digest::ContentHash;
use super::entry::{Entry, Group, Kind, Xattrs};
use super::path::EntryPath;

pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::from_slashed(text.as_bytes()).unwrap()
}

pub(crate) fn entry(at: &str, kind: Kind) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    Entry { path: path(at), kind, mode, uid: 0, gid: 0, mtime_s: 7, xattrs: Xattrs::default(), group: None }
}

pub(crate) fn directory(at: &str) -> Entry {
    entry(at, Kind::Directory)
}

/// A file of `size_bytes` whose content hash depends on the size alone.
pub(crate) fn file(at: &str, size_bytes: u64) -> Entry {
    let content = ContentHash(*blake3::hash(&size_bytes.to_le_bytes()).as_bytes());
    entry(at, Kind::File { size_bytes, content })
}

pub(crate) fn symlink(at: &str, target: &str) -> Entry {
    entry(at, Kind::Symlink(target.as_bytes().into()))
}

/// A file of 10 bytes in a hardlink group.
pub(crate) fn linked(at: &str, group: u32) -> Entry {
    Entry { group: Some(Group(group)), ..file(at, 10) }
}
