//! Whose modification time a package accounts for.
//!
//! Pure. rpm records a path as its package spelt it, which may go through a symlink of the root (`/lib/x` where
//! `/lib` is `usr/lib`); here it is resolved through the links recorded, never through a disk.

use crate::model::tree::path::EntryPath;
use std::collections::{HashMap, VecDeque};

/// How many links a path may go through, as the kernel counts them (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// How many components a path may have on the way, and all of them together: a hostile database cannot make us walk for
/// ever.
const MOST_STEPS: usize = 2_000;
pub(crate) const MOST_STEPS_IN_ALL: usize = 50_000_000;

/// What the kernel takes for a name and for a path (limits.h, `NAME_MAX` and `PATH_MAX`): each step copies the path so far.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 4096;

/// Many times the files of any root; a database that names more names them again and again.
const MOST_FILES: usize = 4 << 20;

/// The symlinks of a root with their targets.
pub type Links = HashMap<EntryPath, Box<[u8]>>;

/// The paths that packages own, each with the times that they give it.
#[derive(Debug, Default)]
pub struct PackageMtimes {
    times: Vec<(EntryPath, i64)>,
    is_known: bool,
}

/// Gathers what packages vouch for, package by package.
#[derive(Debug)]
pub struct Gathering<'a> {
    links: &'a Links,
    steps_left: usize,
    times: Vec<(EntryPath, i64)>,
}

impl<'a> Gathering<'a> {
    /// Starts with nothing, over a root with these symlinks.
    pub fn new(links: &'a Links) -> Self {
        Self {
            links,
            steps_left: MOST_STEPS_IN_ALL,
            times: Vec::new(),
        }
    }

    /// Adds the files of one package: place of the directory (absolute, with slashes), name, mtime in seconds. Keeps what
    /// `is_wanted`; what cannot be resolved vouches for nothing.
    pub fn add<'f>(
        &mut self,
        directories: &[&[u8]],
        files: impl Iterator<Item = (usize, &'f [u8], i64)>,
        is_wanted: impl Fn(&EntryPath, i64) -> bool,
    ) {
        let mut resolved: Vec<Option<Option<EntryPath>>> = vec![None; directories.len()];
        for (directory, name, mtime_s) in files {
            let Some(known) = resolved.get_mut(directory) else {
                continue;
            };
            let real = known.get_or_insert_with(|| {
                resolve(directories[directory], self.links, &mut self.steps_left)
            });
            let is_component =
                !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
            if let Some(directory) = real.as_ref().filter(|_| is_component && !name.contains(&0)) {
                let path = directory.join(name);
                if self.times.len() < MOST_FILES && is_wanted(&path, mtime_s) {
                    self.times.push((path, mtime_s));
                }
            }
        }
    }

    /// Returns what all packages vouch for.
    pub fn finish(mut self) -> PackageMtimes {
        self.times.sort_unstable();
        self.times.dedup();
        PackageMtimes {
            times: self.times,
            is_known: true,
        }
    }
}

impl PackageMtimes {
    /// Tells whether there are packages at all.
    pub(crate) fn are_known(&self) -> bool {
        self.is_known
    }

    /// Tells whether a package gives `path` this time.
    pub(crate) fn vouches_for(&self, path: &EntryPath, mtime_s: i64) -> bool {
        self.times
            .binary_search_by(|(at, time)| at.cmp(path).then(time.cmp(&mtime_s)))
            .is_ok()
    }
}

/// Follows the links in `directory`; `None` where they lead nowhere, as a path above the root does not.
pub(crate) fn resolve(
    directory: &[u8],
    links: &Links,
    steps_left: &mut usize,
) -> Option<EntryPath> {
    let mut ahead: VecDeque<&[u8]> = components(directory).collect();
    let mut at = EntryPath::root();
    let (mut followed, mut steps) = (0, 0);
    while let Some(name) = ahead.pop_front() {
        steps += 1;
        *steps_left = steps_left.checked_sub(1)?;
        if steps > MOST_STEPS || ahead.len() > MOST_STEPS {
            return None;
        }
        if name == b".." {
            at = at.parent().unwrap_or_default();
            continue;
        }
        if name.len() > LONGEST_NAME || name.contains(&0) || at.key().len() > LONGEST_PATH {
            return None;
        }
        let next = at.join(name);
        let Some(target) = links.get(&next) else {
            at = next;
            continue;
        };
        followed += 1;
        if followed > MOST_LINKS {
            return None;
        }
        if target.starts_with(b"/") {
            at = EntryPath::root();
        }
        components(target)
            .rev()
            .for_each(|name| ahead.push_front(name));
    }
    Some(at)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    fn links(pairs: &[(&str, &str)]) -> Links {
        pairs
            .iter()
            .map(|(at, target)| (path(at), target.as_bytes().into()))
            .collect()
    }

    fn vouched(directory: &str, links: &Links) -> PackageMtimes {
        let mut gathering = Gathering::new(links);
        let directories = [directory.as_bytes()];
        gathering.add(
            &directories,
            [(0, &b"x"[..], 5), (7, b"x", 5), (0, b"..", 5)].into_iter(),
            |_, _| true,
        );
        gathering.finish()
    }

    #[test]
    fn a_package_vouches_for_its_path_and_time_alone() {
        let vouched = vouched("/usr/lib/", &Links::new());
        assert!(vouched.vouches_for(&path("usr/lib/x"), 5));
        assert!(!vouched.vouches_for(&path("usr/lib/x"), 6));
        assert!(!vouched.vouches_for(&path("usr/lib/y"), 5));
    }

    #[test]
    fn paths_go_through_the_links_of_the_root() {
        let merged = links(&[
            ("lib", "usr/lib"),
            ("usr/sbin", "bin"),
            ("a", "/b/../lib"),
            ("up", "../../usr"),
        ]);
        assert!(vouched("/lib/", &merged).vouches_for(&path("usr/lib/x"), 5));
        assert!(vouched("/usr/sbin/", &merged).vouches_for(&path("usr/bin/x"), 5));
        assert!(vouched("/a/", &merged).vouches_for(&path("usr/lib/x"), 5));
        assert!(vouched("/up/", &merged).vouches_for(&path("usr/x"), 5));
    }

    #[test]
    fn a_path_that_grows_through_links_vouches_for_nothing() {
        let long = "x/../".repeat(800) + "a";
        let growing: Vec<(String, String)> = (0..39)
            .map(|n| (format!("a{n}"), format!("{long}{}", n + 1)))
            .collect();
        let pairs: Vec<(&str, &str)> = growing
            .iter()
            .map(|(at, target)| (at.as_str(), target.as_str()))
            .collect();
        assert!(vouched("/a0", &links(&pairs)).times.is_empty());
    }

    #[test]
    fn what_is_no_path_of_the_kernel_vouches_for_nothing() {
        let none = Links::new();
        for directory in [
            "/a\0b/".to_owned(),
            format!("/{}/", "n".repeat(256)),
            "/longer/".repeat(700),
        ] {
            assert!(vouched(&directory, &none).times.is_empty(), "{directory}");
        }
        assert!(
            !vouched(&format!("/{}/", "n".repeat(255)), &none)
                .times
                .is_empty()
        );
    }

    #[test]
    fn a_loop_of_links_vouches_for_nothing() {
        let looped = links(&[("a", "b"), ("b", "a")]);
        assert!(!vouched("/a", &looped).vouches_for(&path("a/x"), 5));
        assert!(!vouched("/a", &looped).vouches_for(&path("x"), 5));
    }
}
