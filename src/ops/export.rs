//! Writes recorded images where others can read them. Reads blobs of the store and nothing else: what a layer holds
//! was compressed when it was recorded.

use super::monitor::{Monitor, Phase, Phases};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::names::{SnapshotRef, image_name};
use crate::model::origin::Origin;
use crate::oci::archive::Archive;
use crate::oci::index::{self, Image};
use crate::oci::layout::Added;
use crate::oci::{self, layout};
use crate::store::{self, BlobRef, Listed, Snapshot, Store};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The form of an export (containers-transports(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One tar file.
    #[default]
    OciArchive,
    /// A directory.
    OciDir,
}

/// What is exported.
#[derive(Clone, Debug)]
pub struct Request {
    /// The snapshot.
    pub snapshot: SnapshotRef,
    /// Where to.
    pub path: PathBuf,
    /// In which form.
    pub format: Format,
    /// Also the other stages of its run, each as an image of its own.
    pub all_stages: bool,
    /// Leave out the blobs that this snapshot has.
    pub since: Option<SnapshotRef>,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where to.
    pub path: PathBuf,
    /// The snapshot that was asked for.
    pub snapshot_id: i64,
    /// Its image.
    pub manifest_digest: Digest,
    /// All images, by name.
    pub images: Vec<(String, Digest)>,
    /// Bytes written: 0 where the target held all of it already.
    pub bytes_written: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Finds out what can be known before the snapshot is recorded that is to be exported: whether the target can be
/// written, and which snapshot `since` means now. Returns the request with that one's number.
pub fn prepare(
    store_path: &Path,
    since: Option<&SnapshotRef>,
    path: &Path,
    format: Format,
) -> Result<Option<SnapshotRef>> {
    match format {
        Format::OciArchive => check_file(path)?,
        Format::OciDir => drop(layout::check(path)?),
    }
    since.map(|since| Ok(SnapshotRef::Id(Store::open(store_path)?.find(since)?.id))).transpose()
}

/// Exports from the store at `store_path`.
pub fn export(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    let store = Store::open(store_path)?;
    let chosen = store.find(&request.snapshot)?;
    let snapshots = if request.all_stages { stages_of(&store, &chosen)? } else { vec![chosen.clone()] };
    let images: Vec<Image> =
        snapshots.iter().map(|snapshot| image_of(&store, snapshot)).collect::<Result<_>>()?;
    let blobs = blobs_of(&store, &snapshots, request.since.as_ref())?;
    let source = store.into_blobs(blobs.iter().map(|blob| blob.digest));
    let phases = Phases::new(monitor);
    let bytes_written = match request.format {
        Format::OciArchive => write_archive(&source, &images, &blobs, &request.path, &phases)?,
        Format::OciDir => phases.run(Phase::Export, None, || {
            let written = |bytes| monitor.advance(bytes);
            let added = Added { images: &images, blobs: &blobs, source: &source, written: &written };
            layout::add(&request.path, &added)
        })?,
    };
    Ok(Outcome {
        path: request.path.clone(),
        snapshot_id: chosen.id,
        manifest_digest: chosen.manifest.digest,
        images: images
            .iter()
            .map(|image| (image.name.clone().unwrap_or_default(), image.manifest.digest))
            .collect(),
        bytes_written,
        seconds: phases.spent(),
    })
}

/// The newest snapshot of each stage of the run, the earliest stage first; of its own stage the chosen one.
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

fn image_of(store: &Store, snapshot: &Snapshot) -> Result<Image> {
    let (series, stage) = (snapshot.series.clone(), snapshot.stage.clone());
    let name = Some(image_name(&series, &stage));
    let origin = Origin { series, stage, policy: store.policy(&snapshot.policy_key)?, recorded: None };
    Ok(Image { manifest: blob(snapshot.manifest), name, origin: Some(origin) })
}

fn blob(blob: BlobRef) -> oci::Blob {
    oci::Blob { digest: blob.digest, size_bytes: blob.size_bytes }
}

/// What the images consist of: each blob once, manifests and configurations first.
fn blobs_of(store: &Store, snapshots: &[Snapshot], since: Option<&SnapshotRef>) -> Result<Vec<oci::Blob>> {
    let parts = |snapshot: &Snapshot| -> Result<(Vec<oci::Blob>, Vec<oci::Blob>)> {
        let layers = store.layers(snapshot.id)?;
        let layers =
            layers.into_iter().map(|l| oci::Blob { digest: l.blob.digest, size_bytes: l.blob.size_bytes });
        Ok((vec![blob(snapshot.manifest), blob(snapshot.config)], layers.collect()))
    };
    let mut seen: HashSet<Digest> = HashSet::new();
    if let Some(reference) = since {
        let (small, layers) = parts(&store.find(reference)?)?;
        seen.extend(small.iter().chain(&layers).map(|blob| blob.digest));
    }
    let (mut all, mut all_layers) = (Vec::new(), Vec::new());
    for snapshot in snapshots {
        let (small, layers) = parts(snapshot)?;
        all.extend(small.into_iter().filter(|blob| seen.insert(blob.digest)));
        all_layers.extend(layers.into_iter().filter(|blob| seen.insert(blob.digest)));
    }
    all.extend(all_layers);
    Ok(all)
}

fn write_archive(
    source: &store::Blobs,
    images: &[Image],
    blobs: &[oci::Blob],
    path: &Path,
    phases: &Phases,
) -> Result<u64> {
    refuse_other_than_file(path)?;
    let archive = Archive::new(&index::render(images)?, blobs)?;
    if archive.is_at(path) {
        return Ok(0);
    }
    let total = archive.size_bytes();
    phases.run(Phase::Export, Some(total), || {
        let written = |bytes| phases.monitor.advance(bytes);
        layout::replace(path, |file| archive.write(source, file, path, &written))
    })?;
    Ok(total)
}

/// Fails where no file could be put at `path`: nothing but a file is replaced.
pub fn check_file(path: &Path) -> Result<()> {
    refuse_other_than_file(path)?;
    layout::check_writable(path)
}

fn refuse_other_than_file(path: &Path) -> Result<()> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Error::IsADirectory(path.to_owned()));
    }
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(Error::IsADirectory(path.to_owned())),
        Ok(there) if !there.is_file() => Err(Error::NotAFile(path.to_owned())),
        _ => Ok(()),
    }
}

/// Writes the store's own index.json, by which engines read it in place.
pub(super) fn update_index(store: &Store) -> Result<()> {
    store.update_index(render_index)
}

/// Returns the bytes of the store's index.json.
pub(super) fn render_index(listed: &[Listed]) -> Result<Vec<u8>> {
    let mut taken = HashSet::new();
    let image = |Listed { manifest, origin, is_newest }: &Listed| {
        let name = is_newest.then(|| image_name(&origin.series, &origin.stage));
        let name = name.filter(|name| taken.insert(name.clone()));
        Image { manifest: blob(*manifest), name, origin: Some(origin.clone()) }
    };
    index::render(&listed.iter().map(image).collect::<Vec<_>>())
}

impl oci::Blobs for store::Blobs {
    fn open(&self, blob: &oci::Blob) -> Result<File> {
        store::Blobs::open(self, &blob.digest, blob.size_bytes)
    }
}
