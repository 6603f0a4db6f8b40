//! The content of one file of a snapshot, out of the layer that holds it.

use crate::error::{Error, Result};
use crate::layer::read::{Held, read_by_hash, read_files};
use crate::model::digest::ContentHash;
use crate::model::names::SnapshotRef;
use crate::model::policy::Policy;
use crate::model::tree::entry::Kind;
use crate::model::tree::path::EntryPath;
use crate::ops::query::recorded_path::entry_of;
use crate::printable::printable;
use crate::store::Store;
use std::io::{self, Read, Write};
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes the content of `path` to `out` as it comes. Fails where it is no file, and at the end where what was written is
/// not what was recorded.
pub(crate) fn cat(
    store_path: &Path,
    reference: &SnapshotRef,
    path: &EntryPath,
    out: &mut dyn Write,
) -> Result<()> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let found = entry_of(&store, &snapshot, path)?;
    let not_a_file = |what: String| Error::NoContent {
        path: path.to_string(),
        what,
    };
    let (size_bytes, content) = match &found.entry.kind {
        Kind::File {
            size_bytes,
            content,
        } => (*size_bytes, *content),
        Kind::Symlink(target) => {
            return Err(not_a_file(format!("a symlink to {}", printable(target))));
        }
        Kind::Directory => return Err(not_a_file("a directory".to_owned())),
        Kind::Fifo => return Err(not_a_file("a FIFO".to_owned())),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => {
            return Err(not_a_file("a device".to_owned()));
        }
    };
    // One of ours has the content under the first name of the inode, one of others under any.
    let layer = &found.layer.layer;
    let mut names = match found.entry.group {
        Some(group) => store.names_of(layer.id, group)?,
        None => Vec::new(),
    };
    names.push(found.entry.path.clone());
    let kept = store.blobs_of(layer.id)?;
    let (_, source) = store.open_any(&found.layer.blob, &kept)?;
    let is_ours =
        Policy::from_canonical(&store.policy(&store.policy_of_layer(layer.id)?)?).is_some();
    let blob = source.path();
    let mut written = false;
    read_files(
        (&source).into(),
        |at, size| size == size_bytes && names.contains(at),
        |at, size, input| {
            if is_ours {
                written = true;
                return match copy(input, out)? == content {
                    true => Ok(false),
                    false => Err(Error::damaged(
                        blob,
                        format!("the content of {at} is not what was recorded"),
                    )),
                };
            }
            // A later member may have the same name: what is printed cannot be taken back.
            let mut held = Held::take(input, size)?;
            written = held.hash == content;
            if written {
                copy(held.read()?, out)?;
            }
            Ok(!written)
        },
    )?;
    if !written {
        read_by_hash(
            (&source).into(),
            |size| size == size_bytes,
            |held| {
                written = held.hash == content;
                if written {
                    copy(held.read()?, out)?;
                }
                Ok(!written)
            },
        )?;
    }
    match written {
        true => out.flush().map_err(Error::Output),
        false => Err(Error::damaged(
            blob,
            format!("it does not hold the content of {}", found.entry.path),
        )),
    }
}

/// Copies what is there, and returns its hash.
fn copy(input: &mut dyn Read, out: &mut dyn Write) -> Result<ContentHash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(ContentHash(*hasher.finalize().as_bytes())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                out.write_all(&buffer[..count]).map_err(Error::Output)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Whoever reads the layer tells why.
            Err(_) => return Ok(ContentHash(*hasher.finalize().as_bytes())),
        }
    }
}
