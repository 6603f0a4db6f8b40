//! Which tar member says what of a layer: entries, hardlinks and whiteouts (image-spec, layer.md).
//!
//! Paths are relative and without `./`, but for the root, which is `./`. A hardlink group's first name in path
//! order is the inode, the others link to it by its relative path.

use crate::error::{Error, Result};
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Entry, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use crate::tarball::{Member, MemberKind};
use std::collections::HashMap;
use std::collections::hash_map;

/// Writes the headers of a layer's members in order.
#[derive(Default)]
pub(super) struct Members {
    first_names: HashMap<Group, Vec<u8>>,
}

impl Members {
    /// Tells whether the content of `entry` must follow its header.
    pub(super) fn has_content<C>(&self, entry: &Entry<C>) -> bool {
        matches!(entry.kind, Kind::File { .. })
            && entry
                .group
                .is_none_or(|group| !self.first_names.contains_key(&group))
    }

    /// Appends the header of `entry`, which has `xattrs`, to `out`.
    pub(super) fn write_entry<C>(
        &mut self,
        entry: &Entry<C>,
        xattrs: &Xattrs,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let path = member_path(entry);
        let mut linked_to = None;
        if let Some(group) = entry.group {
            match self.first_names.entry(group) {
                hash_map::Entry::Occupied(first) => linked_to = Some(first.into_mut()),
                hash_map::Entry::Vacant(none) => drop(none.insert(path.clone())),
            }
        }
        let kind = match (linked_to, &entry.kind) {
            (Some(first), _) => MemberKind::Link(first),
            (None, Kind::Directory) => MemberKind::Directory,
            (None, Kind::File { size_bytes, .. }) => MemberKind::File(*size_bytes),
            (None, Kind::Symlink(target)) => MemberKind::Symlink(target),
            (None, Kind::Fifo) => MemberKind::Fifo,
            (None, Kind::CharDevice(device)) => MemberKind::CharDevice(device.major, device.minor),
            (None, Kind::BlockDevice(device)) => {
                MemberKind::BlockDevice(device.major, device.minor)
            }
        };
        let records = if matches!(kind, MemberKind::Link(_)) {
            Vec::new()
        } else {
            xattr_records(entry, xattrs)?
        };
        let Entry {
            mode,
            uid,
            gid,
            mtime_s,
            ..
        } = *entry;
        Member {
            path: &path,
            kind,
            mode,
            uid,
            gid,
            mtime_s,
            records,
        }
        .write_header(out)
    }
}

/// Appends the member that says that `path` is gone: an empty file `.wh.NAME` with time 0 beside it.
pub(super) fn write_whiteout(path: &EntryPath, out: &mut Vec<u8>) -> Result<()> {
    let name = [b".wh.", path.name()].concat();
    let path = path.parent().unwrap_or_default().join(&name).slashed();
    Member::file(&path, 0).write_header(out)
}

fn member_path<C>(entry: &Entry<C>) -> Vec<u8> {
    let mut path = entry.path.slashed();
    if entry.path.is_root() {
        path.push(b'.');
    }
    if entry.is_directory() {
        path.push(b'/');
    }
    path
}

/// Extended attributes in the form that all engines read, `SCHILY.xattr.NAME`.
fn xattr_records<C>(entry: &Entry<C>, xattrs: &Xattrs) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let record = |(name, value): (&[u8], &[u8])| {
        if name.contains(&b'=') {
            let reason = "the name of an extended attribute holds =";
            return Err(Error::Unpackable {
                path: shown_path(&entry.path),
                reason,
            });
        }
        Ok(([b"SCHILY.xattr.", name].concat(), value.to_vec()))
    };
    xattrs.iter().map(record).collect()
}
