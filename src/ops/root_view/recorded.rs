//! The trees and policies of recorded snapshots, out of the database alone.

use crate::error::{Error, Result};
use crate::model::digest::TreeDigest;
use crate::model::plan::items_form::tree_digest;
use crate::model::policy::Policy;
use crate::model::tree::Tree;
use crate::model::tree::overlay::Overlay;
use crate::store::{Snapshot, Store};
use crate::threads::joined;
use std::num::NonZeroUsize;

/// Returns the policy of a snapshot. Fails with [`Error::Damaged`] if the recorded text is no policy.
pub(crate) fn policy_of(store: &Store, snapshot: &Snapshot) -> Result<Policy> {
    let canonical = store.policy(&snapshot.policy_key)?;
    Policy::from_canonical(&canonical).ok_or_else(|| {
        let what = format!("policy {} is malformed", snapshot.policy_key);
        Error::damaged(store.path(), what)
    })
}

/// Returns the tree that these layers give, the lowest first. Fails if the rows of a layer do not give the layer's key.
pub(crate) fn tree_of(store: &Store, layer_ids: &[i64]) -> Result<Tree> {
    tree_over(store, layer_ids, Overlay::new())
}

/// Returns the digest of a snapshot's tree, computed unless the store has it, and kept there. Fails if a layer
/// of the snapshot is damaged in the database.
pub(crate) fn tree_digest_of(store: &Store, snapshot: &Snapshot) -> Result<TreeDigest> {
    if let Some(known) = store.known_tree_digest(snapshot)? {
        return Ok(known);
    }
    let computed = computed_tree_digest(store, snapshot)?;
    store.keep_tree_digest(snapshot, &computed);
    Ok(computed)
}

/// Computes the digest of a snapshot's tree. Fails if the database has other layers than were recorded.
pub(crate) fn computed_tree_digest(store: &Store, snapshot: &Snapshot) -> Result<TreeDigest> {
    let layers = store.layers(snapshot.id)?;
    let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
    Ok(tree_digest(&snapshot.policy_key, &tree_of(store, &ids)?))
}

/// Returns the trees of two lists of layers. The layers that both lists begin with are read once, the rest side by side.
/// Fails if a second connection cannot be opened, or the rows of a layer in either list do not give the layer's key.
pub(crate) fn trees_of(
    store: &Store,
    a: &[i64],
    b: &[i64],
    threads: NonZeroUsize,
) -> Result<(Tree, Tree)> {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut below = Overlay::new();
    apply(store, &a[..shared], &mut below)?;
    let (rest_a, rest_b) = (&a[shared..], &b[shared..]);
    if rest_a.is_empty() && rest_b.is_empty() {
        let tree = below.into_tree();
        return Ok((tree.clone(), tree));
    }
    let mut above = below.clone();
    if threads.get() == 1 {
        apply(store, rest_a, &mut below)?;
        apply(store, rest_b, &mut above)?;
        return Ok((below.into_tree(), above.into_tree()));
    }
    trees_side_by_side(store, (rest_a, below), (rest_b, above))
}

/// Lays layers over two overlays, the first on another thread.
fn trees_side_by_side(
    store: &Store,
    (ids_a, overlay_a): (&[i64], Overlay),
    (ids_b, overlay_b): (&[i64], Overlay),
) -> Result<(Tree, Tree)> {
    std::thread::scope(|scope| {
        let path = store.path();
        // A connection belongs to one thread.
        let other = scope.spawn(move || tree_over(&Store::open(path)?, ids_a, overlay_a));
        let mine = tree_over(store, ids_b, overlay_b);
        Ok((joined(other.join())?, mine?))
    })
}

fn tree_over(store: &Store, layer_ids: &[i64], mut overlay: Overlay) -> Result<Tree> {
    apply(store, layer_ids, &mut overlay)?;
    Ok(overlay.into_tree())
}

/// Lays layers over what `overlay` has, the lowest first. Fails as [`Store::apply_all`] does.
pub(crate) fn apply(store: &Store, layer_ids: &[i64], overlay: &mut Overlay) -> Result<()> {
    store.apply_all(layer_ids, overlay)
}
