//! Which paths of a tree are as their package has them. Pure.

use crate::model::packages::owners::{Installed, Owner, Owners, Times, differences};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Group};
use std::collections::HashMap;

/// The paths of one package in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackagePaths {
    /// The package, as rpm names it.
    pub label: String,
    /// The places of the paths in the tree, sorted; directories above are not among them unless the package owns them.
    pub places: Vec<u32>,
    /// The length of the files in bytes, each inode once.
    pub content_bytes: u64,
}

/// Returns the paths of each package, in the order of the packages: those that are in the tree as the package has them as
/// far as its header tells, without configuration, ghosts and hardlinks across packages. A path of several packages is among
/// the paths of each.
pub(super) fn package_paths<C>(
    tree: &Tree<C>,
    packages: &[Installed],
    times: Times,
) -> Vec<PackagePaths> {
    let entries = tree.entries();
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); packages.len()];
    Owners::new(packages, entries.iter()).each(|key, owner| {
        let place = entries.binary_search_by(|entry| entry.path.key().cmp(key));
        if let Ok(place) = place
            && is_as_brought(&entries[place], &owner, times)
        {
            places[owner.package].push(place as u32);
        }
    });
    let names = names_of_groups(entries);
    let paths = packages.iter().zip(places).map(|(installed, mut places)| {
        places.sort_unstable();
        places.dedup();
        leave_split_groups(entries, &names, &mut places);
        let files = places.iter().map(|place| &entries[*place as usize]);
        PackagePaths {
            label: installed.package.to_string(),
            content_bytes: crate::model::tree::content_bytes(files),
            places,
        }
    });
    paths.collect()
}

fn is_as_brought<C>(entry: &Entry<C>, owner: &Owner, times: Times) -> bool {
    let file = &owner.file;
    let is_brought = file.mode != 0 && !file.is_config() && !file.is_ghost();
    is_brought && differences(entry, file, times).is_empty()
}

/// Returns how many names each hardlink group has.
fn names_of_groups<C>(entries: &[Entry<C>]) -> HashMap<Group, usize> {
    let mut names = HashMap::new();
    for group in entries.iter().filter_map(|entry| entry.group) {
        *names.entry(group).or_default() += 1;
    }
    names
}

/// Removes the names of hardlink groups that are not there with all of their names.
fn leave_split_groups<C>(
    entries: &[Entry<C>],
    names: &HashMap<Group, usize>,
    places: &mut Vec<u32>,
) {
    let group_at = |place: &u32| entries[*place as usize].group;
    let mut own: HashMap<Group, usize> = HashMap::new();
    for group in places.iter().filter_map(group_at) {
        *own.entry(group).or_default() += 1;
    }
    places.retain(|place| group_at(place).is_none_or(|group| own[&group] == names[&group]));
}
