//! Finds the files that need not be read before their layer is packed.
//!
//! A layer is looked up by a key, which depends on every content. But files of a layer that is sure to be new would be read
//! twice: for the key and for packing. Pure.

use crate::model::policy::{MtimeRule, Policy, Rules};
use crate::model::stamp::{Stat, StatKind, Time, is_settled};
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;

/// The grounds to expect a file in a new layer.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The globs of the policy.
    pub rules: &'a Rules,
    /// The beginning of the scan: files that may have been written since are read before packing, and compared then.
    pub scan_start: Time,
}

impl Expected<'_> {
    /// Returns the places of the stable files that may be deferred. `paths` come in order, each with its place and whether it is
    /// unread, and after the directories above.
    pub(crate) fn candidates<'f>(
        &self,
        paths: impl Iterator<Item = (usize, &'f EntryPath, &'f Stat, bool)>,
    ) -> Vec<usize> {
        let mut volatility = self.rules.volatility();
        let mut may_be_deferred = |path: &EntryPath, stat: &Stat, is_unread: bool| {
            !volatility.holds(path)
                && is_unread
                && stat.kind == StatKind::File
                && is_settled(stat, self.scan_start)
        };
        let deferrable =
            paths.filter(|(_, path, stat, is_unread)| may_be_deferred(path, stat, *is_unread));
        deferrable.map(|(at, ..)| at).collect()
    }

    /// Tells whether a file differs from the recorded entry by stat data alone. A file that differs from the tree below a layer
    /// will be in the layer, with any content.
    pub(crate) fn differs(&self, recorded: Option<&Entry>, stat: &Stat) -> bool {
        recorded.is_none_or(|entry| {
            !matches!(entry.kind, Kind::File { size_bytes, .. } if size_bytes == stat.size_bytes)
                || entry.mode != stat.mode
                || self.has_other_time(entry, stat)
        })
    }

    /// Tells whether the file's time differs from the recorded time under any list of packages.
    fn has_other_time(&self, entry: &Entry, stat: &Stat) -> bool {
        let own = stat.mtime.seconds;
        match self.policy.mtime {
            MtimeRule::Keep => {
                self.policy.epoch_s.map_or(own, |epoch| own.min(epoch)) != entry.mtime_s
            }
            MtimeRule::Package => entry.mtime_s != self.policy.epoch_s() && entry.mtime_s != own,
            MtimeRule::Fixed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{file, path};

    fn stat(size_bytes: u64, mtime_s: i64) -> Stat {
        let mtime = Time {
            seconds: mtime_s,
            nanos: 1,
        };
        let (kind, nlink) = (StatKind::File, 1);
        Stat {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            nlink,
            device: 1,
            inode: 1,
            size_bytes,
            mtime,
            ctime: mtime,
        }
    }

    fn expected<'a>(policy: &'a Policy, rules: &'a Rules) -> Expected<'a> {
        Expected {
            policy,
            rules,
            scan_start: Time {
                seconds: 1_000,
                nanos: 0,
            },
        }
    }

    fn candidates(policy: &Policy) -> Vec<usize> {
        let files = [
            ("a", stat(2, 5)),
            ("now", stat(2, 1_000)),
            ("var/log/x", stat(2, 5)),
        ];
        let files = files.map(|(at, stat)| (path(at), stat));
        let rules = policy.rules("bootstrap").unwrap();
        expected(policy, &rules).candidates(
            files
                .iter()
                .enumerate()
                .map(|(at, (path, stat))| (at, path, stat, true)),
        )
    }

    #[test]
    fn any_file_can_be_read_late_but_what_is_volatile_or_just_written() {
        assert_eq!(candidates(&Policy::mock()), [0]);
        assert_eq!(candidates(&Policy::plain()), [0, 2]);
    }

    /// Tells whether a file of 2 bytes with time 5 differs from what is recorded with these.
    fn differs(policy: &Policy, size_bytes: u64, mtime_s: i64) -> bool {
        let rules = policy.rules("bootstrap").unwrap();
        let recorded = Entry {
            mtime_s,
            ..file("a", size_bytes)
        };
        expected(policy, &rules).differs(Some(&recorded), &stat(2, 5))
    }

    #[test]
    fn another_size_or_kept_time_tells_files_apart() {
        let policy = Policy::plain();
        assert!(!differs(&policy, 2, 5));
        assert!(differs(&policy, 3, 5));
        assert!(differs(&policy, 2, 6));
    }

    #[test]
    fn a_time_that_no_package_gave_tells_nothing_under_the_package_rule() {
        let policy = Policy::mock();
        assert!(differs(&policy, 2, 6));
        assert!(!differs(&policy, 2, policy.epoch_s()));
    }
}
