//! Threads that end together.

use std::panic::resume_unwind;
use std::thread;

/// Returns what a thread has returned. A panic of the thread goes on in the waiting thread.
pub(crate) fn joined<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}
