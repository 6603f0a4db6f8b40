//! Blobs of registries, read by ranges: a range is fetched once, into a file without a name. Nothing here is compared with
//! a digest; readers compare contents with their hashes.

use crate::blob::{BlobSource, Fill};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::frame_table::FrameTable;
use crate::model::repository::Repository;
use crate::ops::remote::records::layer_record;
use crate::registry::{Access, Client, Right};
use crate::store::LayerUse;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The unit of fetching.
const CHUNK_BYTES: u64 = 64 << 10;
/// So many chunks are fetched where the chunk before is here: somebody reads on.
const CHUNKS_AHEAD: u64 = 16;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a registry that could not be reached is left alone.
const AWAY: Duration = Duration::from_secs(30);
/// The most chunks of one request, all in memory at once.
const MOST_CHUNKS: u64 = 256;

/// The registries of a process.
pub(crate) struct Ranged {
    access: Access,
    /// Where the files are.
    directory: PathBuf,
    registries: Mutex<HashMap<String, Arc<Asked>>>,
}

impl Ranged {
    /// Starts without a request; `directory` takes files without a name.
    pub(crate) fn new(access: Access, directory: &Path) -> Self {
        // Somebody waits for read(2): better an error soon.
        let access = Access {
            timeout: access.timeout.or(Some(PATIENCE)),
            tries: access.tries.or(Some(2)),
            ..access
        };
        Self {
            access,
            directory: directory.to_owned(),
            registries: Mutex::default(),
        }
    }

    /// Opens a blob of a repository, without a request. Fails if the repository is malformed, and if the directory takes no file.
    pub(crate) fn open(
        &self,
        repository: &str,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<BlobSource> {
        let failed = |e| Error::io("write in", &self.directory)(e);
        let file = tempfile::tempfile_in(&self.directory).map_err(failed)?;
        file.set_len(size_bytes).map_err(failed)?;
        let path = PathBuf::from(format!("docker://{repository}@{digest}"));
        let parts = Parts {
            registry: self.registry(repository)?,
            digest,
            size_bytes,
            chunks: Mutex::default(),
        };
        let fill: Option<Box<dyn Fill>> = Some(Box::new(parts));
        Ok(BlobSource::filled(file, path, digest, size_bytes, fill))
    }

    /// Returns where the frames of a layer's blob are, as the record of the layer tells; `None` without a record that fits. Fails if the registry
    /// does not answer.
    pub(crate) fn frames(&self, repository: &str, used: &LayerUse) -> Result<Option<FrameTable>> {
        let registry = self.registry(repository)?;
        let record =
            registry.ask(|client| layer_record(client, &used.layer.key, &used.blob.media_type))?;
        let record = record.filter(|record| record.blob.digest == used.blob.digest);
        let table = record.and_then(|record| record.frames);
        Ok(table.filter(|table| table.fits(used.layer.tar_bytes)))
    }

    fn registry(&self, repository: &str) -> Result<Arc<Asked>> {
        let mut known = self
            .registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = known.get(repository) {
            return Ok(Arc::clone(registry));
        }
        let parsed = Repository::parse(repository)?;
        let registry = Arc::new(Asked {
            client: Client::open(&parsed, &self.access, Right::Pull)?,
            away: Mutex::default(),
        });
        known.insert(repository.to_owned(), Arc::clone(&registry));
        Ok(registry)
    }
}

/// A registry that could not be reached.
#[derive(Clone)]
struct Away {
    since: Instant,
    registry: String,
    reason: String,
}

/// A repository, and the last time that the registry could not be reached.
struct Asked {
    client: Client,
    away: Mutex<Option<Away>>,
}

impl Asked {
    /// Asks, but not soon after a registry could not be reached. Fails as `ask` does.
    fn ask<T>(&self, ask: impl FnOnce(&Client) -> Result<T>) -> Result<T> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let away = away.clone().filter(|away| away.since.elapsed() < AWAY);
        if let Some(away) = away {
            return Err(Error::RegistryUnreachable {
                registry: away.registry,
                action: "read a part of a layer".to_owned(),
                reason: away.reason,
            });
        }
        let answer = ask(&self.client);
        if let Err(Error::RegistryUnreachable {
            registry, reason, ..
        }) = &answer
        {
            let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            *away = Some(Away {
                since: Instant::now(),
                registry: registry.clone(),
                reason: reason.clone(),
            });
        }
        answer
    }
}

/// The fetched parts of a blob.
struct Parts {
    registry: Arc<Asked>,
    digest: Digest,
    size_bytes: u64,
    /// Held while a chunk is fetched.
    chunks: Mutex<BTreeSet<u64>>,
}

impl Fill for Parts {
    fn fill(&self, file: &File, bytes: Range<u64>) -> io::Result<()> {
        let end = bytes.end.min(self.size_bytes);
        if bytes.start >= end {
            return Ok(());
        }
        let last = (end - 1) / CHUNK_BYTES;
        let mut here = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = bytes.start / CHUNK_BYTES;
        while chunk <= last {
            if here.contains(&chunk) {
                chunk += 1;
                continue;
            }
            let goes_on = chunk > 0 && here.contains(&(chunk - 1));
            let ahead = if goes_on { CHUNKS_AHEAD } else { 1 };
            let most = ahead.max(last - chunk + 1).min(MOST_CHUNKS);
            let wanted = (chunk..chunk + most)
                .take_while(|one| !here.contains(one) && one * CHUNK_BYTES < self.size_bytes);
            let after = wanted.last().map_or(chunk + 1, |one| one + 1);
            let range = chunk * CHUNK_BYTES..(after * CHUNK_BYTES).min(self.size_bytes);
            let start = range.start;
            let part = self
                .registry
                .ask(|client| client.read_range(&self.digest, range));
            file.write_all_at(&part.map_err(io::Error::other)?, start)?;
            here.extend(chunk..after);
            chunk = after;
        }
        Ok(())
    }
}
