//! The files of the root as packing reads, counted.

use crate::error::Result;
use crate::fs::root::Root;
use crate::layer::pack::{Contents, Opened};
use crate::model::digest::ContentHash;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Reads;
use crate::ops::record::session::Session;
use crate::ops::root_view::derived::Derived;
use std::path::PathBuf;

/// The files of a root, all hashed, and those derived from them.
pub(super) struct FilesOfRoot<'a> {
    root: &'a Root,
    derived: &'a Derived,
    reads: &'a Reads<'a>,
}

impl<'a> FilesOfRoot<'a> {
    /// Takes the files of the session's root.
    pub(super) fn of(session: &'a Session, derived: &'a Derived) -> Self {
        Self {
            root: &session.root,
            derived,
            reads: &session.phases.reads,
        }
    }

    /// Opens a hashed or derived file. Fails with [`crate::error::Error::Changed`] if the path is gone from the root, or no regular file any
    /// more.
    pub(super) fn open_hashed(&self, path: &EntryPath, hash: ContentHash) -> Result<Opened<'a>> {
        if let Some(derived) = self.derived.open(path, hash) {
            return Ok(Opened::Hashed(Box::new(derived), hash));
        }
        let file = self.root.open_file(path)?;
        Ok(Opened::Hashed(Box::new(file), hash))
    }
}

impl Contents for FilesOfRoot<'_> {
    fn open(&self, entry: &Entry, content: &ContentHash) -> Result<Opened<'_>> {
        self.open_hashed(&entry.path, *content)
    }

    fn full_path(&self, path: &EntryPath) -> PathBuf {
        self.root.full_path(path)
    }

    fn was_read(&self, bytes: u64) {
        self.reads.add(bytes);
    }
}
