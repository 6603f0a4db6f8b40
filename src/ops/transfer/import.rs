//! Takes images into a store: those that a store of ours has exported, whole or thin, those of others, and those of the
//! store's own layout, where its database is lost.
//!
//! Blobs are kept as they are, so all digests stay. Nothing that an image says is believed: a blob must have its digest,
//! unpack to its diff_id, and give the key that it claims to have; otherwise the layer is recorded as one that others made, by what
//! it does to those below.

use crate::error::{Error, Result, show};
use crate::layer::codec::Codec;
use crate::layer::read::{Blob as LayerBlob, Unpacked, read_exactly, read_files};
use crate::model::digest::{Digest, LayerKey};
use crate::model::names::{BOOTSTRAP, check_name, check_series};
use crate::model::origin::{Origin, Recorded};
use crate::model::packages::file_list::FileList;
use crate::model::packages::package::Package;
use crate::model::packages::version::Manager;
use crate::model::plan::MOST_LAYERS;
use crate::model::plan::layer::Role;
use crate::model::policy::Policy;
use crate::model::policy::normalise::shown_path;
use crate::model::source::{ImageRef, Source};
use crate::model::tree::content_bytes;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::Overlay;
use crate::oci;
use crate::oci::choose::Listing;
use crate::oci::read::{FoundImage, FoundLayer, ListedImage, Opened};
use crate::ops::keep::verify::{is_damage, said};
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::ops::root_view::image::laid_over;
use crate::ops::root_view::package_files::{Spool, is_wanted};
use crate::ops::transfer::export::update_index;
use crate::ops::transfer::foreign::{TakenLayer, as_it_acts, as_it_is};
use crate::ops::transfer::opened::open_images;
use crate::printable::printable;
use crate::store::Blob;
use crate::store::BlobRef;
use crate::store::LayerUse;
use crate::store::NewLayer;
use crate::store::NewSnapshot;
use crate::store::PackagesOf;
use crate::store::Snapshot;
use crate::store::SnapshotLayer;
use crate::store::StampState;
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A larger tar is no layer of a root.
const LARGEST_TAR_BYTES: u64 = 64 << 30;

const BUFFER_BYTES: usize = 256 << 10;

/// What is imported.
#[derive(Clone, Debug)]
pub struct Request {
    /// An archive or a layout; without a name of an image, all of its images.
    pub source: Source,
    /// The series; by default as the image says.
    pub series: Option<String>,
    /// The stage, likewise.
    pub stage: Option<String>,
}

/// An image that was taken.
#[derive(Clone, Debug)]
pub struct Imported {
    /// As it is recorded.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// Whether it was recorded before, and nothing was done.
    pub was_there: bool,
}

/// What was taken.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The images, in the order of their numbers.
    pub images: Vec<Imported>,
    /// Those that are damaged, each with the reason; only where a store is rebuilt, since there the others are all there is.
    pub failed: Vec<String>,
    /// Bytes of blobs that were copied into the store.
    pub bytes_written: u64,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

/// Imports into the store at `store_path`, which is made where it is missing. From that store's own layout, what its
/// database lacks is recorded again.
pub fn import(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Outcome> {
    request.series.as_deref().map_or(Ok(()), check_series)?;
    request
        .stage
        .as_deref()
        .map_or(Ok(()), |stage| check_name("stage", stage))?;
    let (opened, reference) = open_images(&request.source)?;
    let path = opened.path().to_owned();
    let is_own = is_same_directory(&path, store_path);
    let mut store = match is_own {
        true => Store::open_to_rebuild(store_path)?,
        false => Store::open_or_create(store_path)?,
    };
    let phases = Phases::new(monitor);
    let Listing {
        images: listed,
        passed_over,
    } = opened.images(reference)?;
    if listed.is_empty() && !is_own {
        let others = passed_over.map_or(String::new(), |others| format!("; {others}"));
        return Err(Error::BadImage {
            path,
            what: format!("it lists no image{others}"),
        });
    }
    passed_over
        .iter()
        .for_each(|what| monitor.note(&format!("{}: {what}", request.source)));
    if listed.len() > 1 && request.stage.is_some() {
        let what = format!(
            "it has {} images: name the one that is of this stage",
            listed.len()
        );
        return Err(Error::BadImage { path, what });
    }
    let mut import = Import {
        store: &mut store,
        opened,
        path,
        is_own,
        phases: &phases,
        bytes_written: 0,
    };
    let (mut images, mut failed) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    for one in listed {
        match import.find(one, request, matches!(reference, ImageRef::Only)) {
            Err(error) if is_own && is_damage(&error) => failed.push(said(&error)),
            one => found.extend(one?),
        }
    }
    // As they were recorded; a later stage of a run has more layers.
    found.sort_by_key(|one| {
        (
            one.origin.recorded.as_ref().map(|recorded| recorded.id),
            one.image.layers.len(),
        )
    });
    for one in found {
        match import.take(&one, &images) {
            Err(error) if is_own && is_damage(&error) => {
                failed.push(format!("{}: {}", one.shown(), said(&error)))
            }
            taken => images.push(Taken {
                image: taken?,
                claimed: one.origin.recorded,
            }),
        }
    }
    let images = images.into_iter().map(|taken| taken.image).collect();
    let bytes_written = import.bytes_written;
    phases.run(Phase::Record, None, || update_index(&store))?;
    Ok(Outcome {
        images,
        failed,
        bytes_written,
        seconds: phases.spent(),
    })
}

fn is_same_directory(a: &Path, b: &Path) -> bool {
    match (std::fs::canonicalize(a), std::fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// An image that is to be taken.
struct Found {
    image: FoundImage,
    origin: Origin,
    policy: Policy,
    /// Whether rootstrata says so.
    is_ours: bool,
}

impl Found {
    fn shown(&self) -> String {
        format!("{}@{}", self.origin.series, self.origin.stage)
    }
}

/// An image that was taken, and as what its index says that it was recorded.
struct Taken {
    image: Imported,
    claimed: Option<Recorded>,
}

struct Import<'a> {
    store: &'a mut Store,
    opened: Opened,
    path: PathBuf,
    /// Whether the source is the store itself, whose index says as what its images were recorded. What another index says of
    /// that is its maker's claim.
    is_own: bool,
    phases: &'a Phases<'a>,
    bytes_written: u64,
}

impl Import<'_> {
    fn bad(&self, what: impl Into<String>) -> Error {
        Error::BadImage {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    /// Finds out what an image is, before anything of it is taken. Of an index of others, what is no image is passed over.
    fn find(&self, listed: ListedImage, request: &Request, of_all: bool) -> Result<Option<Found>> {
        let image = self.opened.image_of(listed.manifest)?;
        let is_ours = image.layers.iter().any(|layer| layer.key.is_some());
        if of_all && image.layers.is_empty() {
            return Ok(None);
        }
        if image.layers.len() > MOST_LAYERS {
            return Err(self.bad(format!(
                "it has {} layers, more than {MOST_LAYERS}",
                image.layers.len()
            )));
        }
        if let Some(layer) = image
            .layers
            .iter()
            .find(|layer| Codec::of_media_type(&layer.media_type).is_none())
        {
            let media_type = printable(layer.media_type.as_bytes());
            return Err(self.bad(format!(
                "its layers are {media_type}, not of OCI: copy it with skopeo copy --format oci"
            )));
        }
        let policy = self.policy(listed.origin.as_ref());
        let named = listed
            .name
            .as_deref()
            .and_then(|name| name.rsplit_once(':'));
        let said = listed
            .origin
            .as_ref()
            .map(|origin| (origin.series.as_str(), origin.stage.as_str()))
            .or(named);
        // A name of others need not be one of ours; what claims to be ours must have such names.
        if listed.origin.is_some()
            && let Some((series, stage)) = said
        {
            request
                .series
                .as_ref()
                .map_or_else(|| check_series(series), |_| Ok(()))?;
            request
                .stage
                .as_ref()
                .map_or_else(|| check_name("stage", stage), |_| Ok(()))?;
        }
        let said = said.filter(|(series, stage)| {
            check_series(series).is_ok() && check_name("stage", stage).is_ok()
        });
        let series = request
            .series
            .clone()
            .or(said.map(|(series, _)| series.to_owned()));
        let stage = request
            .stage
            .clone()
            .or(said.map(|(_, stage)| stage.to_owned()));
        let Some(series) = series else {
            return Err(self.bad("nothing says which series it is of: give --series and --stage"));
        };
        let stage = stage.unwrap_or_else(|| BOOTSTRAP.to_owned());
        let recorded = listed.origin.and_then(|origin| origin.recorded);
        let recorded = recorded.filter(|recorded| check_name("run", &recorded.run).is_ok());
        Ok(Some(Found {
            image,
            origin: Origin {
                series,
                stage,
                policy: policy.canonical(),
                recorded,
            },
            policy,
            is_ours,
        }))
    }

    /// The policy that an image claims, if that is one.
    fn policy(&self, origin: Option<&Origin>) -> Policy {
        let Some(origin) = origin else {
            return Policy::plain();
        };
        let claimed =
            Policy::from_canonical(&origin.policy).filter(|policy| policy.rules("").is_ok());
        claimed.unwrap_or_else(|| {
            let image = printable(format!("{}@{}", origin.series, origin.stage).as_bytes());
            let what = "a policy that this rootstrata does not know: it is recorded as plain";
            self.phases
                .monitor
                .note(&format!("{}: {image} claims {what}", show(&self.path)));
            Policy::plain()
        })
    }

    /// Takes an image; `before` are those that were taken.
    fn take(&mut self, found: &Found, before: &[Taken]) -> Result<Imported> {
        if let Some(known) = self.known(found)? {
            return Ok(Imported {
                layers: self.store.layers(known.id)?,
                snapshot: known,
                was_there: true,
            });
        }
        let total = found.image.blobs_bytes();
        let mut spool = Spool::new()?;
        let phases = self.phases;
        let (layers, entries) =
            phases.run(Phase::Read, Some(total), || self.layers(found, &mut spool))?;
        let packages = spool.packages(entries.as_slice(), &self.path, self.phases.monitor)?;
        let id = self.record(found, &layers, &entries, packages, before)?;
        let snapshot = self.store.find(&crate::model::names::SnapshotRef::Id(id))?;
        Ok(Imported {
            layers: self.store.layers(id)?,
            snapshot,
            was_there: false,
        })
    }

    /// The same image as the same stage.
    fn known(&self, found: &Found) -> Result<Option<Snapshot>> {
        let Origin { series, stage, .. } = &found.origin;
        let all = self.store.snapshots(None)?;
        let mut of_stage = all
            .into_iter()
            .filter(|one| one.series == *series && one.stage == *stage);
        Ok(of_stage.find(|one| one.manifest.digest == found.image.manifest.digest))
    }

    /// Takes the layers, and returns also the entries of the tree that they give.
    fn layers(
        &mut self,
        found: &Found,
        spool: &mut Spool,
    ) -> Result<(Vec<TakenLayer>, Vec<Entry>)> {
        let mut overlay = Overlay::new();
        let mut taken: Vec<TakenLayer> = Vec::new();
        for layer in &found.image.layers {
            let one = match self.known_layer(layer, spool)? {
                Some(one) => one,
                None => self.new_layer(layer, found, &overlay, spool)?,
            };
            overlay.lay(one.laid().into_iter());
            taken.push(one);
            self.phases.monitor.advance(layer.blob.size_bytes);
        }
        Ok((taken, overlay.into_tree().into_entries()))
    }

    /// A layer that the store has: its blob needs not be in the archive. One that others made is known by what lies below,
    /// and is read again.
    fn known_layer(&self, layer: &FoundLayer, spool: &mut Spool) -> Result<Option<TakenLayer>> {
        let Some(known) = self.store.layer_of_blob(&layer.blob.digest)? else {
            return Ok(None);
        };
        let policy = self.store.policy(&self.store.policy_of_layer(known.id)?)?;
        let (Some(policy), true) = (
            Policy::from_canonical(&policy),
            self.store
                .has_blob(&layer.blob.digest, layer.blob.size_bytes)?,
        ) else {
            return Ok(None);
        };
        if known.diff_id != layer.diff_id {
            return Err(self.bad(format!(
                "layer {} has not the diff_id that it claims",
                layer.blob.digest
            )));
        }
        let items = self.store.items(known.id)?;
        let path = self.store.blob_path(&layer.blob.digest);
        read_files(self.open(layer, &path)?, is_wanted, |at, size, content| {
            if let Some(mut out) = spool.keep(at, size)? {
                io::copy(content, &mut out).map_err(Error::io("read", &path))?;
            }
            Ok(true)
        })?;
        spool.keep_linked(&items, || self.open(layer, &path))?;
        Ok(as_it_is(items, &policy, known.key, known.tar_bytes))
    }

    /// Copies the blob into the store, and reads it there.
    fn new_layer(
        &mut self,
        layer: &FoundLayer,
        found: &Found,
        below: &Overlay,
        spool: &mut Spool,
    ) -> Result<TakenLayer> {
        let oci::Blob { digest, size_bytes } = layer.blob;
        if !self.store.has_blob(&digest, size_bytes)? {
            if !self.opened.has(&layer.blob) {
                let what = format!(
                    "layer {digest} is neither in it nor in the store: import the archive first that it follows"
                );
                return Err(self.bad(what));
            }
            self.copy(&layer.blob)?;
        }
        // What is wrong with a layer is wrong with the image, not with the store.
        let path = self.opened.path_of(&layer.blob);
        let expected = Unpacked {
            diff_id: layer.diff_id,
            most_bytes: LARGEST_TAR_BYTES,
        };
        let (items, tar_bytes) =
            read_exactly(self.open(layer, &path)?, expected, &mut |at, size| {
                spool.keep(at, size)
            })?;
        spool.keep_linked(&items.items, || self.open(layer, &path))?;
        if let Some((name, _)) = items.links_below.first() {
            // Its content is not in the layer that has the name, where everyone looks for it.
            return Err(Error::BadLayer {
                path,
                member: shown_path(name),
                what: "is a link to a file of a layer below".to_owned(),
            });
        }
        // A layer that claims to be one of ours and is packed in another way would be another layer with the same key.
        let is_packed_as_ours = |key: &LayerKey| -> Result<bool> {
            let known = self.store.layer_by_key(key)?;
            Ok(items.is_in_order && known.is_none_or(|known| known.diff_id == layer.diff_id))
        };
        if let Some(key) = layer.key
            && is_packed_as_ours(&key)?
        {
            for policy in [&found.policy, &Policy::mock(), &Policy::plain()] {
                if let Some(taken) = as_it_is(items.items.clone(), policy, key, tar_bytes) {
                    return Ok(taken);
                }
            }
        }
        let after = laid_over(below, items, &path)?;
        Ok(as_it_acts(below, &after, layer.diff_id, tar_bytes))
    }

    /// Copies a blob into the store, and looks at its digest meanwhile.
    fn copy(&mut self, blob: &oci::Blob) -> Result<()> {
        let mut new = self.store.new_blob()?;
        let place = new.path().to_owned();
        let mut input = self.opened.open(blob)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    new.write_all(&buffer[..count])
                        .map_err(Error::io("write", &place))?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", &self.path)(e)),
            }
        }
        let digest = Digest(hasher.finalize().into());
        if digest != blob.digest {
            let what = format!("the content of blob {} is {digest}", blob.digest);
            return Err(Error::damaged(&self.path, what));
        }
        self.store.keep_blob(new, &digest, blob.size_bytes)?;
        self.bytes_written += blob.size_bytes;
        Ok(())
    }

    /// Opens the blob of a layer in the store; `path` is what errors name.
    fn open<'b>(&self, layer: &FoundLayer, path: &'b Path) -> Result<LayerBlob<'b>> {
        let oci::Blob { digest, size_bytes } = &layer.blob;
        let source = self.store.find_blob(digest, *size_bytes)?;
        Ok(LayerBlob {
            input: Box::new(source.reader()),
            path,
            digest: layer.blob.digest,
        })
    }

    fn record(
        &mut self,
        found: &Found,
        layers: &[TakenLayer],
        entries: &[Entry],
        packages: Option<crate::ops::compare::side::SidePackages>,
        before: &[Taken],
    ) -> Result<i64> {
        let Found {
            image,
            origin,
            policy,
            is_ours,
        } = found;
        let [manifest, config] = [&image.manifest, &image.config].map(|blob| {
            let bytes = self.opened.bytes(blob)?;
            self.store.keep_bytes(&bytes)
        });
        let (manifest, config): (BlobRef, BlobRef) = (manifest?, config?);
        let contents: Vec<_> = layers.iter().map(TakenLayer::content).collect();
        let recorded: Vec<SnapshotLayer> = layers
            .iter()
            .zip(&contents)
            .zip(&image.layers)
            .enumerate()
            .map(|(place, ((taken, content), found))| SnapshotLayer {
                role: role(found.role, place),
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
            })
            .collect();
        let (parent, inherited_layers) = if *is_ours {
            parent(&recorded, origin, before)
        } else {
            (None, 0)
        };
        let recorded_as = origin.recorded.as_ref().filter(|_| self.is_own);
        let run = match (recorded_as, parent) {
            (Some(recorded), _) => Some(recorded.run.as_str()),
            (None, Some(parent)) => Some(parent.run.as_str()),
            (None, None) => None,
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs() as i64;
        let (known, lists) = rpm_packages(packages);
        self.store.record(&NewSnapshot {
            series: &origin.series,
            stage: &origin.stage,
            run,
            parent_id: parent.map(|parent| parent.id),
            policy,
            created_s: recorded_as.map_or(now, |recorded| recorded.created_s),
            inherited_layers,
            packages: known
                .as_deref()
                .map_or(PackagesOf::Unknown, |all| PackagesOf::These(all, &lists)),
            manifest,
            config,
            entries: entries.len() as u64,
            content_bytes: content_bytes(entries),
            sockets: 0,
            layers: &recorded,
            root_path: Path::new(""), // of no root that is here
            stamps: StampState::default(),
        })
    }
}

/// Layers of others have no roles: the first is what the others are laid over.
fn role(said: Option<Role>, place: usize) -> Role {
    said.unwrap_or(if place == 0 { Role::Base } else { Role::Delta })
}

/// The image that this one was laid over, of those that were taken before: the one of its series of whose layers it has the
/// most, all but the state.
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

/// The packages of an rpm database, with their lists where all have one.
fn rpm_packages(
    found: Option<crate::ops::compare::side::SidePackages>,
) -> (Option<Vec<Package>>, Vec<FileList>) {
    let Some(found) = found.filter(|found| found.manager == Manager::Rpm) else {
        return (None, Vec::new());
    };
    let lists: Option<Vec<FileList>> = found
        .all
        .iter()
        .map(|one| one.files.as_deref().cloned())
        .collect();
    (
        Some(found.all.into_iter().map(|one| one.package).collect()),
        lists.unwrap_or_default(),
    )
}
