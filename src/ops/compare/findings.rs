//! The findings of a comparison: packages with the files that each package accounts for, and the files.

use crate::model::packages::attribution::Attribution;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::PackageChange;
use crate::model::tree::compare::Change;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::model::tree::{Tree, content_bytes};

/// A package that differs, with the files that the package accounts for.
#[derive(Clone, Copy, Debug)]
pub struct PackageDifference {
    /// The change of the package.
    pub change: PackageChange,
    /// Number of added files.
    pub added: u64,
    /// Number of removed files.
    pub removed: u64,
    /// Number of changed files.
    pub changed: u64,
    /// Bytes of content of all these files before, an inode once.
    pub old_bytes: u64,
    /// Bytes of content after, likewise.
    pub new_bytes: u64,
}

impl PackageDifference {
    /// Returns the number of files that the package accounts for.
    pub fn files(&self) -> u64 {
        self.added + self.removed + self.changed
    }
}

/// A path that differs.
#[derive(Clone, Copy, Debug)]
pub struct FileDifference {
    /// The positions in both trees, and the aspects that differ.
    pub change: Change,
    /// The packages that own the path, and the package change that accounts for the difference.
    pub account: Attribution,
    /// Whether the policy of a side counts the path as state, which differs between any two installations.
    pub is_volatile: bool,
    /// Whether the file tells Mock or the package manager what to do.
    pub is_configuration: bool,
}

/// Two sides and the differences between them; the old side comes first.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// The trees.
    pub trees: [&'a Tree; 2],
    /// The packages of each side.
    pub installed: [&'a [Installed]; 2],
    /// The packages that differ.
    pub packages: &'a [PackageDifference],
    /// The paths that differ, in path order.
    pub files: &'a [FileDifference],
}

impl<'a> Compared<'a> {
    /// Returns the entry on the old side.
    pub(crate) fn old_entry(&self, file: &FileDifference) -> Option<&'a Entry> {
        file.change.old.map(|at| &self.trees[0].entries()[at])
    }

    /// Returns the entry on the new side.
    pub(crate) fn new_entry(&self, file: &FileDifference) -> Option<&'a Entry> {
        file.change.new.map(|at| &self.trees[1].entries()[at])
    }

    /// Returns the path.
    pub fn path(&self, file: &FileDifference) -> &'a EntryPath {
        path_of(self.trees, &file.change)
    }

    /// Returns the package on the old side and on the new one.
    pub(crate) fn packages_of(&self, of: &PackageDifference) -> [Option<&'a Package>; 2] {
        let [old, new] = self.installed;
        let PackageChange {
            old: old_at,
            new: new_at,
            ..
        } = of.change;
        let old_package = old_at.map(|at| &old[at].package);
        let new_package = new_at.map(|at| &new[at].package);
        [old_package, new_package]
    }
}

/// Returns the path of a change.
pub(crate) fn path_of<'t>(trees: [&'t Tree; 2], change: &Change) -> &'t EntryPath {
    match change {
        Change { new: Some(at), .. } => &trees[1].entries()[*at].path,
        Change { old, .. } => &trees[0].entries()[old.expect("a change has a side")].path,
    }
}

/// Counts the files that each package accounts for.
pub(crate) fn count(
    trees: [&Tree; 2],
    changes: &[PackageChange],
    files: &[FileDifference],
) -> Vec<PackageDifference> {
    let mut sums: Vec<Sum> = changes.iter().map(|_| Sum::default()).collect();
    for file in files {
        if let Some(at) = file.account.package_change {
            sums[at].add(trees, &file.change);
        }
    }
    let mut packages = Vec::with_capacity(changes.len());
    for (change, sum) in changes.iter().zip(sums) {
        packages.push(PackageDifference {
            change: *change,
            added: sum.added,
            removed: sum.removed,
            changed: sum.changed,
            old_bytes: content_bytes(sum.old),
            new_bytes: content_bytes(sum.new),
        });
    }
    packages
}

/// The files of a package so far.
#[derive(Default)]
struct Sum<'t> {
    added: u64,
    removed: u64,
    changed: u64,
    old: Vec<&'t Entry>,
    new: Vec<&'t Entry>,
}

impl<'t> Sum<'t> {
    fn add(&mut self, trees: [&'t Tree; 2], change: &Change) {
        match (change.old, change.new) {
            (None, _) => self.added += 1,
            (_, None) => self.removed += 1,
            _ => self.changed += 1,
        }
        self.old
            .extend(change.old.map(|at| &trees[0].entries()[at]));
        self.new
            .extend(change.new.map(|at| &trees[1].entries()[at]));
    }
}

/// Leaves out the packages that account for none of the files.
pub(crate) fn keep_concerned(packages: &mut Vec<PackageDifference>, files: &mut [FileDifference]) {
    let mut place = 0;
    let mut places = Vec::with_capacity(packages.len());
    for package in packages.iter() {
        places.push(place);
        place += usize::from(package.files() > 0);
    }
    packages.retain(|package| package.files() > 0);
    for file in files {
        if let Some(at) = &mut file.account.package_change {
            *at = places[*at];
        }
    }
}
