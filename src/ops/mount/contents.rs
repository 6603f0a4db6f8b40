//! The contents of files, read when somebody asks, and compared with the recorded hash before a byte is given away.

use crate::error::{Error, Result};
use crate::model::digest::{ContentHash, LayerKey};
use crate::model::tree::overlay::LayerItem;
use crate::ops::mount::ahead::Ahead;
use crate::ops::mount::framed::{Framed, Proofs};
use crate::ops::mount::frames::Memory;
use crate::ops::mount::library::{Layer, Library, Reading, Whole};
use crate::ops::remote::ranged::Ranged;
use crate::store::{LayerUse, Store};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// The contents of all mounted snapshots.
pub(super) struct Contents {
    library: RwLock<Library>,
    memory: Arc<Memory>,
    ahead: Ahead,
    proofs: Proofs,
    registries: Ranged,
}

impl Contents {
    /// Starts with no layer. Layers of a registry alone are read there.
    pub(super) fn new(registries: Ranged) -> Self {
        let memory = Arc::default();
        Self {
            registries,
            library: RwLock::default(),
            ahead: Ahead::new(&memory),
            memory,
            proofs: Proofs::default(),
        }
    }

    /// Tells whether the contents of a layer can be read.
    pub(super) fn has(&self, key: &LayerKey) -> bool {
        let library = self.library.read();
        library.unwrap_or_else(PoisonError::into_inner).has(key)
    }

    /// Adds the contents of a layer with these items. Fails if the layer is nowhere.
    pub(super) fn add(&self, store: &Store, used: &LayerUse, items: &[LayerItem]) -> Result<()> {
        let library = self.library.write();
        let mut library = library.unwrap_or_else(PoisonError::into_inner);
        library.add(store, used, items, &self.registries)
    }

    /// Reads bytes of a content, which lie inside. Fails with [`Error::Damaged`] if the layer does not give the recorded content, and if
    /// there is no room to put a content aside.
    pub(super) fn read(
        &self,
        content: &ContentHash,
        size_bytes: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>> {
        let library = self.library.read();
        let library = library.unwrap_or_else(PoisonError::into_inner);
        let found = library.find(content);
        drop(library);
        let Some((layer, start)) = found else {
            let what = format!("the content {content} is in no layer of the snapshot");
            return Err(Error::damaged("snapshot", what));
        };
        match &*layer.reading(&self.registries)? {
            Reading::Whole(whole) => read_whole(&layer, whole, content, range),
            Reading::Frames(frames) => {
                let framed = Framed {
                    memory: &self.memory,
                    ahead: &self.ahead,
                    proofs: &self.proofs,
                    layer: &layer,
                    frames,
                    content,
                    bytes: start..start.saturating_add(size_bytes),
                };
                framed.read(range)
            }
        }
    }
}

fn read_whole(
    layer: &Layer,
    whole: &Whole,
    content: &ContentHash,
    range: Range<u64>,
) -> Result<Vec<u8>> {
    let aside = layer.aside(whole)?;
    let length = (range.end - range.start) as usize;
    let found = aside.read(content, range.start, length)?;
    found.ok_or_else(|| {
        let missing = format!("it does not hold the content {content}");
        let what = aside.failure().map_or(missing, str::to_owned);
        Error::damaged(layer.blob.path(), what)
    })
}
