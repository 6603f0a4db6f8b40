//! The bytes that decide whether a base or a delta is kept. Pure.

use crate::model::plan::limits::Limits;
use crate::model::tree::entry::{Content, Entry, Group, Kind};
use crate::model::tree::overlay::{Borrowed, Piece};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{self, Tree};
use std::collections::HashSet;

/// The bytes that decide whether a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of the base or delta.
    pub base_bytes: u64,
    /// Bytes of the updates.
    pub update_bytes: u64,
    /// Bytes of dead files: no file of this length is in the place any more, or the layers below give the same file.
    pub dead_bytes: u64,
}

impl Weight {
    /// Tells whether the updates are too large.
    pub(crate) fn is_large(&self, limits: &Limits) -> bool {
        u128::from(self.update_bytes) * 100
            > u128::from(self.base_bytes) * u128::from(limits.update_percent)
    }

    /// Tells whether too much of the base or delta is dead.
    pub(crate) fn is_dead(&self, limits: &Limits) -> bool {
        u128::from(self.dead_bytes) * 100
            > u128::from(self.base_bytes) * u128::from(limits.dead_percent)
    }

    /// Tells whether the base or delta is kept; a layer without content is made anew at no cost.
    pub(super) fn is_worth_keeping(&self, limits: &Limits) -> bool {
        self.base_bytes > 0 && !self.is_large(limits) && !self.is_dead(limits)
    }
}

/// Counts the bytes of dead files in a base or delta: no file of the same length is in the place now, or the same file lies below.
/// A file with another time alone, as of a rebuilt package, is in the update, but alive. Contents are not compared: the content of
/// a deferred file is pending, and a plan must not depend on a pending content.
pub(super) fn dead_bytes<'a, C: Content + 'a, D>(
    whole: impl Iterator<Item = &'a Entry<C>>,
    ground: &[Borrowed],
    now: &Tree<D>,
) -> u64 {
    let (mut below, mut above) = (ground, now.entries());
    let mut files = Vec::new();
    for entry in whole.filter(|entry| entry.size_bytes() > 0) {
        let there = seek(&mut above, &entry.path, |there| &there.path);
        let has_length = there.is_some_and(|there| is_file_of(there, entry.size_bytes()));
        let ground = seek(&mut below, &entry.path, |below| &below.entry().path);
        let lies_below = ground.is_some_and(|ground| entry.same_but_group(ground.entry()));
        files.push((entry, has_length && !lies_below));
    }
    tree::content_bytes(dead(&files))
}

/// Returns the dead files, given for each file whether the name is alive: an inode is alive if any name is.
fn dead<'a, C>(files: &[(&'a Entry<C>, bool)]) -> impl Iterator<Item = &'a Entry<C>> {
    let alive: HashSet<Group> = files
        .iter()
        .filter(|(_, is_alive)| *is_alive)
        .filter_map(|(entry, _)| entry.group)
        .collect();
    let dead = files.iter().filter(move |(entry, is_alive)| {
        entry
            .group
            .map_or(!is_alive, |group| !alive.contains(&group))
    });
    dead.map(|(entry, _)| *entry)
}

fn is_file_of<C>(entry: &Entry<C>, length: u64) -> bool {
    matches!(entry.kind, Kind::File { size_bytes, .. } if size_bytes == length)
}

/// Goes on to `path`, and returns the entry there. Paths are asked for in order.
fn seek<'a, T>(
    rest: &mut &'a [T],
    path: &EntryPath,
    path_of: impl Fn(&T) -> &EntryPath,
) -> Option<&'a T> {
    let before = rest.iter().take_while(|one| path_of(one) < path).count();
    *rest = &rest[before..];
    rest.first().filter(|one| path_of(one) == path)
}
