//! What has gone over the wire.

use std::ops::Sub;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that all clients of one access share.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub(super) requests: Arc<AtomicU64>,
    pub(super) sent: Arc<AtomicU64>,
    pub(super) received: Arc<AtomicU64>,
    pub(super) retries: Arc<AtomicU64>,
}

impl Counters {
    /// Returns what was sent and received so far.
    pub fn traffic(&self) -> Traffic {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: value(&self.requests),
            bytes_sent: value(&self.sent),
            bytes_received: value(&self.received),
            retries: value(&self.retries),
        }
    }
}

/// What was sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests, each try and each redirect for itself.
    pub requests: u64,
    /// Bytes of the contents of requests.
    pub bytes_sent: u64,
    /// Bytes of the contents of answers.
    pub bytes_received: u64,
    /// Tries after the first.
    pub retries: u64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            bytes_sent: self.bytes_sent - before.bytes_sent,
            bytes_received: self.bytes_received - before.bytes_received,
            retries: self.retries - before.retries,
        }
    }
}
