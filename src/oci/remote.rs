//! An image in a registry, as a layout whose blobs are elsewhere.

use super::{Blob, blob_name};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

/// Blobs that somebody else keeps.
pub trait RemoteBlobs: Send + Sync {
    /// Opens a blob; the reader compares digest and length. Fails if the blob cannot be had.
    fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send + '_>>;
}

/// What is known of an image in a registry.
pub(super) struct RemoteImage {
    /// index.json and manifests, by their names in a layout.
    made: HashMap<String, Vec<u8>>,
    blobs: Box<dyn RemoteBlobs>,
    /// Manifests and configurations that were read, and have their digests.
    small: Mutex<HashMap<Digest, Vec<u8>>>,
}

impl fmt::Debug for RemoteImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteImage").finish_non_exhaustive()
    }
}

impl RemoteImage {
    /// Takes the bytes of index.json and of a manifest, and the source of all other blobs.
    pub(super) fn new(index: Vec<u8>, manifest: Vec<u8>, blobs: Box<dyn RemoteBlobs>) -> Self {
        let name = blob_name(&Blob::of(&manifest).digest);
        Self {
            made: HashMap::from([("index.json".to_owned(), index), (name, manifest)]),
            blobs,
            small: Mutex::default(),
        }
    }

    /// Returns the bytes of a manifest or a configuration that was read before.
    pub(super) fn small(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.small.lock().ok()?.get(digest).cloned()
    }

    /// Keeps the bytes of a manifest or a configuration, so the registry is asked once.
    pub(super) fn keep_small(&self, digest: Digest, bytes: &[u8]) {
        if let Ok(mut small) = self.small.lock() {
            small.insert(digest, bytes.to_owned());
        }
    }

    /// Opens a member of the layout, and returns its length. Fails if the layout has no such member, or the registry does not give it.
    pub(super) fn open(
        &self,
        name: &str,
        blob: Option<&Blob>,
        path: &Path,
    ) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        if let Some(bytes) = self.made.get(name) {
            return Ok((Box::new(bytes.as_slice()), bytes.len() as u64));
        }
        let Some(blob) = blob else {
            return Err(Error::damaged(path, format!("{name} is missing")));
        };
        Ok((self.blobs.open(blob)?, blob.size_bytes))
    }
}
