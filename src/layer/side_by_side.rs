//! Unpacks a blob by several threads.
//!
//! ```text
//! input → blocks, SHA-256 = digest → decompressed blocks ─┬→ members
//!                                                         └→ SHA-256 = diff_id, where it is wanted
//! ```
//! Each arrow is a bounded queue between two threads, and buffers are used again.

use super::buffers::{Block, Pool};
use super::packed::{Found, Limits, Packed, TarStream, decoder, fill};
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::threads::joined;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

const BUFFER_BYTES: usize = 256 * 1024;
const QUEUED_BLOCKS: usize = 4;

type ToBlocks<'p> = SyncSender<io::Result<Block<'p>>>;

/// Gives the tar of a blob to `work`; the hashes are of a blob that was read to its end. The second result fails if the blob cannot be read.
pub(super) fn unpack_side_by_side<T>(
    packed: Packed,
    work: impl FnOnce(TarStream) -> Result<T>,
) -> (Result<T>, Result<Found>) {
    let Packed {
        input,
        path,
        limits,
        with_diff_id,
    } = packed;
    let (packed, unpacked) = (Pool::default(), Pool::default());
    let (to_unpack, packed_blocks) = sync_channel(QUEUED_BLOCKS);
    let (to_parse, blocks) = sync_channel(QUEUED_BLOCKS);
    thread::scope(|scope| {
        let source = scope.spawn(|| read_packed(input, &packed, to_unpack));
        let (to_hash, hasher) = with_diff_id
            .then(|| {
                let (to_hash, blocks) = sync_channel(QUEUED_BLOCKS);
                (to_hash, scope.spawn(|| diff_id_of(blocks)))
            })
            .unzip();
        let tar = TarBlocks {
            limits,
            pool: &unpacked,
            to_parse,
            to_hash,
        };
        let packed_bytes = Pipe::new(packed_blocks, Some(limits.taken_bytes));
        let unpacker = scope.spawn(|| unpack(packed_bytes, path, tar));
        let done = work(Box::new(Pipe::new(blocks, None)));
        let (unpacked, digest) = (joined(unpacker.join()), joined(source.join()));
        let diff_id = hasher.map(|hasher| joined(hasher.join()));
        let found = unpacked.map(|()| Found { digest, diff_id });
        (done, found)
    })
}

/// Sends the bytes of the input in blocks, and returns their digest; `None` after a failure, which was sent, and if the receiver has
/// ended.
fn read_packed<'p>(
    mut input: impl Read,
    pool: &'p Pool,
    to_unpack: ToBlocks<'p>,
) -> Option<Digest> {
    let mut hasher = Sha256::new();
    loop {
        let mut block = pool.take_filled(BUFFER_BYTES);
        let (filled, failure) = fill(&mut input, &mut block.bytes);
        block.bytes.truncate(filled);
        hasher.update(&block.bytes);
        to_unpack.send(Ok(Arc::new(block))).ok()?;
        if let Some(failure) = failure {
            let _ = to_unpack.send(Err(failure)); // a receiver that has ended wants no error
            return None;
        }
        if filled < BUFFER_BYTES {
            return Some(Digest(hasher.finalize().into()));
        }
    }
}

/// Hashes the blocks of a tar.
fn diff_id_of(blocks: Receiver<Block>) -> DiffId {
    let mut hasher = Sha256::new();
    for block in blocks {
        hasher.update(&block.bytes);
    }
    DiffId(hasher.finalize().into())
}

/// Sends the uncompressed bytes in blocks. Fails if the compression is not known by the first bytes, or its memory cannot be had;
/// any other failure is sent.
fn unpack(mut packed: Pipe, path: &Path, mut tar: TarBlocks) -> Result<()> {
    let decoder = decoder(&mut packed, path)?;
    if tar.send_all(decoder) {
        // A blob may have bytes behind the compressed stream.
        io::copy(&mut packed, &mut io::sink()).map_err(Error::io("read", path))?;
    }
    Ok(())
}

/// Where the uncompressed bytes go.
struct TarBlocks<'p> {
    limits: Limits<'p>,
    pool: &'p Pool,
    to_parse: ToBlocks<'p>,
    to_hash: Option<SyncSender<Block<'p>>>,
}

impl TarBlocks<'_> {
    /// Tells whether all was sent without a failure.
    fn send_all(&mut self, mut decoder: impl Read) -> bool {
        loop {
            let mut block = self.pool.take_filled(BUFFER_BYTES);
            let (filled, failure) = fill(&mut decoder, &mut block.bytes);
            block.bytes.truncate(filled);
            let failure = self.limits.count(filled).err().or(failure);
            let block = Arc::new(block);
            if let Some(to_hash) = &self.to_hash {
                let _ = to_hash.send(Arc::clone(&block)); // ends with its sender alone
            }
            if self.to_parse.send(Ok(block)).is_err() {
                return false;
            }
            if let Some(failure) = failure {
                let _ = self.to_parse.send(Err(failure)); // a receiver that has ended wants no error
                return false;
            }
            if filled < BUFFER_BYTES {
                return true;
            }
        }
    }
}

/// The receiving end of a queue, as a stream that may count what it gives.
struct Pipe<'p> {
    queue: Receiver<io::Result<Block<'p>>>,
    block: Option<Block<'p>>,
    taken: usize,
    given_bytes: Option<&'p AtomicU64>,
}

impl<'p> Pipe<'p> {
    fn new(queue: Receiver<io::Result<Block<'p>>>, given_bytes: Option<&'p AtomicU64>) -> Self {
        Self {
            queue,
            block: None,
            taken: 0,
            given_bytes,
        }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self
                .block
                .as_ref()
                .map_or(&[][..], |block| &block.bytes[self.taken..]);
            if !left.is_empty() {
                let count = buffer.len().min(left.len());
                buffer[..count].copy_from_slice(&left[..count]);
                self.taken += count;
                if let Some(given_bytes) = self.given_bytes {
                    given_bytes.fetch_add(count as u64, Relaxed);
                }
                return Ok(count);
            }
            self.block = None; // its buffer may be wanted
            match self.queue.recv() {
                Ok(block) => (self.block, self.taken) = (Some(block?), 0),
                Err(_) => return Ok(0),
            }
        }
    }
}
