//! Opens the content of one file of a root for reading.

use super::root::{Root, place_of};
use crate::error::{Error, Result};
use crate::model::path::EntryPath;
use crate::model::stamp::StatKind;
use std::fs::File;
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
}
