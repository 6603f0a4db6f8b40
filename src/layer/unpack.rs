//! The members of a layer's blob: hashed as its bytes come, and decompressed beside whoever looks at them.

use super::codec::Codec;
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::model::limits::{LARGEST_RATIO, LEAST_UNPACKED_BYTES};
use crate::tarball::read::Reader;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BUFFER_BYTES: usize = 256 * 1024;
const QUEUED_BLOCKS: usize = 8;

/// A blob that is read.
pub struct Blob<'a> {
    /// Its bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// Where they are, for errors.
    pub path: &'a Path,
    /// SHA-256 of them.
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

/// Whether `work` has read all that it wants, and the digest is to be checked.
pub(super) trait Whole {
    fn is_whole(&self) -> bool;
}

impl Whole for bool {
    fn is_whole(&self) -> bool {
        *self
    }
}

/// What a blob must unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Unpacked {
    /// SHA-256 of its tar.
    pub diff_id: DiffId,
    /// It is refused as soon as the tar is longer: a few bytes may unpack to more than any disk holds.
    pub most_bytes: u64,
}

/// Gives the members of the layer to `work`, while another thread decompresses.
pub(super) fn with_members<T: Whole>(
    blob: Blob,
    work: impl FnOnce(&mut Reader<Pipe>) -> Result<T>,
) -> Result<T> {
    with_members_within(LEAST_UNPACKED_BYTES, None, blob, work).map(|(done, _)| done)
}

/// The same, for a blob that must unpack to this. Returns also how many bytes it unpacked to, as far as it was read.
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
            // What follows the archive's end belongs to the blob.
            let rest = io::copy(&mut pipe, &mut io::sink());
            rest.map_err(|e| Error::damaged(path, e.to_string()))?;
        }
        let unpacked_bytes = pipe.given_bytes;
        drop(pipe);
        let found = decompressor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if is_whole {
            let found = found?.ok_or_else(|| Error::damaged(path, "it was not read to its end"))?;
            if found != digest {
                return Err(Error::damaged(
                    path,
                    format!("its digest is {found} and not {digest}"),
                ));
            }
        }
        done.map(|done| (done, unpacked_bytes))
    })
}

/// Hashes a blob without a look at what it holds. Fails where its digest is another.
pub fn check(blob: Blob) -> Result<()> {
    let Blob {
        input,
        path,
        digest,
    } = blob;
    let taken = AtomicU64::new(0);
    let mut input = Hashing {
        input,
        hasher: Sha256::new(),
        taken: &taken,
    };
    io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", path))?;
    let found = Digest(input.hasher.finalize().into());
    match found == digest {
        true => Ok(()),
        false => Err(Error::damaged(
            path,
            format!("its digest is {found} and not {digest}"),
        )),
    }
}

/// Sends the uncompressed bytes in blocks, and returns the digest of the blob; `None` where nobody takes them any more.
fn decompress(
    input: impl Read + Send,
    path: &Path,
    limit_bytes: u64,
    expected: Option<Unpacked>,
    blocks: &SyncSender<io::Result<Vec<u8>>>,
) -> Result<Option<Digest>> {
    let mut tar = expected.map(|expected| (expected, Sha256::new()));
    let (taken, mut given) = (AtomicU64::new(0), 0);
    let mut input = Hashing {
        input,
        hasher: Sha256::new(),
        taken: &taken,
    };
    let mut start = vec![0; 8];
    let mut known = 0;
    while known < start.len() {
        match input
            .read(&mut start[known..])
            .map_err(Error::io("read", path))?
        {
            0 => break,
            count => known += count,
        }
    }
    start.truncate(known);
    let codec = Codec::of_bytes(&start);
    {
        // Some bytes more than the decoder wants may stand at the end.
        let mut decoder = codec.decoder(io::Cursor::new(start).chain(&mut input), path)?;
        loop {
            let mut block = vec![0; BUFFER_BYTES];
            let mut filled = 0;
            let mut failure = loop {
                match decoder.read(&mut block[filled..]) {
                    Ok(0) => break None,
                    Ok(count) => filled += count,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => break Some(e),
                }
            };
            block.truncate(filled);
            given += filled as u64;
            if given > limit_bytes.max(LARGEST_RATIO.saturating_mul(taken.load(Relaxed))) {
                failure = Some(io::Error::other("it unpacks to more than any layer has"));
            }
            if let Some((Unpacked { most_bytes, .. }, hasher)) = &mut tar {
                hasher.update(&block);
                if given > *most_bytes {
                    failure = Some(io::Error::other(format!(
                        "it unpacks to more than {most_bytes} bytes"
                    )));
                }
            }
            let is_last = filled < BUFFER_BYTES;
            if blocks.send(Ok(block)).is_err() {
                return Ok(None);
            }
            if let Some(failure) = failure {
                let _ = blocks.send(Err(failure));
                return Ok(None);
            }
            if is_last {
                break;
            }
        }
    }
    io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", path))?;
    if let Some((Unpacked { diff_id, .. }, hasher)) = tar {
        let found = DiffId(hasher.finalize().into());
        if found != diff_id {
            return Err(Error::damaged(
                path,
                format!("its content is {found} and not {diff_id}"),
            ));
        }
    }
    Ok(Some(Digest(input.hasher.finalize().into())))
}

/// Hashes and counts what is read through it.
struct Hashing<'c, R> {
    input: R,
    hasher: Sha256,
    taken: &'c AtomicU64,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.taken.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// The other end of the queue, as a stream.
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
