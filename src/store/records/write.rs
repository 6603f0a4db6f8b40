//! Recording a snapshot: all rows in one transaction, after the blobs are durable.

use crate::error::{Error, Result};
use crate::model::digest::{DiffId, LayerKey};
use crate::model::labels::Labels;
use crate::model::packages::owners::Installed;
use crate::model::plan::layer::LayerContent;
use crate::model::plan::{LayerPurpose, Planning, Reason, policy_of_layer};
use crate::model::policy::Policy;
use crate::store::handle::{Store, failed_of};
use crate::store::records::entries;
use crate::store::records::packages;
use crate::store::records::read::rows_of;
use crate::store::records::remote;
use crate::store::records::remote::RemoteBlob;
use crate::store::records::rows::Blob;
use crate::store::records::rows::BlobRef;
use crate::store::stamps::{self, StampState};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;

/// A new snapshot.
#[derive(Debug)]
pub struct NewSnapshot<'a> {
    /// Name of the series, perhaps a new series.
    pub series: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The build; `None` for a build of the snapshot's own, named after the snapshot's number.
    pub run: Option<&'a str>,
    /// The snapshot below in the plan.
    pub parent_id: Option<i64>,
    /// The policy.
    pub policy: &'a Policy,
    /// Now, in seconds since 1970.
    pub created_s: i64,
    /// The planner of the layers; `None` for a snapshot from elsewhere.
    pub planning: Option<Planning>,
    /// What its user says of it.
    pub labels: &'a Labels,
    /// Whether neither rm nor prune is to remove the snapshot.
    pub is_pinned: bool,
    /// The installed packages, sorted.
    pub packages: PackagesOf<'a>,
    /// The durable manifest.
    pub manifest: BlobRef,
    /// The durable configuration.
    pub config: BlobRef,
    /// Entries of the tree.
    pub entries: u64,
    /// Length of all files.
    pub content_bytes: u64,
    /// Sockets, which no layer can hold.
    pub sockets: u64,
    /// The layers, the lowest first.
    pub layers: &'a [SnapshotLayer<'a>],
    /// The blobs that are in registries and need not be here.
    pub remotes: &'a [RemoteBlob],
    /// The root, absolute and without symlinks.
    pub root_path: &'a Path,
    /// The state of the root's stamps at the moment when the stamps belonged to this tree.
    pub stamps: StampState,
}

/// The packages of a new snapshot.
#[derive(Clone, Copy, Debug)]
pub enum PackagesOf<'a> {
    /// Nobody knows.
    Unknown,
    /// Sorted packages; the lists of their files are recorded if every package has a list.
    These(&'a [Installed]),
    /// A recorded set.
    Set(i64),
}

/// A layer of a new snapshot.
#[derive(Debug)]
pub struct SnapshotLayer<'a> {
    /// Role, label and reason. Without a planner, label and reason are not recorded.
    pub purpose: LayerPurpose,
    /// The layer's key.
    pub key: LayerKey,
    /// The durable form in the manifest.
    pub blob: Blob,
    /// The content to record; `None` for a recorded layer.
    pub new: Option<NewLayer<'a>>,
}

/// A new layer.
#[derive(Debug)]
pub struct NewLayer<'a> {
    /// The entries and whiteouts.
    pub content: &'a LayerContent<'a>,
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// Length of the tar.
    pub tar_bytes: u64,
    /// For a foreign layer, the canonical text in the place of the snapshot's policy in the layer's key.
    pub under: Option<&'a str>,
}

impl Store {
    /// Records a snapshot, durably, and returns its number. The stamps of the root then belong to the snapshot's tree,
    /// if no other run has changed the stamps. Fails with [`Error::Locked`] if others write for too long, and with
    /// [`Error::Damaged`] if a layer is recorded with another diff_id, or a blob as another layer.
    pub fn record(&mut self, snapshot: &NewSnapshot) -> Result<i64> {
        self.refuse_other_layers(snapshot.layers)?;
        let begun = self.connection.pragma_update(None, "synchronous", "full");
        begun.map_err(|e| self.failed(e))?;
        let (path, database) = (self.path.clone(), self.database.clone());
        let failed = move |source: rusqlite::Error| failed_of(&path, &database, source);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        for layer in snapshot.layers {
            let known = diff_id_of(&transaction, &layer.key).map_err(&failed)?;
            if is_another(known, layer.new.as_ref()) {
                let what = format!("layer {} is recorded with another diff_id", layer.key);
                return Err(Error::damaged(&self.database, what));
            }
        }
        let id = insert_all(&transaction, snapshot).map_err(&failed)?;
        for (digest, stamp) in self.written.get_mut().drain(..) {
            stamp.save(&transaction, &digest).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(id)
    }
}

/// Tells whether a new layer has another diff_id than the recorded layer with the key.
fn is_another(known: Option<[u8; 32]>, new: Option<&NewLayer>) -> bool {
    known
        .zip(new)
        .is_some_and(|(known, new)| new.diff_id.0 != known)
}

fn diff_id_of(connection: &Connection, key: &LayerKey) -> rusqlite::Result<Option<[u8; 32]>> {
    let mut query = connection.prepare_cached("SELECT diff_id FROM layer WHERE key = ?")?;
    query.query_row([key.0], |row| row.get(0)).optional()
}

fn id_of(connection: &Connection, key: &LayerKey) -> rusqlite::Result<i64> {
    let mut query = connection.prepare_cached("SELECT id FROM layer WHERE key = ?")?;
    query.query_row([key.0], |row| row.get(0))
}

fn insert_all(transaction: &Transaction, new: &NewSnapshot) -> rusqlite::Result<i64> {
    let policy_key = new.policy.key().0;
    keep_policy(transaction, &policy_key, &new.policy.canonical())?;
    keep_series(transaction, new.series)?;
    let package_set_id = package_set_of(transaction, new.packages)?;
    let id = insert_snapshot(transaction, new, &policy_key, package_set_id)?;
    for (position, layer) in new.layers.iter().enumerate() {
        insert_layer(transaction, (id, position), layer, new)?;
    }
    for blob in new.remotes {
        remote::insert(transaction, blob)?;
    }
    let rows = rows_of(transaction, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    transaction
        .prepare_cached("UPDATE snapshot SET seal = ?, sum = ? WHERE id = ?")?
        .execute(params![rows.seal_now(), rows.sum_now(), id])?;
    stamps::claim(transaction, new.root_path, new.stamps, id)?;
    Ok(id)
}

/// Returns the set of a snapshot's packages, and inserts the set if new.
fn package_set_of(connection: &Connection, packages: PackagesOf) -> rusqlite::Result<Option<i64>> {
    Ok(match packages {
        PackagesOf::Unknown => None,
        PackagesOf::These(installed) => Some(packages::keep_set(connection, installed)?),
        PackagesOf::Set(id) => Some(id),
    })
}

/// Inserts a series, if new. The index of names is not asked, since the index may be damaged by itself.
fn keep_series(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let query = "INSERT INTO series (name) SELECT ?1 WHERE ?1 NOT IN (SELECT +name FROM series)";
    let mut insert = connection.prepare_cached(query)?;
    insert.execute([name]).map(drop)
}

/// Inserts a policy, if new.
fn keep_policy(connection: &Connection, key: &[u8; 32], canonical: &str) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO policy VALUES (?, ?)")?;
    insert.execute(params![key, canonical]).map(drop)
}

/// Inserts the snapshot's own row, without seal and sum, and returns the number.
fn insert_snapshot(
    transaction: &Transaction,
    new: &NewSnapshot,
    policy_key: &[u8; 32],
    package_set_id: Option<i64>,
) -> rusqlite::Result<i64> {
    let layers = new.layers.iter();
    let inherited_layers = layers.filter(|layer| layer.purpose.is_inherited).count();
    let planner = new.planning.as_ref().map(|planning| &planning.planner);
    let limits = new.planning.as_ref().and_then(|planning| planning.limits);
    transaction
        .prepare_cached(
            "INSERT INTO snapshot SELECT NULL, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?, ?, ?, ? FROM series WHERE +name = ?",
        )?
        .execute(params![
            new.stage,
            new.run.unwrap_or_default(),
            new.parent_id,
            policy_key,
            new.created_s,
            inherited_layers,
            package_set_id,
            new.manifest.digest.0,
            new.manifest.size_bytes,
            new.config.digest.0,
            new.config.size_bytes,
            new.entries,
            new.content_bytes,
            new.sockets,
            planner,
            limits.map(|limits| limits.update_percent.cast_signed()),
            limits.map(|limits| limits.dead_percent.cast_signed()),
            limits.map(|limits| limits.most_layers),
            new.labels.to_json(),
            new.is_pinned,
            new.series,
        ])?;
    let id = transaction.last_insert_rowid();
    if new.run.is_none() {
        transaction
            .prepare_cached("UPDATE snapshot SET run = 'r' || id WHERE id = ?")?
            .execute([id])?;
    }
    Ok(id)
}

/// Inserts a layer, if new, its form, and its use by the snapshot.
fn insert_layer(
    transaction: &Transaction,
    (snapshot_id, position): (i64, usize),
    layer: &SnapshotLayer,
    of: &NewSnapshot,
) -> rusqlite::Result<()> {
    let known = diff_id_of(transaction, &layer.key)?.is_some();
    if let Some(new) = layer.new.as_ref().filter(|_| !known) {
        let policy = policy_of_layer(of.policy, layer.purpose.role).canonical();
        insert_content(transaction, &layer.key, new, &policy)?;
    }
    let layer_id = id_of(transaction, &layer.key)?;
    keep_form(transaction, layer_id, &layer.blob)?;
    let LayerPurpose {
        role,
        label,
        is_inherited,
        reason,
    } = &layer.purpose;
    transaction
        .prepare_cached("INSERT INTO snapshot_layer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            snapshot_id,
            position,
            layer_id,
            layer.blob.digest.0,
            role.name(),
            known || layer.new.is_none(),
            label,
            reason.as_ref().map(Reason::to_string),
            of.planning.is_some().then_some(is_inherited),
        ])?;
    Ok(())
}

/// Inserts a form of a layer, if new.
fn keep_form(connection: &Connection, layer_id: i64, blob: &Blob) -> rusqlite::Result<()> {
    let Blob {
        digest,
        media_type,
        size_bytes,
    } = blob;
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO blob VALUES (?, ?, ?, ?)")?;
    insert
        .execute(params![digest.0, layer_id, media_type, size_bytes])
        .map(drop)
}

/// Inserts a new layer with entries and whiteouts; `policy` is the canonical form of the policy in the keys of such layers of the
/// snapshot.
fn insert_content(
    transaction: &Transaction,
    key: &LayerKey,
    new: &NewLayer,
    policy: &str,
) -> rusqlite::Result<()> {
    let policy = new.under.unwrap_or(policy);
    let policy_key = blake3::hash(policy.as_bytes());
    keep_policy(transaction, policy_key.as_bytes(), policy)?;
    transaction
        .prepare_cached("INSERT INTO layer VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            key.0,
            policy_key.as_bytes(),
            new.diff_id.0,
            new.tar_bytes,
            new.content.content_bytes(),
            new.content.entries_len(),
            new.content.whiteouts_len(),
        ])?;
    entries::insert(transaction, transaction.last_insert_rowid(), new.content)
}
