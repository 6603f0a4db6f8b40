//! What lets a file count as unchanged without being read.
//!
//! Pure. A stamp holds the stat data of a path as last seen with what it was costly to find out (content hash,
//! link target, extended attributes). It vouches only if inode, size, mtime and ctime are the same and the stamp
//! was not racy: rpm clamps mtimes and often keeps sizes, so those two are never enough.

use super::digest::ContentHash;
use super::entry::{Device, Xattrs};

/// Stat data of one path (statx fields of the same names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type of the inode.
    pub kind: StatKind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of the inode, inside the root or not.
    pub nlink: u32,
    /// Device that holds it, as major << 32 | minor.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Modification time.
    pub mtime: Time,
    /// Change time.
    pub ctime: Time,
}

/// Type of an inode; sockets are passed over when a root is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StatKind {
    Directory,
    File,
    Symlink,
    Fifo,
    CharDevice(Device),
    BlockDevice(Device),
}

/// A point in time as the kernel gives it (struct statx_timestamp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, rounded down; may be negative.
    pub seconds: i64,
    /// Nanoseconds beyond the second: 0 to 999,999,999.
    pub nanos: u32,
}

/// What stat does not tell about a path. For each type the fields that it does not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// BLAKE3 of a regular file's content.
    pub content: Option<ContentHash>,
    /// Target of a symlink.
    pub target: Box<[u8]>,
    /// Extended attributes that belong to the tree.
    pub xattrs: Xattrs,
}

/// A path as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its stat data then.
    pub mark: Mark,
    /// What was found out then.
    pub facts: Facts,
}

/// What must be the same of a path for its facts to hold still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What facts there were.
    pub kind: MarkKind,
    /// Inode number then.
    pub inode: u64,
    /// Length in bytes then.
    pub size_bytes: u64,
    /// Modification time then.
    pub mtime: Time,
    /// Change time then.
    pub ctime: Time,
    /// Permission bits, owner and group then: seen through another mount or user namespace, they are others without a
    /// new ctime.
    pub owner: (u16, u32, u32),
}

/// The type of an inode, as far as its facts tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A regular file, with a content.
    File,
    /// A symlink, with a target.
    Symlink,
    /// What has neither.
    Other,
}

impl Stamp {
    /// Makes the stamp of a path whose facts were read at or after `scan_start`; `None` where a later write could
    /// leave its times as they are, so that no stamp may vouch for it.
    pub fn new(stat: &Stat, scan_start: Time, facts: &Facts) -> Option<Self> {
        is_settled(stat, scan_start).then(|| Self { mark: Mark::of(stat), facts: facts.clone() })
    }
}

impl Mark {
    fn of(stat: &Stat) -> Self {
        Self {
            kind: MarkKind::of(stat.kind),
            inode: stat.inode,
            size_bytes: stat.size_bytes,
            mtime: stat.mtime,
            ctime: stat.ctime,
            owner: (stat.mode, stat.uid, stat.gid),
        }
    }

    /// Tells whether the facts still hold for a path that now has `stat`.
    pub fn vouches_for(&self, stat: &Stat) -> bool {
        *self == Self::of(stat)
    }
}

impl MarkKind {
    fn of(kind: StatKind) -> Self {
        match kind {
            StatKind::File => Self::File,
            StatKind::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// Tells whether any write after `scan_start` must give the inode another time than it has: its times lie
/// before the tick of the filesystem's clock in which the scan began. Times in the future never are. A time
/// without nanoseconds may come from a filesystem that keeps whole seconds, whose tick is the second.
pub fn is_settled(stat: &Stat, scan_start: Time) -> bool {
    [stat.mtime, stat.ctime].into_iter().all(|time| match time.nanos {
        0 => time.seconds < scan_start.seconds,
        _ => time < scan_start,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time { seconds: 1000, nanos: 500 };

    fn stat(mtime: Time, ctime: Time) -> Stat {
        let kind = StatKind::File;
        Stat { kind, mode: 0o644, uid: 0, gid: 0, nlink: 1, device: 1, inode: 7, size_bytes: 3, mtime, ctime }
    }

    fn at(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    fn stamp(stat: &Stat) -> Option<Stamp> {
        Stamp::new(stat, START, &Facts { content: Some(ContentHash([1; 32])), ..Facts::default() })
    }

    #[test]
    fn a_stamp_vouches_for_the_same_inode_size_and_times() {
        let before = stat(at(10, 1), at(20, 2));
        let stamp = stamp(&before).unwrap();
        assert!(stamp.mark.vouches_for(&before));
        for now in [
            Stat { inode: 8, ..before.clone() },
            Stat { size_bytes: 4, ..before.clone() },
            Stat { mtime: at(10, 2), ..before.clone() },
            Stat { ctime: at(20, 3), ..before.clone() },
            Stat { kind: StatKind::Directory, ..before.clone() },
            Stat { uid: 1, ..before.clone() },
            Stat { mode: 0o4755, ..before.clone() },
        ] {
            assert!(!stamp.mark.vouches_for(&now), "{now:?}");
        }
    }

    #[test]
    fn a_file_written_in_the_tick_of_the_scan_is_not_trusted() {
        assert_eq!(stamp(&stat(at(10, 1), START)), None);
        assert!(stamp(&stat(at(10, 1), at(1000, 499))).is_some());
    }

    #[test]
    fn times_in_the_future_are_never_trusted() {
        assert!(!is_settled(&stat(at(2000, 1), at(20, 1)), START));
        assert!(!is_settled(&stat(at(20, 1), at(2000, 1)), START));
    }

    #[test]
    fn whole_seconds_settle_when_their_second_is_over() {
        assert!(!is_settled(&stat(at(20, 1), at(1000, 0)), START));
        assert!(is_settled(&stat(at(20, 1), at(999, 0)), START));
    }
}
