//! One path of a recorded snapshot, without loading the tree.

use crate::error::{Error, Result};
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;

/// How many links a path may go through, as the kernel counts them (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A path of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) entry: Entry,
    /// The layer that gives it.
    pub(crate) layer: LayerUse,
}

/// Returns the entry at `path`, which may go through links of the snapshot, but may be one itself. Fails where there is none.
pub(crate) fn entry_of(store: &Store, snapshot: &Snapshot, path: &EntryPath) -> Result<Recorded> {
    let mut layers = store.layers(snapshot.id)?;
    let ids: Vec<i64> = layers.iter().map(|layer| layer.layer.id).collect();
    let found = match resolve(store, &ids, path)? {
        Some(real) => store.entry_at(&ids, &real)?,
        None => None,
    };
    let unknown = || Error::UnknownPath {
        path: path.to_string(),
        snapshot: snapshot.id,
    };
    let (place, entry) = found.ok_or_else(unknown)?;
    Ok(Recorded {
        entry,
        layer: layers.swap_remove(place),
    })
}

/// Follows the links in the directories of `path`; `None` where they lead nowhere.
fn resolve(store: &Store, layer_ids: &[i64], path: &EntryPath) -> Result<Option<EntryPath>> {
    let mut ahead: Vec<Vec<u8>> = components(&path.slashed())
        .rev()
        .map(<[u8]>::to_vec)
        .collect();
    let mut at = EntryPath::root();
    let mut followed = 0;
    while let Some(name) = ahead.pop() {
        if name == b".." {
            at = at.parent().unwrap_or_default();
            continue;
        }
        let next = at.join(&name);
        if ahead.is_empty() {
            return Ok(Some(next));
        }
        match store
            .entry_at(layer_ids, &next)?
            .map(|(_, entry)| entry.kind)
        {
            Some(Kind::Symlink(target)) => {
                followed += 1;
                if followed > MOST_LINKS {
                    return Ok(None);
                }
                if target.starts_with(b"/") {
                    at = EntryPath::root();
                }
                ahead.extend(components(&target).rev().map(<[u8]>::to_vec));
            }
            Some(_) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}
