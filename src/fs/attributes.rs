//! Gives an inode its owner, mode, extended attributes and time.
//!
//! The order matters: a new owner takes setuid bits and capabilities away, so the mode comes after it and the attributes
//! after both; the time is last. What the inode is like in the end is asked for, not assumed: a setgid directory, a
//! mask or a mount may have made it another.

use super::facts::inherited;
use super::root::{handle_path, place_of};
use super::write::{Before, Writer};
use crate::error::{Error, Result};
use crate::model::stamp::Stat;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bits that give whoever runs a file the rights of its owner or group.
const SET_IDS: u16 = 0o6000;

/// The attribute that an access list is kept in (acl(5)).
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// What could not be given to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A device, which was not made at all.
    Device,
    /// All of it: the filesystem cannot have its name, its type or its length.
    All,
    /// The further names of its inode.
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

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// What it is like now.
    pub stat: Stat,
    /// What it lacks.
    pub lacks: Vec<Lack>,
}

impl Made {
    pub(super) fn lack_if(&mut self, is_lacking: bool, lack: Lack) {
        if is_lacking && !self.lacks.contains(&lack) {
            self.lacks.push(lack);
        }
    }
}

/// An inode that is open, or that a handle names which opens nothing.
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

/// Tells whether it was done; `false` where this process, or this filesystem, may not.
fn is_done(done: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        // A number that the user namespace does not map is invalid (user_namespaces(7)).
        Err(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::INVAL | Errno::OVERFLOW) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// The same of an attribute, which may also be larger than the filesystem has room for beside an inode (setxattr(2)).
fn is_set(done: rustix::io::Result<()>) -> rustix::io::Result<bool> {
    match done {
        Err(Errno::TOOBIG | Errno::RANGE | Errno::NOSPC) => Ok(false),
        done => is_done(done),
    }
}

impl Writer<'_> {
    /// Gives an inode, which is as `before` says, the metadata of `entry`. At no moment has anybody rights that neither gives.
    pub(super) fn give(
        &self,
        inode: &Inode,
        entry: &Entry,
        before: &Before,
        removed: &[&[u8]],
    ) -> Result<Made> {
        let failed = |action| {
            let full = self.root.full_path(&entry.path);
            move |e: Errno| Error::io(action, full)(e)
        };
        let mut lacks = Vec::new();
        let mut mode = before.mode;
        let mut is_own = before.owner == (entry.uid, entry.gid);
        let is_chowned = !is_own;
        if (is_chowned || before.has_list) && !is_link(entry) && mode & 0o7077 != 0 {
            is_done(inode.chmod(mode & 0o700)).map_err(failed("change the mode of"))?;
            mode &= 0o700;
        }
        if is_chowned {
            is_own = self
                .chown(inode, entry)
                .map_err(failed("change the owner of"))?;
        }
        let mut has_all = true;
        for name in removed {
            let done = match inode.remove_xattr(name) {
                Err(Errno::NODATA) => Ok(()),
                done => done,
            };
            has_all &= is_done(done).map_err(failed("remove an extended attribute of"))?;
        }
        let mut wanted = wanted_mode(entry, is_own);
        if !is_link(entry) && (mode != wanted || is_chowned && wanted & SET_IDS != 0) {
            is_done(inode.chmod(wanted)).map_err(failed("change the mode of"))?; // what came of it is seen below
        }
        has_all &= self.set_xattrs(inode, entry)?;
        let is_dated = self.set_time(inode, entry)?;
        let mut stat = self.stat(&inode.fd(), &entry.path)?;
        if is_own && (stat.uid, stat.gid) != (entry.uid, entry.gid) {
            // In a setgid directory, what is new has the directory's group.
            is_own = self
                .chown(inode, entry)
                .map_err(failed("change the owner of"))?;
            has_all &= self.set_xattrs(inode, entry)?;
            wanted = wanted_mode(entry, is_own);
            stat = self.stat(&inode.fd(), &entry.path)?;
        }
        if !is_link(entry) && stat.mode != wanted {
            is_done(inode.chmod(wanted)).map_err(failed("change the mode of"))?;
            stat = self.stat(&inode.fd(), &entry.path)?;
        }
        if !has_all {
            lacks.push(Lack::Xattr);
        }
        if !is_dated || stat.mtime.seconds != entry.mtime_s {
            lacks.push(Lack::Time);
        }
        if !is_own {
            lacks.push(Lack::Owner);
        }
        if !is_link(entry) && stat.mode != entry.mode {
            lacks.push(Lack::Mode);
        }
        Ok(Made { stat, lacks })
    }

    /// Tells whether all were set.
    fn set_xattrs(&self, inode: &Inode, entry: &Entry) -> Result<bool> {
        let mut has_all = true;
        for (name, value) in entry.xattrs.iter() {
            let full = || self.root.full_path(&entry.path);
            let done = is_set(inode.set_xattr(name, value));
            has_all &= done.map_err(|e| Error::io("set an extended attribute of", full())(e))?;
        }
        Ok(has_all)
    }

    fn chown(&self, inode: &Inode, entry: &Entry) -> rustix::io::Result<bool> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        is_done(rustix::fs::chownat(
            inode.fd(),
            c"",
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH,
        ))
    }

    /// Tells whether it was set.
    pub(super) fn set_time(&self, inode: &Inode, entry: &Entry) -> Result<bool> {
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
        is_done(rustix::fs::utimensat(
            inode.fd(),
            c"",
            &times,
            AtFlags::EMPTY_PATH,
        ))
        .map_err(Error::io(
            "set the time of",
            self.root.full_path(&entry.path),
        ))
    }

    /// Tells whether anything was changed.
    pub(super) fn unlock(&self, handle: &OwnedFd, was: &Stat, path: &EntryPath) -> Result<bool> {
        if was.mode & 0o300 == 0o300 {
            return Ok(false);
        }
        let done = is_done(Inode::Named(handle).chmod(was.mode | 0o700));
        done.map_err(Error::io("change the mode of", self.root.full_path(path)))
    }

    /// Takes from a new inode what its directory has handed on. Tells whether nothing is left of that.
    pub(super) fn strip(&self, inode: &Inode, path: &EntryPath) -> Result<bool> {
        let mut is_bare = true;
        for name in inherited(self.root, &inode.fd(), path)? {
            let done = match inode.remove_xattr(&name) {
                Err(Errno::NODATA) => Ok(()),
                done => done,
            };
            let done = is_done(done);
            is_bare &= done.map_err(Error::io(
                "remove an extended attribute of",
                self.root.full_path(path),
            ))?;
        }
        Ok(is_bare)
    }

    pub(super) fn stat(&self, handle: &impl AsFd, path: &EntryPath) -> Result<Stat> {
        let placed =
            place_of(handle.as_fd()).map_err(Error::io("stat", self.root.full_path(path)))?;
        placed
            .stat
            .ok_or_else(|| Error::Changed(self.root.full_path(path)))
    }
}

fn is_link(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Symlink(_))
}

/// A program that was to run with its owner's rights must not run with those of somebody else.
fn wanted_mode(entry: &Entry, is_own: bool) -> u16 {
    if is_own {
        entry.mode
    } else {
        entry.mode & !SET_IDS
    }
}
