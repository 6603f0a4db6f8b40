//! Whose modification time a package accounts for.
//!
//! Pure. rpm records a path as its package spelt it, which may go through a symlink of the root (`/lib/x` where
//! `/lib` is `usr/lib`); here it is resolved through the links that were recorded, never through a disk.

use super::path::EntryPath;
use std::collections::{HashMap, VecDeque};

/// How many links a path may go through, as the kernel counts them (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The symlinks of a root with their targets.
pub type Links = HashMap<EntryPath, Box<[u8]>>;

/// The paths that packages own, each with the times that they give it.
#[derive(Debug, Default)]
pub struct Vouched {
    times: Vec<(EntryPath, i64)>,
}

impl Vouched {
    /// Takes the files of all packages: directory (absolute, with slashes), name, mtime in seconds. What cannot be
    /// resolved vouches for nothing.
    pub fn new<'a>(files: impl Iterator<Item = (&'a [u8], &'a [u8], i64)>, links: &Links) -> Self {
        let mut resolved: HashMap<&[u8], Option<EntryPath>> = HashMap::new();
        let mut times = Vec::new();
        for (directory, name, mtime_s) in files {
            let real = resolved.entry(directory).or_insert_with(|| resolve(directory, links));
            let is_component = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
            if let Some(directory) = real.as_ref().filter(|_| is_component && !name.contains(&0)) {
                times.push((directory.join(name), mtime_s));
            }
        }
        times.sort_unstable();
        times.dedup();
        Self { times }
    }

    /// Tells whether a package gives `path` this time.
    pub fn vouches_for(&self, path: &EntryPath, mtime_s: i64) -> bool {
        self.times.binary_search_by(|(at, time)| at.cmp(path).then(time.cmp(&mtime_s))).is_ok()
    }
}

/// Follows the links in `directory`; `None` where they lead nowhere, as a path above the root does not.
fn resolve(directory: &[u8], links: &Links) -> Option<EntryPath> {
    let mut ahead: VecDeque<Vec<u8>> = components(directory).collect();
    let mut at = EntryPath::root();
    let mut followed = 0;
    while let Some(name) = ahead.pop_front() {
        if name == b".." {
            at = at.parent().unwrap_or_default();
            continue;
        }
        let next = at.join(&name);
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
        components(target).rev().for_each(|name| ahead.push_front(name));
    }
    Some(at)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    fn links(pairs: &[(&str, &str)]) -> Links {
        pairs.iter().map(|(at, target)| (path(at), target.as_bytes().into())).collect()
    }

    fn vouched(directory: &str, links: &Links) -> Vouched {
        Vouched::new([(directory.as_bytes(), &b"x"[..], 5)].into_iter(), links)
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
        let merged =
            links(&[("lib", "usr/lib"), ("usr/sbin", "bin"), ("a", "/b/../lib"), ("up", "../../usr")]);
        assert!(vouched("/lib/", &merged).vouches_for(&path("usr/lib/x"), 5));
        assert!(vouched("/usr/sbin/", &merged).vouches_for(&path("usr/bin/x"), 5));
        assert!(vouched("/a/", &merged).vouches_for(&path("usr/lib/x"), 5));
        assert!(vouched("/up/", &merged).vouches_for(&path("usr/x"), 5));
    }

    #[test]
    fn a_loop_of_links_vouches_for_nothing() {
        let looped = links(&[("a", "b"), ("b", "a")]);
        assert!(!vouched("/a", &looped).vouches_for(&path("a/x"), 5));
        assert!(!vouched("/a", &looped).vouches_for(&path("x"), 5));
    }
}
