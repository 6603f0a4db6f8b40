//! The members of a layer's blob, hashed while reading and decompressed by another thread.

use super::codec::Codec;
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::model::limits::{LARGEST_RATIO, LEAST_UNPACKED_BYTES};
use crate::tarball::defect::TarError;
use crate::tarball::read::Reader;
use crate::threads::joined;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BUFFER_BYTES: usize = 256 * 1024;
const QUEUED_BLOCKS: usize = 8;

/// A blob that is read.
pub struct Blob<'a> {
    /// The compressed bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// The path of the blob, for errors.
    pub path: &'a Path,
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
}

impl<'a> From<&'a BlobSource> for Blob<'a> {
    fn from(source: &'a BlobSource) -> Self {
        Self {
            input: Box::new(source.reader()),
            path: source.path(),
            digest: source.digest(),
        }
    }
}

/// A result that tells whether the whole archive was read, so that the digest can be checked.
pub(super) trait Whole {
    fn is_whole(&self) -> bool;
}

impl Whole for bool {
    fn is_whole(&self) -> bool {
        *self
    }
}

/// The required content of a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacked {
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// The longest tar: a few bytes may unpack to more than any disk holds.
    pub most_bytes: u64,
}

/// Gives the members of the layer to `work`, while another thread decompresses. Fails if `work` fails, and with
/// [`Error::Damaged`] if a whole blob has another digest.
pub(super) fn with_members<T: Whole>(
    blob: Blob,
    work: impl FnOnce(&mut Reader<Pipe>) -> Result<T>,
) -> Result<T> {
    with_members_within(LEAST_UNPACKED_BYTES, None, blob, work).map(|(done, _)| done)
}

/// Gives the members of a layer to `work` as [`with_members`] does, and returns also the uncompressed bytes read. Fails also if
/// the content is not as `expected`.
pub(super) fn with_members_of<T: Whole>(
    blob: Blob,
    expected: Option<Unpacked>,
    work: impl FnOnce(&mut Reader<Pipe>) -> Result<T>,
) -> Result<(T, u64)> {
    with_members_within(LEAST_UNPACKED_BYTES, expected, blob, work)
}

fn with_members_within<T: Whole>(
    limit_bytes: u64,
    expected: Option<Unpacked>,
    blob: Blob,
    work: impl FnOnce(&mut Reader<Pipe>) -> Result<T>,
) -> Result<(T, u64)> {
    let Blob {
        input,
        path,
        digest,
    } = blob;
    let (blocks, queue) = sync_channel(QUEUED_BLOCKS);
    std::thread::scope(|scope| {
        let decompressor =
            scope.spawn(move || decompress(input, path, limit_bytes, expected, &blocks));
        let mut reader = Reader::new(Pipe {
            queue,
            block: Vec::new(),
            taken: 0,
            given_bytes: 0,
        });
        let done = work(&mut reader);
        let is_whole = done.as_ref().is_ok_and(Whole::is_whole);
        let mut pipe = reader.into_inner();
        if is_whole {
            // Bytes behind the end of the archive belong to the blob.
            let rest = io::copy(&mut pipe, &mut io::sink());
            rest.map_err(|e| Error::damaged(path, e.to_string()))?;
        }
        let unpacked_bytes = pipe.given_bytes;
        drop(pipe);
        let found = joined(decompressor.join());
        if is_whole {
            let found = found?.ok_or_else(|| Error::damaged(path, "it was not read to its end"))?;
            check_digest(found, digest, path)?;
        }
        done.map(|done| (done, unpacked_bytes))
    })
}

/// Makes the error of a blob that cannot be read on.
pub(super) fn unreadable(path: &Path, error: TarError) -> Error {
    match error {
        TarError::Io(source) => Error::damaged(path, source.to_string()),
        TarError::Malformed { what, path: member } => Error::BadLayer {
            path: path.to_owned(),
            member: shown(&member),
            what: what.to_owned(),
        },
    }
}

/// Returns the path of a member, for errors.
pub(super) fn shown(member: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(member))
}

/// Hashes a blob without unpacking. Fails if the digest is another.
pub fn check(blob: Blob) -> Result<()> {
    let Blob {
        input,
        path,
        digest,
    } = blob;
    let taken = AtomicU64::new(0);
    let mut input = Hashing::new(input, &taken);
    io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", path))?;
    let found = Digest(input.hasher.finalize().into());
    check_digest(found, digest, path)
}

fn check_digest(found: Digest, expected: Digest, path: &Path) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let what = format!("its digest is {found} and not {expected}");
    Err(Error::damaged(path, what))
}

/// Sends the uncompressed bytes in blocks, and returns the digest of the blob; `None` if the receiver has ended, or after a
/// failure that was sent.
fn decompress(
    input: impl Read + Send,
    path: &Path,
    limit_bytes: u64,
    expected: Option<Unpacked>,
    blocks: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<Option<Digest>> {
    let taken = AtomicU64::new(0);
    let mut input = Hashing::new(input, &taken);
    let mut tar = TarBytes {
        limit_bytes,
        packed_bytes: &taken,
        given_bytes: 0,
        expected: expected.map(|expected| (expected, Sha256::new())),
    };
    let mut start = vec![0; 8];
    let (known, failure) = fill(&mut input, &mut start);
    if let Some(failure) = failure {
        return Err(Error::io("read", path)(failure));
    }
    start.truncate(known);
    let codec = Codec::of_bytes(&start);
    let decoder = codec.decoder(io::Cursor::new(start).chain(&mut input), path)?;
    if !send_all(decoder, &mut tar, blocks) {
        return Ok(None);
    }
    // A blob may have bytes behind the compressed stream.
    io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", path))?;
    tar.finish(path)?;
    Ok(Some(Digest(input.hasher.finalize().into())))
}

/// Tells whether all was sent without a failure.
fn send_all(
    mut decoder: impl Read,
    tar: &mut TarBytes,
    blocks: &SyncSender<io::Result<Vec<u8>>>,
) -> bool {
    loop {
        let mut block = vec![0; BUFFER_BYTES];
        let (filled, failure) = fill(&mut decoder, &mut block);
        block.truncate(filled);
        let failure = tar.add(&block).err().or(failure);
        let is_last = filled < BUFFER_BYTES;
        if blocks.send(Ok(block)).is_err() {
            return false;
        }
        if let Some(failure) = failure {
            let _ = blocks.send(Err(failure)); // a receiver that has ended wants no error
            return false;
        }
        if is_last {
            return true;
        }
    }
}

/// Reads until the buffer is full or the input ends or fails; returns the length.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
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

/// The uncompressed bytes so far, compared with the limits.
struct TarBytes<'c> {
    limit_bytes: u64,
    packed_bytes: &'c AtomicU64,
    given_bytes: u64,
    expected: Option<(Unpacked, Sha256)>,
}

impl TarBytes<'_> {
    fn add(&mut self, block: &[u8]) -> io::Result<()> {
        self.given_bytes += block.len() as u64;
        if let Some((Unpacked { most_bytes, .. }, hasher)) = &mut self.expected {
            hasher.update(block);
            if self.given_bytes > *most_bytes {
                let what = format!("it unpacks to more than {most_bytes} bytes");
                return Err(io::Error::other(what));
            }
        }
        let packed_bytes = self.packed_bytes.load(Relaxed);
        let limit_bytes = LARGEST_RATIO.saturating_mul(packed_bytes);
        if self.given_bytes > limit_bytes.max(self.limit_bytes) {
            let what = "it unpacks to more than any layer has";
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    fn finish(self, path: &Path) -> Result<()> {
        let Some((Unpacked { diff_id, .. }, hasher)) = self.expected else {
            return Ok(());
        };
        let found = DiffId(hasher.finalize().into());
        if found == diff_id {
            return Ok(());
        }
        let what = format!("its content is {found} and not {diff_id}");
        Err(Error::damaged(path, what))
    }
}

/// Hashes and counts the bytes read.
struct Hashing<'c, R> {
    input: R,
    hasher: Sha256,
    taken: &'c AtomicU64,
}

impl<'c, R> Hashing<'c, R> {
    fn new(input: R, taken: &'c AtomicU64) -> Self {
        Self {
            input,
            hasher: Sha256::new(),
            taken,
        }
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.taken.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// The receiving end of the queue, as a stream.
pub(super) struct Pipe {
    queue: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    taken: usize,
    given_bytes: u64,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.block.len() {
            match self.queue.recv() {
                Ok(block) => (self.block, self.taken) = (block?, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.block.len() - self.taken);
        buffer[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        self.given_bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarball::{END, Member, padding};

    /// A layer with a file of that many zeros.
    fn zeros(count: usize) -> Vec<u8> {
        let mut tar = Vec::new();
        Member::file(b"zeros", count as u64)
            .write_header(&mut tar)
            .unwrap();
        tar.resize(tar.len() + count + padding(count as u64), 0);
        tar.extend_from_slice(&END);
        tar
    }

    /// How many members a blob has.
    fn members(limit_bytes: u64, bytes: &[u8]) -> Result<usize> {
        let path = Path::new("blob");
        let blob = Blob {
            input: Box::new(bytes),
            path,
            digest: Digest(Sha256::digest(bytes).into()),
        };
        let mut count = 0;
        with_members_within(limit_bytes, None, blob, |reader| {
            while reader
                .next_member()
                .map_err(|e| Error::damaged(path, e.to_string()))?
                .is_some()
            {
                count += 1;
            }
            Ok(true)
        })?;
        Ok(count)
    }

    #[test]
    fn a_blob_that_unpacks_to_far_more_than_it_has_is_refused_past_a_limit() {
        let tar = zeros(64 << 20);
        let packed = zstd::encode_all(&tar[..], 3).unwrap();
        assert!(packed.len() < 16 << 10, "{}", packed.len());
        assert_eq!(members(tar.len() as u64, &packed).unwrap(), 1);
        let error = members(32 << 20, &packed).unwrap_err().to_string();
        assert!(
            error.contains("blob") && error.contains("unpacks to more than any layer has"),
            "{error}"
        );
        // What a blob of this length can well hold passes whatever the limit is.
        assert_eq!(members(0, &tar).unwrap(), 1);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        io::Write::write_all(&mut gzip, &tar).unwrap();
        assert_eq!(members(0, &gzip.finish().unwrap()).unwrap(), 1);
    }
}
