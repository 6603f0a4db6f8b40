//! A handle on a root directory, and the only way to open a path below the root.
//!
//! Invariants: nothing outside the root and nothing beyond a mount point is opened; nothing is opened for reading
//! before stat shows a regular file or a directory; access times are left alone where the kernel allows.

use crate::error::{Error, Result};
use crate::model::stamp::{Stat, StatKind, Time};
use crate::model::tree::entry::Device;
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::fs::{Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::time::ClockId;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

// Numbers of filesystems (linux/magic.h; statfs(2), `f_type`).
const NFS: u32 = 0x6969;
const SMB: u32 = 0x517b;
const CIFS: u32 = 0xff53_4d42;
const SMB2: u32 = 0xfe53_4d42;
const FUSE: u32 = 0x6573_5546;
const V9FS: u32 = 0x0102_1997;
const CEPH: u32 = 0x00c3_6400;
const AFS: u32 = 0x5346_414f;
const GFS2: u32 = 0x0116_1970;

/// Filesystems whose times may come from another machine's clock.
const REMOTE: &[u32] = &[NFS, SMB, CIFS, SMB2, FUSE, V9FS, CEPH, AFS, GFS2];

/// How far another machine's clock may be off.
const REMOTE_SLACK_S: i64 = 60;

/// The longest path of a system call, with the final NUL (limits.h).
const PATH_MAX: usize = 4096;

const NUMBERS: &str = "/proc/self/fd";

/// How often `openat2` is called while renames elsewhere disturb the lookup (openat2(2), `EAGAIN`).
const MOST_OPENS: usize = 64;

/// An open root directory.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    handle: OwnedFd,
    mount: u64,
    /// The open files of this process by number (proc_pid_fd(5)).
    numbers: OwnedFd,
    /// Bytes of holes read so far.
    pub(super) hole_bytes: AtomicU64,
}

/// Stat data with the mount (statx `stx_mnt_id`).
#[derive(Debug)]
pub(super) struct Placed {
    pub stat: Option<Stat>,
    pub mount: u64,
    pub is_directory: bool,
}

impl Root {
    /// Opens a directory of the caller's choice; symlinks on the way are followed.
    ///
    /// Fails if the path is no directory or cannot be opened, and with [`Error::OldKernel`] if statx(2) knows no mounts.
    pub fn open(path: &Path) -> Result<Self> {
        let path = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOTDIR => Error::NotADirectory(path.clone()),
            e => Error::io("open", &path)(e),
        })?;
        let mount = place_of(handle.as_fd())
            .map_err(Error::io("stat", &path))?
            .mount;
        if mount == 0 {
            return Err(Error::OldKernel {
                what: "the mount id in statx",
                since: "5.8",
            });
        }
        let numbers =
            rustix::fs::open(NUMBERS, flags, Mode::empty()).map_err(Error::io("open", NUMBERS))?;
        Ok(Self {
            path,
            handle,
            mount,
            numbers,
            hole_bytes: AtomicU64::new(0),
        })
    }

    /// Returns the absolute path, without symlinks, by which the root was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of an entry as the user knows it.
    pub fn full_path(&self, path: &EntryPath) -> PathBuf {
        if path.is_root() {
            self.path.clone()
        } else {
            self.path.join(OsString::from_vec(path.slashed()))
        }
    }

    /// Tells whether something other than a directory is at `path`, reached without a symlink.
    pub(crate) fn has_file(&self, path: &EntryPath) -> bool {
        let place = self
            .open_handle(path)
            .ok()
            .and_then(|handle| place_of(handle.as_fd()).ok());
        place.is_some_and(|place| !place.is_directory)
    }

    /// Returns the time before which the filesystem's own times are settled: the kernel's coarse clock, the source of the
    /// times of local filesystems, or somewhat earlier where another machine's clock counts. Fails if fstatfs(2) does.
    pub fn now(&self) -> Result<Time> {
        let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
        let is_remote = self.is_remote().map_err(Error::io("statfs", &self.path))?;
        let slack = if is_remote { REMOTE_SLACK_S } else { 0 };
        Ok(Time {
            seconds: now.tv_sec - slack,
            nanos: now.tv_nsec as u32,
        })
    }

    /// Tells whether the root's disk is this machine's; `false` where fstatfs(2) fails.
    pub(super) fn is_local(&self) -> bool {
        self.is_remote() == Ok(false)
    }

    fn is_remote(&self) -> rustix::io::Result<bool> {
        rustix::fs::fstatfs(&self.handle).map(|found| REMOTE.contains(&(found.f_type as u32)))
    }

    /// Tells whether `mount` is the mount of the root.
    pub(super) fn is_own_mount(&self, mount: u64) -> bool {
        mount == self.mount
    }

    /// Opens an `O_PATH` handle: neither a device nor a FIFO is opened. Fails with [`Error::Changed`] if the path is gone, or
    /// a symlink or mount point is on the way.
    pub(super) fn open_handle(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.open_beneath(path, OFlags::PATH)
    }

    /// Opens a directory for listing. Fails with [`Error::Changed`] if the path is no directory any more.
    pub(super) fn open_directory(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
    }

    /// Opens the inode of `handle` for reading; the caller has seen a regular file. Fails if reading is not permitted.
    pub(super) fn reopen(&self, handle: &OwnedFd, path: &EntryPath) -> Result<File> {
        let number = DecInt::from_fd(handle);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open =
            |flags| rustix::fs::openat(&self.numbers, number.as_c_str(), flags, Mode::empty());
        let opened = match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags), // not its owner
            opened => opened,
        };
        opened
            .map(File::from)
            .map_err(|e| self.failed("open", path, e))
    }

    /// Asks about an open handle. Fails with [`Error::Changed`] if the inode is a socket by now.
    pub(super) fn stat_of(&self, handle: &impl AsFd, path: &EntryPath) -> Result<Stat> {
        let placed = place_of(handle.as_fd()).map_err(|e| self.failed("stat", path, e))?;
        placed
            .stat
            .ok_or_else(|| Error::Changed(self.full_path(path)))
    }

    fn open_beneath(&self, path: &EntryPath, flags: OFlags) -> Result<OwnedFd> {
        self.open_raw(path, flags).map_err(|e| match e {
            Errno::NOSYS => Error::OldKernel {
                what: "openat2",
                since: "5.6",
            },
            e => self.failed("open", path, e),
        })
    }

    /// Opens a path without symlinks and mount points. Fails with the error of openat2(2).
    pub(super) fn open_raw(&self, path: &EntryPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let name = if path.is_root() {
            b".".to_vec()
        } else {
            path.slashed()
        };
        let mut above: Option<OwnedFd> = None;
        let mut rest = name.as_slice();
        // A longer path needs a further call from the handle of a directory on the way.
        while rest.len() >= PATH_MAX {
            let end = rest[..PATH_MAX]
                .iter()
                .rposition(|b| *b == b'/')
                .ok_or(Errno::NAMETOOLONG)?;
            let from = above.as_ref().unwrap_or(&self.handle).as_fd();
            above = Some(open_part(
                from,
                &rest[..end],
                OFlags::PATH | OFlags::DIRECTORY,
            )?);
            rest = &rest[end + 1..];
        }
        open_part(above.as_ref().unwrap_or(&self.handle).as_fd(), rest, flags)
    }

    /// Makes the error of a call on a path that existed a moment ago: a path replaced meanwhile is told apart from
    /// a path that cannot be read.
    pub(super) fn failed(&self, action: &'static str, path: &EntryPath, errno: Errno) -> Error {
        let full = self.full_path(path);
        match errno {
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::AGAIN
            | Errno::STALE => Error::Changed(full),
            errno => Error::io(action, full)(errno),
        }
    }
}

/// Opens a path below an open directory, without symlinks and mount points.
fn open_part(directory: BorrowedFd, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let mut failure = Errno::AGAIN;
    for _ in 0..MOST_OPENS {
        match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
            Err(e @ (Errno::AGAIN | Errno::INTR)) => failure = e,
            opened => return opened,
        }
    }
    Err(failure)
}

/// Returns the path of an open handle in /proc, for calls that take no handle.
pub(super) fn handle_path(handle: &impl AsFd) -> String {
    format!("{NUMBERS}/{}", handle.as_fd().as_raw_fd())
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// Asks about an open handle. Fails with the error of statx(2).
pub(super) fn place_of(handle: BorrowedFd) -> rustix::io::Result<Placed> {
    rustix::fs::statx(
        handle,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
        WANTED,
    )
    .map(placed)
}

/// Asks about a name in an open directory, without following a symlink or mounting. Fails with the error of statx(2), as
/// with `ENOENT` for a name that is gone.
#[inline] // as a call, statx took an eighth longer, once for each name of a root
pub(super) fn place_in(directory: BorrowedFd, name: &std::ffi::CStr) -> rustix::io::Result<Placed> {
    rustix::fs::statx(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        WANTED,
    )
    .map(placed)
}

/// Reads the answer of statx(2); a socket has no stat.
#[inline]
fn placed(statx: Statx) -> Placed {
    let mount = if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID) {
        statx.stx_mnt_id
    } else {
        0
    };
    let kind = kind_of(&statx);
    let stat = kind.map(|kind| Stat {
        kind,
        mode: statx.stx_mode & 0o7777,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        nlink: statx.stx_nlink,
        device: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
        inode: statx.stx_ino,
        size_bytes: statx.stx_size,
        mtime: time_of(statx.stx_mtime),
        ctime: time_of(statx.stx_ctime),
    });
    Placed {
        stat,
        mount,
        is_directory: kind == Some(StatKind::Directory),
    }
}

fn kind_of(statx: &Statx) -> Option<StatKind> {
    let device = Device {
        major: statx.stx_rdev_major,
        minor: statx.stx_rdev_minor,
    };
    match FileType::from_raw_mode(u32::from(statx.stx_mode)) {
        FileType::Directory => Some(StatKind::Directory),
        FileType::RegularFile => Some(StatKind::File),
        FileType::Symlink => Some(StatKind::Symlink),
        FileType::Fifo => Some(StatKind::Fifo),
        FileType::CharacterDevice => Some(StatKind::CharDevice(device)),
        FileType::BlockDevice => Some(StatKind::BlockDevice(device)),
        _ => None,
    }
}

fn time_of(found: StatxTimestamp) -> Time {
    Time {
        seconds: found.tv_sec,
        nanos: found.tv_nsec,
    }
}
