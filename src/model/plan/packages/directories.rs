//! Directories whose mode is another than that of their packages. Pure.
//!
//! Every package layer repeats the directories above its files. So that a changed mode of `/usr` does not renew all of them, package
//! layers have a directory with the mode of its package, and the state, which is laid over them, has the mode of the tree.

use crate::model::packages::owners::{Installed, Owners};
use crate::model::policy::normalise::StableVolatile;
use crate::model::tree::Tree;
use crate::model::tree::entry::Entry;
use std::collections::HashMap;

const MODE_BITS: u16 = 0o7777;

/// Gives directories with another mode than each of their packages says the mode of the first package in the stable tree, and
/// copies them with their own mode to the volatile tree. Nobody sees the mode of a directory on which something is mounted.
pub(crate) fn set_modes_apart<C: Clone>(sides: &mut StableVolatile<C>, packages: &[Installed]) {
    let mut wrong = wrong_modes(sides.stable.entries(), packages);
    for mount in &sides.mounts {
        let place = sides.stable.position(mount);
        place.map(|place| wrong.remove(&place));
    }
    if wrong.is_empty() {
        return;
    }
    let mut stable = std::mem::take(&mut sides.stable).into_entries();
    let mut volatile = std::mem::take(&mut sides.volatile).into_entries();
    for (place, mode) in wrong {
        volatile.push(stable[place].clone());
        stable[place].mode = mode;
    }
    sides.stable = Tree::new(stable);
    sides.volatile = Tree::new(volatile);
}

/// Returns the places of the directories, and the mode of the first package of each.
fn wrong_modes<C>(entries: &[Entry<C>], packages: &[Installed]) -> HashMap<usize, u16> {
    let mut modes: HashMap<usize, Vec<u16>> = HashMap::new();
    let owners = Owners::new(packages, entries.iter());
    owners.each_directory(|key, owner| {
        let Ok(place) = entries.binary_search_by(|entry| entry.path.key().cmp(key)) else {
            return;
        };
        let entry = &entries[place];
        let is_told = !owner.file.is_ghost() && !entry.path.key().is_empty();
        if is_told && entry.is_directory() {
            let mode = owner.file.mode & MODE_BITS;
            modes.entry(place).or_default().push(mode);
        }
    });
    modes.retain(|place, modes| !modes.contains(&entries[*place].mode));
    let first = modes.into_iter().map(|(place, modes)| (place, modes[0]));
    first.collect()
}

/// Returns the directories that `all` has with another mode than `stable`: those that were set apart.
pub(crate) fn set_apart(stable: &Tree, all: &Tree) -> Tree {
    let is_apart = |entry: &&Entry| {
        let place = stable.position(&entry.path);
        let below = place.map(|place| &stable.entries()[place]);
        entry.is_directory() && below.is_some_and(|below| below.mode != entry.mode)
    };
    let apart = all.entries().iter().filter(is_apart);
    Tree::new(apart.cloned().collect())
}
