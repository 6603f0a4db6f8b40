//! The names of the files of a store, and how long their locks are waited for.

use crate::error::{Error, show};
use crate::model::digest::Digest;
use std::path::PathBuf;
use std::time::Duration;

/// The database.
pub(crate) const DATABASE: &str = "rootstrata.sqlite";
/// Held by a process that makes the store or changes its format, and shared by one that reads the database as a file that
/// nobody changes (see `database`).
pub(crate) const LOCK: &str = "lock";
/// See `locks`.
pub(crate) const TMP_LOCK: &str = "tmp.lock";
/// Room that prune gives back first, where a full disk has none left for the work of removing.
pub(crate) const RESERVE: &str = "reserve";
/// The list of images (image-spec, image-index.md).
pub(crate) const INDEX: &str = "index.json";
/// How long a writer waits for others before the store counts as locked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns where a blob is kept, below the store's directory.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Says that a database is lost beside which the files of a store are.
pub(crate) fn lost(database: PathBuf) -> Error {
    let store = show(database.parent().unwrap_or(&database));
    let what = format!(
        "it is missing or empty, and the files of a store are beside it: \
         rootstrata import oci:{store} records again what they tell"
    );
    Error::damaged(database, what)
}
