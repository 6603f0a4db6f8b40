//! The blobs that need not be here: of layers whose snapshots no rule keeps. A damaged blob is no exception, since a registry that
//! has the digest has the content recorded.

use crate::error::Result;
use crate::model::digest::{Digest, LayerKey};
use crate::model::keep::{Reason, Rules};
use crate::ops::keep::prune::chosen;
use crate::store::{Blob, Presence, Snapshot, Store};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

/// A form of a layer, with a file here.
pub(super) struct Candidate {
    pub blob: Blob,
    /// The layers with this form: several, where policies give the same bytes.
    pub keys: BTreeSet<LayerKey>,
    /// The manifests that name the blob.
    pub manifests: BTreeSet<Digest>,
}

/// The blobs that need not be here, and the snapshots whose blobs stay.
pub(super) struct Candidates {
    /// The blobs, by digest.
    pub blobs: Vec<Candidate>,
    /// The snapshots that a rule keeps, the newest first.
    pub kept: Vec<(Snapshot, Vec<Reason>)>,
}

impl Candidates {
    /// Looks for the blobs of a series, or of all, that need not be here by rules; without a rule, the newest snapshot of each stage
    /// keeps its own. All rows are compared with their seals. Fails without such a series, and if a row is not as recorded or a
    /// file cannot be asked for.
    pub(super) fn find(store: &Store, rules: &Rules, series: Option<&str>) -> Result<Self> {
        let mut rules = rules.clone();
        if rules.is_empty() {
            rules.last = Some(NonZeroUsize::MIN);
        }
        let (kept, others) = chosen(store, &rules, series)?;
        let others: HashSet<i64> = others.iter().map(|snapshot| snapshot.id).collect();
        let (mut needed, mut found) = (HashSet::new(), BTreeMap::new());
        for snapshot in store.snapshots(None)? {
            for used in store.layers(snapshot.id)? {
                let digest = used.blob.digest;
                if !others.contains(&snapshot.id) {
                    needed.insert(digest);
                    continue;
                }
                let candidate = found.entry(digest).or_insert_with(|| Candidate {
                    blob: used.blob,
                    keys: BTreeSet::new(),
                    manifests: BTreeSet::new(),
                });
                candidate.keys.insert(used.layer.key);
                candidate.manifests.insert(snapshot.manifest.digest);
            }
        }
        found.retain(|digest, _| !needed.contains(digest));
        let mut blobs = Vec::new();
        for candidate in found.into_values() {
            let Blob {
                digest, size_bytes, ..
            } = &candidate.blob;
            let presence = store.presence_by_length(digest, *size_bytes)?;
            if matches!(presence, Presence::Here(_) | Presence::Damaged(_)) {
                blobs.push(candidate);
            }
        }
        Ok(Self { blobs, kept })
    }
}
