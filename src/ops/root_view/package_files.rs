//! The files of layers that tell of packages and users, kept as the layers are read.
//!
//! Kept under a private temporary directory, so a layer is read once and no large file is held in memory. No file is
//! believed because of its name: a file is given out only with the hash that the tree's entry has.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, Held, read_by_hash, read_files};
use crate::model::digest::ContentHash;
use crate::model::policy::Rules;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::facts::{NamedRoot, RootFiles};
use crate::ops::root_view::places::{LARGEST_TEXTS_BYTES, TellingFile};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// All databases of an image together: each layer may have another.
const LARGEST_DATABASES_BYTES: u64 = 6 << 30;
/// The most files kept: a Debian of 5,000 packages has 10,000.
const MOST_FILES: usize = 100_000;

/// Files kept; layers may be read side by side.
#[derive(Debug)]
pub(crate) struct PackageFiles {
    directory: TempDir,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The copies of each path.
    copies: HashMap<EntryPath, Vec<PathBuf>>,
    databases_bytes_left: u64,
    texts_bytes_left: u64,
    count: usize,
}

impl Kept {
    /// Returns the number of a new copy; `None` for a file that is not wanted.
    fn next(&mut self, at: &EntryPath, size_bytes: u64) -> Option<usize> {
        let left = match TellingFile::of(at, size_bytes)? {
            TellingFile::Database => &mut self.databases_bytes_left,
            TellingFile::Text | TellingFile::User | TellingFile::State => {
                &mut self.texts_bytes_left
            }
        };
        if size_bytes > *left || self.count == MOST_FILES {
            return None;
        }
        *left -= size_bytes;
        self.count += 1;
        Some(self.count - 1)
    }
}

impl PackageFiles {
    /// Starts with no file. Fails if no temporary directory can be made.
    pub(crate) fn create() -> Result<Self> {
        Ok(Self {
            directory: temporary_directory()?,
            kept: Mutex::new(Kept {
                copies: HashMap::new(),
                databases_bytes_left: LARGEST_DATABASES_BYTES,
                texts_bytes_left: LARGEST_TEXTS_BYTES,
                count: 0,
            }),
        })
    }

    /// Begins a layer.
    pub(crate) fn layer(&self) -> FilesOfLayer<'_> {
        FilesOfLayer {
            kept: self,
            names: HashSet::new(),
        }
    }

    /// Keeps the files of a layer with these items that `wants` chooses, by path and length. `open` opens the blob of the layer.
    /// Fails if the blob cannot be read, or is no layer.
    pub(crate) fn keep_of_layer<'b>(
        &self,
        items: &[LayerItem],
        wants: impl Fn(&EntryPath, u64) -> bool,
        open: impl Fn() -> Result<Blob<'b>>,
    ) -> Result<()> {
        let mut left: HashSet<&EntryPath> = items
            .iter()
            .filter_map(LayerItem::entry)
            .filter(|entry| matches!(entry.kind, Kind::File { .. }))
            .filter(|entry| wants(&entry.path, entry.size_bytes()))
            .map(|entry| &entry.path)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let blob = open()?;
        let shown = blob.path;
        let mut layer = self.layer();
        read_files(blob, &wants, |at, size_bytes, content| {
            layer.copy(at, size_bytes, content, shown)?;
            left.remove(at);
            Ok(!left.is_empty())
        })?;
        layer.keep_linked(items, wants, open)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the copy of `at` that has this content.
    fn find(&self, at: &EntryPath, content: ContentHash) -> Result<Option<PathBuf>> {
        let copies = self.kept().copies.get(at).cloned();
        for place in copies.into_iter().flatten().rev() {
            let mut hasher = blake3::Hasher::new();
            let mut file = File::open(&place).map_err(Error::io("read", &place))?;
            io::copy(&mut file, &mut hasher).map_err(Error::io("read", &place))?;
            if *hasher.finalize().as_bytes() == content.0 {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Returns the files of the tree with these entries, which is called `shown`.
    pub(crate) fn of_tree<'a>(&'a self, entries: &'a [Entry], shown: &'a Path) -> FilesOfTree<'a> {
        FilesOfTree {
            kept: self,
            entries,
            shown,
            rules: None,
        }
    }

    /// Returns the directory of the copies, in which others may be made.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// The kept files of a layer that is read.
pub(crate) struct FilesOfLayer<'a> {
    kept: &'a PackageFiles,
    names: HashSet<EntryPath>,
}

impl FilesOfLayer<'_> {
    /// Returns the output for the content of a file; `None` for a file that is not wanted. Fails if the copy cannot be made.
    pub(crate) fn keep(
        &mut self,
        at: &EntryPath,
        size_bytes: u64,
    ) -> Result<Option<Box<dyn Write>>> {
        let Some(number) = self.kept.kept().next(at, size_bytes) else {
            return Ok(None);
        };
        let place = self.kept.directory.path().join(number.to_string());
        let file = File::create(&place).map_err(Error::io("write", &place))?;
        let mut kept = self.kept.kept();
        kept.copies.entry(at.clone()).or_default().push(place);
        self.names.insert(at.clone());
        Ok(Some(Box::new(file)))
    }

    /// Keeps a file if it is wanted. Fails if the content, of the blob `shown`, cannot be read, or the copy cannot be made.
    pub(crate) fn copy(
        &mut self,
        at: &EntryPath,
        size_bytes: u64,
        content: &mut dyn Read,
        shown: &Path,
    ) -> Result<()> {
        match self.keep(at, size_bytes)? {
            Some(mut out) => io::copy(content, &mut out)
                .map(drop)
                .map_err(Error::io("read", shown)),
            None => Ok(()),
        }
    }

    /// Keeps the files that the layer, which was read and has these items, holds under other names, as hardlinks. `open` opens
    /// the blob of the layer. Fails if the blob cannot be read.
    pub(crate) fn keep_linked<'b>(
        mut self,
        items: &[LayerItem],
        wants: impl Fn(&EntryPath, u64) -> bool,
        open: impl FnOnce() -> Result<Blob<'b>>,
    ) -> Result<()> {
        let mut linked: Vec<Linked> = items
            .iter()
            .filter_map(|item| Linked::of(item.entry()?))
            .filter(|file| wants(file.at, file.size_bytes) && !self.names.contains(file.at))
            .collect();
        if linked.is_empty() {
            return Ok(());
        }
        let sizes: HashSet<u64> = linked.iter().map(|file| file.size_bytes).collect();
        read_by_hash(
            open()?,
            |size_bytes| sizes.contains(&size_bytes),
            |held| {
                let mut kept = Ok(());
                linked.retain(|file| {
                    let is_held = (file.size_bytes, file.content) == (held.size_bytes, held.hash);
                    if is_held && kept.is_ok() {
                        kept = self.keep_held(file.at, held);
                    }
                    !is_held
                });
                kept.map(|()| !linked.is_empty())
            },
        )
    }

    fn keep_held(&mut self, at: &EntryPath, held: &mut Held) -> Result<()> {
        let directory = self.kept.directory();
        match self.keep(at, held.size_bytes)? {
            Some(mut out) => io::copy(held.read()?, &mut out)
                .map(drop)
                .map_err(Error::io("write in", directory)),
            None => Ok(()),
        }
    }
}

/// Makes a directory that nobody else may open, and that is removed with the value. Fails if the system's temporary
/// directory cannot be written to.
pub(crate) fn temporary_directory() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("rootstrata-")
        .tempdir()
        .map_err(Error::io("write in", std::env::temp_dir()))
}

/// A name of a file with several.
struct Linked<'i> {
    at: &'i EntryPath,
    size_bytes: u64,
    content: ContentHash,
}

impl<'i> Linked<'i> {
    fn of(entry: &'i Entry) -> Option<Self> {
        let Kind::File {
            size_bytes,
            content,
        } = entry.kind
        else {
            return None;
        };
        entry.group.is_some().then_some(Self {
            at: &entry.path,
            size_bytes,
            content,
        })
    }
}

/// The kept files of one tree.
#[derive(Clone, Copy)]
pub(crate) struct FilesOfTree<'a> {
    kept: &'a PackageFiles,
    entries: &'a [Entry],
    shown: &'a Path,
    rules: Option<&'a Rules>,
}

impl<'a> FilesOfTree<'a> {
    /// Leaves out the files that a scan under `rules` would not find.
    pub(crate) fn as_scanned(self, rules: &'a Rules) -> Self {
        Self {
            rules: Some(rules),
            ..self
        }
    }

    fn file(&self, path: &EntryPath) -> Option<(u64, ContentHash)> {
        if self.rules.is_some_and(|rules| is_left_out(path, rules)) {
            return None;
        }
        let at = self.entries.binary_search_by(|entry| entry.path.cmp(path));
        match self.entries[at.ok()?].kind {
            Kind::File {
                size_bytes,
                content,
            } => Some((size_bytes, content)),
            _ => None,
        }
    }
}

fn is_left_out(path: &EntryPath, rules: &Rules) -> bool {
    let is_closed = |above: EntryPath| rules.excludes(&above) || rules.keeps_empty(&above);
    rules.excludes(path) || path.ancestors().any(is_closed)
}

impl NamedRoot for FilesOfTree<'_> {
    fn name(&self) -> &Path {
        self.shown
    }
}

impl RootFiles for FilesOfTree<'_> {
    fn size_bytes(&self, path: &EntryPath) -> Option<u64> {
        Some(self.file(path)?.0)
    }

    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>> {
        let from = self
            .entries
            .partition_point(|entry| entry.path <= *directory);
        self.entries[from..]
            .iter()
            .take_while(|entry| entry.path.is_beneath(directory))
            .filter(|entry| entry.path.parent_key() == Some(directory.key()))
            .map(|entry| entry.path.name().to_vec())
            .collect()
    }

    fn bytes(&self, path: &EntryPath, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some((size_bytes, content)) = self.file(path) else {
            return Ok(None);
        };
        if size_bytes > most_bytes {
            return Ok(None);
        }
        let Some(place) = self.kept.find(path, content)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let file = File::open(&place).map_err(Error::io("read", &place))?;
        let read = file.take(most_bytes).read_to_end(&mut bytes);
        read.map_err(Error::io("read", place))?;
        Ok(Some(bytes))
    }

    fn copy(&self, path: &EntryPath, target: &Path) -> Result<bool> {
        let Some((_, content)) = self.file(path) else {
            return Ok(false);
        };
        let Some(place) = self.kept.find(path, content)? else {
            return Ok(false);
        };
        // The copy is private either way; a second name costs nothing.
        std::fs::hard_link(&place, target)
            .or_else(|_| std::fs::copy(place, target).map(drop))
            .map_err(Error::io("write", target))?;
        Ok(true)
    }
}
