//! An image layout as a directory, what containers-transports(5) calls `oci` (image-spec, image-layout.md).
//!
//! Blobs come first, each by rename; the index names them only when all are there.

use super::archive::copy;
use super::index::{self, Image};
use super::{Blob, Blobs, blob_name};
use crate::error::{Error, Result};
use crate::model::names::{EMPTY_INDEX, OCI_LAYOUT};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

/// What is added to a layout.
pub struct Added<'a> {
    /// The images, by name.
    pub images: &'a [Image],
    /// What they consist of.
    pub blobs: &'a [Blob],
    /// Where that comes from.
    pub source: &'a dyn Blobs,
    /// Is told the bytes of each blob.
    pub written: &'a dyn Fn(u64),
}

/// Adds images to the layout in `directory`, which is made where it is missing and may be empty. Images of other names stay. Returns the bytes written: 0 where all was there.
pub fn add(directory: &Path, added: &Added) -> Result<u64> {
    match check(directory)? {
        true => fill(directory, added),
        false => create(directory, added),
    }
}

/// Tells whether `directory` is there. Fails where it is neither empty nor a layout, where its index cannot be read, and
/// where nothing could be written.
pub fn check(directory: &Path) -> Result<bool> {
    let first = match std::fs::read_dir(directory).and_then(|mut entries| entries.next().transpose()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return check_writable(directory).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADirectory(directory.to_owned()));
        }
        first => first.map_err(Error::io("list", directory))?,
    };
    if first.is_some() && !directory.join("oci-layout").is_file() {
        return Err(Error::NotALayout(directory.to_owned()));
    }
    merged_index(directory, &[])?;
    check_writable(&directory.join("index.json")).map(|()| true)
}

/// The index of the layout in `directory` with these images in it.
fn merged_index(directory: &Path, images: &[Image]) -> Result<Vec<u8>> {
    let path = directory.join("index.json");
    let there = match std::fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => EMPTY_INDEX.to_vec(),
        there => there.map_err(Error::io("read", &path))?,
    };
    index::merge(&there, images, &path)
}

/// Makes the layout beside its place and renames it.
fn create(directory: &Path, added: &Added) -> Result<u64> {
    let beside = beside(directory);
    let temporary = tempfile::Builder::new()
        .prefix(".rootstrata-")
        .permissions(Permissions::from_mode(0o777)) // less the umask
        .tempdir_in(beside)
        .map_err(Error::io("write in", beside))?;
    let bytes = fill(temporary.path(), added)?;
    std::fs::rename(temporary.path(), directory).map_err(Error::io("write", directory))?;
    let _renamed = temporary.keep();
    Ok(bytes)
}

fn fill(directory: &Path, added: &Added) -> Result<u64> {
    let index = merged_index(directory, added.images)?;
    let of_blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&of_blobs).map_err(Error::io("create", &of_blobs))?;
    let mut bytes = 0;
    for blob in added.blobs {
        let target = directory.join(blob_name(&blob.digest));
        if std::fs::metadata(&target).is_ok_and(|there| there.len() == blob.size_bytes) {
            continue;
        }
        replace(&target, |file| copy(added.source, blob, file, &target, added.written))?;
        bytes += blob.size_bytes;
    }
    for (name, content) in [("oci-layout", OCI_LAYOUT), ("index.json", index.as_slice())] {
        let target = directory.join(name);
        if std::fs::read(&target).is_ok_and(|there| there == content)
            || name == "oci-layout" && target.exists()
        {
            continue;
        }
        replace(&target, |file| file.write_all(content).map_err(Error::io("write", &target)))?;
        bytes += content.len() as u64;
    }
    Ok(bytes)
}

/// Fails where nothing could be put at `target`, which need not be there yet.
pub fn check_writable(target: &Path) -> Result<()> {
    let beside = beside(target);
    new_file(beside).map(drop).map_err(Error::io("write in", beside))
}

/// Makes a file that is gone when it is dropped.
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    let open = |path: &Path| File::options().write(true).create_new(true).mode(0o666).open(path); // less the umask
    tempfile::Builder::new().prefix(".rootstrata-").make_in(directory, open)
}

fn beside(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file beside its place and renames it.
pub fn replace(target: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let beside = beside(target);
    let mut temporary = new_file(beside).map_err(Error::io("write in", beside))?;
    write(temporary.as_file_mut())?;
    temporary.persist(target).map_err(|e| Error::io("write", target)(e.error))?;
    Ok(())
}
