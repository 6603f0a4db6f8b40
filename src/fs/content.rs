//! Opens the content of one file of a root for reading.

use super::facts::{file_xattrs, stat_of};
use super::root::{Root, place_of};
use crate::error::{Error, Result};
use crate::model::entry::Xattrs;
use crate::model::path::EntryPath;
use crate::model::stamp::{Stat, StatKind};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

impl Root {
    /// Opens a regular file below the root. Fails with [`Error::Changed`] where it is none, or is gone.
    pub fn open_file(&self, path: &EntryPath) -> Result<File> {
        let handle = self.open_handle(path)?;
        let placed = place_of(handle.as_fd()).map_err(|e| self.failed("stat", path, e))?;
        match placed.stat {
            Some(stat) if stat.kind == StatKind::File => self.reopen(&handle, path),
            _ => Err(Error::Changed(self.full_path(path))),
        }
    }

    /// Opens a regular file that had `stat` when it was found. Fails with [`Error::Changed`] where it has another now.
    pub fn open_unchanged<'r>(&'r self, path: &'r EntryPath, stat: &'r Stat) -> Result<Unchanged<'r>> {
        let handle = self.open_handle(path)?;
        if stat_of(self, &handle, path)? != *stat {
            return Err(Error::Changed(self.full_path(path)));
        }
        Ok(Unchanged { root: self, path, stat, file: self.reopen(&handle, path)? })
    }
}

/// An open file that was found with a certain stat, and is to have it still when it has been read.
#[derive(Debug)]
pub struct Unchanged<'r> {
    root: &'r Root,
    path: &'r EntryPath,
    stat: &'r Stat,
    file: File,
}

impl Unchanged<'_> {
    /// Reads the extended attributes that belong to the tree.
    pub fn xattrs(&self) -> Result<Xattrs> {
        file_xattrs(self.root, &self.file, self.path)
    }

    /// Fails with [`Error::Changed`] where the file is another than it was when it was found.
    pub fn check(&self) -> Result<()> {
        match stat_of(self.root, &self.file, self.path)? == *self.stat {
            true => Ok(()),
            false => Err(Error::Changed(self.root.full_path(self.path))),
        }
    }
}

impl Read for Unchanged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}
