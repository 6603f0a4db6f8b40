//! Reads the extended attributes of an inode that belong to a tree.

use super::root::{Root, handle_path};
use crate::error::Result;
use crate::model::policy::keeps_xattr;
use crate::model::tree::entry::Xattrs;
use crate::model::tree::path::EntryPath;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

const READING_XATTRS: &str = "read the extended attributes of";

/// Returns the attributes of an open file. Fails if the filesystem cannot read an attribute that it lists.
pub(super) fn file_xattrs(root: &Root, file: &File, path: &EntryPath) -> Result<Xattrs> {
    xattrs(
        |buffer| rustix::fs::flistxattr(file, buffer),
        |name, buffer| rustix::fs::fgetxattr(file, name, buffer),
    )
    .map_err(|e| root.failed(READING_XATTRS, path, e))
}

/// Returns the attributes of an inode by an `O_PATH` handle, which fgetxattr(2) refuses: the link in /proc leads to the
/// same inode, even to a symlink. Fails with [`Error::Changed`] if the inode is gone.
pub(super) fn handle_xattrs(root: &Root, handle: &OwnedFd, path: &EntryPath) -> Result<Xattrs> {
    let link = handle_path(handle);
    xattrs(
        |buffer| rustix::fs::listxattr(&link, buffer),
        |name, buffer| rustix::fs::getxattr(&link, name, buffer),
    )
    .map_err(|e| root.failed(READING_XATTRS, path, e))
}

/// Tells whether a directory hands on attributes of a tree to new inodes: an access list, or settings of the
/// filesystem. Fails if the attributes of the directory cannot be listed.
pub(super) fn hands_on_attributes(root: &Root, handle: &OwnedFd, path: &EntryPath) -> Result<bool> {
    inherited(root, handle, path).map(|names| !names.is_empty())
}

/// Returns the names of attributes of a tree that a directory hands on to new inodes: never attributes of users nor file
/// capabilities (xattr(7), capabilities(7)). Fails if listxattr(2) fails; no support means no names.
pub(super) fn inherited(
    root: &Root,
    handle: &impl AsFd,
    path: &EntryPath,
) -> Result<Vec<Box<[u8]>>> {
    let link = handle_path(handle);
    let names = match grown(|buffer| rustix::fs::listxattr(&link, buffer)) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        names => names.map_err(|e| root.failed(READING_XATTRS, path, e))?,
    };
    let handed_on = of_tree(&names).filter(|name| !stays(name));
    Ok(handed_on.map(Into::into).collect())
}

fn stays(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

/// Splits a list of names as the kernel writes one (listxattr(2)).
fn of_tree(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let names = list.split(|byte| *byte == 0);
    names.filter(|name| !name.is_empty() && keeps_xattr(name))
}

fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Xattrs> {
    let names = match grown(list) {
        Err(Errno::NOTSUP) => return Ok(Xattrs::default()),
        names => names?,
    };
    let mut pairs = Vec::new();
    for name in of_tree(&names) {
        match grown(|buffer| get(name, buffer)) {
            Err(Errno::NODATA) => {} // removed meanwhile: the ctime shows the change
            value => pairs.push((name.into(), value?.into())),
        }
    }
    Ok(Xattrs::new(pairs))
}

/// Calls with a small buffer, then with the largest that the kernel fills (XATTR_SIZE_MAX, XATTR_LIST_MAX).
fn grown(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 512];
    match call(&mut small) {
        Err(Errno::RANGE) => {
            let mut large = vec![0; 64 << 10];
            let length = call(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        length => Ok(small[..length?].to_vec()),
    }
}
