//! An item of a layer before packing.

use crate::model::digest::ContentHash;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;

/// An entry or a whiteout of a layer.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a, C = ContentHash> {
    /// The path is there.
    Entry(&'a Entry<C>),
    /// The path is gone, with all beneath.
    Whiteout(&'a EntryPath),
}

impl<C> Item<'_, C> {
    /// Returns the path.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Entry(entry) => &entry.path,
            Self::Whiteout(path) => path,
        }
    }
}
