//! Records an image of a registry by the registry's records: rows now, blobs when wanted.

use crate::error::{Error, Result};
use crate::layer::read::{Threads, Unpacked, read_exactly};
use crate::model::digest::PolicyKey;
use crate::model::packages::owners::Installed;
use crate::model::packages::version::Manager;
use crate::model::plan::items_form::key_of;
use crate::model::policy::Policy;
use crate::model::repository::ImageName;
use crate::model::source::ImageRef;
use crate::model::tree::content_bytes;
use crate::model::tree::overlay::LayerItem;
use crate::oci::Blob;
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::remote::image_records::{RecordReader, RecordedLayer, Said, read_packages};
use crate::ops::remote::image_source::{RegistryImage, open_registry};
use crate::ops::root_view::packages::RootPackages;
use crate::ops::store_index::update_index;
use crate::ops::transfer::found_image::{Finder, Found, bad_image};
use crate::ops::transfer::import::{Outcome, Request, check_names, listed};
use crate::ops::transfer::record_image::{Content, Imported, Purpose, known_image, record};
use crate::ops::transfer::taken_layer::{TakenLayer, TakenLayers, native};
use crate::store::{RemoteBlob, Store};
use crate::threads;
use std::num::NonZeroUsize;
use std::path::Path;

/// Records the image that the request names, without the layers. Fails with [`crate::error::Error::BadImage`] if the registry
/// has no records of the image, or records that do not fit, and if the registry does not answer.
pub fn pull_lazily(
    store_path: &Path,
    name: &ImageName,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Outcome> {
    let image = open_registry(name, &request.access)?;
    let taken = record_lazily(store_path, name, &image, request, monitor)?;
    taken.map_err(|why| bad_image(&image.opened, why))
}

/// Records an image without the layers, or tells why the records do not say what the image holds. Fails as [`pull_lazily`] does otherwise.
pub(super) fn record_lazily(
    store_path: &Path,
    name: &ImageName,
    image: &RegistryImage,
    request: &Request,
    monitor: &dyn Monitor,
) -> Result<Said<Outcome>> {
    check_names(request)?;
    let phases = Phases::new(monitor);
    let found = find(image, request, monitor)?;
    let known = known_layers(&Store::open_or_create(store_path)?, &found)?;
    let layers = phases.run(Phase::Fetch, None, || {
        read_layers(image, &found, request.jobs, known)
    })?;
    let layers = match layers {
        Ok(layers) => layers,
        Err(why) => return Ok(Err(why)),
    };
    let packages = read_packages(image)?.unwrap_or_else(|why| {
        let shown = image.opened.path().display();
        monitor.note(&format!("{shown}: {why}; packages are unknown"));
        None
    });
    let mut store = Store::open(store_path)?;
    let content = content_of(&store, (name, &image.opened), &found, layers, packages)?;
    let taken = phases.run(Phase::Record, None, || -> Result<Imported> {
        if let Some(known) = known_image(&store, &found)? {
            return Ok(known);
        }
        let opened = &image.opened;
        let taken = record(&mut store, opened, Purpose::Import, &found, content, &[])?;
        update_index(&store)?;
        Ok(taken)
    })?;
    Ok(Ok(Outcome {
        images: vec![taken],
        failed: Vec::new(),
        bytes_written: 0,
        seconds: phases.spent(),
    }))
}

/// Identifies the image. Fails if the image cannot be read, or is of no known series.
fn find(image: &RegistryImage, request: &Request, monitor: &dyn Monitor) -> Result<Found> {
    let opened = &image.opened;
    let finder = Finder {
        opened,
        series: request.series.as_deref(),
        stage: request.stage.as_deref(),
        takes_all: false,
        monitor,
    };
    let listed = listed(opened, &ImageRef::Only, Purpose::Import, request, monitor)?;
    let found = listed.into_iter().next().map(|one| finder.find(one));
    found
        .transpose()?
        .flatten()
        .ok_or_else(|| bad_image(opened, "it lists no image"))
}

/// Returns the layers that the store has rows of.
fn known_layers(store: &Store, found: &Found) -> Result<Vec<Option<TakenLayer>>> {
    let known = found.image.layers.iter().map(|layer| {
        let known = layer.key.map(|key| store.layer_by_key(&key)).transpose()?;
        let known = known.flatten();
        let Some(known) = known.filter(|known| known.diff_id == layer.diff_id) else {
            return Ok(None);
        };
        let policy = store.policy(&store.policy_of_layer(known.id)?)?;
        let Some(policy) = Policy::from_canonical(&policy) else {
            return Ok(None);
        };
        let items = store.items(known.id)?;
        Ok(native(items, &policy, known.key, known.tar_bytes))
    });
    known.collect()
}

/// Reads the records of the layers that `known` does not have, each at the layer's place, `jobs` at once. Fails if the registry does not
/// answer.
fn read_layers(
    image: &RegistryImage,
    found: &Found,
    jobs: NonZeroUsize,
    mut known: Vec<Option<TakenLayer>>,
) -> Result<Said<Vec<TakenLayer>>> {
    let all = found.image.layers.iter().zip(&known);
    let asked: Vec<&FoundLayer> = all
        .filter_map(|(layer, known)| known.is_none().then_some(layer))
        .collect();
    let reader = RecordReader::new(1);
    let read = threads::map(jobs, &asked, |layer| {
        let read = reader.layer(&image.client, layer)?;
        Ok::<_, Error>(read.and_then(|read| taken(read, &found.policy)))
    })?;
    let missing = known.iter_mut().filter(|known| known.is_none());
    for (place, layer) in missing.zip(read) {
        match layer {
            Ok(layer) => *place = Some(layer),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(known.into_iter().flatten().collect()))
}

/// Takes a layer by the items, if the key is under a policy of the image.
fn taken(read: RecordedLayer, policy: &Policy) -> Said<TakenLayer> {
    let key = read.key;
    let stable = policy.of_stable_layers();
    let policies = [policy, &stable, &Policy::mock(), &Policy::plain()];
    let mut policies = policies.into_iter();
    let policy = policies.find(|policy| policy.key() == read.policy);
    let policy = policy.ok_or_else(|| format!("layer {key} of it is of an unknown policy"))?;
    let taken = native(read.items, policy, key, read.tar_bytes);
    taken.ok_or_else(|| format!("layer {key} of it is none that rootstrata writes"))
}

/// Returns what is recorded; a blob that the store lacks is in the registry. Fails if a blob of the store is not the layer that a record
/// calls so.
fn content_of(
    store: &Store,
    (name, opened): (&ImageName, &Opened),
    found: &Found,
    layers: Vec<TakenLayer>,
    packages: Option<Vec<Installed>>,
) -> Result<Content> {
    let remotes = found.image.layers.iter().map(|layer| RemoteBlob {
        digest: layer.blob.digest,
        repository: name.repository.to_string(),
        is_proven: false,
    });
    let mut wanted = Vec::new();
    for (remote, (layer, taken)) in remotes.zip(found.image.layers.iter().zip(&layers)) {
        if !store.has_blob(&remote.digest, layer.blob.size_bytes)? {
            wanted.push(remote);
        } else if !store.is_recorded_as(&remote.digest, &taken.key)? {
            prove(store, opened, layer, taken)?;
        }
    }
    let (layers, entries) = TakenLayers::from(layers).into_parts();
    Ok(Content {
        entries: entries.len() as u64,
        content_bytes: content_bytes(&entries),
        layers,
        packages: packages.map(|all| RootPackages {
            manager: Manager::Rpm,
            all,
        }),
        remotes: wanted,
    })
}

/// Reads a blob that is here and that only a record calls this layer. Fails with [`Error::BadImage`] if the blob is another.
fn prove(store: &Store, opened: &Opened, layer: &FoundLayer, taken: &TakenLayer) -> Result<()> {
    let Blob { digest, size_bytes } = layer.blob;
    let source = store.open_blob(&digest, size_bytes)?;
    let expected = Unpacked {
        diff_id: layer.diff_id,
        most_bytes: taken.tar_bytes,
    };
    let policy = PolicyKey(*blake3::hash(taken.under.as_bytes()).as_bytes());
    let key = match read_exactly(
        (&source).into(),
        (expected, Threads::Several),
        &mut |_, _| Ok(None),
    ) {
        Ok((items, _)) => {
            let items = items.items.iter().filter_map(LayerItem::as_item);
            Some(key_of(&policy, items))
        }
        Err(error) if error.is_damage() => None,
        Err(error) => return Err(error),
    };
    if key == Some(taken.key) {
        return Ok(());
    }
    let what = format!(
        "its layer {} is not the blob {digest}, which is here",
        taken.key
    );
    Err(bad_image(opened, what))
}
