//! Whether a place is in a store, by any path: nothing but the store writes in a store.

use crate::store::files::DATABASE;
use crate::store::files::TMP_LOCK;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A path has no more names (limits.h, `PATH_MAX`), and few trees are deeper.
const MOST_PARENTS: usize = 4096;

/// Tells whether `directory` is a store or lies in a store, by the inodes of directories and not by names. Parts of
/// the store `own` count also where mounted elsewhere by themselves. A missing directory lies in no store. Fails if a
/// directory above cannot be opened.
pub(crate) fn is_in_store(directory: &Path, own: &Path) -> io::Result<bool> {
    let own = inodes_of(own);
    let mut at = match rustix::fs::openat(CWD, directory, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        opened => opened?,
    };
    let mut below = None;
    for _ in 0..MOST_PARENTS {
        let stat = rustix::fs::fstat(&at)?;
        let inode = (stat.st_dev, stat.st_ino);
        if own.contains(&inode) || is_store(at.as_fd()) {
            return Ok(true);
        }
        if below == Some(inode) {
            break; // at the root, the parent of itself
        }
        below = Some(inode);
        at = rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty())?;
    }
    Ok(false)
}

fn inodes_of(store: &Path) -> HashSet<(u64, u64)> {
    let is_own = rustix::fs::openat(CWD, store, DIRECTORY, Mode::empty())
        .is_ok_and(|own| is_store(own.as_fd()));
    let parts = ["", "blobs", "blobs/sha256", "tmp"]
        .iter()
        .filter(|_| is_own);
    parts
        .filter_map(|part| rustix::fs::stat(store.join(part)).ok())
        .map(|stat| (stat.st_dev, stat.st_ino))
        .collect()
}

/// Two of three names are enough: a file may be lost, and the oldest stores had no lock.
fn is_store(directory: BorrowedFd) -> bool {
    let has =
        |name: &&&str| rustix::fs::statat(directory, **name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    [DATABASE, TMP_LOCK, "blobs"].iter().filter(has).count() >= 2
}
