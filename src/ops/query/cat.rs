//! The content of a file of a snapshot, out of the file's layer.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::partial::PartialBlobs;
use crate::layer::read::{Held, read_by_hash, read_files};
use crate::layer::seek::{Decompressor, Frames, Place, places};
use crate::model::digest::ContentHash;
use crate::model::names::SnapshotRef;
use crate::model::policy::Policy;
use crate::model::tree::entry::Kind;
use crate::model::tree::path::EntryPath;
use crate::ops::query::recorded_path::{Recorded, entry_of};
use crate::printable::printable;
use crate::store::Store;
use std::io::{self, Read, Write};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes the content of `path` to `out` as it comes. Fails with [`Error::NoContent`] if the path is no file, and at the end
/// with [`Error::Damaged`] if the content is not the recorded one.
pub(crate) fn cat(
    store_path: &Path,
    reference: &SnapshotRef,
    path: &EntryPath,
    parts: &PartialBlobs,
    out: &mut dyn Write,
) -> Result<()> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let found = entry_of(&store, &snapshot, path)?;
    let wanted = Wanted::find(&store, &found, path)?;
    let layer_id = found.layer.layer.id;
    if let Some((blob, frames, places)) = wanted.find_part(&store, &found, parts)? {
        wanted.write_part(&blob, &frames, &places, out)?;
        return out.flush().map_err(Error::Output);
    }
    let source = store.open_layer(&found.layer)?;
    let policy_key = store.policy_of_layer(layer_id)?;
    let policy = store.policy(&policy_key)?;
    let is_written = if Policy::from_canonical(&policy).is_some() {
        wanted.write_native(&source, out)?
    } else {
        wanted.write_foreign(&source, out)?
    };
    if !is_written && !wanted.write_by_hash(&source, out)? {
        let what = format!("it does not hold the content of {}", found.entry.path);
        return Err(Error::damaged(source.path(), what));
    }
    out.flush().map_err(Error::Output)
}

/// Returns the path of a file, with links in directories followed. Fails as [`cat`] does.
pub(crate) fn path_of(
    store_path: &Path,
    reference: &SnapshotRef,
    path: &EntryPath,
) -> Result<EntryPath> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    Ok(entry_of(&store, &snapshot, path)?.entry.path)
}

/// The wanted content.
struct Wanted {
    /// A native layer has the content under the first name of the inode, a foreign layer under any name.
    names: Vec<EntryPath>,
    size_bytes: u64,
    content: ContentHash,
}

impl Wanted {
    fn find(store: &Store, found: &Recorded, path: &EntryPath) -> Result<Self> {
        let content = content_of(&found.entry.kind);
        let (size_bytes, content) = content.map_err(|what| Error::NoContent {
            path: path.to_string(),
            what,
        })?;
        let mut names = match found.entry.group {
            Some(group) => store.names_of(found.layer.layer.id, group)?,
            None => Vec::new(),
        };
        names.push(found.entry.path.clone());
        Ok(Self {
            names,
            size_bytes,
            content,
        })
    }

    fn has(&self, name: &EntryPath, size_bytes: u64) -> bool {
        size_bytes == self.size_bytes && self.names.contains(name)
    }

    /// Finds the content in parts of the layer.
    fn find_part(
        &self,
        store: &Store,
        found: &Recorded,
        parts: &PartialBlobs,
    ) -> Result<Option<(BlobSource, Frames, Vec<Place>)>> {
        let digest = &found.layer.blob.digest;
        if !parts.has(digest) {
            return Ok(None);
        }
        let items = store.items(found.layer.layer.id)?;
        let (places, _) = places(&items, |name| self.names.contains(name))?;
        let frames = parts.find(digest, &places);
        let frames = frames.filter(|_| !places.is_empty());
        Ok(frames.map(|(blob, frames)| (blob, frames, places)))
    }

    /// As [`Wanted::write_native`], out of parts of the layer.
    fn write_part(
        &self,
        blob: &BlobSource,
        frames: &Frames,
        places: &[Place],
        out: &mut dyn Write,
    ) -> Result<()> {
        let mut decompressor = Decompressor::default();
        frames.read(places, &mut decompressor, |place, input| {
            if copy(input, out)? == self.content {
                return Ok(false);
            }
            let what = format!("the content of {} is not what was recorded", place.name);
            Err(Error::damaged(blob.path(), what))
        })
    }

    /// Writes the first content with a wanted name, and tells whether a member has such a name.
    fn write_native(&self, source: &BlobSource, out: &mut dyn Write) -> Result<bool> {
        let mut is_written = false;
        let wants = |name: &EntryPath, size_bytes| self.has(name, size_bytes);
        read_files(source.into(), wants, |name, _, input| {
            is_written = true;
            if copy(input, out)? == self.content {
                return Ok(false);
            }
            let what = format!("the content of {name} is not what was recorded");
            Err(Error::damaged(source.path(), what))
        })?;
        Ok(is_written)
    }

    /// As [`Wanted::write_native`], but a later member may have the same name, and printed bytes cannot be taken back.
    fn write_foreign(&self, source: &BlobSource, out: &mut dyn Write) -> Result<bool> {
        let mut is_written = false;
        let wants = |name: &EntryPath, size_bytes| self.has(name, size_bytes);
        read_files(source.into(), wants, |_, size_bytes, input| {
            let mut held = Held::take(input, size_bytes)?;
            is_written = self.write_held(&mut held, source, out)?;
            Ok(!is_written)
        })?;
        Ok(is_written)
    }

    /// Looks for the content under all names.
    fn write_by_hash(&self, source: &BlobSource, out: &mut dyn Write) -> Result<bool> {
        let mut is_written = false;
        let wants = |size_bytes| size_bytes == self.size_bytes;
        read_by_hash(source.into(), wants, |held| {
            is_written = self.write_held(held, source, out)?;
            Ok(!is_written)
        })?;
        Ok(is_written)
    }

    /// Writes a content that was put aside, if it is the wanted one. Fails with [`Error::Damaged`] if it cannot be read back.
    fn write_held(
        &self,
        held: &mut Held,
        source: &BlobSource,
        out: &mut dyn Write,
    ) -> Result<bool> {
        let is_wanted = held.hash == self.content;
        if is_wanted && copy(held.read()?, out)? != self.content {
            let what = "a content that was put aside cannot be read back";
            return Err(Error::damaged(source.path(), what));
        }
        Ok(is_wanted)
    }
}

/// Returns the length and the content of a file; of another entry, the kind in words as the error.
fn content_of(kind: &Kind) -> Result<(u64, ContentHash), String> {
    match kind {
        Kind::File {
            size_bytes,
            content,
        } => Ok((*size_bytes, *content)),
        Kind::Symlink(target) => Err(format!("a symlink to {}", printable(target))),
        Kind::Directory => Err("a directory".to_owned()),
        Kind::Fifo => Err("a FIFO".to_owned()),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => Err("a device".to_owned()),
    }
}

/// Copies a content, and returns its hash.
fn copy(input: &mut dyn Read, out: &mut dyn Write) -> Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(ContentHash(*hasher.finalize().as_bytes())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                out.write_all(&buffer[..count]).map_err(Error::Output)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // The reader of the layer tells why.
            Err(_) => return Ok(ContentHash(*hasher.finalize().as_bytes())),
        }
    }
}
