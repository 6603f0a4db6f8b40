//! Contents that a comparison wants to read.

use crate::model::digest::ContentHash;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// A wanted content.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The caller's keys for the content, a key for each wanted name.
    pub keys: Vec<usize>,
    /// All names of the inode; a layer has the content under one of the names.
    pub names: Vec<EntryPath>,
    pub size_bytes: u64,
    pub content: ContentHash,
}

/// A content that was read.
#[derive(Clone, Debug)]
pub(super) struct FileDigest {
    /// The content; `None` for a content that is too large.
    pub bytes: Option<Vec<u8>>,
    pub(super) sha256: [u8; 32],
}

impl Wanted {
    /// Tells whether an entry of this kind is a file with the content.
    pub(super) fn is(&self, kind: &Kind) -> bool {
        *kind
            == Kind::File {
                size_bytes: self.size_bytes,
                content: self.content,
            }
    }

    /// Takes files of a tree by key and place, an inode once; other entries are passed over.
    pub(super) fn of(tree: &Tree, files: impl Iterator<Item = (usize, usize)>) -> Vec<Self> {
        let mut names = names_of_groups(tree);
        let mut all: Vec<Self> = Vec::new();
        let mut linked: HashMap<Group, usize> = HashMap::new();
        for (key, place) in files {
            let entry = &tree.entries()[place];
            let Some((size_bytes, content)) = file_of(entry) else {
                continue;
            };
            if let Some(at) = entry.group.and_then(|group| linked.get(&group)) {
                all[*at].keys.push(key);
                continue;
            }
            let names = entry.group.and_then(|group| {
                linked.insert(group, all.len());
                names.remove(&group)
            });
            all.push(Self {
                keys: vec![key],
                names: names.unwrap_or_else(|| vec![entry.path.clone()]),
                size_bytes,
                content,
            });
        }
        all
    }
}

fn names_of_groups(tree: &Tree) -> HashMap<Group, Vec<EntryPath>> {
    let mut names: HashMap<Group, Vec<EntryPath>> = HashMap::new();
    for entry in tree.entries() {
        if let Some(group) = entry.group {
            names.entry(group).or_default().push(entry.path.clone());
        }
    }
    names
}

fn file_of(entry: &Entry) -> Option<(u64, ContentHash)> {
    match entry.kind {
        Kind::File {
            size_bytes,
            content,
        } => Some((size_bytes, content)),
        _ => None,
    }
}
