//! The packages that own a path, and whether the path is as the package brought it.
//!
//! Pure. No byte of a file is needed: type, mode, length, link target and time of the entry are compared with the package's
//! header. Equal length and time do not prove equal content; another length proves another content.

use crate::model::packages::details::Details;
use crate::model::packages::file_list::{DigestAlgorithm, FileList, OwnedFile, Verified};
use crate::model::packages::package::Package;
use crate::model::policy::package_mtimes::{Links, MOST_STEPS_IN_ALL, resolve};
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;
use std::sync::Arc;

/// A package, with its files and details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// The files; `None` if not recorded.
    pub files: Option<Arc<FileList>>,
    /// The details; `None` if not recorded.
    pub details: Option<Arc<Details>>,
}

/// A package that owns a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'p> {
    /// The place among the packages.
    pub package: usize,
    /// The file in the header of the package.
    pub file: OwnedFile<'p>,
    /// The algorithm of the digest in `file`.
    pub algorithm: DigestAlgorithm,
}

/// Finds the owners of paths in one tree.
#[derive(Debug)]
pub(crate) struct Owners<'p> {
    packages: &'p [Installed],
    links: Links,
}

impl<'p> Owners<'p> {
    /// Takes the packages of a tree, and of the tree's entries the symlinks.
    pub(crate) fn new<'t, C: 't>(
        packages: &'p [Installed],
        entries: impl Iterator<Item = &'t Entry<C>>,
    ) -> Self {
        let link = |entry: &Entry<C>| match &entry.kind {
            Kind::Symlink(target) => Some((entry.path.clone(), target.clone())),
            _ => None,
        };
        Self {
            packages,
            links: entries.filter_map(link).collect(),
        }
    }

    /// Returns the owners of each path, owners of a ghost last. A path that is given twice has owners once.
    pub(crate) fn of(&self, paths: &[&EntryPath]) -> Vec<Vec<Owner<'p>>> {
        let mut owners = vec![Vec::new(); paths.len()];
        let places: HashMap<&[u8], usize> = paths
            .iter()
            .enumerate()
            .map(|(at, path)| (path.key(), at))
            .collect();
        self.each(|path, owner| {
            if let Some(at) = places.get(path) {
                owners[*at].push(owner);
            }
        });
        owners
            .iter_mut()
            .for_each(|all| all.sort_by_key(|owner| (owner.file.is_ghost(), owner.package)));
        owners
    }

    /// Calls `found` with each path that a package owns, in the form of [`EntryPath::key`], and the owner. A file that rpm has not
    /// installed, or has replaced, has no owner, as for `rpm -qf`.
    pub(crate) fn each(&self, found: impl FnMut(&[u8], Owner<'p>)) {
        self.each_where(OwnedFile::is_installed, found);
    }

    /// Calls `found` as [`Owners::each`] does, for directories alone.
    pub(crate) fn each_directory(&self, found: impl FnMut(&[u8], Owner<'p>)) {
        let is_wanted = |file: &OwnedFile| file.is_installed() && file.is_directory();
        self.each_where(is_wanted, found);
    }

    fn each_where(
        &self,
        is_wanted: impl Fn(&OwnedFile<'p>) -> bool,
        mut found: impl FnMut(&[u8], Owner<'p>),
    ) {
        let mut resolved: HashMap<&[u8], Option<EntryPath>> = HashMap::new();
        let mut steps_left = MOST_STEPS_IN_ALL;
        let mut path = Vec::new();
        for (package, installed) in self.packages.iter().enumerate() {
            let Some(list) = &installed.files else {
                continue;
            };
            let directories: Vec<&[u8]> = list.directories().collect();
            self.resolve_new(&directories, &mut resolved, &mut steps_left);
            let directories: Vec<&Option<EntryPath>> = directories
                .iter()
                .map(|directory| &resolved[directory])
                .collect();
            for file in list.files().filter(&is_wanted) {
                let Some(directory) = directories[file.directory] else {
                    continue;
                };
                write_key(&mut path, directory, file.name);
                let owner = Owner {
                    package,
                    file,
                    algorithm: list.algorithm(),
                };
                found(&path, owner);
            }
        }
    }

    /// Resolves the directories that are not in `resolved` yet.
    fn resolve_new<'l>(
        &self,
        directories: &[&'l [u8]],
        resolved: &mut HashMap<&'l [u8], Option<EntryPath>>,
        steps_left: &mut usize,
    ) {
        for directory in directories {
            resolved
                .entry(directory)
                .or_insert_with(|| resolve(directory, &self.links, steps_left));
        }
    }
}

/// Writes the key of a file to `key`; `name` is empty for the root itself, which a package may own.
fn write_key(key: &mut Vec<u8>, directory: &EntryPath, name: &[u8]) {
    key.clear();
    key.extend_from_slice(directory.key());
    if !key.is_empty() && !name.is_empty() {
        key.push(0);
    }
    key.extend_from_slice(name);
}

/// Whether the time of an entry is the time on the disk, if a package accounts for the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The time of the disk, else the epoch.
    Kept,
    /// Any time.
    Lost,
}

/// Returns the aspects in which `entry` is not as the package has it, but for those that `rpm -V` is told not to compare
/// (`%verify`). [`Aspects::MTIME`] alone says that the file was written or only touched.
pub fn deviations<C>(entry: &Entry<C>, file: &OwnedFile, times: Times) -> Aspects {
    let unverified = [
        (Verified::Size, Aspects::CONTENT),
        (Verified::Target, Aspects::TARGET),
        (Verified::Mode, Aspects::MODE),
        (Verified::Mtime, Aspects::MTIME),
    ];
    let unverified = unverified
        .into_iter()
        .filter(|(aspect, _)| !file.is_verified(*aspect));
    unverified.fold(differences(entry, file, times), |found, (_, aspect)| {
        found.without(aspect)
    })
}

/// Returns all aspects in which `entry` is not as the package has it.
pub(crate) fn differences<C>(entry: &Entry<C>, file: &OwnedFile, times: Times) -> Aspects {
    const TYPE_BITS: u16 = 0o170_000;
    if file.mode == 0 || file.is_ghost() {
        return Aspects::NONE; // the package tells nothing of the path
    }
    if file.mode & TYPE_BITS != type_bits(&entry.kind) {
        return Aspects::TYPE;
    }
    let mut found = match &entry.kind {
        Kind::File { size_bytes, .. } if *size_bytes != file.size_bytes => Aspects::CONTENT,
        Kind::Symlink(target) if **target != *file.target => Aspects::TARGET,
        _ => Aspects::NONE,
    };
    let is_symlink = matches!(entry.kind, Kind::Symlink(_));
    if !is_symlink && file.mode & 0o7777 != entry.mode {
        found = found.with(Aspects::MODE);
    }
    // As rpm verifies: only files have a time.
    let is_timed = times == Times::Kept && matches!(entry.kind, Kind::File { .. });
    if is_timed && i64::from(file.mtime_s) != entry.mtime_s {
        found = found.with(Aspects::MTIME);
    }
    found
}

/// Returns the type bits of `st_mode` (inode(7)).
fn type_bits<C>(kind: &Kind<C>) -> u16 {
    match kind {
        Kind::Directory => 0o040_000,
        Kind::File { .. } => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Fifo => 0o010_000,
        Kind::CharDevice(_) => 0o020_000,
        Kind::BlockDevice(_) => 0o060_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::packages::file_list::{CONFIG, flags_of};
    use crate::model::testing::{directory, file, path, symlink};

    fn owned(name: &'static [u8]) -> OwnedFile<'static> {
        let mode = 0o100_644;
        OwnedFile {
            directory: 0,
            name,
            mode,
            flags: 0,
            mtime_s: 7,
            size_bytes: 5,
            digest: b"",
            target: b"",
        }
    }

    fn installed(name: &str, directory: &[u8], files: &[OwnedFile]) -> Installed {
        let mut list = FileList::builder(DigestAlgorithm::SHA256, &[directory]);
        files.iter().for_each(|file| list.push(file));
        let text = || "1".to_owned();
        let package = Package {
            name: name.to_owned(),
            epoch: None,
            version: text(),
            release: text(),
            arch: text(),
            source_rpm: text(),
            build_time_s: 0,
        };
        Installed {
            package,
            files: Some(Arc::new(list.finish())),
            details: None,
        }
    }

    #[test]
    fn a_path_is_owned_as_the_links_of_the_tree_lead() {
        let ghost = OwnedFile {
            flags: 1 << 6,
            ..owned(b"x")
        };
        let packages = [
            installed("a", b"/lib/", &[ghost]),
            installed("b", b"/usr/lib/", &[owned(b"x")]),
        ];
        let tree = [
            symlink("lib", "usr/lib"),
            directory("usr"),
            directory("usr/lib"),
            file("usr/lib/x", 5),
        ];
        let owners = Owners::new(&packages, tree.iter());
        let (x, y) = (path("usr/lib/x"), path("lib/x"));
        let found = owners.of(&[&x, &y]);
        assert_eq!(
            found[0]
                .iter()
                .map(|owner| owner.package)
                .collect::<Vec<_>>(),
            [1, 0]
        ); // the ghost is last
        assert_eq!(found[1], []);
    }

    #[test]
    fn a_package_may_own_the_root_itself() {
        let packages = [installed("filesystem", b"/", &[owned(b"")])];
        let owners = Owners::new(&packages, std::iter::empty::<&Entry>());
        assert_eq!(owners.of(&[&EntryPath::root()])[0].len(), 1);
    }

    #[test]
    fn what_rpm_is_not_to_verify_is_no_deviation_but_a_difference() {
        let entry = file("x", 5);
        let not_size_and_time = flags_of(CONFIG, true, !(1 << 1 | 1 << 5));
        let other = OwnedFile {
            size_bytes: 6,
            mtime_s: 8,
            mode: 0o100_755,
            flags: not_size_and_time,
            ..owned(b"x")
        };
        let found = deviations(&entry, &other, Times::Kept);
        assert_eq!(found.names().collect::<Vec<_>>(), ["mode"]);
        assert_eq!(differences(&entry, &other, Times::Kept).names().count(), 3);
        assert!(other.is_config() && other.is_installed());
        assert!(!other.is_verified(Verified::Size) && other.is_verified(Verified::Digest));
    }

    #[test]
    fn what_is_not_as_the_package_has_it_is_told() {
        let entry = file("x", 5);
        let names = |aspects: Aspects| aspects.names().collect::<Vec<_>>().join(",");
        let of = |file: OwnedFile, times| names(deviations(&entry, &file, times));
        assert_eq!(of(owned(b"x"), Times::Kept), "");
        let other = OwnedFile {
            size_bytes: 6,
            mtime_s: 8,
            mode: 0o100_755,
            ..owned(b"x")
        };
        assert_eq!(of(other, Times::Kept), "content,mode,mtime");
        assert_eq!(
            of(
                OwnedFile {
                    mtime_s: 8,
                    ..owned(b"x")
                },
                Times::Lost
            ),
            ""
        );
        assert_eq!(
            of(
                OwnedFile {
                    mode: 0o120_777,
                    ..owned(b"x")
                },
                Times::Kept
            ),
            "type"
        );
        assert_eq!(
            of(
                OwnedFile {
                    flags: 1 << 6,
                    ..other
                },
                Times::Kept
            ),
            ""
        );
        let link = symlink("x", "y");
        let file = OwnedFile {
            mode: 0o120_777,
            target: b"z",
            ..owned(b"x")
        };
        assert_eq!(names(deviations(&link, &file, Times::Kept)), "target");
        let touched = OwnedFile {
            mtime_s: 8,
            target: b"y",
            ..file
        };
        assert_eq!(names(deviations(&link, &touched, Times::Kept)), "");
    }
}
