//! The differences within files: the contents side by side, and each content beside the digest of the package.

use crate::error::Result;
use crate::model::packages::attribution::Ownership;
use crate::model::text::{ContentDifference, compare_contents};
use crate::model::tree::entry::Kind;
use crate::ops::compare::contents::read_contents;
use crate::ops::compare::findings::FileDifference;
use crate::ops::compare::open::open_store;
use crate::ops::compare::side::Side;
use crate::ops::compare::wanted::{FileDigest, Wanted};
use std::collections::HashMap;
use std::path::Path;

/// A larger content is not compared byte by byte.
const LARGEST_BYTES: u64 = 16 << 20;
/// The most bytes of contents that are held at a time; of further contents, only the hashes are compared.
const LARGEST_SUM_BYTES: u64 = 256 << 20;

/// The difference between two contents, of which one may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContents {
    /// The contents were compared.
    Compared(ContentDifference),
    /// A content is too large to be compared.
    TooLarge,
}

/// Compares the contents of the files among `files`, and returns the differences by position in `files`. Fails if a content
/// of a side cannot be read, or is not the recorded content.
pub(crate) fn compare_files(
    store_path: &Path,
    sides: &[Side; 2],
    files: &mut [FileDifference],
) -> Result<Vec<(usize, FileContents)>> {
    let is_held = are_held(sides, files);
    let mut found = Vec::new();
    for side in [0, 1] {
        let mut places = Vec::new();
        for (at, file) in files.iter().enumerate() {
            if let Some(place) = place(file, side).filter(|_| is_held[at]) {
                places.push((at, place));
            }
        }
        let digests = read(store_path, &sides[side], places, LARGEST_BYTES)?;
        look_at(files, side, &digests);
        found.push(digests);
    }
    let mut compared = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let digests = [found[0].get(&at), found[1].get(&at)];
        if let Some(contents) = compare_file(sides, file, digests) {
            compared.push((at, contents));
        }
    }
    Ok(compared)
}

/// Tells of each file whether both contents are held to be compared: in the order of `files`, as long as the sum allows.
fn are_held(sides: &[Side; 2], files: &[FileDifference]) -> Vec<bool> {
    let mut left = LARGEST_SUM_BYTES;
    let mut is_held = Vec::with_capacity(files.len());
    for file in files {
        let old = size_bytes(&sides[0], file.change.old);
        let new = size_bytes(&sides[1], file.change.new);
        let sum = old.saturating_add(new);
        let is_small = old.max(new) <= LARGEST_BYTES && sum <= left;
        if is_small {
            left -= sum;
        }
        is_held.push(is_small);
    }
    is_held
}

fn size_bytes(side: &Side, place: Option<usize>) -> u64 {
    match place {
        Some(place) => side.tree.entries()[place].size_bytes(),
        None => 0,
    }
}

/// Compares the contents of a file; `None` if neither side has a file, or the files have the same content.
fn compare_file(
    sides: &[Side; 2],
    file: &FileDifference,
    digests: [Option<&FileDigest>; 2],
) -> Option<FileContents> {
    let old = file_kind(&sides[0], file.change.old);
    let new = file_kind(&sides[1], file.change.new);
    if old == new {
        return None;
    }
    let [old_digest, new_digest] = digests;
    let old = bytes(old, old_digest);
    let new = bytes(new, new_digest);
    let (Some(old), Some(new)) = (old, new) else {
        return Some(FileContents::TooLarge);
    };
    let difference = compare_contents(old, new);
    Some(FileContents::Compared(difference))
}

/// Returns the kind of a side's entry if the entry is a file.
fn file_kind(side: &Side, place: Option<usize>) -> Option<&Kind> {
    let kind = &side.tree.entries()[place?].kind;
    matches!(kind, Kind::File { .. }).then_some(kind)
}

/// Returns the content of a side, which is empty without a file; `None` for a content that is not held.
fn bytes<'d>(file: Option<&Kind>, digest: Option<&'d FileDigest>) -> Option<&'d [u8]> {
    match file {
        None => Some(b""),
        Some(_) => digest?.bytes.as_deref(),
    }
}

/// Reads the files of packages that no package accounts for, and compares the SHA-256 with the package's digest. Fails if
/// such a file cannot be read out of the layers or the directory.
pub(crate) fn verify(
    store_path: &Path,
    sides: &[Side; 2],
    files: &mut [FileDifference],
) -> Result<()> {
    for side in [0, 1] {
        let mut places = Vec::new();
        for (at, file) in files.iter().enumerate() {
            if let Some(place) = place(file, side)
                && is_to_verify(file, side)
            {
                places.push((at, place));
            }
        }
        let digests = read(store_path, &sides[side], places, 0)?;
        look_at(files, side, &digests);
    }
    Ok(())
}

fn is_to_verify(file: &FileDifference, side: usize) -> bool {
    let owner = if side == 0 {
        file.account.old
    } else {
        file.account.new
    };
    if file.account.package_change.is_some() {
        return false;
    }
    match owner {
        Some(owner) => owner.sha256.is_some() && !owner.is_ghost,
        None => false,
    }
}

/// Compares each digest with the digest of the file's package.
fn look_at(files: &mut [FileDifference], side: usize, digests: &HashMap<usize, FileDigest>) {
    for (at, digest_of_file) in digests {
        if let Some(owner) = owner(&mut files[*at], side) {
            owner.look(&digest_of_file.sha256);
        }
    }
}

fn read(
    store_path: &Path,
    side: &Side,
    places: Vec<(usize, usize)>,
    largest_bytes: u64,
) -> Result<HashMap<usize, FileDigest>> {
    let wanted = Wanted::of(&side.tree, places.into_iter());
    let store = open_store(store_path)?;
    read_contents(side, store.as_ref(), wanted, largest_bytes)
}

fn place(file: &FileDifference, side: usize) -> Option<usize> {
    if side == 0 {
        file.change.old
    } else {
        file.change.new
    }
}

fn owner(file: &mut FileDifference, side: usize) -> Option<&mut Ownership> {
    if side == 0 {
        file.account.old.as_mut()
    } else {
        file.account.new.as_mut()
    }
}
