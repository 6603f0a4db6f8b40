//! A layer made of the contents of other layers, without the root: the contents are put aside, since layers are streams, and a
//! tree in path order needs the files of all layers in another order.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::pack::{Contents, Opened};
use crate::layer::read::read_files;
use crate::model::digest::ContentHash;
use crate::model::plan::layer::LayerContent;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::packing::{PackedBlob, Packer};
use crate::store::LayerUse;
use crate::store::Store;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Packs a layer whose files other layers have. Fails if a layer is missing or damaged, if no layer has a content, and if the
/// store has no room.
pub(crate) fn pack_again(
    packer: &Packer,
    layers: &[LayerUse],
    content: &LayerContent,
    phases: &Phases,
) -> Result<PackedBlob> {
    let scratch = packer.store.scratch()?;
    let sizes = layers.iter().map(|layer| layer.blob.size_bytes);
    let total = sizes.sum();
    let contents = phases.run(Phase::Read, Some(total), || {
        Aside::put(
            packer.store,
            layers,
            content,
            scratch.path(),
            phases.monitor,
        )
    })?;
    let total = content.content_bytes();
    phases.run(Phase::Pack, Some(total), || packer.pack(content, &contents))
}

/// The contents of a layer's files, each in a file of a private directory.
struct Aside<'a> {
    files: HashMap<ContentHash, PathBuf>,
    monitor: &'a dyn Monitor,
}

impl<'a> Aside<'a> {
    /// Reads the contents out of the layers, each layer once. Fails if a layer is missing or damaged, or if no layer has a
    /// content.
    fn put(
        store: &Store,
        layers: &[LayerUse],
        content: &LayerContent,
        directory: &Path,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let contents = content.entries().filter_map(content_of);
        let mut putting = Putting {
            directory,
            files: contents.map(|(content, _)| (content, None)).collect(),
            count: 0,
        };
        for used in layers {
            let source = store.open_layer(used)?;
            putting.read(&source, store.items(used.layer.id)?)?;
            monitor.advance(used.blob.size_bytes);
        }
        let mut files = HashMap::new();
        for (hash, place) in putting.files {
            let Some(place) = place else {
                let what = format!("the content {hash} is in no layer of the snapshot");
                return Err(Error::damaged(store.path(), what));
            };
            files.insert(hash, place);
        }
        Ok(Self { files, monitor })
    }
}

/// Returns the content of a file with bytes, and its length.
fn content_of(entry: &Entry) -> Option<(ContentHash, u64)> {
    match entry.kind {
        Kind::File {
            size_bytes,
            content,
        } if size_bytes > 0 => Some((content, size_bytes)),
        _ => None,
    }
}

struct Putting<'a> {
    directory: &'a Path,
    /// The wanted contents, and the files of the contents found.
    files: HashMap<ContentHash, Option<PathBuf>>,
    count: usize,
}

impl Putting<'_> {
    /// Reads the missing contents out of a layer.
    fn read(&mut self, source: &BlobSource, items: Vec<LayerItem>) -> Result<()> {
        let entries = items.iter().filter_map(LayerItem::entry);
        let missing: HashMap<&EntryPath, (ContentHash, u64)> = entries
            .filter_map(|entry| Some((&entry.path, content_of(entry)?)))
            .filter(|(_, (content, _))| self.is_missing(content))
            .collect();
        read_files(
            source.into(),
            |at, _| missing.contains_key(at),
            |_, _, content| self.keep(content),
        )?;
        // A foreign layer may have a content under a name with another content in a later member.
        let mut sizes = HashSet::new();
        for (content, size_bytes) in missing.values() {
            if self.is_missing(content) {
                sizes.insert(*size_bytes);
            }
        }
        if sizes.is_empty() {
            return Ok(());
        }
        read_files(
            source.into(),
            |_, size_bytes| sizes.contains(&size_bytes),
            |_, _, content| self.keep(content),
        )
    }

    fn is_missing(&self, content: &ContentHash) -> bool {
        self.files.get(content) == Some(&None)
    }

    /// Writes a content to a file; the next content overwrites an unwanted content.
    fn keep(&mut self, content: &mut dyn Read) -> Result<bool> {
        let place = self.directory.join(self.count.to_string());
        let mut out = Hashing {
            out: File::create(&place).map_err(Error::io("write", &place))?,
            hasher: blake3::Hasher::new(),
        };
        io::copy(content, &mut out).map_err(Error::io("write", &place))?;
        let found = ContentHash(*out.hasher.finalize().as_bytes());
        if self.is_missing(&found) {
            self.files.insert(found, Some(place));
            self.count += 1;
        }
        Ok(true)
    }
}

/// Hashes bytes on their way to a file.
struct Hashing {
    out: File,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Contents for Aside<'_> {
    fn open(&self, entry: &Entry, content: &ContentHash) -> Result<Opened<'_>> {
        let Some(place) = self.files.get(content) else {
            return Err(Error::Changed(shown_path(&entry.path)));
        };
        let file = File::open(place).map_err(Error::io("open", place))?;
        Ok(Opened::Hashed(Box::new(file), *content))
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        shown_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.monitor.advance(bytes);
    }
}
