//! Why a base or a delta was made: as it was recorded.

use crate::error::Result;
use crate::model::plan::Reason;
use crate::model::tree::path::EntryPath;
use crate::store::{Snapshot, Store};

/// Why a base or a delta was made, and not an update of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// There was none before.
    First,
    /// The last one has another policy.
    OtherPolicy(Other),
    /// An update would have had too large a share of its bytes.
    LargeUpdate {
        /// Bytes that the update would have had.
        update_bytes: u64,
        /// Bytes of the base or delta before.
        base_bytes: u64,
    },
    /// Too large a share of its bytes was no longer used.
    DeadBase {
        /// Bytes that were not.
        dead_bytes: u64,
        /// Bytes of the base or delta before.
        base_bytes: u64,
    },
    /// The last one removes this path, which is no longer below.
    DanglingWhiteout(EntryPath),
    /// The image would have had too many layers.
    ManyLayers,
    /// A base with all that the layers of this snapshot gave.
    Squashed(Other),
    /// A blob of what it could have been laid over was lost.
    LostBlob,
}

/// A snapshot that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its number.
    pub id: i64,
    /// The snapshot; `None` if it is gone.
    pub snapshot: Option<Box<Snapshot>>,
}

impl From<Snapshot> for Other {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            id: snapshot.id,
            snapshot: Some(Box::new(snapshot)),
        }
    }
}

/// Returns the rule that a recorded reason tells; `None` for the reason of a layer that no rule has asked for. Fails if the
/// store cannot be read.
pub(super) fn recorded_rule(store: &Store, reason: &Reason) -> Result<Option<Rule>> {
    let other = |id: i64| -> Result<Other> {
        Ok(Other {
            id,
            snapshot: store.snapshot(id)?.map(Box::new),
        })
    };
    Ok(Some(match reason {
        Reason::Unchanged | Reason::Changed(_) | Reason::Differs | Reason::Volatile => {
            return Ok(None);
        }
        Reason::First => Rule::First,
        Reason::OtherPolicy(id) => Rule::OtherPolicy(other(*id)?),
        Reason::LostBlob => Rule::LostBlob,
        Reason::LargeUpdate {
            update_bytes,
            base_bytes,
        } => Rule::LargeUpdate {
            update_bytes: *update_bytes,
            base_bytes: *base_bytes,
        },
        Reason::DeadBase {
            dead_bytes,
            base_bytes,
        } => Rule::DeadBase {
            dead_bytes: *dead_bytes,
            base_bytes: *base_bytes,
        },
        Reason::DanglingWhiteout(path) => Rule::DanglingWhiteout(path.clone()),
        Reason::ManyLayers => Rule::ManyLayers,
        Reason::Squashed(id) => Rule::Squashed(other(*id)?),
    }))
}
