//! Records an image, after its layers were taken.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::origin::{Origin, Planned, Recorded};
use crate::model::packages::version::Manager;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::{LayerPurpose, Planning};
use crate::oci::read::{FoundLayer, Opened};
use crate::ops::root_view::packages::RootPackages;
use crate::ops::transfer::found_image::Found;
use crate::ops::transfer::taken_layer::TakenLayer;
use crate::store::Blob;
use crate::store::LayerUse;
use crate::store::NewLayer;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::RemoteBlob;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::StampState;
use crate::store::Store;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A taken image.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The image as recorded.
    pub snapshot: Snapshot,
    /// The layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// Whether the image was recorded before, and nothing was done.
    pub was_there: bool,
}

/// A taken image, with the index's claim about the recording.
pub(crate) struct Taken {
    pub image: Imported,
    pub claimed: Option<Recorded>,
}

/// The content of an image.
pub(crate) struct Content {
    pub layers: Vec<TakenLayer>,
    /// The number of entries of the tree.
    pub entries: u64,
    /// The lengths of the files, a hardlinked inode once.
    pub content_bytes: u64,
    pub packages: Option<RootPackages>,
    /// Blobs that a registry has.
    pub remotes: Vec<RemoteBlob>,
}

/// The purpose of taking images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To rebuild the database from the store's own layout, whose index tells of the old recording.
    Rebuild,
    /// To add images of another place, whose index may claim anything.
    Import,
}

/// Returns the snapshot with the same image as the same stage. Fails if the rows of snapshots cannot be read.
pub(crate) fn known_image(store: &Store, found: &Found) -> Result<Option<Imported>> {
    let (series, stage) = (&found.origin.series, &found.origin.stage);
    let mut snapshots = store.snapshots(None)?.into_iter();
    let known = snapshots.find(|one| {
        (&one.series, &one.stage) == (series, stage)
            && one.manifest.digest == found.image.manifest.digest
    });
    known
        .map(|known| {
            Ok(Imported {
                layers: store.layers(known.id)?,
                snapshot: known,
                was_there: true,
            })
        })
        .transpose()
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
    let planned = found.origin.planned.as_ref();
    let mut layers = new_layers(&content.layers, &contents, &found.image.layers);
    name_layers(&mut layers, planned);
    let below = if found.is_ours {
        image_below(&layers, &found.origin, before)
    } else {
        None
    };
    for place in below.iter().flat_map(|below| &below.shared) {
        layers[*place].purpose.is_inherited = true;
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
        planning: planned.map(|planned| Planning {
            planner: planned.planner.clone(),
            limits: None,
        }),
        labels: &found.origin.labels,
        is_pinned: recorded.is_some_and(|recorded| recorded.is_pinned),
        packages: packages_of(packages.as_ref()),
        manifest,
        config,
        entries: content.entries,
        content_bytes: content.content_bytes,
        sockets: 0,
        layers: &layers,
        remotes: &content.remotes,
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

/// Gives package layers the labels of the claim.
fn name_layers(layers: &mut [SnapshotLayer], planned: Option<&Planned>) {
    let labels = planned.and_then(|planned| planned.labels.as_ref());
    for (layer, label) in layers.iter_mut().zip(labels.into_iter().flatten()) {
        if layer.purpose.role == Role::Package {
            layer.purpose.label.clone_from(label);
        }
    }
}

/// Foreign layers have no roles: the first layer counts as a base, each other layer as a delta.
fn role(said: Option<Role>, place: usize) -> Role {
    said.unwrap_or(if place == 0 { Role::Base } else { Role::Delta })
}

/// The image that another image lies over.
struct Below<'b> {
    snapshot: &'b Snapshot,
    /// The places of the layers that are layers of the image below.
    shared: Vec<usize>,
}

/// Returns the image below: of the images taken so far from the same run and series, the image that shares the most layers,
/// all but the state and packages upgraded.
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
                shared: shared(layers, origin, image)?,
            })
        });
    below.max_by_key(|below| (below.shared.len(), below.snapshot.id))
}

fn is_other_stage(snapshot: &Snapshot, origin: &Origin) -> bool {
    snapshot.series == origin.series && snapshot.stage != origin.stage
}

fn run_of(claimed: Option<&Recorded>) -> Option<&str> {
    claimed.map(|claimed| claimed.run.as_str())
}

/// Returns the places of the layers that are the image's, without the state; `None` if `layers` do not begin with these layers.
/// Where the rule is known, package layers are looked for by themselves, since a package may have been upgraded.
fn shared(layers: &[SnapshotLayer], origin: &Origin, image: &Imported) -> Option<Vec<usize>> {
    let is_apart = |role: Role| origin.planned.is_some() && role == Role::Package;
    let below = image.layers.iter();
    let below = below.filter(|layer| layer.role != Role::State);
    let (packages, below): (Vec<&LayerUse>, Vec<_>) = below.partition(|layer| is_apart(layer.role));
    let layers = layers.iter().enumerate();
    let (own_packages, own): (Vec<_>, Vec<_>) =
        layers.partition(|(_, layer)| is_apart(layer.purpose.role));
    let own = own.get(..below.len())?;
    let mut pairs = below.iter().zip(own);
    if !pairs.all(|(below, (_, layer))| below.layer.key == layer.key) {
        return None;
    }
    let is_below = |(_, layer): &&(usize, &SnapshotLayer)| {
        let is_same =
            |below: &&&LayerUse| below.layer.key == layer.key && below.label == layer.purpose.label;
        packages.iter().find(is_same).is_some()
    };
    let shared = own.iter().chain(own_packages.iter().filter(is_below));
    Some(shared.map(|(place, _)| *place).collect())
}
