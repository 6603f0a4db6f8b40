//! Reads a layer of any origin: entries and whiteouts, with the hashes of the files.
//!
//! One pass, in memory that grows with the number of entries alone, and that is limited. Decompression runs beside the
//! parsing. A blob is hashed while reading, and is refused if the digest is another.

pub(crate) use super::files::{Held, read_by_hash, read_files};
pub use super::gather::LayerItems;
use super::gather::{Gathering, is_whiteout};
use super::packed::{TarStream, Whole};
pub use super::unpack::{Blob, check};
pub(crate) use super::unpack::{Threads, Unpacked};
use super::unpack::{shown, unreadable, with_members_of};
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::path::EntryPath;
use crate::tarball::defect::TarError;
use crate::tarball::read::{FoundKind, Reader};
use std::io::Write;

const BUFFER_BYTES: usize = 256 * 1024;

/// Chooses wanted contents by path and length; the returned writer gets the content.
pub(crate) type Keep<'k> = dyn FnMut(&EntryPath, u64) -> Result<Option<Box<dyn Write + 'k>>> + 'k;

/// Reads a whole layer. Fails if the blob has another digest, or a member that no layer may have.
pub fn read(blob: Blob, keep: &mut Keep) -> Result<LayerItems> {
    read_as(blob, (None, Threads::Several), keep).map(|(items, _)| items)
}

/// Reads a whole layer, and returns also the length of the tar. Fails as [`read`] does, and if the tar is not as `expected`.
pub(crate) fn read_exactly(
    blob: Blob,
    (expected, threads): (Unpacked, Threads),
    keep: &mut Keep,
) -> Result<(LayerItems, u64)> {
    read_as(blob, (Some(expected), threads), keep)
}

fn read_as(
    blob: Blob,
    expected: (Option<Unpacked>, Threads),
    keep: &mut Keep,
) -> Result<(LayerItems, u64)> {
    let path = blob.path.to_owned();
    with_members_of(blob, expected, |reader| {
        let mut gathering = Gathering::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(found) = reader.next_member().map_err(|e| unreadable(&path, e))? {
            let bad = |what: &'static str| Error::BadLayer {
                path: path.clone(),
                member: shown(&found.path),
                what: what.to_owned(),
            };
            let at =
                EntryPath::from_slashed(&found.path).ok_or_else(|| bad("leads out of the root"))?;
            let content = match found.kind {
                FoundKind::File(size) if !is_whiteout(&at) => {
                    let mut out = keep(&at, size)?;
                    let hash = hash_content(reader, &mut buffer, out.as_deref_mut());
                    Some(hash.map_err(|e| unreadable(&path, e))?)
                }
                _ => None,
            };
            gathering.add(at, &found, content).map_err(bad)?;
        }
        gathering.finish().map_err(|(at, what)| Error::BadLayer {
            path: path.clone(),
            member: shown_path(&at),
            what: what.to_owned(),
        })
    })
}

impl Whole for LayerItems {
    fn is_whole(&self) -> bool {
        true
    }
}

fn hash_content(
    reader: &mut Reader<TarStream>,
    buffer: &mut [u8],
    mut out: Option<&mut (dyn Write + '_)>,
) -> std::result::Result<ContentHash, TarError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        match reader.read(buffer)? {
            0 => return Ok(ContentHash(*hasher.finalize().as_bytes())),
            count => {
                hasher.update(&buffer[..count]);
                if let Some(out) = &mut out {
                    out.write_all(&buffer[..count])?;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
