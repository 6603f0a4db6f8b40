//! Output files: the target of a path, and files that appear whole or not at all.
//!
//! A regular file appears by rename, so no reader sees half a file; other files are written to and never replaced. Links
//! are followed as by the shell's `>`. A link of /proc leads to the open file, under any name.

mod background_sync;
mod new_file;

pub(crate) use background_sync::BackgroundSync;
pub use new_file::NewFile;
pub(crate) use new_file::{remove_all_dead, remove_dead, unfinished_directory};

use crate::error::{Error, Result};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The prefix of unfinished files and directories, before the final name.
pub(crate) const UNFINISHED: &str = ".rootstrata-";
/// How many links are followed (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The files that this process has open.
const OPEN_FILES: &str = "/proc/self/fd";

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A regular file or nothing, under a name that is no link.
    Name(PathBuf),
    /// A FIFO, a device, or a file that a process has open; [`open`] opens it.
    Stream,
}

/// Finds the target of `path`, without opening: a reader at a FIFO would see the end. Fails if `path` is a directory or
/// socket, or a link on the way cannot be followed.
pub fn find(path: &Path) -> Result<Place> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Error::IsADirectory(path.to_owned()));
    }
    // The kernel goes first: untrusted links are not followed (proc_sys_fs(5), protected_symlinks).
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(Error::IsADirectory(path.to_owned())),
        Ok(there) if there.file_type().is_socket() => Err(Error::NotAFile(path.to_owned())),
        Ok(there) if !there.is_file() => Ok(Place::Stream),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("write", path)(e)),
        Ok(_) | Err(_) => match follow(path).map_err(Error::io("write", path))? {
            Followed::Name(name) => Ok(Place::Name(name)),
            Followed::OpenFile(_) => Ok(Place::Stream),
        },
    }
}

/// Opens a stream for writing. Fails if the path cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    let own = match follow(path) {
        Ok(Followed::OpenFile(link)) => own(&link),
        _ => None,
    };
    let no_tty = OFlags::NOCTTY.bits().cast_signed();
    let by_name = || {
        File::options()
            .write(true)
            .truncate(true)
            .custom_flags(no_tty)
            .open(path)
    };
    own.map_or_else(by_name, Ok)
        .map_err(Error::io("open", path))
}

/// The end of a chain of links.
enum Followed {
    Name(PathBuf),
    /// An open file, by a link of /proc.
    OpenFile(PathBuf),
}

/// Follows a chain of links from `path`. The last name need not exist.
fn follow(path: &Path) -> io::Result<Followed> {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::symlink_metadata(&at) {
            Ok(there) if there.is_symlink() => {}
            _ => return Ok(Followed::Name(at)),
        }
        let directory = beside(&at);
        if rustix::fs::statfs(directory)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
            return Ok(Followed::OpenFile(at));
        }
        at = directory.join(std::fs::read_link(&at)?);
    }
    Err(Errno::LOOP.into())
}

/// Returns the open file of this process behind a link of /proc, with position and flags: opening again would begin at the
/// first byte.
fn own(link: &Path) -> Option<File> {
    let number = link.file_name()?.to_str()?.parse().ok()?;
    if std::fs::canonicalize(beside(link)).ok()? != std::fs::canonicalize(OPEN_FILES).ok()? {
        return None;
    }
    let process =
        rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).ok()?;
    rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())
        .ok()
        .map(File::from)
}

/// Returns the place of a new directory at `path`, behind all links. Fails if a link cannot be read.
pub fn name_of(path: &Path) -> Result<PathBuf> {
    match follow(path).map_err(Error::io("write", path))? {
        Followed::Name(name) => Ok(name),
        Followed::OpenFile(_) => Ok(path.to_owned()),
    }
}

/// Returns the directory that holds the name `target`.
pub fn beside(target: &Path) -> &Path {
    target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes the names in a directory durable. Fails if the directory cannot be opened or synced.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(Error::io("sync", directory))
}

/// Fails if no file could be written at `target`, existing or not.
pub(crate) fn check_writable(target: &Path) -> Result<()> {
    NewFile::create(target).map(drop)
}

/// Puts a file at `target`, whole and durable, or not at all. Fails if `write` fails, or the disk is full or defective.
pub fn replace(target: &Path, write: impl FnOnce(&mut NewFile) -> Result<()>) -> Result<()> {
    let mut file = NewFile::create(target)?;
    write(&mut file)?;
    file.keep()
}

/// An output for bytes.
pub trait Out {
    /// Returns the open file. Writing is reported by [`Out::wrote`].
    fn file(&mut self) -> &mut File;

    /// Counts written bytes. Fails if an earlier sync has failed.
    fn wrote(&mut self, bytes: u64) -> io::Result<()>;
}

/// A file opened by another process, or no regular file.
#[derive(Debug)]
pub(crate) struct Stream(pub File);

impl Out for Stream {
    fn file(&mut self) -> &mut File {
        &mut self.0
    }

    fn wrote(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// Makes a file or block device durable. Fails if the sync does; other streams keep nothing.
    pub(crate) fn finish(self) -> io::Result<()> {
        let kind = self.0.metadata()?.file_type();
        if kind.is_file() || kind.is_block_device() {
            self.0.sync_all()
        } else {
            Ok(())
        }
    }
}

/// Tells whether a file has all content: files of the store have no holes, but after a power cut a file may have the length
/// without the content. Rewinds the file. Fails if the file cannot seek.
pub(crate) fn has_no_hole(file: &File, size_bytes: u64) -> io::Result<bool> {
    let hole = if size_bytes == 0 {
        Ok(0)
    } else {
        rustix::fs::seek(file, SeekFrom::Hole(0))
    };
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    Ok(hole.map_or(true, |hole| hole >= size_bytes)) // a filesystem without holes
}
