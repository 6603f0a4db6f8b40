//! Frames decompressed before somebody asks, on a thread of their own: whoever reads a tree in order wants the next frame soon.

use crate::layer::seek::Frames;
use crate::ops::mount::frames::Memory;
use crate::ops::mount::library::{Layer, Reading};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// How many frames are decompressed before they are wanted.
const FRAMES: usize = 2;

/// The frames to decompress.
pub(super) struct Ahead {
    wanted: SyncSender<(Arc<Layer>, u64)>,
}

impl Ahead {
    /// Starts the thread, which ends with this value. Without a thread, frames are decompressed when they are wanted.
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        let (wanted, frames) = sync_channel(FRAMES);
        let memory = Arc::clone(memory);
        let work = move || decompress(&memory, &frames);
        let _ = thread::Builder::new().spawn(work);
        Self { wanted }
    }

    /// Notes that somebody reads the frame at `start`, and if the frame before was the last, wants the next.
    pub(super) fn note(&self, layer: &Arc<Layer>, frames: &Frames, start: u64) {
        let last = layer.last_frame.swap(start, Ordering::Relaxed);
        if last == start || start == 0 {
            return;
        }
        let before = frames.extent_of(start - 1);
        if before.is_ok_and(|before| before.start == last) {
            let mut at = start;
            for _ in 0..FRAMES {
                let Ok(extent) = frames.extent_of(at) else {
                    return;
                };
                at = extent.end;
                // With a full queue, the thread has enough to do.
                let _ = self.wanted.try_send((Arc::clone(layer), at));
            }
        }
    }
}

fn decompress(memory: &Memory, wanted: &Receiver<(Arc<Layer>, u64)>) {
    while let Ok((layer, at)) = wanted.recv() {
        if let Some(reading) = layer.settled()
            && let Reading::Frames(frames) = &*reading
            && let Ok(extent) = frames.extent_of(at)
        {
            // A failure is told to whoever asks for the frame.
            let _ = memory.frame(&layer, frames, extent.start);
        }
    }
}
