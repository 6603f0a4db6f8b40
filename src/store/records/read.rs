//! Rows of snapshots, layers and blobs, read.

use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::labels::Labels;
use crate::model::plan::layer::Role;
use crate::model::plan::{Limits, Planning, Reason};
use crate::store::records::rows::{Blob, BlobRef, Layer, LayerUse, Snapshot};
use crate::store::records::seal::{row_sum, seal};
use crate::store::records::values::{bits, hash, unfit};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

/// Series are found without the index of their names (`+name`), and snapshots have no index: a damaged index hides
/// rows.
pub(crate) const SNAPSHOT: &str = "SELECT snapshot.id, name, stage, run, parent_id, policy_key, created_s, inherited_layers,
    package_set_id, manifest_digest, manifest_size_bytes, config_digest, config_size_bytes, entries, content_bytes, sockets, sum,
    planner, update_percent, dead_percent, most_layers, labels, pinned, seal
    FROM snapshot LEFT JOIN series ON series.id = series_id";

/// The column of the seal in a row of [`SNAPSHOT`].
const SEAL: usize = 23;

/// All rows of a snapshot.
pub(crate) struct Rows {
    snapshot: Snapshot,
    package_set_key: Option<[u8; 32]>,
    pub layers: Vec<LayerUse>,
    /// `None` for a snapshot from before seals.
    pub seal: Option<[u8; 32]>,
}

impl Rows {
    /// Returns the sum of the snapshot's own row.
    pub(crate) fn sum_now(&self) -> i64 {
        row_sum(&self.snapshot)
    }

    /// Returns the seal of the rows.
    pub(crate) fn seal_now(&self) -> [u8; 32] {
        seal(&self.snapshot, self.package_set_key, &self.layers)
    }
}

/// Reads the rows of a snapshot; `None` without such a snapshot. Fails if a row has a wrong sum or type.
pub(crate) fn rows_of(connection: &Connection, snapshot_id: i64) -> rusqlite::Result<Option<Rows>> {
    // The row and its seal are read at once: what may be changed of a snapshot is changed with the seal.
    let mut one = connection.prepare_cached(&format!("{SNAPSHOT} WHERE snapshot.id = ?"))?;
    let row = one.query_row([snapshot_id], |row| Ok((snapshot(row)?, row.get(SEAL)?)));
    let Some((snapshot, seal)) = row.optional()? else {
        return Ok(None);
    };
    let mut key = connection.prepare_cached("SELECT key FROM package_set WHERE id = ?")?;
    let package_set_key = match snapshot.package_set_id {
        Some(set) => key.query_row([set], |row| row.get(0)).optional()?,
        None => None,
    };
    let mut layers = connection.prepare_cached(
        "SELECT layer.id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts,
                digest, media_type, size_bytes, role, reused, label, reason, inherited, position
         FROM snapshot_layer JOIN layer ON layer.id = snapshot_layer.layer_id
         JOIN blob ON (digest, blob.layer_id) = (blob_digest, snapshot_layer.layer_id)
         WHERE snapshot_id = ? ORDER BY position",
    )?;
    let layers = layers
        .query_map([snapshot_id], |row| layer_use(row, &snapshot))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Rows {
        snapshot,
        package_set_key,
        layers,
        seal,
    }))
}

fn layer_use(row: &Row, of: &Snapshot) -> rusqlite::Result<LayerUse> {
    let role = Role::parse(row.get_ref(10)?.as_str()?).ok_or_else(|| unfit(10))?;
    // Without a planner, the seal is that of an earlier format, and the other columns count for nothing.
    let (label, reason, is_inherited) = if of.planning.is_some() {
        let reason = row.get_ref(13)?.as_str_or_null()?;
        let reason = reason.map(|reason| Reason::parse(reason).ok_or_else(|| unfit(13)));
        (row.get(12)?, reason.transpose()?, row.get(14)?)
    } else {
        let position: usize = row.get(15)?;
        (None, None, position < of.inherited_layers)
    };
    Ok(LayerUse {
        role,
        label,
        is_inherited,
        reason,
        layer: layer(row, 0)?,
        blob: blob(row, 7)?,
        reused: row.get(11)?,
    })
}

/// Reads a snapshot's own row. Fails if the row has a wrong sum or type.
pub(crate) fn snapshot(row: &Row) -> rusqlite::Result<Snapshot> {
    let snapshot = Snapshot {
        id: row.get(0)?,
        series: row.get(1)?,
        stage: row.get(2)?,
        run: row.get(3)?,
        parent_id: row.get(4)?,
        policy_key: PolicyKey(hash(row, 5)?),
        created_s: row.get(6)?,
        inherited_layers: row.get(7)?,
        package_set_id: row.get(8)?,
        manifest: BlobRef {
            digest: Digest(hash(row, 9)?),
            size_bytes: bits(row, 10)?,
        },
        config: BlobRef {
            digest: Digest(hash(row, 11)?),
            size_bytes: bits(row, 12)?,
        },
        entries: bits(row, 13)?,
        content_bytes: bits(row, 14)?,
        sockets: bits(row, 15)?,
        planning: planning(row)?,
        labels: labels(row)?,
        is_pinned: row.get(22)?,
    };
    match row.get::<_, Option<i64>>(16)? {
        Some(sum) if sum != row_sum(&snapshot) => {
            let what = format!("snapshot {} is not what was recorded", snapshot.id);
            Err(rusqlite::Error::FromSqlConversionFailure(
                16,
                Type::Integer,
                what.into(),
            ))
        }
        _ => Ok(snapshot),
    }
}

fn labels(row: &Row) -> rusqlite::Result<Labels> {
    match row.get_ref(21)?.as_str_or_null()? {
        None => Ok(Labels::default()),
        Some(text) => Labels::of_json(text).ok_or_else(|| unfit(21)),
    }
}

fn planning(row: &Row) -> rusqlite::Result<Option<Planning>> {
    let Some(planner) = row.get(17)? else {
        return Ok(None);
    };
    let limits = match row.get(18)? {
        None => None,
        Some(percent) => Some(Limits {
            update_percent: i64::cast_unsigned(percent),
            dead_percent: bits(row, 19)?,
            most_layers: row.get(20)?,
        }),
    };
    Ok(Some(Planning { planner, limits }))
}

/// Reads a layer from seven columns, `first` the first. Fails if the key or the diff_id has not 32 bytes.
pub(crate) fn layer(row: &Row, first: usize) -> rusqlite::Result<Layer> {
    Ok(Layer {
        id: row.get(first)?,
        key: LayerKey(hash(row, first + 1)?),
        diff_id: DiffId(hash(row, first + 2)?),
        tar_bytes: bits(row, first + 3)?,
        content_bytes: bits(row, first + 4)?,
        entries: bits(row, first + 5)?,
        whiteouts: bits(row, first + 6)?,
    })
}

/// Reads a blob from three columns, `first` the first. Fails if the digest has not 32 bytes, or the media type is no
/// UTF-8.
pub(crate) fn blob(row: &Row, first: usize) -> rusqlite::Result<Blob> {
    Ok(Blob {
        digest: Digest(hash(row, first)?),
        media_type: row.get(first + 1)?,
        size_bytes: bits(row, first + 2)?,
    })
}
