//! Single entries of recorded layers, without loading a tree.

use crate::error::Result;
use crate::model::digest::ContentHash;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::Laid;
use crate::model::tree::path::EntryPath;
use crate::store::Store;
use crate::store::records::entries::{COLUMNS, WHITEOUT, laid};
use crate::store::records::values::path;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

impl Store {
    /// Returns what a recorded layer holds at `path` itself.
    pub fn item_at(&self, layer_id: i64, path: &EntryPath) -> Result<Option<Laid>> {
        let run = || -> rusqlite::Result<Option<Laid>> {
            let query = format!("SELECT {COLUMNS} FROM entry WHERE layer_id = ? AND path = ?");
            self.connection
                .prepare_cached(&query)?
                .query_row(params![layer_id, path.key()], laid)
                .optional()
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns what a tree of these layers, the lowest first, has at `path`, and the place of the layer that gives it.
    pub fn entry_at(&self, layer_ids: &[i64], path: &EntryPath) -> Result<Option<(usize, Entry)>> {
        let mut above = Vec::new();
        let mut at = path.parent();
        while let Some(directory) = at {
            at = directory.parent();
            above.push(directory);
        }
        for (place, layer_id) in layer_ids.iter().enumerate().rev() {
            match self.item_at(*layer_id, path)? {
                Some(Laid::Entry(entry)) => return Ok(Some((place, entry))),
                Some(_) => return Ok(None),
                None => {}
            }
            for directory in &above {
                match self.item_at(*layer_id, directory)? {
                    Some(Laid::Entry(entry)) if entry.is_directory() => {}
                    Some(_) => return Ok(None), // gone with its directory
                    None => {}
                }
            }
        }
        Ok(None)
    }

    /// Returns the paths of all layers, by layer, that are `wanted`; of files, the content is given too.
    pub fn places_where(
        &self,
        wanted: impl Fn(&EntryPath, Option<ContentHash>) -> bool,
    ) -> Result<HashMap<i64, Vec<EntryPath>>> {
        let run = || -> rusqlite::Result<HashMap<i64, Vec<EntryPath>>> {
            let mut places: HashMap<i64, Vec<EntryPath>> = HashMap::new();
            let query = "SELECT layer_id, path, content FROM entry WHERE kind <> ?";
            let mut query = self.connection.prepare_cached(query)?;
            let mut rows = query.query([WHITEOUT])?;
            while let Some(row) = rows.next()? {
                let path = path(row, 1)?;
                let content: Option<[u8; 32]> = row.get(2)?;
                if wanted(&path, content.map(ContentHash)) {
                    places.entry(row.get(0)?).or_default().push(path);
                }
            }
            Ok(places)
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns the names of an inode in one layer, in path order.
    pub fn names_of(&self, layer_id: i64, group: Group) -> Result<Vec<EntryPath>> {
        let run = || -> rusqlite::Result<Vec<EntryPath>> {
            let query =
                "SELECT path FROM entry WHERE layer_id = ? AND link_group = ? ORDER BY path";
            let mut query = self.connection.prepare_cached(query)?;
            query
                .query_map(params![layer_id, group.0], |row| path(row, 0))?
                .collect()
        };
        run().map_err(|e| self.failed(e))
    }
}
