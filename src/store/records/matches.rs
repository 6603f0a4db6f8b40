//! Items of all layers at the paths of a search, by one look at each row.

use crate::error::Result;
use crate::model::digest::ContentHash;
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::store::handle::Store;
use crate::store::records::entries::{COLUMNS, WHITEOUT, item_of};
use crate::store::records::values::{hash, path};
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The kind of a directory in a row.
const DIRECTORY: i64 = 1;

/// Items of layers at the paths of a search.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// The paths, in order.
    pub paths: BTreeSet<EntryPath>,
    /// The items at these paths, by layer.
    pub items: HashMap<i64, Vec<LayerItem>>,
    /// The whiteouts, and the entries that are no directories, above these paths, by layer: nothing of a lower layer is beneath.
    pub ends: HashMap<i64, Vec<EntryPath>>,
}

/// The knowledge of a path after a row of the path.
#[derive(Clone, Copy)]
struct Known {
    is_wanted: bool,
    /// Whether a layer has something else there than a directory.
    may_end: bool,
}

impl Store {
    /// Returns what layers have of the wanted paths. The rows are not compared with the keys of layers. Fails with
    /// [`crate::error::Error::Damaged`] if a path of any layer, or a row of these paths, is malformed.
    pub(crate) fn matches(&self, wanted: impl Fn(&EntryPath) -> bool) -> Result<Matches> {
        self.find_matches(wanted).map_err(|e| self.failed(e))
    }

    fn find_matches(&self, wanted: impl Fn(&EntryPath) -> bool) -> rusqlite::Result<Matches> {
        let mut matches = Matches::default();
        let mut layers: Vec<i64> = Vec::new();
        // A path is in many layers, and is asked for once.
        let mut known: HashMap<Vec<u8>, Known> = HashMap::new();
        let sql = format!("SELECT {COLUMNS}, layer_id FROM entry ORDER BY layer_id, path");
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let layer: i64 = row.get("layer_id")?;
            if layers.last() != Some(&layer) {
                layers.push(layer);
            }
            let ends = row.get_ref(1)?.as_i64()? != DIRECTORY;
            let key = row.get_ref(0)?.as_blob()?;
            let is_wanted = match known.get_mut(key) {
                Some(known) => {
                    known.may_end |= ends;
                    known.is_wanted
                }
                None => {
                    let path = path(row, 0)?;
                    let is_wanted = wanted(&path);
                    let one = Known {
                        is_wanted,
                        may_end: ends,
                    };
                    known.insert(key.to_vec(), one);
                    if is_wanted {
                        matches.paths.insert(path);
                    }
                    is_wanted
                }
            };
            if is_wanted {
                let items = matches.items.entry(layer).or_default();
                items.push(item_of(row)?);
            }
        }
        let above = matches.paths.iter().flat_map(EntryPath::ancestors);
        let mut above: BTreeSet<EntryPath> = above.collect();
        above.retain(|path| known.get(path.key()).is_some_and(|known| known.may_end));
        for layer in layers {
            let ends = self.ends(layer, &above)?;
            if !ends.is_empty() {
                matches.ends.insert(layer, ends);
            }
        }
        Ok(matches)
    }

    /// Returns those of the paths at which a layer has something else than a directory.
    fn ends(&self, layer: i64, paths: &BTreeSet<EntryPath>) -> rusqlite::Result<Vec<EntryPath>> {
        let query = "SELECT kind FROM entry WHERE layer_id = ? AND path = ?";
        let mut query = self.connection.prepare_cached(query)?;
        let mut ends = Vec::new();
        for path in paths {
            let kind: Option<i64> = query
                .query_row(params![layer, path.key()], |row| row.get(0))
                .optional()?;
            if kind.is_some_and(|kind| kind != DIRECTORY) {
                ends.push(path.clone());
            }
        }
        Ok(ends)
    }

    /// Returns the paths at which any layer has one of the contents. Fails with [`crate::error::Error::Damaged`] if a path or a content of
    /// any layer is malformed.
    pub(crate) fn paths_of_contents(
        &self,
        contents: &HashSet<ContentHash>,
    ) -> Result<HashSet<EntryPath>> {
        let run = || -> rusqlite::Result<HashSet<EntryPath>> {
            let mut paths = HashSet::new();
            let query = "SELECT path, content FROM entry WHERE kind <> ? AND content IS NOT NULL";
            let mut query = self.connection.prepare_cached(query)?;
            let mut rows = query.query([WHITEOUT])?;
            while let Some(row) = rows.next()? {
                if contents.contains(&ContentHash(hash(row, 1)?)) {
                    paths.insert(path(row, 0)?);
                }
            }
            Ok(paths)
        };
        run().map_err(|e| self.failed(e))
    }
}
