//! Chooses the deferred files: to be hashed when their layer is packed, and not before.

use crate::error::Result;
use crate::model::plan::deferrable::Expected;
use crate::model::stamp::Stat;
use crate::model::tree::path::EntryPath;
use crate::ops::record::prior_layers::PriorReading;
use crate::ops::record::session::Session;
use crate::ops::root_view::places::deciding_files;
use crate::ops::root_view::stamped_scan::StampedScan;
use std::collections::HashSet;

/// Fewer bytes are sooner read twice than found to be needed.
const WORTHWHILE_BYTES: u64 = 16 << 20;

/// Chooses, among the files at `places` or all, the members of layers sure to be new, and returns the places of the files,
/// and the layers below. Fails if the rows of a layer below or of the stage's last snapshot are damaged.
pub(super) fn choose_deferred(
    session: &Session,
    scan: &StampedScan,
    places: Option<&[usize]>,
    mut prior: PriorReading,
) -> Result<(Vec<usize>, PriorReading)> {
    if !session.may_defer || scan.unread_bytes() < WORTHWHILE_BYTES {
        return Ok((Vec::new(), prior));
    }
    // A known layer of a package costs a hash, and a new one much more.
    if session.cuts_by_packages() && session.store.has_package_layers(&session.manner.policies)? {
        return Ok((Vec::new(), prior));
    }
    let expected = Expected {
        policy: &session.policy,
        rules: &session.rules,
        scan_start: scan.scan_start(),
    };
    let candidates = candidates(scan, places, &expected);
    let is_read = matches!(prior, PriorReading::Read(_));
    if !is_read && session.lineage.is_read_sooner_than(candidates.len()) {
        prior = PriorReading::Read(prior.finish(session)?);
    }
    // The content counts before a layer is planned.
    let read_early: HashSet<EntryPath> = deciding_files().collect();
    let mut sure = Vec::new();
    for at in candidates {
        let file = scan.at(at);
        if differs_below(session, &prior, file, &expected)? && !read_early.contains(file.0) {
            sure.push(at);
        }
    }
    if !has_another_tree(session, scan, &sure, &expected)? {
        sure.clear();
    }
    Ok((sure, prior))
}

fn candidates(scan: &StampedScan, places: Option<&[usize]>, expected: &Expected) -> Vec<usize> {
    match places {
        Some(places) => expected.candidates(scan.paths(places.iter().copied())),
        None => expected.candidates(scan.paths(0..scan.found().len())),
    }
}

/// Tells whether a file differs from the entries of all layers below: the plan decides later how many of these layers stay.
fn differs_below(
    session: &Session,
    prior: &PriorReading,
    (path, stat): (&EntryPath, &Stat),
    expected: &Expected,
) -> Result<bool> {
    let PriorReading::Read(below) = prior else {
        let store = &session.store;
        return session.lineage.differs(store, (path, stat), expected);
    };
    let mut layers = below.layers();
    Ok(layers.all(|layer| expected.differs(layer.at(path), stat)))
}

/// Tells whether a file differs from the last snapshot of the stage. A tree without such a file may have the layers of the
/// last snapshot.
fn has_another_tree(
    session: &Session,
    scan: &StampedScan,
    files: &[usize],
    expected: &Expected,
) -> Result<bool> {
    let Some(last) = session.last_of_stage()? else {
        return Ok(true);
    };
    let layers = session.store.layers(last.id)?;
    for at in files {
        let (path, stat) = scan.at(*at);
        let from_the_top = layers.iter().rev().map(|layer| layer.layer.id);
        let recorded = session.store.topmost(from_the_top, path)?;
        if expected.differs(recorded.as_ref(), stat) {
            return Ok(true);
        }
    }
    Ok(false)
}
