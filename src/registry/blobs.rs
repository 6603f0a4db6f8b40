//! The blobs of a repository: asked for, mounted, sent, and read in whole or in part.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::repository::Repository;
use crate::registry::client::Client;
use crate::registry::client::sha256;
use crate::registry::fault::Fault;
use crate::registry::reply::Reply;
use crate::registry::reply::check_start;
use crate::registry::reply::plain;
use crate::registry::reply::skip;
use crate::registry::source::Source;
use crate::registry::stream::BlobStream;
use crate::registry::transport::Content;
use crate::registry::transport::Query;
use crate::registry::transport::check_step;
use crate::registry::url::Url;
use crate::registry::url::escaped;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

impl Client {
    /// Asks for the length of a blob; `None` if it is not there. Fails where the registry does not tell the length.
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let action = format!("tell of the blob {digest}");
        self.wire.tries(&action, || self.length(digest))
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, Fault> {
        let reply = self.wire.ask(&at(digest), &Query::new("HEAD"))?;
        match (reply.status, reply.length()) {
            (200, Some(size_bytes)) => Ok(Some(size_bytes)),
            (200, None) => Err(Fault::failed("no length is told")),
            (404, _) => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }

    /// Asks the registry to take a blob from another of its repositories. Tells whether it did: it need not, and never does for
    /// a repository of another host. Fails where the registry cannot be reached.
    pub fn mount(&self, digest: &Digest, from: &Repository) -> Result<bool> {
        if from.host() != self.repository().host() {
            return Ok(false);
        }
        let action = format!("mount the blob {digest}");
        self.wire.tries(&action, || self.mount_once(digest, from))
    }

    fn mount_once(&self, digest: &Digest, from: &Repository) -> Result<bool, Fault> {
        let url = self.wire.address("blobs/uploads/")?;
        let url = url.with("mount", &digest.to_string());
        let url = url.with("from", &escaped(from.name()));
        let query = Query::new("POST").content(Content::Bytes(&[]));
        let reply = match self.wire.ask_at(&url, &query, Some(from)) {
            // The other repository may be closed to this client, and the blob can be sent.
            Err(Fault::Refused { .. }) => return Ok(false),
            reply => reply?,
        };
        if reply.status == 202
            && let Some(upload) = reply.target("location")
        {
            // An upload that nobody wants: left if need be.
            let _ = self.wire.ask_at(&upload, &Query::new("DELETE"), None);
        }
        Ok(reply.status == 201)
    }

    /// Sends a blob, from the start as often as it takes. Fails where `source` cannot be read, and where the registry finds
    /// another digest.
    pub fn push_blob(&self, digest: &Digest, size_bytes: u64, source: &dyn Source) -> Result<()> {
        let action = format!("take the blob {digest}");
        let mut is_again = false;
        self.wire.tries(&action, || {
            // The answer may have been lost rather than the blob.
            let is_there =
                is_again && matches!(self.length(digest), Ok(Some(n)) if n == size_bytes);
            is_again = true;
            if is_there {
                return Ok(());
            }
            let upload = self.upload()?;
            self.send(&upload, digest, Content::Blob(source, size_bytes, *digest))
        })
    }

    /// Begins an upload; returns where it goes.
    fn upload(&self) -> Result<Url, Fault> {
        let query = Query::new("POST").content(Content::Bytes(&[]));
        let reply = self.wire.ask("blobs/uploads/", &query)?;
        if reply.status != 202 {
            return Err(reply.unexpected());
        }
        let Some(upload) = reply.target("location") else {
            return Err(Fault::failed("it does not tell where to"));
        };
        check_step(&reply.url, &upload)?;
        Ok(upload)
    }

    fn send(&self, upload: &Url, digest: &Digest, content: Content) -> Result<(), Fault> {
        let url = upload.with("digest", &digest.to_string());
        let query = Query::new("PUT")
            .header("content-type", "application/octet-stream")
            .content(content);
        let reply = self.wire.ask_at(&url, &query, None)?;
        match reply.status {
            201 => Ok(()),
            // The upload was forgotten, and another may not be.
            404 | 416 => Err(Fault::again(format!(
                "the upload is gone: {}",
                reply.status
            ))),
            _ => Err(reply.unexpected()),
        }
    }

    /// Begins to read a blob of `size_bytes` bytes; whoever reads compares the digest. Fails where it is not there.
    pub fn open_blob(&self, digest: &Digest, size_bytes: u64) -> Result<BlobStream> {
        BlobStream::open(Arc::clone(&self.wire), *digest, size_bytes)
    }

    /// Reads bytes of a blob, exactly as many as the range has. The digest is not compared. Fails where the blob is not there
    /// or shorter.
    pub fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let action = format!("give a part of the blob {digest}");
        self.wire.tries(&action, || {
            let last = range.end - 1;
            let bytes = format!("bytes={}-{last}", range.start);
            let query = Query::new("GET").header("range", bytes);
            let reply = self.wire.ask(&at(digest), &query)?;
            part(reply, &range)
        })
    }

    /// Reads a blob of at most `most_bytes`; `None` if it is not there. Fails where the blob is larger, and where it has
    /// another digest.
    pub fn read_blob(&self, digest: &Digest, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let action = format!("give the blob {digest}");
        self.wire.tries(&action, || {
            let reply = self.wire.ask(&at(digest), &Query::new("GET"))?;
            match reply.status {
                200 => whole(reply, digest, most_bytes).map(Some),
                404 => Ok(None),
                _ => Err(reply.unexpected()),
            }
        })
    }
}

fn at(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

fn whole(reply: Reply, digest: &Digest, most_bytes: u64) -> Result<Vec<u8>, Fault> {
    let bytes = reply.bytes(most_bytes)?;
    let found = sha256(&bytes);
    if found != *digest {
        return Err(Fault::failed(format!("the content has the digest {found}")));
    }
    Ok(bytes)
}

fn part(reply: Reply, range: &Range<u64>) -> Result<Vec<u8>, Fault> {
    let length = range.end - range.start;
    let (skipped, length) = match reply.status {
        206 => {
            check_start(&reply, range.start)?;
            (0, length)
        }
        // A server without ranges.
        200 => (range.start, length),
        404 => return Err(Fault::failed("it is not there")),
        _ => return Err(reply.unexpected()),
    };
    let mut reader = reply.reader();
    skip(&mut reader, skipped)?;
    let mut bytes = Vec::new();
    let read = reader.take(length).read_to_end(&mut bytes);
    read.map_err(|e| Fault::again(plain(&e)))?;
    if bytes.len() as u64 != length {
        return Err(Fault::again("the answer is shorter than the part"));
    }
    Ok(bytes)
}
