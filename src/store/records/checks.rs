//! Checks of the store's rows, each by itself, for a caller who wants all faults.

use crate::error::Result;
use crate::model::digest::PolicyKey;
use crate::model::names::OCI_LAYOUT;
use crate::model::tree::content_bytes;
use crate::model::tree::overlay::LayerItem;
use crate::store::files::INDEX;
use crate::store::handle::Store;
use crate::store::records::packages;
use crate::store::records::rows::BlobRef;
use crate::store::records::rows::Layer;
use crate::store::records::values::hash;
use rusqlite::{Connection, params};

impl Store {
    /// Returns the faults that SQLite finds in the database: pages, indexes, references between rows. Fails if the
    /// database cannot be read.
    pub(crate) fn database_findings(&self) -> Result<Vec<String>> {
        let run = || -> rusqlite::Result<Vec<String>> {
            let mut query = self.connection.prepare("PRAGMA integrity_check(20)")?;
            let lines: Vec<String> = query
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let mut found: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
            let mut query = self.connection.prepare("PRAGMA foreign_key_check")?;
            let violations = query.query_map([], |row| {
                let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
                Ok(format!(
                    "a row of {table} refers to one of {parent} that is not there"
                ))
            })?;
            for violation in violations {
                let violation = violation?;
                if !found.contains(&violation) {
                    found.push(violation);
                }
            }
            Ok(found)
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns the fault of index.json. Fails with [`Error::Damaged`] if the database has lost an image.
    pub(crate) fn index_finding(&self) -> Result<Option<String>> {
        self.check_index()
    }

    /// Tells whether `oci-layout` has the right content.
    pub(crate) fn has_layout_file(&self) -> bool {
        let most_bytes = OCI_LAYOUT.len() as u64;
        self.directory
            .read("oci-layout", most_bytes)
            .is_ok_and(|there| there.as_deref() == Some(OCI_LAYOUT))
    }

    /// Compares a layer's row with the layer's entries, and returns the fault. Fails if the entries do not give the
    /// layer's key.
    pub(crate) fn layer_finding(&self, layer: &Layer) -> Result<Option<&'static str>> {
        let items = self.items(layer.id)?;
        let entries = || {
            items.iter().filter_map(|item| match item {
                LayerItem::Entry(entry) => Some(entry),
                _ => None,
            })
        };
        let count = entries().count() as u64;
        Ok(
            if (count, items.len() as u64 - count) != (layer.entries, layer.whiteouts) {
                Some("it has another number of entries than its row says")
            } else if content_bytes(entries()) != layer.content_bytes {
                Some("its files are longer or shorter together than its row says")
            } else {
                None
            },
        )
    }

    /// Returns the policy of a layer's key. Fails without such a layer.
    pub(crate) fn policy_of_layer(&self, layer_id: i64) -> Result<PolicyKey> {
        let query = "SELECT policy_key FROM layer WHERE id = ?";
        self.connection
            .query_row(query, [layer_id], |row| hash(row, 0))
            .map(PolicyKey)
            .map_err(|e| self.failed(e))
    }

    /// Returns the fault of a set of packages and of their file lists. Fails without such a set.
    pub(crate) fn packages_finding(&self, package_set_id: i64) -> Result<Option<&'static str>> {
        packages_finding(&self.connection, package_set_id).map_err(|e| self.failed(e))
    }

    /// Makes the indexes of the database again, and empties the caches. Fails with [`crate::error::Error::Locked`] if
    /// others write for too long, and with [`crate::error::Error::Database`] if rows that must be unique are not, or
    /// the disk is full.
    pub(crate) fn renew_derived(&self) -> Result<()> {
        self.confirmed.borrow_mut().clear();
        let run = || {
            self.connection
                .execute_batch("REINDEX; DELETE FROM root; DELETE FROM blob_stamp;")
        };
        run().map_err(|e| self.failed(e))
    }

    /// Forgets the stamp of a blob. Fails with [`crate::error::Error::Locked`] if others write for too long, and with
    /// [`crate::error::Error::Database`] if the row cannot be deleted.
    pub(crate) fn forget_blob(&self, blob: &BlobRef) -> Result<()> {
        let done = self.connection.execute(
            "DELETE FROM blob_stamp WHERE digest = ?",
            params![blob.digest.0],
        );
        done.map(drop).map_err(|e| self.failed(e))
    }

    /// Writes `oci-layout`. Fails if the store has no room for the file, or if a directory has its name.
    pub(crate) fn write_layout_file(&self) -> Result<()> {
        self.replace_file("oci-layout", OCI_LAYOUT)
    }

    /// Writes index.json, if the bytes differ. Fails if the new file cannot be written; an old file that cannot be read
    /// is replaced.
    pub(crate) fn write_index(&self, bytes: &[u8]) -> Result<()> {
        let there = self.directory.read(INDEX, bytes.len() as u64);
        if there.is_ok_and(|there| there.as_deref() == Some(bytes)) {
            Ok(())
        } else {
            self.replace_file(INDEX, bytes)
        }
    }
}

fn packages_finding(
    connection: &Connection,
    package_set_id: i64,
) -> rusqlite::Result<Option<&'static str>> {
    let query = "SELECT key FROM package_set WHERE id = ?";
    let recorded = connection.query_row(query, [package_set_id], |row| hash(row, 0))?;
    let mut query = connection.prepare_cached(
        "SELECT name, epoch, version, release, arch, source_rpm, build_time_s, file_list.key, list,
                package_detail_id IS NOT NULL, size_bytes, license, vendor, signature_key, header_checksum, md5, detail.key
         FROM package_set_member AS member JOIN package ON package.id = package_id
         LEFT JOIN package_set_files AS files USING (package_set_id, package_id)
         LEFT JOIN file_list ON file_list.id = file_list_id
         LEFT JOIN package_detail AS detail ON detail.id = package_detail_id WHERE member.package_set_id = ?",
    )?;
    let mut rows = query.query([package_set_id])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let key: Option<[u8; 32]> = row.get(7)?;
        let list = row.get_ref(8)?.as_blob_or_null()?;
        if list.map(|list| *blake3::hash(list).as_bytes()) != key {
            let what = "the files of a package are not those that were recorded";
            return Ok(Some(what));
        }
        let detail_key: Option<[u8; 32]> = row.get(16)?;
        let details = packages::details(row, 9)?;
        if details.map(|details| details.key()) != detail_key {
            let what = "the details of a package are not those that were recorded";
            return Ok(Some(what));
        }
        all.push((packages::package(row)?, key, detail_key));
    }
    all.sort();
    let list_keys: Vec<[u8; 32]> = all.iter().filter_map(|(_, key, _)| *key).collect();
    let detail_keys: Vec<[u8; 32]> = all.iter().filter_map(|(.., key)| *key).collect();
    let packages = all.iter().map(|(package, ..)| package);
    let is_recorded = packages::key(packages, [&list_keys, &detail_keys]) == recorded;
    Ok((!is_recorded).then_some("they are not those that were recorded"))
}
