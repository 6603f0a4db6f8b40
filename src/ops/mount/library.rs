//! The layers of all mounted snapshots, each open once, and where each content is. A content has one place, whatever names it has:
//! the hash tells whether the place gives the right bytes.

use crate::blob::BlobSource;
use crate::error::Result;
use crate::layer::codec::Codec;
use crate::layer::seek::{Frames, places};
use crate::model::digest::{ContentHash, LayerKey};
use crate::model::policy::Policy;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::ops::mount::aside::Aside;
use crate::ops::mount::cache::lock;
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
    /// The offset in the uncompressed layer; 0 if the layer can only be read from the beginning.
    start: u64,
}

/// An open layer.
pub(super) struct Layer {
    /// The number among all layers here.
    pub number: usize,
    pub blob: BlobSource,
    pub reading: Reading,
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

/// The contents of a layer that is read from the beginning.
pub(super) struct Whole {
    wanted: HashMap<ContentHash, u64>,
    aside: Mutex<Option<Arc<Aside>>>,
}

impl Whole {
    /// Returns the contents, put aside by the first call. Fails if there is no room.
    pub(super) fn aside(&self, blob: &BlobSource) -> Result<Arc<Aside>> {
        let mut aside = lock(&self.aside);
        if let Some(aside) = &*aside {
            return Ok(Arc::clone(aside));
        }
        let put = Arc::new(Aside::put(blob, &self.wanted)?);
        *aside = Some(Arc::clone(&put));
        Ok(put)
    }
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

    /// Adds a layer with these items. Fails with [`crate::error::Error::OnlyRemote`] if no form of the layer is here, but in a registry, and with
    /// `Damaged` if it is nowhere.
    pub(super) fn add(
        &mut self,
        store: &Store,
        used: &LayerUse,
        items: &[LayerItem],
    ) -> Result<()> {
        let wanted = contents_of(items);
        if wanted.is_empty() || self.has(&used.layer.key) {
            return Ok(());
        }
        let (form, blob) = open_form(store, used)?;
        let number = self.layers.len();
        let reading = match frames_of(store, used, &form, &blob, items)? {
            Some((frames, starts)) => {
                let starts = starts.into_iter();
                self.add_places(starts.map(|(content, start)| (content, number, start)));
                Reading::Frames(frames)
            }
            None => {
                self.add_places(wanted.keys().map(|content| (*content, number, 0)));
                Reading::Whole(Whole {
                    wanted,
                    aside: Mutex::default(),
                })
            }
        };
        self.layers.push(Arc::new(Layer {
            number,
            blob,
            reading,
            last_frame: AtomicU64::new(u64::MAX),
        }));
        self.known.insert(used.layer.key);
        Ok(())
    }

    fn add_places(&mut self, places: impl Iterator<Item = (ContentHash, usize, u64)>) {
        for (content, layer, start) in places {
            let place = Place { layer, start };
            self.places.entry(content).or_insert(place);
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

/// Opens the first form of a layer that is here, by its length alone: the content of each file is compared with its hash.
fn open_form(store: &Store, used: &LayerUse) -> Result<(Blob, BlobSource)> {
    let own = store.presence_by_length(&used.blob.digest, used.blob.size_bytes)?;
    if let Presence::Here(source) = own {
        return Ok((used.blob.clone(), source));
    }
    for form in store.blobs_of(used.layer.id)? {
        let found = store.presence_by_length(&form.digest, form.size_bytes)?;
        if let Presence::Here(source) = found {
            return Ok((form, source));
        }
    }
    let source = store.find_blob(&used.blob.digest, used.blob.size_bytes)?;
    Ok((used.blob.clone(), source))
}

/// Where the contents of a layer begin.
type Starts = Vec<(ContentHash, u64)>;

/// Finds the contents of a layer in frames; `None` for a layer that has to be read from the beginning.
fn frames_of(
    store: &Store,
    used: &LayerUse,
    form: &Blob,
    blob: &BlobSource,
    items: &[LayerItem],
) -> Result<Option<(Frames, Starts)>> {
    let policy = store.policy(&store.policy_of_layer(used.layer.id)?)?;
    let is_ours = Policy::from_canonical(&policy).is_some();
    if !is_ours || Codec::of_media_type(&form.media_type) != Some(Codec::Zstd) {
        return Ok(None);
    }
    let tar_bytes = used.layer.tar_bytes;
    let (places, length) = places(items, |_| true)?;
    if length != tar_bytes {
        return Ok(None);
    }
    let Some(frames) = Frames::open(blob, tar_bytes)? else {
        return Ok(None);
    };
    if frames.begins_long() {
        return Ok(None);
    }
    let mut rest = items.iter().filter_map(LayerItem::entry);
    let starts = places.iter().filter_map(|place| {
        let entry = rest.find(|entry| entry.path == place.name)?;
        Some((content_of(entry)?.0, place.start))
    });
    Ok(Some((frames, starts.collect())))
}
