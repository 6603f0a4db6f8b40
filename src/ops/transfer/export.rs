//! Writes recorded images for others to read. Reads blobs of the store and nothing else: layers were compressed when
//! recorded.

use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::names::SnapshotRef;
use crate::oci::archive::Archive;
use crate::oci::index;
use crate::oci::layout::Added;
use crate::oci::{self, layout};
use crate::ops::monitor::{Monitor, Phase, Phases};
pub use crate::ops::transfer::image_blobs::ExportedImage;
use crate::ops::transfer::image_blobs::{Images, Wanted};
use crate::output::{self, Place, Stream};
use crate::store;
use crate::store::Snapshot;
use crate::store::Store;
use std::fs::File;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The form of an export (containers-transports(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A tar file.
    #[default]
    OciArchive,
    /// A directory.
    OciDir,
}

/// The images to export, and the target.
#[derive(Clone, Debug)]
pub struct Request {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// Where to.
    pub path: PathBuf,
    /// An open file for the archive, written from first to last; then the path only names the file.
    pub stream: Option<Arc<File>>,
    /// The form of the target.
    pub format: Format,
    /// Also export the other stages of the run, each as an image.
    pub all_stages: bool,
    /// Leave out the blobs of this snapshot's image.
    pub since: Option<SnapshotRef>,
    /// Join layers of an image with more.
    pub most_layers: Option<NonZeroUsize>,
    /// The number of threads that join layers.
    pub threads: NonZeroUsize,
}

/// The exported images.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where to.
    pub path: PathBuf,
    /// The requested snapshot.
    pub snapshot_id: i64,
    /// The image of the requested snapshot.
    pub manifest_digest: Digest,
    /// All images.
    pub images: Vec<ExportedImage>,
    /// Bytes written: 0 if the target was up to date.
    pub bytes_written: u64,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Checks an export before the snapshot is recorded: whether the target can be written, and which snapshot `since`
/// means now. Returns the request's `since` with the snapshot's number. Fails if the target cannot be written, and
/// with [`Error::UnknownSnapshot`] if `since` means no snapshot.
pub fn prepare(store_path: &Path, request: &Request) -> Result<Option<SnapshotRef>> {
    check(store_path, request)?;
    let since = request.since.as_ref();
    since
        .map(|since| Ok(SnapshotRef::Id(Store::open(store_path)?.find(since)?.id)))
        .transpose()
}

/// Fails if nothing could be written.
fn check(store_path: &Path, request: &Request) -> Result<()> {
    match (request.format, &request.stream) {
        (Format::OciArchive, Some(stream)) => refuse_terminal(stream, &request.path),
        (Format::OciArchive, None) => check_file(store_path, &request.path),
        (Format::OciDir, _) => {
            refuse_store(store_path, &request.path)?;
            layout::check(&request.path).map(drop)
        }
    }
}

/// Exports from the store at `store_path`. Fails with [`Error::UnknownSnapshot`] without such a snapshot, with
/// [`Error::Damaged`] if a blob is missing or damaged, and if the target cannot be written.
pub fn export(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let mut store = Store::open(store_path)?;
    let chosen = store.find(&request.snapshot)?;
    let is_stream = request.stream.is_some() && request.format == Format::OciArchive;
    if !is_stream {
        refuse_store(store_path, &request.path)?;
    }
    let snapshots = if request.all_stages {
        stages_of(&store, &chosen)?
    } else {
        vec![chosen.clone()]
    };
    let phases = Phases::new(monitor);
    let wanted = Wanted {
        snapshots: &snapshots,
        since: request.since.as_ref(),
        most_layers: request.most_layers,
        threads: request.threads,
    };
    let images = Images::of(&mut store, &wanted, &phases)?;
    let source = images.source(store);
    let bytes_written = match request.format {
        Format::OciArchive => {
            let archive = Archive::new(&index::render(&images.images)?, &images.blobs)?;
            write_archive(&archive, &source, request, &phases)?
        }
        Format::OciDir => phases.run(Phase::Export, None, || {
            let added = Added {
                images: &images.images,
                blobs: &images.blobs,
                source: &source,
                written: &|bytes| monitor.advance(bytes),
                note: &|text| monitor.note(text),
            };
            layout::add(&request.path, &added)
        })?,
    };
    let own = snapshots.iter().position(|one| one.id == chosen.id);
    let exported = images.exported();
    Ok(Outcome {
        path: request.path.clone(),
        snapshot_id: chosen.id,
        manifest_digest: exported[own.unwrap_or_default()].manifest_digest,
        images: exported,
        bytes_written,
        seconds: phases.spent(),
    })
}

/// Returns the newest snapshot of each stage of the run, the earliest stage first; for the chosen stage the chosen
/// snapshot.
fn stages_of(store: &Store, chosen: &Snapshot) -> Result<Vec<Snapshot>> {
    let mut stages: Vec<Snapshot> = vec![chosen.clone()];
    for snapshot in store.snapshots_of_run(&chosen.series, &chosen.run)? {
        if !stages.iter().any(|known| known.stage == snapshot.stage) {
            stages.push(snapshot);
        }
    }
    stages.sort_by_key(|snapshot| snapshot.id);
    Ok(stages)
}

/// Returns the bytes written: 0 if a file had the bytes already.
fn write_archive(
    archive: &Archive,
    source: &dyn oci::Blobs,
    request: &Request,
    phases: &Phases,
) -> Result<u64> {
    let path = &request.path;
    let place = match &request.stream {
        Some(_) => Place::Stream,
        None => output::find(path)?,
    };
    let total = archive.size_bytes();
    let written = |bytes| phases.monitor.advance(bytes);
    match place {
        Place::Name(target) if archive.is_at(&target) => sync_again(&target).map(|()| 0),
        Place::Name(target) => phases.run(Phase::Export, Some(total), || {
            output::replace(&target, |file| archive.write(source, file, path, &written))
                .map(|()| total)
        }),
        Place::Stream => {
            let stream = open_stream(request)?;
            phases.run(Phase::Export, Some(total), || {
                stream_archive(archive, source, stream, path, &written).map(|()| total)
            })
        }
    }
}

/// Makes a file durable that an export has written before, and cleans up after exports killed.
fn sync_again(target: &Path) -> Result<()> {
    output::remove_dead(target);
    output::sync_directory(output::beside(target))
}

/// Opens the target written from first to last.
fn open_stream(request: &Request) -> Result<Stream> {
    let path = &request.path;
    let file = match &request.stream {
        Some(stream) => stream.try_clone().map_err(Error::io("open", path))?,
        None => output::open(path)?,
    };
    refuse_terminal(&file, path)?;
    Ok(Stream(file))
}

fn stream_archive(
    archive: &Archive,
    source: &dyn oci::Blobs,
    mut stream: Stream,
    path: &Path,
    written: &dyn Fn(u64),
) -> Result<()> {
    archive.write(source, &mut stream, path, written)?;
    stream.finish().map_err(Error::io("write", path))
}

/// Fails if no file can be written to `path`: a directory, a path in a store, or a directory that takes no files. A
/// FIFO or a device is not opened.
pub(crate) fn check_file(store_path: &Path, path: &Path) -> Result<()> {
    match output::find(path)? {
        Place::Stream => Ok(()),
        Place::Name(target) => {
            refuse_store(store_path, path)?;
            output::check_writable(&target)
        }
    }
}

/// Nobody wants an archive on the screen.
fn refuse_terminal(file: &File, path: &Path) -> Result<()> {
    if file.is_terminal() {
        Err(Error::Terminal(path.to_owned()))
    } else {
        Ok(())
    }
}

/// Nothing but the store writes in a store. `path` need not be there yet.
fn refuse_store(store_path: &Path, path: &Path) -> Result<()> {
    let name = output::name_of(path)?;
    let place = if name.is_dir() {
        &name
    } else {
        output::beside(&name)
    };
    match store::is_in_store(place, store_path) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::InsideStore(path.to_owned())),
        Err(e) => Err(Error::io("open", place)(e)),
    }
}
