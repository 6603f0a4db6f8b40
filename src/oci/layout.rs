//! An image layout as a directory, the `oci` of containers-transports(5) (image-spec, image-layout.md).
//!
//! Blobs come first, each by rename and durable; the index follows the last blob. A new layout is made under another name,
//! `.rootstrata-NAME`, where the next attempt continues an interrupted attempt.
//!
//! Any number of processes may add to a layout at once. Blobs never collide, since digests are names. The index is read and
//! replaced, and a new layout is made, under the lock of the directory.

use super::archive::copy;
use super::index::{self, Image};
use super::{Blob, Blobs, blob_name};
use crate::error::{Error, Result};
use crate::lock::{self, Hold};
use crate::model::digest::Digest;
use crate::model::names::{EMPTY_INDEX, OCI_LAYOUT};
use crate::output::{self, NewFile, Out};
use sha2::{Digest as _, Sha256};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// The patience with another process that changes the index.
const PATIENCE: Duration = Duration::from_secs(30);
/// The patience with another process that makes the same layout, of images of any size.
const PATIENCE_WITH_MAKER: Duration = Duration::from_secs(600);
/// How often another process may make, move or remove a layout meanwhile.
const MOST_ATTEMPTS: usize = 16;
/// The number of blobs synced side by side.
const AT_ONCE: usize = 32;
const BUFFER_BYTES: usize = 256 << 10;
/// The longest manifest (image-spec, as in registries).
const MOST_MANIFEST_BYTES: u64 = 4 << 20;

/// The additions to a layout.
pub struct Added<'a> {
    /// The images, by name.
    pub images: &'a [Image],
    /// The blobs of the images.
    pub blobs: &'a [Blob],
    /// The source of the blobs.
    pub source: &'a dyn Blobs,
    /// Called with the bytes of each blob.
    pub written: &'a dyn Fn(u64),
    /// Called with notes for the user.
    pub note: &'a dyn Fn(&str),
}

/// Adds images to the layout in `directory`, missing, empty or a layout. Images of other names stay. Returns the bytes
/// written: 0 if nothing was missing.
///
/// Fails if a blob cannot be read or written, if the index is malformed, or if other processes keep changing the layout.
pub fn add(directory: &Path, added: &Added) -> Result<u64> {
    let directory = output::name_of(directory)?;
    for _ in 0..MOST_ATTEMPTS {
        let done = if check(&directory)? {
            add_to(&directory, added)?
        } else {
            create(&directory, added)?
        };
        if let Some(bytes) = done {
            return Ok(bytes);
        }
    }
    Err(Error::Locked(directory))
}

/// Tells whether `directory` exists. Fails if the directory is neither empty nor a layout, whole or begun; if the index
/// cannot be read; or if nothing can be written.
pub fn check(directory: &Path) -> Result<bool> {
    let mut others = false;
    match std::fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return output::check_writable(&output::name_of(directory)?).map(|()| false);
        }
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADirectory(directory.to_owned()));
        }
        entries => {
            for entry in entries.map_err(Error::io("list", directory))? {
                let name = entry.map_err(Error::io("list", directory))?.file_name();
                let name = name.to_string_lossy();
                others |= !["blobs", "index.json", "oci-layout"].contains(&&*name)
                    && !name.starts_with(output::UNFINISHED);
            }
        }
    }
    if others && !directory.join("oci-layout").is_file() {
        return Err(Error::NotALayout(directory.to_owned()));
    }
    merged_index(directory, &[], &|_| ())?;
    output::check_writable(&directory.join("index.json")).map(|()| true)
}

/// Returns the index of the layout in `directory` with `images` added.
fn merged_index(directory: &Path, images: &[Image], note: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let path = directory.join("index.json");
    let there = match std::fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => EMPTY_INDEX.to_vec(),
        there => there.map_err(Error::io("read", &path))?,
    };
    if index::is_cut(&there) {
        let path = crate::error::show(&path);
        note(&format!(
            "{path} was cut short and is made anew: it no longer names what it named before"
        ));
        return index::merge(EMPTY_INDEX, images, directory);
    }
    index::merge(&there, images, &path)
}

/// Adds to an existing layout; `None` if the layout is gone.
fn add_to(directory: &Path, added: &Added) -> Result<Option<u64>> {
    let unfinished = output::unfinished_directory(directory);
    if unfinished.is_dir()
        && let Ok(Some(_lock)) = locked(&unfinished, Duration::ZERO)
    {
        let _ = std::fs::remove_dir_all(&unfinished); // another process has finished the layout
    }
    let bytes = fill(directory, added)?;
    let Some(_lock) = locked(directory, PATIENCE)? else {
        return Ok(None);
    };
    Ok(Some(bytes + name_images(directory, added)?))
}

/// Makes the layout under an unfinished name and renames; `None` if another process was first. Further processes wait.
fn create(directory: &Path, added: &Added) -> Result<Option<u64>> {
    let unfinished = output::unfinished_directory(directory);
    let beside = output::beside(directory);
    match std::fs::DirBuilder::new().mode(0o777).create(&unfinished) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(Error::io("write in", beside))?,
    }
    let Some(_lock) = locked(&unfinished, PATIENCE_WITH_MAKER)? else {
        return Ok(None);
    };
    if std::fs::symlink_metadata(directory).is_ok() {
        remove(&unfinished)?;
        return Ok(None);
    }
    keep_only(&unfinished, added.blobs)?;
    let made = fill(&unfinished, added)
        .and_then(|bytes| Ok(bytes + name_images(&unfinished, added)?))
        .and_then(|bytes| rename(&unfinished, directory).map(|renamed| renamed.then_some(bytes)));
    match made {
        Ok(Some(_)) => output::sync_directory(beside)?,
        Ok(None) => remove(&unfinished)?,
        Err(_) => drop(remove(&unfinished)),
    }
    made
}

/// Returns whether `target` was free.
fn rename(unfinished: &Path, target: &Path) -> Result<bool> {
    match std::fs::rename(unfinished, target) {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(false)
        }
        renamed => renamed.map(|()| true).map_err(Error::io("write", target)),
    }
}

fn remove(directory: &Path) -> Result<()> {
    std::fs::remove_dir_all(directory).map_err(Error::io("remove", directory))
}

/// Waits for the lock of a directory. `None` if the name is gone or leads to another directory by then. Filesystems without
/// locks of directories (NFS) do without.
fn locked(directory: &Path, patience: Duration) -> Result<Option<File>> {
    let open = || match File::open(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).map_err(Error::io("open", directory)),
    };
    let Some(opened) = open()? else {
        return Ok(None);
    };
    let lock = match lock::wait(opened, Hold::Alone, directory, directory, patience) {
        Err(Error::Io { source, .. }) if has_no_locks(&source) => open()?,
        lock => Some(lock?),
    };
    let Some(lock) = lock else { return Ok(None) };
    let own = lock.metadata().map_err(Error::io("open", directory))?;
    let is_same = |there: std::fs::Metadata| (there.dev(), there.ino()) == (own.dev(), own.ino());
    Ok(std::fs::metadata(directory)
        .is_ok_and(is_same)
        .then_some(lock))
}

fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [
        Errno::BADF,
        Errno::NOLCK,
        Errno::OPNOTSUPP,
        Errno::NOSYS,
        Errno::INVAL,
    ];
    missing
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Removes all blobs but `blobs` from an unfinished layout.
fn keep_only(unfinished: &Path, blobs: &[Blob]) -> Result<()> {
    let index = unfinished.join("index.json");
    match std::fs::remove_file(&index) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(Error::io("remove", &index))?,
    }
    let kept: HashSet<String> = blobs.iter().map(|blob| blob.digest.hex()).collect();
    let there = std::fs::read_dir(unfinished.join("blobs/sha256"))
        .into_iter()
        .flatten()
        .flatten();
    for entry in there.filter(|entry| !kept.contains(&*entry.file_name().to_string_lossy())) {
        std::fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
    }
    Ok(())
}

/// Adds blobs, durable.
fn fill(directory: &Path, added: &Added) -> Result<u64> {
    let of_blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&of_blobs).map_err(Error::io("create", &of_blobs))?;
    output::remove_all_dead(&of_blobs);
    output::remove_all_dead(directory);
    let named = OnceCell::new();
    let (mut bytes, mut unnamed) = (0, Vec::new());
    for blob in added.blobs {
        let target = directory.join(blob_name(&blob.digest));
        if is_there(&target, blob, || {
            named
                .get_or_init(|| named_blobs(directory))
                .contains(&blob.digest)
        }) {
            continue;
        }
        let mut file = NewFile::create(&target)?;
        copy(added.source, blob, &mut file, &target, added.written)?;
        file.start_sync().map_err(Error::io("write", &target))?;
        unnamed.push(file);
        bytes += blob.size_bytes;
        if unnamed.len() == AT_ONCE {
            unnamed.drain(..).try_for_each(NewFile::name)?;
        }
    }
    unnamed.into_iter().try_for_each(NewFile::name)?;
    [of_blobs, directory.join("blobs")]
        .iter()
        .try_for_each(|directory| output::sync_directory(directory))?;
    Ok(bytes)
}

/// Tells whether a blob is in the layout. A blob of a listed image needs the length and no hole, as a power cut leaves;
/// another blob, left by an interrupted attempt or another tool, is read.
fn is_there(target: &Path, blob: &Blob, is_named: impl FnOnce() -> bool) -> bool {
    let is_whole = || -> io::Result<bool> {
        let there = std::fs::metadata(target)?;
        if !there.is_file() || there.len() != blob.size_bytes {
            return Ok(false);
        }
        let mut file = File::open(target)?;
        if !output::has_no_hole(&file, blob.size_bytes)? {
            return Ok(false);
        }
        if is_named() {
            return Ok(true);
        }
        Ok(sha256(&mut file)? == blob.digest && file.sync_all().is_ok())
    };
    is_whole().unwrap_or(false) // an unreadable blob is written again
}

fn sha256(file: &mut File) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Returns the blobs of the images of a layout, as far as index and manifests can be read: the index follows the blobs.
fn named_blobs(directory: &Path) -> HashSet<Digest> {
    let index = std::fs::read(directory.join("index.json")).unwrap_or_default();
    let mut named = HashSet::new();
    for manifest in digests_in(&index) {
        let path = directory.join(blob_name(&manifest));
        let is_small =
            std::fs::metadata(&path).is_ok_and(|there| there.len() <= MOST_MANIFEST_BYTES);
        let bytes = if is_small {
            std::fs::read(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        if Digest(Sha256::digest(&bytes).into()) == manifest {
            named.insert(manifest);
            named.extend(digests_in(&bytes));
        }
    }
    named
}

/// Returns the SHA-256 digests in a JSON text.
fn digests_in(json: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(json);
    let named = text
        .split("sha256:")
        .skip(1)
        .filter_map(|rest| Digest::parse(&format!("sha256:{}", rest.get(..64)?)));
    named.collect()
}

/// Adds images to the index, once all blobs are durable.
fn name_images(directory: &Path, added: &Added) -> Result<u64> {
    let index = merged_index(directory, added.images, added.note)?;
    let mut bytes = 0;
    for (name, content) in [("oci-layout", OCI_LAYOUT), ("index.json", index.as_slice())] {
        let target = directory.join(name);
        let there = std::fs::read(&target).unwrap_or_default();
        if there == content || name == "oci-layout" && !index::is_cut(&there) {
            continue;
        }
        output::replace(&target, |file| {
            file.file()
                .write_all(content)
                .map_err(Error::io("write", &target))
        })?;
        bytes += content.len() as u64;
    }
    output::sync_directory(directory)?;
    Ok(bytes)
}
