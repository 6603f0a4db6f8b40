//! The digests of trees: a cache of what was computed of snapshots' entries. A row with another sum than it was written with counts
//! as absent.

use crate::error::Result;
use crate::model::digest::TreeDigest;
use crate::store::files::PATIENCE;
use crate::store::handle::Store;
use crate::store::records::rows::Snapshot;
use crate::store::records::seal::sum;
use crate::store::records::values::hash;
use rusqlite::params;
use std::time::Duration;

/// Removes the digests of trees that no snapshot has.
pub(crate) const SWEEP_TREES: &str = "DELETE FROM tree WHERE (manifest, policy) NOT IN (SELECT manifest_digest, policy_key FROM snapshot)";

impl Store {
    /// Returns the digest of a snapshot's tree, if computed before. Fails with [`Error::Locked`](crate::error::Error::Locked) while another process recovers the
    /// database.
    pub(crate) fn known_tree_digest(&self, snapshot: &Snapshot) -> Result<Option<TreeDigest>> {
        let query = "SELECT digest, sum FROM tree WHERE manifest = ? AND policy = ?";
        let place = params![snapshot.manifest.digest.0, snapshot.policy_key.0];
        let found = self.one(query, place, |row| {
            // A value of another type is damage as well, and a cache.
            let read = hash(row, 0).and_then(|digest| Ok((TreeDigest(digest), row.get(1)?)));
            Ok(read.ok())
        })?;
        let sound = found
            .flatten()
            .filter(|(digest, sum): &(_, i64)| *sum == sum_of(snapshot, digest));
        Ok(sound.map(|(digest, _)| digest))
    }

    /// Remembers the digest of a snapshot's tree, if the store can be written to now.
    pub(crate) fn keep_tree_digest(&self, snapshot: &Snapshot, digest: &TreeDigest) {
        let row = params![
            snapshot.manifest.digest.0,
            snapshot.policy_key.0,
            digest.0,
            sum_of(snapshot, digest)
        ];
        if self.is_still() {
            return;
        }
        // A cache: nobody waits for another writer, and what cannot be kept is computed again.
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = self
            .connection
            .execute("INSERT OR REPLACE INTO tree VALUES (?, ?, ?, ?)", row);
        let _ = self.connection.busy_timeout(PATIENCE);
    }
}

fn sum_of(snapshot: &Snapshot, digest: &TreeDigest) -> i64 {
    sum([
        snapshot.manifest.digest.0.as_slice(),
        &snapshot.policy_key.0,
        &digest.0,
    ])
}
