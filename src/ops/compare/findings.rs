//! What a comparison came to, whatever was compared: packages with the files that each accounts for, and the files.

use crate::model::packages::attribution::Attribution;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::PackageChange;
use crate::model::tree::compare::Change;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::model::tree::{Tree, content_bytes};

/// A package that differs, with the files that it accounts for.
#[derive(Clone, Copy, Debug)]
pub struct PackageDifference {
    /// What became of it.
    pub change: PackageChange,
    /// Files that it added.
    pub added: u64,
    /// Files that it took away.
    pub removed: u64,
    /// Files that it changed.
    pub changed: u64,
    /// Bytes of content of these files before, an inode once.
    pub old_bytes: u64,
    /// Bytes after.
    pub new_bytes: u64,
}

impl PackageDifference {
    /// Returns how many files it accounts for.
    pub fn files(&self) -> u64 {
        self.added + self.removed + self.changed
    }
}

/// A path that differs.
#[derive(Clone, Copy, Debug)]
pub struct FileDifference {
    /// Where it stands in both trees, and what differs.
    pub change: Change,
    /// Whose it is.
    pub account: Attribution,
    /// Whether the policy of a side has it in the state, which differs between any two installations.
    pub is_volatile: bool,
}

/// Two sides and what differs between them; the old one comes first.
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
        let package =
            |side: usize, at: Option<usize>| at.map(|at| &self.installed[side][at].package);
        [package(0, of.change.old), package(1, of.change.new)]
    }
}

/// Returns the path of a change.
pub(crate) fn path_of<'t>(trees: [&'t Tree; 2], change: &Change) -> &'t EntryPath {
    match change {
        Change { new: Some(at), .. } => &trees[1].entries()[*at].path,
        Change { old, .. } => &trees[0].entries()[old.expect("a change has a side")].path,
    }
}

/// Counts what each package accounts for.
pub(crate) fn count(
    trees: [&Tree; 2],
    changes: &[PackageChange],
    files: &[FileDifference],
) -> Vec<PackageDifference> {
    let mut of_package: Vec<[Vec<&Entry>; 2]> = vec![[Vec::new(), Vec::new()]; changes.len()];
    let mut counts = vec![[0u64; 3]; changes.len()];
    for FileDifference {
        change, account, ..
    } in files
    {
        let Some(at) = account.package_change else {
            continue;
        };
        let kind = match (change.old, change.new) {
            (None, _) => 0,
            (_, None) => 1,
            _ => 2,
        };
        counts[at][kind] += 1;
        of_package[at][0].extend(change.old.map(|at| &trees[0].entries()[at]));
        of_package[at][1].extend(change.new.map(|at| &trees[1].entries()[at]));
    }
    let all = changes.iter().zip(of_package).zip(counts);
    all.map(
        |((change, [old, new]), [added, removed, changed])| PackageDifference {
            change: *change,
            added,
            removed,
            changed,
            old_bytes: content_bytes(old),
            new_bytes: content_bytes(new),
        },
    )
    .collect()
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
        file.account.package_change = file.account.package_change.map(|at| places[at]);
    }
}
