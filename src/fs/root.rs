//! A handle on a root directory, and the one way to open something below it.
//!
//! Invariants: nothing outside the root and nothing beyond a mount point is opened; nothing is opened for reading
//! before it is known to be a regular file or a directory; access times are left alone where the kernel lets us.

use crate::error::{Error, Result};
use crate::model::stamp::{Stat, StatKind, Time};
use crate::model::tree::entry::Device;
use crate::model::tree::path::EntryPath;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::time::ClockId;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Filesystems whose times come from another machine's clock (statfs(2), `f_type`), and how far that may be off.
const REMOTE: &[u32] = &[
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x0116_1970,
];
const REMOTE_SLACK_S: i64 = 60;

/// The longest path that a system call takes, with the NUL at its end (limits.h).
const PATH_MAX: usize = 4096;

const NUMBERS: &str = "/proc/self/fd";

/// How often `openat2` is asked again when a rename elsewhere kept it from telling (openat2(2), `EAGAIN`).
const MOST_OPENS: usize = 64;

/// An open root directory.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    handle: OwnedFd,
    mount: u64,
    /// Where this process finds its open files by their numbers (proc_pid_fd(5)).
    numbers: OwnedFd,
    /// Bytes of holes that were read so far.
    pub(super) hole_bytes: AtomicU64,
}

/// Stat data with the mount that it was found on (statx `stx_mnt_id`).
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) stat: Option<Stat>,
    pub(super) mount: u64,
    pub(super) is_directory: bool,
}

impl Root {
    /// Opens a directory that the caller chose; symlinks on the way to it are followed.
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
    pub fn has_file(&self, path: &EntryPath) -> bool {
        let place = self
            .open_handle(path)
            .ok()
            .and_then(|handle| place_of(handle.as_fd()).ok());
        place.is_some_and(|place| !place.is_directory)
    }

    /// Returns the time before which the filesystem's own times are settled: the kernel's coarse clock, from
    /// which local filesystems take theirs, or somewhat earlier where another machine's clock counts.
    pub fn now(&self) -> Result<Time> {
        let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
        let is_remote = self.is_remote().map_err(Error::io("statfs", &self.path))?;
        let slack = if is_remote { REMOTE_SLACK_S } else { 0 };
        Ok(Time {
            seconds: now.tv_sec - slack,
            nanos: now.tv_nsec as u32,
        })
    }

    /// Tells whether the kernel writes to the root's disk by itself; where that is not known, another does.
    pub(super) fn is_local(&self) -> bool {
        self.is_remote() == Ok(false)
    }

    fn is_remote(&self) -> rustix::io::Result<bool> {
        rustix::fs::fstatfs(&self.handle).map(|found| REMOTE.contains(&(found.f_type as u32)))
    }

    /// Tells whether `mount` is the one that the root is on.
    pub(super) fn is_own_mount(&self, mount: u64) -> bool {
        mount == self.mount
    }

    /// Opens a handle that can be asked about and reopened, but does not open what it names.
    pub(super) fn open_handle(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.open_beneath(path, OFlags::PATH)
    }

    /// Opens a directory for listing.
    pub(super) fn open_directory(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
    }

    /// Opens for reading what `handle` names, which the caller has seen to be a regular file.
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

    fn open_beneath(&self, path: &EntryPath, flags: OFlags) -> Result<OwnedFd> {
        self.open_raw(path, flags).map_err(|e| match e {
            Errno::NOSYS => Error::OldKernel {
                what: "openat2",
                since: "5.6",
            },
            e => self.failed("open", path, e),
        })
    }

    /// Opens a path that no link and no mount point is part of.
    pub(super) fn open_raw(&self, path: &EntryPath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let name = if path.is_root() {
            b".".to_vec()
        } else {
            path.slashed()
        };
        let mut above: Option<OwnedFd> = None;
        let mut rest = name.as_slice();
        // A system call takes no longer path, but one more from the handle of a directory on the way.
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

    /// Makes the error of a call on a path that was there a moment ago: what it says when someone replaced it
    /// meanwhile is told apart from what it says when it cannot be read.
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

/// Opens what no link and no mount point leads to, below an open directory.
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

/// Returns the path by which an open handle can be named to calls that take none.
pub(super) fn handle_path(handle: &impl AsFd) -> String {
    format!("{NUMBERS}/{}", handle.as_fd().as_raw_fd())
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// Asks about an open handle.
pub(super) fn place_of(handle: BorrowedFd) -> rustix::io::Result<Placed> {
    rustix::fs::statx(
        handle,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
        WANTED,
    )
    .map(placed)
}

/// Asks about a name in an open directory; a link is not followed and nothing is mounted for it.
pub(super) fn place_in(directory: BorrowedFd, name: &std::ffi::CStr) -> rustix::io::Result<Placed> {
    rustix::fs::statx(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        WANTED,
    )
    .map(placed)
}

/// A socket has no stat: it is passed over.
fn placed(statx: Statx) -> Placed {
    let mount = if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID) {
        statx.stx_mnt_id
    } else {
        0
    };
    let device = Device {
        major: statx.stx_rdev_major,
        minor: statx.stx_rdev_minor,
    };
    let kind = match rustix::fs::FileType::from_raw_mode(u32::from(statx.stx_mode)) {
        rustix::fs::FileType::Directory => Some(StatKind::Directory),
        rustix::fs::FileType::RegularFile => Some(StatKind::File),
        rustix::fs::FileType::Symlink => Some(StatKind::Symlink),
        rustix::fs::FileType::Fifo => Some(StatKind::Fifo),
        rustix::fs::FileType::CharacterDevice => Some(StatKind::CharDevice(device)),
        rustix::fs::FileType::BlockDevice => Some(StatKind::BlockDevice(device)),
        _ => None,
    };
    let time = |t: rustix::fs::StatxTimestamp| Time {
        seconds: t.tv_sec,
        nanos: t.tv_nsec,
    };
    let stat = kind.map(|kind| Stat {
        kind,
        mode: statx.stx_mode & 0o7777,
        uid: statx.stx_uid,
        gid: statx.stx_gid,
        nlink: statx.stx_nlink,
        device: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
        inode: statx.stx_ino,
        size_bytes: statx.stx_size,
        mtime: time(statx.stx_mtime),
        ctime: time(statx.stx_ctime),
    });
    Placed {
        stat,
        mount,
        is_directory: kind == Some(StatKind::Directory),
    }
}
