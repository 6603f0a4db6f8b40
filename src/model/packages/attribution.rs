//! Which change of a package accounts for which change of a path, and what stands out.
//!
//! Pure. A package accounts for a path that it brought or took away, and that is as its header says. A path of a package
//! that did not change, or that is not as its package has it, is told by itself.

use crate::model::packages::file_list::DigestAlgorithm;
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
    /// Its entries.
    pub tree: &'a Tree,
    /// Its packages; none where they are unknown.
    pub packages: &'a [Installed],
    /// What its times tell.
    pub times: Times,
}

/// What a package says of a path on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The package's place among those of the side.
    pub package: usize,
    /// Whether it is a configuration file.
    pub is_config: bool,
    /// Whether the package does not bring it, but owns it where it comes to be.
    pub is_ghost: bool,
    /// In what it is not as the package has it, as far as the records tell.
    pub deviations: Aspects,
    /// Whether the side does not have it although the package brings it.
    pub is_missing: bool,
    /// SHA-256 of it as the package has it, where that is known.
    pub sha256: Option<[u8; 32]>,
    /// Whether it has that SHA-256; `None` where nobody has looked.
    pub has_digest: Option<bool>,
}

impl Ownership {
    /// Tells whether it is certainly not what the package brought: another time alone proves nothing.
    pub(crate) fn deviates(&self) -> bool {
        self.is_missing
            || self.has_digest == Some(false)
            || !self.deviations.without(Aspects::MTIME).is_empty()
    }

    /// Takes note of the SHA-256 that its content has.
    pub fn look(&mut self, sha256: &[u8; 32]) {
        self.has_digest = self.sha256.map(|wanted| wanted == *sha256);
    }
}

/// Who accounts for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The owner on the old side.
    pub old: Option<Ownership>,
    /// The owner on the new side.
    pub new: Option<Ownership>,
    /// The place of the package change that accounts for it.
    pub package_change: Option<usize>,
}

/// Returns the account of each change, in their order.
pub fn account(
    old: &SideView,
    new: &SideView,
    changes: &[Change],
    packages: &[PackageChange],
) -> Vec<Attribution> {
    let entry = |change: &Change| {
        let new = change.new.map(|at| &new.tree.entries()[at]);
        new.or_else(|| change.old.map(|at| &old.tree.entries()[at]))
            .expect("a change has a side")
    };
    let paths: Vec<_> = changes.iter().map(|change| &entry(change).path).collect();
    let (old_owners, new_owners) = (owners_of(old, &paths), owners_of(new, &paths));
    let change_of = |side: fn(&PackageChange) -> Option<usize>| -> HashMap<usize, usize> {
        packages
            .iter()
            .enumerate()
            .filter_map(|(at, change)| Some((side(change)?, at)))
            .collect()
    };
    let (change_of_old, change_of_new) = (
        change_of(|change| change.old),
        change_of(|change| change.new),
    );
    let changes = changes.iter().zip(old_owners).zip(new_owners);
    let account = |((change, old_owners), new_owners): ((&Change, Vec<Owner>), Vec<Owner>)| {
        let was = change.old.map(|at| &old.tree.entries()[at]);
        let was = ownership(was, &old_owners, old.times, |package| {
            change_of_old.contains_key(&package)
        });
        let is = change.new.map(|at| &new.tree.entries()[at]);
        let is = ownership(is, &new_owners, new.times, |package| {
            change_of_new.contains_key(&package)
        });
        let package_change = match (change.new, was, is) {
            (Some(_), _, Some(is)) if !is.is_ghost && is.deviations.is_empty() => {
                change_of_new.get(&is.package).copied()
            }
            (None, Some(was), None) => change_of_old
                .get(&was.package)
                .copied()
                .filter(|at| !was.is_ghost || packages[*at].fate == Fate::Removed),
            // Now it is only somebody's ghost.
            (None, Some(was), Some(is)) if is.is_ghost && !was.is_ghost => {
                change_of_old.get(&was.package).copied()
            }
            _ => None,
        };
        Attribution {
            old: was,
            new: is,
            package_change,
        }
    };
    changes.map(account).collect()
}

fn owners_of<'a>(ground: &SideView<'a>, paths: &[&EntryPath]) -> Vec<Vec<Owner<'a>>> {
    Owners::new(ground.packages, ground.tree.entries().iter()).of(paths)
}

/// What the owners say of the entry, or of its absence: of several that brought it, the one that it is most like, and of
/// these one that has changed.
fn ownership(
    entry: Option<&Entry>,
    owners: &[Owner],
    times: Times,
    has_changed: impl Fn(usize) -> bool,
) -> Option<Ownership> {
    let all = owners.iter().map(|owner| Ownership {
        package: owner.package,
        is_config: owner.file.is_config(),
        is_ghost: owner.file.is_ghost(),
        deviations: entry.map_or(Aspects::NONE, |entry| deviations(entry, &owner.file, times)),
        is_missing: entry.is_none() && !owner.file.is_ghost(),
        sha256: match owner.algorithm {
            DigestAlgorithm::SHA256 => owner.file.digest.try_into().ok(),
            _ => None,
        },
        has_digest: None,
    });
    all.min_by_key(|one| {
        (
            one.is_ghost,
            one.deviations.names().count(),
            !has_changed(one.package),
        )
    })
}
