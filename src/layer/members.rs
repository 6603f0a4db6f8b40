//! Tar members of a layer: entries, hardlinks and whiteouts (image-spec, layer.md).
//!
//! Paths are relative and without `./`, except for the root `./`. The first name of a hardlink group in path order is the
//! inode; further names link to the relative path of the first.

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
    /// Tells whether content follows the header of `entry`.
    pub(super) fn has_content<C>(&self, entry: &Entry<C>) -> bool {
        matches!(entry.kind, Kind::File { .. })
            && entry
                .group
                .is_none_or(|group| !self.first_names.contains_key(&group))
    }

    /// Appends the header of `entry`, with `xattrs`, to `out`. Fails with [`Error::Unpackable`] if tar cannot express a name or
    /// number of the entry.
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
        let (kind, records) = match linked_to {
            Some(first) => (MemberKind::Link(first), Vec::new()),
            None => (member_kind(&entry.kind), xattr_records(entry, xattrs)?),
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

/// Appends the whiteout of `path`: an empty file `.wh.NAME` with time 0 in the same directory. Fails if the path is too long
/// for tar.
pub(super) fn write_whiteout(path: &EntryPath, out: &mut Vec<u8>) -> Result<()> {
    let name = [b".wh.", path.name()].concat();
    let path = path.parent().unwrap_or_default().join(&name).slashed();
    Member::file(&path, 0).write_header(out)
}

fn member_kind<C>(kind: &Kind<C>) -> MemberKind<'_> {
    match kind {
        Kind::Directory => MemberKind::Directory,
        Kind::File { size_bytes, .. } => MemberKind::File(*size_bytes),
        Kind::Symlink(target) => MemberKind::Symlink(target),
        Kind::Fifo => MemberKind::Fifo,
        Kind::CharDevice(device) => MemberKind::CharDevice(device.major, device.minor),
        Kind::BlockDevice(device) => MemberKind::BlockDevice(device.major, device.minor),
    }
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

/// Returns extended attributes as `SCHILY.xattr.NAME`, read by all engines.
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
