//! The contents of a side's files, out of the blobs that hold them or from the disk.
//!
//! A content is looked for by the names that a layer may have it under and by its length, and is taken only if its BLAKE3
//! is the recorded one. What is found under none of them is looked for by its length alone.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::layer::read::{Blob, read_by_hash, read_files};
use crate::model::digest::ContentHash;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::oci::read::FoundLayer;
use crate::ops::compare::side::{Access, Side};
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

const BUFFER_BYTES: usize = 128 * 1024;

/// A content that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What whoever wants it calls it, once for each name that is wanted.
    keys: Vec<usize>,
    /// All names of the inode; a layer has the content under one of them.
    names: Vec<EntryPath>,
    size_bytes: u64,
    content: ContentHash,
}

/// What was found of a content.
#[derive(Clone, Debug)]
pub(crate) struct FileDigest {
    /// The content, where it is not too large.
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) sha256: [u8; 32],
}

impl Wanted {
    fn is(&self, kind: &Kind) -> bool {
        *kind
            == Kind::File {
                size_bytes: self.size_bytes,
                content: self.content,
            }
    }

    /// Takes files of a tree by key and place, an inode once; what is no file is passed over.
    pub(crate) fn of(tree: &Tree, files: impl Iterator<Item = (usize, usize)>) -> Vec<Self> {
        let mut names: HashMap<Group, Vec<EntryPath>> = HashMap::new();
        for entry in tree.entries() {
            if let Some(group) = entry.group {
                names.entry(group).or_default().push(entry.path.clone());
            }
        }
        let mut all: Vec<Self> = Vec::new();
        let mut linked: HashMap<Group, usize> = HashMap::new();
        for (key, place) in files {
            let Entry {
                kind:
                    Kind::File {
                        size_bytes,
                        content,
                    },
                path,
                group,
                ..
            } = &tree.entries()[place]
            else {
                continue;
            };
            if let Some(at) = group.and_then(|group| linked.get(&group)) {
                all[*at].keys.push(key);
                continue;
            }
            let names = group.and_then(|group| {
                linked.insert(group, all.len());
                names.remove(&group)
            });
            let names = names.unwrap_or_else(|| vec![path.clone()]);
            all.push(Self {
                keys: vec![key],
                names,
                size_bytes: *size_bytes,
                content: *content,
            });
        }
        all
    }
}

/// Returns what was found of each wanted content, by key; of those that are not longer than `largest_bytes`, all of it.
pub(crate) fn read_contents(
    side: &Side,
    store: Option<&Store>,
    wanted: Vec<Wanted>,
    largest_bytes: u64,
) -> Result<HashMap<usize, FileDigest>> {
    let mut search = Search::new(wanted, largest_bytes);
    match (&side.access, store) {
        (Access::Root(root), _) => search.in_root(root)?,
        (Access::Store(layers), Some(store)) => {
            for layer in layers.iter().rev() {
                if search.is_over() {
                    break;
                }
                if search.may_be_in(store, layer.layer.id)? {
                    let path = store.blob_path(&layer.blob.digest);
                    let open = || -> Result<Blob> {
                        let input = store.open_blob(&layer.blob.digest, layer.blob.size_bytes)?;
                        Ok(Blob {
                            input: Box::new(input.reader()),
                            path: &path,
                            digest: layer.blob.digest,
                        })
                    };
                    search.in_blob(open()?)?;
                    if search.must_be_in(store, layer.layer.id)? {
                        search.in_blob_by_hash(open()?)?;
                    }
                }
            }
        }
        (Access::Store(_), None) => {}
        (Access::Image(opened, image), _) => {
            let blob = |layer: &FoundLayer| -> Result<Blob> {
                let input = opened.open(&layer.blob)?;
                Ok(Blob {
                    input,
                    path: opened.path(),
                    digest: layer.blob.digest,
                })
            };
            for layer in image.layers.iter().rev() {
                if search.is_over() {
                    break;
                }
                search.in_blob(blob(layer)?)?;
            }
            for layer in image.layers.iter().rev() {
                if search.is_over() {
                    break;
                }
                search.in_blob_by_hash(blob(layer)?)?;
            }
        }
    }
    match search.missing() {
        None => Ok(search.by_key()),
        Some(path) => Err(match &side.access {
            Access::Root(root) => Error::Changed(root.full_path(path)),
            Access::Image(opened, _) => Error::damaged(opened.path(), lost(path)),
            Access::Store(_) => {
                Error::damaged(store.map(Store::path).unwrap_or(Path::new("")), lost(path))
            }
        }),
    }
}

fn lost(path: &EntryPath) -> String {
    format!("no layer has the content of {path} any more")
}

/// What is looked for, and what was found.
struct Search {
    wanted: Vec<Wanted>,
    by_name: HashMap<EntryPath, Vec<usize>>,
    /// What was found, by the place among those that are wanted.
    found: HashMap<usize, FileDigest>,
    largest_bytes: u64,
}

impl Search {
    fn new(wanted: Vec<Wanted>, largest_bytes: u64) -> Self {
        let mut by_name: HashMap<EntryPath, Vec<usize>> = HashMap::new();
        for (at, wanted) in wanted.iter().enumerate() {
            wanted
                .names
                .iter()
                .for_each(|name| by_name.entry(name.clone()).or_default().push(at));
        }
        Self {
            wanted,
            by_name,
            found: HashMap::new(),
            largest_bytes,
        }
    }

    fn is_over(&self) -> bool {
        self.found.len() == self.wanted.len()
    }

    fn missing(&self) -> Option<&EntryPath> {
        let missing = self
            .wanted
            .iter()
            .enumerate()
            .find(|(at, _)| !self.found.contains_key(at));
        missing.and_then(|(_, one)| one.names.first())
    }

    fn by_key(mut self) -> HashMap<usize, FileDigest> {
        let mut all = HashMap::new();
        for (at, wanted) in self.wanted.iter().enumerate() {
            let Some(digest_of_file) = self.found.remove(&at) else {
                continue;
            };
            all.extend(wanted.keys.iter().map(|key| (*key, digest_of_file.clone())));
        }
        all
    }

    /// The places of those that are not found yet and may have this name and length.
    fn left(&self, name: &EntryPath, size_bytes: u64) -> impl Iterator<Item = usize> {
        let all = self.by_name.get(name).into_iter().flatten().copied();
        all.filter(move |at| {
            self.wanted[*at].size_bytes == size_bytes && !self.found.contains_key(at)
        })
    }

    /// Tells whether a layer has one of those that are not found yet, and notes all names that it has for them.
    fn may_be_in(&mut self, store: &Store, layer_id: i64) -> Result<bool> {
        let mut is_there = false;
        for at in 0..self.wanted.len() {
            if self.found.contains_key(&at) {
                continue;
            }
            for name in self.wanted[at].names.clone() {
                let Some(item) = store.item_at(layer_id, &name)? else {
                    continue;
                };
                is_there = true;
                if let Some(group) = item.entry().and_then(|entry| entry.group) {
                    for other in store.names_of(layer_id, group)? {
                        self.by_name.entry(other).or_default().push(at);
                    }
                    break; // all names of an inode are in one layer
                }
            }
        }
        Ok(is_there)
    }

    /// Tells whether a layer has one of those that are not found yet as it is recorded.
    fn must_be_in(&self, store: &Store, layer_id: i64) -> Result<bool> {
        for (_, wanted) in self
            .wanted
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.found.contains_key(at))
        {
            for name in &wanted.names {
                let item = store.item_at(layer_id, name)?;
                if item
                    .as_ref()
                    .and_then(LayerItem::entry)
                    .is_some_and(|entry| wanted.is(&entry.kind))
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn in_blob_by_hash(&mut self, blob: Blob) -> Result<()> {
        let search = RefCell::new(self);
        let wants = |size: u64| {
            let search = search.borrow();
            let mut left = search
                .wanted
                .iter()
                .enumerate()
                .filter(|(at, _)| !search.found.contains_key(at));
            left.any(|(_, wanted)| wanted.size_bytes == size)
        };
        read_by_hash(blob, wants, |held| {
            let mut search = search.borrow_mut();
            let given = search.wanted.iter().enumerate().filter(|(at, wanted)| {
                !search.found.contains_key(at)
                    && (wanted.size_bytes, wanted.content) == (held.size_bytes, held.hash)
            });
            let given: Vec<usize> = given.map(|(at, _)| at).collect();
            if !given.is_empty() {
                let digest_of_file = search.digest_of_file(held.size_bytes, held.read()?);
                let (_, digest_of_file) =
                    digest_of_file.map_err(Error::io("read in", std::env::temp_dir()))?;
                search
                    .found
                    .extend(given.into_iter().map(|at| (at, digest_of_file.clone())));
            }
            Ok(!search.is_over())
        })
    }

    fn in_blob(&mut self, blob: Blob) -> Result<()> {
        let search = RefCell::new(self); // both closures look at it, in turns
        let wants = |name: &EntryPath, size: u64| search.borrow().left(name, size).next().is_some();
        read_files(blob, wants, |name, size, content| {
            let mut search = search.borrow_mut();
            search.take(name, size, content)?;
            Ok(!search.is_over())
        })
    }

    fn in_root(&mut self, root: &Root) -> Result<()> {
        for at in 0..self.wanted.len() {
            let Some(name) = self.wanted[at].names.first().cloned() else {
                continue;
            };
            let size_bytes = self.wanted[at].size_bytes;
            if self.left(&name, size_bytes).next().is_some() {
                self.take(&name, size_bytes, &mut root.open_file(&name)?)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &EntryPath, size_bytes: u64, content: &mut dyn Read) -> Result<()> {
        let (hash, digest_of_file) = self
            .digest_of_file(size_bytes, content)
            .map_err(Error::io("read", shown_path(name)))?;
        let given: Vec<usize> = self
            .left(name, size_bytes)
            .filter(|at| self.wanted[*at].content == hash)
            .collect();
        self.found
            .extend(given.into_iter().map(|at| (at, digest_of_file.clone())));
        Ok(())
    }

    fn digest_of_file(
        &self,
        size_bytes: u64,
        content: &mut dyn Read,
    ) -> io::Result<(ContentHash, FileDigest)> {
        let (mut blake3, mut sha256) = (blake3::Hasher::new(), Sha256::new());
        let mut bytes = (size_bytes <= self.largest_bytes).then(Vec::new);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    blake3.update(&buffer[..count]);
                    sha256.update(&buffer[..count]);
                    if let Some(bytes) = bytes
                        .as_mut()
                        .filter(|bytes| bytes.len() as u64 <= size_bytes)
                    {
                        bytes.extend_from_slice(&buffer[..count]);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let digest_of_file = FileDigest {
            bytes,
            sha256: sha256.finalize().into(),
        };
        Ok((ContentHash(*blake3.finalize().as_bytes()), digest_of_file))
    }
}
