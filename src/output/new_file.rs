//! A file without a name until whole and durable.
//!
//! On most filesystems the file is an inode without a name (`O_TMPFILE`), so a killed process leaves nothing. The kernel
//! gives such an inode a new name, but never the name of another file: to replace a file, the new file is called
//! `.rootstrata-NAME` for the length of a rename(2). Other filesystems (NFS, some of FUSE) have the file under the prefixed
//! name from the beginning. The writer holds the lock of the file, so the next writer knows a dead file and removes the name.

use super::background_sync::BackgroundSync;
use super::{OPEN_FILES, Out, UNFINISHED, beside, sync_directory};
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How many writers a file may have at once.
const SLOTS: usize = 8;
/// The longest name (limits.h, `NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// A file that is being written, and removed when dropped.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    target: PathBuf,
    /// The name until the end.
    unfinished: Option<PathBuf>,
    sync: BackgroundSync,
}

impl NewFile {
    /// Begins a file for `target`, with the mode of the umask, and no rights beyond an existing file. Removes dead files of
    /// earlier attempts. Fails if the directory is not writable, or too many writers are at work.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let directory = beside(target);
        let failed = || Error::io::<io::Error>("write in", directory);
        remove_dead(target);
        let unnamed = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, unfinished) =
            match rustix::fs::openat(CWD, directory, unnamed, Mode::from_raw_mode(0o666)) {
                Ok(file) if Path::new(OPEN_FILES).is_dir() => (File::from(file), None),
                Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                    let (file, name) = create_named(target).map_err(failed())?;
                    (file, Some(name))
                }
                Err(e) => return Err(failed()(e.into())),
            };
        let new = Self {
            file,
            target: target.to_owned(),
            unfinished,
            sync: BackgroundSync::default(),
        };
        new.restrict(target).map_err(failed())?;
        Ok(new)
    }

    /// Takes the rights that an existing file does not give.
    fn restrict(&self, target: &Path) -> io::Result<()> {
        let Ok(existing) = std::fs::symlink_metadata(target) else {
            return Ok(());
        };
        let own = self.file.metadata()?.mode() & 0o777;
        let both = own & existing.mode();
        if both == own {
            return Ok(());
        }
        self.file.set_permissions(Permissions::from_mode(both))
    }

    /// Starts a sync, for a caller with more work before [`Self::keep`]. Fails if an earlier part could not be written.
    pub(crate) fn start_sync(&mut self) -> io::Result<()> {
        self.sync.start(&self.file)
    }

    /// Makes the file durable, then the name. Fails if the disk is full or defective, or the name cannot be given.
    pub(crate) fn keep(self) -> Result<()> {
        let directory = beside(&self.target).to_owned();
        self.name()?;
        sync_directory(&directory)
    }

    /// Makes the file durable and gives the name, durable once the directory is synced. Fails if a sync or rename(2) fails.
    pub(crate) fn name(mut self) -> Result<()> {
        let failed = Error::io("write", self.target.clone());
        self.sync
            .end()
            .and_then(|()| self.file.sync_all())
            .and_then(|()| self.put())
            .map_err(failed)
    }

    fn put(&mut self) -> io::Result<()> {
        if self.unfinished.is_none() {
            match self.link(&self.target) {
                Err(Errno::EXIST) => {}
                linked => return Ok(linked?),
            }
            let _ = self.file.try_lock(); // no other process has the file open
            let ((), slot) = free_slot(&self.target, |slot| Ok(self.link(slot)?))?;
            self.unfinished = Some(slot);
        }
        let unfinished = self.unfinished.as_deref().unwrap_or(&self.target);
        std::fs::rename(unfinished, &self.target)?;
        self.unfinished = None;
        Ok(())
    }

    /// Names the inode by /proc: naming by the handle is for root alone (open(2), `O_TMPFILE`).
    fn link(&self, name: &Path) -> rustix::io::Result<()> {
        let by = format!("{OPEN_FILES}/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, by, CWD, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Out for NewFile {
    fn file(&mut self) -> &mut File {
        &mut self.file
    }

    fn wrote(&mut self, bytes: u64) -> io::Result<()> {
        self.sync.wrote(&self.file, bytes)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = self.sync.end();
        self.unfinished.take().map(std::fs::remove_file);
    }
}

/// Returns the unfinished names of `target`, a name for each writer.
fn slots(target: &Path) -> impl Iterator<Item = PathBuf> {
    let name = target
        .file_name()
        .unwrap_or(OsStr::new("output"))
        .as_bytes();
    let name = name[..name.len().min(LONGEST_NAME - UNFINISHED.len() - 2)].to_owned();
    let directory = beside(target).to_owned();
    (1..=SLOTS).map(move |slot| {
        let suffix = if slot == 1 {
            String::new()
        } else {
            format!(".{slot}")
        };
        let name = [UNFINISHED.as_bytes(), &name, suffix.as_bytes()].concat();
        directory.join(OsStr::from_bytes(&name))
    })
}

/// Returns the unfinished name of a directory for `target`.
pub(crate) fn unfinished_directory(target: &Path) -> PathBuf {
    slots(target).next().expect("there is more than one slot")
}

/// Calls `make` with the first free name.
fn free_slot<T>(target: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    for slot in slots(target) {
        match make(&slot) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|made| (made, slot)),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn create_named(target: &Path) -> io::Result<(File, PathBuf)> {
    free_slot(target, |slot| {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(slot)?; // less the umask
        // Before the lock, another process may have taken the file for dead.
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::AlreadyExists.into()),
            _ if file.metadata()?.nlink() == 0 => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(file),
        }
    })
}

/// Removes unfinished files for `target` whose writers have ended.
pub(crate) fn remove_dead(target: &Path) {
    slots(target).for_each(|slot| remove_if_dead(&slot));
}

/// Removes all unfinished files in `directory` whose writers have ended.
pub(crate) fn remove_all_dead(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_unfinished = |name: &OsStr| name.as_bytes().starts_with(UNFINISHED.as_bytes());
    entries
        .filter(|entry| is_unfinished(&entry.file_name()))
        .for_each(|entry| remove_if_dead(&entry.path()));
}

/// Removes an unfinished file without a lock. Files that are no regular files stay, and so do files on filesystems without
/// locks.
fn remove_if_dead(unfinished: &Path) {
    if !std::fs::symlink_metadata(unfinished).is_ok_and(|found| found.is_file()) {
        return;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = File::options();
    options.write(true).custom_flags(flags);
    let Ok(file) = options.open(unfinished) else {
        return;
    };
    if file.try_lock().is_ok() && is_named(&file, unfinished).unwrap_or(false) {
        let _ = std::fs::remove_file(unfinished);
    }
}

fn is_named(file: &File, name: &Path) -> io::Result<bool> {
    let (own, named) = (file.metadata()?, std::fs::symlink_metadata(name)?);
    Ok((own.dev(), own.ino()) == (named.dev(), named.ino()))
}
