//! Which files of the store its snapshots need, which are there, and removal of both: snapshots by number, then what
//! no snapshot needs any more.
//!
//! Invariants: index.json names no image whose rows are gone, so it is written before they go; a blob goes after the last
//! row that names it, and only while nobody else has the store open. Killed at any point, what is left is a store
//! with files that nothing refers to.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::blobs::index;
use crate::store::blobs::index::Listed;
use crate::store::files::DATABASE;
use crate::store::files::blob_name;
use crate::store::handle::Store;
use crate::store::records::rows::BlobRef;
use crate::store::records::rows::Snapshot;
use rusqlite::{TransactionBehavior, params};
use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Rows that nothing refers to once snapshots are gone, in an order in which each may go.
const SWEEP: &str = "
    DELETE FROM blob WHERE NOT EXISTS
        (SELECT 1 FROM snapshot_layer WHERE (blob_digest, snapshot_layer.layer_id) = (digest, blob.layer_id));
    DELETE FROM layer WHERE id NOT IN (SELECT layer_id FROM snapshot_layer);
    DELETE FROM package_set WHERE id NOT IN (SELECT package_set_id FROM snapshot WHERE package_set_id IS NOT NULL);
    DELETE FROM package WHERE id NOT IN (SELECT package_id FROM package_set_member);
    DELETE FROM file_list WHERE id NOT IN (SELECT file_list_id FROM package_set_files);
    DELETE FROM policy WHERE key NOT IN (SELECT policy_key FROM snapshot UNION SELECT policy_key FROM layer);
    DELETE FROM series WHERE id NOT IN (SELECT series_id FROM snapshot);
    DELETE FROM blob_stamp WHERE digest NOT IN (SELECT digest FROM blob UNION
        SELECT manifest_digest FROM snapshot UNION SELECT config_digest FROM snapshot);";

/// Space in the database that nothing uses is given back when it is more than this share of it,
const LARGEST_FREE_SHARE: i64 = 4;
/// and more than this.
const LARGEST_FREE_BYTES: i64 = 1 << 20;

impl Store {
    /// Returns the blobs that these snapshots need: manifests, configurations and layers. Fails where the rows of one are
    /// not those that were recorded.
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

    /// Returns the blobs that are there, needed or not, with their lengths. Files of other names are passed over.
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

    /// Returns the blobs that are there and not among those needed, by digest. Fails if the blobs cannot be listed.
    pub fn dead_blobs(&self, needed: &HashMap<Digest, u64>) -> Result<Vec<BlobRef>> {
        let mut dead = self.blob_files()?;
        dead.retain(|blob| !needed.contains_key(&blob.digest));
        dead.sort_by_key(|blob| blob.digest);
        Ok(dead)
    }

    /// Removes snapshots and all rows that no other needs, durably, and the stamps of the given roots. `render` makes
    /// the bytes of index.json. The blobs stay.
    pub(crate) fn remove_snapshots(
        &mut self,
        ids: &[i64],
        gone_roots: &[PathBuf],
        render: impl FnOnce(&[Listed]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        self.confirmed.get_mut().clear();
        let (path, database) = (self.path.clone(), self.database.clone());
        let failed = move |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => Error::Locked(path.clone()),
            _ => Error::Database {
                path: database.clone(),
                source,
            },
        };
        self.connection
            .pragma_update(None, "synchronous", "full")
            .map_err(&failed)?;
        // What is rewritten within the transaction is a file of the store, not its rows.
        let transaction =
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(&failed)?;
        for id in ids {
            transaction
                .execute("DELETE FROM snapshot WHERE id = ?", [id])
                .map_err(&failed)?;
        }
        transaction.execute_batch(SWEEP).map_err(&failed)?;
        for root in gone_roots {
            let path = root.as_os_str().as_bytes();
            transaction
                .execute("DELETE FROM root WHERE path = ?", params![path])
                .map_err(&failed)?;
        }
        let listed = index::listed(&transaction).map_err(&failed)?;
        self.write_index(&render(&listed)?)?;
        transaction.commit().map_err(&failed)
    }

    /// Returns the roots that have stamps.
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

    /// Removes a blob that no row names. For one who has the store alone.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        self.directory
            .remove(&blob_name(digest))
            .map_err(Error::io("remove", self.blob_path(digest)))
    }

    /// Returns how long the database is, with its log, and how much of it nothing uses, in bytes.
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

    /// Gives space of the database back that nothing uses, where that is worthwhile. Needs the room for a copy of it.
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

    /// Moves what the database's log holds into the database, and gives its room back.
    pub(crate) fn empty_log(&self) -> Result<()> {
        // Its answer says how far it came: as far as readers let it.
        let run = || {
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        run().map_err(|e| self.failed(e))
    }
}
