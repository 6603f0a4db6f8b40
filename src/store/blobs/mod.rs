//! Files of the store: written under `tmp`, made durable, then renamed to their place.

pub(crate) mod index;
pub(crate) mod presence;
pub(crate) mod reading;
pub(crate) mod stamp;

use crate::error::{Error, Result, show};
use crate::model::digest::Digest;
use crate::model::names::EMPTY_INDEX;
use crate::store::BlobRef;
use crate::store::Store;
use crate::store::locks::{self, Hold, InUse, Patience};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tempfile::{NamedTempFile, TempDir};

/// After this many bytes, what a blob has so far is sent to the disk: it writes while we compress, and the last sync
/// finds little to do.
const SYNC_BYTES: u64 = 32 << 20;

/// A blob that is being written; dropped, it is gone.
#[derive(Debug)]
pub struct NewBlob {
    file: NamedTempFile,
    unsynced_bytes: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
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

    fn new(file: NamedTempFile) -> Self {
        Self {
            file,
            unsynced_bytes: 0,
            syncing: None,
        }
    }

    /// Starts a sync on a thread of its own, unless one is going on. For one who has more to do before the blob is kept.
    pub fn start_sync(&mut self) -> io::Result<()> {
        if self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.end_sync()?;
            let file = self.file.as_file().try_clone()?;
            self.syncing = Some(std::thread::Builder::new().spawn(move || file.sync_data())?);
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Waits for the last sync. The kernel tells of a failed write once, to the first that asks: this one.
    fn end_sync(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(synced) => synced.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }

    /// Makes the file durable in its place. File, then name, then the directory that holds the name: in this order, a
    /// name never stands for less than all.
    fn put(mut self, target: &Path) -> Result<()> {
        let failed = || Error::io::<io::Error>("write", target);
        self.end_sync().map_err(failed())?;
        self.file
            .as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))
            .map_err(failed())?;
        self.file.as_file().sync_all().map_err(failed())?;
        self.file.persist(target).map_err(|e| failed()(e.error))?;
        sync_directory(target.parent().unwrap_or(Path::new("/")))
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unsynced_bytes += count as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.start_sync()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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
        Ok(NewBlob::new(file))
    }

    /// Makes a private directory.
    pub fn scratch(&self) -> Result<Scratch> {
        let tmp = self.tmp();
        let made = tempfile::Builder::new().prefix("scratch-").tempdir_in(&tmp);
        made.map(Scratch).map_err(Error::io("write in", &tmp))
    }

    /// Makes the blob durable under its digest. One that is there already stays as it is.
    pub fn keep_blob(&self, blob: NewBlob, digest: &Digest, size_bytes: u64) -> Result<()> {
        if !self.has_blob(digest, size_bytes)? {
            let path = self.blob_path(digest);
            blob.put(&path)?;
            self.note_written(digest, &path);
        }
        Ok(())
    }

    /// Keeps a small blob, such as a manifest, and returns what names it.
    pub fn keep_bytes(&self, bytes: &[u8]) -> Result<BlobRef> {
        let digest = Digest(Sha256::digest(bytes).into());
        let size_bytes = bytes.len() as u64;
        if !self.has_blob(&digest, size_bytes)? {
            let mut blob = self.new_blob()?;
            blob.write_all(bytes)
                .map_err(Error::io("write", blob.path()))?;
            self.keep_blob(blob, &digest, size_bytes)?;
        }
        Ok(BlobRef { digest, size_bytes })
    }

    /// Returns where a blob is kept.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    /// Puts `bytes` in the place of a file in the store's own directory, whole.
    pub(crate) fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut blob = self.new_blob()?;
        blob.write_all(bytes)
            .map_err(Error::io("write", blob.path()))?;
        blob.put(&self.path.join(name))
    }

    /// Makes the directories of an image layout, where they are missing.
    pub(crate) fn create_directories(&self) -> Result<()> {
        let mut is_new = false;
        for directory in ["blobs", "blobs/sha256", "tmp"] {
            let path = self.path.join(directory);
            if !self.directory.has(directory) {
                std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
                is_new = true;
            }
        }
        // Their names must be there before what is in them is recorded, and so must that of the store.
        if is_new {
            sync_directory(&self.path)?;
            sync_directory(&self.path.join("blobs"))?;
            self.path.parent().map_or(Ok(()), sync_directory)?;
        }
        Ok(())
    }

    /// Makes the files of an image layout, where they are missing: a store is one before anything is in it.
    pub(crate) fn create_layout(&mut self, was_store: bool) -> Result<()> {
        // Whoever has recorded anything has seen it there. Another process may be making the store right now.
        let used = "SELECT EXISTS (SELECT 1 FROM snapshot)";
        let was_used = was_store && self.one(used, [], |row| row.get(0))?.unwrap_or(false);
        let layout = self.path.join("oci-layout");
        if !self.has_layout_file() {
            if was_used {
                self.findings.push(format!(
                    "{} is damaged: it is missing or another",
                    show(&layout)
                ));
            }
            self.exclusively(|| match self.has_layout_file() {
                true => Ok(()),
                false => self.write_layout_file(),
            })?;
        }
        let is_listed = || self.directory.has("index.json");
        if !is_listed() {
            self.exclusively(|| {
                if is_listed() {
                    Ok(())
                } else {
                    self.replace_file("index.json", EMPTY_INDEX)
                }
            })?;
        }
        Ok(())
    }

    /// Removes what killed runs left in `tmp`, if no other process has the store open, and keeps others from doing so.
    pub(crate) fn clean_scratch(&self) -> Result<InUse> {
        let lock = locks::open(&self.directory)?;
        if lock.try_lock().is_ok() {
            self.empty_scratch()?;
        }
        locks::wait(&self.path, lock, Hold::Shared, Patience::Usual).map(InUse::from)
    }

    /// Removes what is in `tmp`. For one who has the store alone.
    pub(crate) fn empty_scratch(&self) -> Result<()> {
        self.directory.empty("tmp")
    }

    fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }
}

/// Makes the names in a directory durable.
fn sync_directory(directory: &Path) -> Result<()> {
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("sync", directory))
}

/// Where a blob is kept, below the store's directory.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
