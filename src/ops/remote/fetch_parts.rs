//! Fetches the parts of layers that hold wanted contents, of layers that only a registry has. A part is never a blob of the
//! store, and the contents count by the hashes alone.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::partial::{PartialBlob, PartialBlobs, frames_of, runs};
use crate::layer::seek::{Place, places};
use crate::model::frame_table::FrameTable;
use crate::model::names::SnapshotRef;
use crate::model::tree::content_place::content_places;
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::fetch_layers::{Clients, Missing, Wanted, keep_whole, missing_of};
use crate::ops::remote::records::layer_record;
use crate::registry::{Access, Client};
use crate::store::Store;
use crate::threads;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The most bytes of one request, all in memory at once.
const MOST_BYTES: u64 = 16 << 20;

/// Fetches what a snapshot has at the paths that `chooses`, from the registries that alone have the layers: the frames with the contents,
/// or the whole layer where the frames are unknown or half of them are wanted. Fails if a registry does not answer, or gives another
/// layer.
pub(crate) fn fetch_parts(
    store_path: &Path,
    snapshot: &SnapshotRef,
    chooses: &dyn Fn(&EntryPath) -> bool,
    (access, jobs): (&Access, NonZeroUsize),
    monitor: &dyn Monitor,
) -> Result<PartialBlobs> {
    let wanted = wanted_of(store_path, snapshot, chooses)?;
    if wanted.is_empty() {
        return Ok(PartialBlobs::default());
    }
    let clients = Clients::open(wanted.iter().map(|one| &one.layer), access)?;
    let planned = threads::map(jobs, &wanted, |one| {
        frames_to_fetch(clients.of(&one.layer), one)
    })?;
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (one, planned) in wanted.into_iter().zip(planned) {
        match planned {
            Some((table, frames)) => parts.push((one.layer, table, frames)),
            None => whole.push(one.layer),
        }
    }
    keep_whole(store_path, &whole, (&clients, jobs), monitor)?;
    let directory = store_path.join("tmp");
    let sizes = parts.iter().map(|(_, table, frames)| {
        let runs = runs(table, frames, u64::MAX).into_iter();
        runs.map(|run| run.end - run.start).sum::<u64>()
    });
    let total = sizes.sum();
    let fetched = Phases::new(monitor).run(Phase::Fetch, Some(total), || {
        threads::map(jobs, &parts, |(layer, table, frames)| {
            let fetching = Fetching {
                client: clients.of(layer),
                directory: &directory,
                monitor,
            };
            fetching.part(layer, table, frames)
        })
    })?;
    Ok(PartialBlobs::new(fetched))
}

/// A layer with wanted contents.
struct WantedLayer {
    layer: Missing,
    /// The contents; `None` where nothing tells where they are.
    places: Option<Vec<Place>>,
}

/// Returns the layers with chosen contents that only a registry has.
fn wanted_of(
    store_path: &Path,
    snapshot: &SnapshotRef,
    chooses: &dyn Fn(&EntryPath) -> bool,
) -> Result<Vec<WantedLayer>> {
    let missing = missing_of(store_path, &Wanted::one(snapshot))?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let store = Store::open(store_path)?;
    let layers = store.layers(store.find(snapshot)?.id)?;
    let items: Vec<Vec<LayerItem>> = layers
        .iter()
        .map(|one| store.items(one.layer.id))
        .collect::<Result<_>>()?;
    drop(store);
    let mut overlay = Overlay::new();
    overlay.apply_all(items.iter().map(|layer| layer.iter().cloned()));
    let mut names: Vec<HashSet<EntryPath>> = layers.iter().map(|_| HashSet::new()).collect();
    let contents = content_places(&overlay.into_tree(), &items, |_, entry| {
        entry.size_bytes() > 0 && chooses(&entry.path)
    });
    for (_, content) in contents {
        names[content.layer].insert(content.name);
    }
    let mut wanted = Vec::new();
    for layer in missing {
        let at = layers
            .iter()
            .position(|one| one.layer.id == layer.used.layer.id);
        let Some(at) = at.filter(|at| !names[*at].is_empty()) else {
            continue;
        };
        let (found, tar_bytes) = places(&items[at], |name| names[at].contains(name))?;
        let is_known = layer.policy.is_some()
            && tar_bytes == layer.used.layer.tar_bytes
            && found.len() == names[at].len();
        wanted.push(WantedLayer {
            layer,
            places: is_known.then_some(found),
        });
    }
    Ok(wanted)
}

/// Returns the frames to fetch of a layer by the record; `None` where the whole layer is to be fetched.
fn frames_to_fetch(
    client: &Client,
    wanted: &WantedLayer,
) -> Result<Option<(FrameTable, BTreeSet<usize>)>> {
    let Some(places) = &wanted.places else {
        return Ok(None);
    };
    let used = &wanted.layer.used;
    let record = layer_record(client, &used.layer.key, &used.blob.media_type)?;
    let record = record.filter(|record| record.blob.digest == used.blob.digest);
    let table = record.and_then(|record| record.frames);
    let Some(table) = table.filter(|table| table.fits(used.layer.tar_bytes)) else {
        return Ok(None);
    };
    let frames = frames_of(&table, places);
    let is_part = frames.len() * 2 < table.len();
    Ok(is_part.then_some((table, frames)))
}

struct Fetching<'f> {
    client: &'f Client,
    directory: &'f Path,
    monitor: &'f dyn Monitor,
}

impl Fetching<'_> {
    /// Fetches frames of a blob to the offsets in a file without a name, which takes no more room than the frames.
    fn part(
        &self,
        layer: &Missing,
        table: &FrameTable,
        frames: &BTreeSet<usize>,
    ) -> Result<PartialBlob> {
        let failed = |e| Error::io("write in", self.directory)(e);
        let blob = &layer.used.blob;
        let file: File = tempfile::tempfile_in(self.directory).map_err(failed)?;
        file.set_len(blob.size_bytes).map_err(failed)?;
        for run in runs(table, frames, MOST_BYTES) {
            let bytes = self.client.read_range(&blob.digest, run.clone())?;
            file.write_all_at(&bytes, run.start).map_err(failed)?;
            self.monitor.advance(bytes.len() as u64);
        }
        let path = PathBuf::from(format!("docker://{}@{}", layer.repository, blob.digest));
        Ok(PartialBlob {
            blob: BlobSource::new(file, path, blob.digest, blob.size_bytes),
            table: table.clone(),
            frames: frames.clone(),
        })
    }
}
