//! Packs a layer into a blob, and packs a blob's content again under another compression.
//!
//! Each file is read once, straight into the block that is hashed and compressed. Its BLAKE3 is compared with the
//! recorded one, or found out where nobody has read it yet. A file that is no longer what was hashed, or another
//! after reading than before, fails the layer; so no layer holds a mixture.

use super::codec::{Codec, Compression};
use super::members::{Members, write_whiteout};
pub use super::stream::Compressed;
use super::stream::{self, BlockWriter, Failure};
use crate::error::{Error, Result};
use crate::model::digest::{ContentHash, DiffId};
use crate::model::limits::{LARGEST_ENTRIES_BYTES, LARGEST_EXTENDED_SUM_BYTES, NAME_BYTES};
use crate::model::plan::layer::{Item, LayerContent};
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Entry, Kind, Xattrs};
use crate::model::tree::path::EntryPath;
use crate::tarball;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Where the content of a layer's files comes from.
pub trait Contents {
    /// Opens the content of a file.
    fn open(&self, path: &EntryPath) -> Result<Box<dyn Read + '_>>;

    /// Opens the content of a file that nobody has read yet.
    fn open_unread(&self, path: &EntryPath) -> Result<Box<dyn Unread + '_>>;

    /// Returns the path as the user knows it, for errors.
    fn full_path(&self, path: &EntryPath) -> PathBuf;

    /// Is told the bytes of each file when it has been read.
    fn was_read(&self, bytes: u64);
}

/// A file whose content is [`ContentHash::UNREAD`] in its layer.
pub trait Unread: Read {
    /// Returns the extended attributes that the entry is to have.
    fn xattrs(&self) -> &Xattrs;

    /// Takes the hash of what was read. Fails with [`Error::Changed`] where the file is another by now.
    fn was_read(self: Box<Self>, content: ContentHash) -> Result<()>;
}

/// Packs `content` into `out`, which errors call `out_path`. Fails with [`Error::Changed`] where a file does not
/// have the recorded content.
pub fn pack(
    content: &LayerContent,
    contents: &dyn Contents,
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
) -> Result<Compressed> {
    stream::compress(compression, threads, out, out_path, |blocks| {
        let mut members = Members::default();
        let mut weight = Weight::default();
        let mut header = Vec::with_capacity(4 * tarball::BLOCK_BYTES);
        for item in content.items() {
            header.clear();
            match item {
                Item::Whiteout(path) => {
                    write_whiteout(path, &mut header)?;
                    weight.add(path, NAME_BYTES + path.key().len(), &header)?;
                    blocks.push(&header)?;
                }
                Item::Entry(entry) => match &entry.kind {
                    Kind::File {
                        size_bytes,
                        content,
                    } if members.has_content(entry) => {
                        let file = Open::of(entry, content, contents)?;
                        members.write_entry(entry, file.xattrs(entry), &mut header)?;
                        weight.add(
                            &entry.path,
                            entry.memory_bytes() + file.late_bytes(),
                            &header,
                        )?;
                        blocks.push(&header)?;
                        push_content(blocks, file, entry, *size_bytes, contents)?;
                    }
                    _ => {
                        members.write_entry(entry, &entry.xattrs, &mut header)?;
                        weight.add(&entry.path, entry.memory_bytes(), &header)?;
                        blocks.push(&header)?;
                    }
                },
            }
        }
        Ok(blocks.push(&tarball::END)?)
    })
}

/// What reading the layer will take, which is to be no more than readers take.
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

/// A file that is being packed.
enum Open<'a> {
    Hashed(Box<dyn Read + 'a>, ContentHash),
    Unread(Box<dyn Unread + 'a>),
}

impl<'a> Open<'a> {
    fn of(entry: &Entry, content: &ContentHash, contents: &'a dyn Contents) -> Result<Self> {
        Ok(match *content {
            ContentHash::UNREAD => Self::Unread(contents.open_unread(&entry.path)?),
            hash if entry.size_bytes() == 0 => Self::Hashed(Box::new(io::empty()), hash),
            hash => Self::Hashed(contents.open(&entry.path)?, hash),
        })
    }

    fn xattrs<'e>(&'e self, entry: &'e Entry) -> &'e Xattrs {
        match self {
            Self::Hashed(..) => &entry.xattrs,
            Self::Unread(file) => file.xattrs(),
        }
    }

    /// The memory of the attributes that its entry is yet to get.
    fn late_bytes(&self) -> usize {
        match self {
            Self::Hashed(..) => 0,
            Self::Unread(file) => file.xattrs().memory_bytes(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Hashed(file, _) => file.read(buffer),
            Self::Unread(file) => file.read(buffer),
        }
    }
}

fn push_content(
    blocks: &mut BlockWriter,
    mut file: Open,
    entry: &Entry,
    size_bytes: u64,
    contents: &dyn Contents,
) -> Result<(), Failure> {
    let changed = || Error::Changed(contents.full_path(&entry.path));
    let mut hasher = blake3::Hasher::new();
    let mut left = size_bytes;
    while left > 0 {
        let free = blocks.free();
        let most = free.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = match file.read(&mut free[..most]) {
            Ok(0) => return Err(changed().into()),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", contents.full_path(&entry.path))(e).into()),
        };
        hasher.update(&free[..count]);
        blocks.advance(count)?;
        left -= count as u64;
    }
    let found = ContentHash(*hasher.finalize().as_bytes());
    match file {
        Open::Hashed(_, hash) if hash != found => return Err(changed().into()),
        Open::Hashed(..) => {}
        Open::Unread(file) => file.was_read(found)?,
    }
    if size_bytes > 0 {
        contents.was_read(size_bytes);
    }
    Ok(blocks.push(&[0; tarball::BLOCK_BYTES][..tarball::padding(size_bytes)])?)
}

/// A blob whose content is to be packed again.
pub struct Source<'a> {
    /// Its bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// Where it is, for errors.
    pub path: &'a Path,
    /// How it is compressed.
    pub codec: Codec,
    /// What its content must be.
    pub diff_id: DiffId,
    /// How long that is.
    pub tar_bytes: u64,
}

/// Packs the content of a blob again under another compression. Fails where it is not what its diff_id says, and as soon as
/// it is longer: a few bytes may unpack to more than any disk holds.
pub fn repack(
    source: Source,
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
) -> Result<Compressed> {
    let Source {
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
        // 4 GiB of zeros, which zstd writes in a few hundred kilobytes and this stops at the third byte.
        let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
        io::copy(&mut io::repeat(0).take(4 << 30), &mut bomb).unwrap();
        let bomb = bomb.finish().unwrap();
        let repacked = |tar_bytes, diff_id| {
            let path = Path::new("/store/blob");
            let source = Source {
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
