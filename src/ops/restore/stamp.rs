//! Stamps of a restored directory, so the next snapshot reads nothing.

use crate::error::Result;
use crate::fs::attributes::Lack;
use crate::fs::root::Root;
use crate::fs::scan::masked_stat;
use crate::model::policy::Rules;
use crate::model::policy::normalise::recorded_xattrs;
use crate::model::stamp::{Facts, Stamp, Stat, StatKind, Time};
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::restore::recorded::Recorded;
use crate::ops::restore::write::Done;
use crate::ops::root_view::observation::Observation;
use crate::store::{StampState, Store};
use std::collections::HashSet;

/// The longest wait for the filesystem's clock, so the last written entry can be stamped too.
const LONGEST_TICK_NS: i64 = 20_000_000;

/// A directory before and after a restore.
pub(super) struct Written<'a> {
    /// The directory before; `None` if empty.
    pub observed: Option<&'a Observation>,
    /// The state of the stamps before.
    pub stamps: StampState,
    pub done: Done,
    /// Removed paths, with all beneath them; in path order.
    pub removed: Vec<EntryPath>,
}

impl<'a> Written<'a> {
    /// Returns the places of entries that could not get an extended attribute.
    fn lacking_xattrs(&self) -> HashSet<usize> {
        let lacks = self
            .done
            .lacks
            .iter()
            .filter(|(_, lack)| *lack == Lack::Xattr);
        lacks.map(|(at, _)| *at).collect()
    }

    /// Returns the observed paths removed, in path order.
    fn gone(&self) -> Vec<&'a EntryPath> {
        let Some(observed) = self.observed else {
            return Vec::new();
        };
        observed
            .seen()
            .map(|seen| seen.path)
            .filter(|path| self.is_removed(path))
            .collect()
    }

    fn is_removed(&self, path: &EntryPath) -> bool {
        let after = self.removed.partition_point(|removed| removed <= path);
        self.removed[..after]
            .last()
            .is_some_and(|removed| removed == path || path.is_beneath(removed))
    }
}

/// Stamps the entries written, and forgets the removed paths. Fails if the store or the filesystem's clock cannot be
/// read, or the stamps not be written.
pub(super) fn stamp(
    store: &mut Store,
    root: &Root,
    recorded: &Recorded,
    rules: &Rules,
    written: &Written,
) -> Result<StampState> {
    let mut made: Vec<&(usize, Stat)> = written.done.made.iter().collect();
    let last = made.iter().map(|(_, stat)| stat.ctime).max();
    made.sort_unstable_by_key(|(at, _)| *at);
    let stamper = Stamper {
        recorded,
        rules,
        observed: written.observed,
        lacking: written.lacking_xattrs(),
        now: passed(root, last)?,
    };
    let gone = written.gone();
    let forgotten = gone.into_iter().map(|path| (path.key(), None));
    let stamped = made.into_iter().map(|(at, stat)| {
        let entry = &recorded.tree.entries()[*at];
        (entry.path.key(), stamper.stamp(*at, stat))
    });
    store.update_stamps(root.path(), written.stamps, forgotten.chain(stamped))
}

/// Makes the stamps of written entries.
struct Stamper<'a> {
    recorded: &'a Recorded,
    rules: &'a Rules,
    observed: Option<&'a Observation>,
    /// The places of entries that lack an extended attribute.
    lacking: HashSet<usize>,
    /// The filesystem's time after the last write.
    now: Time,
}

impl Stamper<'_> {
    /// Returns the stamp of the entry at a place; `None` where the next snapshot has to read the entry.
    fn stamp(&self, at: usize, stat: &Stat) -> Option<Stamp> {
        let entry = &self.recorded.tree.entries()[at];
        if entry.is_directory() && self.rules.keeps_empty(&entry.path) {
            let masked = masked_stat(StatKind::Directory);
            return Stamp::new(&masked, self.now, &Facts::default());
        }
        // All names of an inode that lacks an attribute lack the attribute; such groups are rare enough to be read again.
        let may_lack = self.lacking.contains(&at) || entry.group.is_some();
        if !self.lacking.is_empty() && may_lack || self.had_cache_xattrs(entry) {
            return None;
        }
        Stamp::new(stat, self.now, &facts_of(entry))
    }

    /// Tells whether the path had extended attributes that a snapshot leaves out, and may have them still.
    fn had_cache_xattrs(&self, entry: &Entry) -> bool {
        let Some((_, facts)) = self.observed.and_then(|observed| observed.at(&entry.path)) else {
            return false;
        };
        let profile = self.recorded.policy.profile;
        recorded_xattrs(facts.xattrs.clone(), profile) != facts.xattrs
    }
}

fn facts_of(entry: &Entry) -> Facts {
    let mut facts = Facts {
        xattrs: entry.xattrs.clone(),
        ..Facts::default()
    };
    match &entry.kind {
        Kind::File { content, .. } => facts.content = Some(*content),
        Kind::Symlink(target) => facts.target = target.clone(),
        _ => {}
    }
    facts
}

/// Waits a short time until the filesystem's clock has passed `last`, so any later write shows.
fn passed(root: &Root, last: Option<Time>) -> Result<Time> {
    let ns = |time: Time| {
        time.seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(time.nanos))
    };
    let start = root.now()?;
    let mut now = start;
    while last.is_some_and(|last| last >= now) && ns(now) - ns(start) < LONGEST_TICK_NS {
        std::thread::yield_now();
        now = root.now()?;
    }
    Ok(now)
}
