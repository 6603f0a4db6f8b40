//! Fetches the layers of snapshots that only a registry has. What is fetched has its digest, and unpacks to the diff_id that was
//! computed when it was recorded, before it is a blob of the store.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, Unpacked, read_exactly};
use crate::model::names::SnapshotRef;
use crate::model::repository::Repository;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::fetch::copy_to_file;
use crate::ops::store_index::update_index;
use crate::registry::{Access, Client, Right};
use crate::store::{LayerUse, Presence, Store};
use crate::threads;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Seek;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The snapshots whose layers are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The snapshots.
    pub snapshots: Vec<SnapshotRef>,
    /// Whether the layers of all stages of their runs are wanted.
    pub with_runs: bool,
}

impl Wanted {
    /// Takes one snapshot.
    pub(crate) fn one(snapshot: &SnapshotRef) -> Self {
        Self {
            snapshots: vec![snapshot.clone()],
            with_runs: false,
        }
    }
}

/// What was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The number of layers.
    pub layers: u64,
    /// The bytes of their blobs.
    pub bytes: u64,
}

/// Fetches the layers that the snapshots have and the store at `store_path` lacks; nothing without such layers. Fails if a registry
/// does not give a layer, or gives another.
pub(crate) fn fetch_layers(
    store_path: &Path,
    wanted: &Wanted,
    (access, jobs): (&Access, NonZeroUsize),
    monitor: &dyn Monitor,
) -> Result<Fetched> {
    let missing = missing_of(store_path, wanted)?;
    let mut clients: HashMap<String, Client> = HashMap::new();
    for (_, repository) in &missing {
        if !clients.contains_key(repository) {
            let parsed = Repository::parse(repository)?;
            let client = Client::open(&parsed, access, Right::Pull)?;
            clients.insert(repository.clone(), client);
        }
    }
    let sizes = missing.iter().map(|(used, _)| used.blob.size_bytes);
    let bytes = sizes.sum();
    let layers = missing.len() as u64;
    if layers == 0 {
        return Ok(Fetched::default());
    }
    let directory = store_path.join("tmp");
    let fetch = |(used, repository): &(LayerUse, String)| {
        fetch(&clients[repository], used, &directory, monitor)
    };
    let phases = Phases::new(monitor);
    let files = phases.run(Phase::Fetch, Some(bytes), || {
        threads::map(jobs, &missing, fetch)
    })?;
    let store = Store::open(store_path)?;
    for ((used, _), file) in missing.iter().zip(&files) {
        store.keep_fetched(file, &used.blob.digest)?;
    }
    update_index(&store)?;
    Ok(Fetched { layers, bytes })
}

/// Returns the layers that only a registry has, each with the repository.
fn missing_of(store_path: &Path, wanted: &Wanted) -> Result<Vec<(LayerUse, String)>> {
    let store = Store::open(store_path)?;
    let mut missing = Vec::new();
    if !store.has_remotes()? {
        return Ok(missing);
    }
    let mut seen = HashSet::new();
    for reference in &wanted.snapshots {
        let snapshot = store.find(reference)?;
        let mut snapshots = vec![snapshot.clone()];
        if wanted.with_runs {
            snapshots.extend(store.snapshots_of_run(&snapshot.series, &snapshot.run)?);
        }
        let layers = snapshots.iter().map(|one| store.layers(one.id));
        for used in layers.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            let (digest, size_bytes) = (used.blob.digest, used.blob.size_bytes);
            if !seen.insert(digest) {
                continue;
            }
            if let Presence::Remote(repository) = store.presence(&digest, size_bytes)? {
                missing.push((used, repository));
            }
        }
    }
    Ok(missing)
}

fn fetch(
    client: &Client,
    used: &LayerUse,
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<File> {
    let LayerUse { layer, blob, .. } = used;
    let path = PathBuf::from(format!("docker://{}@{}", client.repository(), blob.digest));
    let mut input = client.open_blob(&blob.digest, blob.size_bytes)?;
    let mut file = copy_to_file(&mut input, &path, directory, monitor)?;
    file.rewind().map_err(Error::io("read", directory))?;
    let written = Blob {
        input: Box::new(&file),
        path: &path,
        digest: blob.digest,
    };
    let expected = Unpacked {
        diff_id: layer.diff_id,
        most_bytes: layer.tar_bytes,
    };
    read_exactly(written, expected, &mut |_, _| Ok(None))?;
    Ok(file)
}
