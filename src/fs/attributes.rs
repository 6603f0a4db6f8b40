//! Gives an inode its owner, mode, extended attributes and time.
//!
//! The order matters: a new owner takes setuid bits and capabilities away, so the mode follows the owner, the attributes
//! follow the mode, and the time is last. Stat data are read in the end, not assumed: a setgid directory, a mask or a
//! mount may have changed the inode.

use super::root::{Root, handle_path, place_of};
use super::xattrs::inherited;
use crate::error::{Error, Result};
use crate::model::stamp::Stat;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bits that give the rights of a file's owner or group to every user who runs the file.
const SET_IDS: u16 = 0o6000;

/// The attribute of an access list (acl(5)).
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// A property that an inode could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A device, not made at all.
    Device,
    /// The whole inode: the filesystem cannot have the name, the type or the length.
    All,
    /// Further names of the inode.
    Names,
    /// Owner or group.
    Owner,
    /// A part of the mode.
    Mode,
    /// An extended attribute.
    Xattr,
    /// The modification time.
    Time,
}

/// An inode made or changed.
#[derive(Debug)]
pub(crate) struct Made {
    /// The stat data afterwards.
    pub stat: Stat,
    /// The properties that the inode lacks.
    pub lacks: Vec<Lack>,
}

impl Made {
    /// Adds a lack, once.
    pub(super) fn lack_if(&mut self, is_lacking: bool, lack: Lack) {
        if is_lacking && !self.lacks.contains(&lack) {
            self.lacks.push(lack);
        }
    }
}

/// The state of an inode before [`give`].
pub(super) struct Before {
    pub owner: (u32, u32),
    pub mode: u16,
    /// An access list goes, so nobody may use the rights that the mode alone would give.
    pub has_list: bool,
}

/// An inode, open or named by an `O_PATH` handle.
pub(super) enum Inode<'h> {
    Open(BorrowedFd<'h>),
    Named(&'h OwnedFd),
}

impl Inode<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) => *fd,
            Self::Named(handle) => handle.as_fd(),
        }
    }

    fn chmod(&self, mode: u16) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(u32::from(mode));
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            Self::Named(handle) => {
                rustix::fs::chmodat(CWD, handle_path(handle), mode, AtFlags::empty())
            }
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
            Self::Named(handle) => rustix::fs::setxattr(handle_path(handle), name, value, flags),
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Named(handle) => rustix::fs::removexattr(handle_path(handle), name),
        }
    }
}

/// Tells whether a call was done; `false` where the process or the filesystem may not.
fn is_done(done: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        // A number outside the map of the user namespace is invalid (user_namespaces(7)).
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::INVAL | Errno::OVERFLOW) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Tells whether an attribute was set; a value may also be too large for the room beside an inode (setxattr(2)).
fn is_set(done: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match done {
        Err(Errno::TOOBIG | Errno::RANGE | Errno::NOSPC) => Ok(false),
        done => is_done(done),
    }
}

/// An inode and the entry whose metadata the inode is given.
struct Target<'a> {
    root: &'a Root,
    inode: &'a Inode<'a>,
    entry: &'a Entry,
}

/// Gives an inode, which is as `before` says, the metadata of `entry`, without the attributes named `removed`. At no
/// moment has anybody rights that neither state gives.
///
/// Fails if a call fails for another reason than a missing permission or a limit of the filesystem; such lacks are returned.
pub(super) fn give(
    root: &Root,
    inode: &Inode,
    entry: &Entry,
    before: &Before,
    removed: &[&[u8]],
) -> Result<Made> {
    let target = Target { root, inode, entry };
    let is_chowned = before.owner != target.owner();
    let mode = target.close(before, is_chowned)?;
    let mut is_own = !is_chowned || target.chown()?;
    let mut has_all = target.remove_xattrs(removed)?;
    let wanted = wanted_mode(entry, is_own);
    if mode != wanted || is_chowned && wanted & SET_IDS != 0 {
        target.chmod(wanted)?;
    }
    has_all &= target.set_xattrs()?;
    let is_dated = set_time(root, inode, entry)?;
    let mut stat = target.stat()?;
    if is_own && (stat.uid, stat.gid) != target.owner() {
        // A new inode in a setgid directory has the group of the directory.
        is_own = target.chown()?;
        has_all &= target.set_xattrs()?;
        stat = target.stat()?;
    }
    let wanted = wanted_mode(entry, is_own);
    if !is_link(entry) && stat.mode != wanted {
        target.chmod(wanted)?;
        stat = target.stat()?;
    }
    let mut made = Made {
        stat,
        lacks: Vec::new(),
    };
    let has_time = is_dated && made.stat.mtime.seconds == entry.mtime_s;
    let has_mode = is_link(entry) || made.stat.mode == entry.mode;
    made.lack_if(!has_all, Lack::Xattr);
    made.lack_if(!has_time, Lack::Time);
    made.lack_if(!is_own, Lack::Owner);
    made.lack_if(!has_mode, Lack::Mode);
    Ok(made)
}

impl Target<'_> {
    fn owner(&self) -> (u32, u32) {
        (self.entry.uid, self.entry.gid)
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> Error {
        let full = self.root.full_path(&self.entry.path);
        move |e| Error::io(action, full)(e)
    }

    /// Takes all rights of other users before the owner or the access list changes. Returns the mode that is left.
    fn close(&self, before: &Before, is_chowned: bool) -> Result<u16> {
        let mode = before.mode;
        let is_closed = is_link(self.entry) || mode & 0o7077 == 0;
        if is_closed || !is_chowned && !before.has_list {
            return Ok(mode);
        }
        self.chmod(mode & 0o700)?;
        Ok(mode & 0o700)
    }

    /// A refusal is no error: the mode is read again in the end.
    fn chmod(&self, mode: u16) -> Result<()> {
        if is_link(self.entry) {
            return Ok(());
        }
        is_done(self.inode.chmod(mode))
            .map(drop)
            .map_err(self.failed("change the mode of"))
    }

    fn chown(&self) -> Result<bool> {
        let uid = Some(Uid::from_raw(self.entry.uid));
        let gid = Some(Gid::from_raw(self.entry.gid));
        let fd = self.inode.fd();
        is_done(rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH))
            .map_err(self.failed("change the owner of"))
    }

    /// Tells whether all were removed.
    fn remove_xattrs(&self, names: &[&[u8]]) -> Result<bool> {
        let mut has_all = true;
        for name in names {
            has_all &= is_removed(self.inode, name)
                .map_err(self.failed("remove an extended attribute of"))?;
        }
        Ok(has_all)
    }

    /// Tells whether all were set.
    fn set_xattrs(&self) -> Result<bool> {
        let mut has_all = true;
        for (name, value) in self.entry.xattrs.iter() {
            has_all &= is_set(self.inode.set_xattr(name, value))
                .map_err(self.failed("set an extended attribute of"))?;
        }
        Ok(has_all)
    }

    fn stat(&self) -> Result<Stat> {
        stat_of(self.root, &self.inode.fd(), &self.entry.path)
    }
}

/// Tells whether the inode has the modification time of `entry` now. Fails if utimensat(2) fails for another reason than a
/// missing permission.
pub(super) fn set_time(root: &Root, inode: &Inode, entry: &Entry) -> Result<bool> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: entry.mtime_s,
            tv_nsec: 0,
        },
    };
    let flags = AtFlags::EMPTY_PATH;
    let done = is_done(rustix::fs::utimensat(inode.fd(), c"", &times, flags));
    done.map_err(Error::io("set the time of", root.full_path(&entry.path)))
}

/// Lets the owner write to a directory. Tells whether the mode was changed. Fails if chmod(2) fails for another reason than
/// a missing permission.
pub(super) fn unlock(root: &Root, handle: &OwnedFd, was: &Stat, path: &EntryPath) -> Result<bool> {
    if was.mode & 0o300 == 0o300 {
        return Ok(false);
    }
    let done = is_done(Inode::Named(handle).chmod(was.mode | 0o700));
    done.map_err(Error::io("change the mode of", root.full_path(path)))
}

/// Takes the attributes from a new inode that the directory has handed on. Tells whether all are gone. Fails if the
/// attributes cannot be listed or removed.
pub(super) fn strip(root: &Root, inode: &Inode, path: &EntryPath) -> Result<bool> {
    let mut is_bare = true;
    for name in inherited(root, &inode.fd(), path)? {
        is_bare &= is_removed(inode, &name).map_err(Error::io(
            "remove an extended attribute of",
            root.full_path(path),
        ))?;
    }
    Ok(is_bare)
}

/// Asks about an inode written to. Fails with [`Error::Changed`] if it is a socket, and if statx(2) fails.
pub(super) fn stat_of(root: &Root, handle: &impl AsFd, path: &EntryPath) -> Result<Stat> {
    let placed = place_of(handle.as_fd()).map_err(Error::io("stat", root.full_path(path)))?;
    placed
        .stat
        .ok_or_else(|| Error::Changed(root.full_path(path)))
}

fn is_removed(inode: &Inode, name: &[u8]) -> rustix::io::Result<bool> {
    match inode.remove_xattr(name) {
        Err(Errno::NODATA) => Ok(true),
        done => is_done(done),
    }
}

fn is_link(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Symlink(_))
}

/// Leaves the setuid bits out where the owner is another: a program must never run with the rights of a wrong user.
fn wanted_mode(entry: &Entry, is_own: bool) -> u16 {
    if is_own {
        entry.mode
    } else {
        entry.mode & !SET_IDS
    }
}
