//! The store's directory, by a handle: every file of a store is opened relative to the handle.
//!
//! Nothing in a store is followed, waited for or opened but the regular file or directory that belongs in its place:
//! the maker of the store may have put a link, a FIFO or a device there. The path of the store itself may be a link.

use crate::error::{Error, Result};
use crate::store::files::DATABASE;
use crate::store::files::LOCK;
use crate::store::files::RESERVE;
use crate::store::files::TMP_LOCK;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No index, manifest or configuration of ours is longer.
pub(crate) const LARGEST_JSON_BYTES: u64 = 64 << 20;
/// With less room on its filesystem, the store counts as a store on a full disk.
const LEAST_FREE_BYTES: u64 = 1 << 20;

/// Stands for a user unknown to a user namespace (proc_sys_kernel(5), `overflowuid`).
const OVERFLOW_USER: u32 = 65534;
/// The same for a group (`overflowgid`).
const OVERFLOW_GROUP: u32 = 65534;

const DIRECTORIES: [&str; 3] = ["tmp", "blobs", "blobs/sha256"];
/// The database and the files that SQLite has beside a database.
const BESIDE_DATABASE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The open directory of a store.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: OwnedFd,
}

impl Directory {
    /// Opens the directory, and checks that its files may be used; files derived from the database are checked when
    /// read. Fails with [`Error::NoStore`] without a directory, and if somebody else may write in the store or
    /// something odd has the name of a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(Error::NoStore(path.to_owned())),
            Err(Errno::NOTDIR) => return Err(Error::NotADirectory(path.to_owned())),
            handle => handle.map_err(Error::io("open", path))?,
        };
        let path = std::fs::canonicalize(path).map_err(Error::io("open", path))?;
        let directory = Self { path, handle };
        directory.check_rights()?;
        for name in DIRECTORIES {
            directory.expect(name, FileType::Directory)?;
        }
        for name in [LOCK, TMP_LOCK, RESERVE] {
            directory.expect(name, FileType::RegularFile)?;
        }
        for ending in BESIDE_DATABASE {
            directory.expect(&format!("{DATABASE}{ending}"), FileType::RegularFile)?;
        }
        Ok(directory)
    }

    /// Fails if somebody else than root and this process may write in the store. Inside a directory that others cannot
    /// enter, rights do not matter.
    fn check_rights(&self) -> Result<()> {
        let mut entered = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        for name in [".", "blobs", "blobs/sha256", "tmp", DATABASE] {
            let stat = match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                stat => stat.map_err(Error::io("stat", self.path.join(name)))?,
            };
            let mode = Mode::from_raw_mode(stat.st_mode);
            let path = || {
                if name == "." {
                    self.path.clone()
                } else {
                    self.path.join(name)
                }
            };
            if entered.intersects(Mode::XGRP | Mode::XOTH) && !is_own_user(stat.st_uid) {
                return Err(Error::OwnedByOther {
                    path: path(),
                    owner: stat.st_uid,
                });
            }
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink; // a link is refused by `expect`
            let open_to = |who, mode| {
                Err(Error::OpenToOthers {
                    path: path(),
                    who,
                    mode,
                })
            };
            if entered.contains(Mode::XOTH) && mode.contains(Mode::WOTH) && !is_link {
                return open_to("everybody", "o-w");
            }
            let is_open = entered.contains(Mode::XGRP) && mode.contains(Mode::WGRP) && !is_link;
            if is_open && !is_own_group(stat.st_gid) {
                return open_to("a group that you are not in", "g-w");
            }
            if name == "." {
                entered = mode;
            }
        }
        Ok(())
    }

    /// Returns the directory's path, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether something of any kind has a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        !matches!(self.kind(name), Ok(None))
    }

    /// Returns the length of a file; 0 without a file.
    pub(crate) fn length(&self, name: &str) -> u64 {
        let stat = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(0, |stat| stat.st_size.cast_unsigned())
    }

    /// Opens a regular file for reading; `None` if the file is missing. Fails with [`Error::Damaged`] if something
    /// else is in its place.
    pub(crate) fn file(&self, name: &str) -> Result<Option<File>> {
        if !self.expect(name, FileType::RegularFile)? {
            return Ok(None);
        }
        match self.open_beneath(name, OFlags::RDONLY, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => self
                .regular(
                    name,
                    opened.map_err(Error::io("open", self.path.join(name)))?,
                )
                .map(Some),
        }
    }

    /// Reads a regular file, as [`Directory::file`] opens the file. Fails if the file is longer than `most_bytes`.
    pub(crate) fn read(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        let (mut bytes, path) = (Vec::new(), self.path.join(name));
        file.take(most_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        if bytes.len() as u64 > most_bytes {
            Err(Error::damaged(
                path,
                format!("it is longer than {most_bytes} bytes"),
            ))
        } else {
            Ok(Some(bytes))
        }
    }

    /// Opens a file that is only locked, and makes the file if missing. Fails if something else is in its place.
    pub(crate) fn lock_file(&self, name: &str) -> Result<File> {
        self.expect(name, FileType::RegularFile)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let opened = self.open_beneath(name, flags, Mode::from_raw_mode(0o666)); // less the umask
        self.regular(
            name,
            opened.map_err(Error::io("open", self.path.join(name)))?,
        )
    }

    /// Removes the content of a directory, without following links. Fails if something cannot be removed, such as a
    /// mount point.
    pub(crate) fn empty(&self, name: &str) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let emptied = match self.open_beneath(name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(()),
            opened => opened.and_then(empty),
        };
        emptied.map_err(Error::io("clean", self.path.join(name)))
    }

    /// Removes the name of a file. Fails as unlinkat(2) does.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()).map_err(io::Error::from)
    }

    /// Fails if this process may not write in the directory, with the kernel's reason.
    pub(crate) fn check_writable(&self) -> Result<()> {
        rustix::fs::accessat(
            &self.handle,
            ".",
            Access::WRITE_OK | Access::EXEC_OK,
            AtFlags::EACCESS,
        )
        .map_err(Error::io("write in", &self.path))
    }

    /// Tells whether the filesystem has hardly any room left.
    pub(crate) fn is_full(&self) -> bool {
        let free =
            rustix::fs::fstatvfs(&self.handle).map(|all| all.f_bavail.saturating_mul(all.f_frsize));
        free.is_ok_and(|free| free < LEAST_FREE_BYTES)
    }

    /// Makes a file of a length with all blocks. Fails if the name is taken or no room is left.
    pub(crate) fn allocate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self.open_beneath(name, flags, Mode::from_raw_mode(0o600))?;
        let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        allocated.map_err(io::Error::from).or_else(|error| {
            self.remove(name)?;
            Err(error)
        })
    }

    /// Returns the type of the file with a name, links not followed.
    fn kind(&self, name: &str) -> Result<Option<FileType>> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            stat => stat
                .map(|stat| Some(FileType::from_raw_mode(stat.st_mode)))
                .map_err(Error::io("stat", self.path.join(name))),
        }
    }

    /// Tells whether a name is there. Fails if the name has another type than expected.
    fn expect(&self, name: &str, expected: FileType) -> Result<bool> {
        match self.kind(name)? {
            None => Ok(false),
            Some(found) if found == expected => Ok(true),
            Some(found) => {
                let what = format!("it is {}, and not {}", said(found), said(expected));
                Err(Error::damaged(self.path.join(name), what))
            }
        }
    }

    fn open_beneath(&self, name: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.handle, name, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    /// Checks the type of an open file: somebody may have replaced the file since `expect`.
    fn regular(&self, name: &str, opened: OwnedFd) -> Result<File> {
        let stat = rustix::fs::fstat(&opened).map_err(Error::io("stat", self.path.join(name)))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(File::from(opened)),
            found => Err(Error::damaged(
                self.path.join(name),
                format!("it is {}", said(found)),
            )),
        }
    }
}

/// Removes the content of a directory. A mount is left alone, with an error.
fn empty(directory: OwnedFd) -> rustix::io::Result<()> {
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            empty(rustix::fs::openat2(
                directory.as_fd(),
                name,
                flags,
                Mode::empty(),
                resolve,
            )?)?;
            rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)?;
        } else {
            rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Tells whether a user is this process's, root, or unknown to this user namespace.
fn is_own_user(user: u32) -> bool {
    user == 0 || user == OVERFLOW_USER || user == rustix::process::geteuid().as_raw()
}

/// Tells whether a group is root's, a group of this process, or unknown to this user namespace.
fn is_own_group(group: u32) -> bool {
    let own = || {
        rustix::process::getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == group))
    };
    group == 0 || group == OVERFLOW_GROUP || group == rustix::process::getegid().as_raw() || own()
}

fn said(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "something unknown",
    }
}
