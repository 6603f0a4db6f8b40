//! What index.json lists: derived from the database, so that any engine can read the store by name. And what it tells of
//! the database: an image that it lists and the database does not have is one that the database has lost.

use super::Store;
use super::snapshots::{BlobRef, Snapshot};
use super::values::{bits, hash};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::names::image_name;
use crate::printable::printable;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

/// What names an image in a layout (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One manifest of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The manifest.
    pub manifest: BlobRef,
    /// Series and stage whose newest snapshot it is; `None` for one of the past.
    pub name: Option<(String, String)>,
}

/// What tells an image of ours from one that somebody put into the layout.
const OWN_ANNOTATION: &str = "\"org.rootstrata.layer.key\"";

/// No manifest of ours is longer: it has at most 100 layers.
const LONGEST_MANIFEST_BYTES: u64 = 1 << 20;

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

    /// Compares index.json with the database. Returns what is wrong with index.json, which is made anew by the next snapshot;
    /// one that lacks the last snapshots, as a killed run leaves it, is not wrong. Fails where it is the database that
    /// has lost something.
    pub(super) fn check_index(&self) -> Result<Option<&'static str>> {
        // In this order: a writer records first, and lists then.
        let index = match std::fs::read(self.path.join("index.json")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            index => Some(index.map_err(Error::io("read", self.path.join("index.json")))?),
        };
        let recorded = self.recorded_manifests()?;
        let Some(index) = index else { return Ok((!recorded.is_empty()).then_some("it is missing")) };
        let Ok(Value::Object(mut index)) = serde_json::from_slice(&index) else {
            return Ok(Some("it is no index of images"));
        };
        let Some(Value::Array(manifests)) = index.remove("manifests") else {
            return Ok(Some("it has no list of images"));
        };
        let mut wrong = (Value::Object(index) != json!({"mediaType": INDEX_TYPE, "schemaVersion": 2}))
            .then_some("it is no index of images");
        for listed in manifests {
            let digest = listed["digest"].as_str().and_then(Digest::parse);
            match digest.and_then(|digest| Some((digest, recorded.get(&digest)?))) {
                Some((digest, recorded)) if recorded.is_listed_as(&digest, &listed) => {}
                None if digest.is_some_and(|digest| self.is_own_image(&digest)) => {
                    let name = listed["annotations"][REF_NAME].as_str().unwrap_or("without a name");
                    let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
                    let what = format!(
                        "it lacks the image {} ({digest}) that index.json lists",
                        printable(name.as_bytes())
                    );
                    return Err(self.damaged(what));
                }
                _ => wrong = Some("it lists what is not recorded"),
            }
        }
        Ok(wrong)
    }

    /// All manifests that snapshots have. Fails where a snapshot's row is not the one that was recorded.
    fn recorded_manifests(&self) -> Result<HashMap<Digest, Recorded>> {
        let mut all: HashMap<Digest, Recorded> = HashMap::new();
        for Snapshot { series, stage, manifest, .. } in self.snapshots_where("TRUE", [])? {
            let recorded = all
                .entry(manifest.digest)
                .or_insert_with(|| Recorded { size_bytes: manifest.size_bytes, names: HashSet::new() });
            recorded.names.insert(image_name(&series, &stage));
        }
        Ok(all)
    }

    /// Tells whether this is the manifest of an image that a store of ours has made.
    fn is_own_image(&self, digest: &Digest) -> bool {
        let mut bytes = Vec::new();
        let read = File::open(self.blob_path(digest))
            .and_then(|file| file.take(LONGEST_MANIFEST_BYTES).read_to_end(&mut bytes));
        read.is_ok() && String::from_utf8_lossy(&bytes).contains(OWN_ANNOTATION)
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

/// A manifest that the database has.
struct Recorded {
    size_bytes: u64,
    /// Those that it may be listed by.
    names: HashSet<String>,
}

impl Recorded {
    fn is_listed_as(&self, digest: &Digest, listed: &Value) -> bool {
        let mut expected =
            json!({"digest": digest.to_string(), "mediaType": MANIFEST_TYPE, "size": self.size_bytes});
        if let Some(name) = listed["annotations"][REF_NAME].as_str().filter(|name| self.names.contains(*name))
        {
            expected["annotations"] = json!({REF_NAME: name});
        }
        *listed == expected
    }
}
