//! The bytes that decide whether a base or a delta is kept. Pure.

use crate::model::plan::limits::Limits;
use crate::model::tree::entry::{Content, Entry, Group, Kind};
use crate::model::tree::overlay::{Borrowed, Piece};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{self, Tree};
use std::collections::HashSet;

/// What decides whether a base or a delta is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of the base or delta.
    pub base_bytes: u64,
    /// Bytes of the updates of it.
    pub update_bytes: u64,
    /// Bytes of its files in whose place there is none of their length now, or the same without it.
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

    /// What has no content is made anew at no cost.
    pub(super) fn is_worth_keeping(&self, limits: &Limits) -> bool {
        self.base_bytes > 0 && !self.is_large(limits) && !self.is_dead(limits)
    }
}

/// Bytes of files of a base or delta in whose place there is none of their length now, or that lie below as well. One that is only
/// given another time, as a rebuilt package has it, is in the update, whose limit is another; what it holds is alive. Contents are not
/// compared with those of now: the content of a deferred file is pending, and a plan must not depend on that.
pub(super) fn dead_bytes<'a, C: Content + 'a, D>(
    whole: impl Iterator<Item = &'a Entry<C>>,
    ground: &[Borrowed],
    now: &Tree<D>,
) -> u64 {
    let (mut below, mut above) = (ground, now.entries());
    let mut files = Vec::new();
    for entry in whole {
        if entry.size_bytes() > 0 {
            let there = seek(&mut above, &entry.path, |there| &there.path).map(|there| &there.kind);
            let has_length = matches!(there, Some(Kind::File { size_bytes, .. }) if *size_bytes == entry.size_bytes());
            let lies_below = seek(&mut below, &entry.path, |below| &below.entry().path)
                .is_some_and(|below| entry.same_but_group(below.entry()));
            files.push((entry, has_length && !lies_below));
        }
    }
    let alive: HashSet<Group> = files
        .iter()
        .filter(|(_, is_alive)| *is_alive)
        .filter_map(|(entry, _)| entry.group)
        .collect();
    let is_dead = |(entry, is_alive): &&(&Entry<C>, bool)| match entry.group {
        Some(group) => !alive.contains(&group),
        None => !is_alive,
    };
    tree::content_bytes(files.iter().filter(is_dead).map(|(entry, _)| *entry))
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
