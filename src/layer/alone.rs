//! Unpacks a blob by the thread that parses it: where other threads read other layers, nothing is gained by handing blocks on.

use super::packed::{Found, Hashing, Limits, Packed, TarStream, Whole, decoder};
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use sha2::{Digest as _, Sha256};
use std::io::{self, BufReader, Read};
use std::sync::atomic::Ordering::Relaxed;

const BUFFER_BYTES: usize = 64 << 10;

/// Gives the tar of a blob to `work`; the hashes are of a blob that was read to its end. The second result fails if the blob cannot be read.
pub(super) fn unpack_alone<T: Whole>(
    packed: Packed,
    work: impl FnOnce(TarStream) -> Result<T>,
) -> (Result<T>, Result<Found>) {
    let Packed {
        input,
        path,
        limits,
        with_diff_id,
    } = packed;
    let mut input = Hashing {
        input: Counted { input, limits },
        hasher: Sha256::new(),
    };
    let mut tar_hasher = with_diff_id.then(Sha256::new);
    let done = decoder(&mut input, path).and_then(|decoder| {
        let tar = Tar {
            decoder,
            limits,
            hasher: tar_hasher.as_mut(),
        };
        work(Box::new(BufReader::with_capacity(BUFFER_BYTES, tar)))
    });
    if !done.as_ref().is_ok_and(Whole::is_whole) {
        return (done, Ok(Found::default()));
    }
    // A blob may have bytes behind the compressed stream.
    let rest = io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", path));
    let found = rest.map(|_| Found {
        digest: Some(Digest(input.hasher.finalize().into())),
        diff_id: tar_hasher.map(|hasher| DiffId(hasher.finalize().into())),
    });
    (done, found)
}

/// The compressed bytes, counted.
struct Counted<'a, R> {
    input: R,
    limits: Limits<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.limits.taken_bytes.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// The bytes of the tar, counted and hashed.
struct Tar<'a, R> {
    decoder: R,
    limits: Limits<'a>,
    hasher: Option<&'a mut Sha256>,
}

impl<R: Read> Read for Tar<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.limits.count(count)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}
