//! Recorded snapshots and layers, found and confirmed.

use crate::error::{Error, Result};
use crate::model::digest::{Digest, LayerKey, PolicyKey};
use crate::model::names::SnapshotRef;
use crate::model::plan::layer::Role;
use crate::model::plan::{LayerRule, SQUASH};
use crate::model::policy::Policy;
use crate::store::handle::Store;
use crate::store::records::read::{SNAPSHOT, blob, layer, rows_of, snapshot};
use crate::store::records::rows::{Blob, Layer, LayerUse, Snapshot};
use rusqlite::{Params, params};
use std::sync::Arc;

impl Store {
    /// Returns the snapshot of a reference. Fails with [`Error::UnknownSnapshot`] without such a snapshot.
    pub fn find(&self, reference: &SnapshotRef) -> Result<Snapshot> {
        let found = match reference {
            SnapshotRef::Id(id) => self.snapshot_where("snapshot.id = ?", [id])?,
            SnapshotRef::Latest {
                series,
                stage,
                at,
                back,
            } => {
                let until = match at {
                    Some(at) => Some(at.last_second(self.now_s()?)),
                    None => None,
                };
                let nth = |stage: Option<&str>, back: u32| {
                    self.snapshot_where(
                        "+name = ?1 AND (?2 IS NULL OR stage = ?2) AND (?3 IS NULL OR created_s <= ?3)
                         ORDER BY snapshot.id DESC LIMIT 1 OFFSET ?4",
                        params![series, stage, until, back],
                    )
                };
                // Without a stage, it is that of the newest: a count over all stages would give another at each step.
                match (nth(stage.as_deref(), 0)?, back) {
                    (Some(newest), 1..) => nth(Some(&newest.stage), *back)?,
                    (newest, _) => newest,
                }
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let mut stages = Vec::new();
        if let SnapshotRef::Latest {
            series,
            stage: Some(stage),
            ..
        } = reference
        {
            stages = self.stages(series)?;
            if stages.contains(stage) {
                stages.clear();
            }
        }
        Err(Error::UnknownSnapshot {
            reference: reference.to_string(),
            store: self.path.clone(),
            stages,
        })
    }

    /// Returns the time of now by SQLite's clock, in seconds since 1970. Fails as SQLite does.
    fn now_s(&self) -> Result<i64> {
        let now = self.one("SELECT unixepoch()", [], |row| row.get(0))?;
        Ok(now.unwrap_or_default())
    }

    /// Returns the snapshot with a number. Fails if its row is not as recorded.
    pub fn snapshot(&self, id: i64) -> Result<Option<Snapshot>> {
        self.snapshot_where("snapshot.id = ?", [id])
    }

    /// Returns all snapshots, or the snapshots of a series, the newest first. Fails with [`Error::UnknownSeries`]
    /// without such a series, and if a row is not as recorded.
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

    /// Tells whether there is any snapshot. Fails if SQLite cannot look for a row.
    pub(crate) fn has_snapshots(&self) -> Result<bool> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM snapshot)", [], |row| {
                row.get(0)
            })
            .map_err(|e| self.failed(e))
    }

    /// Returns the stages of a series, in the order of their first snapshots. Fails if SQLite cannot group the rows.
    pub(crate) fn stages(&self, series: &str) -> Result<Vec<String>> {
        let run = || -> rusqlite::Result<Vec<String>> {
            let query = "SELECT stage FROM snapshot WHERE series_id = (SELECT id FROM series WHERE name = ?)
                 GROUP BY stage ORDER BY min(id)";
            let mut query = self.connection.prepare_cached(query)?;
            query.query_map([series], |row| row.get(0))?.collect()
        };
        run().map_err(|e| self.failed(e))
    }

    /// Returns the newest snapshot of another series than `series` whose lowest layer is an inherited lowest layer of a snapshot. Fails if
    /// the found row is damaged.
    pub(crate) fn latest_with_layers_of(&self, id: i64, series: &str) -> Result<Option<Snapshot>> {
        let clause = "+name <> ?2 AND inherited_layers = 0 AND snapshot.id IN (
                 SELECT theirs.snapshot_id FROM snapshot_layer AS ours
                 JOIN snapshot AS last ON last.id = ours.snapshot_id AND last.inherited_layers > 0
                 JOIN snapshot_layer AS theirs ON theirs.layer_id = ours.layer_id AND theirs.position = 0
                 WHERE ours.snapshot_id = ?1 AND ours.position = 0)
             ORDER BY snapshot.id DESC LIMIT 1";
        self.snapshot_where(clause, params![id, series])
    }

    /// Returns the newest snapshot of a stage. Fails with [`Error::Damaged`] if the sum of its row is another than
    /// recorded.
    pub(crate) fn latest_of_stage(&self, series: &str, stage: &str) -> Result<Option<Snapshot>> {
        self.snapshot_where(
            "+name = ? AND stage = ? ORDER BY snapshot.id DESC LIMIT 1",
            [series, stage],
        )
    }

    /// Returns the newest snapshot of a series. Fails with [`Error::Damaged`] if its row has changed since the
    /// recording.
    pub fn latest(&self, series: &str) -> Result<Option<Snapshot>> {
        self.snapshot_where("+name = ? ORDER BY snapshot.id DESC LIMIT 1", [series])
    }

    /// Returns the snapshots of a run, the newest first. Fails with [`Error::Damaged`] if any row of the run is not as
    /// recorded.
    pub(crate) fn snapshots_of_run(&self, series: &str, run: &str) -> Result<Vec<Snapshot>> {
        self.snapshots_where(
            "+name = ? AND run = ? ORDER BY snapshot.id DESC",
            [series, run],
        )
    }

    /// Returns the newest snapshot of a series that has no stage below, of another stage than `stage`. Fails if a row
    /// is not as recorded.
    pub(crate) fn latest_first_stage(&self, series: &str, stage: &str) -> Result<Option<Snapshot>> {
        let clause =
            "+name = ? AND stage <> ? AND inherited_layers = 0 ORDER BY snapshot.id DESC LIMIT 1";
        self.snapshot_where(clause, [series, stage])
    }

    /// Returns the newest snapshot of a stage that has no stage below, under any policy. Fails with [`Error::Damaged`]
    /// if the row of that snapshot is not as recorded.
    pub(crate) fn latest_based(&self, series: &str, stage: &str) -> Result<Option<Snapshot>> {
        let clause =
            "+name = ? AND stage = ? AND inherited_layers = 0 ORDER BY snapshot.id DESC LIMIT 1";
        self.snapshot_where(clause, [series, stage])
    }

    /// Returns the newest snapshot of a stage, cut into layers by a rule like `rule`, with a base of its own, for a first stage,
    /// or a delta of its own. Fails if a row is not as recorded.
    pub(crate) fn latest_planned(
        &self,
        (series, stage): (&str, &str),
        policies: &[PolicyKey; 2],
        rule: LayerRule,
        is_first: bool,
    ) -> Result<Option<Snapshot>> {
        let clause =
            "+name = ?1 AND stage = ?2 AND policy_key IN (?3, ?7) AND (inherited_layers = 0) = ?4
             AND coalesce(planner LIKE 'packages:%', 0) = ?6 AND EXISTS (
                 SELECT 1 FROM snapshot_layer WHERE snapshot_id = snapshot.id AND role = ?5
                 AND coalesce(inherited = 0, position = inherited_layers))
             ORDER BY snapshot.id DESC LIMIT 1";
        let role = if is_first { Role::Base } else { Role::Delta };
        let is_by_packages = rule.is_by_packages();
        self.snapshot_where(
            clause,
            params![
                series,
                stage,
                policies[0].0,
                is_first,
                role.name(),
                is_by_packages,
                policies[1].0
            ],
        )
    }

    /// Returns the snapshot that tells how the next one of a stage is cut into layers, under whatever policy: the newest of the
    /// stage, else of the run, else of the series. One recorded here goes before one of an image, whose index tells its
    /// rule, and that before a squashed one. An image that tells no rule and has the plain policy, as those of others, tells
    /// nothing. Fails if the row of the snapshot is damaged.
    pub(crate) fn latest_cut(
        &self,
        series: &str,
        stage: &str,
        run: Option<&str>,
    ) -> Result<Option<Snapshot>> {
        let clause = "snapshot.id = (SELECT id FROM snapshot
             WHERE series_id = (SELECT id FROM series WHERE +name = ?1) AND (planner IS NOT NULL OR policy_key <> ?4)
             ORDER BY coalesce(planner = ?5, 0), planner IS NOT NULL AND most_layers IS NULL,
                 stage <> ?2, run IS NOT ?3, id DESC LIMIT 1)";
        let plain = Policy::plain().key();
        self.snapshot_where(clause, params![series, stage, run, plain.0, SQUASH])
    }

    /// Tells whether a snapshot under one of the policies has a package layer. Fails as SQLite does.
    pub(crate) fn has_package_layers(&self, policies: &[PolicyKey; 2]) -> Result<bool> {
        let query =
            "SELECT EXISTS (SELECT 1 FROM snapshot_layer JOIN snapshot ON snapshot.id = snapshot_id
             WHERE policy_key IN (?, ?) AND role = ?)";
        let [one, other] = policies.map(|policy| policy.0);
        let found = self.one(query, params![one, other, Role::Package.name()], |row| {
            row.get(0)
        })?;
        Ok(found.unwrap_or(false))
    }

    /// Tells whether any form of a layer is here, or in a registry. Fails if a blob cannot be asked for, or a row is not as
    /// recorded.
    pub(crate) fn has_layer(&self, layer_id: i64) -> Result<bool> {
        for blob in self.blobs_of(layer_id)? {
            if self.presence(&blob.digest, blob.size_bytes)?.is_had() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the first form of a layer in the store. Fails as [`Store::has_layer`] does.
    pub(crate) fn form_of(&self, layer_id: i64) -> Result<Option<Blob>> {
        for blob in self.blobs_of(layer_id)? {
            if self.has_blob(&blob.digest, blob.size_bytes)? {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Returns the layers of a snapshot, the lowest first. Fails if the snapshot is gone, or if a row is not as
    /// recorded.
    pub fn layers(&self, snapshot_id: i64) -> Result<Vec<LayerUse>> {
        self.confirmed_layers(snapshot_id)
            .map(|layers| layers.to_vec())
    }

    /// As [`Store::layers`]. Rows are read and compared with their seal once for an open store.
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

    /// Returns the first snapshot with a layer. Fails if the snapshot's row is not as recorded.
    pub(crate) fn first_with_layer(&self, layer_id: i64) -> Result<Option<Snapshot>> {
        let clause =
            "snapshot.id = (SELECT min(snapshot_id) FROM snapshot_layer WHERE layer_id = ?)";
        self.snapshot_where(clause, [layer_id])
    }

    /// Returns the layer with a key. Fails if a row of the newest snapshot with the layer is not as recorded.
    pub(crate) fn layer_by_key(&self, key: &LayerKey) -> Result<Option<Layer>> {
        let query = "SELECT id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts FROM layer WHERE key = ?";
        let found = self.one(query, [key.0], |row| layer(row, 0))?;
        found.map(|found| self.confirmed(found)).transpose()
    }

    /// Compares the rows of the newest snapshot with the layer with their seal.
    fn confirmed(&self, found: Layer) -> Result<Layer> {
        let query = "SELECT snapshot_id FROM snapshot_layer WHERE layer_id = ? ORDER BY snapshot_id DESC LIMIT 1";
        if let Some(id) = self.one(query, [found.id], |row| row.get(0))? {
            self.confirmed_layers(id)?;
        }
        Ok(found)
    }

    /// Returns the layer of a blob; of several with the same bytes, any. Fails if a row of the newest snapshot with
    /// the layer is not as recorded.
    pub(crate) fn layer_of_blob(&self, digest: &Digest) -> Result<Option<Layer>> {
        let query = "SELECT layer.id, key, diff_id, tar_bytes, content_bytes, entries, whiteouts
             FROM blob JOIN layer ON layer.id = layer_id WHERE digest = ? LIMIT 1";
        let found = self.one(query, [digest.0], |row| layer(row, 0))?;
        found.map(|found| self.confirmed(found)).transpose()
    }

    /// Returns the forms of a layer in snapshots. Fails if a row of such a snapshot is not as recorded.
    pub(crate) fn blobs_of(&self, layer_id: i64) -> Result<Vec<Blob>> {
        let query = "SELECT digest, media_type, size_bytes, max(snapshot_id) FROM blob
             JOIN snapshot_layer ON (blob_digest, snapshot_layer.layer_id) = (digest, blob.layer_id)
             WHERE blob.layer_id = ? GROUP BY digest ORDER BY digest";
        let found = self.all(query, [layer_id], |row| Ok((blob(row, 0)?, row.get(3)?)))?;
        found
            .into_iter()
            .map(|(blob, snapshot_id)| self.confirmed_layers(snapshot_id).map(|_| blob))
            .collect()
    }

    /// Returns the canonical form of a policy. Fails if the policy is gone or not as recorded.
    pub fn policy(&self, key: &PolicyKey) -> Result<String> {
        let found = self.one(
            "SELECT canonical FROM policy WHERE key = ?",
            [key.0],
            |row| row.get(0),
        )?;
        let found: String = found.ok_or_else(|| self.damaged(format!("policy {key} is gone")))?;
        if blake3::hash(found.as_bytes()).as_bytes() == &key.0 {
            Ok(found)
        } else {
            Err(self.damaged(format!("policy {key} is not what was recorded")))
        }
    }

    fn snapshot_where(&self, clause: &str, values: impl Params) -> Result<Option<Snapshot>> {
        self.one(&format!("{SNAPSHOT} WHERE {clause}"), values, snapshot)
    }

    /// Returns the snapshots that meet the SQL condition `clause`, with its `values`. Fails with [`Error::Damaged`] at
    /// the first row that is not as recorded, and with [`Error::Database`] if the condition is no SQL.
    pub(crate) fn snapshots_where(
        &self,
        clause: &str,
        values: impl Params,
    ) -> Result<Vec<Snapshot>> {
        self.all(&format!("{SNAPSHOT} WHERE {clause}"), values, snapshot)
    }
}
