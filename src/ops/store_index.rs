//! The store's own index.json, by which engines read the store in place. Derived from the database after each change.

use crate::error::Result;
use crate::model::names::image_name;
use crate::oci;
use crate::oci::index::{self, Image};
use crate::store::BlobRef;
use crate::store::Listed;
use crate::store::Store;
use std::collections::HashSet;

/// Writes index.json. Fails if the database cannot be read or the file cannot be written.
pub(crate) fn update_index(store: &Store) -> Result<()> {
    store.update_index(render_index)
}

/// Returns the bytes of index.json. An image has a name if its snapshot is the newest of its series and stage. Fails if the
/// images cannot be described.
pub(crate) fn render_index(listed: &[Listed]) -> Result<Vec<u8>> {
    let mut taken = HashSet::new();
    let mut images = Vec::new();
    for one in listed {
        let name = image_name(&one.origin.series, &one.origin.stage);
        let is_named = one.is_newest && taken.insert(name.clone());
        images.push(Image {
            manifest: image_blob(one.manifest),
            name: is_named.then_some(name),
            origin: Some(one.origin.clone()),
        });
    }
    index::render(&images)
}

/// Returns a blob of the store as images name it.
pub(crate) fn image_blob(blob: BlobRef) -> oci::Blob {
    oci::Blob {
        digest: blob.digest,
        size_bytes: blob.size_bytes,
    }
}
