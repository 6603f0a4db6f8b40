//! A blob that is read as it comes, and goes on after a cut.
//!
//! Exactly as many bytes as the blob has are given, or an error. The digest is compared by whoever reads, since a reader of layers
//! hashes them anyway.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::registry::fault::Fault;
use crate::registry::reply::Counted;
use crate::registry::reply::check_start;
use crate::registry::reply::plain;
use crate::registry::reply::skip;
use crate::registry::transport::Query;
use crate::registry::wire::Wire;
use std::fmt;
use std::io;
use std::io::Read;
use std::sync::Arc;

/// After so many bytes, a cut counts as the first.
const PROGRESS: u64 = 1 << 20;

/// The bytes of a blob, from the first to the last, not compared with the digest. A failure has an
/// [`Error`](crate::error::Error) inside.
pub struct BlobStream {
    wire: Arc<Wire>,
    digest: Digest,
    size_bytes: u64,
    body: Option<Counted>,
    at: u64,
    /// Failed tries, and where the first of them was.
    failed: u32,
    failed_at: u64,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobStream({} at {})", self.digest, self.at)
    }
}

impl BlobStream {
    /// Asks for the blob. Fails where no byte of it can be had.
    pub(super) fn open(wire: Arc<Wire>, digest: Digest, size_bytes: u64) -> Result<Self> {
        let mut stream = Self {
            wire,
            digest,
            size_bytes,
            body: None,
            at: 0,
            failed: 0,
            failed_at: 0,
        };
        stream.connect()?;
        Ok(stream)
    }

    fn action(&self) -> String {
        format!("give the blob {}", self.digest)
    }

    /// Asks for the bytes that are missing.
    fn connect(&mut self) -> Result<()> {
        let at = self.at;
        let path = format!("blobs/{}", self.digest);
        let mut query = Query::new("GET");
        if at > 0 {
            query = query.header("range", format!("bytes={at}-"));
        }
        let body = self.wire.tries(&self.action(), || {
            let reply = self.wire.ask(&path, &query)?;
            match reply.status {
                206 if at > 0 => {
                    check_start(&reply, at)?;
                    Ok(reply.reader())
                }
                200 => {
                    let mut reader = reply.reader();
                    skip(&mut reader, at)?;
                    Ok(reader)
                }
                404 => Err(Fault::failed("it is not there")),
                _ => Err(reply.unexpected()),
            }
        })?;
        self.body = Some(body);
        Ok(())
    }

    /// Counts a failed try and waits. Fails after the last.
    fn pause(&mut self, why: String) -> io::Result<()> {
        self.body = None;
        if self.at - self.failed_at >= PROGRESS {
            self.failed = 0;
        }
        if self.failed == 0 {
            self.failed_at = self.at;
        }
        self.failed += 1;
        if self.failed >= self.wire.most_tries() {
            let error = self.wire.error(Fault::again(why), &self.action());
            return Err(io::Error::other(error));
        }
        self.wire.wait(self.failed, None);
        Ok(())
    }
}

impl Read for BlobStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.at == self.size_bytes {
            self.body = None;
            return Ok(0);
        }
        let left = usize::try_from(self.size_bytes - self.at).unwrap_or(usize::MAX);
        let most = left.min(out.len());
        loop {
            let Some(body) = &mut self.body else {
                self.connect().map_err(io::Error::other)?;
                continue;
            };
            match body.read(&mut out[..most]) {
                Ok(0) => self.pause("the blob ends before its size".to_owned())?,
                Ok(read) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => self.pause(plain(&e))?,
            }
        }
    }
}
