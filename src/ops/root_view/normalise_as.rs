//! Entries of a directory or of an image as a policy would have recorded them, so that equal trees compare equal.

use crate::error::{Error, Result};
use crate::model::packages::owners::Installed;
use crate::model::policy::normalise::{Context, Seen, Sides, normalise, shown_path};
use crate::model::policy::package_mtimes::{Gathering, Links};
use crate::model::policy::{Policy, Profile, Rules};
use crate::model::stamp::{Facts, Stat, StatKind, Time};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind};
use crate::model::tree::overlay::{Laid, Overlay};
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::build_user::build_user_in;
use crate::ops::root_view::package_files::{GROUP, Lookup, PASSWD, Spool};
use std::collections::HashMap;

/// Normalises what was seen under `policy`. What something is mounted on cannot be seen, and counts as `other` has it.
pub(crate) fn dress(
    seen: &[Seen],
    policy: &Policy,
    rules: &Rules,
    packages: &[Installed],
    spool: &Spool,
    other: Option<&Tree>,
) -> Result<Tree> {
    let path = |text: &str| EntryPath::from_slashed(text.as_bytes()).unwrap_or_default();
    let user = match policy.profile {
        Profile::Plain => None,
        Profile::Mock => {
            let passwd = spool.bytes(seen, &path(PASSWD))?;
            let group = spool.bytes(seen, &path(GROUP))?;
            passwd.and_then(|passwd| build_user_in(&passwd, group.as_deref()))
        }
    };
    let links: Links = seen
        .iter()
        .filter(|seen| seen.stat.kind == StatKind::Symlink)
        .map(|seen| (seen.path.clone(), seen.facts.target.clone()))
        .collect();
    let mut gathering = Gathering::new(&links);
    for files in packages
        .iter()
        .filter_map(|installed| installed.files.as_ref())
    {
        let directories: Vec<&[u8]> = files.directories().collect();
        let all = files
            .files()
            .map(|file| (file.directory, file.name, i64::from(file.mtime_s)));
        gathering.add(&directories, all, |at, mtime_s| {
            let place = seen.binary_search_by(|seen| seen.path.cmp(at));
            place.is_ok_and(|place| seen[place].stat.mtime.seconds == mtime_s)
        });
    }
    let vouched = gathering.finish();
    let home = user.as_ref().and_then(|user| user.home.as_ref());
    let sides = normalise(
        seen.iter().copied(),
        &Context {
            policy,
            rules,
            home,
            vouched: &vouched,
        },
    )?;
    let mut sides = sides
        .into_known()
        .map_err(|path| Error::Changed(shown_path(&path)))?;
    if let Some(other) = other {
        sides.keep_below_mounts(other);
    }
    Ok(united(sides))
}

/// Both sides in one tree; links do not cross them.
pub(crate) fn united(sides: Sides) -> Tree {
    let mut overlay = Overlay::new();
    for side in [sides.stable, sides.volatile] {
        overlay.lay(side.into_entries().into_iter().map(Laid::Entry));
    }
    overlay.into_tree()
}

impl Lookup for [Seen<'_>] {
    fn content(&self, path: &EntryPath) -> Option<crate::model::digest::ContentHash> {
        let at = self.binary_search_by(|seen| seen.path.cmp(path)).ok()?;
        self[at].facts.content
    }

    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>> {
        let from = self.partition_point(|seen| seen.path <= directory);
        let beneath = self[from..]
            .iter()
            .take_while(|seen| seen.path.is_beneath(directory));
        let files = beneath.filter(|seen| seen.path.parent().as_ref() == Some(directory));
        files.map(|seen| seen.path.name().to_vec()).collect()
    }
}

/// A path of an image with all that is known of it.
pub(crate) struct Member {
    path: EntryPath,
    stat: Stat,
    facts: Facts,
}

impl Member {
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen {
            path: &self.path,
            stat: &self.stat,
            facts: &self.facts,
            is_mount: false,
        }
    }
}

/// Entries of an image in the form of what a scan sees: without what `rules` leave out or keep empty.
pub(crate) fn as_seen(entries: Vec<Entry>, rules: &Rules) -> Vec<Member> {
    let mut names: HashMap<Group, u32> = HashMap::new();
    entries
        .iter()
        .filter_map(|entry| entry.group)
        .for_each(|group| *names.entry(group).or_default() += 1);
    let mut left_out: Option<EntryPath> = None;
    let mut all = Vec::with_capacity(entries.len());
    for (place, entry) in entries.into_iter().enumerate() {
        if left_out
            .as_ref()
            .is_some_and(|top| entry.path.is_beneath(top))
        {
            continue;
        }
        if rules.excludes(&entry.path) {
            left_out = Some(entry.path);
            continue;
        }
        let is_hollow = entry.is_directory() && rules.hollows(&entry.path);
        if is_hollow {
            left_out = Some(entry.path.clone());
        }
        all.push(seen(entry, place, &names, is_hollow));
    }
    all
}

fn seen(entry: Entry, place: usize, names: &HashMap<Group, u32>, is_hollow: bool) -> Member {
    let size_bytes = entry.size_bytes();
    let Entry {
        path,
        kind,
        mode,
        uid,
        gid,
        mtime_s,
        xattrs,
        group,
    } = entry;
    let mut facts = Facts {
        xattrs,
        ..Facts::default()
    };
    let kind = match kind {
        Kind::Directory => StatKind::Directory,
        Kind::File { content, .. } => {
            facts.content = Some(content);
            StatKind::File
        }
        Kind::Symlink(target) => {
            facts.target = target;
            StatKind::Symlink
        }
        Kind::Fifo => StatKind::Fifo,
        Kind::CharDevice(device) => StatKind::CharDevice(device),
        Kind::BlockDevice(device) => StatKind::BlockDevice(device),
    };
    let time = Time {
        seconds: mtime_s,
        nanos: 0,
    };
    // An inode with several names has the number of its group; no other has one below that of its place.
    let inode = group.map_or((1 << 32) + place as u64, |Group(number)| u64::from(number));
    let nlink = group
        .and_then(|group| names.get(&group).copied())
        .unwrap_or(1);
    let mut stat = Stat {
        kind,
        mode,
        uid,
        gid,
        nlink,
        device: 0,
        inode,
        size_bytes,
        mtime: time,
        ctime: time,
    };
    if is_hollow {
        // As a scan has it, whatever the directory itself is like.
        (stat.mode, stat.uid, stat.gid, stat.mtime, facts) =
            (0o755, 0, 0, Time::default(), Facts::default());
    }
    Member { path, stat, facts }
}
