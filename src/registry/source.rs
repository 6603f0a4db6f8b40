//! Bytes to be sent, from the start as often as a failure wants.

use crate::registry::pace::Pace;
use std::io;
use std::io::Read;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The bytes of a blob to be pushed.
pub trait Source: Sync {
    /// Starts a reader at the first byte. Fails where the bytes cannot be had: the push ends then.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

/// A reader of exactly as many bytes as were announced, which keeps the error of the source.
pub(super) struct Fed<'s> {
    source: Box<dyn Read + 's>,
    left: u64,
    sent: &'s AtomicU64,
    pace: Pace,
    /// The bytes given last, and when.
    last: Option<(Instant, usize)>,
    /// What went wrong with the source, and so not with the registry.
    pub(super) error: Option<io::Error>,
}

impl<'s> Fed<'s> {
    /// Reads `size_bytes` bytes of `source`, and counts the bytes in `sent`. Who takes the bytes keeps the pace.
    pub(super) fn new(
        source: Box<dyn Read + 's>,
        size_bytes: u64,
        (sent, pace): (&'s AtomicU64, Pace),
    ) -> Self {
        Self {
            source,
            left: size_bytes,
            sent,
            pace,
            last: None,
            error: None,
        }
    }
}

impl Read for Fed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(out.len());
        if most == 0 {
            return Ok(0);
        }
        if let Some((given, bytes)) = self.last.take() {
            self.pace.count(given.elapsed(), bytes)?;
        }
        let read = match self.source.read(&mut out[..most]) {
            Ok(0) => {
                let text = "the content is shorter than its size";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            read => read,
        };
        match read {
            Ok(read) => {
                self.left -= read as u64;
                self.sent.fetch_add(read as u64, Ordering::Relaxed);
                self.last = Some((Instant::now(), read));
                Ok(read)
            }
            Err(e) => {
                self.error = Some(e);
                Err(io::Error::other("the source failed"))
            }
        }
    }
}
