//! The answers of a repository on blobs: whether a blob is there, and whether anything keeps the blob from being collected. A
//! record of the layer does, and so does the image under a tag.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::ops::remote::local_blobs::candidates::Candidate;
use crate::ops::remote::prune::survey::{Asked, image_tags};
use crate::ops::remote::records::layer_record;
use crate::store::Blob;
use crate::threads;
use std::collections::HashSet;

/// What a repository has of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The blob, and what keeps it there.
    Had,
    /// No blob, or one of another length.
    Lacking,
    /// The blob, and nothing that keeps it there.
    Unnamed,
}

/// Asks for blobs, and returns the answers in their order. Fails if the registry does not answer.
pub(super) fn standings(asked: &Asked, blobs: &[Candidate]) -> Result<Vec<Standing>> {
    let recorded = threads::map(asked.jobs, blobs, |one| is_recorded(asked, one))?;
    let tagged = if recorded.contains(&false) {
        tagged_images(asked)?
    } else {
        HashSet::new()
    };
    // Last of all, so as little time as can be lies between the answer and the removal.
    let are_there = threads::map(asked.jobs, blobs, |one| is_there(asked, &one.blob))?;
    let named = recorded.into_iter().zip(blobs);
    let named = named.map(|(is_recorded, one)| {
        is_recorded || one.manifests.iter().any(|one| tagged.contains(one))
    });
    let both = named.zip(are_there);
    Ok(both.map(|(named, there)| standing(named, there)).collect())
}

fn standing(is_named: bool, is_there: bool) -> Standing {
    match (is_there, is_named) {
        (false, _) => Standing::Lacking,
        (true, false) => Standing::Unnamed,
        (true, true) => Standing::Had,
    }
}

/// Tells whether the record of one of the layers names this very blob.
fn is_recorded(asked: &Asked, one: &Candidate) -> Result<bool> {
    let Blob {
        digest,
        media_type,
        size_bytes,
    } = &one.blob;
    for key in &one.keys {
        let record = layer_record(asked.client, key, media_type)?;
        let named = record.map(|record| record.blob);
        if named.is_some_and(|named| (named.digest, named.size_bytes) == (*digest, *size_bytes)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the manifests of images under tags.
fn tagged_images(asked: &Asked) -> Result<HashSet<Digest>> {
    let listed = asked.client.tags()?;
    let images = asked.by_digest(&image_tags(&listed))?;
    Ok(images.into_keys().collect())
}

fn is_there(asked: &Asked, blob: &Blob) -> Result<bool> {
    let length = asked.client.has_blob(&blob.digest)?;
    Ok(length == Some(blob.size_bytes))
}
