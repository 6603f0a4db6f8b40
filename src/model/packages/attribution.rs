//! The changes of packages that account for the changes of paths.
//!
//! Pure. A package accounts for a path that came or went with the package, and that is as the package's header says. A path of
//! an unchanged package, or a path that is not as its package has it, is reported by itself.

use crate::model::packages::file_list::{DigestAlgorithm, Verified};
use crate::model::packages::owners::{Installed, Owner, Owners, Times, deviations};
use crate::model::packages::upgrade::{Fate, PackageChange};
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, Change};
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct SideView<'a> {
    /// The entries.
    pub tree: &'a Tree,
    /// The packages; empty where unknown.
    pub packages: &'a [Installed],
    /// Whether the times of entries count.
    pub times: Times,
}

/// The claim of a package to a path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The place of the package among the packages of the side.
    pub package: usize,
    /// Whether the path is a configuration file.
    pub is_config: bool,
    /// Whether the package owns the path if made by others, and does not bring the path.
    pub is_ghost: bool,
    /// The aspects in which the entry is not as the package has it, as far as recorded.
    pub deviations: Aspects,
    /// Whether the side lacks the path although the package brings the path.
    pub is_missing: bool,
    /// SHA-256 of the content in the package; `None` where unknown.
    pub sha256: Option<[u8; 32]>,
    /// Whether the content has this SHA-256; `None` where not compared.
    pub has_digest: Option<bool>,
}

impl Ownership {
    fn of(owner: &Owner, entry: Option<&Entry>, times: Times) -> Self {
        let file = &owner.file;
        let sha256 = match owner.algorithm {
            DigestAlgorithm::SHA256 if file.is_verified(Verified::Digest) => {
                file.digest.try_into().ok()
            }
            _ => None,
        };
        Self {
            package: owner.package,
            is_config: file.is_config(),
            is_ghost: file.is_ghost(),
            deviations: entry.map_or(Aspects::NONE, |entry| deviations(entry, file, times)),
            is_missing: entry.is_none() && !file.is_ghost(),
            sha256,
            has_digest: None,
        }
    }

    /// Tells whether the path is certainly not as in the package: another time alone proves nothing.
    pub(crate) fn deviates(&self) -> bool {
        self.is_missing
            || self.has_digest == Some(false)
            || !self.deviations.without(Aspects::MTIME).is_empty()
    }

    /// Compares the SHA-256 of the content.
    pub fn look(&mut self, sha256: &[u8; 32]) {
        self.has_digest = self.sha256.map(|wanted| wanted == *sha256);
    }
}

/// The account of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The owner on the old side.
    pub old: Option<Ownership>,
    /// The owner on the new side.
    pub new: Option<Ownership>,
    /// The place of the package change that accounts for the change; `None` without such a change.
    pub package_change: Option<usize>,
}

/// Returns the account of each change, in the order of `changes`.
pub fn account(
    old: &SideView,
    new: &SideView,
    changes: &[Change],
    packages: &[PackageChange],
) -> Vec<Attribution> {
    let paths = paths_of(old.tree, new.tree, changes);
    let old_owners = owners_of(old, &paths);
    let new_owners = owners_of(new, &paths);
    let package_changes = PackageChanges::new(packages);
    changes
        .iter()
        .zip(old_owners)
        .zip(new_owners)
        .map(|((change, old_owners), new_owners)| {
            let was = old.ownership(change.old, &old_owners, &package_changes.of_old);
            let is = new.ownership(change.new, &new_owners, &package_changes.of_new);
            Attribution {
                old: was,
                new: is,
                package_change: package_changes.accounting(change, was, is),
            }
        })
        .collect()
}

/// The changes of packages, by the places of the packages.
struct PackageChanges<'p> {
    all: &'p [PackageChange],
    /// The place of the change by the place of the old package.
    of_old: HashMap<usize, usize>,
    /// The place of the change by the place of the new package.
    of_new: HashMap<usize, usize>,
}

impl<'p> PackageChanges<'p> {
    fn new(all: &'p [PackageChange]) -> Self {
        let numbered = all.iter().enumerate();
        let of_old = numbered
            .clone()
            .filter_map(|(at, change)| Some((change.old?, at)));
        let of_new = numbered.filter_map(|(at, change)| Some((change.new?, at)));
        Self {
            all,
            of_old: of_old.collect(),
            of_new: of_new.collect(),
        }
    }

    /// Returns the place of the change that accounts for a path with these owners.
    fn accounting(
        &self,
        change: &Change,
        was: Option<Ownership>,
        is: Option<Ownership>,
    ) -> Option<usize> {
        match (change.new, was, is) {
            (Some(_), _, Some(is)) if !is.is_ghost && is.deviations.is_empty() => {
                self.of_new.get(&is.package).copied()
            }
            (None, Some(was), None) => {
                let at = self.of_old.get(&was.package).copied();
                at.filter(|at| !was.is_ghost || self.all[*at].fate == Fate::Removed)
            }
            // Only a ghost of another package is left of the path.
            (None, Some(was), Some(is)) if is.is_ghost && !was.is_ghost => {
                self.of_old.get(&was.package).copied()
            }
            _ => None,
        }
    }
}

impl SideView<'_> {
    /// Returns the ownership of the entry at a place, or of a path without an entry. Of several owners, the package that the
    /// entry is most like counts, and of equal packages a changed package.
    fn ownership(
        &self,
        place: Option<usize>,
        owners: &[Owner],
        changed: &HashMap<usize, usize>,
    ) -> Option<Ownership> {
        let entry = place.map(|at| &self.tree.entries()[at]);
        let all = owners
            .iter()
            .map(|owner| Ownership::of(owner, entry, self.times));
        all.min_by_key(|one| {
            let is_unchanged = !changed.contains_key(&one.package);
            let deviations = one.deviations.names().count();
            (one.is_ghost, deviations, is_unchanged)
        })
    }
}

fn paths_of<'t>(old: &'t Tree, new: &'t Tree, changes: &[Change]) -> Vec<&'t EntryPath> {
    let entries = changes.iter().map(|change| {
        let entry = change
            .new
            .map(|at| &new.entries()[at])
            .or_else(|| change.old.map(|at| &old.entries()[at]));
        entry.expect("a change has a side")
    });
    entries.map(|entry| &entry.path).collect()
}

fn owners_of<'a>(ground: &SideView<'a>, paths: &[&EntryPath]) -> Vec<Vec<Owner<'a>>> {
    Owners::new(ground.packages, ground.tree.entries().iter()).of(paths)
}
