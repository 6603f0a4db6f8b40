//! An observed directory as a source of facts and files.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::digest::ContentHash;
use crate::model::policy::normalise::Seen;
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::facts::{NamedRoot, RootFacts, RootFiles};
use crate::ops::root_view::observation::Observation;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 256 * 1024;

/// An observed directory.
#[derive(Clone, Copy)]
pub(crate) struct LiveRoot<'a> {
    pub root: &'a Root,
    pub observed: &'a Observation,
}

impl NamedRoot for LiveRoot<'_> {
    fn name(&self) -> &Path {
        self.root.path()
    }

    fn shown(&self, path: &EntryPath) -> PathBuf {
        self.root.full_path(path)
    }
}

impl RootFacts for LiveRoot<'_> {
    fn seen(&self) -> impl ExactSizeIterator<Item = Seen<'_>> {
        self.observed.seen()
    }

    fn mtime_s(&self, path: &EntryPath) -> Option<i64> {
        Some(self.observed.stat(path)?.mtime.seconds)
    }
}

impl RootFiles for LiveRoot<'_> {
    fn size_bytes(&self, path: &EntryPath) -> Option<u64> {
        Some(self.observed.file(path)?.0)
    }

    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>> {
        self.observed.names_in(directory)
    }

    fn bytes(&self, path: &EntryPath, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let Some((size_bytes, content)) = self.observed.file(path) else {
            return Ok(None);
        };
        if size_bytes > most_bytes {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut input = self.root.open_file(path)?.take(size_bytes + 1);
        let read = input.read_to_end(&mut bytes);
        read.map_err(Error::io("read", self.shown(path)))?;
        self.check(path, content, &blake3::hash(&bytes))?;
        Ok(Some(bytes))
    }

    fn copy(&self, path: &EntryPath, target: &Path) -> Result<bool> {
        let Some((_, content)) = self.observed.file(path) else {
            return Ok(false);
        };
        let mut input = self.root.open_file(path)?;
        let mut output = File::create(target).map_err(Error::io("write", target))?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = input
                .read(&mut buffer)
                .map_err(Error::io("read", self.shown(path)))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            output
                .write_all(&buffer[..count])
                .map_err(Error::io("write", target))?;
        }
        self.check(path, content, &hasher.finalize())?;
        Ok(true)
    }
}

impl LiveRoot<'_> {
    /// Fails with [`Error::Changed`] if the read content is not the observed content.
    fn check(&self, path: &EntryPath, observed: ContentHash, read: &blake3::Hash) -> Result<()> {
        if *read.as_bytes() == observed.0 {
            Ok(())
        } else {
            Err(Error::Changed(self.shown(path)))
        }
    }
}
