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
    let mut layers: Vec<SnapshotLayer> = content
        .layers
        .iter()
        .zip(&contents)
        .zip(&found.image.layers)
        .enumerate()
        .map(|(place, ((taken, content), found))| new_layer(place, taken, content, found))
        .collect();
    let origin = &found.origin;
    let (parent, inherited_layers) = if found.is_ours {
        parent(&layers, origin, before)
    } else {
        (None, 0)
    };
    for layer in layers.iter_mut().take(inherited_layers) {
        layer.purpose.is_inherited = true;
    }
    let recorded_as = origin.recorded.as_ref();
    let recorded_as = recorded_as.filter(|_| purpose == Purpose::Rebuild);
    let run = recorded_as.map(|recorded| &recorded.run);
    let run = run.or(parent.map(|parent| &parent.run));
    let packages = content.packages;
    let known = packages.filter(|packages| packages.manager == Manager::Rpm);
    let id = store.record(&NewSnapshot {
        series: &origin.series,
        stage: &origin.stage,
        run: run.map(String::as_str),
        parent_id: parent.map(|parent| parent.id),
        policy: &found.policy,
        created_s: recorded_as.map_or_else(now_s, |recorded| recorded.created_s),
        planning: None,
        packages: known
            .as_ref()
            .map_or(PackagesOf::Unknown, |known| PackagesOf::These(&known.all)),
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

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs() as i64
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

/// Returns the image below: of the images taken so far, the image of the same series that shares the most layers, all
/// but the state, and the number of these.
fn parent<'b>(
    layers: &[SnapshotLayer],
    origin: &Origin,
    before: &'b [Taken],
) -> (Option<&'b Snapshot>, usize) {
    let shared = |one: &Imported| {
        let stable = one.layers.iter().filter(|layer| layer.role != Role::State);
        let keys: Vec<LayerKey> = stable.map(|layer| layer.layer.key).collect();
        let is_below = layers.len() >= keys.len()
            && keys
                .iter()
                .zip(layers)
                .all(|(key, layer)| *key == layer.key);
        is_below.then_some(keys.len())
    };
    let run = |claimed: &Option<Recorded>| claimed.as_ref().map(|claimed| claimed.run.clone());
    let candidates = before
        .iter()
        .filter(|one| run(&one.claimed) == run(&origin.recorded))
        .map(|one| &one.image)
        .filter(|one| one.snapshot.series == origin.series && one.snapshot.stage != origin.stage);
    let best = candidates
        .filter_map(|one| Some((shared(one)?, one)))
        .max_by_key(|(shared, one)| (*shared, one.snapshot.id));
    best.map_or((None, 0), |(shared, one)| (Some(&one.snapshot), shared))
}
