//! Fetches the layers of snapshots that only a registry has. What is fetched has its digest, and unpacks to the diff_id that was
//! computed when it was recorded, before it is a blob of the store.

use crate::error::{Error, Result};
use crate::layer::read::{LayerItems, Threads, Unpacked};
use crate::model::digest::PolicyKey;
use crate::model::names::SnapshotRef;
use crate::model::plan::items_form::key_of;
use crate::model::policy::Policy;
use crate::model::repository::Repository;
use crate::model::tree::overlay::LayerItem;
use crate::ops::copied_layer::{CopiedLayer, Original, at_once, threads_for};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::store_index::update_index;
use crate::registry::{Access, Client, Right};
use crate::store::{Layer, LayerUse, Presence, Store};
use crate::threads;
use std::collections::{HashMap, HashSet};
use std::fs::File;
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
    let clients = Clients::open(missing.iter(), access)?;
    keep_whole(store_path, &missing, (&clients, jobs), monitor)
}

/// The clients of the repositories with missing layers.
pub(super) struct Clients(HashMap<String, Client>);

impl Clients {
    /// Opens a client for each repository, without a request. Fails as [`Client::open`] does.
    pub(super) fn open<'m>(
        missing: impl Iterator<Item = &'m Missing>,
        access: &Access,
    ) -> Result<Self> {
        let mut clients: HashMap<String, Client> = HashMap::new();
        for Missing { repository, .. } in missing {
            if !clients.contains_key(repository) {
                let parsed = Repository::parse(repository)?;
                let client = Client::open(&parsed, access, Right::Pull)?;
                clients.insert(repository.clone(), client);
            }
        }
        Ok(Self(clients))
    }

    /// Returns the client of a layer that was there when the clients were opened.
    pub(super) fn of(&self, missing: &Missing) -> &Client {
        &self.0[&missing.repository]
    }
}

/// Fetches layers into the store, several at once. Fails as [`fetch_layers`] does.
pub(super) fn keep_whole(
    store_path: &Path,
    missing: &[Missing],
    (clients, jobs): (&Clients, NonZeroUsize),
    monitor: &dyn Monitor,
) -> Result<Fetched> {
    let sizes = missing.iter().map(|one| one.used.blob.size_bytes);
    let bytes = sizes.fold(0, u64::saturating_add);
    let layers = missing.len() as u64;
    if layers == 0 {
        return Ok(Fetched::default());
    }
    let directory = store_path.join("tmp");
    let fetch = |one: &Missing| {
        let threads = threads_for(one.used.blob.size_bytes, bytes);
        fetch(clients.of(one), (one, threads), &directory, monitor)
    };
    let phases = Phases::new(monitor);
    let files = phases.run(Phase::Fetch, Some(bytes), || {
        threads::map(at_once(jobs), missing, fetch)
    })?;
    let store = Store::open(store_path)?;
    for (one, file) in missing.iter().zip(&files) {
        store.keep_fetched(file, &one.used.blob.digest)?;
    }
    update_index(&store)?;
    Ok(Fetched { layers, bytes })
}

/// A layer that only a registry has.
pub(super) struct Missing {
    pub used: LayerUse,
    /// The policy in the key of a layer of rootstrata.
    pub policy: Option<PolicyKey>,
    pub repository: String,
}

/// Returns the layers that only a registry has. Fails if the store has no such snapshot, or a row is not as recorded.
pub(super) fn missing_of(store_path: &Path, wanted: &Wanted) -> Result<Vec<Missing>> {
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
            if let Presence::Remote(remote) = store.presence(&digest, size_bytes)? {
                let policy = store.policy_of_layer(used.layer.id)?;
                let is_ours = Policy::from_canonical(&store.policy(&policy)?).is_some();
                missing.push(Missing {
                    used,
                    policy: is_ours.then_some(policy),
                    repository: remote.repository,
                });
            }
        }
    }
    Ok(missing)
}

fn fetch(
    client: &Client,
    (missing, threads): (&Missing, Threads),
    directory: &Path,
    monitor: &dyn Monitor,
) -> Result<File> {
    let LayerUse { layer, blob, .. } = &missing.used;
    let path = PathBuf::from(format!("docker://{}@{}", client.repository(), blob.digest));
    let original = Original {
        input: Box::new(client.open_blob(&blob.digest, blob.size_bytes)?),
        path: &path,
        digest: blob.digest,
        expected: Unpacked {
            diff_id: layer.diff_id,
            most_bytes: layer.tar_bytes,
        },
        threads,
    };
    let copied = CopiedLayer::read(original, directory, &mut |_, _| Ok(None), monitor)?;
    if let Some(policy) = &missing.policy {
        check_key(&copied.items, &missing.used.layer, policy, &path)?;
    }
    Ok(copied.file)
}

/// Fails with [`Error::Damaged`] unless the items of a tar give the key of the layer, which a record alone may have named.
fn check_key(items: &LayerItems, layer: &Layer, policy: &PolicyKey, path: &Path) -> Result<()> {
    let items = items.items.iter().filter_map(LayerItem::as_item);
    if key_of(policy, items) == layer.key {
        return Ok(());
    }
    let what = format!("it is not the layer {} of its record", layer.key);
    Err(Error::damaged(path, what))
}
