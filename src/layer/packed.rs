//! A blob that is to be unpacked: its bytes, and what may come out of them.

use super::codec::Codec;
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::model::limits::LARGEST_RATIO;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The bytes of a tar.
pub(super) type TarStream<'s> = Box<dyn Read + 's>;

/// A result that tells whether the whole archive was read, so the digest can be checked.
pub(super) trait Whole {
    fn is_whole(&self) -> bool;
}

impl Whole for bool {
    fn is_whole(&self) -> bool {
        *self
    }
}

/// A blob that is to be unpacked.
pub(super) struct Packed<'a> {
    pub input: Box<dyn Read + Send + 'a>,
    /// The path of the blob, for errors.
    pub path: &'a Path,
    pub limits: Limits<'a>,
    /// Whether the tar is hashed.
    pub with_diff_id: bool,
}

/// The hashes of what was read to its end.
#[derive(Default)]
pub(super) struct Found {
    pub digest: Option<Digest>,
    pub diff_id: Option<DiffId>,
}

/// The uncompressed bytes so far, compared with what may come out of the compressed ones.
#[derive(Clone, Copy)]
pub(super) struct Limits<'c> {
    pub least_bytes: u64,
    pub most_bytes: Option<u64>,
    pub taken_bytes: &'c AtomicU64,
    pub given_bytes: &'c AtomicU64,
}

impl Limits<'_> {
    /// Counts uncompressed bytes. Fails above a limit.
    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        let given_bytes = self.given_bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        if let Some(most_bytes) = self.most_bytes
            && given_bytes > most_bytes
        {
            let what = format!("it unpacks to more than {most_bytes} bytes");
            return Err(io::Error::other(what));
        }
        let limit_bytes = LARGEST_RATIO.saturating_mul(self.taken_bytes.load(Relaxed));
        if given_bytes > limit_bytes.max(self.least_bytes) {
            let what = "it unpacks to more than any layer has";
            return Err(io::Error::other(what));
        }
        Ok(())
    }
}

/// Begins to decompress, by the first bytes. Fails if they cannot be read, or the memory cannot be had.
pub(super) fn decoder<'r>(
    mut input: impl Read + Send + 'r,
    path: &Path,
) -> Result<Box<dyn Read + Send + 'r>> {
    let mut start = vec![0; 8];
    let (known, failure) = fill(&mut input, &mut start);
    if let Some(failure) = failure {
        return Err(Error::io("read", path)(failure));
    }
    start.truncate(known);
    let codec = Codec::of_bytes(&start);
    codec.decoder(io::Cursor::new(start).chain(input), path)
}

/// Reads until the buffer is full or the input ends or fails; returns the length.
pub(super) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (filled, Some(e)),
        }
    }
    (filled, None)
}

/// Hashes the bytes read.
pub(super) struct Hashing<R> {
    pub input: R,
    pub hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
