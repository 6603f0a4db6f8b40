//! The seal of a snapshot: a hash of all its rows, as recorded.
//!
//! SQLite notices a damaged page only where the page's structure no longer fits. A flipped bit in a number, a name or
//! a digest leaves a valid row. The seal is written with a snapshot and compared when the snapshot's layers are read.
//! The number of the parent is not sealed, since that number goes when the parent goes.

use crate::model::plan::{Limits, Planning, Reason};
use crate::store::records::rows::{BlobRef, LayerUse, Snapshot};

/// Hashes a snapshot, the key of its package set and its layers. Every field has a fixed length or follows its length.
pub(crate) fn seal(
    snapshot: &Snapshot,
    package_set_key: Option<[u8; 32]>,
    layers: &[LayerUse],
) -> [u8; 32] {
    let mut sealed = Sealed::row(snapshot);
    sealed.number(u64::from(package_set_key.is_some()));
    sealed.0.update(&package_set_key.unwrap_or_default());
    sealed.number(layers.len() as u64);
    for used in layers {
        sealed.layer(used);
        if snapshot.planning.is_some() {
            sealed.number(u64::from(used.is_inherited));
            sealed.optional(used.label.as_deref());
            sealed.optional(used.reason.as_ref().map(Reason::to_string).as_deref());
        }
    }
    *sealed.0.finalize().as_bytes()
}

/// Returns 8 bytes of the BLAKE3 of a snapshot's own row.
pub(crate) fn row_sum(snapshot: &Snapshot) -> i64 {
    first_bytes(&Sealed::row(snapshot).0)
}

struct Sealed(blake3::Hasher);

impl Sealed {
    fn row(snapshot: &Snapshot) -> Self {
        let mut sealed = Self(blake3::Hasher::new());
        let is_marked = snapshot.is_pinned || !snapshot.labels.is_empty();
        // Where no planner, no label and no pin is recorded, the seal is that of an earlier format.
        sealed.0.update(match snapshot.planning {
            _ if is_marked => b"rootstrata snapshot 3\n",
            Some(_) => b"rootstrata snapshot 2\n",
            None => b"rootstrata snapshot 1\n",
        });
        sealed.number(snapshot.id.cast_unsigned());
        for name in [&snapshot.series, &snapshot.stage, &snapshot.run] {
            sealed.text(name);
        }
        sealed.0.update(&snapshot.policy_key.0);
        sealed.number(snapshot.created_s.cast_unsigned());
        sealed.number(snapshot.inherited_layers as u64);
        for BlobRef { digest, size_bytes } in [snapshot.manifest, snapshot.config] {
            sealed.0.update(&digest.0);
            sealed.number(size_bytes);
        }
        for number in [snapshot.entries, snapshot.content_bytes, snapshot.sockets] {
            sealed.number(number);
        }
        if is_marked {
            sealed.number(u64::from(snapshot.is_pinned));
            sealed.optional(snapshot.labels.to_json().as_deref());
            sealed.number(u64::from(snapshot.planning.is_some()));
        }
        if let Some(planning) = &snapshot.planning {
            sealed.planning(planning);
        }
        sealed
    }

    /// Hashes a planner and the limits; absent limits as zeros.
    fn planning(&mut self, planning: &Planning) {
        let Planning { planner, limits } = planning;
        self.text(planner);
        self.number(u64::from(limits.is_some()));
        let limits = limits.unwrap_or(Limits {
            update_percent: 0,
            dead_percent: 0,
            most_layers: 0,
        });
        self.number(limits.update_percent);
        self.number(limits.dead_percent);
        self.number(limits.most_layers as u64);
    }

    /// Hashes a layer, its form and whether the layer was reused.
    fn layer(&mut self, used: &LayerUse) {
        let LayerUse { layer, blob, .. } = used;
        self.text(used.role.name());
        self.number(u64::from(used.reused));
        self.0.update(&layer.key.0).update(&layer.diff_id.0);
        for number in [
            layer.tar_bytes,
            layer.content_bytes,
            layer.entries,
            layer.whiteouts,
        ] {
            self.number(number);
        }
        self.0.update(&blob.digest.0);
        self.text(&blob.media_type);
        self.number(blob.size_bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }
}

/// Returns 8 bytes of the BLAKE3 of `parts`, each after its length, for a row of a cache.
pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part);
    }
    first_bytes(&hasher)
}

fn first_bytes(hasher: &blake3::Hasher) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}
