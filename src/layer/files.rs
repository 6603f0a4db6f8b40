//! Chosen files of a layer, by name or by the hash of the content: a content is put aside until the hash is known.

use super::unpack::{Blob, unreadable, with_members};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::tree::path::EntryPath;
use crate::tarball::defect::TarError;
use crate::tarball::read::{FoundKind, Reader};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

const BUFFER_BYTES: usize = 256 * 1024;
/// A longer content is put aside on the disk.
const LARGEST_HELD_BYTES: u64 = 8 << 20;

/// Reads chosen files of a layer in the order of the archive: `take` is given the content of each file that `wants` chooses.
/// Ends before the rest if `take` returns `false`.
///
/// Fails if the archive up to there is malformed, if `take` fails, and after a whole archive if the digest is another.
pub(crate) fn read_files(
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

/// Reads the files of a layer whose length `wants` chooses, under any name, and gives each to `take`: in a foreign layer a
/// later member may replace the name of a content. Ends if `take` returns `false`. Fails as [`read_files`] does, and if a
/// content cannot be put aside.
pub(crate) fn read_by_hash(
    blob: Blob,
    wants: impl Fn(u64) -> bool,
    mut take: impl FnMut(&mut Held) -> Result<bool>,
) -> Result<()> {
    let wants = |_: &EntryPath, size_bytes| wants(size_bytes);
    read_files(blob, wants, |_, size_bytes, content| {
        take(&mut Held::take(content, size_bytes)?)
    })
}

fn scratch_failed(error: io::Error) -> Error {
    Error::io("write in", std::env::temp_dir())(error)
}

/// A content that was put aside, to know the hash before the use.
pub(crate) struct Held {
    /// BLAKE3 of the content.
    pub hash: ContentHash,
    /// The length.
    pub size_bytes: u64,
    place: HeldIn,
}

enum HeldIn {
    Memory(io::Cursor<Vec<u8>>),
    /// A file without a name.
    File(File),
}

impl Held {
    /// Reads a content to the end. A failing stream just ends: the reader of the layer reports the error. Fails if the
    /// temporary directory is full or not writable.
    pub(crate) fn take(content: &mut dyn Read, size_bytes: u64) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut place = if size_bytes <= LARGEST_HELD_BYTES {
            HeldIn::Memory(io::Cursor::new(Vec::new()))
        } else {
            HeldIn::File(tempfile::tempfile().map_err(scratch_failed)?)
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
                        HeldIn::File(file) => {
                            file.write_all(&buffer[..count]).map_err(scratch_failed)?
                        }
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

    /// Returns the content from the first byte. Fails if the temporary file cannot be rewound.
    pub(crate) fn read(&mut self) -> Result<&mut dyn Read> {
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
