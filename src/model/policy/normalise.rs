//! From what was seen in a root to the entries that its policy records.
//!
//! Pure: the same inodes, policy and packages give the same entries on any machine. Refuses what no layer can
//! hold, with the path.

use crate::error::{Error, Result};
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::policy::package_mtimes::PackageMtimes;
pub use crate::model::policy::stable_volatile::{Resolved, StableVolatile};
use crate::model::policy::{MtimeRule, Policy, Profile, Rules};
use crate::model::stamp::{Facts, Stat, StatKind};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Entry, FileContent, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path of a root with all that was found out about it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where it is.
    pub path: &'a EntryPath,
    /// Its stat data.
    pub stat: &'a Stat,
    /// The rest.
    pub facts: &'a Facts,
    /// Whether something is mounted on it, so that what it holds cannot be seen.
    pub is_mount: bool,
}

/// The home of the build user, and who owns it in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory.
    pub path: EntryPath,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
}

/// What the entries depend on beyond what was seen.
#[derive(Debug)]
pub struct Context<'a> {
    /// The declared policy.
    pub policy: &'a Policy,
    /// Its globs.
    pub rules: &'a Rules,
    /// The build user's home, where the root has one.
    pub home: Option<&'a Home>,
    /// The times that packages account for.
    pub vouched: &'a PackageMtimes,
}

/// Turns `seen`, in path order, into the entries of both sides. Names of one inode that lie on both sides become
/// two groups, since links never cross layers.
pub(crate) fn normalise<'a>(
    seen: impl ExactSizeIterator<Item = Seen<'a>>,
    context: &Context,
) -> Result<StableVolatile<FileContent>> {
    let mut groups = Groups::default();
    let (mut stable, mut volatile) = (Vec::with_capacity(seen.len()), Vec::new());
    let mut mounts = Vec::new();
    let mut volatility = context.rules.volatility();
    let home = context.home.filter(|_| context.rules.leaves_build());
    let build = home.map(|home| home.path.join(b"build"));
    let mut memory_bytes = 0_usize;
    for Seen {
        path,
        stat,
        facts,
        is_mount,
    } in seen
    {
        if build
            .as_ref()
            .is_some_and(|build| path == build || path.is_beneath(build))
        {
            continue;
        }
        refuse_unrecordable(path, stat)?;
        let is_volatile = volatility.holds(path);
        if is_mount && !is_volatile {
            mounts.push(path.clone());
        }
        let mut entry = entry_of(path, stat, facts, groups.of(stat), context);
        if path.is_root() && context.policy.profile == Profile::Mock {
            // A chroot's own root is as the directory was made, setgid from the one above or not.
            entry = Entry {
                mode: 0o755,
                uid: 0,
                gid: 0,
                xattrs: Xattrs::default(),
                ..entry
            };
        }
        memory_bytes = memory_bytes.saturating_add(entry.memory_bytes());
        if memory_bytes > LARGEST_ENTRIES_BYTES {
            let reason = "what comes before has all the names and attributes that a tree may have";
            return Err(Error::Unpackable {
                path: shown_path(path),
                reason,
            });
        }
        if is_volatile {
            &mut volatile
        } else {
            &mut stable
        }
        .push(entry);
    }
    unify_groups(&mut stable);
    unify_groups(&mut volatile);
    Ok(StableVolatile {
        stable: Tree::new(stable),
        volatile: Tree::new(volatile),
        mounts,
    })
}

/// Gives all names of an inode the owner and time that the first one has: what a policy says of paths, an inode cannot
/// have twice. `entries` are in path order.
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

fn entry_of(
    path: &EntryPath,
    stat: &Stat,
    facts: &Facts,
    group: Option<Group>,
    context: &Context,
) -> Entry<FileContent> {
    let kind = match stat.kind {
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
    };
    let at_home = context
        .home
        .filter(|home| *path == home.path || path.is_beneath(&home.path));
    let mtime_s = mtime_of(path, stat, context);
    Entry {
        mode: if stat.kind == StatKind::Symlink {
            0o777
        } else {
            stat.mode
        },
        uid: at_home.map_or(stat.uid, |home| home.uid),
        gid: at_home.map_or(stat.gid, |home| home.gid),
        mtime_s,
        xattrs: recorded_xattrs(facts.xattrs.clone(), context.policy.profile),
        group,
        kind,
        path: path.clone(),
    }
}

/// Leaves out what is no part of the tree under this profile.
pub(crate) fn recorded_xattrs(xattrs: Xattrs, profile: Profile) -> Xattrs {
    xattrs.without(|name| profile.is_cache_xattr(name))
}

fn mtime_of(path: &EntryPath, stat: &Stat, context: &Context) -> i64 {
    let own = stat.mtime.seconds;
    let keeps = match context.policy.mtime {
        MtimeRule::Keep => return context.policy.epoch_s.map_or(own, |epoch| own.min(epoch)),
        MtimeRule::Package => {
            stat.kind != StatKind::Directory && context.vouched.vouches_for(path, own)
        }
        MtimeRule::Fixed => stat.kind == StatKind::File && path.name().ends_with(b".py"),
    };
    if keeps { own } else { context.policy.epoch_s() }
}

/// Numbers the inodes that have more than one name.
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

/// Returns the path as an error shows it: absolute inside the root.
pub(crate) fn shown_path(path: &EntryPath) -> PathBuf {
    let mut bytes = vec![b'/'];
    bytes.extend_from_slice(&path.slashed());
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests;
