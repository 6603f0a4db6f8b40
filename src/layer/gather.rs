//! Gathers the members of a layer into entries and whiteouts, under the rules of image-spec, layer.md.

use crate::model::digest::ContentHash;
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LONGEST_PATH_BYTES, NAME_BYTES};
use crate::model::policy::keeps_xattr;
use crate::model::tree::entry::{Device, Entry, Group, Kind, Xattrs};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::tarball::read::{Found, FoundKind};
use std::collections::{BTreeMap, BTreeSet};
use std::result;

/// The reason for refusing a member.
type Refusal = &'static str;

/// The content of a layer.
#[derive(Debug, Default)]
pub struct LayerItems {
    /// Entries and whiteouts in path order.
    pub items: Vec<LayerItem>,
    /// Names that link to a file of a layer below, with the name of the file.
    pub links_below: Vec<(EntryPath, EntryPath)>,
    /// Whether the members are in native order: path order, each once, links to the first name of the inode.
    pub is_in_order: bool,
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Names that aufs used internally.
const OF_AUFS: &[u8] = b".wh..wh.";

/// Tells whether a member is a whiteout.
pub(super) fn is_whiteout(path: &EntryPath) -> bool {
    path.name().starts_with(WHITEOUT)
}

/// The members so far.
#[derive(Default)]
pub(super) struct Gathering {
    entries: BTreeMap<EntryPath, Entry>,
    whiteouts: BTreeSet<EntryPath>,
    opaque: BTreeSet<EntryPath>,
    links_below: BTreeMap<EntryPath, EntryPath>,
    groups: u32,
    /// The first name of each group, with the content.
    firsts: BTreeMap<Group, EntryPath>,
    /// The path of the last member, or the path that a whiteout removes.
    last: Option<EntryPath>,
    is_out_of_order: bool,
    memory_bytes: usize,
    /// The limit of `memory_bytes`.
    most_bytes: usize,
}

impl Gathering {
    /// Begins without members, with the limit of memory.
    pub(super) fn new() -> Self {
        Self {
            most_bytes: LARGEST_ENTRIES_BYTES,
            ..Self::default()
        }
    }

    /// Adds a member. Fails with the reason for a refusal.
    pub(super) fn add(
        &mut self,
        path: EntryPath,
        found: &Found,
        content: Option<ContentHash>,
    ) -> result::Result<(), Refusal> {
        let target_bytes = target_bytes(&found.kind);
        if is_too_long(&path) || target_bytes > LONGEST_PATH_BYTES {
            return Err("is too long");
        }
        if path.is_root() && found.kind != FoundKind::Directory {
            return Err("is the root, but no directory");
        }
        let name_bytes = NAME_BYTES + path.key().len() + target_bytes;
        if is_whiteout(&path) {
            self.weigh(name_bytes)?;
            return self.add_whiteout(&path);
        }
        self.follow(&path);
        let Some(entry) = self.entry(path, found, content)? else {
            return self.weigh(name_bytes);
        };
        self.weigh(entry.memory_bytes())?;
        if !entry.is_directory() {
            self.remove_beneath(&entry.path);
        }
        self.links_below.remove(&entry.path);
        self.entries.insert(entry.path.clone(), entry);
        Ok(())
    }

    fn follow(&mut self, path: &EntryPath) {
        self.is_out_of_order |= self.last.as_ref().is_some_and(|last| last >= path);
        self.last = Some(path.clone());
    }

    fn weigh(&mut self, bytes: usize) -> result::Result<(), Refusal> {
        self.memory_bytes += bytes;
        if self.memory_bytes > self.most_bytes {
            Err("is one more than any root has")
        } else {
            Ok(())
        }
    }

    fn add_whiteout(&mut self, path: &EntryPath) -> result::Result<(), Refusal> {
        let parent = path.parent().unwrap_or_default();
        match path.name() {
            OPAQUE => drop(self.opaque.insert(parent)),
            name if name.starts_with(OF_AUFS) => self.is_out_of_order = true,
            name => match &name[WHITEOUT.len()..] {
                b"" | b"." | b".." => return Err("is a whiteout of nothing"),
                name => {
                    let path = parent.join(name);
                    self.follow(&path);
                    self.whiteouts.insert(path);
                }
            },
        }
        Ok(())
    }

    /// `None` for a link to a layer below.
    fn entry(
        &mut self,
        path: EntryPath,
        found: &Found,
        content: Option<ContentHash>,
    ) -> result::Result<Option<Entry>, Refusal> {
        if let FoundKind::Link(target) = &found.kind {
            return self.link(path, target);
        }
        let kind = kind_of(&found.kind, content)?;
        let is_link = matches!(kind, Kind::Symlink(_));
        let xattrs = found.xattrs.iter().filter(|(name, _)| keeps_xattr(name));
        let xattrs = xattrs.map(|(name, value)| (name.as_slice().into(), value.as_slice().into()));
        Ok(Some(Entry {
            mode: if is_link { 0o777 } else { found.mode },
            uid: found.uid,
            gid: found.gid,
            mtime_s: found.mtime_s,
            xattrs: Xattrs::new(xattrs.collect()),
            group: None,
            kind,
            path,
        }))
    }

    /// A link shares the inode of an earlier name.
    fn link(&mut self, path: EntryPath, target: &[u8]) -> result::Result<Option<Entry>, Refusal> {
        let target =
            EntryPath::from_slashed(target).ok_or("is a link that leads out of the root")?;
        if target == path {
            return Err("is a link to itself");
        }
        let Some(inode) = self.entries.get_mut(&target) else {
            self.remove_beneath(&path);
            self.entries.remove(&path);
            self.links_below.insert(path, target);
            return Ok(None);
        };
        if inode.is_directory() {
            return Err("is a link to a directory");
        }
        self.is_out_of_order |= inode
            .group
            .is_some_and(|group| self.firsts.get(&group) != Some(&target));
        let group = *inode.group.get_or_insert_with(|| {
            self.groups += 1;
            Group(self.groups - 1)
        });
        self.firsts.entry(group).or_insert(target);
        Ok(Some(Entry {
            path,
            group: Some(group),
            ..inode.clone()
        }))
    }

    fn remove_beneath(&mut self, path: &EntryPath) {
        let beneath = self
            .entries
            .range(path.clone()..)
            .skip_while(|(at, _)| *at == path);
        let beneath: Vec<EntryPath> = beneath
            .map(|(at, _)| at)
            .take_while(|at| at.is_beneath(path))
            .cloned()
            .collect();
        for at in beneath {
            self.entries.remove(&at);
        }
    }

    /// Returns all items in order. Fails with the path of a member beneath a path that is no directory.
    pub(super) fn finish(self) -> result::Result<LayerItems, (EntryPath, Refusal)> {
        let Self {
            entries,
            whiteouts,
            opaque,
            links_below,
            is_out_of_order,
            ..
        } = self;
        if let Some(misplaced) = first_beneath_file(&entries) {
            return Err((misplaced.clone(), "lies beneath what is no directory"));
        }
        let mut items: Vec<LayerItem> =
            Vec::with_capacity(entries.len() + whiteouts.len() + opaque.len());
        items.extend(whiteouts.into_iter().map(LayerItem::Whiteout));
        items.extend(opaque.into_iter().map(LayerItem::Opaque));
        items.extend(entries.into_values().map(LayerItem::Entry));
        items.sort_by(|a, b| a.path().cmp(b.path())); // stable: whiteouts come before the entry of their path
        Ok(LayerItems {
            items,
            links_below: links_below.into_iter().collect(),
            is_in_order: !is_out_of_order,
        })
    }
}

fn target_bytes(kind: &FoundKind) -> usize {
    match kind {
        FoundKind::Link(target) | FoundKind::Symlink(target) => target.len(),
        _ => 0,
    }
}

/// Tells whether a path is longer than a tree may have. A whiteout is longer than the removed path.
fn is_too_long(path: &EntryPath) -> bool {
    let prefix_bytes = if is_whiteout(path) { WHITEOUT.len() } else { 0 };
    path.key().len() > LONGEST_PATH_BYTES + prefix_bytes
}

/// Returns the first path that lies beneath an entry that is no directory.
fn first_beneath_file(entries: &BTreeMap<EntryPath, Entry>) -> Option<&EntryPath> {
    let mut above: Option<&Entry> = None;
    for entry in entries.values() {
        match above {
            Some(above) if entry.path.is_beneath(&above.path) => return Some(&entry.path),
            _ if !entry.is_directory() => above = Some(entry),
            _ => {}
        }
    }
    None
}

fn kind_of(found: &FoundKind, content: Option<ContentHash>) -> result::Result<Kind, Refusal> {
    Ok(match found {
        FoundKind::File(size_bytes) => Kind::File {
            size_bytes: *size_bytes,
            content: content.ok_or("has no content")?,
        },
        FoundKind::Symlink(target) => Kind::Symlink(target.as_slice().into()),
        FoundKind::Directory => Kind::Directory,
        FoundKind::Fifo => Kind::Fifo,
        FoundKind::CharDevice(0, 0) => {
            return Err("is the character device 0:0, a whiteout of overlayfs");
        }
        FoundKind::CharDevice(major, minor) => Kind::CharDevice(device(*major, *minor)),
        FoundKind::BlockDevice(major, minor) => Kind::BlockDevice(device(*major, *minor)),
        FoundKind::Link(_) => return Err("is a link"),
    })
}

fn device(major: u32, minor: u32) -> Device {
    Device { major, minor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_with_the_attributes_that_they_share() {
        let found = |path: &str, kind| Found {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            xattrs: vec![(b"user.a".to_vec(), vec![0; 100_000])],
        };
        let mut gathering = Gathering {
            most_bytes: 1 << 20,
            ..Gathering::default()
        };
        let at = |path: &str| EntryPath::from_slashed(path.as_bytes()).unwrap();
        gathering
            .add(at("a"), &found("a", FoundKind::Fifo), None)
            .unwrap();
        let mut link = |place: usize| {
            let path = format!("b{place}");
            let link = Found {
                xattrs: Vec::new(),
                ..found(&path, FoundKind::Link(b"a".to_vec()))
            };
            gathering.add(at(&path), &link, None)
        };
        let taken = (0..20).take_while(|place| link(*place).is_ok()).count();
        assert_eq!(taken, 9);
    }
}
