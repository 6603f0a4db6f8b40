//! What differs within files: their contents side by side, and each beside what its package says of it.

use crate::error::Result;
use crate::model::text::{ContentDifference, compare_contents};
use crate::ops::compare::contents::{FileDigest, Wanted, read_contents};
use crate::ops::compare::findings::FileDifference;
use crate::ops::compare::open::open_store;
use crate::ops::compare::side::Side;
use std::collections::HashMap;
use std::path::Path;

/// A larger content is not compared byte by byte.
const LARGEST_BYTES: u64 = 16 << 20;
/// All contents that are held at a time; of those beyond, only the hashes are compared.
const LARGEST_SUM_BYTES: u64 = 256 << 20;

/// What differs between two contents, of which one may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContents {
    /// It was compared.
    Compared(ContentDifference),
    /// It is too large to be.
    TooLarge,
}

/// Compares the contents of the files among `files`.
pub(crate) fn compare_files(
    store_path: &Path,
    sides: &[Side; 2],
    files: &mut [FileDifference],
) -> Result<Vec<(usize, FileContents)>> {
    let mut left = LARGEST_SUM_BYTES;
    let mut is_held = vec![false; files.len()];
    for (at, file) in files.iter().enumerate() {
        let size = |side: usize, place: Option<usize>| {
            place.map_or(0, |place| sides[side].tree.entries()[place].size_bytes())
        };
        let (old, new) = (size(0, file.change.old), size(1, file.change.new));
        let sum = old.saturating_add(new);
        if old.max(new) <= LARGEST_BYTES && sum <= left {
            left -= sum;
            is_held[at] = true;
        }
    }
    let mut found = Vec::new();
    for side in [0, 1] {
        let places = files
            .iter()
            .enumerate()
            .filter_map(|(at, file)| Some((at, place(file, side)?)));
        let places: Vec<(usize, usize)> = places.filter(|(at, _)| is_held[*at]).collect();
        let digests = read(store_path, &sides[side], places)?;
        for (at, file) in files.iter_mut().enumerate() {
            if let (Some(owner), Some(digest_of_file)) = (owner(file, side), digests.get(&at)) {
                owner.look(&digest_of_file.sha256);
            }
        }
        found.push(digests);
    }
    let compared = |at: usize, file: &FileDifference| {
        let sides = [0, 1].map(|side: usize| {
            let entry = place(file, side).map(|place| &sides[side].tree.entries()[place]);
            entry.filter(|entry| matches!(entry.kind, crate::model::tree::entry::Kind::File { .. }))
        });
        if sides.iter().all(Option::is_none)
            || sides[0].map(|e| &e.kind) == sides[1].map(|e| &e.kind)
        {
            return None; // no file, or nothing in it differs
        }
        let bytes = |side: usize| {
            found[side]
                .get(&at)
                .and_then(|digest_of_file| digest_of_file.bytes.as_deref())
        };
        let bytes = [0, 1].map(|side| {
            if sides[side].is_some() {
                bytes(side)
            } else {
                Some(&b""[..])
            }
        });
        Some(match bytes {
            [Some(old), Some(new)] => FileContents::Compared(compare_contents(old, new)),
            _ => FileContents::TooLarge,
        })
    };
    let all = files.iter().enumerate();
    Ok(all
        .filter_map(|(at, file)| Some((at, compared(at, file)?)))
        .collect())
}

/// Reads the files of packages that no package accounts for, and compares them with the package's digest.
pub(crate) fn verify(
    store_path: &Path,
    sides: &[Side; 2],
    files: &mut [FileDifference],
) -> Result<()> {
    for side in [0, 1] {
        let mut places = Vec::new();
        for (at, file) in files.iter_mut().enumerate() {
            let place = place(file, side);
            let is_asked = file.account.package_change.is_none();
            if let (true, Some(place), Some(owner)) = (is_asked, place, owner(file, side))
                && owner.sha256.is_some()
                && !owner.is_ghost
            {
                places.push((at, place));
            }
        }
        let digests = read_digests(store_path, &sides[side], places)?;
        for (at, digest_of_file) in digests {
            if let Some(owner) = owner(&mut files[at], side) {
                owner.look(&digest_of_file.sha256);
            }
        }
    }
    Ok(())
}

fn read(
    store_path: &Path,
    side: &Side,
    places: Vec<(usize, usize)>,
) -> Result<HashMap<usize, FileDigest>> {
    let wanted = Wanted::of(&side.tree, places.into_iter());
    read_contents(
        side,
        open_store(store_path)?.as_ref(),
        wanted,
        LARGEST_BYTES,
    )
}

fn read_digests(
    store_path: &Path,
    side: &Side,
    places: Vec<(usize, usize)>,
) -> Result<HashMap<usize, FileDigest>> {
    let wanted = Wanted::of(&side.tree, places.into_iter());
    read_contents(side, open_store(store_path)?.as_ref(), wanted, 0)
}

fn place(file: &FileDifference, side: usize) -> Option<usize> {
    if side == 0 {
        file.change.old
    } else {
        file.change.new
    }
}

fn owner(
    file: &mut FileDifference,
    side: usize,
) -> Option<&mut crate::model::packages::attribution::Ownership> {
    if side == 0 {
        file.account.old.as_mut()
    } else {
        file.account.new.as_mut()
    }
}
