//! The layers of all mounted snapshots, each open once, and where each content is. A content has one place, whatever names it has:
//! the hash tells whether the place gives the right bytes.

use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::layer::codec::Codec;
use crate::layer::seek::{Frames, places};
use crate::model::digest::{ContentHash, LayerKey};
use crate::model::policy::Policy;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::ops::mount::aside::Aside;
use crate::ops::mount::cache::lock;
use crate::ops::remote::ranged::Ranged;
use crate::store::{Blob, LayerUse, Presence, Store};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// Layers, and the places of contents.
#[derive(Default)]
pub(super) struct Library {
    layers: Vec<Arc<Layer>>,
    known: HashSet<LayerKey>,
    places: HashMap<ContentHash, Place>,
}

/// The place of a content.
#[derive(Clone, Copy)]
struct Place {
    layer: usize,
    /// The offset in the uncompressed layer, for a layer with frames.
    start: u64,
}

/// An open layer.
pub(super) struct Layer {
    /// The number among all layers here.
    pub number: usize,
    pub blob: BlobSource,
    used: LayerUse,
    /// The only repository with the blob; `None` for a local blob.
    repository: Option<String>,
    /// Whether contents are where `places` says, if the blob has frames.
    has_places: bool,
    wanted: HashMap<ContentHash, u64>,
    /// Settled when the first content is wanted.
    reading: Mutex<Option<Arc<Reading>>>,
    /// Where the frame begins that was read last.
    pub last_frame: AtomicU64,
}

/// How contents are read.
pub(super) enum Reading {
    /// By offset.
    Frames(Frames),
    /// All contents at once, when the first is wanted.
    Whole(Whole),
}

impl Layer {
    /// Returns how contents are read. Fails if the blob cannot be read, or the registry does not answer.
    pub(super) fn reading(&self, registries: &Ranged) -> Result<Arc<Reading>> {
        let mut reading = lock(&self.reading);
        if let Some(reading) = &*reading {
            return Ok(Arc::clone(reading));
        }
        let frames = self
            .frames(registries)?
            .filter(|frames| !frames.begins_long());
        let settled = Arc::new(match frames {
            Some(frames) => Reading::Frames(frames),
            None => Reading::Whole(Whole::default()),
        });
        *reading = Some(Arc::clone(&settled));
        Ok(settled)
    }

    /// Returns how contents are read, once settled by a reader.
    pub(super) fn settled(&self) -> Option<Arc<Reading>> {
        lock(&self.reading).clone()
    }

    fn frames(&self, registries: &Ranged) -> Result<Option<Frames>> {
        match &self.repository {
            _ if !self.has_places => Ok(None),
            None => Frames::open(&self.blob, self.used.layer.tar_bytes),
            Some(repository) => {
                let table = registries.frames(repository, &self.used)?;
                let end = self.used.layer.tar_bytes;
                Ok(table.map(|table| Frames::of_table(&self.blob, &table, end)))
            }
        }
    }

    /// Returns the contents of a layer without frames, put aside by the first call. Fails if there is no room.
    pub(super) fn aside(&self, whole: &Whole) -> Result<Arc<Aside>> {
        let mut aside = lock(&whole.aside);
        if let Some(aside) = &*aside {
            return Ok(Arc::clone(aside));
        }
        let put = Arc::new(Aside::put(&self.blob, &self.wanted)?);
        *aside = Some(Arc::clone(&put));
        Ok(put)
    }
}

/// The contents of a layer that is read from the beginning.
#[derive(Default)]
pub(super) struct Whole {
    aside: Mutex<Option<Arc<Aside>>>,
}

impl Library {
    /// Tells whether a layer is open.
    pub(super) fn has(&self, key: &LayerKey) -> bool {
        self.known.contains(key)
    }

    /// Returns the layer with a content, and the offset there.
    pub(super) fn find(&self, content: &ContentHash) -> Option<(Arc<Layer>, u64)> {
        let place = self.places.get(content)?;
        let layer = self.layers.get(place.layer)?;
        Some((Arc::clone(layer), place.start))
    }

    /// Adds a layer with these items. No byte of the layer is read, and no registry asked. Fails with `Damaged` if the layer is nowhere.
    pub(super) fn add(
        &mut self,
        store: &Store,
        used: &LayerUse,
        items: &[LayerItem],
        registries: &Ranged,
    ) -> Result<()> {
        let wanted = contents_of(items);
        if wanted.is_empty() || self.has(&used.layer.key) {
            return Ok(());
        }
        let Opened {
            form,
            blob,
            repository,
        } = open_form(store, used, registries)?;
        let starts = starts_of(store, used, &form, items)?;
        let number = self.layers.len();
        let has_places = starts.is_some();
        let whole = || wanted.keys().map(|content| (*content, 0)).collect();
        self.add_places(starts.unwrap_or_else(whole), repository.is_none());
        self.layers.push(Arc::new(Layer {
            number,
            blob,
            used: LayerUse {
                blob: form,
                ..used.clone()
            },
            repository,
            has_places,
            wanted,
            reading: Mutex::default(),
            last_frame: AtomicU64::new(u64::MAX),
        }));
        self.known.insert(used.layer.key);
        Ok(())
    }

    /// Adds the places of contents in the next layer. A place in a layer that is here goes before any of a registry.
    fn add_places(&mut self, starts: Starts, is_here: bool) {
        let layer = self.layers.len();
        for (content, start) in starts {
            let place = Place { layer, start };
            let known = self.places.entry(content).or_insert(place);
            let is_remote = |at: usize| {
                self.layers
                    .get(at)
                    .is_some_and(|one| one.repository.is_some())
            };
            if is_here && is_remote(known.layer) {
                *known = place;
            }
        }
    }
}

/// Returns the content of a file with bytes, and the length.
fn content_of(entry: &Entry) -> Option<(ContentHash, u64)> {
    match entry.kind {
        Kind::File {
            size_bytes,
            content,
        } if size_bytes > 0 => Some((content, size_bytes)),
        _ => None,
    }
}

fn contents_of(items: &[LayerItem]) -> HashMap<ContentHash, u64> {
    let entries = items.iter().filter_map(LayerItem::entry);
    entries.filter_map(content_of).collect()
}

/// A form of a layer, with the place.
struct Opened {
    form: Blob,
    blob: BlobSource,
    repository: Option<String>,
}

/// Opens the first form of a layer that is here, by its length alone: the content of each file is compared with its hash. Else the
/// registry's form is opened.
fn open_form(store: &Store, used: &LayerUse, registries: &Ranged) -> Result<Opened> {
    let here = |form: Blob, blob: BlobSource| Opened {
        form,
        blob,
        repository: None,
    };
    let own = store.presence_by_length(&used.blob.digest, used.blob.size_bytes)?;
    if let Presence::Here(source) = own {
        return Ok(here(used.blob.clone(), source));
    }
    for form in store.blobs_of(used.layer.id)? {
        let found = store.presence_by_length(&form.digest, form.size_bytes)?;
        if let Presence::Here(source) = found {
            return Ok(here(form, source));
        }
    }
    match store.find_blob(&used.blob.digest, used.blob.size_bytes) {
        Err(Error::OnlyRemote { repository, .. }) => {
            let form = used.blob.clone();
            let blob = registries.open(&repository, form.digest, form.size_bytes)?;
            Ok(Opened {
                form,
                blob,
                repository: Some(repository),
            })
        }
        found => Ok(here(used.blob.clone(), found?)),
    }
}

/// Where the contents of a layer begin.
type Starts = Vec<(ContentHash, u64)>;

/// Finds where the contents of a layer begin; `None` for a layer that has to be read from the beginning.
fn starts_of(
    store: &Store,
    used: &LayerUse,
    form: &Blob,
    items: &[LayerItem],
) -> Result<Option<Starts>> {
    let policy = store.policy(&store.policy_of_layer(used.layer.id)?)?;
    let is_ours = Policy::from_canonical(&policy).is_some();
    if !is_ours || Codec::of_media_type(&form.media_type) != Some(Codec::Zstd) {
        return Ok(None);
    }
    let (places, length) = places(items, |_| true)?;
    if length != used.layer.tar_bytes {
        return Ok(None);
    }
    let mut rest = items.iter().filter_map(LayerItem::entry);
    let starts = places.iter().filter_map(|place| {
        let entry = rest.find(|entry| entry.path == place.name)?;
        Some((content_of(entry)?.0, place.start))
    });
    Ok(Some(starts.collect()))
}
