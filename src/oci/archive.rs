//! An image layout as a tar file, the `oci-archive` of containers-transports(5).
//!
//! Every blob begins at a multiple of 4096 bytes, by a padding PAX record before the header, so filesystems can share
//! blocks with the store. The bytes are a function of the images alone.

use super::{Blob, Blobs, blob_name};
use crate::error::{Error, Result};
use crate::model::names::OCI_LAYOUT;
use crate::output::{self, Out};
use crate::tarball::{self, Member};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The size of a shared block of filesystems.
const BLOCK_BYTES: u64 = 4096;

/// The size of the pieces that the kernel copies where sharing is impossible.
const PIECE_BYTES: u64 = 64 * 1024;

/// The longest copy.
const MOST_BYTES: u64 = 32 << 20;

/// The parts and the length of an archive.
#[derive(Debug)]
pub struct Archive {
    parts: Vec<Part>,
    size_bytes: u64,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Blob(Blob),
}

impl Archive {
    /// Lays out an archive of the images in `index`, with their `blobs`. Fails if tar cannot express the length of a blob.
    pub fn new(index: &[u8], blobs: &[Blob]) -> Result<Self> {
        let mut archive = Self {
            parts: Vec::new(),
            size_bytes: 0,
        };
        for (name, content) in [("oci-layout", OCI_LAYOUT), ("index.json", index)] {
            archive.push_header(name, content.len() as u64, false)?;
            archive.push_bytes(content.to_vec());
            archive.push_padding(content.len() as u64);
        }
        for blob in blobs {
            archive.push_header(&blob_name(&blob.digest), blob.size_bytes, true)?;
            archive.size_bytes += blob.size_bytes;
            archive.parts.push(Part::Blob(blob.clone()));
            archive.push_padding(blob.size_bytes);
        }
        archive.push_bytes(tarball::END.to_vec());
        Ok(archive)
    }

    /// Returns the length of the archive.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Tells whether the file at `path` is the same archive, by length, headers and index. The content of blobs is not read,
    /// but must have no hole, as a power cut leaves.
    pub fn is_at(&self, path: &Path) -> bool {
        self.equals(path).unwrap_or(false) // an unreadable file is written again
    }

    fn equals(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let is_long = file.metadata()?.len() == self.size_bytes;
        if !is_long || !output::has_no_hole(&file, self.size_bytes)? {
            return Ok(false);
        }
        for part in &self.parts {
            match part {
                Part::Blob(blob) => {
                    file.seek(SeekFrom::Current(blob.size_bytes.cast_signed()))?;
                }
                Part::Bytes(expected) => {
                    let mut found = vec![0; expected.len()];
                    file.read_exact(&mut found)?;
                    if found != *expected {
                        return Ok(false);
                    }
                }
            }
        }
        file.sync_all()?; // the writer may have ended before a sync
        Ok(true)
    }

    /// Writes the archive in order; `out` may be a pipe, named `out_path` in errors. `written` is told the bytes of each part.
    /// Fails if a blob is missing or has changed, or `out` cannot be written.
    pub fn write(
        &self,
        blobs: &dyn Blobs,
        out: &mut dyn Out,
        out_path: &Path,
        written: &dyn Fn(u64),
    ) -> Result<()> {
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => {
                    out.file()
                        .write_all(bytes)
                        .map_err(Error::io("write", out_path))?;
                    written(bytes.len() as u64);
                }
                Part::Blob(blob) => copy(blobs, blob, out, out_path, written)?,
            }
        }
        Ok(())
    }

    fn push_header(&mut self, name: &str, size_bytes: u64, is_aligned: bool) -> Result<()> {
        let mut member = Member::file(name.as_bytes(), size_bytes);
        if is_aligned {
            member
                .records
                .extend(tarball::aligning_record(self.size_bytes, BLOCK_BYTES));
        }
        let mut header = Vec::new();
        member.write_header(&mut header)?;
        self.push_bytes(header);
        Ok(())
    }

    fn push_padding(&mut self, content_bytes: u64) {
        self.push_bytes(vec![0; tarball::padding(content_bytes)]);
    }

    fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.size_bytes += bytes.len() as u64;
        match self.parts.last_mut() {
            Some(Part::Bytes(last)) => last.extend(bytes),
            _ => self.parts.push(Part::Bytes(bytes)),
        }
    }
}

/// Copies a blob to the position of `out`. Fails with [`Error::Damaged`] if the blob has another length.
pub(super) fn copy(
    blobs: &dyn Blobs,
    blob: &Blob,
    out: &mut dyn Out,
    out_path: &Path,
    written: &dyn Fn(u64),
) -> Result<()> {
    let copied = copy_file(blobs.open(blob)?.file(), blob.size_bytes, out, written);
    let copied = copied.map_err(Error::io("write", out_path))?;
    if copied != blob.size_bytes {
        return Err(Error::damaged(
            out_path,
            format!("blob {} changed while it was copied", blob.digest),
        ));
    }
    Ok(())
}

/// Copies `input` to the position of `out`, and returns the bytes copied: `size_bytes`, unless `input` is shorter.
///
/// The kernel copies whole blocks (copy_file_range(2)), or shares blocks where the filesystem can. Otherwise aligned pieces
/// take a sixth less time; so a first copy goes up to a multiple of the piece. The rest of a block is written: a later write
/// behind the rest, in a shared block, would wait for the disk. Between long copies, `out` starts a sync.
fn copy_file(
    input: &File,
    size_bytes: u64,
    out: &mut dyn Out,
    written: &dyn Fn(u64),
) -> io::Result<u64> {
    let in_blocks = size_bytes - size_bytes % BLOCK_BYTES;
    let stands_at = out.file().stream_position().unwrap_or(0); // pipes have none
    let mut next = in_blocks.min(stands_at.wrapping_neg() % PIECE_BYTES);
    let mut copied = 0;
    while copied < in_blocks {
        let part = match next {
            0 => 0,
            next => io::copy(&mut input.take(next), out.file())?,
        };
        out.wrote(part)?;
        written(part);
        copied += part;
        if part < next {
            break; // the input has become shorter
        }
        next = (in_blocks - copied).min(MOST_BYTES);
    }
    let mut rest = Vec::with_capacity(BLOCK_BYTES as usize);
    input.take(BLOCK_BYTES).read_to_end(&mut rest)?;
    out.file().write_all(&rest)?;
    written(rest.len() as u64);
    Ok(copied + rest.len() as u64)
}
