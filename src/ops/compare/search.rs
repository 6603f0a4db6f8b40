//! The search for wanted contents: in layers, first by name and then by hash, or in a root.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::layer::read::{Blob, Held, read_by_hash, read_files};
use crate::model::digest::ContentHash;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::compare::wanted::{FileDigest, Wanted};
use crate::ops::root_view::derived::Derived;
use crate::store::{LayerUse, Store};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read};

const BUFFER_BYTES: usize = 128 * 1024;

/// Wanted contents, and the contents found.
pub(super) struct Search {
    wanted: Vec<Wanted>,
    /// Positions in `wanted`, by the names that a layer may have a content under.
    by_name: HashMap<EntryPath, Vec<usize>>,
    /// The contents found, by position in `wanted`.
    found: HashMap<usize, FileDigest>,
    largest_bytes: u64,
}

impl Search {
    /// Begins without any content found. Contents of more than `largest_bytes` are hashed and not kept.
    pub(super) fn new(wanted: Vec<Wanted>, largest_bytes: u64) -> Self {
        let mut by_name: HashMap<EntryPath, Vec<usize>> = HashMap::new();
        for (at, wanted) in wanted.iter().enumerate() {
            for name in &wanted.names {
                by_name.entry(name.clone()).or_default().push(at);
            }
        }
        Self {
            wanted,
            by_name,
            found: HashMap::new(),
            largest_bytes,
        }
    }

    /// Looks in the blobs of the store's layers, the uppermost first. Fails if a blob is missing or is not what its digest
    /// says, and if a row cannot be read.
    pub(super) fn in_store(&mut self, store: &Store, layers: &[LayerUse]) -> Result<()> {
        for layer in layers.iter().rev() {
            if self.is_over() {
                break;
            }
            let layer_id = layer.layer.id;
            if !self.may_be_in(store, layer_id)? {
                continue;
            }
            let source = store.open_layer(layer)?;
            self.in_blob((&source).into())?;
            if self.must_be_in(store, layer_id)? {
                self.in_blob_by_hash((&source).into())?;
            }
        }
        Ok(())
    }

    /// Looks in the blobs of an image's layers, the uppermost first. Fails if a blob cannot be read, or is not what its
    /// digest says.
    pub(super) fn in_image(&mut self, opened: &Opened, image: &FoundImage) -> Result<()> {
        for layer in image.layers.iter().rev() {
            if self.is_over() {
                break;
            }
            self.in_blob(blob_of_image(opened, layer)?)?;
        }
        for layer in image.layers.iter().rev() {
            if self.is_over() {
                break;
            }
            self.in_blob_by_hash(blob_of_image(opened, layer)?)?;
        }
        Ok(())
    }

    /// Reads the derived files of a side. Fails if a file cannot be read.
    pub(super) fn in_derived(&mut self, derived: &Derived) -> Result<()> {
        for at in 0..self.wanted.len() {
            let Wanted {
                size_bytes,
                content,
                ..
            } = self.wanted[at];
            let Some(name) = self.wanted[at].names.first().cloned() else {
                continue;
            };
            if let Some(mut file) = derived.open(&name, content) {
                self.take(&name, size_bytes, &mut file)?;
            }
        }
        Ok(())
    }

    /// Reads the files of a root. Fails if a file cannot be opened or read.
    pub(super) fn in_root(&mut self, root: &Root) -> Result<()> {
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

    /// Returns a name of a content that was not found; `None` if all were found.
    pub(super) fn missing(&self) -> Option<&EntryPath> {
        let (_, missing) = self.all_left().next()?;
        missing.names.first()
    }

    /// Returns the contents found, by the caller's keys.
    pub(super) fn by_key(mut self) -> HashMap<usize, FileDigest> {
        let mut all = HashMap::new();
        for (at, wanted) in self.wanted.iter().enumerate() {
            let Some(digest_of_file) = self.found.remove(&at) else {
                continue;
            };
            for key in &wanted.keys {
                all.insert(*key, digest_of_file.clone());
            }
        }
        all
    }

    fn is_over(&self) -> bool {
        self.found.len() == self.wanted.len()
    }

    /// The contents that are not found yet, with their positions.
    fn all_left(&self) -> impl Iterator<Item = (usize, &Wanted)> {
        let all = self.wanted.iter().enumerate();
        all.filter(|(at, _)| !self.found.contains_key(at))
    }

    /// The positions of contents that are not found yet and may have this name and length.
    fn left(&self, name: &EntryPath, size_bytes: u64) -> impl Iterator<Item = usize> {
        let all = self.by_name.get(name).into_iter().flatten().copied();
        all.filter(move |at| {
            self.wanted[*at].size_bytes == size_bytes && !self.found.contains_key(at)
        })
    }

    /// Tells whether a layer has a name of a content that is not found yet, and notes all names that the layer has for the
    /// inode.
    fn may_be_in(&mut self, store: &Store, layer_id: i64) -> Result<bool> {
        let mut is_there = false;
        for at in 0..self.wanted.len() {
            if !self.found.contains_key(&at) {
                is_there |= self.note_names(store, layer_id, at)?;
            }
        }
        Ok(is_there)
    }

    fn note_names(&mut self, store: &Store, layer_id: i64, at: usize) -> Result<bool> {
        let mut is_there = false;
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
        Ok(is_there)
    }

    /// Tells whether the rows of a layer have a content that is not found yet.
    fn must_be_in(&self, store: &Store, layer_id: i64) -> Result<bool> {
        for (_, wanted) in self.all_left() {
            for name in &wanted.names {
                let item = store.item_at(layer_id, name)?;
                let entry = item.as_ref().and_then(LayerItem::entry);
                if entry.is_some_and(|entry| wanted.is(&entry.kind)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn in_blob(&mut self, blob: Blob) -> Result<()> {
        let search = RefCell::new(self); // both closures look at the search, in turns
        let wants = |name: &EntryPath, size: u64| {
            let search = search.borrow();
            search.left(name, size).next().is_some()
        };
        read_files(blob, wants, |name, size, content| {
            let mut search = search.borrow_mut();
            search.take(name, size, content)?;
            Ok(!search.is_over())
        })
    }

    fn in_blob_by_hash(&mut self, blob: Blob) -> Result<()> {
        let search = RefCell::new(self);
        let wants = |size_bytes: u64| search.borrow().wants_length(size_bytes);
        read_by_hash(blob, wants, |held| {
            let mut search = search.borrow_mut();
            search.take_held(held)?;
            Ok(!search.is_over())
        })
    }

    fn wants_length(&self, size_bytes: u64) -> bool {
        self.all_left()
            .any(|(_, wanted)| wanted.size_bytes == size_bytes)
    }

    fn take(&mut self, name: &EntryPath, size_bytes: u64, content: &mut dyn Read) -> Result<()> {
        let (hash, digest_of_file) = self
            .digest_of_file(size_bytes, content)
            .map_err(Error::io("read", shown_path(name)))?;
        let given: Vec<usize> = self
            .left(name, size_bytes)
            .filter(|at| self.wanted[*at].content == hash)
            .collect();
        self.add(&given, &digest_of_file);
        Ok(())
    }

    fn take_held(&mut self, held: &mut Held) -> Result<()> {
        let given = self.all_left().filter(|(_, wanted)| {
            (wanted.size_bytes, wanted.content) == (held.size_bytes, held.hash)
        });
        let given: Vec<usize> = given.map(|(at, _)| at).collect();
        if given.is_empty() {
            return Ok(());
        }
        let (_, digest_of_file) = self
            .digest_of_file(held.size_bytes, held.read()?)
            .map_err(Error::io("read in", std::env::temp_dir()))?;
        self.add(&given, &digest_of_file);
        Ok(())
    }

    fn add(&mut self, given: &[usize], digest_of_file: &FileDigest) {
        for at in given {
            self.found.insert(*at, digest_of_file.clone());
        }
    }

    fn digest_of_file(
        &self,
        size_bytes: u64,
        content: &mut dyn Read,
    ) -> io::Result<(ContentHash, FileDigest)> {
        let mut hashing = Hashing {
            blake3: blake3::Hasher::new(),
            sha256: Sha256::new(),
            bytes: (size_bytes <= self.largest_bytes).then(Vec::new),
            size_bytes,
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(hashing.finish()),
                Ok(count) => hashing.add(&buffer[..count]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn blob_of_image<'o>(opened: &'o Opened, layer: &FoundLayer) -> Result<Blob<'o>> {
    Ok(Blob {
        input: opened.open(&layer.blob)?,
        path: opened.path(),
        digest: layer.blob.digest,
    })
}

/// A content that is being read.
struct Hashing {
    blake3: blake3::Hasher,
    sha256: Sha256,
    /// The bytes so far; `None` for a content that is too large.
    bytes: Option<Vec<u8>>,
    size_bytes: u64,
}

impl Hashing {
    fn add(&mut self, part: &[u8]) {
        self.blake3.update(part);
        self.sha256.update(part);
        // A file that grows while it is read does not fill the memory.
        if let Some(bytes) = &mut self.bytes
            && bytes.len() as u64 <= self.size_bytes
        {
            bytes.extend_from_slice(part);
        }
    }

    fn finish(self) -> (ContentHash, FileDigest) {
        let digest_of_file = FileDigest {
            bytes: self.bytes,
            sha256: self.sha256.finalize().into(),
        };
        let hash = ContentHash(*self.blake3.finalize().as_bytes());
        (hash, digest_of_file)
    }
}
