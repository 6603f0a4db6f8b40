//! The entries of an image as if found by a scan.

use crate::model::policy::Rules;
use crate::model::policy::normalise::Seen;
use crate::model::stamp::{Facts, Stat, StatKind, Time};
use crate::model::tree::entry::{Entry, Group, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::facts::{NamedRoot, RootFacts};
use std::collections::HashMap;
use std::path::Path;

/// The entries of an image, in path order, as if found by a scan of a disk.
pub(crate) struct Members<'a> {
    members: Vec<Member>,
    shown: &'a Path,
}

struct Member {
    path: EntryPath,
    stat: Stat,
    facts: Facts,
}

impl<'a> Members<'a> {
    /// Takes the entries that a scan under `rules` would find: without excluded paths, and without paths in directories that are
    /// kept empty. Errors call the image `shown`.
    pub(crate) fn new(entries: Vec<Entry>, rules: &Rules, shown: &'a Path) -> Self {
        let mut links: HashMap<Group, u32> = HashMap::new();
        for group in entries.iter().filter_map(|entry| entry.group) {
            *links.entry(group).or_default() += 1;
        }
        let mut left_out: Option<EntryPath> = None;
        let mut members = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            let is_in = |top: &EntryPath| entry.path.is_beneath(top);
            if left_out.as_ref().is_some_and(is_in) {
                continue;
            }
            if rules.excludes(&entry.path) {
                left_out = Some(entry.path);
            } else if entry.is_directory() && rules.keeps_empty(&entry.path) {
                left_out = Some(entry.path.clone());
                members.push(Member::of_kept_empty(entry, place));
            } else {
                let links = entry.group.map_or(1, |group| links[&group]);
                members.push(Member::of(entry, place, links));
            }
        }
        Self { members, shown }
    }
}

impl NamedRoot for Members<'_> {
    fn name(&self) -> &Path {
        self.shown
    }
}

impl RootFacts for Members<'_> {
    fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        self.members.iter().map(|member| Seen {
            path: &member.path,
            stat: &member.stat,
            facts: &member.facts,
            is_mount: false,
        })
    }

    fn mtime_s(&self, path: &EntryPath) -> Option<i64> {
        let at = self
            .members
            .binary_search_by(|member| member.path.cmp(path))
            .ok()?;
        Some(self.members[at].stat.mtime.seconds)
    }
}

impl Member {
    /// Takes the entry at `place` whose inode has `nlink` names.
    fn of(entry: Entry, place: usize, nlink: u32) -> Self {
        let time = Time {
            seconds: entry.mtime_s,
            nanos: 0,
        };
        let stat = Stat {
            kind: stat_kind(&entry.kind),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            nlink,
            device: 0,
            inode: inode(&entry, place),
            size_bytes: entry.size_bytes(),
            mtime: time,
            ctime: time,
        };
        let mut facts = Facts {
            xattrs: entry.xattrs,
            ..Facts::default()
        };
        match entry.kind {
            Kind::File { content, .. } => facts.content = Some(content),
            Kind::Symlink(target) => facts.target = target,
            _ => {}
        }
        Self {
            path: entry.path,
            stat,
            facts,
        }
    }

    /// Takes a directory kept empty, with the fixed metadata of a scan.
    fn of_kept_empty(entry: Entry, place: usize) -> Self {
        let Self { path, stat, .. } = Self::of(entry, place, 1);
        let stat = Stat {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            ..stat
        };
        let facts = Facts::default();
        Self { path, stat, facts }
    }
}

fn stat_kind(kind: &Kind) -> StatKind {
    match kind {
        Kind::Directory => StatKind::Directory,
        Kind::File { .. } => StatKind::File,
        Kind::Symlink(_) => StatKind::Symlink,
        Kind::Fifo => StatKind::Fifo,
        Kind::CharDevice(device) => StatKind::CharDevice(*device),
        Kind::BlockDevice(device) => StatKind::BlockDevice(*device),
    }
}

/// An inode with several names has the number of its group. Any other inode has a number of its own, above all groups.
fn inode(entry: &Entry, place: usize) -> u64 {
    let alone = (1 << 32) + place as u64;
    entry.group.map_or(alone, |Group(number)| u64::from(number))
}
