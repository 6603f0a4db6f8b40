//! The names of the files of a store, and the patience with their locks.

use crate::error::{Error, show};
use crate::model::digest::Digest;
use std::path::PathBuf;
use std::time::Duration;

/// The database.
pub(crate) const DATABASE: &str = "rootstrata.sqlite";
/// Held by a process that makes the store or changes its format, and shared by a reader of the database as a file that
/// nobody changes (see `database`).
pub(crate) const LOCK: &str = "lock";
/// See `locks`.
pub(crate) const TMP_LOCK: &str = "tmp.lock";
/// Room for prune to give back first, on a full disk.
pub(crate) const RESERVE: &str = "reserve";
/// The list of images (image-spec, image-index.md).
pub(crate) const INDEX: &str = "index.json";
/// How long a writer waits for others before the store counts as locked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns where a blob is kept, below the store's directory.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Says that the database of a store is lost, with its other files left.
pub(crate) fn lost(database: PathBuf) -> Error {
    let store = show(database.parent().unwrap_or(&database));
    let what = format!(
        "it is missing or empty, and the files of a store are beside it: \
         rootstrata import oci:{store} records again what they tell"
    );
    Error::damaged(database, what)
}
