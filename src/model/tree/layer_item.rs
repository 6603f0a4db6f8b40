//! What a recorded layer holds, item by item.

use crate::model::plan::layer::Item;
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;

/// An entry, owned or borrowed, with the number of its hardlink group among all that is laid.
pub trait Piece {
    /// Returns the entry; its own number of a group may be another.
    fn entry(&self) -> &Entry;

    /// Returns the group.
    fn group(&self) -> Option<Group>;

    /// Gives it another number of a group.
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

/// An entry of a layer that somebody else keeps.
#[derive(Clone, Copy, Debug)]
pub struct Borrowed<'a> {
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

/// One thing that a recorded layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Laid<E = Entry> {
    /// The path is there, like this.
    Entry(E),
    /// The path and what is beneath it are gone.
    Whiteout(EntryPath),
    /// What is beneath the path is gone, but not the path itself. rootstrata writes none of these, others do.
    Opaque(EntryPath),
}

impl<E: Piece> Laid<E> {
    /// Returns the path that it is about.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::Entry(piece) => &piece.entry().path,
            Self::Whiteout(path) | Self::Opaque(path) => path,
        }
    }
}

impl Laid {
    /// Returns the same without its entry.
    pub fn borrowed(&self) -> Laid<Borrowed<'_>> {
        match self {
            Self::Entry(entry) => Laid::Entry(Borrowed {
                entry,
                group: entry.group,
            }),
            Self::Whiteout(path) => Laid::Whiteout(path.clone()),
            Self::Opaque(path) => Laid::Opaque(path.clone()),
        }
    }

    /// Returns the entry, if it is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Whiteout(_) | Self::Opaque(_) => None,
        }
    }

    /// Returns it as a layer of ours holds it, which is never opaque.
    pub fn as_item(&self) -> Option<Item<'_>> {
        match self {
            Self::Entry(entry) => Some(Item::Entry(entry)),
            Self::Whiteout(path) => Some(Item::Whiteout(path)),
            Self::Opaque(_) => None,
        }
    }
}

impl From<Item<'_>> for Laid {
    fn from(item: Item) -> Self {
        match item {
            Item::Entry(entry) => Self::Entry(entry.clone()),
            Item::Whiteout(path) => Self::Whiteout(path.clone()),
        }
    }
}
