//! Buffers used again.

use std::sync::{Arc, Mutex, PoisonError};

/// Free buffers: the first touch of fresh memory costs as much as filling a buffer.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

/// A buffer that returns to the pool when dropped.
pub(super) struct Buffer<'p> {
    pub bytes: Vec<u8>,
    pub pool: &'p Pool,
}

/// A buffer that several threads read.
pub(super) type Block<'p> = Arc<Buffer<'p>>;

impl Pool {
    /// Returns a buffer of any length and content.
    pub(super) fn take(&self) -> Buffer<'_> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer {
            bytes: free.unwrap_or_default(),
            pool: self,
        }
    }

    /// Returns a buffer of this length with arbitrary content.
    pub(super) fn take_filled(&self, length: usize) -> Buffer<'_> {
        let mut buffer = self.take();
        buffer.bytes.resize(length, 0);
        buffer
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}
