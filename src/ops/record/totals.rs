//! The sums in the row of a snapshot.

use crate::model::policy::normalise::StableVolatile;
use crate::model::tree::content_bytes;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::store::Snapshot;

/// Entries and bytes of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub entries: u64,
    /// Length of all files.
    pub content_bytes: u64,
}

impl Totals {
    /// Counts the entries of both sides of a root that `is_counted` tells; a path of both sides once, as the volatile side has it.
    pub(super) fn of_sides(
        sides: &StableVolatile,
        is_counted: impl Fn(&EntryPath) -> bool,
    ) -> Self {
        let is_in_volatile = |entry: &&Entry| sides.volatile.position(&entry.path).is_some();
        let [stable, volatile] = [&sides.stable, &sides.volatile].map(|side| {
            let entries = side.entries().iter();
            entries.filter(|entry| is_counted(&entry.path))
        });
        Self::of(stable.filter(|entry| !is_in_volatile(entry)), volatile)
    }

    /// Counts the entries of both sides of a tree, which have no path in common.
    pub(super) fn of<'e>(
        stable: impl Iterator<Item = &'e Entry> + Clone,
        volatile: impl Iterator<Item = &'e Entry> + Clone,
    ) -> Self {
        Self {
            entries: (stable.clone().count() + volatile.clone().count()) as u64,
            content_bytes: content_bytes(stable) + content_bytes(volatile),
        }
    }

    /// Returns the totals of a recorded snapshot.
    pub(super) fn of_snapshot(snapshot: &Snapshot) -> Self {
        Self {
            entries: snapshot.entries,
            content_bytes: snapshot.content_bytes,
        }
    }

    /// Adds the totals of other paths.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            content_bytes: self.content_bytes + other.content_bytes,
        }
    }

    /// Takes the totals of some of the paths away; `None` where there are more.
    pub(super) fn without(self, other: Self) -> Option<Self> {
        Some(Self {
            entries: self.entries.checked_sub(other.entries)?,
            content_bytes: self.content_bytes.checked_sub(other.content_bytes)?,
        })
    }
}
