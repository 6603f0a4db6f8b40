//! An image of a registry as a source: read like a layout, blob by blob as they are wanted, or fetched before.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::registry_tags::image_tag;
use crate::model::repository::{ImageName, Reference};
use crate::oci::Blob;
use crate::oci::index::{self, Image};
use crate::oci::read::Opened;
use crate::oci::record::{ImageRecord, MANIFEST_TYPE};
use crate::oci::remote::RemoteBlobs;
use crate::registry::{Access, Client, Manifest, Right};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// The tag of whoever names none, as engines have it.
const LATEST: &str = "latest";

/// An image of a registry.
pub(crate) struct RegistryImage {
    pub opened: Opened,
    pub client: Arc<Client>,
    /// What a record says of the image.
    pub record: Option<ImageRecord>,
}

/// Opens an image of a registry: reads its manifest, and the record of it if there is one. Fails if there is no such image.
pub(crate) fn open_registry(name: &ImageName, access: &Access) -> Result<RegistryImage> {
    let client = Client::open(&name.repository, access, Right::Pull)?;
    let latest = Reference::Tag(LATEST.to_owned());
    let reference = name.reference.as_ref().unwrap_or(&latest);
    let path = PathBuf::from(format!("docker://{name}"));
    let found = client.manifest(reference)?.ok_or_else(|| Error::BadImage {
        path: path.clone(),
        what: match &name.reference {
            Some(reference) => format!("the registry has no {reference} there"),
            None => format!("no tag is named, and the registry has no {LATEST} there"),
        },
    })?;
    let client = Arc::new(client);
    let (index, manifests, record) = if found.media_type == MANIFEST_TYPE {
        let record = record_of(&client, &found)?;
        (index_of(&found, record.as_ref())?, HashSet::new(), record)
    } else {
        let (index, manifests) = index_or_image(&found)?;
        (index, manifests, None)
    };
    let blobs = InRegistry {
        client: Arc::clone(&client),
        manifests,
    };
    Ok(RegistryImage {
        opened: Opened::remote(path, index, found.bytes, Box::new(blobs)),
        client,
        record,
    })
}

fn record_of(client: &Client, manifest: &Manifest) -> Result<Option<ImageRecord>> {
    let record = client.manifest(&Reference::Tag(image_tag(&manifest.digest)))?;
    Ok(record.and_then(|record| ImageRecord::of_bytes(&record.bytes)))
}

/// Returns an index.json with an image alone, and with what a record says of the image.
fn index_of(manifest: &Manifest, record: Option<&ImageRecord>) -> Result<Vec<u8>> {
    index::render(&[Image {
        manifest: Blob::of(&manifest.bytes),
        name: None,
        origin: record.map(|record| record.origin.clone()),
    }])
}

/// Takes a manifest of another type than OCI's: an index, which lists an image for each machine, with the digests of its
/// manifests, or an image of Docker's. Returns an index.json that lists it alone.
fn index_or_image(found: &Manifest) -> Result<(Vec<u8>, HashSet<Digest>)> {
    let json: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    let Some(manifests) = json["manifests"].as_array() else {
        let image = Image {
            manifest: Blob::of(&found.bytes),
            name: None,
            origin: None,
        };
        return Ok((index::render(&[image])?, HashSet::new()));
    };
    let digests = manifests.iter().filter_map(|one| one["digest"].as_str());
    let digests = digests.filter_map(Digest::parse).collect();
    Ok((index::of_index(&Blob::of(&found.bytes))?, digests))
}

/// The blobs of a repository, and manifests that an index names.
struct InRegistry {
    client: Arc<Client>,
    manifests: HashSet<Digest>,
}

impl RemoteBlobs for InRegistry {
    fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send + '_>> {
        let Blob { digest, size_bytes } = *blob;
        if !self.manifests.contains(&digest) {
            let stream = self.client.open_blob(&digest, size_bytes)?;
            return Ok(Box::new(stream));
        }
        let found = self.client.manifest(&Reference::Digest(digest))?;
        let found = found.ok_or_else(|| Error::BadImage {
            path: PathBuf::from(format!("docker://{}", self.client.repository())),
            what: format!("the registry has no manifest {digest} there"),
        })?;
        Ok(Box::new(Cursor::new(found.bytes)))
    }
}
