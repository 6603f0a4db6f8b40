//! One path of a tree with its normalised metadata.
//!
//! Pure data. An entry holds what a layer's tar member holds and nothing of the disk it came from: no inode, no
//! ctime, no nanoseconds.

use super::digest::ContentHash;
use super::path::EntryPath;

/// One path with what the policy keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is; the root itself is an entry too.
    pub path: EntryPath,
    /// Type and what belongs to that type alone.
    pub kind: Kind,
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
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Length of the content in bytes.
        size_bytes: u64,
        /// BLAKE3 of the content.
        content: ContentHash,
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

    /// Leaves those out whose name `is_dropped`.
    pub fn without(self, is_dropped: impl Fn(&[u8]) -> bool) -> Self {
        if !self.0.iter().any(|(name, _)| is_dropped(name)) {
            return self;
        }
        Self(self.0.into_iter().filter(|(name, _)| !is_dropped(name)).collect())
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Entry {
    /// Tells whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Returns the content's length in bytes; 0 for what is no regular file.
    pub fn size_bytes(&self) -> u64 {
        match self.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        }
    }

    /// Tells whether both are the same but for the number of their hardlink group.
    pub fn same_but_group(&self, other: &Self) -> bool {
        self.path == other.path
            && self.kind == other.kind
            && self.mode == other.mode
            && self.uid == other.uid
            && self.gid == other.gid
            && self.mtime_s == other.mtime_s
            && self.xattrs == other.xattrs
    }
}
