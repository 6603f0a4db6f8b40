//! What lets a file count as unchanged without being read.
//!
//! Pure. A stamp holds the stat data of a path as last seen with what it was costly to find out (content hash,
//! link target, extended attributes). It vouches only if inode, size, mtime and ctime are the same and the stamp
//! was not racy: rpm clamps mtimes and often keeps sizes, so those two are never enough.

use crate::model::digest::ContentHash;
use crate::model::tree::entry::{Device, Xattrs};

/// Stat data of one path (statx fields of the same names).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
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
pub(crate) enum StatKind {
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
pub(crate) struct Stamp {
    /// Its stat data then.
    pub mark: Mark,
    /// What was found out then.
    pub facts: Facts,
}

/// What must be the same of a path for its facts to hold still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
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
pub(crate) enum MarkKind {
    /// A regular file, with a content.
    File,
    /// A symlink, with a target.
    Symlink,
    /// What has neither.
    Other,
}

impl Stamp {
    /// Makes the stamp of a path whose facts were read at or after `scan_start`; `None` where a later write could
    /// leave its times as they are, so no stamp may vouch for it.
    pub(crate) fn new(stat: &Stat, scan_start: Time, facts: &Facts) -> Option<Self> {
        is_settled(stat, scan_start).then(|| Self {
            mark: Mark::of(stat),
            facts: facts.clone(),
        })
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
    pub(crate) fn vouches_for(&self, stat: &Stat) -> bool {
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

/// Which stamps of a root hold although the machine may have lost its power since they were made: those of this boot, and those
/// of what was on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lasting {
    /// The machine has not been booted since.
    pub is_this_boot: bool,
    /// What has not changed since this time of the filesystem's clock is on the disk; `None` where nobody knows.
    pub durable_until: Option<Time>,
}

/// What was written longer ago than this, the kernel has sent to the disk by itself (proc_sys_vm(5),
/// `dirty_expire_centisecs`, is 30 seconds), so a sync finds little to do.
const WRITTEN_BACK_S: i64 = 60;

impl Lasting {
    /// Tells whether a stamp with this ctime holds still.
    pub fn holds(&self, ctime: Time) -> bool {
        self.is_this_boot || self.is_durable(ctime)
    }

    /// Tells whether what has this ctime is on the disk.
    pub(crate) fn is_durable(&self, ctime: Time) -> bool {
        self.durable_until
            .is_some_and(|until| is_before_tick(ctime, until))
    }

    /// Tells whether the root's filesystem is to be synced at `now`, if the youngest ctime in it is `youngest`: something is not
    /// known to be on the disk, and has probably come there.
    pub(crate) fn wants_sync(&self, youngest: Time, now: Time) -> bool {
        !self.is_durable(youngest) && youngest.seconds < now.seconds - WRITTEN_BACK_S
    }
}

/// Tells whether any write after `scan_start` must give the inode another time than it has: its times lie
/// before the tick of the filesystem's clock in which the scan began. Times in the future never are. A time
/// without nanoseconds may come from a filesystem that keeps whole seconds, whose tick is the second.
pub(crate) fn is_settled(stat: &Stat, scan_start: Time) -> bool {
    [stat.mtime, stat.ctime]
        .into_iter()
        .all(|time| is_before_tick(time, scan_start))
}

fn is_before_tick(time: Time, start: Time) -> bool {
    match time.nanos {
        0 => time.seconds < start.seconds,
        _ => time < start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time {
        seconds: 1000,
        nanos: 500,
    };

    fn stat(mtime: Time, ctime: Time) -> Stat {
        let kind = StatKind::File;
        Stat {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            nlink: 1,
            device: 1,
            inode: 7,
            size_bytes: 3,
            mtime,
            ctime,
        }
    }

    fn at(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    fn stamp(stat: &Stat) -> Option<Stamp> {
        Stamp::new(
            stat,
            START,
            &Facts {
                content: Some(ContentHash([1; 32])),
                ..Facts::default()
            },
        )
    }

    #[test]
    fn a_stamp_vouches_for_the_same_inode_size_and_times() {
        let before = stat(at(10, 1), at(20, 2));
        let stamp = stamp(&before).unwrap();
        assert!(stamp.mark.vouches_for(&before));
        for now in [
            Stat {
                inode: 8,
                ..before.clone()
            },
            Stat {
                size_bytes: 4,
                ..before.clone()
            },
            Stat {
                mtime: at(10, 2),
                ..before.clone()
            },
            Stat {
                ctime: at(20, 3),
                ..before.clone()
            },
            Stat {
                kind: StatKind::Directory,
                ..before.clone()
            },
            Stat {
                uid: 1,
                ..before.clone()
            },
            Stat {
                mode: 0o4755,
                ..before.clone()
            },
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
    fn in_another_boot_a_stamp_holds_only_for_what_was_on_the_disk() {
        let (this_boot, until) = (
            Lasting {
                is_this_boot: true,
                durable_until: None,
            },
            Some(START),
        );
        let covered = Lasting {
            is_this_boot: false,
            durable_until: until,
        };
        for (ctime, is_covered) in [
            (at(1000, 499), true),
            (START, false),
            (at(1000, 501), false),
            (at(1000, 0), false),
            (at(999, 0), true),
        ] {
            assert!(this_boot.holds(ctime) && !Lasting::default().holds(ctime));
            assert_eq!(covered.holds(ctime), is_covered, "{ctime:?}");
        }
    }

    #[test]
    fn a_sync_is_wanted_once_and_when_the_kernel_has_written_by_itself() {
        let none = Lasting {
            is_this_boot: true,
            durable_until: None,
        };
        assert!(!none.wants_sync(at(999, 0), START) && !none.wants_sync(at(940, 1), START));
        assert!(none.wants_sync(at(939, 1), START));
        let synced = Lasting {
            durable_until: Some(at(950, 0)),
            ..none
        };
        assert!(!synced.wants_sync(at(939, 1), START));
        assert!(
            Lasting {
                durable_until: Some(at(900, 0)),
                ..none
            }
            .wants_sync(at(939, 1), START)
        );
    }

    #[test]
    fn whole_seconds_settle_when_their_second_is_over() {
        assert!(!is_settled(&stat(at(20, 1), at(1000, 0)), START));
        assert!(is_settled(&stat(at(20, 1), at(999, 0)), START));
    }
}
