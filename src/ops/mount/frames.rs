//! The decompressed frames of all layers, held up to a limit.

use crate::error::Result;
use crate::layer::seek::{Decompressor, Frames};
use crate::ops::mount::cache::{Cache, lock};
use crate::ops::mount::library::Layer;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const MOST_BYTES: u64 = 64 << 20;

/// Frames in memory.
pub(super) struct Memory {
    /// By the number of the layer and the offset there.
    frames: Cache<(usize, u64), Arc<Frame>>,
    decompressors: Mutex<Vec<Decompressor>>,
    /// How many frames were decompressed.
    count: AtomicU64,
}

/// A decompressed frame.
pub(super) struct Frame {
    /// Another number each time that the frame is decompressed.
    pub number: u64,
    pub bytes: Vec<u8>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            frames: Cache::new(MOST_BYTES),
            decompressors: Mutex::default(),
            count: AtomicU64::new(0),
        }
    }
}

impl Memory {
    /// Returns the frame of a layer that begins at `start`. Fails if the frame cannot be read or is malformed.
    pub(super) fn frame(&self, layer: &Layer, frames: &Frames, start: u64) -> Result<Arc<Frame>> {
        self.frames.get((layer.number, start), || {
            let idle = lock(&self.decompressors).pop();
            let mut decompressor = idle.unwrap_or_default();
            let bytes = frames.decompress(start, &mut decompressor);
            lock(&self.decompressors).push(decompressor);
            let bytes = bytes?;
            let length = bytes.len() as u64;
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            Ok((Arc::new(Frame { number, bytes }), length))
        })
    }
}
