//! The entries and whiteouts of recorded layers, as rows.

use crate::error::Result;
use crate::model::digest::{ContentHash, LayerKey, PolicyKey};
use crate::model::plan::item::Item;
use crate::model::plan::items_form::key_of;
use crate::model::plan::layer::LayerContent;
use crate::model::tree::entry::{Device, Entry, Group, Kind};
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;
use crate::store::handle::Store;
use crate::store::records::values::{bits, bytes, encode_xattrs, hash, path, unfit, xattrs};
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(crate) const WHITEOUT: i64 = 0;

pub(crate) const COLUMNS: &str =
    "path, kind, mode, uid, gid, mtime_s, size_bytes, content, target, device_major, device_minor,
    link_group, xattrs";

impl Store {
    /// Returns the entry at `path` of the first layer with an item there, of layers from the topmost down; `None`
    /// without such an item, and for a whiteout. Whiteouts above the path do not count. Fails with
    /// [`crate::error::Error::Damaged`] if the row of the item has an unknown kind or lacks a value that the kind
    /// needs.
    pub fn topmost(
        &self,
        layer_ids: impl Iterator<Item = i64>,
        path: &EntryPath,
    ) -> Result<Option<Entry>> {
        let run = || -> rusqlite::Result<Option<Entry>> {
            let sql = format!("SELECT {COLUMNS} FROM entry WHERE layer_id = ? AND path = ?");
            let mut query = self.connection.prepare_cached(&sql)?;
            for layer_id in layer_ids {
                match query
                    .query_row(params![layer_id, path.key()], item_of)
                    .optional()?
                {
                    None => {}
                    Some(LayerItem::Entry(entry)) => return Ok(Some(entry)),
                    Some(_) => return Ok(None),
                }
            }
            Ok(None)
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns a recorded layer's items at `paths`, which are in order. The rows are not compared with the layer's key.
    /// Fails with [`crate::error::Error::Damaged`] at the first row that is neither an entry nor a whiteout.
    pub(crate) fn items_at(&self, layer_id: i64, paths: &[EntryPath]) -> Result<Vec<LayerItem>> {
        let run = || -> rusqlite::Result<Vec<LayerItem>> {
            let sql = format!("SELECT {COLUMNS} FROM entry WHERE layer_id = ? AND path = ?");
            let mut query = self.connection.prepare_cached(&sql)?;
            let mut items = Vec::new();
            for path in paths {
                items.extend(
                    query
                        .query_row(params![layer_id, path.key()], item_of)
                        .optional()?,
                );
            }
            Ok(items)
        };
        run().map_err(|e| self.failed(e))
    }

    /// As [`Store::items_at`], for a large part of the paths between the first and the last: all rows in between are
    /// read. Fails with [`crate::error::Error::Damaged`] if the row of one of `paths` is malformed, but not for a
    /// malformed row in between.
    pub(crate) fn items_among(&self, layer_id: i64, paths: &[EntryPath]) -> Result<Vec<LayerItem>> {
        let (Some(first), Some(last)) = (paths.first(), paths.last()) else {
            return Ok(Vec::new());
        };
        let run = || -> rusqlite::Result<Vec<LayerItem>> {
            let sql = format!(
                "SELECT {COLUMNS} FROM entry WHERE layer_id = ? AND path BETWEEN ? AND ? ORDER BY path"
            );
            let mut query = self.connection.prepare_cached(&sql)?;
            let mut rows = query.query(params![layer_id, first.key(), last.key()])?;
            let mut rest = paths.iter().peekable();
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                let key = row.get_ref(0)?.as_blob()?;
                while rest.next_if(|path| path.key() < key).is_some() {}
                if rest.next_if(|path| path.key() == key).is_some() {
                    items.push(item_of(row)?);
                }
            }
            Ok(items)
        };
        run().map_err(|e| self.failed(e))
    }

    /// Lays recorded layers over `overlay`, the lowest first. Fails if the rows of a layer do not give its key.
    pub(crate) fn apply_all(&self, layer_ids: &[i64], overlay: &mut Overlay) -> Result<()> {
        let items = layer_ids.iter().map(|id| self.items(*id));
        let layers: Vec<Vec<LayerItem>> = items.collect::<Result<_>>()?;
        overlay.apply_all(layers.into_iter().map(Vec::into_iter));
        Ok(())
    }

    /// Returns the items of a recorded layer, in path order. Fails if the layer's rows do not give its key.
    pub fn items(&self, layer_id: i64) -> Result<Vec<LayerItem>> {
        let run = || -> rusqlite::Result<(LayerKey, PolicyKey, Vec<LayerItem>)> {
            let mut keys = self
                .connection
                .prepare_cached("SELECT key, policy_key FROM layer WHERE id = ?")?;
            let (key, policy) =
                keys.query_row([layer_id], |row| Ok((hash(row, 0)?, hash(row, 1)?)))?;
            let sql = format!("SELECT {COLUMNS} FROM entry WHERE layer_id = ? ORDER BY path");
            let mut query = self.connection.prepare_cached(&sql)?;
            let rows = query
                .query_map([layer_id], item_of)?
                .collect::<rusqlite::Result<_>>()?;
            Ok((LayerKey(key), PolicyKey(policy), rows))
        };
        let (key, policy, rows) = run().map_err(|e| self.failed(e))?;
        if key_of(&policy, rows.iter().filter_map(LayerItem::as_item)) != key {
            return Err(self.damaged(format!(
                "the entries of layer {key} are not those that were recorded"
            )));
        }
        Ok(rows)
    }
}

/// Inserts all items of `content`. Fails if the layer has an item at one of the paths already, or if the database
/// cannot be written to.
pub(crate) fn insert(
    connection: &Connection,
    layer_id: i64,
    content: &LayerContent,
) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for item in content.items() {
        match item {
            Item::Whiteout(path) => insert.execute(params![
                layer_id,
                path.key(),
                WHITEOUT,
                0,
                0,
                0,
                0,
                None::<i64>,
                None::<&[u8]>,
                None::<&[u8]>,
                None::<u32>,
                None::<u32>,
                None::<u32>,
                None::<&[u8]>
            ])?,
            Item::Entry(entry) => {
                let columns = KindColumns::of(&entry.kind);
                insert.execute(params![
                    layer_id,
                    entry.path.key(),
                    columns.number,
                    entry.mode,
                    entry.uid,
                    entry.gid,
                    entry.mtime_s,
                    columns.size_bytes,
                    columns.content,
                    columns.target,
                    columns.device.map(|device| device.major),
                    columns.device.map(|device| device.minor),
                    entry.group.map(|group| group.0),
                    encode_xattrs(&entry.xattrs),
                ])?
            }
        };
    }
    Ok(())
}

#[derive(Default)]
struct KindColumns<'a> {
    number: i64,
    size_bytes: Option<i64>,
    content: Option<[u8; 32]>,
    target: Option<&'a [u8]>,
    device: Option<Device>,
}

impl<'a> KindColumns<'a> {
    fn of(kind: &'a Kind) -> Self {
        let none = Self::default();
        match kind {
            Kind::Directory => Self { number: 1, ..none },
            Kind::File {
                size_bytes,
                content,
            } => Self {
                number: 2,
                size_bytes: Some(size_bytes.cast_signed()),
                content: Some(content.0),
                ..none
            },
            Kind::Symlink(target) => Self {
                number: 3,
                target: Some(target),
                ..none
            },
            Kind::Fifo => Self { number: 4, ..none },
            Kind::CharDevice(device) => Self {
                number: 5,
                device: Some(*device),
                ..none
            },
            Kind::BlockDevice(device) => Self {
                number: 6,
                device: Some(*device),
                ..none
            },
        }
    }
}

/// Reads an item from the columns of [`COLUMNS`]. Fails if the path is malformed, the kind unknown, or a value of the
/// kind missing or malformed.
pub(crate) fn item_of(row: &Row) -> rusqlite::Result<LayerItem> {
    let path = path(row, 0)?;
    let device = || -> rusqlite::Result<Device> {
        Ok(Device {
            major: row.get(9)?,
            minor: row.get(10)?,
        })
    };
    let kind = match row.get(1)? {
        WHITEOUT => return Ok(LayerItem::Whiteout(path)),
        1 => Kind::Directory,
        2 => Kind::File {
            size_bytes: bits(row, 6)?,
            content: ContentHash(hash(row, 7)?),
        },
        3 => Kind::Symlink(bytes(row, 8)?),
        4 => Kind::Fifo,
        5 => Kind::CharDevice(device()?),
        6 => Kind::BlockDevice(device()?),
        _ => return Err(unfit(1)),
    };
    let group: Option<u32> = row.get(11)?;
    Ok(LayerItem::Entry(Entry {
        path,
        kind,
        mode: row.get(2)?,
        uid: row.get(3)?,
        gid: row.get(4)?,
        mtime_s: row.get(5)?,
        group: group.map(Group),
        xattrs: xattrs(row, 12)?,
    }))
}
