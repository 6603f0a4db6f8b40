//! From a stream of tar bytes to a blob: blocks of one size, hashed and compressed side by side.
//!
//! ```text
//! source → 1 MiB blocks ─┬→ SHA-256 = diff_id
//!                        └→ compress → SHA-256 = digest → out
//! ```
//! The queues are bounded, so memory depends on the number of threads alone. The bytes do not depend on it.

use super::codec::Compression;
use super::gzip;
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

const BLOCK_BYTES: usize = 1 << 20;
const QUEUED_BLOCKS: usize = 4;
/// zstd holds some 10 MB a worker at level 3.
const MOST_ZSTD_WORKERS: usize = 16;

/// Bytes of the tar stream, `BLOCK_BYTES` of them but for the last.
pub(super) type Block = Arc<Vec<u8>>;

/// What a stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// SHA-256 of the uncompressed stream.
    pub diff_id: DiffId,
    /// SHA-256 of what was written.
    pub digest: Digest,
    /// Bytes before compression.
    pub tar_bytes: u64,
    /// Bytes written.
    pub size_bytes: u64,
}

/// Takes the bytes of the stream and hands them on in blocks.
pub(super) struct BlockWriter {
    block: Vec<u8>,
    filled: usize,
    total: u64,
    hash: SyncSender<Block>,
    compress: SyncSender<Block>,
}

/// The compressor or the hasher has stopped; its own error tells why.
#[derive(Debug)]
pub(super) struct Stopped;

impl BlockWriter {
    /// Returns the part of the current block that is still to be filled; never empty.
    pub(super) fn free(&mut self) -> &mut [u8] {
        &mut self.block[self.filled..]
    }

    /// Takes the first `count` bytes of [`Self::free`] as filled.
    pub(super) fn advance(&mut self, count: usize) -> Result<(), Stopped> {
        self.filled += count;
        self.total += count as u64;
        if self.filled == self.block.len() { self.hand_on() } else { Ok(()) }
    }

    /// Copies `bytes` into the stream.
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
        let mut block = std::mem::replace(&mut self.block, vec![0; BLOCK_BYTES]);
        block.truncate(self.filled);
        self.filled = 0;
        let block = Arc::new(block);
        self.hash.send(Arc::clone(&block)).map_err(|_| Stopped)?;
        self.compress.send(block).map_err(|_| Stopped)
    }
}

/// What filled the stream gave up for.
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

/// Compresses what `fill` writes into `out`. `out_path` names it in errors.
pub(super) fn compress(
    compression: Compression,
    threads: NonZeroUsize,
    out: &mut (impl Write + Send),
    out_path: &Path,
    fill: impl FnOnce(&mut BlockWriter) -> Result<(), Failure>,
) -> Result<Compressed> {
    let (hash, to_hash) = sync_channel(QUEUED_BLOCKS);
    let (compress, to_compress) = sync_channel(QUEUED_BLOCKS);
    let mut blocks = BlockWriter { block: vec![0; BLOCK_BYTES], filled: 0, total: 0, hash, compress };
    std::thread::scope(|scope| {
        let hasher = scope.spawn(move || {
            to_hash.into_iter().fold(Sha256::new(), |hasher, block: Block| hasher.chain_update(&*block))
        });
        let writer = scope.spawn(move || write_compressed(compression, threads, to_compress, out));
        let filled =
            fill(&mut blocks).and_then(|()| if blocks.filled > 0 { Ok(blocks.hand_on()?) } else { Ok(()) });
        let tar_bytes = blocks.total;
        drop(blocks); // the queues end here
        let hasher = hasher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Err(Failure::Error(error)) = filled {
            return Err(error);
        }
        let (digest, size_bytes) = written.map_err(Error::io("write", out_path))?;
        Ok(Compressed { diff_id: DiffId(hasher.finalize().into()), digest, tar_bytes, size_bytes })
    })
}

fn write_compressed(
    compression: Compression,
    threads: NonZeroUsize,
    input: Receiver<Block>,
    out: &mut impl Write,
) -> io::Result<(Digest, u64)> {
    let mut out = HashingWriter { out, hasher: Sha256::new(), written: 0 };
    match compression {
        Compression::None => {
            for block in input {
                out.write_all(&block)?;
            }
        }
        Compression::Gzip(level) => gzip::compress(input, level, threads, &mut out)?,
        Compression::Zstd(level) => {
            let mut encoder = zstd::Encoder::new(&mut out, level)?;
            // Any number of workers gives the same bytes, but none at all would give others.
            encoder.multithread(threads.get().min(MOST_ZSTD_WORKERS) as u32)?;
            for block in input {
                encoder.write_all(&block)?;
            }
            encoder.finish()?;
        }
    }
    Ok((Digest(out.hasher.finalize().into()), out.written))
}

struct HashingWriter<W> {
    out: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
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

    /// 5 MiB and a bit: text, noise and zeros, so that every kind of deflate block occurs.
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
        for compression in
            [Compression::None, Compression::Gzip(6), Compression::Zstd(3), Compression::Zstd(9)]
        {
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
        for bytes in [sample(), Vec::new(), vec![7; BLOCK_BYTES], vec![7; BLOCK_BYTES + 1]] {
            for compression in
                [Compression::None, Compression::Gzip(1), Compression::Gzip(9), Compression::Zstd(3)]
            {
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
                assert_eq!((result.tar_bytes, result.size_bytes), (bytes.len() as u64, out.len() as u64));
            }
        }
    }

    #[test]
    fn gzip_is_one_member_that_a_plain_reader_takes() {
        let bytes = sample();
        let (_, out) = compressed(Compression::Gzip(6), 3, &bytes);
        let mut back = Vec::new();
        flate2::bufread::GzDecoder::new(&out[..]).read_to_end(&mut back).unwrap();
        assert!(back == bytes);
        assert_eq!(Codec::of_media_type(Codec::Gzip.media_type()), Some(Codec::Gzip));
    }

    #[test]
    fn a_full_disk_ends_it_with_the_path() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes: Vec<u8> = sample().repeat(8);
        for compression in [Compression::None, Compression::Gzip(1), Compression::Zstd(1)] {
            let fill = |blocks: &mut BlockWriter| Ok(blocks.push(&bytes)?);
            let threads = NonZeroUsize::new(2).unwrap();
            let error = compress(compression, threads, &mut Full(1 << 20), Path::new("/store/tmp/x"), fill);
            assert!(error.unwrap_err().to_string().contains("/store/tmp/x"));
        }
    }
}
