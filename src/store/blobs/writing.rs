//! Files of the store: written under `tmp`, made durable, then renamed to their place.

use crate::error::{Error, Result, show};
use crate::model::digest::Digest;
use crate::model::names::EMPTY_INDEX;
use crate::output::{BackgroundSync, sync_directory};
use crate::store::files::blob_name;
use crate::store::handle::Store;
use crate::store::locks::{self, Hold, InUse, Patience};
use crate::store::records::rows::BlobRef;
use rustix::fs::{AtFlags, CWD};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

const COPY_BYTES: usize = 256 << 10;

/// A blob in the making; dropped, the file is gone.
#[derive(Debug)]
pub(crate) struct NewBlob {
    file: NamedTempFile,
    sync: BackgroundSync,
}

/// A private directory in the store, for another library's files; dropped, the directory is gone.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// Returns the directory's path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl NewBlob {
    /// Returns the path of the unfinished file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    fn new(file: NamedTempFile) -> Self {
        Self {
            file,
            sync: BackgroundSync::default(),
        }
    }

    /// Starts to send the blob to the disk, for a caller who has more to do before the blob is kept. Fails if an earlier part
    /// could not be written.
    pub(crate) fn start_sync(&mut self) -> io::Result<()> {
        self.sync.start(self.file.as_file())
    }

    /// Makes the file durable in its place. File, then name, then directory: in this order, a name never stands for an
    /// unfinished file.
    fn put(mut self, target: &Path) -> Result<()> {
        let failed = || Error::io::<io::Error>("write", target);
        self.sync.end().map_err(failed())?;
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
        self.sync.wrote(self.file.as_file(), count as u64)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Store {
    /// Starts a blob. Fails if no file can be made in the store.
    pub(crate) fn new_blob(&self) -> Result<NewBlob> {
        let tmp = self.tmp();
        let file = tempfile::Builder::new()
            .prefix("blob-")
            .tempfile_in(&tmp)
            .map_err(Error::io("write in", &tmp))?;
        Ok(NewBlob::new(file))
    }

    /// Makes a private directory. Fails if no directory can be made in the store.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let tmp = self.tmp();
        let made = tempfile::Builder::new().prefix("scratch-").tempdir_in(&tmp);
        made.map(Scratch).map_err(Error::io("write in", &tmp))
    }

    /// Makes the blob durable under its digest. A sound blob in its place stays. Fails if the file or its name cannot
    /// be written.
    pub(crate) fn keep_blob(&self, blob: NewBlob, digest: &Digest, size_bytes: u64) -> Result<()> {
        if !self.has_blob(digest, size_bytes)? {
            let path = self.blob_path(digest);
            blob.put(&path)?;
            self.note_written(digest, &path);
        }
        Ok(())
    }

    /// Makes a file without a name durable under the digest that its bytes were found to have. Fails if the file or its name cannot
    /// be written.
    pub(crate) fn keep_fetched(&self, file: &File, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        let failed = || Error::io::<io::Error>("write", &path);
        let public = std::fs::Permissions::from_mode(0o644);
        file.set_permissions(public).map_err(failed())?;
        file.sync_all().map_err(failed())?;
        let held = format!("/proc/self/fd/{}", file.as_raw_fd());
        let linked = rustix::fs::linkat(CWD, held, CWD, &path, AtFlags::SYMLINK_FOLLOW);
        if linked.is_err() {
            // A blob that is no more what it was may have the name, or the filesystem gives no name to a file without one.
            self.keep_copy(file, &path)?;
        }
        sync_directory(path.parent().unwrap_or(Path::new("/")))?;
        self.note_written(digest, &path);
        Ok(())
    }

    fn keep_copy(&self, file: &File, path: &Path) -> Result<()> {
        let mut new = self.new_blob()?;
        let (mut at, mut buffer) = (0, vec![0; COPY_BYTES]);
        loop {
            let count = file.read_at(&mut buffer, at);
            let count = count.map_err(Error::io("read", path))?;
            if count == 0 {
                return new.put(path);
            }
            new.write_all(&buffer[..count])
                .map_err(Error::io("write", path))?;
            at += count as u64;
        }
    }

    /// Keeps a small blob, such as a manifest, and returns its digest and length. Fails if a file with the name of the
    /// blob cannot be read, or if the store has no room for the blob.
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
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    /// Puts `bytes` in the place of a file in the store's own directory, whole. Fails if the bytes cannot be written in
    /// `tmp`, or if a directory has the name.
    pub(crate) fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut blob = self.new_blob()?;
        blob.write_all(bytes)
            .map_err(Error::io("write", blob.path()))?;
        blob.put(&self.path.join(name))
    }

    /// Makes the missing directories of an image layout. Fails if a directory cannot be made.
    pub(crate) fn create_directories(&self) -> Result<()> {
        let mut is_new = false;
        for directory in ["blobs", "blobs/sha256", "tmp"] {
            let path = self.path.join(directory);
            if !self.directory.has(directory) {
                std::fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
                is_new = true;
            }
        }
        // The names of directories must be durable before a row of their files, and so must the store's name.
        if is_new {
            sync_directory(&self.path)?;
            sync_directory(&self.path.join("blobs"))?;
            self.path.parent().map_or(Ok(()), sync_directory)?;
        }
        Ok(())
    }

    /// Makes the missing files of an image layout: a store is a layout before the first image. Fails if a file cannot
    /// be written.
    pub(crate) fn create_layout(&mut self, was_store: bool) -> Result<()> {
        // A process that has recorded anything has seen the file. Another process may be making the store right now.
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
            self.exclusively(|| {
                if self.has_layout_file() {
                    Ok(())
                } else {
                    self.write_layout_file()
                }
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

    /// Removes leftovers of killed runs in `tmp`, unless another process has the store open, and keeps others from
    /// doing so. Fails with [`Error::Locked`] if another process has the store alone for too long.
    pub(crate) fn clean_scratch(&self) -> Result<InUse> {
        let lock = locks::open(&self.directory)?;
        if lock.try_lock().is_ok() {
            self.empty_scratch()?;
        }
        locks::wait(&self.path, lock, Hold::Shared, Patience::Usual).map(InUse::from)
    }

    /// Removes the content of `tmp`. For a process that has the store alone. Fails if a file cannot be removed.
    pub(crate) fn empty_scratch(&self) -> Result<()> {
        self.directory.empty("tmp")
    }

    /// Returns the directory of unfinished files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }
}
