//! The bytes of a blob: the one source from which layers are read, packed again, restored in parts, and copied into images.
//!
//! The bytes are those of a local file, perhaps filled first. Readers ask for bytes by position and nothing else; the
//! kernel's copying of whole files alone asks for the file.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Puts bytes of a blob into its file before somebody reads them there.
pub(crate) trait Fill: Send + Sync {
    /// Makes the file hold a range of bytes, up to the end of the blob. Fails if the bytes cannot be had.
    fn fill(&self, file: &File, bytes: Range<u64>) -> io::Result<()>;
}

/// The bytes of a blob, readable from any position by any number of readers. A clone shares the open file.
#[derive(Clone)]
pub struct BlobSource {
    shared: Arc<Shared>,
}

struct Shared {
    file: File,
    path: PathBuf,
    digest: Digest,
    size_bytes: u64,
    fill: Option<Box<dyn Fill>>,
}

impl fmt::Debug for BlobSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("BlobSource");
        shown
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl BlobSource {
    /// Takes an open file. `path` names the file in errors.
    pub(crate) fn new(file: File, path: PathBuf, digest: Digest, size_bytes: u64) -> Self {
        Self::filled(file, path, digest, size_bytes, None)
    }

    /// Takes an open file, filled as it is read if `fill` is given.
    pub(crate) fn filled(
        file: File,
        path: PathBuf,
        digest: Digest,
        size_bytes: u64,
        fill: Option<Box<dyn Fill>>,
    ) -> Self {
        let shared = Shared {
            file,
            path,
            digest,
            size_bytes,
            fill,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn fill(&self, position: u64, length: usize) -> io::Result<()> {
        let end = position.saturating_add(length as u64);
        let fill = self.shared.fill.as_ref();
        fill.map_or(Ok(()), |fill| fill.fill(&self.shared.file, position..end))
    }

    /// Returns where the blob is, for errors.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns the SHA-256 that the blob has by its name.
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// Returns the blob's length.
    pub fn size_bytes(&self) -> u64 {
        self.shared.size_bytes
    }

    /// Starts a reader at the first byte. Readers do not disturb one another.
    pub fn reader(&self) -> BlobReader {
        self.reader_at(0)
    }

    /// Starts a reader at another position.
    pub(crate) fn reader_at(&self, position: u64) -> BlobReader {
        BlobReader {
            source: self.clone(),
            position,
        }
    }

    /// Reads all of a small blob. Fails if the file cannot be read.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.reader().read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(Error::io("read", self.path()))
    }

    /// Reads some bytes from `position` on. Fails as pread(2) does, and if the bytes cannot be had.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.fill(position, buffer.len())?;
        self.shared.file.read_at(buffer, position)
    }

    /// Fills `buffer` from `position` on. Fails as pread(2) does, and if the blob ends before.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.fill(position, buffer.len())?;
        self.shared.file.read_exact_at(buffer, position)
    }

    /// Returns the file, for calls that let the kernel copy or share. No reader uses the position of the file.
    pub(crate) fn file(&self) -> &File {
        &self.shared.file
    }
}

/// Reads a blob from a position on.
#[derive(Clone, Debug)]
pub struct BlobReader {
    source: BlobSource,
    position: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
