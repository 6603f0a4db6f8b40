//! Records an image, after its layers were taken.

use crate::error::Result;
use crate::model::digest::LayerKey;
use crate::model::names::SnapshotRef;
use crate::model::origin::{Origin, Recorded};
use crate::model::packages::version::Manager;
use crate::model::plan::LayerPurpose;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::tree::content_bytes;
use crate::model::tree::entry::Entry;
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::root_view::packages::RootPackages;
use crate::ops::transfer::found_image::Found;
use crate::ops::transfer::taken_layer::TakenLayer;
use crate::store::Blob;
use crate::store::LayerUse;
use crate::store::NewLayer;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::StampState;
use crate::store::Store;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A taken image.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    /// The image as recorded.
    pub(crate) snapshot: Snapshot,
    /// The layers, the lowest first.
    pub(crate) layers: Vec<LayerUse>,
    /// Whether the image was recorded before, and nothing was done.
    pub(crate) was_there: bool,
}

/// A taken image, with the index's claim about the recording.
pub(crate) struct Taken {
    pub(crate) image: Imported,
    pub(crate) claimed: Option<Recorded>,
}

/// The content of an image.
pub(crate) struct Content {
    pub(crate) layers: Vec<TakenLayer>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) packages: Option<RootPackages>,
}

/// The purpose of taking images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To rebuild the database from the store's own layout, whose index tells of the old recording.
    Rebuild,
    /// To add images of another place, whose index may claim anything.
    Import,
}

/// Records an image; `before` are the images taken so far. Fails if a blob or a row cannot be written.
pub(crate) fn record(
    store: &mut Store,
    opened: &Opened,
    purpose: Purpose,
    found: &Found,
    content: Content,
    before: &[Taken],
) -> Result<Imported> {
    let manifest = store.keep_bytes(&opened.bytes(&found.image.manifest)?)?;
    let config = store.keep_bytes(&opened.bytes(&found.image.config)?)?;
    let contents: Vec<LayerContent> = content.layers.iter().map(TakenLayer::content).collect();
    let mut layers = new_layers(&content.layers, &contents, &found.image.layers);
    let below = if found.is_ours {
        image_below(&layers, &found.origin, before)
    } else {
        None
    };
    let inherited_layers = below.as_ref().map_or(0, |below| below.shared_layers);
    for layer in layers.iter_mut().take(inherited_layers) {
        layer.purpose.is_inherited = true;
    }
    let parent = below.map(|below| below.snapshot);
    let recorded = found
        .origin
        .recorded
        .as_ref()
        .filter(|_| purpose == Purpose::Rebuild);
    let run = recorded.map(|recorded| &recorded.run);
    let run = run.or(parent.map(|parent| &parent.run));
    let packages = content.packages;
    let packages = packages.filter(|packages| packages.manager == Manager::Rpm);
    let id = store.record(&NewSnapshot {
        series: &found.origin.series,
        stage: &found.origin.stage,
        run: run.map(String::as_str),
        parent_id: parent.map(|parent| parent.id),
        policy: &found.policy,
        created_s: recorded.map_or_else(now_s, |recorded| recorded.created_s),
        planning: None,
        packages: packages_of(packages.as_ref()),
        manifest,
        config,
        entries: content.entries.len() as u64,
        content_bytes: content_bytes(&content.entries),
        sockets: 0,
        layers: &layers,
        root_path: Path::new(""), // of no root here
        stamps: StampState::default(),
    })?;
    Ok(Imported {
        snapshot: store.find(&SnapshotRef::Id(id))?,
        layers: store.layers(id)?,
        was_there: false,
    })
}

fn packages_of(packages: Option<&RootPackages>) -> PackagesOf<'_> {
    packages.map_or(PackagesOf::Unknown, |packages| {
        PackagesOf::These(&packages.all)
    })
}

fn now_s() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs() as i64
}

fn new_layers<'a>(
    taken: &'a [TakenLayer],
    contents: &'a [LayerContent<'a>],
    found: &[FoundLayer],
) -> Vec<SnapshotLayer<'a>> {
    taken
        .iter()
        .zip(contents)
        .zip(found)
        .enumerate()
        .map(|(place, ((taken, content), found))| new_layer(place, taken, content, found))
        .collect()
}

fn new_layer<'a>(
    place: usize,
    taken: &'a TakenLayer,
    content: &'a LayerContent<'a>,
    found: &FoundLayer,
) -> SnapshotLayer<'a> {
    SnapshotLayer {
        purpose: LayerPurpose {
            role: role(found.role, place),
            label: None,
            is_inherited: false,
            reason: None,
        },
        key: taken.key,
        blob: Blob {
            digest: found.blob.digest,
            media_type: found.media_type.clone(),
            size_bytes: found.blob.size_bytes,
        },
        new: Some(NewLayer {
            content,
            diff_id: found.diff_id,
            tar_bytes: taken.tar_bytes,
            under: Some(&taken.under),
        }),
    }
}

/// Foreign layers have no roles: the first layer counts as a base, each other layer as a delta.
fn role(said: Option<Role>, place: usize) -> Role {
    said.unwrap_or(if place == 0 { Role::Base } else { Role::Delta })
}

/// The image that another image lies over.
struct Below<'b> {
    snapshot: &'b Snapshot,
    /// The number of layers that both images begin with.
    shared_layers: usize,
}

/// Returns the image below: of the images taken so far from the same run and series, the image that shares the most layers,
/// all but the state.
fn image_below<'b>(
    layers: &[SnapshotLayer],
    origin: &Origin,
    before: &'b [Taken],
) -> Option<Below<'b>> {
    let run = run_of(origin.recorded.as_ref());
    let of_run = before
        .iter()
        .filter(|taken| run_of(taken.claimed.as_ref()) == run)
        .map(|taken| &taken.image);
    let below = of_run
        .filter(|image| is_other_stage(&image.snapshot, origin))
        .filter_map(|image| {
            Some(Below {
                snapshot: &image.snapshot,
                shared_layers: shared_layers(layers, image)?,
            })
        });
    below.max_by_key(|below| (below.shared_layers, below.snapshot.id))
}

fn is_other_stage(snapshot: &Snapshot, origin: &Origin) -> bool {
    snapshot.series == origin.series && snapshot.stage != origin.stage
}

fn run_of(claimed: Option<&Recorded>) -> Option<&str> {
    claimed.map(|claimed| claimed.run.as_str())
}

/// Returns the number of the image's layers without the state; `None` if `layers` do not begin with these layers.
fn shared_layers(layers: &[SnapshotLayer], image: &Imported) -> Option<usize> {
    let stable = image
        .layers
        .iter()
        .filter(|layer| layer.role != Role::State);
    let keys: Vec<LayerKey> = stable.map(|layer| layer.layer.key).collect();
    let first_layers = layers.get(..keys.len())?;
    keys.iter()
        .zip(first_layers)
        .all(|(key, layer)| *key == layer.key)
        .then_some(keys.len())
}
