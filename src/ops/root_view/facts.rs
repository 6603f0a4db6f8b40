//! The sources of a root's view: a root on the disk, in an image or in the store.

use crate::error::{Error, Result};
use crate::model::policy::normalise::{Seen, shown_path};
use crate::model::policy::package_mtimes::Links;
use crate::model::stamp::StatKind;
use crate::model::tree::path::EntryPath;
use std::path::{Path, PathBuf};

/// A root that errors and notes can name.
pub(crate) trait NamedRoot {
    /// Returns the path by which the root is called: a directory, an archive or a store.
    fn name(&self) -> &Path;

    /// Returns the path by which an entry is called.
    fn shown(&self, path: &EntryPath) -> PathBuf {
        let inside = shown_path(path);
        let inside = inside.strip_prefix("/").unwrap_or(&inside);
        self.name().join(inside)
    }
}

/// Puts the name of the root in front of the path in an error: pure functions know paths inside the root alone.
pub(crate) fn in_root(error: Error, root: &Path) -> Error {
    let full = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    match error {
        Error::ReservedName(path) => Error::ReservedName(full(&path)),
        Error::WhiteoutDevice(path) => Error::WhiteoutDevice(full(&path)),
        Error::Unpackable { path, reason } => Error::Unpackable {
            path: full(&path),
            reason,
        },
        error => error,
    }
}

/// The paths of a root with their stat data and contents' hashes.
pub(crate) trait RootFacts: NamedRoot {
    /// Returns all paths that count, in order.
    fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>>;

    /// Returns the modification time of `path` in seconds since 1970; `None` for a missing path.
    fn mtime_s(&self, path: &EntryPath) -> Option<i64>;

    /// Returns the symlinks, through which packages may name their files.
    fn links(&self) -> Links {
        self.seen()
            .filter(|seen| seen.stat.kind == StatKind::Symlink)
            .map(|seen| (seen.path.clone(), seen.facts.target.clone()))
            .collect()
    }
}

/// The contents of the few files that tell of packages and users. Only content with the hash of the tree's entry is given.
pub(crate) trait RootFiles: NamedRoot {
    /// Returns the length of the regular file at `path`; `None` without such a file.
    fn size_bytes(&self, path: &EntryPath) -> Option<u64>;

    /// Returns the names of the files in a directory.
    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>>;

    /// Reads a file of at most `most_bytes`; `None` without such a file or its content. Fails if the content cannot be read, and
    /// with [`crate::error::Error::Changed`] if a live file has changed since observed.
    fn bytes(&self, path: &EntryPath, most_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// Copies a file to `target`, and tells whether there was anything to copy. Fails as [`RootFiles::bytes`] does, and if
    /// `target` cannot be written.
    fn copy(&self, path: &EntryPath, target: &Path) -> Result<bool>;
}
