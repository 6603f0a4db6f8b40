//! What index.json lists: derived from the database, so that any engine can read the store by name.

use super::Store;
use super::snapshots::BlobRef;
use super::values::{bits, hash};
use crate::error::Result;
use crate::model::digest::Digest;

/// One manifest of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The manifest.
    pub manifest: BlobRef,
    /// Series and stage whose newest snapshot it is; `None` for one of the past.
    pub name: Option<(String, String)>,
}

impl Store {
    /// Writes index.json anew, if it would differ, from what is recorded now; `render` makes its bytes. Writers take
    /// turns, so that the last one to write has seen all that is recorded.
    pub fn update_index(&self, render: impl FnOnce(&[Listed]) -> Result<Vec<u8>>) -> Result<()> {
        self.exclusively(|| {
            let bytes = render(&self.listed()?)?;
            let index = self.path.join("index.json");
            if std::fs::read(&index).is_ok_and(|there| there == bytes) {
                return Ok(());
            }
            self.replace_file("index.json", &bytes)
        })
    }

    /// Each manifest that a snapshot has: those of the newest of each series and stage by name, then the others.
    fn listed(&self) -> Result<Vec<Listed>> {
        let run = || -> rusqlite::Result<Vec<Listed>> {
            let mut named = self.connection.prepare_cached(
                "SELECT manifest_digest, manifest_size_bytes, name, stage FROM series JOIN snapshot ON series_id = series.id
                 WHERE snapshot.id IN (SELECT max(id) FROM snapshot GROUP BY series_id, stage) ORDER BY name, stage",
            )?;
            let mut past = self.connection.prepare_cached(
                "SELECT DISTINCT manifest_digest, manifest_size_bytes FROM snapshot WHERE manifest_digest NOT IN
                 (SELECT manifest_digest FROM snapshot WHERE id IN (SELECT max(id) FROM snapshot GROUP BY series_id, stage))
                 ORDER BY manifest_digest",
            )?;
            let manifest = |row: &rusqlite::Row| -> rusqlite::Result<BlobRef> {
                Ok(BlobRef { digest: Digest(hash(row, 0)?), size_bytes: bits(row, 1)? })
            };
            let mut listed: Vec<Listed> = named
                .query_map([], |row| {
                    Ok(Listed { manifest: manifest(row)?, name: Some((row.get(2)?, row.get(3)?)) })
                })?
                .collect::<rusqlite::Result<_>>()?;
            for row in past.query_map([], |row| Ok(Listed { manifest: manifest(row)?, name: None }))? {
                listed.push(row?);
            }
            Ok(listed)
        };
        run().map_err(|e| self.failed(e))
    }
}
