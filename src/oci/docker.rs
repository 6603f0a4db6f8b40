//! Archives of Docker's (`docker save`), taken as OCI layouts: manifest.json names configuration and tars of an image, and
//! configuration and diff_ids are digests already (moby, image/spec "Combined Image JSON + Filesystem Changeset Format").

use super::choose::ALL_NAMES;
use super::read::Opened;
use super::{REF_NAME, blob_name, to_sorted_json};
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::printable::printable;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read};

/// The most images of an archive.
const MOST_IMAGES: usize = 1000;
/// The most links on the way to a layer.
const MOST_LINKS: usize = 8;

/// An image in manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The additions that make a layout of an archive.
#[derive(Default)]
pub(super) struct Layout {
    /// The members with blobs, by the names of the blobs.
    pub files: HashMap<String, (u64, u64)>,
    /// The index and the manifests.
    pub made: HashMap<String, Vec<u8>>,
}

impl Opened {
    /// Reads manifest.json and the configurations. The digest of a plain layer is the diff_id, compared while reading; a
    /// compressed layer is hashed here. Fails if manifest.json or a configuration is malformed, or a layer is missing.
    pub(super) fn docker_images(&self) -> Result<Layout> {
        let items: Vec<Item> =
            self.parse("manifest.json", &self.read_small("manifest.json", None)?)?;
        if items.len() > MOST_IMAGES {
            return Err(self.bad(format!(
                "it has {} images, more than any archive",
                items.len()
            )));
        }
        let mut layout = Layout::default();
        let mut known: HashMap<(u64, u64), Value> = HashMap::new();
        let mut manifests = Vec::new();
        for item in &items {
            let manifest = to_sorted_json(&self.docker_manifest(item, &mut layout, &mut known)?);
            let digest = Digest(Sha256::digest(&manifest).into());
            let mut listed = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.to_string(),
                "size": manifest.len(),
            });
            let names = item.repo_tags.as_deref().unwrap_or_default();
            if let Some(first) = names.first() {
                let all = names.join("\n");
                listed["annotations"] = json!({ REF_NAME: first, ALL_NAMES: all });
            }
            manifests.push(listed);
            layout.made.insert(blob_name(&digest), manifest);
        }
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        layout
            .made
            .insert("index.json".to_owned(), to_sorted_json(&index));
        Ok(layout)
    }

    fn docker_manifest(
        &self,
        item: &Item,
        layout: &mut Layout,
        known: &mut HashMap<(u64, u64), Value>,
    ) -> Result<Value> {
        let (name, place) = self.docker_member(&item.config)?;
        let bytes = self.read_small(&name, None)?;
        let digest = Digest(Sha256::digest(&bytes).into());
        self.check_name(&name, &digest)?;
        layout.files.insert(blob_name(&digest), place);
        let config: Value = self.parse("the configuration", &bytes)?;
        let diff_ids = config["rootfs"]["diff_ids"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let names = item.layers.as_deref().unwrap_or_default();
        if diff_ids.len() != names.len() {
            return Err(
                self.bad("a configuration names another number of layers than manifest.json")
            );
        }
        let mut layers = Vec::new();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let (place, layer) = self.docker_layer_once(name, diff_id, known)?;
            let blob = layer["digest"].as_str().and_then(Digest::parse);
            let file = blob.map(|blob| (blob_name(&blob), place));
            layout.files.extend(file);
            layers.push(layer);
        }
        Ok(manifest_of(&digest, bytes.len(), layers))
    }

    /// Describes a layer of manifest.json, unless the member is among the `known`. Returns the member's place beside.
    fn docker_layer_once(
        &self,
        name: &str,
        diff_id: &Value,
        known: &mut HashMap<(u64, u64), Value>,
    ) -> Result<((u64, u64), Value)> {
        let diff_id = diff_id.as_str().and_then(DiffId::parse);
        let diff_id = diff_id.ok_or_else(|| self.bad("a diff_id of it is no SHA-256"))?;
        let (name, place) = self.docker_member(name)?;
        // A plain layer under a second diff_id cannot match both.
        let layer = match known.get(&place) {
            Some(layer) => layer.clone(),
            None => self.docker_layer(&name, place.1, diff_id)?,
        };
        known.insert(place, layer.clone());
        Ok((place, layer))
    }

    /// Fails if a configuration is named after another digest.
    fn check_name(&self, name: &str, digest: &Digest) -> Result<()> {
        let stem = name.rsplit('/').next().unwrap_or(name);
        let stem = stem.strip_suffix(".json").unwrap_or(stem);
        let claimed = Digest::parse(&format!("sha256:{stem}"));
        if claimed.is_some_and(|claimed| claimed != *digest) {
            let what = format!("the content of {} is {digest}", printable(name.as_bytes()));
            return Err(Error::damaged(self.path(), what));
        }
        Ok(())
    }

    /// Describes the layer of a member.
    fn docker_layer(&self, name: &str, size_bytes: u64, diff_id: DiffId) -> Result<Value> {
        let (mut input, _) = self.open_member(name, None)?;
        let mut start = Vec::new();
        input
            .by_ref()
            .take(4)
            .read_to_end(&mut start)
            .map_err(Error::io("read", self.path()))?;
        let suffix = match start.as_slice() {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
            // A skippable frame (RFC 8878, 3.1.2), allowed before others.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18] => "+zstd",
            _ => "",
        };
        let digest = match suffix {
            "" => Digest(diff_id.0),
            _ => {
                let mut hasher = Hashing(Sha256::new_with_prefix(&start));
                io::copy(&mut input, &mut hasher).map_err(Error::io("read", self.path()))?;
                Digest(hasher.0.finalize().into())
            }
        };
        Ok(json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
            "digest": digest.to_string(),
            "size": size_bytes,
        }))
    }

    /// Follows links to a member. Returns name, offset and length.
    fn docker_member(&self, name: &str) -> Result<(String, (u64, u64))> {
        let missing = || {
            Error::damaged(
                self.path(),
                format!("{} is missing", printable(name.as_bytes())),
            )
        };
        let members = self.members().ok_or_else(missing)?;
        let mut at = plain(name);
        for _ in 0..MOST_LINKS {
            if let Some(place) = members.files.get(&at) {
                return Ok((at, *place));
            }
            let target = members.links.get(&at).ok_or_else(missing)?;
            let above = at.rsplit_once('/').map_or("", |(above, _)| above);
            // A symlink is relative to the directory, a hardlink to the archive.
            let relative = plain(&format!("{above}/{target}"));
            let is_there =
                members.files.contains_key(&relative) || members.links.contains_key(&relative);
            at = if is_there { relative } else { plain(target) };
        }
        Err(missing())
    }
}

/// Returns a manifest of a configuration with this digest and length.
fn manifest_of(config: &Digest, config_bytes: usize, layers: Vec<Value>) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.to_string(),
            "size": config_bytes,
        },
        "layers": layers,
    })
}

/// Returns the name of a member without `.` and `..`.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
