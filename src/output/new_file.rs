//! A file that has no name until it is whole and durable.
//!
//! Where the filesystem has them, it is an inode without a name (`O_TMPFILE`), so that a process that is killed leaves
//! nothing. The kernel gives such an inode a new name, but not that of another file: where one is to be replaced, the new one is
//! called `.rootstrata-NAME` for the length of a rename(2). Other filesystems (NFS, some of FUSE) have it under that name from
//! the beginning. Whoever makes such a file holds its lock; so the next to write at the same place knows a dead one and
//! removes it.

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

/// How many may write the same file at once.
const SLOTS: usize = 8;
/// How long a name may be (limits.h, `NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// A file that is being written; dropped, it is gone.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    target: PathBuf,
    /// The name it has meanwhile.
    unfinished: Option<PathBuf>,
    sync: BackgroundSync,
}

impl NewFile {
    /// Begins a file that will be at `target`, with the mode that the umask gives; where it replaces a file, nobody may do
    /// more with it than with that one. Removes what was left of earlier attempts.
    pub fn create(target: &Path) -> Result<Self> {
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
        if let Ok(there) = std::fs::symlink_metadata(target) {
            let own = new.file.metadata().map_err(failed())?.mode() & 0o777;
            let both = own & there.mode();
            if both != own {
                new.file
                    .set_permissions(Permissions::from_mode(both))
                    .map_err(failed())?;
            }
        }
        Ok(new)
    }

    /// Starts to send the file to the disk, for a caller who has more to do before the file is kept. Fails if an earlier part
    /// could not be written.
    pub fn start_sync(&mut self) -> io::Result<()> {
        self.sync.start(&self.file)
    }

    /// Makes the file durable, then its name.
    pub fn keep(self) -> Result<()> {
        let directory = beside(&self.target).to_owned();
        self.name()?;
        sync_directory(&directory)
    }

    /// Makes the file durable and gives it its name, which is not durable before its directory is synced.
    pub fn name(mut self) -> Result<()> {
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
            let _ = self.file.try_lock(); // nobody else can have it open
            self.unfinished = Some(
                free_slot(&self.target, |slot| {
                    self.link(slot).map_err(io::Error::from)
                })?
                .1,
            );
        }
        let unfinished = self.unfinished.as_deref().unwrap_or(&self.target);
        std::fs::rename(unfinished, &self.target)?;
        self.unfinished = None;
        Ok(())
    }

    /// Names the inode. By /proc, since to name it by its handle is for root alone (open(2), `O_TMPFILE`).
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

/// What an unfinished `target` is called, for each who may write one.
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

/// What a directory is called while it is made that is to be at `target`.
pub fn unfinished_directory(target: &Path) -> PathBuf {
    slots(target).next().expect("there is more than one slot")
}

/// Makes something under the first of the names that is free.
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
        // Before it was locked, somebody may have taken it for a dead one.
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::AlreadyExists.into()),
            _ if file.metadata()?.nlink() == 0 => Err(io::ErrorKind::AlreadyExists.into()),
            _ => Ok(file),
        }
    })
}

/// Removes the files that were to be at `target` and whose writers have ended.
pub fn remove_dead(target: &Path) {
    slots(target).for_each(|slot| remove_if_dead(&slot));
}

/// Removes the unfinished files in `directory` whose writers have ended, whatever they were to be.
pub fn remove_all_dead(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_unfinished = |name: &OsStr| name.as_bytes().starts_with(UNFINISHED.as_bytes());
    entries
        .filter(|entry| is_unfinished(&entry.file_name()))
        .for_each(|entry| remove_if_dead(&entry.path()));
}

/// Removes an unfinished file that nobody has locked. What else has its name stays, and so do files on filesystems without
/// locks, where nobody can tell.
fn remove_if_dead(unfinished: &Path) {
    if std::fs::symlink_metadata(unfinished).is_ok_and(|there| there.is_file()) {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let Ok(file) = File::options()
            .write(true)
            .custom_flags(flags)
            .open(unfinished)
        else {
            return;
        };
        let is_same = |there: std::fs::Metadata| {
            file.metadata()
                .is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        };
        if file.try_lock().is_ok() && std::fs::symlink_metadata(unfinished).is_ok_and(is_same) {
            let _ = std::fs::remove_file(unfinished);
        }
    }
}
