//! A directory as it is now: scanned like a root that is to be recorded, with the help of its stamps, and written nowhere.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::fs::scan::scan;
use crate::model::policy::Rules;
use crate::model::stamp::StatKind;
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::observe::{Look, Observation};
use crate::ops::root_view::package_files::{Spool, is_wanted};
use crate::store::StampState;
use crate::store::Stamps;
use crate::store::Store;
use std::io;
use std::num::NonZeroUsize;

/// How often a directory that changes while it is read is looked at anew.
const MOST_ATTEMPTS: usize = 3;

/// What a directory is found to be.
pub(crate) enum Live<T> {
    /// The tree of a recorded snapshot: every stamp vouches, and none is left over. What `recorded` has made of that one.
    Recorded(T),
    /// All that is in it.
    Observed(Box<Observation>),
}

/// Looks at all of the directory, and puts aside what `spool` wants. Asks `recorded` first whether a snapshot will do.
pub(crate) fn look<T>(
    root: &Root,
    mut store: Option<Store>,
    rules: &Rules,
    threads: NonZeroUsize,
    spool: &mut Spool,
    phases: &Phases,
    mut recorded: impl FnMut(i64) -> Result<Option<T>>,
) -> Result<Live<T>> {
    let mut attempt = 1;
    loop {
        match try_look(
            root,
            store.as_mut(),
            rules,
            threads,
            spool,
            phases,
            &mut recorded,
        ) {
            Err(Error::Changed(_)) if attempt < MOST_ATTEMPTS => attempt += 1,
            seen => return seen,
        }
    }
}

fn try_look<T>(
    root: &Root,
    store: Option<&mut Store>,
    rules: &Rules,
    threads: NonZeroUsize,
    spool: &mut Spool,
    phases: &Phases,
    recorded: &mut impl FnMut(i64) -> Result<Option<T>>,
) -> Result<Live<T>> {
    let look = phases.run(Phase::Scan, None, || {
        let (stamps, state) = match store {
            Some(store) => store.stamps(root.path())?,
            None => (Stamps::default(), StampState::default()),
        };
        Ok::<_, Error>(Look::new(scan(root, rules, threads)?, stamps, state))
    })?;
    if let Some((id, _)) = look.same_as()
        && let Some(side) = recorded(id)?
    {
        return Ok(Live::Recorded(side));
    }
    let observed = look.read(root, None, &[], threads, phases)?;
    observed.check(root, threads)?;
    for seen in observed
        .seen()
        .filter(|seen| seen.stat.kind == StatKind::File && !seen.is_mount)
    {
        let size_bytes = seen.stat.size_bytes;
        if size_bytes > 0 && is_wanted(seen.path, size_bytes) {
            let mut input = root.open_file(seen.path)?;
            if let Some(mut out) = spool.keep(seen.path, size_bytes)? {
                io::copy(&mut input, &mut out)
                    .map_err(Error::io("read", root.full_path(seen.path)))?;
            }
        }
    }
    Ok(Live::Observed(Box::new(observed)))
}
