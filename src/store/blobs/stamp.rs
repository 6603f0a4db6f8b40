//! The file of a blob, as of the moment when the digest was known.

use crate::model::digest::Digest;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Inode, size, mtime and ctime (stat(2)) of a file with a known digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobStamp([i64; 6]);

impl BlobStamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self([
            metadata.ino().cast_signed(),
            metadata.size().cast_signed(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }

    /// Returns the stamp of a blob in the database. Fails if SQLite cannot read the row, such as of a damaged page.
    pub(crate) fn load(connection: &Connection, digest: &Digest) -> rusqlite::Result<Option<Self>> {
        let query = "SELECT inode, size_bytes, mtime_s, mtime_nanos, ctime_s, ctime_nanos
             FROM blob_stamp WHERE digest = ?";
        let mut query = connection.prepare_cached(query)?;
        let stamp = |row: &Row| -> rusqlite::Result<Self> {
            let mut columns = [0; 6];
            for (at, column) in columns.iter_mut().enumerate() {
                *column = row.get(at)?;
            }
            Ok(Self(columns))
        };
        query.query_row([digest.0], stamp).optional()
    }

    /// Writes the stamp of a blob into the database. Fails if another process writes to the database for too long, or
    /// the database cannot be written to.
    pub(crate) fn save(self, connection: &Connection, digest: &Digest) -> rusqlite::Result<()> {
        let Self(
            [
                inode,
                size_bytes,
                mtime_s,
                mtime_nanos,
                ctime_s,
                ctime_nanos,
            ],
        ) = self;
        let times = (mtime_s, mtime_nanos, ctime_s, ctime_nanos);
        connection
            .prepare_cached("INSERT OR REPLACE INTO blob_stamp VALUES (?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                digest.0, inode, size_bytes, times.0, times.1, times.2, times.3
            ])
            .map(drop)
    }
}
