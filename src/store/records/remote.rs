//! Blobs that a registry has: where they may be had, and whether their layer is proven.
//!
//! Outside the seals, since a row promises nothing: a registry may lose what it has. A row with another sum than it was
//! written with counts as absent.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::store::handle::Store;
use crate::store::records::seal::sum;
use crate::store::records::values::hash;
use rusqlite::{Connection, Row, params};

const SELECT: &str = "SELECT digest, repository, proven, sum FROM remote_blob";

/// A blob in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBlob {
    /// The blob.
    pub digest: Digest,
    /// The repository, as `HOST/NAME`.
    pub repository: String,
    /// Whether the diff_id of the blob's layer was computed here; else a record claims it.
    pub is_proven: bool,
}

impl RemoteBlob {
    fn sum(&self) -> i64 {
        sum([
            self.digest.0.as_slice(),
            self.repository.as_bytes(),
            &[u8::from(self.is_proven)],
        ])
    }
}

/// Reads a row; `None` for one that is not as it was written.
fn remote(row: &Row) -> rusqlite::Result<Option<RemoteBlob>> {
    let read = || -> rusqlite::Result<(RemoteBlob, i64)> {
        let remote = RemoteBlob {
            digest: Digest(hash(row, 0)?),
            repository: row.get(1)?,
            is_proven: row.get(2)?,
        };
        Ok((remote, row.get(3)?))
    };
    let sound = read().ok().filter(|(remote, sum)| remote.sum() == *sum);
    Ok(sound.map(|(remote, _)| remote))
}

impl Store {
    /// Returns the repositories that have a blob, in order; those where it is proven come first. Fails with
    /// [`Error::Locked`](crate::error::Error::Locked) while another process recovers the database.
    pub(crate) fn remotes_of(&self, digest: &Digest) -> Result<Vec<RemoteBlob>> {
        let query = format!("{SELECT} WHERE digest = ? ORDER BY proven DESC, repository");
        let found = self.all(&query, [digest.0], remote)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Tells whether any blob is said to be in a registry. Fails as [`Store::remotes_of`] does.
    pub(crate) fn has_remotes(&self) -> Result<bool> {
        let found = self.one("SELECT 1 FROM remote_blob LIMIT 1", [], |_| Ok(()))?;
        Ok(found.is_some())
    }
}

/// Puts a repository in the place of all that were known to have a blob. Fails if the rows cannot be written.
pub(crate) fn replace(connection: &Connection, new: &RemoteBlob) -> rusqlite::Result<()> {
    let others = "DELETE FROM remote_blob WHERE digest = ? AND repository <> ?";
    let mut delete = connection.prepare_cached(others)?;
    delete.execute(params![new.digest.0, new.repository])?;
    insert(connection, new)
}

/// Inserts what is known of a blob; what is proven stays so. Fails if the row cannot be read or written.
pub(crate) fn insert(connection: &Connection, new: &RemoteBlob) -> rusqlite::Result<()> {
    let query = format!("{SELECT} WHERE digest = ? AND repository = ?");
    let mut known = connection.prepare_cached(&query)?;
    let known = known.query_map(params![new.digest.0, new.repository], remote)?;
    let known: Vec<Option<RemoteBlob>> = known.collect::<rusqlite::Result<_>>()?;
    let was_proven = known.into_iter().flatten().any(|known| known.is_proven);
    let row = RemoteBlob {
        is_proven: new.is_proven || was_proven,
        ..new.clone()
    };
    let statement = "INSERT OR REPLACE INTO remote_blob VALUES (?, ?, ?, ?)";
    let values = params![row.digest.0, row.repository, row.is_proven, row.sum()];
    let mut insert = connection.prepare_cached(statement)?;
    insert.execute(values).map(drop)
}
