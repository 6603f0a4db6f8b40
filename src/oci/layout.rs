//! An image layout as a directory, what containers-transports(5) calls `oci` (image-spec, image-layout.md).
//!
//! Blobs come first, each by rename; the index names them only when all are there.

use super::archive::copy;
use super::index::{self, Image};
use super::{Blob, Blobs, blob_name};
use crate::error::{Error, Result};
use crate::model::names::OCI_LAYOUT;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Adds images, which consist of `blobs`, to the layout in `directory`, which is made where it is missing and may be
/// empty. Images of other names stay. Returns the bytes written: 0 where all was there.
pub fn add(
    directory: &Path,
    images: &[Image],
    blobs: &[Blob],
    source: &dyn Blobs,
    written: &dyn Fn(u64),
) -> Result<u64> {
    match fs_err::read_dir(directory).and_then(|mut entries| entries.next().transpose()) {
        Ok(Some(_)) => add_to(directory, images, blobs, source, written),
        Ok(None) => create(directory, images, blobs, source, written),
        Err(e) if e.kind() == io::ErrorKind::NotFound => create(directory, images, blobs, source, written),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(Error::NotADirectory(directory.to_owned())),
        Err(e) => Err(Error::io("list", directory)(io::Error::from(e.kind()))),
    }
}

/// Makes the layout beside its place and renames it: an empty directory there gives way.
fn create(
    directory: &Path,
    images: &[Image],
    blobs: &[Blob],
    source: &dyn Blobs,
    written: &dyn Fn(u64),
) -> Result<u64> {
    let beside = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".layout-")
        .permissions(Permissions::from_mode(0o777)) // less the umask
        .tempdir_in(beside)
        .map_err(Error::io("write in", beside))?;
    let at = temporary.path();
    fs_err::create_dir_all(at.join("blobs/sha256")).map_err(Error::io("write", directory))?;
    fs_err::write(at.join("oci-layout"), OCI_LAYOUT).map_err(Error::io("write", directory))?;
    fs_err::write(at.join("index.json"), index::render(&[])?).map_err(Error::io("write", directory))?;
    let bytes = add_to(at, images, blobs, source, written)?;
    fs_err::rename(at, directory).map_err(Error::io("write", directory))?;
    let _gone = temporary.keep(); // it has another name now
    Ok(bytes)
}

fn add_to(
    directory: &Path,
    images: &[Image],
    blobs: &[Blob],
    source: &dyn Blobs,
    written: &dyn Fn(u64),
) -> Result<u64> {
    if fs_err::read(directory.join("oci-layout")).is_err() {
        return Err(Error::NotALayout(directory.to_owned()));
    }
    let index_path = directory.join("index.json");
    let there =
        fs_err::read(&index_path).map_err(|e| Error::io("read", &index_path)(io::Error::from(e.kind())))?;
    let index = index::merge(&there, images, &index_path)?;
    let mut bytes = 0;
    for blob in blobs {
        let target = directory.join(blob_name(&blob.digest));
        if fs_err::metadata(&target).is_ok_and(|there| there.len() == blob.size_bytes) {
            continue;
        }
        replace(&target, |file| copy(source, blob, file, &target, written))?;
        bytes += blob.size_bytes;
    }
    if index != there {
        replace(&index_path, |file| file.write_all(&index).map_err(Error::io("write", &index_path)))?;
        bytes += index.len() as u64;
    }
    Ok(bytes)
}

/// Writes a file beside its place and renames it.
pub fn replace(target: &Path, write: impl FnOnce(&mut std::fs::File) -> Result<()>) -> Result<()> {
    let beside = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".rootstrata-")
        .permissions(Permissions::from_mode(0o666)) // less the umask
        .tempfile_in(beside)
        .map_err(Error::io("write in", beside))?;
    write(temporary.as_file_mut())?;
    temporary.persist(target).map_err(|e| Error::io("write", target)(e.error))?;
    Ok(())
}
