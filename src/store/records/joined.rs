//! Joined layers: a cache of what was packed for images of fewer layers. A row with another sum than it was written with counts
//! as absent.
//!
//! A joined layer stays for as long as all layers that it was made of are there.

use crate::error::Result;
use crate::model::digest::{DiffId, Digest, LayerKey};
use crate::store::blobs::stamp::BlobStamp;
use crate::store::handle::Store;
use crate::store::records::rows::Blob;
use crate::store::records::seal::sum;
use crate::store::records::values::{bits, hash};
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;

const SELECT: &str = "SELECT stack, key, diff_id, tar_bytes, digest, media_type, size_bytes, parts, sum FROM joined_layer";

/// A layer made of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedLayer {
    /// What stands for the layers of the image, and for those joined.
    pub stack: [u8; 32],
    /// The key.
    pub key: LayerKey,
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// Length of the tar.
    pub tar_bytes: u64,
    /// The durable form.
    pub blob: Blob,
    /// The keys of the layers that became one, the lowest first.
    pub parts: Vec<LayerKey>,
}

impl JoinedLayer {
    fn parts_as_bytes(&self) -> Vec<u8> {
        let parts: Vec<[u8; 32]> = self.parts.iter().map(|key| key.0).collect();
        parts.concat()
    }

    fn sum(&self) -> i64 {
        let (tar_bytes, size_bytes) = (self.tar_bytes, self.blob.size_bytes);
        sum([
            self.stack.as_slice(),
            &self.key.0,
            &self.diff_id.0,
            &tar_bytes.to_le_bytes(),
            &self.blob.digest.0,
            self.blob.media_type.as_bytes(),
            &size_bytes.to_le_bytes(),
            &self.parts_as_bytes(),
        ])
    }
}

/// Reads a row; `None` for one that is not as it was written.
fn joined(row: &Row) -> rusqlite::Result<Option<JoinedLayer>> {
    let read = || -> rusqlite::Result<(JoinedLayer, i64)> {
        let parts: Vec<u8> = row.get(7)?;
        let (parts, _) = parts.as_chunks::<32>();
        let joined = JoinedLayer {
            stack: hash(row, 0)?,
            key: LayerKey(hash(row, 1)?),
            diff_id: DiffId(hash(row, 2)?),
            tar_bytes: bits(row, 3)?,
            blob: Blob {
                digest: Digest(hash(row, 4)?),
                media_type: row.get(5)?,
                size_bytes: bits(row, 6)?,
            },
            parts: parts.iter().map(|key| LayerKey(*key)).collect(),
        };
        Ok((joined, row.get(8)?))
    };
    // A value of another type is damage as well, and a cache.
    let sound = read().ok().filter(|(joined, sum)| joined.sum() == *sum);
    Ok(sound.map(|(joined, _)| joined))
}

impl Store {
    /// Returns the joined layer of a stack. Fails with [`Error::Locked`](crate::error::Error::Locked) while another process recovers
    /// the database.
    pub(crate) fn joined_of(&self, stack: &[u8; 32]) -> Result<Option<JoinedLayer>> {
        let query = format!("{SELECT} WHERE stack = ?");
        let found = self.one(&query, params![stack], joined)?;
        Ok(found.flatten())
    }

    /// Returns a joined layer with this key and media type, of any stack. Fails as [`Store::joined_of`] does.
    pub(crate) fn joined_by_key(
        &self,
        key: &LayerKey,
        media_type: &str,
    ) -> Result<Option<JoinedLayer>> {
        let query = format!("{SELECT} WHERE key = ? AND media_type = ?");
        let found = self.all(&query, params![key.0, media_type], joined)?;
        Ok(found.into_iter().flatten().next())
    }

    /// Returns all joined layers. Fails as [`Store::joined_of`] does.
    pub(crate) fn all_joined(&self) -> Result<Vec<JoinedLayer>> {
        let found = self.all(SELECT, (), joined)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Forgets the joined layers that have the blob of this one. Fails with [`Error::Locked`](crate::error::Error::Locked) if others
    /// write for too long.
    pub(crate) fn forget_joined(&self, joined: &JoinedLayer) -> Result<()> {
        let statement = "DELETE FROM joined_layer WHERE digest = ?";
        let done = self.connection.execute(statement, [joined.blob.digest.0]);
        done.map(drop).map_err(|e| self.failed(e))
    }

    /// Remembers a joined layer whose blob is durable. Fails as [`Store::forget_joined`] does, and on a store that cannot be written
    /// to.
    pub(crate) fn keep_joined(&mut self, joined: &JoinedLayer) -> Result<()> {
        let written: Vec<(Digest, BlobStamp)> = self.written.get_mut().drain(..).collect();
        let run = || -> rusqlite::Result<()> {
            insert(&self.connection, joined)?;
            for (digest, stamp) in &written {
                stamp.save(&self.connection, digest)?;
            }
            Ok(())
        };
        run().map_err(|e| self.failed(e))
    }
}

fn insert(connection: &Connection, joined: &JoinedLayer) -> rusqlite::Result<()> {
    let statement = "INSERT OR REPLACE INTO joined_layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(statement)?;
    let row = params![
        joined.stack,
        joined.key.0,
        joined.diff_id.0,
        joined.tar_bytes.cast_signed(),
        joined.blob.digest.0,
        joined.blob.media_type,
        joined.blob.size_bytes.cast_signed(),
        joined.parts_as_bytes(),
        joined.sum(),
    ];
    insert.execute(row).map(drop)
}

/// Removes the joined layers of which a part is no layer any more, and those that are not as they were written. Fails if SQLite
/// cannot go through the rows of layers.
pub(crate) fn sweep(connection: &Connection) -> rusqlite::Result<()> {
    let mut keys = connection.prepare("SELECT key FROM layer")?;
    let keys = keys.query_map([], |row| Ok(LayerKey(hash(row, 0)?)))?;
    let keys: HashSet<LayerKey> = keys.collect::<rusqlite::Result<_>>()?;
    let mut all = connection.prepare(SELECT)?;
    let mut rows = all.query([])?;
    let mut gone: Vec<rusqlite::types::Value> = Vec::new();
    while let Some(row) = rows.next()? {
        let is_kept =
            joined(row)?.is_some_and(|one| one.parts.iter().all(|key| keys.contains(key)));
        if !is_kept {
            gone.push(row.get(0)?);
        }
    }
    for stack in gone {
        connection.execute("DELETE FROM joined_layer WHERE stack = ?", [stack])?;
    }
    Ok(())
}
