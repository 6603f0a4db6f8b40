//! gzip on several threads, with bytes that do not depend on their number.
//!
//! The input comes in blocks of one size; each is deflated by itself, without a dictionary and in one call, and
//! ends in a sync flush (RFC 1951, a stored block of length 0). Put one after another they are one deflate stream in one
//! gzip member (RFC 1952), whose checksum is combined from those of the blocks.

use super::stream::Block;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// No name, no time, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block with fixed codes.
const LAST_BLOCK: [u8; 2] = [3, 0];

struct Job {
    block: Block,
    done: SyncSender<io::Result<Deflated>>,
}

struct Deflated {
    bytes: Vec<u8>,
    crc: Crc,
}

/// Writes the blocks that `input` gives as one gzip member.
pub(super) fn compress(
    input: Receiver<Block>,
    level: u32,
    threads: NonZeroUsize,
    out: &mut impl Write,
) -> io::Result<()> {
    let (jobs, queue) = sync_channel::<Job>(threads.get());
    let queue = Mutex::new(queue);
    let (order, results) = sync_channel::<Receiver<io::Result<Deflated>>>(2 * threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(Job { block, done }) = next() {
                    let _ = done.send(deflate(&block, level)); // nobody waits for it after an error
                }
            });
        }
        scope.spawn(move || {
            for block in input {
                let (done, result) = sync_channel(1);
                if order.send(result).is_err() || jobs.send(Job { block, done }).is_err() {
                    return; // the writer failed
                }
            }
        });
        write_in_order(results, out)
    })
}

fn write_in_order(results: Receiver<Receiver<io::Result<Deflated>>>, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&HEADER)?;
    let mut crc = Crc::new();
    for result in results {
        let deflated = result.recv().map_err(|_| io::Error::other("a compressing thread ended early"))??;
        crc.combine(&deflated.crc);
        out.write_all(&deflated.bytes)?;
    }
    out.write_all(&LAST_BLOCK)?;
    out.write_all(&crc.sum().to_le_bytes())?;
    out.write_all(&crc.amount().to_le_bytes())
}

fn deflate(block: &[u8], level: u32) -> io::Result<Deflated> {
    let mut crc = Crc::new();
    crc.update(block);
    // One call must take all of the block: level 1 gives up to nine bits a byte, and the flush wants room.
    let mut bytes = Vec::with_capacity(block.len() + (block.len() >> 3) + 1024);
    let mut state = Compress::new(Compression::new(level), false);
    let status = state.compress_vec(block, &mut bytes, FlushCompress::Sync).map_err(io::Error::other)?;
    let took_all = state.total_in() == block.len() as u64 && bytes.len() < bytes.capacity();
    match status {
        Status::Ok if took_all => Ok(Deflated { bytes, crc }),
        _ => Err(io::Error::other("deflate did not take a block in one call")),
    }
}
