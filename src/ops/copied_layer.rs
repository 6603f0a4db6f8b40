//! Reads a layer while its blob is copied to a file without a name: once it is there, it is known to be what it should be.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, Keep, LayerItems, Threads, Unpacked, read_exactly};
use crate::model::digest::Digest;
use crate::ops::monitor::Monitor;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

/// So many layers may be read at once by one processor.
const LEAST_AT_ONCE: usize = 4;

/// A layer that was read, and its blob.
pub(crate) struct CopiedLayer {
    /// The blob, which has its digest, in a file without a name.
    pub file: File,
    /// What the layer holds.
    pub items: LayerItems,
    /// The length of the tar.
    pub tar_bytes: u64,
}

/// The blob of a layer in another place.
pub(crate) struct Original<'a> {
    /// The compressed bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// What errors call the blob.
    pub path: &'a Path,
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// What they unpack to.
    pub expected: Unpacked,
    /// How many threads unpack them.
    pub threads: Threads,
}

impl CopiedLayer {
    /// Reads a layer, copies its blob to a file in `directory`, and keeps contents as [`read_exactly`] does. `monitor` is told the
    /// bytes of the blob. Fails if the blob cannot be read or is another, and if the file cannot be written.
    pub(crate) fn read(
        original: Original,
        directory: &Path,
        keep: &mut Keep,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(Error::io("write in", directory))?;
        let copying = Copying {
            input: original.input,
            file: &file,
            directory,
            monitor,
        };
        let blob = Blob {
            input: Box::new(copying),
            path: original.path,
            digest: original.digest,
        };
        let expected = (original.expected, original.threads);
        let (items, tar_bytes) = read_exactly(blob, expected, keep)?;
        Ok(Self {
            file,
            items,
            tar_bytes,
        })
    }

    /// Reads the blob from the first byte.
    pub(crate) fn reader(&self) -> impl Read + Send + '_ {
        Positioned {
            file: &self.file,
            at: 0,
        }
    }
}

/// Reads a file by position.
struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Returns how many threads unpack a layer among others: several where the layer is more than the share of a processor.
pub(crate) fn threads_for(size_bytes: u64, all_bytes: u64) -> Threads {
    if size_bytes.saturating_mul(2 * processors() as u64) > all_bytes {
        Threads::Several
    } else {
        Threads::One
    }
}

/// Returns how many layers are read at once: more threads unpack no faster, and each may take a window of 128 MiB.
pub(crate) fn at_once(jobs: NonZeroUsize) -> NonZeroUsize {
    let most = NonZeroUsize::new(processors().max(LEAST_AT_ONCE));
    most.map_or(jobs, |most| most.min(jobs))
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Copies the bytes that are read.
struct Copying<'a> {
    input: Box<dyn Read + Send + 'a>,
    file: &'a File,
    directory: &'a Path,
    monitor: &'a dyn Monitor,
}

impl Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let written = self.file.write_all(&buffer[..count]);
        written.map_err(|e| io::Error::other(Error::io("write in", self.directory)(e)))?;
        self.monitor.advance(count as u64);
        Ok(count)
    }
}
