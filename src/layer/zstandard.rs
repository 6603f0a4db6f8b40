//! zstd in independent frames (RFC 8878, "Frames").
//!
//! A frame header has the length of the content, so a reader can skip frames or take several at once. Independence costs
//! little: a frame is twice as long as zstd's window at the level.

use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// A frame without content: magic number, header for a single segment of 0 bytes, an empty last block.
pub(super) const EMPTY: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// Returns the length of the content of a frame.
pub(super) fn block_bytes(level: i32) -> usize {
    match level {
        ..=8 => 4 << 20,
        9..=15 => 8 << 20,
        16.. => 16 << 20,
    }
}

/// Makes frames.
pub(super) struct Framer(io::Result<Compressor<'static>>);

impl Framer {
    /// Takes a level of 1 to 19.
    pub(super) fn new(level: i32) -> Self {
        Self(Compressor::new(level))
    }

    /// Puts the compressed form of `block` into `out`. Fails if zstd has no memory.
    pub(super) fn frame(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let compressor = self
            .0
            .as_mut()
            .map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
        out.clear();
        out.reserve(compress_bound(block.len()));
        compressor.compress_to_buffer(block, out).map(drop)
    }
}
