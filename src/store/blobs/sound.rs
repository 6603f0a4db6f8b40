//! Which blobs are what their digests say.
//!
//! A blob was hashed while it was written. As long as inode, size, mtime and ctime are what they were then, nobody has
//! written to the file, and it counts as sound without being read. Otherwise (it was changed, replaced, or copied with the
//! store) it is read and hashed before it is used, and stamped anew. What a disk gives back wrongly under an unchanged inode
//! is not seen by that.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::BlobRef;
use crate::store::InUse;
use crate::store::Store;
use crate::store::blobs::blob_name;
use crate::store::directory::{Directory, LARGEST_JSON_BYTES};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const BUFFER_BYTES: usize = 256 << 10;

/// What a file of the store was when it had its digest: inode, size, mtime and ctime (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobStamp([i64; 6]);

impl BlobStamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let (inode, size_bytes) = (metadata.ino().cast_signed(), metadata.size().cast_signed());
        let mtime = [metadata.mtime(), metadata.mtime_nsec()];
        Self([
            inode,
            size_bytes,
            mtime[0],
            mtime[1],
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }
}

/// Says what a blob was when it had its digest.
pub(crate) fn stamp(
    connection: &Connection,
    digest: &Digest,
    stamp: BlobStamp,
) -> rusqlite::Result<()> {
    let BlobStamp(
        [
            inode,
            size_bytes,
            mtime_s,
            mtime_nanos,
            ctime_s,
            ctime_nanos,
        ],
    ) = stamp;
    connection
        .prepare_cached("INSERT OR REPLACE INTO blob_stamp VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            digest.0,
            inode,
            size_bytes,
            mtime_s,
            mtime_nanos,
            ctime_s,
            ctime_nanos
        ])
        .map(drop)
}

/// Blobs of a store, for one who reads them for long and needs nothing else of it. The files that SQLite has beside an
/// open database would be written to the disk together with what is copied meanwhile, and closing would wait for that.
#[derive(Debug)]
pub struct Blobs {
    store: Arc<Directory>,
    /// As the database had them.
    stamps: HashMap<Digest, BlobStamp>,
    _in_use: Option<InUse>,
}

impl Blobs {
    /// As [`Store::open_blob`]. The database is opened again only to remember that a blob was read.
    pub fn open(&self, digest: &Digest, size_bytes: u64) -> Result<File> {
        let (file, new) = open(&self.store, digest, size_bytes, || {
            self.stamps.get(digest).copied()
        })?;
        if let Some(new) = new
            && let Ok(store) = Store::open_unchecked(self.store.path())
        {
            store.keep_stamp(digest, new);
        }
        Ok(file)
    }
}

impl Store {
    /// Looks for a blob, whatever it holds. Fails with [`Error::Damaged`] where it is missing, has another length, or is no
    /// regular file.
    pub fn find_blob(&self, digest: &Digest, size_bytes: u64) -> Result<File> {
        find(&self.directory, digest, size_bytes).map(|(file, _)| file)
    }

    /// Opens a blob that a row names. Fails with [`Error::Damaged`] where it is missing, or is not what its digest says.
    pub fn open_blob(&self, digest: &Digest, size_bytes: u64) -> Result<File> {
        let (file, new) = open(&self.directory, digest, size_bytes, || {
            self.blob_stamp(digest)
        })?;
        new.iter().for_each(|new| self.keep_stamp(digest, *new));
        Ok(file)
    }

    /// Closes the database, and returns what opens the blobs with these digests as [`Store::open_blob`] does.
    pub fn into_blobs(self, digests: impl Iterator<Item = Digest>) -> Blobs {
        let stamps = digests
            .filter_map(|digest| Some((digest, self.blob_stamp(&digest)?)))
            .collect();
        Blobs {
            store: self.directory,
            stamps,
            _in_use: self.in_use,
        }
    }

    /// Reads a small blob, such as a configuration.
    pub fn read_blob(&self, blob: &BlobRef) -> Result<Vec<u8>> {
        if blob.size_bytes > LARGEST_JSON_BYTES {
            let what = format!("{} bytes are more than its kind ever has", blob.size_bytes);
            return Err(Error::damaged(self.blob_path(&blob.digest), what));
        }
        let mut bytes = Vec::new();
        let mut file = self.open_blob(&blob.digest, blob.size_bytes)?;
        file.read_to_end(&mut bytes)
            .map_err(Error::io("read", self.blob_path(&blob.digest)))?;
        Ok(bytes)
    }

    /// Tells whether a blob is there and is what its digest says.
    pub fn has_blob(&self, digest: &Digest, size_bytes: u64) -> bool {
        self.open_blob(digest, size_bytes).is_ok()
    }

    /// Remembers a blob that was put in its place, for the next time that something is recorded.
    pub(crate) fn note_written(&self, digest: &Digest, path: &Path) {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            self.written
                .borrow_mut()
                .push((*digest, BlobStamp::of(&metadata)));
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
            Ok(BlobStamp([
                column(0)?,
                column(1)?,
                column(2)?,
                column(3)?,
                column(4)?,
                column(5)?,
            ]))
        };
        query.query_row([digest.0], columns).optional().ok()? // without one, the blob is read
    }

    /// A store that cannot be written to, or not at the moment, has the blob read again the next time.
    fn keep_stamp(&self, digest: &Digest, now: BlobStamp) {
        if self.is_still() {
            return;
        }
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = stamp(&self.connection, digest, now);
        let _ = self.connection.busy_timeout(crate::store::PATIENCE);
    }
}

/// Opens a blob that is what its digest says. Returns its new stamp where it is not as `known` tells, and was read.
fn open(
    store: &Directory,
    digest: &Digest,
    size_bytes: u64,
    known: impl FnOnce() -> Option<BlobStamp>,
) -> Result<(File, Option<BlobStamp>)> {
    let (mut file, metadata) = find(store, digest, size_bytes)?;
    let path = store.path().join(blob_name(digest));
    let now = BlobStamp::of(&metadata);
    if known() == Some(now) {
        return Ok((file, None));
    }
    let found = hash(&mut file).map_err(Error::io("read", &path))?;
    match found == *digest {
        // Whoever wrote it may not have seen to it that it is on the disk, and after a power cut the stamp would say it is.
        true => Ok(file.sync_data().is_ok()).map(|is_durable| (file, is_durable.then_some(now))),
        false => Err(Error::damaged(path, format!("its content is {found}"))),
    }
}

/// Opens a blob that has this length.
fn find(store: &Directory, digest: &Digest, size_bytes: u64) -> Result<(File, Metadata)> {
    let name = blob_name(digest);
    let path = store.path().join(&name);
    let Some(file) = store.file(&name)? else {
        return Err(Error::damaged(path, "the blob is missing"));
    };
    let metadata = file.metadata().map_err(Error::io("stat", &path))?;
    if metadata.len() != size_bytes {
        let what = format!("expected {size_bytes} bytes, found {}", metadata.len());
        return Err(Error::damaged(path, what));
    }
    Ok((file, metadata))
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
