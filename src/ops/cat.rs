//! The content of one file of a snapshot, out of the layer that holds it.

use super::recorded::entry_of;
use crate::error::{Error, Result};
use crate::layer::read::{Blob, read_files};
use crate::model::entry::Kind;
use crate::model::names::SnapshotRef;
use crate::model::path::EntryPath;
use crate::printable::printable;
use crate::store::Store;
use std::io::{self, Read, Write};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes the content of `path` to `out` as it comes. Fails where it is no file, and at the end where what was written is
/// not what was recorded.
pub fn cat(store_path: &Path, reference: &SnapshotRef, path: &EntryPath, out: &mut dyn Write) -> Result<()> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let found = entry_of(&store, &snapshot, path)?;
    let not_a_file = |what: String| Error::NoContent { path: path.to_string(), what };
    let (size_bytes, content) = match &found.entry.kind {
        Kind::File { size_bytes, content } => (*size_bytes, *content),
        Kind::Symlink(target) => return Err(not_a_file(format!("a symlink to {}", printable(target)))),
        Kind::Directory => return Err(not_a_file("a directory".to_owned())),
        Kind::Fifo => return Err(not_a_file("a FIFO".to_owned())),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => return Err(not_a_file("a device".to_owned())),
    };
    // A layer has the content under the first name of the inode.
    let layer = &found.layer.layer;
    let name = match found.entry.group {
        Some(group) => store.names_of(layer.id, group)?.into_iter().next(),
        None => None,
    };
    let name = name.unwrap_or_else(|| found.entry.path.clone());
    let kept = store.blobs_of(layer.id)?;
    let chosen = [&found.layer.blob].into_iter().chain(&kept);
    let open = |blob: &crate::store::Blob| Ok((blob.digest, store.open_blob(&blob.digest, blob.size_bytes)?));
    // Where none is sound, what is wrong with the snapshot's own is the error.
    let opened = chosen.into_iter().find_map(|blob| open(blob).ok());
    let (digest, input) = opened.map_or_else(|| open(&found.layer.blob), Ok)?;
    let blob_path = store.blob_path(&digest);
    let blob = Blob { input: Box::new(input), path: &blob_path, digest };
    let mut hasher = blake3::Hasher::new();
    let mut written = None;
    read_files(
        blob,
        |at, size| *at == name && size == size_bytes,
        |_, _, input| {
            written = Some(copy(input, out, &mut hasher));
            Ok(false)
        },
    )?;
    written.unwrap_or_else(|| Err(Error::damaged(&blob_path, format!("it does not hold {name}"))))?;
    match hasher.finalize().as_bytes() == &content.0 {
        true => Ok(()),
        false => Err(Error::damaged(&blob_path, format!("the content of {name} is not what was recorded"))),
    }
}

fn copy(input: &mut dyn Read, out: &mut dyn Write, hasher: &mut blake3::Hasher) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return out.flush().map_err(Error::Output),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                out.write_all(&buffer[..count]).map_err(Error::Output)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()), // whoever reads the layer tells why
        }
    }
}
