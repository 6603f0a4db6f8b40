//! Reading blobs of the store, by their presence.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::blobs::presence::{Presence, look, look_at_length};
use crate::store::blobs::stamp::BlobStamp;
use crate::store::directory::{Directory, LARGEST_JSON_BYTES};
use crate::store::files::PATIENCE;
use crate::store::handle::Store;
use crate::store::locks::InUse;
use crate::store::records::remote::RemoteBlob;
use crate::store::records::rows::Blob;
use crate::store::records::rows::BlobRef;
use crate::store::records::rows::LayerUse;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Blobs of a store, for long reading without the database. SQLite's files beside an open database would be written to
/// the disk together with the copied bytes, and closing would wait for the disk.
#[derive(Debug)]
pub struct Blobs {
    store: Arc<Directory>,
    /// The stamps in the database.
    stamps: HashMap<Digest, BlobStamp>,
    /// The repositories that have blobs in the place of the store.
    remotes: HashMap<Digest, RemoteBlob>,
    _in_use: Option<InUse>,
}

impl Blobs {
    /// Opens a blob. The database is opened again only to remember that a blob was read. Fails with [`Error::Damaged`]
    /// if the blob is missing or has another content than its digest.
    pub fn open(&self, digest: &Digest, size_bytes: u64) -> Result<BlobSource> {
        let known = || self.stamps.get(digest).copied();
        let (presence, new) = look(&self.store, digest, size_bytes, known)?;
        if let Some(new) = new
            && let Ok(store) = Store::open_unchecked(self.store.path())
        {
            store.keep_stamp(digest, new);
        }
        let remote = self.remotes.get(digest);
        presence
            .or_in(|| remote.cloned())
            .or_damaged(&self.store, digest)
    }
}

impl Store {
    /// Returns the presence of a blob with the content of its digest. Fails if the file is there, and cannot be opened
    /// or read to its end.
    pub(crate) fn presence(&self, digest: &Digest, size_bytes: u64) -> Result<Presence> {
        let known = || self.blob_stamp(digest);
        let (presence, new) = look(&self.directory, digest, size_bytes, known)?;
        new.iter().for_each(|new| self.keep_stamp(digest, *new));
        self.or_remote(presence, digest)
    }

    /// Returns the number and the bytes of the layers whose own form only a registry has. Fails if a blob cannot be asked for.
    pub(crate) fn remote_of<'l>(
        &self,
        layers: impl Iterator<Item = &'l LayerUse>,
    ) -> Result<(u64, u64)> {
        if !self.has_remotes()? {
            return Ok((0, 0));
        }
        let mut seen = HashSet::new();
        let (mut count, mut bytes) = (0, 0);
        for Blob {
            digest, size_bytes, ..
        } in layers.map(|used| &used.blob)
        {
            if !seen.insert(*digest) {
                continue;
            }
            let presence = self.presence_by_length(digest, *size_bytes)?;
            if matches!(presence, Presence::Remote(_)) {
                count += 1;
                bytes += size_bytes;
            }
        }
        Ok((count, bytes))
    }

    /// Asks for a registry that has a missing blob.
    fn or_remote(&self, presence: Presence, digest: &Digest) -> Result<Presence> {
        if !matches!(presence, Presence::Missing) {
            return Ok(presence);
        }
        let remote = self.remote(digest)?;
        Ok(presence.or_in(|| remote))
    }

    /// Returns where a registry has the blob, first of all where the layer is proven.
    fn remote(&self, digest: &Digest) -> Result<Option<RemoteBlob>> {
        Ok(self.remotes_of(digest)?.into_iter().next())
    }

    /// Returns the presence of a blob by its length alone. Fails if the file is there, and the kernel refuses to open
    /// the file.
    pub(crate) fn presence_by_length(&self, digest: &Digest, size_bytes: u64) -> Result<Presence> {
        let presence = look_at_length(&self.directory, digest, size_bytes)?;
        self.or_remote(presence, digest)
    }

    /// Tells whether a blob is here and sound. Fails if nobody can tell, since the file cannot be opened or read.
    pub(crate) fn has_blob(&self, digest: &Digest, size_bytes: u64) -> Result<bool> {
        self.presence(digest, size_bytes)
            .map(|presence| presence.is_here())
    }

    /// Tells whether all blobs are here and sound, or in a registry. Fails at the first file that cannot be opened or read.
    pub(crate) fn has_blobs(&self, blobs: impl IntoIterator<Item = BlobRef>) -> Result<bool> {
        for blob in blobs {
            let presence = self.presence(&blob.digest, blob.size_bytes)?;
            if !presence.is_had() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a blob by its length alone. Fails with [`Error::Damaged`] if the blob is missing, has another length, or
    /// is no regular file.
    pub(crate) fn find_blob(&self, digest: &Digest, size_bytes: u64) -> Result<BlobSource> {
        self.presence_by_length(digest, size_bytes)?
            .or_damaged(&self.directory, digest)
    }

    /// Opens a blob of a row. Fails with [`Error::Damaged`] if the blob is missing, or has another content than its
    /// digest.
    pub(crate) fn open_blob(&self, digest: &Digest, size_bytes: u64) -> Result<BlobSource> {
        self.presence(digest, size_bytes)?
            .or_damaged(&self.directory, digest)
    }

    /// Opens the first sound form of a layer: `own`, or another. Fails as [`Store::open_blob`] does for `own` if no
    /// form is sound.
    pub(crate) fn open_any(&self, own: &Blob, others: &[Blob]) -> Result<(Blob, BlobSource)> {
        for blob in std::iter::once(own).chain(others) {
            if let Presence::Here(source) = self.presence(&blob.digest, blob.size_bytes)? {
                return Ok((blob.clone(), source));
            }
        }
        let source = self.open_blob(&own.digest, own.size_bytes)?;
        Ok((own.clone(), source))
    }

    /// Opens a layer of a snapshot: the snapshot's own form, or any other sound form. Fails as [`Store::open_any`] does, and if
    /// the rows of the forms are not as recorded.
    pub(crate) fn open_layer(&self, used: &LayerUse) -> Result<BlobSource> {
        if let Presence::Here(own) = self.presence(&used.blob.digest, used.blob.size_bytes)? {
            return Ok(own);
        }
        let forms = self.blobs_of(used.layer.id)?;
        Ok(self.open_any(&used.blob, &forms)?.1)
    }

    /// Reads a small blob, such as a configuration. Fails with [`Error::Damaged`] if the blob is missing, damaged, or longer than
    /// its kind ever is.
    pub(crate) fn read_blob(&self, blob: &BlobRef) -> Result<Vec<u8>> {
        if blob.size_bytes > LARGEST_JSON_BYTES {
            let what = format!("{} bytes are more than its kind ever has", blob.size_bytes);
            return Err(Error::damaged(self.blob_path(&blob.digest), what));
        }
        self.open_blob(&blob.digest, blob.size_bytes)?.read_all()
    }

    /// Closes the database, and returns a reader of the blobs with these digests.
    pub(crate) fn into_blobs(self, digests: impl Iterator<Item = Digest>) -> Blobs {
        let (mut stamps, mut remotes) = (HashMap::new(), HashMap::new());
        let has_remotes = self.has_remotes().unwrap_or(false);
        for digest in digests {
            stamps.extend(self.blob_stamp(&digest).map(|stamp| (digest, stamp)));
            if has_remotes && let Ok(Some(remote)) = self.remote(&digest) {
                remotes.insert(digest, remote);
            }
        }
        Blobs {
            store: self.directory,
            stamps,
            remotes,
            _in_use: self.in_use,
        }
    }

    /// Remembers a blob in its place, for the next recording.
    pub(crate) fn note_written(&self, digest: &Digest, path: &Path) {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            let stamp = BlobStamp::of(&metadata);
            self.written.borrow_mut().push((*digest, stamp));
        }
    }

    fn blob_stamp(&self, digest: &Digest) -> Option<BlobStamp> {
        let written = self.written.borrow();
        if let Some((_, stamp)) = written.iter().rev().find(|(other, _)| other == digest) {
            return Some(*stamp);
        }
        BlobStamp::load(&self.connection, digest).ok()? // without a stamp, the blob is read
    }

    /// Where the store cannot be written to at the moment, the next question reads the blob again.
    fn keep_stamp(&self, digest: &Digest, now: BlobStamp) {
        if self.is_still() {
            return;
        }
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = now.save(&self.connection, digest);
        let _ = self.connection.busy_timeout(PATIENCE);
    }
}
