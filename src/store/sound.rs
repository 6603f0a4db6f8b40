//! Which blobs are what their digests say.
//!
//! A blob was hashed while it was written. As long as inode, size, mtime and ctime are what they were then, nobody has
//! written to the file, and it counts as sound without being read. Otherwise (it was changed, replaced, or copied with the
//! store) it is read and hashed before it is used, and stamped anew. What a disk gives back wrongly under an unchanged inode
//! is not seen by that.

use super::{BlobRef, Store};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const BUFFER_BYTES: usize = 256 << 10;

/// What a file of the store was when it had its digest: inode, size, mtime and ctime (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlobStamp([i64; 6]);

impl BlobStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let (inode, size_bytes) = (metadata.ino().cast_signed(), metadata.size().cast_signed());
        let mtime = [metadata.mtime(), metadata.mtime_nsec()];
        Self([inode, size_bytes, mtime[0], mtime[1], metadata.ctime(), metadata.ctime_nsec()])
    }
}

/// Says what a blob was when it had its digest.
pub(super) fn stamp(connection: &Connection, digest: &Digest, stamp: BlobStamp) -> rusqlite::Result<()> {
    let BlobStamp([inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos]) = stamp;
    connection
        .prepare_cached("INSERT OR REPLACE INTO blob_stamp VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![digest.0, inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos])
        .map(drop)
}

impl Store {
    /// Opens a blob that a row names. Fails with [`Error::Damaged`] where it is missing, or is not what its digest says.
    pub fn open_blob(&self, digest: &Digest, size_bytes: u64) -> Result<File> {
        let path = self.blob_path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::damaged(path, "the blob is missing"));
            }
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let metadata = file.metadata().map_err(Error::io("stat", &path))?;
        if metadata.len() != size_bytes {
            let what = format!("expected {size_bytes} bytes, found {}", metadata.len());
            return Err(Error::damaged(path, what));
        }
        let now = BlobStamp::of(&metadata);
        if self.blob_stamp(digest) != Some(now) {
            let found = hash(&mut file).map_err(Error::io("read", &path))?;
            if found != *digest {
                return Err(Error::damaged(path, format!("its content is {found}")));
            }
            self.keep_stamp(digest, now);
        }
        Ok(file)
    }

    /// Reads a small blob, such as a configuration.
    pub fn read_blob(&self, blob: &BlobRef) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.open_blob(&blob.digest, blob.size_bytes)?;
        file.read_to_end(&mut bytes).map_err(Error::io("read", self.blob_path(&blob.digest)))?;
        Ok(bytes)
    }

    /// Tells whether a blob is there and is what its digest says.
    pub fn has_blob(&self, digest: &Digest, size_bytes: u64) -> bool {
        self.open_blob(digest, size_bytes).is_ok()
    }

    /// Remembers a blob that was put in its place, for the next time that something is recorded.
    pub(super) fn note_written(&self, digest: &Digest, path: &Path) {
        if let Ok(metadata) = std::fs::metadata(path) {
            self.written.borrow_mut().push((*digest, BlobStamp::of(&metadata)));
        }
    }

    fn blob_stamp(&self, digest: &Digest) -> Option<BlobStamp> {
        let written = self.written.borrow();
        if let Some((_, stamp)) = written.iter().rev().find(|(other, _)| other == digest) {
            return Some(*stamp);
        }
        let query = "SELECT inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos FROM blob_stamp WHERE digest = ?";
        let mut query = self.connection.prepare_cached(query).ok()?;
        let columns = |row: &rusqlite::Row| -> rusqlite::Result<BlobStamp> {
            let column = |at: usize| row.get(at);
            Ok(BlobStamp([column(0)?, column(1)?, column(2)?, column(3)?, column(4)?, column(5)?]))
        };
        query.query_row([digest.0], columns).optional().ok()? // without one, the blob is read
    }

    /// A store that cannot be written to, or not at the moment, has the blob read again the next time.
    fn keep_stamp(&self, digest: &Digest, now: BlobStamp) {
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = stamp(&self.connection, digest, now);
        let _ = self.connection.busy_timeout(super::PATIENCE);
    }
}

/// Hashes a file from its beginning, and goes back there.
fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    file.rewind()?;
    Ok(Digest(hasher.finalize().into()))
}
