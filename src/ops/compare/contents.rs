//! The contents of a side's files, out of the blobs that hold the contents or from the disk.
//!
//! A content is looked for by the names that a layer may have the content under and by length, and is taken only with the
//! recorded BLAKE3. A content found under none of the names is looked for by length alone.

use crate::error::{Error, Result};
use crate::model::tree::path::EntryPath;
use crate::ops::compare::search::Search;
use crate::ops::compare::side::{Access, Side};
use crate::ops::compare::wanted::{FileDigest, Wanted};
use crate::store::Store;
use std::collections::HashMap;
use std::path::Path;

/// Returns each wanted content, by key; the bytes only of contents that are not longer than `largest_bytes`. Fails if no
/// layer has a content, if a layer's blob cannot be read or is not what its digest says, and if a file of a directory cannot
/// be read or has changed.
pub(super) fn read_contents(
    side: &Side,
    store: Option<&Store>,
    wanted: Vec<Wanted>,
    largest_bytes: u64,
) -> Result<HashMap<usize, FileDigest>> {
    let mut search = Search::new(wanted, largest_bytes);
    search.in_derived(&side.derived)?;
    match (&side.access, store) {
        (Access::Root(root), _) => search.in_root(root)?,
        (Access::Store(layers), Some(store)) => search.in_store(store, layers)?,
        (Access::Store(_), None) | (Access::Nowhere, _) => {}
        (Access::Image(opened, image), _) => search.in_image(opened, image)?,
    }
    match search.missing() {
        None => Ok(search.by_key()),
        Some(path) => Err(lost(&side.access, store, path)),
    }
}

/// Returns the error for a content that was not found.
fn lost(access: &Access, store: Option<&Store>, path: &EntryPath) -> Error {
    let what = || format!("no layer has the content of {path} any more");
    match access {
        Access::Root(root) => Error::Changed(root.full_path(path)),
        Access::Image(opened, _) => Error::damaged(opened.path(), what()),
        Access::Store(_) | Access::Nowhere => {
            let place = store.map(Store::path).unwrap_or(Path::new(""));
            Error::damaged(place, what())
        }
    }
}
