//! An image layout as one tar file, what containers-transports(5) calls `oci-archive`.
//!
//! Every blob begins at a multiple of 4096 bytes, by a padding PAX record before its header, so that filesystems that
//! can share blocks with the store do. The bytes are a function of the images alone.

use super::{Blob, Blobs, blob_name};
use crate::error::{Error, Result};
use crate::model::names::OCI_LAYOUT;
use crate::output::{self, Out};
use crate::tarball::{self, Member};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// How long a block is that filesystems share.
const BLOCK_BYTES: u64 = 4096;

/// In pieces of this size the kernel copies what it cannot share.
const PIECE_BYTES: u64 = 64 * 1024;

/// The longest copy.
const MOST_BYTES: u64 = 32 << 20;

/// What an archive consists of, and how long it will be.
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
    /// Lays out an archive of the images in `index`, which consist of `blobs`.
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

    /// Returns how long the archive is.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Tells whether the file at `path` is this archive: its length, all of its headers and its index are the same. The
    /// content of blobs is not read, but must be there: what a power cut took has left a hole.
    pub fn is_at(&self, path: &Path) -> bool {
        let same = || -> io::Result<bool> {
            let mut file = std::fs::File::open(path)?;
            if file.metadata()?.len() != self.size_bytes
                || !output::has_no_hole(&file, self.size_bytes)?
            {
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
            file.sync_all()?; // whoever wrote it may not have done so
            Ok(true)
        };
        same().unwrap_or(false) // what cannot be read is written anew
    }

    /// Writes the archive from first to last; `out` need not be able to seek. `out_path` names it in errors; `written` is
    /// told the bytes of each part.
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

/// Copies a blob to where `out` stands.
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

/// Copies `input` to where `out` stands, and returns how much that was: `size_bytes`, unless it has another length.
///
/// The kernel copies whole blocks (copy_file_range(2)), and shares them where the filesystem can. Where it cannot, pieces
/// that begin at a multiple of their size take a sixth less time; so a first copy goes up to one. The rest of a block is
/// written: whoever wrote behind it in a block that is shared would wait until it is read from the disk. Between long
/// copies, `out` has what there is synced.
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
            break; // it has become shorter
        }
        next = (in_blocks - copied).min(MOST_BYTES);
    }
    let mut rest = Vec::with_capacity(BLOCK_BYTES as usize);
    input.take(BLOCK_BYTES).read_to_end(&mut rest)?;
    out.file().write_all(&rest)?;
    written(rest.len() as u64);
    Ok(copied + rest.len() as u64)
}
