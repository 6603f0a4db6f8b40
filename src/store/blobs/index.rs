//! The content of index.json: derived from the database, so any engine can read the store by name. And the
//! reverse: an image in index.json without rows is an image that the database has lost.

use crate::error::{Error, Result, show};
use crate::model::digest::{Digest, PolicyKey};
use crate::model::labels::Labels;
use crate::model::names::image_name;
use crate::model::origin::{LABELS, Origin, PINNED, PLANNER, Planned, Recorded as RecordedAs};
use crate::model::plan::LayerRule;
use crate::model::plan::layer::Role;
use crate::printable::printable;
use crate::store::directory::LARGEST_JSON_BYTES;
use crate::store::files::{INDEX, blob_name};
use crate::store::handle::Store;
use crate::store::records::rows::{BlobRef, Snapshot};
use crate::store::records::values::{bits, hash};
use rusqlite::{Connection, Row, params};
use serde_json::{Map, Value, json};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// The annotation with an image's name in a layout (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The columns of a [`Listed`] manifest.
const LISTED: &str =
    "SELECT manifest_digest, manifest_size_bytes, stage, canonical, run, created_s, snapshot.id, name, planner, labels,
     EXISTS (SELECT 1 FROM snapshot AS same WHERE same.manifest_digest = snapshot.manifest_digest AND pinned) FROM snapshot
     JOIN policy ON key = policy_key JOIN series ON series.id = series_id";

/// A manifest of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The manifest.
    pub manifest: BlobRef,
    /// The origin of the manifest's first snapshot.
    pub origin: Origin,
    /// Whether the first snapshot is the newest of its series and stage.
    pub is_newest: bool,
}

/// The annotation of our images; images that somebody else put into the layout lack the annotation.
const OWN_ANNOTATION: &str = "\"org.rootstrata.layer.key\"";

/// No manifest of ours is longer, with at most 100 layers.
const LONGEST_MANIFEST_BYTES: u64 = 1 << 20;

impl Store {
    /// Writes index.json from the rows of this moment, if the bytes differ; `render` makes the bytes. Writers take
    /// turns, so the last writer has seen all rows. Fails with [`Error::Locked`] if others write for too long,
    /// and if the file cannot be written.
    pub(crate) fn update_index(
        &self,
        render: impl FnOnce(&[Listed]) -> Result<Vec<u8>>,
    ) -> Result<()> {
        self.exclusively(|| {
            let listed = self.listed()?;
            self.write_index(&render(&listed)?)
        })
    }

    /// Returns the manifests that index.json names: those of [`listed`] whose blobs are all here, and not in a registry alone.
    /// Fails if the rows cannot be read, or a blob cannot be asked for.
    pub(in crate::store) fn listed(&self) -> Result<Vec<Listed>> {
        self.listed_without(&HashSet::new())
    }

    /// As [`Store::listed`], once the blobs in `going` are in a registry alone. Fails if the rows cannot be read, or a blob cannot be
    /// asked for.
    pub(in crate::store) fn listed_without(&self, going: &HashSet<Digest>) -> Result<Vec<Listed>> {
        let mut listed = listed(&self.connection).map_err(|e| self.failed(e))?;
        let query = "SELECT DISTINCT manifest_digest, blob.digest, blob.size_bytes FROM remote_blob
             JOIN blob USING (digest) JOIN snapshot_layer ON blob_digest = blob.digest
             JOIN snapshot ON snapshot.id = snapshot_id";
        let remote = self.all(query, [], |row| {
            let blob = (Digest(hash(row, 1)?), bits(row, 2)?);
            Ok((Digest(hash(row, 0)?), blob))
        })?;
        let mut incomplete = HashSet::new();
        for (manifest, (digest, size_bytes)) in remote {
            let is_going = going.contains(&digest);
            if is_going || !self.presence_by_length(&digest, size_bytes)?.is_here() {
                incomplete.insert(manifest);
            }
        }
        listed.retain(|one| !incomplete.contains(&one.manifest.digest));
        Ok(listed)
    }

    /// Compares index.json with the database. Returns the fault of index.json, which the next snapshot repairs; an
    /// index.json without the last snapshots, as a killed run leaves the file, has no fault. Fails with
    /// [`Error::Damaged`] if the database has lost an image.
    pub(crate) fn check_index(&self) -> Result<Option<String>> {
        // In this order, since a writer records first, and lists then.
        let index = self.directory.read(INDEX, LARGEST_JSON_BYTES);
        let recorded = self.recorded_manifests()?;
        let index = match index {
            Err(Error::Damaged { what, .. }) => return Ok(Some(what)),
            index => index?,
        };
        let Some(index) = index else {
            return Ok((!recorded.is_empty()).then(|| "it is missing".to_owned()));
        };
        let wrong = self.check_index_bytes(&index, &recorded)?;
        Ok(wrong.map(str::to_owned))
    }

    fn check_index_bytes(
        &self,
        index: &[u8],
        recorded: &HashMap<Digest, Recorded>,
    ) -> Result<Option<&'static str>> {
        let Ok(Value::Object(mut index)) = serde_json::from_slice(index) else {
            return Ok(Some("it is no index of images"));
        };
        let Some(Value::Array(manifests)) = index.remove("manifests") else {
            return Ok(Some("it has no list of images"));
        };
        let expected = json!({"mediaType": INDEX_TYPE, "schemaVersion": 2});
        let is_index = Value::Object(index) == expected;
        let mut wrong = (!is_index).then_some("it is no index of images");
        for mut listed in manifests {
            let planner = take_planner(&mut listed);
            let digest = listed["digest"].as_str().and_then(Digest::parse);
            match digest.map(|digest| (digest, recorded.get(&digest))) {
                Some((digest, Some(recorded)))
                    if recorded.is_listed_as(&digest, &listed, planner.as_ref()) => {}
                Some((digest, None)) if self.is_own_image(&digest) => {
                    return Err(self.lost_image(&digest, &listed));
                }
                _ => wrong = Some("it lists what is not recorded"),
            }
        }
        Ok(wrong)
    }

    /// Says that the database lacks an image of ours, listed in index.json as `listed`.
    fn lost_image(&self, digest: &Digest, listed: &Value) -> Error {
        let name = listed["annotations"][REF_NAME].as_str();
        let name = printable(name.unwrap_or("without a name").as_bytes());
        let store = show(&self.path);
        self.damaged(format!(
            "it lacks the image {name} ({digest}) that index.json lists: \
             rootstrata import oci:{store} records it again"
        ))
    }

    /// Returns all manifests of snapshots. Fails if a snapshot's row is not as recorded.
    fn recorded_manifests(&self) -> Result<HashMap<Digest, Recorded>> {
        let mut policies: HashMap<PolicyKey, String> = HashMap::new();
        let mut all: HashMap<Digest, Recorded> = HashMap::new();
        for one in self.snapshots_where("TRUE", [])? {
            let Snapshot {
                id,
                series,
                stage,
                run,
                created_s,
                manifest,
                planning,
                labels,
                ..
            } = one;
            let policy = self.policy_or_empty(one.policy_key, &mut policies)?;
            let recorded = all.entry(manifest.digest).or_insert_with(|| Recorded {
                size_bytes: manifest.size_bytes,
                origins: Vec::new(),
            });
            let origin = Origin {
                series,
                stage,
                policy,
                planned: None,
                labels,
                recorded: Some(RecordedAs {
                    id,
                    run,
                    created_s,
                    is_pinned: false,
                }),
            };
            let planner = planning.map(|planning| planning.planner);
            recorded.origins.push((origin, planner));
        }
        Ok(all)
    }

    /// Returns the canonical form of a policy, which `known` remembers; empty for a lost policy.
    fn policy_or_empty(
        &self,
        key: PolicyKey,
        known: &mut HashMap<PolicyKey, String>,
    ) -> Result<String> {
        match known.entry(key) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(new) => {
                let query = "SELECT canonical FROM policy WHERE key = ?";
                let found = self.one(query, [key.0], |row| row.get(0))?;
                Ok(new.insert(found.unwrap_or_default()).clone())
            }
        }
    }

    /// Tells whether a digest names the manifest of an image of ours.
    fn is_own_image(&self, digest: &Digest) -> bool {
        let mut bytes = Vec::new();
        let Ok(Some(file)) = self.directory.file(&blob_name(digest)) else {
            return false;
        };
        let read = file.take(LONGEST_MANIFEST_BYTES).read_to_end(&mut bytes);
        read.is_ok() && String::from_utf8_lossy(&bytes).contains(OWN_ANNOTATION)
    }
}

/// Returns each manifest of a snapshot: first the newest of each series and stage, in the order of names, then the
/// others. Of several snapshots with the same manifest, the first is named: so recording the same again changes
/// nothing. Fails if a digest has not 32 bytes, or SQLite cannot read the rows.
fn listed(connection: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let newest = "SELECT max(id) FROM snapshot GROUP BY series_id, stage";
    let mut named = connection.prepare_cached(&format!(
        "{LISTED} WHERE snapshot.id IN (
             SELECT min(same.id) FROM snapshot AS newest
             JOIN snapshot AS same USING (series_id, stage, manifest_digest)
             WHERE newest.id IN ({newest}) GROUP BY series_id, stage)
         ORDER BY name, stage"
    ))?;
    let mut past = connection.prepare_cached(&format!(
        "{LISTED} WHERE snapshot.id IN (SELECT min(id) FROM snapshot GROUP BY manifest_digest)
         AND manifest_digest NOT IN (SELECT manifest_digest FROM snapshot WHERE id IN ({newest}))
         ORDER BY manifest_digest"
    ))?;
    let mut listed: Vec<Listed> = named
        .query_map([], |row| listed_manifest(row, true))?
        .collect::<rusqlite::Result<_>>()?;
    for one in past.query_map([], |row| listed_manifest(row, false))? {
        listed.push(one?);
    }
    // Labels are many bytes, of which index.json would have more with each snapshot: those of the newest are what goes on.
    for one in listed.iter_mut().filter(|one| one.is_newest) {
        let Origin {
            planned, recorded, ..
        } = &mut one.origin;
        if let (Some(planned), Some(recorded)) = (planned, recorded)
            && LayerRule::parse(&planned.planner).is_some_and(LayerRule::is_by_packages)
        {
            *planned = Planned::new(&planned.planner, labels(connection, recorded.id)?);
        }
    }
    Ok(listed)
}

/// Returns the labels of a snapshot's package layers, and `None` for each other layer, the lowest first.
fn labels(connection: &Connection, snapshot_id: i64) -> rusqlite::Result<Vec<Option<String>>> {
    let query = "SELECT CASE role WHEN ? THEN label END FROM snapshot_layer
         WHERE snapshot_id = ? ORDER BY position";
    let mut labels = connection.prepare_cached(query)?;
    let values = params![Role::Package.name(), snapshot_id];
    labels.query_map(values, |row| row.get(0))?.collect()
}

fn listed_manifest(row: &Row, is_newest: bool) -> rusqlite::Result<Listed> {
    let origin = Origin {
        series: row.get(7)?,
        ..origin(row)?
    };
    Ok(Listed {
        manifest: manifest(row)?,
        origin,
        is_newest,
    })
}

fn manifest(row: &Row) -> rusqlite::Result<BlobRef> {
    Ok(BlobRef {
        digest: Digest(hash(row, 0)?),
        size_bytes: bits(row, 1)?,
    })
}

/// Reads all but the series, a name that a damaged database may lack, and the labels.
fn origin(row: &Row) -> rusqlite::Result<Origin> {
    let planner: Option<String> = row.get(8)?;
    let labels: Option<String> = row.get(9)?;
    let labels = labels.and_then(|labels| Labels::of_json(&labels));
    Ok(Origin {
        series: String::new(),
        stage: row.get(2)?,
        policy: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        planned: planner.map(|planner| Planned::new(&planner, [])),
        labels: labels.unwrap_or_default(),
        recorded: Some(RecordedAs {
            id: row.get(6)?,
            run: row.get(4)?,
            created_s: row.get(5)?,
            is_pinned: row.get(10)?,
        }),
    })
}

/// A manifest in the database.
struct Recorded {
    size_bytes: u64,
    /// The origins of the snapshots with the manifest, without what is told of layers, and the planners.
    origins: Vec<(Origin, Option<String>)>,
}

/// Takes what is told of layers and of a pin out of an image that index.json lists, and returns the planner. Labels of layers are not
/// compared: they would have to be read whenever a store is opened. Nor are pins, which change. The next snapshot puts both right.
fn take_planner(listed: &mut Value) -> Option<Value> {
    let annotations = listed.get_mut("annotations")?.as_object_mut()?;
    annotations.remove(LABELS);
    annotations.remove(PINNED);
    annotations.remove(PLANNER)
}

impl Recorded {
    /// Tells whether index.json lists the manifest as a snapshot of ours, apart from the `planner`; old versions listed a name
    /// alone.
    fn is_listed_as(&self, digest: &Digest, listed: &Value, planner: Option<&Value>) -> bool {
        let plain = json!({"digest": digest.to_string(), "mediaType": MANIFEST_TYPE, "size": self.size_bytes});
        let with = |annotations: Map<String, Value>| {
            let mut listed = plain.clone();
            listed["annotations"] = Value::Object(annotations);
            listed
        };
        let is_one = |(origin, recorded): &(Origin, Option<String>)| {
            let recorded = recorded.as_deref();
            if planner.is_some_and(|planner| planner.as_str() != recorded) {
                return false;
            }
            let name = Map::from_iter([(
                REF_NAME.to_owned(),
                json!(image_name(&origin.series, &origin.stage)),
            )]);
            let whole = origin
                .annotations()
                .into_iter()
                .map(|(name, value)| (name, json!(value)));
            let whole = Map::from_iter(whole);
            let both = name.clone().into_iter().chain(whole.clone()).collect();
            [name, whole, both]
                .into_iter()
                .any(|annotations| *listed == with(annotations))
        };
        *listed == plain || self.origins.iter().any(is_one)
    }
}
