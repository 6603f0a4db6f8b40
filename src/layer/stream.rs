//! From a stream of tar bytes to a blob: blocks of one size, hashed and compressed side by side.
//!
//! ```text
//! source → blocks ─┬→ SHA-256 = diff_id
//!                  └→ workers, each block by itself → in order again → SHA-256 = digest → out
//! ```
//! The queues are bounded and buffers are used again, so memory depends on the number of threads alone. The bytes never
//! depend on the threads: a block is compressed without regard to other blocks.

use super::buffers::{Block, Buffer, Pool};
use super::codec::Compression;
use super::{gzip, zstandard};
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::threads::joined;
use flate2::Crc;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

const QUEUED_BLOCKS: usize = 2;

/// A worker needs memory for a block, the compressed block and zstd's tables; with more workers, SHA-256 sets the pace.
const MOST_WORKERS: usize = 16;

/// Hashes and lengths of a finished stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// SHA-256 of the uncompressed stream.
    pub diff_id: DiffId,
    /// SHA-256 of the compressed stream.
    pub digest: Digest,
    /// Bytes before compression.
    pub tar_bytes: u64,
    /// Bytes written.
    pub size_bytes: u64,
}

/// A block of the tar stream, full except the last, for the next free worker, with the channel for the result.
struct Job<'p> {
    block: Block<'p>,
    done: Promise<'p>,
}

type Promise<'p> = SyncSender<io::Result<Piece<'p>>>;
type Promised<'p> = Receiver<io::Result<Piece<'p>>>;

/// A compressed block.
enum Piece<'p> {
    Stored(Block<'p>),
    Gzip(Buffer<'p>, Crc),
    Zstd(Buffer<'p>),
}

/// Collects the bytes of the stream into blocks.
pub(super) struct BlockWriter<'p> {
    block: Buffer<'p>,
    block_bytes: usize,
    filled: usize,
    total: u64,
    hash: SyncSender<Block<'p>>,
    order: SyncSender<Promised<'p>>,
    jobs: SyncSender<Job<'p>>,
}

/// The compressor or the hasher has stopped, with an error that tells why.
#[derive(Debug)]
pub(super) struct Stopped;

impl BlockWriter<'_> {
    /// Returns the free rest of the current block; never empty.
    pub(super) fn free(&mut self) -> &mut [u8] {
        &mut self.block.bytes[self.filled..]
    }

    /// Counts the first `count` bytes of [`Self::free`] as filled. Fails if a thread has stopped.
    pub(super) fn advance(&mut self, count: usize) -> Result<(), Stopped> {
        self.filled += count;
        self.total += count as u64;
        if self.filled == self.block_bytes {
            self.hand_on()
        } else {
            Ok(())
        }
    }

    /// Copies `bytes` into the stream. Fails once a thread has stopped.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let free = self.free();
            let count = free.len().min(bytes.len());
            free[..count].copy_from_slice(&bytes[..count]);
            self.advance(count)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        let next = self.block.pool.take_filled(self.block_bytes);
        let mut block = std::mem::replace(&mut self.block, next);
        block.bytes.truncate(self.filled);
        self.filled = 0;
        let block = Arc::new(block);
        let (done, promised) = sync_channel(1);
        self.hash.send(Arc::clone(&block)).map_err(|_| Stopped)?;
        self.order.send(promised).map_err(|_| Stopped)?;
        self.jobs.send(Job { block, done }).map_err(|_| Stopped)
    }

    fn hand_on_rest(&mut self) -> Result<(), Stopped> {
        if self.filled > 0 {
            self.hand_on()
        } else {
            Ok(())
        }
    }
}

/// The reason for an unfinished stream.
#[derive(Debug)]
pub(super) enum Failure {
    Stopped,
    Error(Error),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Compresses the bytes from `fill` into `out`, named `out_path` in errors. Fails if `fill` fails or `out` cannot be written.
pub(super) fn compress(
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
    fill: impl FnOnce(&mut BlockWriter) -> Result<(), Failure>,
) -> Result<Compressed> {
    let workers = threads.get().min(MOST_WORKERS);
    let (blocks, pieces) = (Pool::default(), Pool::default());
    let block_bytes = block_bytes(compression);
    let (hash, to_hash) = sync_channel::<Block>(QUEUED_BLOCKS);
    let (order, in_order) = sync_channel::<Promised>(workers + QUEUED_BLOCKS);
    let (jobs, queue) = sync_channel::<Job>(QUEUED_BLOCKS);
    let queue = Arc::new(Mutex::new(queue));
    std::thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_blocks(to_hash));
        for _ in 0..workers {
            let (queue, pieces) = (Arc::clone(&queue), &pieces);
            scope.spawn(move || work(compression, &queue, pieces));
        }
        drop(queue); // once all workers are gone, sending a block fails
        let writer = scope.spawn(move || write_in_order(compression, in_order, out));
        let mut stream = BlockWriter {
            block: blocks.take_filled(block_bytes),
            block_bytes,
            filled: 0,
            total: 0,
            hash,
            order,
            jobs,
        };
        let filled = fill(&mut stream).and_then(|()| Ok(stream.hand_on_rest()?));
        let tar_bytes = stream.total;
        drop(stream); // the queues end here
        let (diff_id, written) = (joined(hasher.join()), joined(writer.join()));
        if let Err(Failure::Error(error)) = filled {
            return Err(error);
        }
        let (digest, size_bytes) = written.map_err(Error::io("write", out_path))?;
        Ok(Compressed {
            diff_id,
            digest: digest.unwrap_or(Digest(diff_id.0)),
            tar_bytes,
            size_bytes,
        })
    })
}

fn hash_blocks(blocks: Receiver<Block>) -> DiffId {
    let mut hasher = Sha256::new();
    for block in blocks {
        hasher.update(&block.bytes);
    }
    DiffId(hasher.finalize().into())
}

fn block_bytes(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip(_) => 1 << 20,
        Compression::Zstd(level) => zstandard::block_bytes(level),
    }
}

/// Compresses blocks until the queue ends.
fn work<'p>(compression: Compression, queue: &Mutex<Receiver<Job<'p>>>, pool: &'p Pool) {
    let mut worker = Worker::new(compression);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Job { block, done }) = next() {
        let _ = done.send(worker.compress(block, pool)); // after an error, no receiver is left
    }
}

/// The compressor of a thread.
enum Worker {
    None,
    Gzip(gzip::Deflater),
    Zstd(zstandard::Framer),
}

impl Worker {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip(level) => Self::Gzip(gzip::Deflater::new(level)),
            Compression::Zstd(level) => Self::Zstd(zstandard::Framer::new(level)),
        }
    }

    fn compress<'p>(&mut self, block: Block<'p>, pool: &'p Pool) -> io::Result<Piece<'p>> {
        let mut piece = pool.take();
        Ok(match self {
            Self::None => Piece::Stored(block),
            Self::Gzip(deflater) => {
                let crc = deflater.deflate(&block.bytes, &mut piece.bytes)?;
                Piece::Gzip(piece, crc)
            }
            Self::Zstd(framer) => {
                framer.frame(&block.bytes, &mut piece.bytes)?;
                Piece::Zstd(piece)
            }
        })
    }
}

/// Writes the pieces, and returns their digest; `None` where they are the blocks, whose digest is the diff_id.
fn write_in_order(
    compression: Compression,
    pieces: Receiver<Promised>,
    out: &mut impl Write,
) -> io::Result<(Option<Digest>, u64)> {
    let is_compressed = compression != Compression::None;
    let mut out = HashingWriter {
        out,
        hasher: is_compressed.then(Sha256::new),
        written: 0,
    };
    let mut member = matches!(compression, Compression::Gzip(_)).then(gzip::Member::default);
    if member.is_some() {
        out.write_all(&gzip::HEADER)?;
    }
    for piece in pieces {
        match piece
            .recv()
            .map_err(|_| io::Error::other("a compressing thread ended early"))??
        {
            Piece::Stored(block) => out.write_all(&block.bytes)?,
            Piece::Zstd(frame) => out.write_all(&frame.bytes)?,
            Piece::Gzip(deflated, crc) => {
                out.write_all(&deflated.bytes)?;
                member.get_or_insert_default().add(&crc);
            }
        }
    }
    if let Some(member) = member {
        out.write_all(&member.trailer())?;
    }
    if matches!(compression, Compression::Zstd(_)) && out.written == 0 {
        out.write_all(&zstandard::EMPTY)?; // an empty blob would be no zstd
    }
    let digest = out.hasher.map(|hasher| Digest(hasher.finalize().into()));
    Ok((digest, out.written))
}

struct HashingWriter<W> {
    out: W,
    hasher: Option<Sha256>,
    written: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..count]);
        }
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::codec::Codec;
    use std::io::Read;

    /// 5 MiB and a bit: text, noise and zeros, so every kind of deflate block occurs.
    fn sample() -> Vec<u8> {
        let mut noise = blake3::Hasher::new().finalize_xof();
        let mut bytes = vec![0; (5 << 20) + 77];
        noise.fill(&mut bytes[..2 << 20]);
        for (at, byte) in bytes[3 << 20..].iter_mut().enumerate() {
            *byte = b"the quick brown fox "[(at / 3) % 20];
        }
        bytes
    }

    fn compressed(compression: Compression, threads: usize, bytes: &[u8]) -> (Compressed, Vec<u8>) {
        let mut out = Vec::new();
        let threads = NonZeroUsize::new(threads).unwrap();
        let fill = |blocks: &mut BlockWriter| Ok(blocks.push(bytes)?);
        let result = compress(compression, threads, &mut out, Path::new("out"), fill).unwrap();
        (result, out)
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_number_of_threads() {
        let bytes = sample();
        for compression in [
            Compression::None,
            Compression::Gzip(6),
            Compression::Zstd(3),
            Compression::Zstd(9),
        ] {
            let one = compressed(compression, 1, &bytes);
            for threads in [2, 3, 8, 40] {
                assert_eq!(
                    compressed(compression, threads, &bytes),
                    one,
                    "{compression} on {threads} threads"
                );
            }
        }
    }

    #[test]
    fn what_is_compressed_reads_back_and_has_the_digests_it_says() {
        for bytes in [
            sample(),
            Vec::new(),
            vec![7; 4 << 20],
            vec![7; (4 << 20) + 1],
        ] {
            for compression in [
                Compression::None,
                Compression::Gzip(1),
                Compression::Gzip(9),
                Compression::Zstd(3),
            ] {
                let (result, out) = compressed(compression, 2, &bytes);
                let mut back = Vec::new();
                compression
                    .codec()
                    .decoder(&out[..], Path::new("x"))
                    .unwrap()
                    .read_to_end(&mut back)
                    .unwrap();
                assert!(back == bytes, "{compression}");
                assert_eq!(result.diff_id.0, <[u8; 32]>::from(Sha256::digest(&bytes)));
                assert_eq!(result.digest.0, <[u8; 32]>::from(Sha256::digest(&out)));
                assert_eq!(
                    (result.tar_bytes, result.size_bytes),
                    (bytes.len() as u64, out.len() as u64)
                );
            }
        }
    }

    #[test]
    fn gzip_is_one_member_that_a_plain_reader_takes() {
        let bytes = sample();
        let (_, out) = compressed(Compression::Gzip(6), 3, &bytes);
        let mut back = Vec::new();
        flate2::bufread::GzDecoder::new(&out[..])
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == bytes);
        assert_eq!(
            Codec::of_media_type(Codec::Gzip.media_type()),
            Some(Codec::Gzip)
        );
    }

    #[test]
    fn a_full_disk_ends_it_with_the_path() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(bytes.len())
                    .ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = sample().repeat(8);
        for compression in [
            Compression::None,
            Compression::Gzip(1),
            Compression::Zstd(1),
        ] {
            let fill = |blocks: &mut BlockWriter| Ok(blocks.push(&bytes)?);
            let threads = NonZeroUsize::new(2).unwrap();
            let error = compress(
                compression,
                threads,
                &mut Full(1 << 20),
                Path::new("/store/tmp/x"),
                fill,
            );
            assert!(error.unwrap_err().to_string().contains("/store/tmp/x"));
        }
    }
}
