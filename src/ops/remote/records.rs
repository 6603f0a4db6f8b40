//! Records of rootstrata in a repository, asked for and put.

use crate::error::{Error, Result};
use crate::model::digest::{Digest, LayerKey};
use crate::model::registry_tags::layer_tag;
use crate::model::repository::Reference;
use crate::oci::Blob;
use crate::oci::record::{EMPTY, LayerRecord, MANIFEST_TYPE};
use crate::registry::{Client, Put, Source};
use std::io::{self, Read};

/// The most blobs that an error names.
const MOST_NAMED: usize = 3;

/// Returns the tag of a layer's record; the form is what the media type of the blob ends in.
pub(super) fn tag_of(key: &LayerKey, media_type: &str) -> Reference {
    let form = media_type.rsplit_once('+').map_or("tar", |(_, form)| form);
    Reference::Tag(layer_tag(key, form))
}

/// Returns the record of a layer; `None` without one, or for one malformed or of another layer, which whoever has the
/// layer may put again. Fails if the registry does not answer.
pub(super) fn layer_record(
    client: &Client,
    key: &LayerKey,
    media_type: &str,
) -> Result<Option<LayerRecord>> {
    let found = client.manifest(&tag_of(key, media_type))?;
    let record = found.and_then(|found| LayerRecord::of_bytes(&found.bytes));
    Ok(record.filter(|record| record.key == *key && record.media_type == media_type))
}

/// Puts a record under a tag. Fails if the registry refuses the record, or lacks a blob that it names.
pub(super) fn put(client: &Client, tag: &Reference, bytes: &[u8]) -> Result<()> {
    match client.put_manifest(tag, MANIFEST_TYPE, bytes)? {
        Put::Done => Ok(()),
        Put::Unknown(missing) => Err(lacks(client, tag, &missing)),
    }
}

/// Says that a repository lacks what it was given, or what a record promised.
pub(super) fn lacks(client: &Client, tag: &Reference, missing: &[Digest]) -> Error {
    let missing = missing.iter().take(MOST_NAMED).map(Digest::to_string);
    let missing = missing.collect::<Vec<_>>().join(", ");
    Error::Registry {
        registry: client.repository().to_string(),
        action: format!("take the manifest {tag}"),
        what: format!("it lacks blobs that were just pushed, {missing}"),
    }
}

/// Pushes bytes, if the repository lacks them, and tells whether it did. Fails if the registry refuses them.
pub(super) fn put_bytes(client: &Client, bytes: &[u8]) -> Result<bool> {
    let Blob { digest, size_bytes } = Blob::of(bytes);
    if client.has_blob(&digest)?.is_some() {
        return Ok(false);
    }
    client.push_blob(&digest, size_bytes, &Bytes(bytes))?;
    Ok(true)
}

/// Pushes what each record refers to. Fails if the registry refuses it.
pub(super) fn put_empty(client: &Client) -> Result<()> {
    put_bytes(client, EMPTY).map(drop)
}

struct Bytes<'b>(&'b [u8]);

impl Source for Bytes<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}
