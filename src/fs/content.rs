//! Opens the content of one file of a root for reading.

use super::root::{Root, place_of};
use super::xattrs::file_xattrs;
use crate::error::{Error, Result};
use crate::model::limits::{LARGEST_HOLES_BYTES, LARGEST_HOLES_SUM_BYTES, LONGEST_FILE_BYTES};
use crate::model::stamp::{Stat, StatKind};
use crate::model::tree::entry::Xattrs;
use crate::model::tree::path::EntryPath;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

impl Root {
    /// Opens a regular file below the root. Fails with [`Error::Changed`] if the path is gone or no regular file.
    pub(crate) fn open_file(&self, path: &EntryPath) -> Result<Content<'_>> {
        let handle = self.open_handle(path)?;
        let placed = place_of(handle.as_fd()).map_err(|e| self.failed("stat", path, e))?;
        match placed.stat {
            Some(stat) if stat.kind == StatKind::File => {
                self.content(self.reopen(&handle, path)?, stat.size_bytes, path)
            }
            _ => Err(Error::Changed(self.full_path(path))),
        }
    }

    /// Opens a regular file that had `stat` in the scan. Fails with [`Error::Changed`] if the stat data are others now.
    pub(crate) fn open_unchanged<'r>(
        &'r self,
        path: &'r EntryPath,
        stat: &'r Stat,
    ) -> Result<Unchanged<'r>> {
        let handle = self.open_handle(path)?;
        if self.stat_of(&handle, path)? != *stat {
            return Err(Error::Changed(self.full_path(path)));
        }
        let content = self.content(self.reopen(&handle, path)?, stat.size_bytes, path)?;
        Ok(Unchanged {
            root: self,
            path,
            stat,
            content,
        })
    }

    /// Reads an open file of this length. Fails with [`Error::Unrecordable`] if the file is longer than 1 TiB.
    pub(super) fn content(
        &self,
        file: File,
        size_bytes: u64,
        path: &EntryPath,
    ) -> Result<Content<'_>> {
        if size_bytes > LONGEST_FILE_BYTES {
            return Err(Error::Unrecordable {
                path: self.full_path(path),
                reason: "it is longer than 1 TiB",
            });
        }
        let may_have_holes = size_bytes >= SHORTEST_WITH_HOLES;
        let data_end = if may_have_holes { 0 } else { size_bytes };
        Ok(Content {
            root: self,
            file,
            size_bytes,
            position: 0,
            hole_end: 0,
            data_end,
            hole_bytes: 0,
        })
    }
}

/// A shorter file is not asked for its holes.
const SHORTEST_WITH_HOLES: u64 = 1 << 20;

/// The content of a regular file of known length. Holes are not read (lseek(2), `SEEK_DATA`), and limited. A longer file,
/// as on a filesystem in userspace, is an error.
#[derive(Debug)]
pub(crate) struct Content<'r> {
    root: &'r Root,
    file: File,
    size_bytes: u64,
    position: u64,
    /// The end of the hole at the present position.
    hole_end: u64,
    /// The end of the data after the hole.
    data_end: u64,
    hole_bytes: u64,
}

impl Content<'_> {
    /// Returns how many bytes are left to read.
    pub(super) fn left_bytes(&self) -> u64 {
        self.size_bytes - self.position
    }

    /// Finds the hole or the data at the present position.
    fn look_ahead(&mut self) -> io::Result<()> {
        let end =
            |found: rustix::io::Result<u64>| found.unwrap_or(self.size_bytes).min(self.size_bytes);
        let data = match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => data.min(self.size_bytes),
            Err(Errno::NXIO) => self.size_bytes, // nothing but a hole
            Err(_) => self.position,             // a filesystem without holes
        };
        if data > self.position {
            self.count_hole(data - self.position)?;
            self.hole_end = data;
            self.data_end = data;
        } else {
            self.data_end = end(rustix::fs::seek(&self.file, SeekFrom::Hole(self.position)));
            self.data_end = self.data_end.max(self.position + 1); // at least a byte, to go on
        }
        Ok(())
    }

    /// Fails if the holes of the file, or of all files of the root, are longer than a tree may have.
    fn count_hole(&mut self, bytes: u64) -> io::Result<()> {
        self.hole_bytes += bytes;
        let before = self.root.hole_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.hole_bytes > LARGEST_HOLES_BYTES {
            return Err(io::Error::other("its holes are longer than 64 GiB"));
        }
        if before.saturating_add(bytes) > LARGEST_HOLES_SUM_BYTES {
            let what = "the holes of all files are longer than 256 GiB";
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    /// Reads at the present position, and one byte past the end if the buffer has room, to see a longer file.
    fn read_data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let to_end = self.data_end - self.position;
        let is_last = self.data_end == self.size_bytes;
        let most = usize::try_from(to_end + u64::from(is_last))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        if count as u64 > to_end {
            return Err(other_length());
        }
        self.position += count as u64;
        let is_at_end = is_last && count as u64 == to_end;
        if is_at_end && most as u64 == to_end {
            self.check_end()?;
        }
        Ok(count)
    }

    /// Fails if a byte follows.
    fn check_end(&self) -> io::Result<()> {
        match self.file.read_at(&mut [0], self.size_bytes)? {
            0 => Ok(()),
            _ => Err(other_length()),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.size_bytes > 0 && self.position == self.size_bytes {
            return Ok(0);
        }
        if self.position >= self.hole_end && self.position >= self.data_end && self.size_bytes > 0 {
            self.look_ahead()?;
        }
        if self.position >= self.hole_end {
            return self.read_data(buffer);
        }
        let count = usize::try_from(self.hole_end - self.position)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        buffer[..count].fill(0);
        self.position += count as u64;
        if self.position == self.size_bytes {
            self.check_end()?;
        }
        Ok(count)
    }
}

/// The error of a file whose content has another length than stat says before and after.
pub(super) fn other_length() -> io::Error {
    io::Error::other(OtherLength)
}

/// Tells whether an error is [`other_length`].
pub(super) fn is_other_length(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<OtherLength>())
}

#[derive(Debug)]
struct OtherLength;

impl std::fmt::Display for OtherLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it does not hold as many bytes as its length says")
    }
}

impl std::error::Error for OtherLength {}

/// An open file that must keep the stat data of the scan until the last byte is read.
#[derive(Debug)]
pub(crate) struct Unchanged<'r> {
    root: &'r Root,
    path: &'r EntryPath,
    stat: &'r Stat,
    content: Content<'r>,
}

impl Unchanged<'_> {
    /// Reads the extended attributes of the tree. Fails if the filesystem refuses to list or read attributes.
    pub(crate) fn xattrs(&self) -> Result<Xattrs> {
        file_xattrs(self.root, &self.content.file, self.path)
    }

    /// Fails with [`Error::Changed`] if the stat data of the open file are no longer as in the scan.
    pub(crate) fn check(&self) -> Result<()> {
        if self.root.stat_of(&self.content.file, self.path)? == *self.stat {
            Ok(())
        } else {
            Err(Error::Changed(self.root.full_path(self.path)))
        }
    }
}

impl Read for Unchanged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.content.read(buffer) {
            // A file written to meanwhile ends here: the caller sees the change with `check`.
            Err(e) if is_other_length(&e) && self.check().is_err() => Ok(0),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `length` bytes with data at some places, what it holds, and the root that it is in.
    fn holey(length: u64, data: &[(u64, usize)]) -> (tempfile::TempDir, Root, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        file.set_len(length).unwrap();
        for (at, count) in data {
            file.write_all_at(&vec![b'x'; *count], *at).unwrap();
        }
        let bytes = std::fs::read(directory.path().join("f")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        (directory, root, bytes)
    }

    fn path() -> EntryPath {
        EntryPath::from_slashed(b"f").unwrap()
    }

    #[test]
    fn a_file_with_holes_reads_as_it_is_whatever_the_buffer() {
        let mebibyte = 1 << 20;
        for data in [
            &[][..],
            &[(0, 1)],
            &[(mebibyte, 5000)],
            &[(3 * mebibyte - 1, 1)],
            &[(0, 9), (70_000, 70_000)],
        ] {
            let (_directory, root, bytes) = holey(3 * mebibyte, data);
            for buffer_bytes in [1 << 12, 65_537, 8 << 20] {
                let mut content = root.open_file(&path()).unwrap();
                let (mut found, mut buffer) = (Vec::new(), vec![1; buffer_bytes]);
                loop {
                    match content.read(&mut buffer).unwrap() {
                        0 => break,
                        count => found.extend_from_slice(&buffer[..count]),
                    }
                }
                assert!(found == bytes, "{data:?} {buffer_bytes}");
                assert!(content.hole_bytes > mebibyte, "{data:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_should_be_is_an_error_whatever_the_buffer() {
        for length in [0, 1, 5000, 1 << 20, 2 << 20] {
            let (_directory, root, _) = holey(length + 1, &[(0, 4)]);
            for buffer_bytes in [1, 4096, 5000, 1 << 20, 8 << 20] {
                let file = File::open(root.path().join("f")).unwrap();
                let mut content = root.content(file, length, &path()).unwrap();
                let mut buffer = vec![0; buffer_bytes];
                let error = loop {
                    match content.read(&mut buffer) {
                        Ok(0) => panic!("{length} {buffer_bytes}: nobody noticed"),
                        Ok(_) => {}
                        Err(e) => break e,
                    }
                };
                assert!(is_other_length(&error), "{error}");
            }
        }
    }
}
