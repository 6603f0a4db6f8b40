//! Whether a blob is in the store: the place that answers.
//!
//! A blob was hashed while written. As long as inode, size, mtime and ctime are the same, nobody has written to the
//! file, and the blob counts as sound without being read. Otherwise (the file was changed, replaced, or copied with
//! the store) the blob is read and hashed before use, and stamped again. A disk that gives back other bytes under an
//! unchanged inode is not noticed.
//!
//! A failed system call says nothing about the blob: such a failure is an error with the path, and never an absence.
//! A blob that is missing here, and said to be in a registry, is no damage.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::blobs::stamp::BlobStamp;
use crate::store::directory::Directory;
use crate::store::files::blob_name;
use crate::store::records::remote::RemoteBlob;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read};

const BUFFER_BYTES: usize = 256 << 10;

/// Whether a blob is in the store.
#[derive(Debug)]
pub(crate) enum Presence {
    /// The blob is there.
    Here(BlobSource),
    /// No file has the blob's name.
    Missing,
    /// No file has the blob's name, and a repository has the blob.
    Remote(RemoteBlob),
    /// The file is not the blob, as the error tells.
    Damaged(Error),
}

impl Presence {
    /// Tells whether the blob is there.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Turns a missing blob into one of a repository, if there is one.
    pub(crate) fn or_in(self, remote: impl FnOnce() -> Option<RemoteBlob>) -> Self {
        match self {
            Self::Missing => remote().map_or(Self::Missing, Self::Remote),
            other => other,
        }
    }

    /// Tells whether the blob is there, or is in a registry and proven, so a new image may name the blob.
    pub(crate) fn is_had(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Remote(remote) => remote.is_proven,
            Self::Missing | Self::Damaged(_) => false,
        }
    }

    /// Returns the blob. Fails with [`Error::Damaged`] if the blob is missing or damaged, and with [`Error::OnlyRemote`] if it is
    /// in a registry.
    pub(crate) fn or_damaged(self, directory: &Directory, digest: &Digest) -> Result<BlobSource> {
        match self {
            Self::Here(source) => Ok(source),
            Self::Damaged(error) => Err(error),
            Self::Missing => {
                let path = directory.path().join(blob_name(digest));
                Err(Error::damaged(path, "the blob is missing"))
            }
            Self::Remote(remote) => Err(Error::OnlyRemote {
                digest: digest.to_string(),
                repository: remote.repository,
            }),
        }
    }
}

/// A blob, and the stamp of a file that had to be read and is on the disk.
pub(crate) type Looked = (Presence, Option<BlobStamp>);

/// Looks for a blob whose content has the digest; `known` returns the stamp in the database. Fails if the file cannot
/// be opened or read.
pub(crate) fn look(
    directory: &Directory,
    digest: &Digest,
    size_bytes: u64,
    known: impl FnOnce() -> Option<BlobStamp>,
) -> Result<Looked> {
    let (file, metadata) = match find(directory, digest, size_bytes)? {
        Found::File(file, metadata) => (file, metadata),
        Found::Not(presence) => return Ok((presence, None)),
    };
    let path = directory.path().join(blob_name(digest));
    let now = BlobStamp::of(&metadata);
    let mut new = None;
    let source = BlobSource::new(file, path, *digest, size_bytes);
    if known() != Some(now) {
        let found = hash(&source).map_err(Error::io("read", source.path()))?;
        if found != *digest {
            let error = Error::damaged(source.path(), format!("its content is {found}"));
            return Ok((Presence::Damaged(error), None));
        }
        // Nobody knows whether the file is on the disk, and after a power cut the stamp would say so.
        new = source.file().sync_data().is_ok().then_some(now);
    }
    Ok((Presence::Here(source), new))
}

/// Looks for a blob by its length alone. Fails if the kernel refuses to open the file; a file of another length or type
/// is [`Presence::Damaged`].
pub(crate) fn look_at_length(
    directory: &Directory,
    digest: &Digest,
    size_bytes: u64,
) -> Result<Presence> {
    Ok(match find(directory, digest, size_bytes)? {
        Found::Not(presence) => presence,
        Found::File(file, _) => {
            let path = directory.path().join(blob_name(digest));
            Presence::Here(BlobSource::new(file, path, *digest, size_bytes))
        }
    })
}

enum Found {
    /// A regular file of the right length.
    File(File, Metadata),
    Not(Presence),
}

fn find(directory: &Directory, digest: &Digest, size_bytes: u64) -> Result<Found> {
    let name = blob_name(digest);
    let file = match directory.file(&name) {
        Err(error @ Error::Damaged { .. }) => return Ok(Found::Not(Presence::Damaged(error))),
        file => file?,
    };
    let Some(file) = file else {
        return Ok(Found::Not(Presence::Missing));
    };
    let path = directory.path().join(&name);
    let metadata = file.metadata().map_err(Error::io("stat", &path))?;
    if metadata.len() != size_bytes {
        let what = format!("expected {size_bytes} bytes, found {}", metadata.len());
        let error = Error::damaged(path, what);
        return Ok(Found::Not(Presence::Damaged(error)));
    }
    Ok(Found::File(file, metadata))
}

fn hash(source: &BlobSource) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut input = source.reader();
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(Digest(hasher.finalize().into())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
