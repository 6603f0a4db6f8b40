//! Packs a layer into a blob, and packs the content of a blob again under another compression.
//!
//! Each file is read once, straight into the block hashed and compressed. Its BLAKE3 is compared with the
//! recorded hash, or becomes the hash if the file is pending. A file that has changed since hashing, or changes while
//! packing, fails the layer; so no layer holds a mixture.

use super::codec::{Codec, Compression};
use super::members::{Members, write_whiteout};
pub use super::stream::Compressed;
use super::stream::{self, BlockWriter, Failure};
use crate::error::{Error, Result};
use crate::model::digest::{ContentHash, DiffId};
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LARGEST_EXTENDED_SUM_BYTES, NAME_BYTES};
use crate::model::plan::item::Item;
use crate::model::plan::layer::LayerContent;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Content, Entry, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use crate::tarball;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The files of a layer that is being packed; `C` is the content in an entry: a hash, or a content that may be pending.
pub trait Contents<C = ContentHash> {
    /// Opens the file of `entry`, whose content is `content`. Fails if the file cannot be opened, or with
    /// [`Error::Changed`] if the path leads to another file by now.
    fn open(&self, entry: &Entry<C>, content: &C) -> Result<Opened<'_>>;

    /// Returns the path as the user knows it, for errors.
    fn full_path(&self, path: &EntryPath) -> PathBuf;

    /// Counts the bytes of each file that has been read.
    fn was_read(&self, bytes: u64);
}

/// A file that is being packed.
pub enum Opened<'a> {
    /// A file with the hash that its content must have.
    Hashed(Box<dyn Read + 'a>, ContentHash),
    /// A file whose hash packing finds out.
    Pending(Box<dyn PendingFile + 'a>),
}

/// A file that nobody has read before it is packed.
pub trait PendingFile: Read {
    /// Returns the extended attributes that the entry gets.
    fn xattrs(&self) -> &Xattrs;

    /// Takes the hash of the bytes that were read. Fails with [`Error::Changed`] if the file is another by now.
    fn finish(self: Box<Self>, content: ContentHash) -> Result<()>;
}

/// Packs `content` into `out`, which errors call `out_path`. Fails with [`Error::Changed`] if a file lacks the recorded
/// content, and if a file cannot be read, `out` cannot be written, or the names and attributes exceed a layer's limits.
pub fn pack<C: Content>(
    content: &LayerContent<C>,
    contents: &dyn Contents<C>,
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
) -> Result<Compressed> {
    stream::compress(compression, threads, out, out_path, |blocks| {
        let mut packing = Packing {
            blocks,
            contents,
            members: Members::default(),
            weight: Weight::default(),
            header: Vec::with_capacity(4 * tarball::BLOCK_BYTES),
        };
        for item in content.items() {
            match item {
                Item::Whiteout(path) => packing.push_whiteout(path)?,
                Item::Entry(entry) => packing.push_entry(entry)?,
            }
        }
        Ok(packing.blocks.push(&tarball::END)?)
    })
}

/// A layer that is being packed.
struct Packing<'p, 'b, C> {
    blocks: &'p mut BlockWriter<'b>,
    contents: &'p dyn Contents<C>,
    members: Members,
    weight: Weight,
    /// The header of the current member.
    header: Vec<u8>,
}

impl<C: Content> Packing<'_, '_, C> {
    fn push_whiteout(&mut self, path: &EntryPath) -> Result<(), Failure> {
        self.header.clear();
        write_whiteout(path, &mut self.header)?;
        let memory_bytes = NAME_BYTES + path.key().len();
        self.weight.add(path, memory_bytes, &self.header)?;
        Ok(self.blocks.push(&self.header)?)
    }

    fn push_entry(&mut self, entry: &Entry<C>) -> Result<(), Failure> {
        let file = match &entry.kind {
            Kind::File { content, .. } if self.members.has_content(entry) => {
                Some(Opened::of(entry, content, self.contents)?)
            }
            _ => None,
        };
        let opened = file.as_ref();
        let xattrs = opened.map_or(&entry.xattrs, |file| file.xattrs(entry));
        self.header.clear();
        self.members.write_entry(entry, xattrs, &mut self.header)?;
        let pending_bytes = opened.map_or(0, Opened::pending_xattr_bytes);
        let memory_bytes = entry.memory_bytes() + pending_bytes;
        self.weight.add(&entry.path, memory_bytes, &self.header)?;
        self.blocks.push(&self.header)?;
        if let Some(file) = file {
            push_content(self.blocks, file, entry, self.contents)?;
        }
        Ok(())
    }
}

/// The memory for reading the layer, limited as readers limit it.
#[derive(Default)]
struct Weight {
    memory_bytes: usize,
    extended_bytes: u64,
}

impl Weight {
    fn add(&mut self, path: &EntryPath, memory_bytes: usize, header: &[u8]) -> Result<()> {
        self.memory_bytes = self.memory_bytes.saturating_add(memory_bytes);
        self.extended_bytes += header.len() as u64;
        if self.memory_bytes > LARGEST_ENTRIES_BYTES
            || self.extended_bytes > LARGEST_EXTENDED_SUM_BYTES
        {
            let reason = "what comes before has all the names and attributes that a layer may have";
            return Err(Error::Unpackable {
                path: shown_path(path),
                reason,
            });
        }
        Ok(())
    }
}

impl<'a> Opened<'a> {
    fn of<C: Content>(
        entry: &Entry<C>,
        content: &C,
        contents: &'a dyn Contents<C>,
    ) -> Result<Self> {
        match content.hash() {
            Some(hash) if entry.size_bytes() == 0 => Ok(Self::Hashed(Box::new(io::empty()), hash)),
            _ => contents.open(entry, content),
        }
    }

    fn xattrs<'e, C>(&'e self, entry: &'e Entry<C>) -> &'e Xattrs {
        match self {
            Self::Hashed(..) => &entry.xattrs,
            Self::Pending(file) => file.xattrs(),
        }
    }

    /// Returns the memory of the attributes that the entry lacks so far.
    fn pending_xattr_bytes(&self) -> usize {
        match self {
            Self::Hashed(..) => 0,
            Self::Pending(file) => file.xattrs().memory_bytes(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Hashed(file, _) => file.read(buffer),
            Self::Pending(file) => file.read(buffer),
        }
    }

    /// Tells whether the file has the hash that its content must have; a pending file takes the hash.
    fn finish(self, found: ContentHash) -> Result<bool> {
        match self {
            Self::Hashed(_, expected) => Ok(expected == found),
            Self::Pending(file) => file.finish(found).map(|()| true),
        }
    }
}

fn push_content<C>(
    blocks: &mut BlockWriter,
    mut file: Opened,
    entry: &Entry<C>,
    contents: &dyn Contents<C>,
) -> Result<(), Failure> {
    let size_bytes = entry.size_bytes();
    let found = push_bytes(blocks, &mut file, entry, contents)?;
    if !file.finish(found)? {
        return Err(Error::Changed(contents.full_path(&entry.path)).into());
    }
    if size_bytes > 0 {
        contents.was_read(size_bytes);
    }
    Ok(blocks.push(&[0; tarball::BLOCK_BYTES][..tarball::padding(size_bytes)])?)
}

/// Reads the bytes of a file into the stream, and returns their hash.
fn push_bytes<C>(
    blocks: &mut BlockWriter,
    file: &mut Opened,
    entry: &Entry<C>,
    contents: &dyn Contents<C>,
) -> Result<ContentHash, Failure> {
    let mut hasher = blake3::Hasher::new();
    let mut left = entry.size_bytes();
    while left > 0 {
        let free = blocks.free();
        let most = free.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = match file.read(&mut free[..most]) {
            Ok(0) => return Err(Error::Changed(contents.full_path(&entry.path)).into()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", contents.full_path(&entry.path))(e).into()),
        };
        hasher.update(&free[..count]);
        blocks.advance(count)?;
        left -= count as u64;
    }
    Ok(ContentHash(*hasher.finalize().as_bytes()))
}

/// A blob whose content is packed again.
pub struct RepackInput<'a> {
    /// The compressed bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// The path of the blob, for errors.
    pub path: &'a Path,
    /// The compression.
    pub codec: Codec,
    /// The required hash of the content.
    pub diff_id: DiffId,
    /// The length of the content.
    pub tar_bytes: u64,
}

/// Packs the content of a blob again under another compression. Fails if the content does not match the diff_id, and as soon
/// as the content is too long: a few bytes may unpack to more than any disk holds.
pub fn repack(
    source: RepackInput,
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
) -> Result<Compressed> {
    let RepackInput {
        input,
        path,
        codec,
        diff_id,
        tar_bytes,
    } = source;
    let mut input = codec
        .decoder(input, path)?
        .take(tar_bytes.saturating_add(1));
    let packed = stream::compress(compression, threads, out, out_path, |blocks| {
        loop {
            match input.read(blocks.free()) {
                Ok(0) if input.limit() > 0 => return Ok(()),
                Ok(0) => {
                    let what = format!("it unpacks to more than {tar_bytes} bytes");
                    return Err(Error::damaged(path, what).into());
                }
                Ok(count) => blocks.advance(count)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::damaged(path, e.to_string()).into()),
            }
        }
    })?;
    if packed.diff_id != diff_id {
        return Err(Error::damaged(
            path,
            format!("its content is {} and not {diff_id}", packed.diff_id),
        ));
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_no_more_names_and_attributes_than_readers_take() {
        let path = EntryPath::from_slashed(b"d/f").unwrap();
        let mut weight = Weight {
            memory_bytes: LARGEST_ENTRIES_BYTES - 10,
            extended_bytes: 0,
        };
        weight.add(&path, 10, &[]).unwrap();
        let error = weight.add(&path, 1, &[]).unwrap_err().to_string();
        assert!(
            error.starts_with("/d/f cannot be put into a layer"),
            "{error}"
        );
        let mut weight = Weight {
            memory_bytes: 0,
            extended_bytes: LARGEST_EXTENDED_SUM_BYTES - 512,
        };
        weight.add(&path, 1, &[0; 512]).unwrap();
        assert!(weight.add(&path, 1, &[0; 512]).is_err());
    }

    #[test]
    fn a_blob_that_unpacks_to_more_than_its_layer_has_is_an_error_soon() {
        // zstd writes 4 GiB of zeros in a few hundred kilobytes; repacking stops at the third byte.
        let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
        io::copy(&mut io::repeat(0).take(4 << 30), &mut bomb).unwrap();
        let bomb = bomb.finish().unwrap();
        let repacked = |tar_bytes, diff_id| {
            let path = Path::new("/store/blob");
            let source = RepackInput {
                input: Box::new(&bomb[..]),
                path,
                codec: Codec::Zstd,
                diff_id,
                tar_bytes,
            };
            let mut out = Vec::new();
            let done = repack(
                source,
                Compression::None,
                NonZeroUsize::MIN,
                &mut out,
                Path::new("out"),
            );
            (
                done.map(|packed| packed.tar_bytes)
                    .map_err(|e| e.to_string()),
                out.len(),
            )
        };
        let (error, written) = repacked(2, DiffId([0; 32]));
        assert_eq!(
            error.unwrap_err(),
            "/store/blob is damaged: it unpacks to more than 2 bytes"
        );
        assert!(written <= 2 << 20, "{written}");
    }
}
