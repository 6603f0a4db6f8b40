//! Files of the store: written under `tmp`, made durable, then renamed to their place.

use super::{BlobRef, Store, TMP_LOCK};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::names::{EMPTY_INDEX, OCI_LAYOUT};
use sha2::{Digest as _, Sha256};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

/// A blob that is being written; dropped, it is gone.
#[derive(Debug)]
pub struct NewBlob {
    file: NamedTempFile,
}

/// A private directory in the store for files that another library must open by path; dropped, it is gone.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl NewBlob {
    /// Returns where it is being written.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }
}

impl Store {
    /// Starts a blob.
    pub fn new_blob(&self) -> Result<NewBlob> {
        let tmp = self.tmp();
        let file = tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(&tmp)
            .map_err(Error::io("write in", &tmp))?;
        Ok(NewBlob { file })
    }

    /// Makes a private directory.
    pub fn scratch(&self) -> Result<Scratch> {
        let tmp = self.tmp();
        let made = tempfile::Builder::new().prefix("scratch-").tempdir_in(&tmp);
        made.map(Scratch).map_err(Error::io("write in", &tmp))
    }

    /// Makes the blob durable under its digest. One that is there already stays as it is.
    pub fn keep_blob(&self, blob: NewBlob, digest: &Digest, size_bytes: u64) -> Result<()> {
        if !self.has_blob(digest, size_bytes) {
            put(blob.file, &self.blob_path(digest))?;
        }
        Ok(())
    }

    /// Keeps a small blob, such as a manifest, and returns what names it.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobRef> {
        let digest = Digest(Sha256::digest(bytes).into());
        let size_bytes = bytes.len() as u64;
        if !self.has_blob(&digest, size_bytes) {
            let mut blob = self.new_blob()?;
            blob.file.write_all(bytes).map_err(Error::io("write", blob.path()))?;
            put(blob.file, &self.blob_path(&digest))?;
        }
        Ok(BlobRef { digest, size_bytes })
    }

    /// Opens a blob that a row names. Fails with [`Error::Damaged`] where it is missing or has another length.
    pub fn open_blob(&self, digest: &Digest, size_bytes: u64) -> Result<File> {
        let path = self.blob_path(digest);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::damaged(path, "the blob is missing"));
            }
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let found = file.metadata().map_err(Error::io("stat", &path))?.len();
        if found != size_bytes {
            let what = format!("expected {size_bytes} bytes, found {found}");
            return Err(Error::damaged(path, what));
        }
        Ok(file)
    }

    /// Tells whether a blob is there with its length; its content is not read.
    pub fn has_blob(&self, digest: &Digest, size_bytes: u64) -> bool {
        std::fs::metadata(self.blob_path(digest)).is_ok_and(|there| there.len() == size_bytes)
    }

    /// Returns where a blob is kept.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Puts `bytes` in the place of a file in the store's own directory, whole.
    pub(super) fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut blob = self.new_blob()?;
        blob.file.write_all(bytes).map_err(Error::io("write", blob.path()))?;
        put(blob.file, &self.path.join(name))
    }

    /// Makes the directories of an image layout, where they are missing.
    pub(super) fn create_directories(&self) -> Result<()> {
        for directory in ["blobs/sha256", "tmp"] {
            let path = self.path.join(directory);
            std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        Ok(())
    }

    /// Makes the files of an image layout, where they are missing: a store is one before anything is in it.
    pub(super) fn create_layout(&self) -> Result<()> {
        for (name, content) in [("oci-layout", OCI_LAYOUT), ("index.json", EMPTY_INDEX)] {
            let path = self.path.join(name);
            if !path.exists() {
                self.exclusively(|| if path.exists() { Ok(()) } else { self.replace_file(name, content) })?;
            }
        }
        Ok(())
    }

    /// Removes what killed runs left in `tmp`, if no other process is writing, and keeps others from doing so.
    pub(super) fn clean_scratch(&self) -> Result<File> {
        let path = self.path.join(TMP_LOCK);
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => remove_contents(&self.tmp()).map_err(Error::io("clean", self.tmp()))?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        lock.lock_shared().map_err(Error::io("lock", &path))?;
        Ok(lock)
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }
}

fn remove_contents(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// File, then name, then the directory that holds the name: in this order, a name never stands for less than all.
fn put(file: NamedTempFile, target: &Path) -> Result<()> {
    let failed = || Error::io::<io::Error>("write", target);
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(target).map_err(|e| failed()(e.error))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", directory))
}
