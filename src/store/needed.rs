//! Files that the snapshots of a store need, files that are there, and the removal of both: snapshots by number, then
//! the rows and blobs without a snapshot.
//!
//! Invariants: index.json names no image without rows, so index.json is written before rows go; a blob goes after the
//! last row that names the blob, and only while nobody else has the store open. A kill at any point leaves a store
//! with files to which nothing refers.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::blobs::index::Listed;
use crate::store::files::DATABASE;
use crate::store::files::blob_name;
use crate::store::handle::{Store, failed_of};
use crate::store::records::joined::{self, JoinedLayer};
use crate::store::records::rows::BlobRef;
use crate::store::records::rows::Snapshot;
use crate::store::records::trees::SWEEP_TREES;
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Removes rows without a reference once snapshots are gone, in an order in which each row may go.
const SWEEP: &str = "
    DELETE FROM blob WHERE NOT EXISTS
        (SELECT 1 FROM snapshot_layer WHERE (blob_digest, snapshot_layer.layer_id) = (digest, blob.layer_id));
    DELETE FROM layer WHERE id NOT IN (SELECT layer_id FROM snapshot_layer);
    DELETE FROM package_set WHERE id NOT IN (SELECT package_set_id FROM snapshot WHERE package_set_id IS NOT NULL);
    DELETE FROM package WHERE id NOT IN (SELECT package_id FROM package_set_member);
    DELETE FROM file_list WHERE id NOT IN (SELECT file_list_id FROM package_set_files);
    DELETE FROM package_detail WHERE id NOT IN (SELECT package_detail_id FROM package_set_files WHERE package_detail_id IS NOT NULL);
    DELETE FROM policy WHERE key NOT IN (SELECT policy_key FROM snapshot UNION SELECT policy_key FROM layer);
    DELETE FROM series WHERE id NOT IN (SELECT series_id FROM snapshot);";

/// Removes what is said of blobs without a row.
const SWEEP_REMOTE: &str = "DELETE FROM remote_blob WHERE digest NOT IN (SELECT digest FROM blob)";

/// Removes the stamps of blobs without a row.
const SWEEP_STAMPS: &str = "
    DELETE FROM blob_stamp WHERE digest NOT IN (SELECT digest FROM blob UNION
        SELECT manifest_digest FROM snapshot UNION SELECT config_digest FROM snapshot UNION
        SELECT digest FROM joined_layer);";

/// Unused space in the database is given back when larger than this share of the database,
const LARGEST_FREE_SHARE: i64 = 4;
/// and than this many bytes.
const LARGEST_FREE_BYTES: i64 = 1 << 20;

impl Store {
    /// Returns the blobs that stay for as long as the snapshots do: those that the snapshots need, and those of layers
    /// joined from theirs. Fails if the rows of a snapshot are not those recorded.
    pub(crate) fn kept_for(&self, snapshots: &[Snapshot]) -> Result<HashMap<Digest, u64>> {
        let mut kept = self.needed_by(snapshots)?;
        let mut keys = HashSet::new();
        for snapshot in snapshots {
            keys.extend(self.layers(snapshot.id)?.iter().map(|used| used.layer.key));
        }
        for JoinedLayer { blob, parts, .. } in self.all_joined()? {
            if parts.iter().all(|part| keys.contains(part)) {
                kept.insert(blob.digest, blob.size_bytes);
            }
        }
        Ok(kept)
    }

    /// Returns the blobs that snapshots need: manifests, configurations and layers. Fails if the rows of a snapshot
    /// are not those recorded.
    pub(crate) fn needed_by(&self, snapshots: &[Snapshot]) -> Result<HashMap<Digest, u64>> {
        let mut needed = HashMap::new();
        for snapshot in snapshots {
            for BlobRef { digest, size_bytes } in [snapshot.manifest, snapshot.config] {
                needed.insert(digest, size_bytes);
            }
            for layer in self.layers(snapshot.id)? {
                needed.insert(layer.blob.digest, layer.blob.size_bytes);
            }
        }
        Ok(needed)
    }

    /// Returns all blobs in the store with their lengths, needed or not. Files of other names are passed over. Fails
    /// if the blobs cannot be listed.
    pub(crate) fn blob_files(&self) -> Result<Vec<BlobRef>> {
        let directory = self.path.join("blobs/sha256");
        let list = || -> io::Result<Vec<BlobRef>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let digest = entry
                    .file_name()
                    .to_str()
                    .and_then(|hex| Digest::parse(&format!("sha256:{hex}")));
                if let Some(digest) = digest {
                    found.push(BlobRef {
                        digest,
                        size_bytes: entry.metadata()?.len(),
                    });
                }
            }
            Ok(found)
        };
        match list() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(Error::io("list", &directory)),
        }
    }

    /// Returns the blobs in the store that are not needed, by digest. Fails if the blobs cannot be listed.
    pub fn dead_blobs(&self, needed: &HashMap<Digest, u64>) -> Result<Vec<BlobRef>> {
        let mut dead = self.blob_files()?;
        dead.retain(|blob| !needed.contains_key(&blob.digest));
        dead.sort_by_key(|blob| blob.digest);
        Ok(dead)
    }

    /// Removes snapshots and all rows that no other snapshot needs, durably, and the stamps of the given roots.
    /// `render` makes the bytes of index.json. Blobs stay. Fails with [`Error::Locked`] if others write, and if
    /// index.json cannot be written; then no row is gone.
    pub(crate) fn remove_snapshots(
        &mut self,
        ids: &[i64],
        gone_roots: &[PathBuf],
        render: impl FnOnce(&[Listed]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        self.confirmed.get_mut().clear();
        let (path, database) = (self.path.clone(), self.database.clone());
        let failed = move |source: rusqlite::Error| failed_of(&path, &database, source);
        self.connection
            .pragma_update(None, "synchronous", "full")
            .map_err(&failed)?;
        // The transaction also writes a file of the store, besides rows.
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(&failed)?;
        delete_rows(&transaction, ids, gone_roots).map_err(&failed)?;
        self.write_index(&render(&self.listed()?)?)?;
        transaction.commit().map_err(&failed)
    }

    /// Returns the roots with stamps. Fails if the database cannot be read.
    pub fn roots(&self) -> Result<Vec<PathBuf>> {
        let run = || -> rusqlite::Result<Vec<PathBuf>> {
            let mut query = self
                .connection
                .prepare("SELECT path FROM root ORDER BY path")?;
            let path = |row: &rusqlite::Row| Ok(std::ffi::OsString::from_vec(row.get(0)?).into());
            query.query_map([], path)?.collect()
        };
        run().map_err(|e| self.failed(e))
    }

    /// Removes a blob without a row. For a process that has the store alone. Fails if the file is missing or cannot be
    /// removed.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        self.directory
            .remove(&blob_name(digest))
            .map_err(Error::io("remove", self.blob_path(digest)))
    }

    /// Returns the length of the database with its log, and the unused part, in bytes. Fails if the database cannot be
    /// read.
    pub(crate) fn database_bytes(&self) -> Result<(u64, u64)> {
        let value = |pragma| {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get::<_, u64>(0))
        };
        let run =
            || -> rusqlite::Result<u64> { Ok(value("freelist_count")? * value("page_size")?) };
        let free = run().map_err(|e| self.failed(e))?;
        let length = |ending: &str| self.directory.length(&format!("{DATABASE}{ending}"));
        Ok((["", "-wal", "-shm"].into_iter().map(length).sum(), free))
    }

    /// Gives unused space of the database back, where worthwhile. Fails without the room for a copy.
    pub(crate) fn shrink_database(&self) -> Result<()> {
        let run = || -> rusqlite::Result<()> {
            let value = |pragma| {
                self.connection
                    .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            };
            let (free, all, page) = (
                value("freelist_count")?,
                value("page_count")?,
                value("page_size")?,
            );
            if free * page > LARGEST_FREE_BYTES && free > all / LARGEST_FREE_SHARE {
                self.connection.execute_batch("VACUUM")?;
            }
            Ok(())
        };
        run().map_err(|e| self.failed(e))?;
        self.empty_log()
    }

    /// Moves the content of the database's log into the database, and gives the log's room back. Fails if the disk
    /// does.
    pub(crate) fn empty_log(&self) -> Result<()> {
        // The answer says how far SQLite came: as far as readers let SQLite.
        let run = || {
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        run().map_err(|e| self.failed(e))
    }
}

/// Deletes snapshots with all rows that no other snapshot needs, and roots with their stamps.
fn delete_rows(
    connection: &Connection,
    snapshot_ids: &[i64],
    roots: &[PathBuf],
) -> rusqlite::Result<()> {
    for id in snapshot_ids {
        connection.execute("DELETE FROM snapshot WHERE id = ?", [id])?;
    }
    connection.execute_batch(SWEEP)?;
    joined::sweep(connection)?;
    connection.execute_batch(SWEEP_REMOTE)?;
    connection.execute_batch(SWEEP_TREES)?;
    connection.execute_batch(SWEEP_STAMPS)?;
    for root in roots {
        let path = root.as_os_str().as_bytes();
        connection.execute("DELETE FROM root WHERE path = ?", params![path])?;
    }
    Ok(())
}
