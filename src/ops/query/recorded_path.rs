//! A path of a recorded snapshot, without loading the tree.

use crate::error::{Error, Result};
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::query::records::ids_of;
use crate::store::ItemsAlong;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;

/// The most links on a path, as the kernel counts (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A path of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub entry: Entry,
    /// The layer with the entry.
    pub layer: LayerUse,
}

/// Returns the entry at `path`. Links in directories of the path are followed, a link at its end is not. Fails with
/// [`Error::UnknownPath`] without an entry.
pub(crate) fn entry_of(store: &Store, snapshot: &Snapshot, path: &EntryPath) -> Result<Recorded> {
    let mut layers = store.layers(snapshot.id)?;
    let ids = ids_of(&layers);
    let mut walk = Walk {
        store,
        ids: &ids,
        items: store.items_along(&ids, path)?,
        at: EntryPath::root(),
        ahead: Vec::new(),
        followed: 0,
    };
    walk.go_on(&path.slashed());
    let found = walk.end()?.ok_or_else(|| Error::UnknownPath {
        path: path.to_string(),
        snapshot: snapshot.id,
    });
    let (place, entry) = found?;
    Ok(Recorded {
        entry,
        layer: layers.swap_remove(place),
    })
}

/// A walk along a path of a snapshot.
struct Walk<'a> {
    store: &'a Store,
    ids: &'a [i64],
    items: ItemsAlong,
    at: EntryPath,
    /// The names ahead, the last first.
    ahead: Vec<Vec<u8>>,
    followed: usize,
}

impl Walk<'_> {
    /// Puts the names of a path before the names ahead.
    fn go_on(&mut self, path: &[u8]) {
        let names = path.split(|b| *b == b'/');
        let names = names.filter(|name| !name.is_empty() && *name != b".");
        self.ahead.extend(names.rev().map(<[u8]>::to_vec));
    }

    /// Follows the links in directories of the path. Returns the entry at the end, if there is an entry, and the
    /// position of its layer.
    fn end(&mut self) -> Result<Option<(usize, Entry)>> {
        while let Some(name) = self.ahead.pop() {
            if name == b".." {
                self.at = self.at.parent().unwrap_or_default();
                continue;
            }
            let next = self.at.join(&name);
            let Some((place, entry)) = self.entry_at(&next)? else {
                return Ok(None);
            };
            if self.ahead.is_empty() {
                return Ok(Some((place, entry)));
            }
            match entry.kind {
                Kind::Symlink(target) if self.followed < MOST_LINKS => self.follow(&target),
                Kind::Symlink(_) => return Ok(None),
                _ => self.at = next,
            }
        }
        let at = self.at.clone();
        self.entry_at(&at)
    }

    fn follow(&mut self, target: &[u8]) {
        self.followed += 1;
        if target.starts_with(b"/") {
            self.at = EntryPath::root();
        }
        self.go_on(target);
    }

    /// The database is asked again only where a link has led to another path.
    fn entry_at(&mut self, path: &EntryPath) -> Result<Option<(usize, Entry)>> {
        if !self.items.covers(path) {
            let mut whole = path.clone();
            for name in self.ahead.iter().rev() {
                if name == b".." {
                    break;
                }
                whole = whole.join(name);
            }
            self.items = self.store.items_along(self.ids, &whole)?;
        }
        let found = self.items.entry_at(self.ids, path);
        Ok(found.map(|(place, entry)| (place, entry.clone())))
    }
}
