//! gzip in independent blocks.
//!
//! A block is deflated without a dictionary in a single call and ends in a sync flush (RFC 1951, a stored block of length
//! 0). The blocks in a row form a deflate stream in a gzip member (RFC 1952), whose checksum combines the checksums of the
//! blocks.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::io;

/// No name, no time, unknown operating system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block with fixed codes.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Deflates blocks.
pub(super) struct Deflater(Compress);

impl Deflater {
    /// Takes a level of 1 to 9.
    pub(super) fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level), false))
    }

    /// Puts the compressed form of `block` into `out`. Fails if deflate leaves bytes over.
    pub(super) fn deflate(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<Crc> {
        let mut crc = Crc::new();
        crc.update(block);
        out.clear();
        // A single call must take the whole block: level 1 gives up to nine bits a byte, and the flush needs room.
        out.reserve(block.len() + (block.len() >> 3) + 1024);
        self.0.reset();
        let status = self
            .0
            .compress_vec(block, out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        let took_all = self.0.total_in() == block.len() as u64 && out.len() < out.capacity();
        match status {
            Status::Ok if took_all => Ok(crc),
            _ => Err(io::Error::other("deflate did not take a block in one call")),
        }
    }
}

/// The checksum of a member, for the trailer.
#[derive(Default)]
pub(super) struct Member(Crc);

impl Member {
    /// Counts a block in.
    pub(super) fn add(&mut self, crc: &Crc) {
        self.0.combine(crc);
    }

    /// Returns the last bytes.
    pub(super) fn trailer(&self) -> Vec<u8> {
        [
            &LAST_BLOCK[..],
            &self.0.sum().to_le_bytes(),
            &self.0.amount().to_le_bytes(),
        ]
        .concat()
    }
}
