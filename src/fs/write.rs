//! Makes, changes and removes what is below a root.
//!
//! Invariants: nothing outside the root and nothing beyond a mount point is touched, whatever lies in it or comes there
//! meanwhile: a parent is opened without following a link, and what is new is made by a call that fails where something
//! is. What was there is never written into, since its inode may have a name elsewhere.

use super::attributes::{Inode, Made};
use super::facts::handle_xattrs;
use super::root::Root;
use crate::error::{Error, Result};
use crate::model::entry::{Entry, Kind};
use crate::model::path::EntryPath;
use crate::model::stamp::{Stat, StatKind};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// A run of zeros of this length, at a multiple of it, becomes a hole.
const HOLE_BYTES: usize = 64 * 1024;
/// A shorter file has none.
const SHORTEST_WITH_HOLES: u64 = 1 << 20;

/// Nobody else has a look at a directory before it is finished.
const UNFINISHED: Mode = Mode::RWXU;

/// One thread's way into a root: it knows the directory in which it was last.
#[derive(Debug)]
pub struct Writer<'r> {
    pub(super) root: &'r Root,
    /// Whom what this process makes belongs to.
    pub(super) own: (u32, u32),
    directory: Option<(EntryPath, OwnedFd)>,
}

/// A regular file that was made and is being filled.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    written: u64,
    has_holes: bool,
}

impl<'r> Writer<'r> {
    /// Begins at no directory.
    pub fn new(root: &'r Root) -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { root, own, directory: None }
    }

    /// Makes a directory that only its owner may enter, until it is finished.
    pub fn make_directory(&mut self, path: &EntryPath) -> Result<()> {
        self.make("create", path, |directory, name| rustix::fs::mkdirat(directory, name, UNFINISHED))
    }

    /// Makes a regular file without content. What else is at its path goes, unless that is a directory.
    pub fn create(&mut self, entry: &Entry) -> Result<NewFile> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(u32::from(entry.mode & 0o777));
        let open = |directory: BorrowedFd, name: &[u8]| rustix::fs::openat(directory, name, flags, mode);
        let file = File::from(self.make("create", &entry.path, open)?);
        Ok(NewFile { file, written: 0, has_holes: entry.size_bytes() >= SHORTEST_WITH_HOLES })
    }

    /// Appends to a new file, and leaves holes where it is long and empty. `entry` is for errors.
    pub fn write(&self, new: &mut NewFile, bytes: &[u8], entry: &Entry) -> Result<()> {
        let failed = |e: io::Error| Error::io("write", self.root.full_path(&entry.path))(e);
        if !new.has_holes {
            new.file.write_all_at(bytes, new.written).map_err(failed)?;
            new.written += bytes.len() as u64;
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let to_boundary = HOLE_BYTES - (new.written % HOLE_BYTES as u64) as usize;
            let (part, after) = rest.split_at(to_boundary.min(rest.len()));
            if part.len() < HOLE_BYTES || part.iter().any(|byte| *byte != 0) {
                new.file.write_all_at(part, new.written).map_err(failed)?;
            }
            new.written += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    /// Gives a new file its other names and its metadata. `names` are all entries of the inode, that of the file first.
    pub fn finish(&mut self, new: NewFile, names: &[&Entry]) -> Result<Made> {
        let entry = names[0];
        if new.has_holes {
            let failed = Error::io("write", self.root.full_path(&entry.path));
            rustix::fs::ftruncate(&new.file, new.written).map_err(failed)?;
        }
        for other in &names[1..] {
            self.link(&new.file, other)?;
        }
        self.give(&Inode::Open(new.file.as_fd()), entry, None, &[])
    }

    /// Removes a new file whose content is not what it was to be.
    pub fn discard(&mut self, entry: &Entry) -> Result<()> {
        let path = &entry.path;
        self.enter(path)?;
        match rustix::fs::unlinkat(self.entered(), path.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("remove", self.root.full_path(path))(e)),
        }
    }

    /// Makes a symlink, FIFO or device with all of its names; `None` for a device that this process may not make.
    pub fn make_node(&mut self, names: &[&Entry]) -> Result<Option<Made>> {
        let entry = names[0];
        let mode = Mode::from_raw_mode(u32::from(entry.mode & 0o777));
        let (file_type, device) = match &entry.kind {
            Kind::Symlink(target) => {
                let target = &**target;
                self.make("create", &entry.path, |directory, name| {
                    rustix::fs::symlinkat(target, directory, name)
                })?;
                (None, 0)
            }
            Kind::CharDevice(device) => {
                (Some(FileType::CharacterDevice), rustix::fs::makedev(device.major, device.minor))
            }
            Kind::BlockDevice(device) => {
                (Some(FileType::BlockDevice), rustix::fs::makedev(device.major, device.minor))
            }
            _ => (Some(FileType::Fifo), 0),
        };
        if let Some(file_type) = file_type {
            let may = self.make("create", &entry.path, |directory, name| {
                match rustix::fs::mknodat(directory, name, file_type, mode, device) {
                    Err(Errno::PERM) => Ok(false),
                    made => made.map(|()| true),
                }
            })?;
            if !may {
                return Ok(None);
            }
        }
        let handle = self.handle(&entry.path)?;
        let is_ours = |stat: &Stat| stat.nlink == 1 && is_kind(&entry.kind, stat.kind);
        if !is_ours(&self.stat(&handle, &entry.path)?) {
            return Err(Error::Changed(self.root.full_path(&entry.path)));
        }
        for other in &names[1..] {
            self.link(&handle, other)?;
        }
        self.give(&Inode::Named(&handle), entry, None, &[]).map(Some)
    }

    /// Gives a new directory its metadata.
    pub fn finish_directory(&mut self, entry: &Entry) -> Result<Made> {
        let handle = self.handle(&entry.path)?;
        self.give(&Inode::Named(&handle), entry, None, &[])
    }

    /// Gives what is at the path of `entry`, of the same type, its metadata. Extended attributes that it has too many go,
    /// where they are `of_tree`. Fails with [`Error::Changed`] where it has more names than one and is no directory.
    pub fn adjust(&mut self, entry: &Entry, of_tree: impl Fn(&[u8]) -> bool) -> Result<Made> {
        let handle = self.handle(&entry.path)?;
        let was = self.stat(&handle, &entry.path)?;
        if was.kind != StatKind::Directory && was.nlink > 1 {
            return Err(Error::Changed(self.root.full_path(&entry.path)));
        }
        let has = handle_xattrs(self.root, &handle, &entry.path)?;
        let is_kept = |name: &[u8]| entry.xattrs.iter().any(|(kept, _)| kept == name);
        let names = has.iter().map(|(name, _)| name);
        let removed: Vec<&[u8]> = names.filter(|name| of_tree(name) && !is_kept(name)).collect();
        self.give(&Inode::Named(&handle), entry, Some(&was), &removed)
    }

    /// Gives an existing directory, whose names have changed, the time that it is to have.
    pub fn date(&mut self, entry: &Entry) -> Result<Stat> {
        let handle = self.handle(&entry.path)?;
        self.set_time(&Inode::Named(&handle), entry)?;
        self.stat(&handle, &entry.path)
    }

    /// Lets this process make and remove names in a directory that is there: with permissions, and without the access list
    /// that it would hand on. Tells whether it changed either, which is then to be given back.
    pub fn open_up(&mut self, path: &EntryPath) -> Result<bool> {
        let handle = self.handle(path)?;
        let was = self.stat(&handle, path)?;
        self.unlock(&handle, &was, path)
    }

    /// Removes what is at `path` with all that is beneath it. Fails with [`Error::MountPoint`] where something is mounted
    /// there.
    pub fn remove(&mut self, path: &EntryPath) -> Result<()> {
        self.enter(path)?;
        match rustix::fs::unlinkat(self.entered(), path.name(), AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            done => return done.or_else(|e| self.removed(path, e)),
        }
        for name in self.names_in(path)? {
            self.remove(&path.join(&name))?;
        }
        self.enter(path)?;
        let done = rustix::fs::unlinkat(self.entered(), path.name(), AtFlags::REMOVEDIR);
        done.or_else(|e| self.removed(path, e))
    }

    fn removed(&self, path: &EntryPath, errno: Errno) -> Result<()> {
        match errno {
            Errno::NOENT => Ok(()),
            Errno::BUSY => Err(Error::MountPoint(self.root.full_path(path))),
            errno => Err(Error::io("remove", self.root.full_path(path))(errno)),
        }
    }

    fn names_in(&self, path: &EntryPath) -> Result<Vec<Vec<u8>>> {
        let failed = |e: Errno| match e {
            Errno::XDEV => Error::MountPoint(self.root.full_path(path)),
            e => Error::io("list", self.root.full_path(path))(e),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let handle = self.root.open_raw(path, flags).map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut listing = RawDir::new(&handle, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = listing.next() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn link(&mut self, inode: &impl AsFd, entry: &Entry) -> Result<()> {
        // By its number in /proc, so that it is this inode whatever is at its first name by now.
        let number = super::root::handle_path(&inode.as_fd());
        self.make("link", &entry.path, |directory, name| {
            rustix::fs::linkat(CWD, &number, directory, name, AtFlags::SYMLINK_FOLLOW)
        })
    }

    /// Makes a name by `call`, which fails where something is; that goes, unless it is a directory.
    fn make<T>(
        &mut self,
        action: &'static str,
        path: &EntryPath,
        call: impl Fn(BorrowedFd, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.enter(path)?;
        let directory = self.entered();
        let made = match call(directory, path.name()) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(directory, path.name(), AtFlags::empty())
                .and_then(|()| call(directory, path.name())),
            made => made,
        };
        made.map_err(|e| match e {
            Errno::ISDIR => Error::IsADirectory(self.root.full_path(path)),
            Errno::BUSY => Error::MountPoint(self.root.full_path(path)),
            e => Error::io(action, self.root.full_path(path))(e),
        })
    }

    /// Opens the directory that holds `path`, unless it is open.
    fn enter(&mut self, path: &EntryPath) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        if self.directory.as_ref().is_none_or(|(open, _)| *open != parent) {
            let handle = self.root.open_raw(&parent, OFlags::PATH | OFlags::DIRECTORY);
            let handle = handle.map_err(|e| self.unreachable(&parent, e))?;
            self.directory = Some((parent, handle));
        }
        Ok(())
    }

    fn entered(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().map_or(CWD, |(_, handle)| handle.as_fd())
    }

    fn unreachable(&self, path: &EntryPath, errno: Errno) -> Error {
        let full = self.root.full_path(path);
        match errno {
            Errno::XDEV => Error::MountPoint(full),
            Errno::LOOP | Errno::NOTDIR => Error::NotADirectory(full),
            errno => Error::io("open", full)(errno),
        }
    }

    fn handle(&self, path: &EntryPath) -> Result<OwnedFd> {
        self.root.open_raw(path, OFlags::PATH).map_err(|e| self.unreachable(path, e))
    }
}

fn is_kind(kind: &Kind, found: StatKind) -> bool {
    match (kind, found) {
        (Kind::Symlink(_), StatKind::Symlink) | (Kind::Fifo, StatKind::Fifo) => true,
        (Kind::CharDevice(device), StatKind::CharDevice(found)) => *device == found,
        (Kind::BlockDevice(device), StatKind::BlockDevice(found)) => *device == found,
        _ => false,
    }
}
