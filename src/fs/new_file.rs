//! Makes regular files and fills them.
//!
//! A file written in several parts gets a name after the last part, on filesystems that make files without a
//! name (open(2), `O_TMPFILE`): an unfinished file never has a name, and leaves nothing behind.

use super::attributes::{self, Inode, Lack, Made};
use super::write::Writer;
use crate::error::{Error, Result};
use crate::model::tree::entry::Entry;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// An aligned run of as many zeros becomes a hole.
const HOLE_BYTES: usize = 64 * 1024;
/// A shorter file gets no holes.
const SHORTEST_WITH_HOLES: u64 = 1 << 20;

/// A new regular file that is being filled.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    mode: u16,
    written: u64,
    has_holes: bool,
    has_name: bool,
    /// No attribute of the directory is left.
    is_bare: bool,
}

impl Writer<'_> {
    /// Makes an empty regular file in place of an existing file. `None` where the filesystem cannot have the name. Fails
    /// with [`Error::IsADirectory`] if a directory has the name.
    pub(crate) fn create(&mut self, entry: &Entry) -> Result<Option<NewFile>> {
        self.enter(&entry.path)?;
        let mode = self.first_mode(entry);
        let Some(file) = self.make_file(&entry.path, mode)? else {
            return Ok(None);
        };
        self.begun(File::from(file), entry, mode, true).map(Some)
    }

    /// Makes a regular file named by [`Self::finish`], or by [`Self::create`] on a filesystem without `O_TMPFILE`.
    /// Fails if openat(2) fails otherwise.
    pub(crate) fn create_unnamed(&mut self, entry: &Entry) -> Result<Option<NewFile>> {
        self.enter(&entry.path)?;
        if self.makes_unnamed {
            let mode = self.first_mode(entry);
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            match rustix::fs::openat(
                self.entered(),
                c".",
                flags,
                Mode::from_raw_mode(u32::from(mode)),
            ) {
                Ok(file) => return self.begun(File::from(file), entry, mode, false).map(Some),
                Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL | Errno::NOENT | Errno::NOSYS) => {
                    self.makes_unnamed = false;
                }
                Err(e) => return Err(Error::io("create", self.root.full_path(&entry.path))(e)),
            }
        }
        self.create(entry)
    }

    fn begun(&self, file: File, entry: &Entry, mode: u16, has_name: bool) -> Result<NewFile> {
        let is_bare = !self.hands_on_attributes()
            || attributes::strip(self.root, &Inode::Open(file.as_fd()), &entry.path)?;
        let has_holes = entry.size_bytes() >= SHORTEST_WITH_HOLES;
        Ok(NewFile {
            file,
            mode,
            written: 0,
            has_holes,
            has_name,
            is_bare,
        })
    }

    /// Appends to a new file, with holes for long runs of zeros. `entry` is for errors. Tells whether the filesystem can have
    /// a file of the length. Fails if the disk is full or defective.
    pub(crate) fn write(&self, new: &mut NewFile, bytes: &[u8], entry: &Entry) -> Result<bool> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::FileTooLarge => Ok(false),
            _ => Err(Error::io("write", self.root.full_path(&entry.path))(e)),
        };
        if !new.has_holes {
            if let Err(e) = new.file.write_all_at(bytes, new.written) {
                return failed(e);
            }
            new.written += bytes.len() as u64;
            return Ok(true);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let to_boundary = HOLE_BYTES - (new.written % HOLE_BYTES as u64) as usize;
            let (part, after) = rest.split_at(to_boundary.min(rest.len()));
            let is_hole = part.len() == HOLE_BYTES && part.iter().all(|byte| *byte == 0);
            if !is_hole && let Err(e) = new.file.write_all_at(part, new.written) {
                return failed(e);
            }
            new.written += part.len() as u64;
            rest = after;
        }
        Ok(true)
    }

    /// Gives a new file the names and metadata of `names`, all entries of the inode. `None` where the filesystem cannot have
    /// the file. Fails if a name is taken by a directory, or the metadata cannot be written.
    pub(crate) fn finish(&mut self, new: NewFile, names: &[&Entry]) -> Result<Option<Made>> {
        let entry = names[0];
        if new.has_holes {
            match rustix::fs::ftruncate(&new.file, new.written) {
                Ok(()) => {}
                Err(Errno::FBIG) => return self.discard(&new, entry).map(|()| None),
                Err(e) => return Err(Error::io("write", self.root.full_path(&entry.path))(e)),
            }
        }
        if !new.has_name && !self.link(&new.file, entry)? {
            return Ok(None);
        }
        let mut has_names = true;
        for other in &names[1..] {
            has_names &= self.link(&new.file, other)?;
        }
        let mut made = attributes::give(
            self.root,
            &Inode::Open(new.file.as_fd()),
            entry,
            &self.of_new(new.mode),
            &[],
        )?;
        made.lack_if(!has_names, Lack::Names);
        made.lack_if(!new.is_bare, Lack::Xattr);
        Ok(Some(made))
    }

    /// Removes a new file whose content is wrong. Fails if unlinkat(2) does; a missing file is no error.
    pub(crate) fn discard(&mut self, new: &NewFile, entry: &Entry) -> Result<()> {
        if !new.has_name {
            return Ok(());
        }
        let path = &entry.path;
        self.enter(path)?;
        match rustix::fs::unlinkat(self.entered(), path.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(Error::io("remove", self.root.full_path(path))(e)),
        }
    }
}
