//! The recorded layers that a stage is planned over. Pure.

use crate::model::digest::LayerKey;
use crate::model::plan::layer::{LayerContent, Role};
use crate::model::plan::packages::{PackageEntry, PriorPackage};
use crate::model::plan::weight::{Weight, dead_bytes};
use crate::model::tree::Tree;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::{Borrowed, LayerItem, Overlay};
use crate::model::tree::path::EntryPath;

/// The bytes that an entry or a whiteout counts beside the content, for the comparison of layers.
const MEMBER_BYTES: u64 = 1024;

/// An update of fewer bytes is written again, not kept below another update.
const SMALL_BYTES: u64 = 1 << 20;

/// Why no layers of the stage, or of the stage before, can be reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absence {
    /// Nothing is missing.
    #[default]
    None,
    /// The snapshot of this number was recorded under another policy.
    OtherPolicy(i64),
    /// The snapshot of this number has them cut by another rule.
    OtherRule(i64),
    /// They are not to be looked for.
    Fresh,
    /// A blob is lost.
    LostBlob,
}

/// The layers that a stage is planned over; empty where no layer can be reused.
#[derive(Debug, Default)]
pub struct PriorLayers {
    /// The layers of the stage before, without its state, the lowest first; none for a first stage.
    pub inherited: Vec<PriorLayer>,
    /// The stage's own layers at the last recording: a base or a delta, and the updates.
    pub own: Vec<PriorLayer>,
    /// The package layers of the stage before, and those that the stage had on top when it was recorded last.
    pub packages: Vec<PriorPackage>,
    /// Where some paths are left out of all layers: the entries that package layers have at the other paths, in path order, of
    /// each path the highest.
    pub package_entries: Vec<PackageEntry>,
    /// Why `inherited` and `own` lack layers.
    pub absence: Absence,
    /// The dead bytes of the own base or delta at paths that are left out of all layers.
    pub dead_elsewhere_bytes: u64,
}

/// A layer that exists.
#[derive(Debug)]
pub struct PriorLayer {
    /// The purpose.
    pub role: Role,
    /// The name for readers; `None` if not recorded.
    pub label: Option<String>,
    /// The key.
    pub key: LayerKey,
    /// Length of its files in bytes, a hardlinked inode once.
    pub content_bytes: u64,
    /// Entries and whiteouts, in path order.
    pub items: Vec<LayerItem>,
}

impl PriorLayer {
    /// Returns the entry at `path`.
    pub fn at(&self, path: &EntryPath) -> Option<&Entry> {
        self.items[self.position(path)?].entry()
    }

    /// Tells whether the layer has an entry or a whiteout at `path`.
    pub fn has(&self, path: &EntryPath) -> bool {
        self.position(path).is_some()
    }

    fn position(&self, path: &EntryPath) -> Option<usize> {
        self.items
            .binary_search_by(|item| item.path().cmp(path))
            .ok()
    }

    /// Returns the entries in path order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(LayerItem::entry)
    }

    /// Tells whether `update` is so much smaller that a new layer over this update is better than a larger layer in its place.
    pub(super) fn carries<C>(&self, update: &LayerContent<C>) -> bool {
        let own = self.content_bytes + MEMBER_BYTES * self.items.len() as u64;
        let members = update.entries_len() + update.whiteouts_len();
        own >= SMALL_BYTES
            && 2 * own >= 3 * (update.content_bytes() + MEMBER_BYTES * members as u64)
    }
}

impl PriorLayers {
    /// Returns all layers, the lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &PriorLayer> {
        self.inherited.iter().chain(&self.own)
    }

    /// Takes layers with all paths.
    pub fn new(inherited: Vec<PriorLayer>, own: Vec<PriorLayer>) -> Self {
        Self {
            inherited,
            own,
            ..Self::default()
        }
    }

    pub(super) fn ground(&self) -> Overlay<Borrowed<'_>> {
        let mut ground = Overlay::new();
        for layer in &self.inherited {
            apply_layer(layer, &mut ground);
        }
        ground
    }

    /// Lays all layers over one another.
    pub fn overlay(&self) -> Overlay {
        let mut overlay = Overlay::new();
        overlay.apply_all(self.layers().map(|layer| layer.items.iter().cloned()));
        overlay
    }

    /// Notes that some paths are left out of the layers. `dead_bytes` of the own base or delta are dead at all paths; `tree` is
    /// the tree of the layers at the other paths. Tells whether the numbers agree.
    pub(super) fn leave_out(&mut self, dead_bytes: u64, tree: &Tree) -> bool {
        let Some(whole) = self.own.first() else {
            return true;
        };
        let elsewhere =
            dead_bytes.checked_sub(self.dead_bytes(whole, self.ground().entries(), tree));
        self.dead_elsewhere_bytes = elsewhere.unwrap_or_default();
        elsewhere.is_some()
    }

    /// Returns the bytes of the own base or delta that are dead in `now`.
    pub(super) fn dead_bytes<C>(
        &self,
        whole: &PriorLayer,
        ground: &[Borrowed],
        now: &Tree<C>,
    ) -> u64 {
        self.dead_elsewhere_bytes + dead_bytes(whole.entries(), ground, now)
    }
}

/// Lays a layer over the others, and returns the first whiteout of a missing path.
pub(super) fn apply_layer<'a>(
    layer: &'a PriorLayer,
    overlay: &mut Overlay<Borrowed<'a>>,
) -> Option<EntryPath> {
    overlay.apply_telling(layer.items.iter().map(LayerItem::borrowed))
}

/// Weighs a stage's own layers against the tree of all layers; `None` without own layers.
pub(crate) fn weigh(below: &PriorLayers, now: &Tree) -> Option<Weight> {
    let (whole, updates) = below.own.split_first()?;
    Some(Weight {
        base_bytes: whole.content_bytes,
        update_bytes: updates.iter().map(|layer| layer.content_bytes).sum(),
        dead_bytes: below.dead_bytes(whole, below.ground().entries(), now),
    })
}
