//! What must hold of a store, whatever has happened to it. Reads it without the project's code.

use super::layers::{LayerItem, Layout, decompressed, images_of, layers_of, members, sha256};
use super::{Path, Value};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;

/// Wants all that docs/format.md says of a store to hold: the database is whole, each row's blob is there and is what the
/// row says, each image can be put together, and index.json names nothing else. Returns the numbers of its snapshots.
pub fn check(store: &Path) -> Vec<i64> {
    let database = store.join("rootstrata.sqlite");
    let connection =
        Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let sound: String = connection
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    let violations = all::<String>(
        &connection,
        "SELECT \"table\" FROM pragma_foreign_key_check",
        |row| row.get(0),
    );
    assert_eq!(violations, [""; 0], "foreign keys");
    check_blobs(store, &connection);
    let snapshots = check_snapshots(store, &connection);
    check_layout(store, &connection);
    snapshots
}

fn all<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&rusqlite::Row) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut query = connection.prepare(query).unwrap();
    query
        .query_map([], read)
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

/// The file that a row names, in its place and with its digest and length.
fn blob(store: &Path, hex: &str, size_bytes: i64) -> Vec<u8> {
    let path = store.join("blobs/sha256").join(hex);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        (bytes.len() as i64, sha256(&bytes).as_str()),
        (size_bytes, hex)
    );
    bytes
}

/// Whether a blob is in a registry alone.
fn is_remote(store: &Path, connection: &Connection, hex: &str) -> bool {
    let query = format!("SELECT count(*) FROM remote_blob WHERE lower(hex(digest)) = '{hex}'");
    let rows: Vec<i64> = all(connection, &query, |row| row.get(0));
    !store.join("blobs/sha256").join(hex).exists() && rows != [0]
}

fn check_blobs(store: &Path, connection: &Connection) {
    let query = "SELECT lower(hex(digest)), media_type, size_bytes, lower(hex(diff_id)), tar_bytes, entries, whiteouts,
                        (SELECT count(*) FROM entry WHERE entry.layer_id = layer.id AND kind <> 0),
                        (SELECT count(*) FROM entry WHERE entry.layer_id = layer.id AND kind = 0)
                 FROM layer LEFT JOIN blob ON blob.layer_id = layer.id";
    type Row = (String, String, i64, String, i64, [i64; 4]);
    let row = |row: &rusqlite::Row| -> rusqlite::Result<Row> {
        let counts = [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            counts,
        ))
    };
    for (
        digest,
        media_type,
        size_bytes,
        diff_id,
        tar_bytes,
        [entries, whiteouts, entry_rows, whiteout_rows],
    ) in all(connection, query, row)
    {
        if is_remote(store, connection, &digest) {
            continue;
        }
        let tar = decompressed(&blob(store, &digest, size_bytes), &media_type);
        assert_eq!(
            (tar.len() as i64, sha256(&tar)),
            (tar_bytes, diff_id),
            "the tar of {digest}"
        );
        let is_whiteout = |name: &[u8]| {
            name.rsplit(|b| *b == b'/')
                .next()
                .unwrap()
                .starts_with(b".wh.")
        };
        let members = members(&tar);
        let gone = members
            .iter()
            .filter(|member| is_whiteout(&member.name))
            .count() as i64;
        assert_eq!(
            (entries, whiteouts),
            (members.len() as i64 - gone, gone),
            "the counts of {digest}"
        );
        assert_eq!(
            (entries, whiteouts),
            (entry_rows, whiteout_rows),
            "the rows of {digest}"
        );
    }
}

fn check_snapshots(store: &Path, connection: &Connection) -> Vec<i64> {
    let query = "SELECT id, lower(hex(manifest_digest)), manifest_size_bytes, lower(hex(config_digest)), config_size_bytes,
                        entries FROM snapshot ORDER BY id";
    type Row = (i64, String, i64, String, i64, i64);
    let row = |row: &rusqlite::Row| -> rusqlite::Result<Row> {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ))
    };
    let snapshots: Vec<Row> = all(connection, query, row);
    for (id, manifest_digest, manifest_size, config_digest, config_size, entries) in &snapshots {
        let manifest: Value =
            serde_json::from_slice(&blob(store, manifest_digest, *manifest_size)).unwrap();
        blob(store, config_digest, *config_size);
        assert_eq!(
            manifest["config"]["digest"],
            format!("sha256:{config_digest}"),
            "snapshot {id}"
        );
        let query = format!(
            "SELECT 'sha256:' || lower(hex(blob_digest)), lower(hex(key)), role, position FROM snapshot_layer
             JOIN layer ON layer.id = layer_id WHERE snapshot_id = {id} ORDER BY position"
        );
        let rows = all(connection, &query, |row| {
            Ok([
                row.get::<_, String>(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get::<_, i64>(3)?.to_string(),
            ])
        });
        let layers = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(at, layer)| {
                let annotation =
                    |name: &str| layer["annotations"][name].as_str().unwrap().to_owned();
                let digest = layer["digest"].as_str().unwrap().to_owned();
                [
                    digest,
                    annotation("org.rootstrata.layer.key"),
                    annotation("org.rootstrata.layer.role"),
                    at.to_string(),
                ]
            });
        let is_here = |row: &[String; 4]| !is_remote(store, connection, &row[0]["sha256:".len()..]);
        let is_here = rows.iter().all(is_here);
        assert!(rows.into_iter().eq(layers), "the layers of snapshot {id}");
        if !is_here {
            continue;
        }
        let mut laid = LayerItem::default();
        layers_of(&format!("sha256:{manifest_digest}"), &Layout(store))
            .iter()
            .for_each(|tar| laid.apply(tar));
        assert_eq!(
            laid.into_tree().len() as i64,
            *entries,
            "the entries of snapshot {id}"
        );
    }
    snapshots.into_iter().map(|(id, ..)| id).collect()
}

/// index.json may lack the last snapshot, if the run was killed after recording it; it names nothing that is not recorded.
fn check_layout(store: &Path, connection: &Connection) {
    // A run that is killed before its first snapshot leaves a store without them.
    let (layout, index) = (store.join("oci-layout"), store.join("index.json"));
    if layout.exists() {
        assert_eq!(
            std::fs::read_to_string(&layout).unwrap(),
            r#"{"imageLayoutVersion":"1.0.0"}"#
        );
    }
    let query = "SELECT 'sha256:' || lower(hex(manifest_digest)), name || ':' || stage FROM snapshot JOIN series ON series.id = series_id";
    let recorded: BTreeSet<(String, String)> = all(connection, query, |row| {
        Ok((row.get(0)?, image_name(&row.get::<_, String>(1)?)))
    })
    .into_iter()
    .collect();
    if !index.exists() {
        assert!(recorded.is_empty(), "snapshots, and no index.json");
        return;
    }
    let bytes = std::fs::read(&index).unwrap();
    let listed: Value = serde_json::from_slice(&bytes).unwrap();
    for manifest in listed["manifests"].as_array().unwrap() {
        layers_of(manifest["digest"].as_str().unwrap(), &Layout(store));
    }
    for (name, digest) in images_of(&bytes) {
        assert!(
            recorded.contains(&(digest.clone(), name.clone())),
            "{name} is {digest} in index.json alone"
        );
    }
}

/// How an image of `SERIES:STAGE` is named.
fn image_name(of: &str) -> String {
    let (series, stage) = of.split_once(':').unwrap();
    format!("{}:{stage}", series.to_lowercase()).replace('+', "--")
}
