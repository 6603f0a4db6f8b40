//! Fetches the blobs of an image that a store lacks, several at once, into files without a name beside the store's own. Nobody
//! waits for the store meanwhile: the files are no part of it before an import takes them.

use crate::error::{Error, Result};
use crate::model::source::ImageRef;
use crate::oci::Blob;
use crate::oci::read::Opened;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::store::Store;
use crate::threads;
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

const BUFFER_BYTES: usize = 256 << 10;

/// Fetches the layers that the store at `store_path` lacks. Fails if the registry does not give them, or gives others than their
/// digests say, and if the disk has no room.
pub(crate) fn fetch_missing(
    store_path: &Path,
    opened: &mut Opened,
    jobs: NonZeroUsize,
    phases: &Phases,
) -> Result<()> {
    let mut missing = missing_in(store_path, opened)?;
    // The largest first, so that no thread is left with one in the end.
    missing.sort_by_key(|blob| std::cmp::Reverse(blob.size_bytes));
    let total = missing.iter().map(|blob| blob.size_bytes).sum();
    let directory = store_path.join("tmp");
    let (source, monitor) = (&*opened, phases.monitor);
    let fetched = phases.run(Phase::Fetch, Some(total), || {
        threads::map(jobs, &missing, |blob| {
            fetch(source, blob, &directory, monitor)
        })
    })?;
    let digests = missing.iter().map(|blob| blob.digest);
    opened.keep_fetched(digests.zip(fetched));
    Ok(())
}

fn missing_in(store_path: &Path, opened: &Opened) -> Result<Vec<Blob>> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for listed in opened.images(&ImageRef::Only)?.images {
        let layers = opened.image_of(listed.manifest)?.layers.into_iter();
        let blobs = layers.map(|layer| layer.blob);
        wanted.extend(blobs.filter(|blob| seen.insert(blob.digest)));
    }
    let store = Store::open_or_create(store_path)?;
    let mut missing = Vec::new();
    for blob in wanted {
        if !store.has_blob(&blob.digest, blob.size_bytes)? {
            missing.push(blob);
        }
    }
    Ok(missing)
}

fn fetch(source: &Opened, blob: &Blob, directory: &Path, monitor: &dyn Monitor) -> Result<File> {
    let mut input = source.open(blob)?;
    copy_to_file(&mut input, source.path(), directory, monitor)
}

/// Copies all bytes to a file without a name in a directory. Fails if `input`, which errors call `path`, cannot be read, and if the
/// file cannot be written.
pub(super) fn copy_to_file(
    input: &mut dyn Read,
    path: &Path,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<File> {
    let failed = |e| Error::io("write in", directory)(e);
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => {
                file.write_all(&buffer[..count]).map_err(failed)?;
                monitor.advance(count as u64);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read", path)(e)),
        }
    }
}
