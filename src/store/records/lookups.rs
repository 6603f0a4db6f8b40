//! Single entries of recorded layers, without loading a tree.

use crate::error::Result;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::store::handle::Store;
use crate::store::records::entries::{COLUMNS, item_of};
use crate::store::records::values::path;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
use std::collections::HashMap;

/// The items of some layers at a path and at the directories above.
#[derive(Debug)]
pub(crate) struct ItemsAlong {
    paths: Vec<EntryPath>,
    items: HashMap<(i64, EntryPath), LayerItem>,
}

impl ItemsAlong {
    /// Tells whether `path` was looked up.
    pub(crate) fn covers(&self, path: &EntryPath) -> bool {
        self.paths.contains(path)
    }

    /// Returns the entry at `path` in the tree of layers, the lowest first, and the position of the layer with the
    /// entry. Fails with [`crate::error::Error::Damaged`] if a layer's row of the path, or of a directory above, is
    /// malformed.
    pub(crate) fn entry_at(&self, layer_ids: &[i64], path: &EntryPath) -> Option<(usize, &Entry)> {
        let above: Vec<EntryPath> = path.ancestors().collect();
        for (place, layer_id) in layer_ids.iter().enumerate().rev() {
            match self.items.get(&(*layer_id, path.clone())) {
                Some(item) => return item.entry().map(|entry| (place, entry)),
                None if above
                    .iter()
                    .any(|directory| self.ends(*layer_id, directory)) =>
                {
                    return None;
                }
                None => {}
            }
        }
        None
    }

    /// Tells whether nothing of lower layers is left beneath a directory.
    fn ends(&self, layer_id: i64, directory: &EntryPath) -> bool {
        let item = self.items.get(&(layer_id, directory.clone()));
        item.is_some_and(|item| item.entry().is_none_or(|entry| !entry.is_directory()))
    }
}

impl Store {
    /// Returns a recorded layer's item at `path`. Fails with [`crate::error::Error::Damaged`] if the row of the path is
    /// malformed.
    pub(crate) fn item_at(&self, layer_id: i64, path: &EntryPath) -> Result<Option<LayerItem>> {
        let run = || -> rusqlite::Result<Option<LayerItem>> {
            let query = format!("SELECT {COLUMNS} FROM entry WHERE layer_id = ? AND path = ?");
            self.connection
                .prepare_cached(&query)?
                .query_row(params![layer_id, path.key()], item_of)
                .optional()
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns the entry at `path` in the tree of layers, the lowest first, and the position of the layer with the
    /// entry. Fails as SQLite does.
    pub(crate) fn entry_at(
        &self,
        layer_ids: &[i64],
        path: &EntryPath,
    ) -> Result<Option<(usize, Entry)>> {
        let items = self.items_along(layer_ids, path)?;
        let found = items.entry_at(layer_ids, path);
        Ok(found.map(|(place, entry)| (place, entry.clone())))
    }

    /// Returns recorded layers' items at `path` and at the directories above, by one query. The rows are not compared
    /// with the layers' keys. Fails with [`crate::error::Error::Damaged`] if any of these rows is malformed.
    pub(crate) fn items_along(&self, layer_ids: &[i64], path: &EntryPath) -> Result<ItemsAlong> {
        let paths: Vec<EntryPath> = std::iter::once(path.clone())
            .chain(path.ancestors())
            .collect();
        let run = || -> rusqlite::Result<HashMap<(i64, EntryPath), LayerItem>> {
            // Numbers in the text and not values: nothing in SQLite takes a list. Each list is another statement.
            let ids: Vec<String> = layer_ids.iter().map(i64::to_string).collect();
            let ids = ids.join(",");
            let marks = vec!["?"; paths.len()].join(",");
            let mut query = self.connection.prepare(&format!(
                "SELECT {COLUMNS}, layer_id FROM entry WHERE layer_id IN ({ids}) AND path IN ({marks})"
            ))?;
            let keys = params_from_iter(paths.iter().map(EntryPath::key));
            let item = |row: &Row| {
                let item = item_of(row)?;
                Ok(((row.get("layer_id")?, item.path().clone()), item))
            };
            query.query_map(keys, item)?.collect()
        };
        let items = run().map_err(|e| self.failed(e))?;
        Ok(ItemsAlong { paths, items })
    }

    /// Returns the names of an inode in a layer, in path order. Fails with [`crate::error::Error::Damaged`] if a name
    /// is malformed.
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
