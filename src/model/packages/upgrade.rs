//! The changes of packages between two sets of packages.
//!
//! Pure. A package is followed by name and architecture. Where a name has several versions installed at a time, as kernels do,
//! versions on both sides stay, and the other versions came or went.

use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::model::packages::version::Manager;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The change of a package. The order is for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Only the new side has it.
    Added,
    /// Only the old side has it.
    Removed,
    /// To a newer version.
    Upgraded,
    /// To an older version.
    Downgraded,
    /// The same version, built again: another build time, source package or list of files.
    Rebuilt,
}

impl Fate {
    /// All fates, in order.
    pub const ALL: [Self; 5] = [
        Self::Added,
        Self::Removed,
        Self::Upgraded,
        Self::Downgraded,
        Self::Rebuilt,
    ];

    /// Returns the name that JSON and text use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// A package that differs between the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageChange {
    /// The change.
    pub fate: Fate,
    /// The place among the old packages; `None` if added.
    pub old: Option<usize>,
    /// The place among the new packages; `None` if removed.
    pub new: Option<usize>,
}

/// rpm's name for the keys given to rpm: the version of a key is no version.
pub(crate) const KEYS: &str = "gpg-pubkey";

/// Returns the packages that differ, in order of fate, name and architecture. Both sides are sorted.
pub(crate) fn compare_packages(
    manager: Manager,
    old: &[Installed],
    new: &[Installed],
) -> Vec<PackageChange> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (name, remaining) in remaining_by_name(old, new) {
        pairs.extend(remaining.pair_all(name, old, new));
    }
    let changes = pairs.into_iter().map(|(was, is)| {
        let old_package = was.map(|at| &old[at].package);
        let new_package = is.map(|at| &new[at].package);
        PackageChange {
            fate: fate(manager, old_package, new_package),
            old: was,
            new: is,
        }
    });
    let mut changes: Vec<PackageChange> = changes.collect();
    changes.sort_by_key(|change| {
        let package = change
            .new
            .map(|at| &new[at].package)
            .or_else(|| change.old.map(|at| &old[at].package));
        (
            change.fate,
            package.map(|package| (&package.name, &package.arch)),
        )
    });
    changes
}

/// The places of a package among the old and the new packages.
type Pair = (Option<usize>, Option<usize>);

/// Returns the packages that the other side does not have, by name.
fn remaining_by_name<'p>(
    old: &'p [Installed],
    new: &'p [Installed],
) -> BTreeMap<&'p str, Remaining> {
    let mut left: BTreeMap<&str, Remaining> = BTreeMap::new();
    let (mut at_old, mut at_new) = (0, 0);
    loop {
        let order = match (old.get(at_old), new.get(at_new)) {
            (None, None) => return left,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.package.cmp(&is.package),
        };
        let is_same = order.is_eq() && has_same_files(&old[at_old], &new[at_new]);
        if order.is_le() {
            if !is_same {
                left.entry(&old[at_old].package.name)
                    .or_default()
                    .old
                    .push(at_old);
            }
            at_old += 1;
        }
        if order.is_ge() {
            if !is_same {
                left.entry(&new[at_new].package.name)
                    .or_default()
                    .new
                    .push(at_new);
            }
            at_new += 1;
        }
    }
}

/// The places of packages of a name that the other side does not have.
#[derive(Default)]
struct Remaining {
    old: Vec<usize>,
    new: Vec<usize>,
}

impl Remaining {
    /// Pairs packages of one architecture, then packages that may have changed their architecture; the rest came or went.
    fn pair_all(mut self, name: &str, old: &[Installed], new: &[Installed]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        if name != KEYS {
            self.pair(&mut pairs, |was, is| {
                old[was].package.arch == new[is].package.arch
            });
            self.pair(&mut pairs, |_, _| true);
        }
        pairs.extend(self.old.into_iter().map(|at| (Some(at), None)));
        pairs.extend(self.new.into_iter().map(|at| (None, Some(at))));
        pairs
    }

    /// Pairs packages that fit to no other package.
    fn pair(&mut self, pairs: &mut Vec<Pair>, fits: impl Fn(usize, usize) -> bool) {
        let all = std::mem::take(&mut self.old);
        for was in all.iter().copied() {
            let new = self.new.iter().copied();
            let partners: Vec<usize> = new.filter(|is| fits(was, *is)).collect();
            match partners[..] {
                [is] if all.iter().filter(|other| fits(**other, is)).count() == 1 => {
                    self.new.retain(|other| *other != is);
                    pairs.push((Some(was), Some(is)));
                }
                _ => self.old.push(was),
            }
        }
    }
}

/// Tells whether both have the same files; a list that is not recorded counts as the same.
fn has_same_files(was: &Installed, is: &Installed) -> bool {
    match (&was.files, &is.files) {
        (Some(was), Some(is)) => was == is,
        _ => true,
    }
}

fn fate(manager: Manager, was: Option<&Package>, is: Option<&Package>) -> Fate {
    match (was, is) {
        (None, _) => Fate::Added,
        (_, None) => Fate::Removed,
        (Some(was), Some(is)) => match manager.compare(was, is) {
            Ordering::Less => Fate::Upgraded,
            Ordering::Greater => Fate::Downgraded,
            Ordering::Equal => Fate::Rebuilt,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::packages::file_list::{DigestAlgorithm, FileList};
    use std::sync::Arc;

    fn one(name: &str, version: &str, arch: &str, build_time_s: i64) -> Installed {
        let package = Package {
            name: name.to_owned(),
            epoch: None,
            version: version.to_owned(),
            release: "1".to_owned(),
            arch: arch.to_owned(),
            source_rpm: String::new(),
            build_time_s,
        };
        Installed {
            package,
            files: None,
            details: None,
        }
    }

    fn shown(mut old: Vec<Installed>, mut new: Vec<Installed>) -> Vec<String> {
        old.sort_by(|a, b| a.package.cmp(&b.package));
        new.sort_by(|a, b| a.package.cmp(&b.package));
        let name =
            |side: &[Installed], at: Option<usize>| at.map(|at| side[at].package.to_string());
        compare_packages(Manager::Rpm, &old, &new)
            .into_iter()
            .map(|c| {
                let names = [name(&old, c.old), name(&new, c.new)]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>();
                format!("{} {}", c.fate.name(), names.join(" "))
            })
            .collect()
    }

    #[test]
    fn each_package_has_its_fate() {
        let old = vec![
            one("down", "2", "x", 0),
            one("gone", "1", "x", 0),
            one("same", "1", "x", 0),
            one("again", "1", "x", 5),
            one("up", "1.9", "x", 0),
        ];
        let new = vec![
            one("down", "1", "x", 0),
            one("new", "1", "x", 0),
            one("same", "1", "x", 0),
            one("again", "1", "x", 6),
            one("up", "1.10", "x", 0),
        ];
        assert_eq!(
            shown(old, new),
            [
                "added new-1-1.x",
                "removed gone-1-1.x",
                "upgraded up-1.9-1.x up-1.10-1.x",
                "downgraded down-2-1.x down-1-1.x",
                "rebuilt again-1-1.x again-1-1.x",
            ]
        );
    }

    #[test]
    fn architectures_are_followed_apart_and_one_that_changed_is_found() {
        let old = vec![
            one("glibc", "1", "i686", 0),
            one("glibc", "1", "x86_64", 0),
            one("doc", "1", "noarch", 0),
        ];
        let new = vec![
            one("glibc", "2", "i686", 0),
            one("glibc", "2", "x86_64", 0),
            one("doc", "2", "x86_64", 0),
        ];
        assert_eq!(
            shown(old, new),
            [
                "upgraded doc-1-1.noarch doc-2-1.x86_64",
                "upgraded glibc-1-1.i686 glibc-2-1.i686",
                "upgraded glibc-1-1.x86_64 glibc-2-1.x86_64",
            ]
        );
    }

    #[test]
    fn versions_that_are_installed_side_by_side_and_keys_come_and_go() {
        let kernels = |versions: &[&str]| {
            versions
                .iter()
                .map(|v| one("kernel", v, "x", 0))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(kernels(&["1", "2"]), kernels(&["2", "3"])),
            ["upgraded kernel-1-1.x kernel-3-1.x"]
        );
        assert_eq!(
            shown(kernels(&["1"]), kernels(&["2", "3"])),
            [
                "added kernel-2-1.x",
                "added kernel-3-1.x",
                "removed kernel-1-1.x"
            ]
        );
        assert_eq!(
            shown(kernels(&["1", "2"]), kernels(&["3"])),
            [
                "added kernel-3-1.x",
                "removed kernel-1-1.x",
                "removed kernel-2-1.x"
            ]
        );
        let key = |id: &str| vec![one("gpg-pubkey", id, "", 0)];
        assert_eq!(
            shown(key("a1"), key("b2")),
            ["added gpg-pubkey-b2-1", "removed gpg-pubkey-a1-1"]
        );
    }

    #[test]
    fn a_build_with_other_files_is_another_build_also_at_the_same_time() {
        let list =
            |name: &[u8]| Arc::new(FileList::builder(DigestAlgorithm::SHA256, &[name]).finish());
        let with = |files| {
            vec![Installed {
                files,
                ..one("a", "1", "x", 0)
            }]
        };
        assert_eq!(
            shown(with(Some(list(b"/a/"))), with(Some(list(b"/b/")))),
            ["rebuilt a-1-1.x a-1-1.x"]
        );
        assert_eq!(shown(with(Some(list(b"/a/"))), with(None)), [""; 0]);
    }
}
