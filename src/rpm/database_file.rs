//! A private copy of a database of one file, read at places named by the file itself.

use super::fault::{Fault, fault};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A file of pages or blocks.
pub(super) struct DatabaseFile {
    file: File,
    size_bytes: u64,
}

impl DatabaseFile {
    /// Takes an open file. Fails if the length cannot be asked for.
    pub(super) fn new(file: File) -> std::result::Result<Self, Fault> {
        let size_bytes = file.metadata()?.len();
        Ok(Self { file, size_bytes })
    }

    /// Returns the length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buffer` from a place on. Fails where the file ends before that.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> std::result::Result<(), Fault> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return fault("it is cut short");
        }
        Ok(self.file.read_exact_at(buffer, at)?)
    }

    /// Reads `length` bytes from a place on. Fails where the file ends before that.
    pub(super) fn bytes(&self, at: u64, length: usize) -> std::result::Result<Vec<u8>, Fault> {
        // Before the memory is taken: the length is a claim of the file.
        let end = at.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return fault("it is cut short");
        }
        let mut bytes = vec![0; length];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }
}
