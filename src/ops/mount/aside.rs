//! The contents of a layer that can only be read from the beginning, in a file without a name, which the kernel removes with the
//! process.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::read::read_files;
use crate::model::digest::ContentHash;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 256 << 10;

/// Makes a file without a name.
fn temporary() -> Result<File> {
    let directory = directory();
    tempfile::tempfile_in(&directory).map_err(Error::io("write in", directory))
}

/// Returns the directory for temporary files: unless the user names one, that for large ones, since /tmp is memory on many
/// machines.
fn directory() -> PathBuf {
    let usual = std::env::temp_dir();
    let large = Path::new("/var/tmp");
    if usual == Path::new("/tmp") && large.is_dir() {
        large.to_owned()
    } else {
        usual
    }
}

/// Writes a content to a file, from `offset` on, and returns the hash and the length. A content that cannot be read just ends:
/// the caller compares the hash.
fn write(input: &mut dyn Read, file: &File, offset: u64) -> Result<(ContentHash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut length = 0;
    loop {
        let count = match input.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        hasher.update(&buffer[..count]);
        file.write_all_at(&buffer[..count], offset + length)
            .map_err(Error::io("write in", directory()))?;
        length += count as u64;
    }
    Ok((ContentHash(*hasher.finalize().as_bytes()), length))
}

/// Reads bytes of such a file.
fn read(file: &File, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)
        .map_err(Error::io("read in", directory()))?;
    Ok(bytes)
}

/// Contents of a layer.
pub(super) struct Aside {
    file: File,
    /// The offset and the length of each content.
    places: HashMap<ContentHash, (u64, u64)>,
    /// Why contents are missing.
    failure: Option<String>,
}

impl Aside {
    /// Reads a layer once, and keeps the wanted contents, given with their lengths, under whatever name. Of a damaged layer, those
    /// before the damage are kept. Fails if nothing can be written or read.
    pub(super) fn put(blob: &BlobSource, wanted: &HashMap<ContentHash, u64>) -> Result<Self> {
        let sizes: HashSet<u64> = wanted.values().copied().collect();
        let mut aside = Self {
            file: temporary()?,
            places: HashMap::new(),
            failure: None,
        };
        let mut end = 0;
        let read = read_files(
            blob.into(),
            |_, size_bytes| sizes.contains(&size_bytes),
            |_, _, input| {
                let (hash, length) = write(input, &aside.file, end)?;
                // The next content overwrites one that is not wanted, or known.
                if wanted.contains_key(&hash) && !aside.places.contains_key(&hash) {
                    aside.places.insert(hash, (end, length));
                    end += length;
                }
                Ok(aside.places.len() < wanted.len())
            },
        );
        match read {
            Err(error) if error.is_damage() => aside.failure = Some(error.in_one_line()),
            read => read?,
        }
        Ok(aside)
    }

    /// Reads bytes of a content; `None` if the layer has no such content, or ends before. Fails if the file cannot be read.
    pub(super) fn read(
        &self,
        content: &ContentHash,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>> {
        let place = self.places.get(content);
        let end = offset.saturating_add(length as u64);
        match place.filter(|(_, known)| end <= *known) {
            Some((start, _)) => read(&self.file, start + offset, length).map(Some),
            None => Ok(None),
        }
    }

    /// Returns why contents are missing.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
