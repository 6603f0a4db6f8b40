//! Turns the facts of a root into the entries that the policy records.
//!
//! Pure: the same inodes, policy and packages give the same entries on any machine. Paths that no layer can hold are refused.

use crate::error::{Error, Result};
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::policy::package_mtimes::PackageMtimes;
pub(crate) use crate::model::policy::stable_volatile::{Resolved, StableVolatile};
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::stamp::{Facts, Stat, StatKind};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Entry, FileContent, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path of a root with its facts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The path.
    pub path: &'a EntryPath,
    /// The stat data.
    pub stat: &'a Stat,
    /// Content, target and extended attributes.
    pub facts: &'a Facts,
    /// Whether something is mounted on the path, and hides the path.
    pub is_mount: bool,
}

/// The home of the build user, and the owner of the home in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory.
    pub path: EntryPath,
    /// The number of the owner.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
}

/// The grounds of the entries beside the facts.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The declared policy.
    pub policy: &'a Policy,
    /// The globs of the policy.
    pub rules: &'a Rules,
    /// The build user's home, where the root has one.
    pub home: Option<&'a Home>,
    /// The times that packages account for.
    pub vouched: &'a PackageMtimes,
}

/// Turns `seen`, in path order, into the entries of both sides. Names of one inode that lie on both sides become
/// two groups, since links never cross layers.
///
/// Fails with [`Error::ReservedName`] at a name that begins with `.wh.`, with [`Error::WhiteoutDevice`] at a character device 0/0,
/// and with [`Error::Unpackable`] at the first path past the limit of a tree's names and attributes.
pub(crate) fn normalise<'a>(
    seen: impl ExactSizeIterator<Item = Seen<'a>>,
    context: &Context,
) -> Result<StableVolatile<FileContent>> {
    let mut groups = Groups::default();
    let (mut stable, mut volatile) = (Vec::with_capacity(seen.len()), Vec::new());
    let mut mounts = Vec::new();
    let mut volatility = context.rules.volatility();
    let build = context.build_directory();
    let mut memory_bytes = 0_usize;
    for seen in seen {
        let path = seen.path;
        if build
            .as_ref()
            .is_some_and(|build| path == build || path.is_beneath(build))
        {
            continue;
        }
        refuse_unrecordable(path, seen.stat)?;
        let entry = entry_of(&seen, groups.of(seen.stat), context);
        memory_bytes = memory_bytes.saturating_add(entry.memory_bytes());
        refuse_too_many(path, memory_bytes)?;
        if volatility.holds(path) {
            volatile.push(entry);
            continue;
        }
        stable.push(entry);
        if seen.is_mount {
            mounts.push(path.clone());
        }
    }
    unify_groups(&mut stable);
    unify_groups(&mut volatile);
    Ok(StableVolatile {
        stable: Tree::new(stable),
        volatile: Tree::new(volatile),
        mounts,
    })
}

impl Context<'_> {
    /// Returns the directory of the build in the build user's home; `None` where the policy records the directory.
    fn build_directory(&self) -> Option<EntryPath> {
        let home = self.home.filter(|_| self.rules.leaves_build());
        home.map(|home| home.path.join(b"build"))
    }
}

/// Gives all names of an inode the owner and time of the first name: a policy goes by path, but an inode has one owner and one
/// time. `entries` are in path order.
fn unify_groups<C>(entries: &mut [Entry<C>]) {
    let mut of_group: HashMap<Group, (u32, u32, i64)> = HashMap::new();
    for entry in entries {
        if let Some(group) = entry.group {
            let first = *of_group
                .entry(group)
                .or_insert((entry.uid, entry.gid, entry.mtime_s));
            (entry.uid, entry.gid, entry.mtime_s) = first;
        }
    }
}

fn refuse_unrecordable(path: &EntryPath, stat: &Stat) -> Result<()> {
    if path.name().starts_with(b".wh.") {
        return Err(Error::ReservedName(shown_path(path)));
    }
    match stat.kind {
        StatKind::CharDevice(Device { major: 0, minor: 0 }) => {
            Err(Error::WhiteoutDevice(shown_path(path)))
        }
        _ => Ok(()),
    }
}

/// Refuses a tree whose entries up to `path` need so many bytes of memory.
fn refuse_too_many(path: &EntryPath, memory_bytes: usize) -> Result<()> {
    if memory_bytes <= LARGEST_ENTRIES_BYTES {
        return Ok(());
    }
    Err(Error::Unpackable {
        path: shown_path(path),
        reason: "what comes before has all the names and attributes that a tree may have",
    })
}

fn entry_of(seen: &Seen, group: Option<Group>, context: &Context) -> Entry<FileContent> {
    let Seen {
        path, stat, facts, ..
    } = *seen;
    let profile = context.policy.profile;
    let mut entry = Entry {
        path: path.clone(),
        kind: kind_of(stat, facts),
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime_s: mtime_of(path, stat, context),
        xattrs: recorded_xattrs(facts.xattrs.clone(), profile),
        group,
    };
    if stat.kind == StatKind::Symlink {
        entry.mode = 0o777;
    }
    if let Some(home) = context.home
        && (*path == home.path || path.is_beneath(&home.path))
    {
        entry.uid = home.uid;
        entry.gid = home.gid;
    }
    if path.is_root() && profile == Profile::Mock {
        // The directory of a chroot is as somebody made the directory: setgid from the directory above or not.
        entry.mode = 0o755;
        entry.uid = 0;
        entry.gid = 0;
        entry.xattrs = Xattrs::default();
    }
    entry
}

fn kind_of(stat: &Stat, facts: &Facts) -> Kind<FileContent> {
    match stat.kind {
        StatKind::Directory => Kind::Directory,
        StatKind::File => Kind::File {
            size_bytes: stat.size_bytes,
            content: facts
                .content
                .map_or(FileContent::Pending, FileContent::Known),
        },
        StatKind::Symlink => Kind::Symlink(facts.target.clone()),
        StatKind::Fifo => Kind::Fifo,
        StatKind::CharDevice(device) => Kind::CharDevice(device),
        StatKind::BlockDevice(device) => Kind::BlockDevice(device),
    }
}

/// Leaves out the attributes that are no part of the tree under this profile.
pub(crate) fn recorded_xattrs(xattrs: Xattrs, profile: Profile) -> Xattrs {
    xattrs.without(|name| profile.is_cache_xattr(name))
}

fn mtime_of(path: &EntryPath, stat: &Stat, context: &Context) -> i64 {
    let own = stat.mtime.seconds;
    let keeps = match context.policy.mtime {
        MtimeRule::Keep => return context.policy.epoch_s.map_or(own, |epoch| own.min(epoch)),
        MtimeRule::Package if context.vouched.are_known() => {
            stat.kind != StatKind::Directory && context.vouched.vouches_for(path, own)
        }
        MtimeRule::Package | MtimeRule::Fixed => {
            stat.kind == StatKind::File && path.name().ends_with(b".py")
        }
    };
    if keeps { own } else { context.policy.epoch_s() }
}

/// Numbers the inodes with several names.
#[derive(Default)]
struct Groups(HashMap<(u64, u64), u32>);

impl Groups {
    fn of(&mut self, stat: &Stat) -> Option<Group> {
        if stat.nlink < 2 || stat.kind == StatKind::Directory {
            return None;
        }
        let next = self.0.len() as u32;
        Some(Group(
            *self.0.entry((stat.device, stat.inode)).or_insert(next),
        ))
    }
}

/// Returns the path for errors: absolute inside the root.
pub(crate) fn shown_path(path: &EntryPath) -> PathBuf {
    let mut bytes = vec![b'/'];
    bytes.extend_from_slice(&path.slashed());
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests;
