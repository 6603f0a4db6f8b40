//! Where results go that are files: what a path stands for, and files that appear whole or not at all.
//!
//! A name gets its file by rename, so that nobody sees half of one; what is no regular file is written to and never
//! replaced. Links are followed to what they name, as the shell's `>` does. A link of /proc to an open file leads to that
//! file, whatever its name is by now.

mod background_sync;
mod new_file;

pub use background_sync::BackgroundSync;
pub use new_file::{NewFile, remove_all_dead, remove_dead, unfinished_directory};

use crate::error::{Error, Result};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What unfinished files and directories are called: this, and the name that they are to get.
pub const UNFINISHED: &str = ".rootstrata-";
/// How many links are followed (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// The files that this process has open.
const OPEN_FILES: &str = "/proc/self/fd";

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A regular file or nothing, under this name, which is no link.
    Name(PathBuf),
    /// A FIFO, a device, or a file that a process has open; [`open`] opens it.
    Stream,
}

/// Finds out what `path` stands for, and opens nothing: who waits at a FIFO would take that for the end. Fails where no file
/// can be written there.
pub fn find(path: &Path) -> Result<Place> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Error::IsADirectory(path.to_owned()));
    }
    // By the kernel first, which does not follow just anybody's links (proc_sys_fs(5), protected_symlinks).
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

/// Opens a stream to write to it.
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

/// Where links lead.
enum Followed {
    Name(PathBuf),
    /// To a file that is open, by this link of /proc.
    OpenFile(PathBuf),
}

/// Follows the links that `path` is, one after another. What they name at last need not be there.
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

/// The open file of this process that a link of /proc stands for: itself, with its position and its flags, where to open
/// it anew would begin at its first byte.
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

/// Returns the place that a new directory gets at `path`: where its links lead.
pub fn name_of(path: &Path) -> Result<PathBuf> {
    match follow(path).map_err(Error::io("write", path))? {
        Followed::Name(name) => Ok(name),
        Followed::OpenFile(_) => Ok(path.to_owned()),
    }
}

/// Returns the directory that has the name `target`.
pub fn beside(target: &Path) -> &Path {
    target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(Error::io("sync", directory))
}

/// Fails where no file could be put at `target`, which need not be there yet.
pub fn check_writable(target: &Path) -> Result<()> {
    NewFile::create(target).map(drop)
}

/// Puts a file at `target`, whole and durable, or not at all.
pub fn replace(target: &Path, write: impl FnOnce(&mut NewFile) -> Result<()>) -> Result<()> {
    let mut file = NewFile::create(target)?;
    write(&mut file)?;
    file.keep()
}

/// What bytes are written to.
pub trait Out {
    /// Returns the open file. Who writes to it tells of that by [`Out::wrote`].
    fn file(&mut self) -> &mut File;

    /// Is told how much was written.
    fn wrote(&mut self, bytes: u64) -> io::Result<()>;
}

/// A file that has been opened by others, or is no regular file.
#[derive(Debug)]
pub struct Stream(pub File);

impl Out for Stream {
    fn file(&mut self) -> &mut File {
        &mut self.0
    }

    fn wrote(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// Makes durable what was written, where it is kept at all.
    pub fn finish(self) -> io::Result<()> {
        let kind = self.0.metadata()?.file_type();
        if kind.is_file() || kind.is_block_device() {
            self.0.sync_all()
        } else {
            Ok(())
        }
    }
}

/// Tells whether all of a file has been written, which nothing of ours leaves holes in: a file that was to be on the disk when the power
/// was cut may have its length and not its content. Moves to the beginning.
pub fn has_no_hole(file: &File, size_bytes: u64) -> io::Result<bool> {
    let hole = if size_bytes == 0 {
        Ok(0)
    } else {
        rustix::fs::seek(file, SeekFrom::Hole(0))
    };
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    Ok(hole.map_or(true, |hole| hole >= size_bytes)) // who cannot tell has none
}
