//! Which files need not be read before their layer is packed.
//!
//! A layer is looked up by its key, and that needs every content. But where it is sure to be new, hashing its files
//! first would be to read them twice. Pure.

use super::entry::{Entry, Kind};
use super::path::EntryPath;
use super::policy::{MtimeRule, Policy, Rules};
use super::stamp::{Stat, StatKind, Time, is_settled};
use super::tree::Tree;

/// What tells whether a file is sure to be in a new layer.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Its globs.
    pub rules: &'a Rules,
    /// When the scan began: what may have been written since is read before it is packed, and compared then.
    pub scan_start: Time,
    /// What the new layer is laid over.
    pub below: Option<&'a Tree>,
}

impl Expected<'_> {
    /// Returns the places of the stable files that will be in a layer whatever they hold. `paths` are all that were found,
    /// in order, each with whether nobody has read it.
    pub fn sure_to_be_packed<'f>(
        &self,
        paths: impl Iterator<Item = (&'f EntryPath, &'f Stat, bool)>,
    ) -> Vec<usize> {
        let mut volatility = self.rules.volatility();
        let mut is_sure = |path: &EntryPath, stat: &Stat, is_unread: bool| {
            !volatility.holds(path)
                && is_unread
                && stat.kind == StatKind::File
                && is_settled(stat, self.scan_start)
                && self.differs(self.below_at(path), stat)
        };
        let sure = paths.enumerate().filter(|(_, (path, stat, is_unread))| is_sure(path, stat, *is_unread));
        sure.map(|(at, _)| at).collect()
    }

    /// Tells whether what stat says is enough to tell a file from what is recorded.
    pub fn differs(&self, recorded: Option<&Entry>, stat: &Stat) -> bool {
        recorded.is_none_or(|entry| {
            !matches!(entry.kind, Kind::File { size_bytes, .. } if size_bytes == stat.size_bytes)
                || entry.mode != stat.mode
                || self.has_other_time(entry, stat)
        })
    }

    fn below_at(&self, path: &EntryPath) -> Option<&Entry> {
        self.below.and_then(|tree| tree.position(path).map(|at| &tree.entries()[at]))
    }

    /// Tells whether the file's time is another under any list of packages.
    fn has_other_time(&self, entry: &Entry, stat: &Stat) -> bool {
        let own = stat.mtime.seconds;
        match self.policy.mtime {
            MtimeRule::Keep => self.policy.epoch_s.map_or(own, |epoch| own.min(epoch)) != entry.mtime_s,
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
        let mtime = Time { seconds: mtime_s, nanos: 1 };
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

    fn tree(files: &[(&str, u64, i64)]) -> Tree {
        let entry = |(at, size, mtime_s): &(&str, u64, i64)| Entry { mtime_s: *mtime_s, ..file(at, *size) };
        Tree::new(files.iter().map(entry).collect())
    }

    fn sure(policy: &Policy, below: Option<&Tree>, files: &[(&str, u64, i64)]) -> Vec<usize> {
        let rules = policy.rules("bootstrap").unwrap();
        let scan_start = Time { seconds: 1_000, nanos: 0 };
        let found: Vec<_> = files.iter().map(|(at, size, mtime)| (path(at), stat(*size, *mtime))).collect();
        let files = found.iter().map(|(path, stat)| (path, stat, true));
        Expected { policy, rules: &rules, scan_start, below }.sure_to_be_packed(files)
    }

    #[test]
    fn all_of_a_first_tree_is_sure_but_what_is_volatile_or_just_written() {
        let files = [("a", 2, 5), ("now", 2, 1_000), ("var/log/x", 2, 5)];
        assert_eq!(sure(&Policy::mock(), None, &files), [0]);
        assert_eq!(sure(&Policy::plain(), None, &files), [0, 2]);
    }

    #[test]
    fn what_may_be_as_it_was_is_not_sure() {
        let below = tree(&[("later", 2, 5), ("longer", 2, 5), ("same", 2, 5)]);
        let files = [("later", 2, 6), ("longer", 3, 5), ("same", 2, 5), ("z", 2, 5)];
        assert_eq!(sure(&Policy::plain(), Some(&below), &files), [0, 1, 3]);
    }

    #[test]
    fn a_time_that_no_package_gave_tells_nothing_under_the_package_rule() {
        let policy = Policy::mock();
        let below = tree(&[("generated", 2, policy.epoch_s()), ("packaged", 2, 5)]);
        assert_eq!(sure(&policy, Some(&below), &[("generated", 2, 7), ("packaged", 2, 7)]), [1]);
    }
}
