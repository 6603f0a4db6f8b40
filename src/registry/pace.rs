//! The least pace of a transfer: a peer that gives or takes a byte now and then would hold a command for ever.

use std::io;
use std::time::Duration;

/// So many bytes must come or go in the time.
const LEAST_BYTES: u64 = 128 << 10;

/// The bytes of a transfer since the last time that there were enough, and how long the peer was waited for.
#[derive(Debug)]
pub(super) struct Pace {
    within: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Begins a transfer that waits so long at most for each part of it.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Counts bytes that the peer was waited for. Fails where they are too few.
    pub(super) fn count(&mut self, waited: Duration, bytes: usize) -> io::Result<()> {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.bytes >= LEAST_BYTES {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        if self.waited <= self.within {
            return Ok(());
        }
        let what = format!(
            "it is too slow: {} bytes in {} s",
            self.bytes,
            self.waited.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_now_and_then_are_too_slow_and_a_pause_is_not() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(10 * second);
        assert!((0..11).any(|_| pace.count(second, 1).is_err()));
        let mut pace = Pace::new(10 * second);
        for _ in 0..99 {
            pace.count(9 * second, 1).unwrap();
            pace.count(second, LEAST_BYTES as usize).unwrap();
        }
    }
}
