//! Stamps of a restored directory, so that the next snapshot reads nothing.

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

/// The longest that the filesystem's clock is waited for, so that what was written last can be stamped as well.
const LONGEST_TICK_NS: i64 = 20_000_000;

/// A directory before and after a restore.
pub(super) struct Written<'a> {
    /// The directory before; `None` if empty.
    pub(super) observed: Option<&'a Observation>,
    /// The state of the stamps before.
    pub(super) stamps: StampState,
    pub(super) done: Done,
    /// Removed paths, with all beneath them; in path order.
    pub(super) removed: Vec<EntryPath>,
}

/// Stamps the entries that were written, and forgets the removed ones. Fails if the store or the filesystem's clock cannot be
/// read, or the stamps not be written.
pub(super) fn stamp(
    store: &mut Store,
    root: &Root,
    recorded: &Recorded,
    rules: &Rules,
    written: &Written,
) -> Result<StampState> {
    let Written {
        observed,
        stamps,
        done,
        removed,
    } = written;
    let now = passed(root, done.made.iter().map(|(_, stat)| stat.ctime).max())?;
    let lacking: std::collections::HashSet<usize> = done
        .lacks
        .iter()
        .filter(|(_, lack)| *lack == Lack::Xattr)
        .map(|(at, _)| *at)
        .collect();
    let mut made: Vec<&(usize, Stat)> = done.made.iter().collect();
    made.sort_unstable_by_key(|(at, _)| *at);
    let stamp = |(at, stat): &(usize, Stat)| {
        let entry = &recorded.tree.entries()[*at];
        if entry.is_directory() && rules.keeps_empty(&entry.path) {
            return Stamp::new(&masked_stat(StatKind::Directory), now, &Facts::default());
        }
        let old = observed.and_then(|observed| observed.at(&entry.path));
        let has_more = old.is_some_and(|(_, facts)| {
            recorded_xattrs(facts.xattrs.clone(), recorded.policy.profile) != facts.xattrs
        });
        // All names of an inode that lacks an attribute lack it; such groups are rare enough to be read again.
        let is_known =
            !has_more && (lacking.is_empty() || !lacking.contains(at) && entry.group.is_none());
        if is_known {
            Stamp::new(stat, now, &facts_of(entry))
        } else {
            None
        }
    };
    let gone = observed
        .iter()
        .flat_map(|observed| observed.seen())
        .filter(|seen| {
            let from = removed.partition_point(|path| path <= seen.path);
            from.checked_sub(1)
                .is_some_and(|at| removed[at] == *seen.path || seen.path.is_beneath(&removed[at]))
        });
    let gone: Vec<EntryPath> = gone.map(|seen| seen.path.clone()).collect();
    let changes = gone.iter().map(|path| (path.key(), None));
    let changes = changes.chain(
        made.iter()
            .map(|one| (recorded.tree.entries()[one.0].path.key(), stamp(one))),
    );
    store.update_stamps(root.path(), *stamps, changes)
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

/// Waits until the filesystem's clock has passed `last`, so that whatever is written from now on shows, but not long.
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
