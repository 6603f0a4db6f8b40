//! A tree as a plain walk sees it: what layers are compared with. Shares no code with the project.

use super::Path;
use rustix::fs::{AtFlags, CWD, statat};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// All paths, without a leading slash; the root is the empty one. Components are joined by NUL, so that a directory
/// comes right before what is beneath it.
pub type Tree = BTreeMap<Vec<u8>, Node>;

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first of the paths that are one inode with this one; `None` for an inode of one name.
    pub first_name: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Fifo,
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            kind,
            mode,
            uid,
            gid,
            mtime,
            xattrs,
            first_name,
        } = self;
        let kind = match kind {
            Kind::Directory => "directory".to_owned(),
            Kind::File(content) => {
                format!("file of {} bytes, {}", content.len(), blake3::hash(content))
            }
            Kind::Symlink(target) => format!("link to {}", target.escape_ascii()),
            Kind::Fifo => "fifo".to_owned(),
            Kind::CharDevice(major, minor) => format!("char {major}:{minor}"),
            Kind::BlockDevice(major, minor) => format!("block {major}:{minor}"),
        };
        write!(f, "{kind} {mode:04o} {uid}:{gid} at {mtime}")?;
        for (name, value) in xattrs {
            write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())?;
        }
        first_name
            .as_ref()
            .map_or(Ok(()), |first| write!(f, " of {}", first.escape_ascii()))
    }
}

/// Joins a name to a path in the form of [`Tree`].
pub fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"\0", name].concat()
    }
}

/// Walks `root`: what it holds, sockets aside, with the extended attributes that belong to a tree.
pub fn walked(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
    let mut left = vec![Vec::new()];
    while let Some(at) = left.pop() {
        let slashed: Vec<u8> = at.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect();
        let path = root.join(OsStr::from_bytes(&slashed));
        let stat = statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
            .unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let device = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let kind = match stat.st_mode & 0o170_000 {
            0o040_000 => {
                let names = std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name());
                left.extend(names.map(|name| below(&at, name.as_bytes())));
                Kind::Directory
            }
            0o100_000 => Kind::File(std::fs::read(&path).unwrap()),
            0o120_000 => Kind::Symlink(
                std::fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_vec(),
            ),
            0o010_000 => Kind::Fifo,
            0o020_000 => Kind::CharDevice(device.0, device.1),
            0o060_000 => Kind::BlockDevice(device.0, device.1),
            _ => continue,
        };
        if kind != Kind::Directory {
            inodes
                .entry((stat.st_dev, stat.st_ino))
                .or_default()
                .push(at.clone());
        }
        // Only links have no mode of their own.
        let mode = if matches!(kind, Kind::Symlink(_)) {
            0o777
        } else {
            stat.st_mode & 0o7777
        };
        let xattrs = xattrs_of(&path);
        let (uid, gid, mtime) = (stat.st_uid, stat.st_gid, stat.st_mtime as i64);
        tree.insert(
            at,
            Node {
                kind,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
                first_name: None,
            },
        );
    }
    name_groups(&mut tree, inodes.into_values());
    tree
}

/// Notes the first name of each group with more than one.
pub fn name_groups(tree: &mut Tree, groups: impl Iterator<Item = Vec<Vec<u8>>>) {
    for mut names in groups.filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            tree.get_mut(name).unwrap().first_name = Some(names[0].clone());
        }
    }
}

fn xattrs_of(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buffer = vec![0; 65536];
    let length = match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        length => length.unwrap_or_else(|e| panic!("{path:?}: {e}")),
    };
    let names: Vec<Vec<u8>> = buffer[..length]
        .split(|b| *b == 0)
        .map(<[u8]>::to_vec)
        .collect();
    let is_kept = |name: &&Vec<u8>| {
        let machine: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];
        let is_mark = name.starts_with(b"trusted.") || name.starts_with(b"user.overlay.");
        !name.is_empty() && !is_mark && !machine.contains(&name.as_slice())
    };
    let value = |name: &Vec<u8>| {
        let mut buffer = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name.as_slice(), &mut buffer[..]).unwrap();
        buffer.truncate(length);
        buffer
    };
    names
        .iter()
        .filter(is_kept)
        .map(|name| (name.clone(), value(name)))
        .collect()
}

/// Wants two trees to be the same; returns what differs, as lines.
pub fn differences(found: &Tree, expected: &Tree) -> Vec<String> {
    let paths: BTreeSet<&Vec<u8>> = found.keys().chain(expected.keys()).collect();
    let differ = paths
        .into_iter()
        .filter(|path| found.get(*path) != expected.get(*path));
    let shown = |node: Option<&Node>| node.map_or("nothing".to_owned(), |node| format!("{node:?}"));
    differ
        .map(|path| {
            let name = path.escape_ascii();
            format!(
                "{name}\n  found    {}\n  expected {}",
                shown(found.get(path)),
                shown(expected.get(path))
            )
        })
        .collect()
}
