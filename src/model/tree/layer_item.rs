//! The items of a recorded layer.

use crate::model::limits::NAME_BYTES;
use crate::model::plan::item::Item;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;

/// An entry, owned or borrowed, with the number of its hardlink group among all layers of an overlay.
pub trait Piece {
    /// Returns the entry; the group in the entry may have another number.
    fn entry(&self) -> &Entry;

    /// Returns the group.
    fn group(&self) -> Option<Group>;

    /// Gives the group another number.
    fn regrouped(self, group: Option<Group>) -> Self;
}

impl Piece for Entry {
    fn entry(&self) -> &Entry {
        self
    }

    fn group(&self) -> Option<Group> {
        self.group
    }

    fn regrouped(self, group: Option<Group>) -> Self {
        Self { group, ..self }
    }
}

/// A borrowed entry of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Borrowed<'a> {
    entry: &'a Entry,
    group: Option<Group>,
}

impl Piece for Borrowed<'_> {
    fn entry(&self) -> &Entry {
        self.entry
    }

    fn group(&self) -> Option<Group> {
        self.group
    }

    fn regrouped(self, group: Option<Group>) -> Self {
        Self { group, ..self }
    }
}

/// An item of a recorded layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerItem<E = Entry> {
    /// The path is there, with this entry.
    Entry(E),
    /// The path and everything beneath are gone.
    Whiteout(EntryPath),
    /// Everything beneath the path is gone, but not the path itself. rootstrata writes no such items, others do.
    Opaque(EntryPath),
}

impl<E: Piece> LayerItem<E> {
    /// Returns the path of the item.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Entry(piece) => &piece.entry().path,
            Self::Whiteout(path) | Self::Opaque(path) => path,
        }
    }
}

impl LayerItem {
    /// Returns the memory that the item takes in a list, as the limits of `crate::model::limits` count it.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.memory_bytes(),
            Self::Whiteout(path) | Self::Opaque(path) => NAME_BYTES + path.key().len(),
        }
    }

    /// Returns the same item with a borrowed entry.
    pub(crate) fn borrowed(&self) -> LayerItem<Borrowed<'_>> {
        match self {
            Self::Entry(entry) => LayerItem::Entry(Borrowed {
                entry,
                group: entry.group,
            }),
            Self::Whiteout(path) => LayerItem::Whiteout(path.clone()),
            Self::Opaque(path) => LayerItem::Opaque(path.clone()),
        }
    }

    /// Returns the entry, unless the item is another.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Whiteout(_) | Self::Opaque(_) => None,
        }
    }

    /// Returns the item of a native layer, which is never opaque.
    pub fn as_item(&self) -> Option<Item<'_>> {
        match self {
            Self::Entry(entry) => Some(Item::Entry(entry)),
            Self::Whiteout(path) => Some(Item::Whiteout(path)),
            Self::Opaque(_) => None,
        }
    }
}

impl From<Item<'_>> for LayerItem {
    fn from(item: Item) -> Self {
        match item {
            Item::Entry(entry) => Self::Entry(entry.clone()),
            Item::Whiteout(path) => Self::Whiteout(path.clone()),
        }
    }
}
