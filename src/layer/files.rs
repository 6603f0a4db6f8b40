//! Chosen files of a layer, by their names or by the hash of their content: of the latter each is put aside, and used once it is
//! known to be the one that is meant.

use super::read::unreadable;
use super::unpack::{Blob, with_members};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::tree::path::EntryPath;
use crate::tarball::read::{FoundKind, Reader, TarError};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

const BUFFER_BYTES: usize = 256 * 1024;
/// A longer content is put aside on the disk.
const LARGEST_HELD_BYTES: u64 = 8 << 20;

/// Reads the content of chosen files of a layer, in the order of the archive: of each file, `wants` is asked, and `take`
/// given the content of those that it wants. Ends, without a look at the rest, where `take` returns `false`.
pub fn read_files(
    blob: Blob,
    mut wants: impl FnMut(&EntryPath, u64) -> bool,
    mut take: impl FnMut(&EntryPath, u64, &mut dyn Read) -> Result<bool>,
) -> Result<()> {
    let path = blob.path.to_owned();
    let result = with_members(blob, |reader| {
        while let Some(found) = reader.next_member().map_err(|e| unreadable(&path, e))? {
            let FoundKind::File(size) = found.kind else {
                continue;
            };
            let Some(at) = EntryPath::from_slashed(&found.path).filter(|at| wants(at, size)) else {
                continue;
            };
            let mut content = Content {
                reader,
                failure: None,
            };
            let goes_on = take(&at, size, &mut content);
            if let Some(failure) = content.failure {
                return Err(unreadable(&path, failure));
            }
            if !goes_on? {
                return Ok(false);
            }
        }
        Ok(true)
    });
    result.map(drop)
}

/// The content of the current member as a stream.
struct Content<'r, R> {
    reader: &'r mut Reader<R>,
    failure: Option<TarError>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            io::Error::other(text)
        })
    }
}

/// Reads the files of a layer that are as long as one that is looked for, whatever their names, and gives each to `take`. What
/// others write may have a content under a name that a later member has replaced. Ends where `take` returns `false`.
pub fn read_by_hash(
    blob: Blob,
    wants: impl Fn(u64) -> bool,
    mut take: impl FnMut(&mut Held) -> Result<bool>,
) -> Result<()> {
    let wants = |_: &EntryPath, size_bytes| wants(size_bytes);
    read_files(blob, wants, |_, size_bytes, content| {
        take(&mut Held::take(content, size_bytes)?)
    })
}

/// A content that was put aside, so that its hash is known before it is used.
pub struct Held {
    /// Its hash.
    pub hash: ContentHash,
    /// Its length.
    pub size_bytes: u64,
    place: HeldIn,
}

enum HeldIn {
    Memory(io::Cursor<Vec<u8>>),
    /// A file without a name.
    File(File),
}

impl Held {
    /// Reads a content to its end. A stream that fails counts as one that is over: whoever reads the layer tells why.
    pub fn take(content: &mut dyn Read, size_bytes: u64) -> Result<Self> {
        let scratch = |e| Error::io("write in", std::env::temp_dir())(e);
        let mut hasher = blake3::Hasher::new();
        let mut place = match size_bytes <= LARGEST_HELD_BYTES {
            true => HeldIn::Memory(io::Cursor::new(Vec::new())),
            false => HeldIn::File(tempfile::tempfile().map_err(scratch)?),
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    match &mut place {
                        HeldIn::Memory(bytes) => {
                            bytes.get_mut().extend_from_slice(&buffer[..count])
                        }
                        HeldIn::File(file) => file.write_all(&buffer[..count]).map_err(scratch)?,
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Ok(Self {
            hash: ContentHash(*hasher.finalize().as_bytes()),
            size_bytes,
            place,
        })
    }

    /// Returns the content from its beginning.
    pub fn read(&mut self) -> Result<&mut dyn Read> {
        match &mut self.place {
            HeldIn::Memory(bytes) => {
                bytes.set_position(0);
                Ok(bytes)
            }
            HeldIn::File(file) => {
                file.rewind()
                    .map_err(Error::io("read in", std::env::temp_dir()))?;
                Ok(file)
            }
        }
    }
}
