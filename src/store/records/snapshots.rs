//! Recorded snapshots and layers, read.

use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest, LayerKey, PolicyKey};
use crate::model::names::SnapshotRef;
use crate::model::plan::layer::Role;
use crate::store::Store;
use crate::store::records::seal::{row_sum, seal};
use crate::store::records::values::{bits, hash, unfit};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use std::sync::Arc;

/// A recorded snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number in the store, never given twice.
    pub id: i64,
    /// The series that it is of.
    pub series: String,
    /// The stage.
    pub stage: String,
    /// The build that it is of.
    pub run: String,
    /// The snapshot that it was planned over.
    pub parent_id: Option<i64>,
    /// The policy that it was recorded under.
    pub policy_key: PolicyKey,
    /// When it was recorded, in seconds since 1970.
    pub created_s: i64,
    /// How many of its first layers are the parent's.
    pub inherited_layers: usize,
    /// Its packages; `None` where they are unknown.
    pub package_set_id: Option<i64>,
    /// Its image manifest, a blob of the store.
    pub manifest: BlobRef,
    /// Its image configuration, a blob of the store.
    pub config: BlobRef,
    /// Entries of its tree.
    pub entries: u64,
    /// Length of all its files in bytes, a hardlinked inode once.
    pub content_bytes: u64,
    /// Sockets that were passed over.
    pub sockets: u64,
}

/// A file under blobs/sha256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// A recorded layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its number in the store.
    pub id: i64,
    /// The hash of policy, entries and whiteouts.
    pub key: LayerKey,
    /// SHA-256 of its tar.
    pub diff_id: DiffId,
    /// Length of its tar.
    pub tar_bytes: u64,
    /// Length of its files, a hardlinked inode once.
    pub content_bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many whiteouts it has.
    pub whiteouts: u64,
}

/// A compressed form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Media type (image-spec, layer.md).
    pub media_type: String,
    /// Length of the file.
    pub size_bytes: u64,
}

impl Blob {
    /// Returns what names the file.
    pub fn as_ref(&self) -> BlobRef {
        BlobRef {
            digest: self.digest,
            size_bytes: self.size_bytes,
        }
    }
}

/// A layer as one snapshot has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// What it is for.
    pub role: Role,
    /// The layer.
    pub layer: Layer,
    /// The form in which the snapshot's manifest has it.
    pub blob: Blob,
    /// Whether it was there before the snapshot.
    pub reused: bool,
}

/// Series are found without the index of their names (`+name`), and snapshots have none: a damaged index hides rows.
const SNAPSHOT: &str = "SELECT snapshot.id, name, stage, run, parent_id, policy_key, created_s, inherited_layers,
    package_set_id, manifest_digest, manifest_size_bytes, config_digest, config_size_bytes, entries, content_bytes, sockets, sum
    FROM snapshot LEFT JOIN series ON series.id = series_id";

impl Store {
    /// Returns the snapshot that `reference` means. Fails where there is none.
    pub fn find(&self, reference: &SnapshotRef) -> Result<Snapshot> {
        let found = match reference {
            SnapshotRef::Id(id) => self.snapshot_where("snapshot.id = ?", [id])?,
            SnapshotRef::Latest { series, stage, back } => self.snapshot_where(
                "+name = ?1 AND (?2 IS NULL OR stage = ?2) ORDER BY snapshot.id DESC LIMIT 1 OFFSET ?3",
                params![series, stage, back],
            )?,
        };
        let unknown = || Error::UnknownSnapshot {
            reference: reference.to_string(),
            store: self.path.clone(),
        };
        found.ok_or_else(unknown)
    }

    /// Returns the snapshot with this number.
    pub fn snapshot(&self, id: i64) -> Result<Option<Snapshot>> {
        self.snapshot_where("snapshot.id = ?", [id])
    }

    /// Returns all snapshots, or those of one series, the newest first. Fails where there is no such series.
    pub fn snapshots(&self, series: Option<&str>) -> Result<Vec<Snapshot>> {
        let found = self.snapshots_where(
            "?1 IS NULL OR +name = ?1 ORDER BY snapshot.id DESC",
            params![series],
        )?;
        match series {
            Some(name) if found.is_empty() => Err(Error::UnknownSeries {
                series: name.to_owned(),
                store: self.path.clone(),
            }),
            _ => Ok(found),
        }
    }

    /// Returns the newest snapshot of a stage.
    pub fn latest_of_stage(&self, series: &str, stage: &str) -> Result<Option<Snapshot>> {
        self.snapshot_where(
            "+name = ? AND stage = ? ORDER BY snapshot.id DESC LIMIT 1",
            [series, stage],
        )
    }

    /// Returns the newest snapshot of a series.
    pub fn latest(&self, series: &str) -> Result<Option<Snapshot>> {
        self.snapshot_where("+name = ? ORDER BY snapshot.id DESC LIMIT 1", [series])
    }

    /// Returns the snapshots of one run, the newest first.
    pub fn snapshots_of_run(&self, series: &str, run: &str) -> Result<Vec<Snapshot>> {
        self.snapshots_where(
            "+name = ? AND run = ? ORDER BY snapshot.id DESC",
            [series, run],
        )
    }

    /// Returns the newest snapshot of the series that was planned over no other and is of another stage than
    /// `stage`.
    pub fn latest_first_stage(&self, series: &str, stage: &str) -> Result<Option<Snapshot>> {
        let clause =
            "+name = ? AND stage <> ? AND inherited_layers = 0 ORDER BY snapshot.id DESC LIMIT 1";
        self.snapshot_where(clause, [series, stage])
    }

    /// Returns the newest snapshot of this stage that has a base of its own, for a first stage, or a delta of its own.
    pub fn latest_planned(
        &self,
        series: &str,
        stage: &str,
        policy: &PolicyKey,
        is_first: bool,
    ) -> Result<Option<Snapshot>> {
        let clause = "+name = ?1 AND stage = ?2 AND policy_key = ?3 AND (inherited_layers = 0) = ?4 AND EXISTS (
             SELECT 1 FROM snapshot_layer WHERE snapshot_id = snapshot.id AND position = inherited_layers AND role = ?5)
             ORDER BY snapshot.id DESC LIMIT 1";
        let role = if is_first { Role::Base } else { Role::Delta };
        self.snapshot_where(
            clause,
            params![series, stage, policy.0, is_first, role.name()],
        )
    }

    /// Tells whether any form of a layer is here. Fails if a system call does, or the rows are not those that were recorded.
    pub fn has_layer(&self, layer_id: i64) -> Result<bool> {
        Ok(self.form_of(layer_id)?.is_some())
    }

    /// Returns the first form of a layer that is here. Fails as [`Store::has_layer`] does.
    pub fn form_of(&self, layer_id: i64) -> Result<Option<Blob>> {
        for blob in self.blobs_of(layer_id)? {
            if self.has_blob(&blob.digest, blob.size_bytes)? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Returns the layers of a snapshot, the lowest first. Fails if the snapshot is gone, or if its rows are not those that were
    /// recorded.
    pub fn layers(&self, snapshot_id: i64) -> Result<Vec<LayerUse>> {
        self.confirmed_layers(snapshot_id)
            .map(|layers| layers.to_vec())
    }

    /// As [`Store::layers`]. The rows are read and compared with their seal once for an open store.
    fn confirmed_layers(&self, snapshot_id: i64) -> Result<Arc<[LayerUse]>> {
        if let Some(known) = self.confirmed.borrow().get(&snapshot_id) {
            return Ok(Arc::clone(known));
        }
        let rows = rows_of(&self.connection, snapshot_id).map_err(|e| self.failed(e))?;
        let rows = rows.ok_or_else(|| self.damaged(format!("snapshot {snapshot_id} is gone")))?;
        if rows
            .seal
            .is_some_and(|recorded| recorded != rows.seal_now())
        {
            let what =
                format!("the rows of snapshot {snapshot_id} are not those that were recorded");
            return Err(self.damaged(what));
        }
        let layers: Arc<[LayerUse]> = rows.layers.into();
        let mut confirmed = self.confirmed.borrow_mut();
        confirmed.insert(snapshot_id, Arc::clone(&layers));
        Ok(layers)
    }

    /// Returns the first snapshot that has a layer.
    pub fn first_with_layer(&self, layer_id: i64) -> Result<Option<Snapshot>> {
        let clause =
            "snapshot.id = (SELECT min(snapshot_id) FROM snapshot_layer WHERE layer_id = ?)";
        self.snapshot_where(clause, [layer_id])
    }

    /// Returns the layer with this key. Fails where its row, or another of a snapshot that has it, is not the one that was
    /// recorded.
    pub fn layer_by_key(&self, key: &LayerKey) -> Result<Option<Layer>> {
        let query = "SELECT id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts FROM layer WHERE key = ?";
        let found = self.one(query, [key.0], |row| layer(row, 0))?;
        found.map(|found| self.confirmed(found)).transpose()
    }

    /// Compares a layer with what the newest snapshot that has it was sealed with.
    fn confirmed(&self, found: Layer) -> Result<Layer> {
        let query = "SELECT snapshot_id FROM snapshot_layer WHERE layer_id = ? ORDER BY snapshot_id DESC LIMIT 1";
        if let Some(id) = self.one(query, [found.id], |row| row.get(0))? {
            self.confirmed_layers(id)?;
        }
        Ok(found)
    }

    /// Returns the layer that a blob is a form of; of several with the same bytes, any. Fails where its row, or another of a
    /// snapshot that has it, is not the one that was recorded.
    pub fn layer_of_blob(&self, digest: &Digest) -> Result<Option<Layer>> {
        let query = "SELECT layer.id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts
             FROM blob JOIN layer ON layer.id = layer_id WHERE digest = ? LIMIT 1";
        let found = self.one(query, [digest.0], |row| layer(row, 0))?;
        found.map(|found| self.confirmed(found)).transpose()
    }

    /// Returns the forms in which a layer is kept: those that a snapshot has, whose rows are those that were recorded.
    pub fn blobs_of(&self, layer_id: i64) -> Result<Vec<Blob>> {
        let query = "SELECT digest, media_type, size_bytes, max(snapshot_id) FROM blob
             JOIN snapshot_layer ON (blob_digest, snapshot_layer.layer_id) = (digest, blob.layer_id)
             WHERE blob.layer_id = ? GROUP BY digest ORDER BY digest";
        let found = self.all(query, [layer_id], |row| Ok((blob(row, 0)?, row.get(3)?)))?;
        found
            .into_iter()
            .map(|(blob, snapshot_id)| self.confirmed_layers(snapshot_id).map(|_| blob))
            .collect()
    }

    /// Returns the canonical form of a policy.
    pub fn policy(&self, key: &PolicyKey) -> Result<String> {
        let found = self.one(
            "SELECT canonical FROM policy WHERE key = ?",
            [key.0],
            |row| row.get(0),
        )?;
        let found: String = found.ok_or_else(|| self.damaged(format!("policy {key} is gone")))?;
        match blake3::hash(found.as_bytes()).as_bytes() == &key.0 {
            true => Ok(found),
            false => Err(self.damaged(format!("policy {key} is not what was recorded"))),
        }
    }

    fn snapshot_where(&self, clause: &str, values: impl Params) -> Result<Option<Snapshot>> {
        self.one(&format!("{SNAPSHOT} WHERE {clause}"), values, snapshot)
    }

    pub(crate) fn snapshots_where(
        &self,
        clause: &str,
        values: impl Params,
    ) -> Result<Vec<Snapshot>> {
        self.all(&format!("{SNAPSHOT} WHERE {clause}"), values, snapshot)
    }

    pub(crate) fn one<T>(
        &self,
        query: &str,
        values: impl Params,
        read: fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let found = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_row(values, read).optional());
        found.map_err(|e| self.failed(e))
    }

    fn all<T>(
        &self,
        query: &str,
        values: impl Params,
        read: fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let found = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_map(values, read)?.collect());
        found.map_err(|e| self.failed(e))
    }
}

/// All rows of a snapshot.
pub(crate) struct Rows {
    snapshot: Snapshot,
    package_set_key: Option<[u8; 32]>,
    layers: Vec<LayerUse>,
    /// `None` for one that was recorded before there were seals.
    seal: Option<[u8; 32]>,
}

impl Rows {
    /// Returns the sum that the snapshot's own row has.
    pub(crate) fn sum_now(&self) -> i64 {
        row_sum(&self.snapshot)
    }

    /// Returns the seal that these rows have.
    pub(crate) fn seal_now(&self) -> [u8; 32] {
        seal(&self.snapshot, self.package_set_key, &self.layers)
    }
}

/// Reads the rows of a snapshot; `None` where it is not there.
pub(crate) fn rows_of(connection: &Connection, snapshot_id: i64) -> rusqlite::Result<Option<Rows>> {
    let mut one = connection.prepare_cached(&format!("{SNAPSHOT} WHERE snapshot.id = ?"))?;
    let Some(snapshot) = one.query_row([snapshot_id], snapshot).optional()? else {
        return Ok(None);
    };
    let mut sealed = connection.prepare_cached(
        "SELECT package_set.key, seal FROM snapshot LEFT JOIN package_set ON package_set.id = package_set_id
         WHERE snapshot.id = ?",
    )?;
    let (package_set_key, seal) =
        sealed.query_row([snapshot_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut layers = connection.prepare_cached(
        "SELECT layer.id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts,
                digest, media_type, size_bytes, role, reused
         FROM snapshot_layer JOIN layer ON layer.id = snapshot_layer.layer_id
         JOIN blob ON (digest, blob.layer_id) = (blob_digest, snapshot_layer.layer_id)
         WHERE snapshot_id = ? ORDER BY position",
    )?;
    let layers = layers
        .query_map([snapshot_id], layer_use)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(Rows {
        snapshot,
        package_set_key,
        layers,
        seal,
    }))
}

fn layer_use(row: &Row) -> rusqlite::Result<LayerUse> {
    let role = Role::parse(row.get_ref(10)?.as_str()?).ok_or_else(|| unfit(10))?;
    Ok(LayerUse {
        role,
        layer: layer(row, 0)?,
        blob: blob(row, 7)?,
        reused: row.get(11)?,
    })
}

/// Fails where the row is not the one that was recorded.
fn snapshot(row: &Row) -> rusqlite::Result<Snapshot> {
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

fn layer(row: &Row, first: usize) -> rusqlite::Result<Layer> {
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

fn blob(row: &Row, first: usize) -> rusqlite::Result<Blob> {
    Ok(Blob {
        digest: Digest(hash(row, first)?),
        media_type: row.get(first + 1)?,
        size_bytes: bits(row, first + 2)?,
    })
}
