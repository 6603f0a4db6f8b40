//! Which package owns a path, and whether the path is as the package brought it.
//!
//! Pure. What is known without the bytes of a file: its type, mode, length, link target and time are compared with those
//! that the package's header names. Equal length and time do not prove equal content; another length proves another one.

use crate::model::packages::file_list::{DigestAlgorithm, FileList, OwnedFile};
use crate::model::packages::package::Package;
use crate::model::policy::package_mtimes::{Links, MOST_STEPS_IN_ALL, resolve};
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;
use std::sync::Arc;

/// A package with what is known of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// Its files; `None` where nobody has recorded them.
    pub files: Option<Arc<FileList>>,
}

/// A package that owns a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'p> {
    /// Its place among the packages.
    pub package: usize,
    /// What its header says of the path.
    pub file: OwnedFile<'p>,
    /// How the digest in it was made.
    pub algorithm: DigestAlgorithm,
}

/// Finds the owners of paths in one tree.
#[derive(Debug)]
pub struct Owners<'p> {
    packages: &'p [Installed],
    links: Links,
}

impl<'p> Owners<'p> {
    /// Takes the packages of a tree and the tree's entries, whose symlinks count.
    pub fn new<'t>(packages: &'p [Installed], entries: impl Iterator<Item = &'t Entry>) -> Self {
        let link = |entry: &Entry| match &entry.kind {
            Kind::Symlink(target) => Some((entry.path.clone(), target.clone())),
            _ => None,
        };
        Self {
            packages,
            links: entries.filter_map(link).collect(),
        }
    }

    /// Returns the owners of each of `paths`, those that brought it before those that own it as a ghost. A path that is
    /// given twice has owners once.
    pub fn of(&self, paths: &[&EntryPath]) -> Vec<Vec<Owner<'p>>> {
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

    /// Gives each path that a package owns to `found`, in the form of [`EntryPath::key`], with its owner.
    pub fn each(&self, mut found: impl FnMut(&[u8], Owner<'p>)) {
        let mut resolved: HashMap<&[u8], Option<EntryPath>> = HashMap::new();
        let mut steps_left = MOST_STEPS_IN_ALL;
        let mut path = Vec::new();
        for (package, installed) in self.packages.iter().enumerate() {
            let Some(list) = &installed.files else {
                continue;
            };
            let directories: Vec<&[u8]> = list.directories().collect();
            for directory in &directories {
                let resolve = || resolve(directory, &self.links, &mut steps_left);
                resolved.entry(directory).or_insert_with(resolve);
            }
            let directories: Vec<Option<&EntryPath>> = directories
                .iter()
                .map(|directory| resolved[directory].as_ref())
                .collect();
            for file in list.files() {
                let Some(directory) = directories[file.directory] else {
                    continue;
                };
                path.clear();
                path.extend_from_slice(directory.key());
                if !path.is_empty() && !file.name.is_empty() {
                    path.push(0);
                }
                path.extend_from_slice(file.name); // empty for the root itself, which a package may own
                found(
                    &path,
                    Owner {
                        package,
                        file,
                        algorithm: list.algorithm(),
                    },
                );
            }
        }
    }
}

/// Whether the times of entries are those of the disk as far as packages account for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// They are, or are the epoch where they were others.
    Kept,
    /// They tell nothing.
    Lost,
}

/// Returns in what `entry` is not as the package has it. [`Aspects::MTIME`] alone says that something has written to it, or
/// only touched it.
pub fn deviations(entry: &Entry, file: &OwnedFile, times: Times) -> Aspects {
    const TYPE_BITS: u16 = 0o170_000;
    let kind = match &entry.kind {
        Kind::Directory => 0o040_000,
        Kind::File { .. } => 0o100_000,
        Kind::Symlink(_) => 0o120_000,
        Kind::Fifo => 0o010_000,
        Kind::CharDevice(_) => 0o020_000,
        Kind::BlockDevice(_) => 0o060_000,
    };
    if file.mode == 0 || file.is_ghost() {
        return Aspects::NONE; // the package says nothing of it
    }
    if file.mode & TYPE_BITS != kind {
        return Aspects::TYPE;
    }
    let mut found = Aspects::NONE;
    match &entry.kind {
        Kind::File { size_bytes, .. } if *size_bytes != file.size_bytes => {
            found = found.with(Aspects::CONTENT)
        }
        Kind::Symlink(target) if **target != *file.target => found = found.with(Aspects::TARGET),
        _ => {}
    }
    if !matches!(entry.kind, Kind::Symlink(_)) && file.mode & 0o7777 != entry.mode {
        found = found.with(Aspects::MODE);
    }
    let is_timed = times == Times::Kept && matches!(entry.kind, Kind::File { .. }); // as rpm verifies it
    if is_timed && i64::from(file.mtime_s) != entry.mtime_s {
        found = found.with(Aspects::MTIME);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let owners = Owners::new(&packages, std::iter::empty());
        assert_eq!(owners.of(&[&EntryPath::root()])[0].len(), 1);
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
