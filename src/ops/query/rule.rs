//! Why a base or a delta was made, as recorded.

use crate::error::Result;
use crate::model::plan::Reason;
use crate::model::tree::path::EntryPath;
use crate::store::{Snapshot, Store};

/// Why a base or a delta was made instead of an update of an earlier base or delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// There was no base or delta before.
    First,
    /// The last base or delta has another policy.
    OtherPolicy(Other),
    /// The last base or delta is cut into layers by another rule.
    OtherLayers(Other),
    /// An update would have had too many bytes, beside those of the base or delta.
    LargeUpdate {
        /// Bytes that the update would have had.
        update_bytes: u64,
        /// Bytes of the base or delta before.
        base_bytes: u64,
    },
    /// Too large a share of the last base or delta was no longer used.
    DeadBase {
        /// Bytes that were no longer used.
        dead_bytes: u64,
        /// Bytes of the base or delta before.
        base_bytes: u64,
    },
    /// The last base or delta removes this path, which is no longer below.
    DanglingWhiteout(EntryPath),
    /// The image would have had too many layers.
    ManyLayers,
    /// The base holds the whole tree of this snapshot.
    Squashed(Other),
    /// The snapshot was planned as if there were no other.
    Fresh,
    /// A blob of the layers below was lost.
    LostBlob,
}

/// A snapshot that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The snapshot's number.
    pub id: i64,
    /// The snapshot; `None` if the snapshot is gone.
    pub snapshot: Option<Box<Snapshot>>,
}

impl Other {
    fn find(store: &Store, id: i64) -> Result<Self> {
        let snapshot = store.snapshot(id)?.map(Box::new);
        Ok(Self { id, snapshot })
    }
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
/// row of the snapshot that the rule names is not as recorded.
pub(super) fn recorded_rule(store: &Store, reason: &Reason) -> Result<Option<Rule>> {
    Ok(Some(match reason {
        Reason::Unchanged
        | Reason::Changed(_)
        | Reason::Differs
        | Reason::Package
        | Reason::Upgraded(_)
        | Reason::Touched
        | Reason::Volatile => return Ok(None),
        Reason::First => Rule::First,
        Reason::OtherPolicy(id) => Rule::OtherPolicy(Other::find(store, *id)?),
        Reason::OtherRule(id) => Rule::OtherLayers(Other::find(store, *id)?),
        Reason::Fresh => Rule::Fresh,
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
        Reason::Squashed(id) => Rule::Squashed(Other::find(store, *id)?),
    }))
}
