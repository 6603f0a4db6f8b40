//! Paths inside a root: checked bytes with one order, which the walk, the merge with the database and the
//! layers share.
//!
//! Inside, components are joined by NUL, a byte no name can hold and the smallest of all. So comparing the
//! bytes sorts depth-first: a directory comes right before all that is beneath it, and a subtree is one range.
//! The root itself is the empty path.

use crate::printable::printable;
use std::fmt;
use std::sync::Arc;

/// A path below a root, without a leading slash; empty for the root itself. A clone shares its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryPath(Arc<[u8]>);

impl EntryPath {
    /// Returns the path of the root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Takes the ordered form (components joined by NUL), as the database keeps it; `None` where a component is
    /// empty, `.`, `..` or holds a slash.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let sound = |name: &[u8]| {
            !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/')
        };
        (key.is_empty() || key.split(|b| *b == 0).all(sound)).then(|| Self(key.into()))
    }

    /// Takes a path with slashes; leading, trailing and doubled slashes and `.` components are passed over.
    /// `None` where a component is `..` or the path holds a NUL.
    pub fn from_slashed(path: &[u8]) -> Option<Self> {
        let mut key = Vec::with_capacity(path.len());
        for name in path
            .split(|b| *b == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
        {
            if name == b".." || name.contains(&0) {
                return None;
            }
            if !key.is_empty() {
                key.push(0);
            }
            key.extend_from_slice(name);
        }
        Some(Self(key.into()))
    }

    /// Returns the path of `name` in this directory. `name` is one component, as getdents gave it.
    pub fn join(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.into());
        }
        let length = self.0.len() + 1 + name.len();
        let mut short = [0; 256]; // most are shorter, and need no second allocation
        let mut long = Vec::new();
        let key = match short.get_mut(..length) {
            Some(key) => key,
            None => {
                long.resize(length, 0);
                &mut long[..]
            }
        };
        key[..self.0.len()].copy_from_slice(&self.0);
        key[self.0.len() + 1..].copy_from_slice(name);
        Self((&*key).into())
    }

    /// Returns the ordered form: components joined by NUL.
    pub fn key(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path with slashes and without a leading one, as a tar header or a system call takes it;
    /// empty for the root.
    pub fn slashed(&self) -> Vec<u8> {
        self.0
            .iter()
            .map(|b| if *b == 0 { b'/' } else { *b })
            .collect()
    }

    /// Returns the last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == 0).next().unwrap_or_default()
    }

    /// Returns the directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.parent_key().map(|key| Self(key.into()))
    }

    /// Returns the ordered form of the path of the directory that holds this path; `None` for the root.
    pub(crate) fn parent_key(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then(|| &self.0[..self.0.iter().rposition(|b| *b == 0).unwrap_or(0)])
    }

    /// Returns the directories above this path, the root last.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Tells whether this path is beneath `directory` (a path is not beneath itself).
    pub fn is_beneath(&self, directory: &Self) -> bool {
        let above = &directory.0;
        match above.len() {
            0 => !self.0.is_empty(),
            n => self.0.len() > n && self.0[n] == 0 && self.0.starts_with(above),
        }
    }

    /// Tells whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for EntryPath {
    /// Writes the path with a leading slash, escaped for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", printable(&self.slashed()))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::EntryPath;

    fn path(text: &str) -> EntryPath {
        EntryPath::from_slashed(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_directory_sorts_right_before_what_is_beneath_it() {
        let mut paths = ["a.b", "a/b/c", "a-b", "", "a", "ab", "a/b"].map(path);
        paths.sort();
        assert_eq!(
            paths,
            ["", "a", "a/b", "a/b/c", "a-b", "a.b", "ab"].map(path)
        );
    }

    #[test]
    fn beneath_needs_a_whole_component() {
        assert!(path("usr/lib/x").is_beneath(&path("usr/lib")));
        assert!(path("usr").is_beneath(&EntryPath::root()));
        assert!(!path("usr/lib64").is_beneath(&path("usr/lib")));
        assert!(!path("usr").is_beneath(&path("usr")));
    }

    #[test]
    fn parent_and_name_take_a_path_apart() {
        assert_eq!(path("usr/lib").parent(), Some(path("usr")));
        assert_eq!(path("usr").parent(), Some(EntryPath::root()));
        assert_eq!(EntryPath::root().parent(), None);
        assert_eq!(path("usr/lib").name(), b"lib");
        assert_eq!(path("usr").join(b"lib"), path("/usr//./lib/"));
    }

    #[test]
    fn a_path_out_of_the_root_is_refused() {
        assert_eq!(EntryPath::from_slashed(b"../etc"), None);
        assert_eq!(EntryPath::from_slashed(b"a\0b"), None);
        for key in [&b"a\0\0b"[..], b"a\0..", b".", b"a/b", b"\0a"] {
            assert_eq!(EntryPath::from_key(key), None);
        }
        assert_eq!(EntryPath::from_key(b"a\0b"), Some(path("a/b")));
    }
}
