//! One path of a tree with its normalised metadata.
//!
//! Pure data. An entry holds what a layer's tar member holds and nothing of the disk it came from: no inode, no
//! ctime, no nanoseconds.

use crate::model::digest::ContentHash;
use crate::model::tree::path::EntryPath;

/// One path with what the policy keeps of it. `C` is [`ContentHash`] where every file has been read, and [`FileContent`]
/// while a root is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C = ContentHash> {
    /// Where it is; the root itself is an entry too.
    pub path: EntryPath,
    /// Type and what belongs to that type alone.
    pub kind: Kind<C>,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777. 0o777 for symlinks.
    pub mode: u16,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time in whole seconds since 1970, rounded down; may be negative.
    pub mtime_s: i64,
    /// Kept extended attributes, sorted by name.
    pub xattrs: Xattrs,
    /// The hardlink group; `None` where the inode has one name in the tree.
    pub group: Option<Group>,
}

/// A hardlink group: entries of one tree or layer with equal numbers are names of one inode. A number means
/// nothing outside the tree or layer that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u32);

/// The type of an entry, with what only that type has. Sockets have no kind: tar cannot hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<C = ContentHash> {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Length of the content in bytes.
        size_bytes: u64,
        /// BLAKE3 of the content.
        content: C,
    },
    /// A symbolic link with its target, never empty.
    Symlink(Box<[u8]>),
    /// A named pipe.
    Fifo,
    /// A character device; never 0:0, which is overlayfs's whiteout.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

/// The content of a file of a root that is being recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// The file has been read, and has this hash.
    Known(ContentHash),
    /// The file is read when its layer is packed; until then the entry lacks the extended attributes as well.
    Pending,
}

/// A file's content, read or not. A layer of entries with pending contents has no key and cannot be recorded: both take
/// [`ContentHash`] alone.
pub trait Content: Copy {
    /// Returns the hash; `None` if the file has not been read.
    fn hash(self) -> Option<ContentHash>;
}

impl Content for ContentHash {
    fn hash(self) -> Option<ContentHash> {
        Some(self)
    }
}

impl Content for FileContent {
    fn hash(self) -> Option<ContentHash> {
        match self {
            Self::Known(hash) => Some(hash),
            Self::Pending => None,
        }
    }
}

/// A device number (statx `stx_rdev_major`, `stx_rdev_minor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Extended attributes by name, sorted by name; names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(Box<[Xattr]>);

/// Name and value of an extended attribute.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

impl Xattrs {
    /// Sorts `pairs` of name and value.
    pub fn new(mut pairs: Vec<Xattr>) -> Self {
        pairs.sort();
        pairs.dedup_by(|a, b| a.0 == b.0);
        Self(pairs.into())
    }

    /// Returns the pairs of name and value in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the value of one.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Returns them as a column of the database has them: name and value of each in order of names, each after its length as
    /// 4 bytes, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Takes them back; `None` where the bytes are none.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut part = || {
            let (length, rest) = bytes.split_first_chunk()?;
            let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            bytes = rest;
            Some(Box::<[u8]>::from(part))
        };
        let mut pairs = Vec::new();
        while let Some(name) = part() {
            pairs.push((name, part()?));
        }
        bytes.is_empty().then(|| Self::new(pairs))
    }

    /// Leaves those out whose name `is_dropped`.
    pub fn without(self, is_dropped: impl Fn(&[u8]) -> bool) -> Self {
        if !self.0.iter().any(|(name, _)| is_dropped(name)) {
            return self;
        }
        Self(
            self.0
                .into_iter()
                .filter(|(name, _)| !is_dropped(name))
                .collect(),
        )
    }

    /// Returns about how many bytes of memory they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.iter()
            .map(|(name, value)| size_of::<Xattr>() + name.len() + value.len())
            .sum()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<C> Entry<C> {
    /// Tells whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// Returns the content's length in bytes; 0 for what is no regular file.
    pub fn size_bytes(&self) -> u64 {
        match self.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        }
    }

    /// Returns about how many bytes of memory it takes, for whoever reads entries of strangers.
    pub(crate) fn memory_bytes(&self) -> usize {
        let target = match &self.kind {
            Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        Entry::path_memory_bytes(&self.path) + target + self.xattrs.memory_bytes()
    }
}

impl Entry {
    /// Returns the part of it that an entry with this path takes at least.
    pub(crate) fn path_memory_bytes(path: &EntryPath) -> usize {
        2 * size_of::<Self>() + path.key().len()
    }
}

impl<C: Content> Entry<C> {
    /// Compares all but the number of the hardlink group.
    pub(crate) fn same_but_group(&self, other: &Entry) -> bool {
        self.path == other.path && self.same_but_place(other)
    }

    /// Compares all but the path and the number of the hardlink group. A pending content equals none.
    pub(crate) fn same_but_place(&self, other: &Entry) -> bool {
        self.kind.is_same(&other.kind)
            && self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.mtime_s == other.mtime_s
            && self.xattrs == other.xattrs
    }
}

impl Entry<FileContent> {
    /// Tells whether this is a file that has not been read.
    pub(crate) fn is_pending(&self) -> bool {
        let content = FileContent::Pending;
        matches!(&self.kind, Kind::File { content: own, .. } if *own == content)
    }

    /// Returns the entry with a known content. Fails with the path of a file that has not been read.
    pub(crate) fn into_known(self) -> Result<Entry, EntryPath> {
        match self.kind.known() {
            Some(kind) => Ok(Entry {
                kind,
                path: self.path,
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
                mtime_s: self.mtime_s,
                xattrs: self.xattrs,
                group: self.group,
            }),
            None => Err(self.path),
        }
    }

    /// Gives a pending file its content and its extended attributes.
    pub(crate) fn resolve(&mut self, hash: ContentHash, xattrs: Xattrs) {
        if let Kind::File { content, .. } = &mut self.kind
            && *content == FileContent::Pending
        {
            *content = FileContent::Known(hash);
            self.xattrs = xattrs;
        }
    }
}

impl Kind<FileContent> {
    fn known(self) -> Option<Kind> {
        Some(match self {
            Self::Directory => Kind::Directory,
            Self::File {
                size_bytes,
                content,
            } => Kind::File {
                size_bytes,
                content: content.hash()?,
            },
            Self::Symlink(target) => Kind::Symlink(target),
            Self::Fifo => Kind::Fifo,
            Self::CharDevice(device) => Kind::CharDevice(device),
            Self::BlockDevice(device) => Kind::BlockDevice(device),
        })
    }
}

impl From<Entry> for Entry<FileContent> {
    fn from(entry: Entry) -> Self {
        let kind = match entry.kind {
            Kind::Directory => Kind::Directory,
            Kind::File {
                size_bytes,
                content,
            } => Kind::File {
                size_bytes,
                content: FileContent::Known(content),
            },
            Kind::Symlink(target) => Kind::Symlink(target),
            Kind::Fifo => Kind::Fifo,
            Kind::CharDevice(device) => Kind::CharDevice(device),
            Kind::BlockDevice(device) => Kind::BlockDevice(device),
        };
        Self {
            kind,
            path: entry.path,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime_s: entry.mtime_s,
            xattrs: entry.xattrs,
            group: entry.group,
        }
    }
}

impl<C: Content> Kind<C> {
    fn is_same(&self, other: &Kind) -> bool {
        match (self, other) {
            (Self::Directory, Kind::Directory) | (Self::Fifo, Kind::Fifo) => true,
            (
                Self::File {
                    size_bytes,
                    content,
                },
                Kind::File {
                    size_bytes: other_bytes,
                    content: other,
                },
            ) => size_bytes == other_bytes && content.hash() == Some(*other),
            (Self::Symlink(target), Kind::Symlink(other)) => target == other,
            (Self::CharDevice(device), Kind::CharDevice(other))
            | (Self::BlockDevice(device), Kind::BlockDevice(other)) => device == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_whose_content_may_be_pending_takes_no_more_memory() {
        assert_eq!(size_of::<Entry<FileContent>>(), size_of::<Entry>());
    }

    #[test]
    fn xattrs_read_back_and_cut_ones_are_refused() {
        let pair = |name: &[u8], value: &[u8]| (name.into(), value.into());
        let xattrs = Xattrs::new(vec![pair(b"user.b", b"\0\n\xff"), pair(b"user.a", b"")]);
        let bytes = xattrs.to_bytes();
        assert_eq!(Xattrs::from_bytes(&bytes), Some(xattrs.clone()));
        for cut in 1..bytes.len() {
            assert_ne!(
                Xattrs::from_bytes(&bytes[..cut]),
                Some(xattrs.clone()),
                "{cut}"
            );
        }
    }
}
