//! The canonical bytes of a layer's items: the layer's key is the hash of a policy and of these bytes, and a registry keeps them
//! beside the blob. Pure.
//!
//! Every field has a fixed length or comes after its length, so no two lists of items have equal bytes. Invariant: bytes that
//! are read are those written for the items, so the key is that of the bytes.

use crate::model::digest::{ContentHash, LayerKey, PolicyKey, TreeDigest};
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LONGEST_FILE_BYTES, LONGEST_PATH_BYTES};
use crate::model::plan::item::Item;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Device, Entry, Group, Kind, Xattr, Xattrs};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// The bytes given away at once: BLAKE3 is several times faster over many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// Hashes a policy and the items of a layer, in path order.
pub(crate) fn key_of<'a>(policy: &PolicyKey, items: impl Iterator<Item = Item<'a>>) -> LayerKey {
    let mut hasher = hasher_of(policy);
    write_items(items, |bytes| {
        hasher.update(bytes);
    });
    LayerKey(*hasher.finalize().as_bytes())
}

/// Returns the key of the layer whose items have these bytes.
pub fn key_of_bytes(policy: &PolicyKey, bytes: &[u8]) -> LayerKey {
    LayerKey(*hasher_of(policy).update(bytes).finalize().as_bytes())
}

/// Returns the digest of a tree recorded under a policy.
pub(crate) fn tree_digest(policy: &PolicyKey, tree: &Tree) -> TreeDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"rootstrata tree 1\n").update(&policy.0);
    write_items(tree.entries().iter().map(Item::Entry), |bytes| {
        hasher.update(bytes);
    });
    TreeDigest(*hasher.finalize().as_bytes())
}

fn hasher_of(policy: &PolicyKey) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"rootstrata layer 1\n");
    hasher.update(&policy.0);
    hasher
}

/// Gives away the bytes of items, in path order.
pub fn write_items<'a>(items: impl Iterator<Item = Item<'a>>, mut out: impl FnMut(&[u8])) {
    let mut first_names: HashMap<Group, &EntryPath> = HashMap::new();
    let mut records = Vec::with_capacity(BATCH_BYTES + 8192);
    for item in items {
        match item {
            Item::Whiteout(path) => {
                records.push(b'w');
                push_bytes(&mut records, path.key());
            }
            Item::Entry(entry) => {
                let first = entry
                    .group
                    .map(|group| *first_names.entry(group).or_insert(&entry.path));
                push_entry(&mut records, entry, first);
            }
        }
        if records.len() >= BATCH_BYTES {
            out(&records);
            records.clear();
        }
    }
    out(&records);
}

fn push_entry(record: &mut Vec<u8>, entry: &Entry, first_name: Option<&EntryPath>) {
    record.push(b'e');
    push_bytes(record, entry.path.key());
    record.extend_from_slice(&entry.mode.to_le_bytes());
    record.extend_from_slice(&entry.uid.to_le_bytes());
    record.extend_from_slice(&entry.gid.to_le_bytes());
    record.extend_from_slice(&entry.mtime_s.to_le_bytes());
    match &entry.kind {
        Kind::Directory => record.push(b'd'),
        Kind::File {
            size_bytes,
            content,
        } => {
            record.push(b'f');
            record.extend_from_slice(&size_bytes.to_le_bytes());
            record.extend_from_slice(&content.0);
        }
        Kind::Symlink(target) => {
            record.push(b'l');
            push_bytes(record, target);
        }
        Kind::Fifo => record.push(b'p'),
        Kind::CharDevice(device) => push_device(record, b'c', *device),
        Kind::BlockDevice(device) => push_device(record, b'b', *device),
    }
    record.extend_from_slice(&(entry.xattrs.iter().count() as u64).to_le_bytes());
    for (name, value) in entry.xattrs.iter() {
        push_bytes(record, name);
        push_bytes(record, value);
    }
    match first_name {
        None => record.push(0),
        Some(path) => {
            record.push(1);
            push_bytes(record, path.key());
        }
    }
}

fn push_device(record: &mut Vec<u8>, kind: u8, device: Device) {
    record.push(kind);
    record.extend_from_slice(&device.major.to_le_bytes());
    record.extend_from_slice(&device.minor.to_le_bytes());
}

fn push_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    record.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    record.extend_from_slice(bytes);
}

/// Reads items back. `None` if the bytes are not those of any layer that is ever recorded: a path out of order, a value that no
/// entry has, or more than a layer may have.
pub fn read_items(bytes: &[u8]) -> Option<Vec<LayerItem>> {
    let mut reading = Reading {
        rest: bytes,
        groups: HashMap::new(),
    };
    let mut items: Vec<LayerItem> = Vec::new();
    let mut memory_bytes = 0usize;
    while !reading.rest.is_empty() {
        let item = reading.item()?;
        let is_behind = |last: &LayerItem| last.path() < item.path();
        if !items.last().is_none_or(is_behind) {
            return None;
        }
        memory_bytes += item.memory_bytes();
        if memory_bytes > LARGEST_ENTRIES_BYTES {
            return None;
        }
        items.push(item);
    }
    Some(items)
}

struct Reading<'b> {
    rest: &'b [u8],
    /// The hardlink groups by their first names.
    groups: HashMap<&'b [u8], Group>,
}

impl<'b> Reading<'b> {
    fn item(&mut self) -> Option<LayerItem> {
        match self.byte()? {
            b'w' => {
                let path = EntryPath::from_key(self.name()?)?;
                (path != EntryPath::root()).then_some(LayerItem::Whiteout(path))
            }
            b'e' => self.entry().map(LayerItem::Entry),
            _ => None,
        }
    }

    fn entry(&mut self) -> Option<Entry> {
        let name = self.name()?;
        let path = EntryPath::from_key(name)?;
        let mode = u16::from_le_bytes(self.array()?);
        let uid = self.number()?;
        let gid = self.number()?;
        let mtime_s = i64::from_le_bytes(self.array()?);
        let kind = self.kind()?;
        let xattrs = self.xattrs()?;
        let group = self.group(name)?;
        let is_mode = mode <= 0o7777;
        let is_linked = group.is_none() || !matches!(kind, Kind::Directory);
        (is_mode && is_linked).then_some(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime_s,
            xattrs,
            group,
        })
    }

    fn kind(&mut self) -> Option<Kind> {
        Some(match self.byte()? {
            b'd' => Kind::Directory,
            b'f' => {
                let size_bytes = u64::from_le_bytes(self.array()?);
                let content = ContentHash(self.array()?);
                if size_bytes > LONGEST_FILE_BYTES {
                    return None;
                }
                Kind::File {
                    size_bytes,
                    content,
                }
            }
            b'l' => {
                let target = self.name()?;
                if target.is_empty() || target.contains(&0) {
                    return None;
                }
                Kind::Symlink(target.into())
            }
            b'p' => Kind::Fifo,
            b'c' => {
                let device = self.device()?;
                if device.major == 0 && device.minor == 0 {
                    return None;
                }
                Kind::CharDevice(device)
            }
            b'b' => Kind::BlockDevice(self.device()?),
            _ => return None,
        })
    }

    fn device(&mut self) -> Option<Device> {
        Some(Device {
            major: self.number()?,
            minor: self.number()?,
        })
    }

    fn xattrs(&mut self) -> Option<Xattrs> {
        let count = u64::from_le_bytes(self.array()?);
        let mut pairs: Vec<Xattr> = Vec::new();
        for _ in 0..count {
            let name: Box<[u8]> = self.bytes()?.into();
            let value = self.bytes()?.into();
            if pairs.last().is_some_and(|(last, _)| *last >= name) {
                return None;
            }
            pairs.push((name, value));
        }
        Some(Xattrs::new(pairs))
    }

    /// Reads the first name of the hardlink group of the entry at `name`, and returns the group, if any.
    fn group(&mut self, name: &'b [u8]) -> Option<Option<Group>> {
        match self.byte()? {
            0 => Some(None),
            1 => {
                let first = self.name()?;
                let next = Group(self.groups.len() as u32);
                if first == name {
                    self.groups.insert(first, next);
                    return Some(Some(next));
                }
                self.groups.get(first).copied().map(Some)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    /// Reads a path or a target of a link.
    fn name(&mut self) -> Option<&'b [u8]> {
        self.bytes().filter(|name| name.len() <= LONGEST_PATH_BYTES)
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u64::from_le_bytes(self.array()?);
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::layer::LayerContent;
    use crate::model::policy::Policy;
    use crate::model::testing::{any_tree, directory, file, linked, path};
    use crate::model::tree::Tree;
    use proptest::prelude::*;

    fn bytes_of(content: &LayerContent) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_items(content.items(), |some| bytes.extend_from_slice(some));
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_bytes_of_a_layer_give_its_items_and_its_key(tree in any_tree()) {
            let content = LayerContent::all(&tree, vec![path("zz/gone")]);
            let bytes = bytes_of(&content);
            let policy = Policy::plain();
            prop_assert_eq!(key_of_bytes(&policy.key(), &bytes), content.key(&policy));
            let items = read_items(&bytes).expect("they were written");
            let entries = items.iter().filter_map(LayerItem::entry).cloned();
            let again = Tree::new(entries.collect());
            let again = LayerContent::all(&again, vec![path("zz/gone")]);
            prop_assert_eq!(bytes_of(&again), bytes);
        }

        #[test]
        fn a_byte_more_or_less_is_none(tree in any_tree(), at in any::<prop::sample::Index>()) {
            let bytes = bytes_of(&LayerContent::whole(&tree));
            prop_assume!(!bytes.is_empty());
            let cut = &bytes[..at.index(bytes.len())];
            if let Some(items) = read_items(cut) {
                prop_assert!(items.len() < tree.entries().len());
            }
            let more = [&bytes[..], b"x"].concat();
            prop_assert!(read_items(&more).is_none());
        }
    }

    fn of(entries: Vec<Entry>) -> Vec<u8> {
        let borrowed = entries.iter().map(Item::Entry);
        let mut bytes = Vec::new();
        write_items(borrowed, |some| bytes.extend_from_slice(some));
        bytes
    }

    #[test]
    fn what_no_layer_has_is_none() {
        assert!(read_items(&of(vec![directory(""), file("a", 1)])).is_some());
        assert!(read_items(&of(vec![file("b", 1), file("a", 1)])).is_none());
        assert!(read_items(&of(vec![file("a", 1), file("a", 1)])).is_none());
        let mut setuid = file("a", 1);
        setuid.mode = 0o10000;
        assert!(read_items(&of(vec![setuid])).is_none());
        let mut hidden = file("a", 1);
        hidden.kind = Kind::CharDevice(Device { major: 0, minor: 0 });
        assert!(read_items(&of(vec![hidden])).is_none());
        let long = file(&"d/".repeat(LONGEST_PATH_BYTES / 2 + 1), 1);
        assert!(read_items(&of(vec![long])).is_none());
        // The second name alone leads to a group that nobody has begun.
        let both = of(vec![linked("a", 1), linked("b", 1)]);
        let first = of(vec![linked("a", 1)]);
        assert!(read_items(&both).is_some());
        assert!(read_items(&both[first.len()..]).is_none());
    }
}
