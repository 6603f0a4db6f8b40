//! Makes one file of a restore: with the recorded content, or not at all.

use crate::error::{Error, Result};
use crate::fs::attributes::Made;
use crate::fs::new_file::NewFile;
use crate::fs::write::Writer;
use crate::model::digest::ContentHash;
use crate::model::tree::entry::{Entry, Kind};
use std::io::Read;
use std::path::Path;

/// The outcome for a file that was to be made.
pub(super) enum Filled {
    Made(Made),
    /// The content is not the recorded content.
    Unlike,
    /// The filesystem cannot have the file.
    Unfit,
}

/// The content of a file, read in parts.
pub(super) struct Parts<'c> {
    content: &'c mut dyn Read,
    buffer: &'c mut [u8],
    /// Length of the part in the buffer.
    filled: usize,
    /// Path of the blob, for errors.
    blob: &'c Path,
}

impl<'c> Parts<'c> {
    /// Takes a content of the layer in `blob`, to be read through `buffer`.
    pub(super) fn new(content: &'c mut dyn Read, buffer: &'c mut [u8], blob: &'c Path) -> Self {
        Self {
            content,
            buffer,
            filled: 0,
            blob,
        }
    }

    /// Reads the next part: until the buffer is full or the content is over.
    fn read_next(&mut self) -> Result<()> {
        self.filled = 0;
        while self.filled < self.buffer.len() {
            match self.content.read(&mut self.buffer[self.filled..]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // The reader of the layer tells more.
                Err(e) => return Err(Error::io("read", self.blob)(e)),
            }
        }
        Ok(())
    }

    /// Returns the part that was read last; empty after the end.
    fn part(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

/// Makes a file under all names, if the content is the recorded content. Fails if the content cannot be unpacked, or the file
/// not be written.
pub(super) fn make_file(writer: &mut Writer, names: &[&Entry], mut parts: Parts) -> Result<Filled> {
    parts.read_next()?;
    let is_whole = parts.part().len() as u64 == names[0].size_bytes();
    if is_whole {
        make_short_file(writer, names, parts.part())
    } else {
        make_long_file(writer, names, parts)
    }
}

/// Makes a file of one part right in its place: only for a moment the file is cut.
fn make_short_file(writer: &mut Writer, names: &[&Entry], content: &[u8]) -> Result<Filled> {
    let entry = names[0];
    if !is_recorded(blake3::hash(content), entry) {
        return Ok(Filled::Unlike);
    }
    let Some(mut new) = writer.create(entry)? else {
        return Ok(Filled::Unfit);
    };
    let copied = match writer.write(&mut new, content, entry) {
        Ok(true) => Ok(Copied::Alike),
        Ok(false) => Ok(Copied::Unfit),
        Err(error) => Err(error),
    };
    name_or_discard(writer, new, names, copied)
}

/// Makes a file of several parts, without a name until the content is complete.
fn make_long_file(writer: &mut Writer, names: &[&Entry], parts: Parts) -> Result<Filled> {
    let Some(mut new) = writer.create_unnamed(names[0])? else {
        return Ok(Filled::Unfit);
    };
    let copied = copy(writer, &mut new, names[0], parts);
    name_or_discard(writer, new, names, copied)
}

/// A content in a new file.
enum Copied {
    Alike,
    /// The content is not the recorded content.
    Unlike,
    /// The filesystem cannot have the content.
    Unfit,
}

fn copy(writer: &mut Writer, new: &mut NewFile, entry: &Entry, mut parts: Parts) -> Result<Copied> {
    let mut hasher = blake3::Hasher::new();
    while !parts.part().is_empty() {
        hasher.update(parts.part());
        if !writer.write(new, parts.part(), entry)? {
            return Ok(Copied::Unfit);
        }
        parts.read_next()?;
    }
    if is_recorded(hasher.finalize(), entry) {
        Ok(Copied::Alike)
    } else {
        Ok(Copied::Unlike)
    }
}

/// Gives a new file its names, if the content is the recorded content; else removes the file.
fn name_or_discard(
    writer: &mut Writer,
    new: NewFile,
    names: &[&Entry],
    copied: Result<Copied>,
) -> Result<Filled> {
    let filled = match copied {
        Ok(Copied::Alike) => {
            let made = writer.finish(new, names)?;
            return Ok(made.map_or(Filled::Unfit, Filled::Made));
        }
        Ok(Copied::Unlike) => Ok(Filled::Unlike),
        Ok(Copied::Unfit) => Ok(Filled::Unfit),
        Err(error) => Err(error),
    };
    writer.discard(&new, names[0]).and(filled)
}

fn is_recorded(hash: blake3::Hash, entry: &Entry) -> bool {
    match entry.kind {
        Kind::File { content, .. } => content == ContentHash(*hash.as_bytes()),
        _ => false,
    }
}
