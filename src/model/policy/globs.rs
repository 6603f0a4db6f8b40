//! Globs over the paths of a root, as in gitignore(5).
//!
//! Pure. One with a slash inside or in front is anchored at the root, one without matches a name anywhere; `*` and `?`
//! stop at slashes, `**` does not.

use crate::error::{Error, Result};
use crate::model::tree::path::EntryPath;
use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Globs that are ready to match.
#[derive(Debug)]
pub(crate) struct Globs(GlobSet);

impl Globs {
    /// Compiles globs. Fails where one does not parse.
    pub(crate) fn new<'a>(globs: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let bad = |reason: String| Error::BadGlob {
                glob: glob.to_owned(),
                reason,
            };
            let trimmed = glob.trim_end_matches('/');
            if trimmed.is_empty() {
                return Err(bad("it names no path below the root".to_owned()));
            }
            let anchored = match trimmed.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if trimmed.contains('/') => trimmed.to_owned(),
                None => format!("**/{trimmed}"),
            };
            let compiled = GlobBuilder::new(&anchored)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            set.add(compiled.map_err(|e| bad(e.kind().to_string()))?);
        }
        let set = set.build().map_err(|e| Error::BadGlob {
            glob: e.glob().unwrap_or_default().to_owned(),
            reason: e.kind().to_string(),
        })?;
        Ok(Self(set))
    }

    /// Tells whether one of them matches the path itself; the root is matched by none.
    pub(crate) fn matches(&self, path: &EntryPath) -> bool {
        !self.0.is_empty() && !path.is_root() && self.0.is_match(OsStr::from_bytes(&path.slashed()))
    }
}

/// A glob over names that hold no slash; without `*`, `?`, `[` or `{` it is a name.
#[derive(Clone, Debug)]
pub(crate) struct NameGlob(GlobMatcher);

impl NameGlob {
    /// Compiles a glob. Fails where it does not parse.
    pub(crate) fn new(glob: &str) -> Result<Self> {
        let compiled = GlobBuilder::new(glob).backslash_escape(true).build();
        let compiled = compiled.map_err(|e| Error::BadGlob {
            glob: glob.to_owned(),
            reason: e.kind().to_string(),
        })?;
        Ok(Self(compiled.compile_matcher()))
    }

    /// Tells whether the glob matches a whole name.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Paths and globs that choose a part of a tree: what they name, and all that is beneath it. One after `!` leaves that out.
#[derive(Debug, Default)]
pub(crate) struct Pathspec {
    wanted: Chosen,
    left_out: Chosen,
}

impl Pathspec {
    /// Takes each as a path and as a glob; none of them choose everything. Fails where a glob does not parse.
    pub(crate) fn new(specs: &[impl AsRef<OsStr>]) -> Result<Self> {
        let bytes = specs.iter().map(|spec| spec.as_ref().as_bytes());
        let (wanted, left_out): (Vec<&[u8]>, Vec<&[u8]>) =
            bytes.partition(|spec| !spec.starts_with(b"!"));
        let left_out: Vec<&[u8]> = left_out.iter().map(|spec| &spec[1..]).collect();
        Ok(Self {
            wanted: Chosen::new(&wanted)?,
            left_out: Chosen::new(&left_out)?,
        })
    }

    /// Tells whether a spec leaves something out.
    pub(crate) fn leaves_out(spec: &OsStr) -> bool {
        spec.as_bytes().starts_with(b"!")
    }

    /// Tells whether it chooses everything because nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.left_out.is_empty()
    }

    /// Tells whether it chooses the path.
    pub(crate) fn chooses(&self, path: &EntryPath) -> bool {
        (self.wanted.is_empty() || self.wanted.has(path)) && !self.left_out.has(path)
    }
}

/// Paths and globs, and all that is beneath them.
#[derive(Debug, Default)]
struct Chosen {
    paths: Vec<EntryPath>,
    globs: Option<Globs>,
}

impl Chosen {
    fn new(specs: &[&[u8]]) -> Result<Self> {
        let bytes = || specs.iter().copied();
        let paths: Vec<EntryPath> = bytes().filter_map(EntryPath::from_slashed).collect();
        let texts = bytes().filter_map(|spec| std::str::from_utf8(spec).ok());
        // The root itself is no glob, but chooses everything as a path.
        let texts: Vec<&str> = texts
            .filter(|text| !text.trim_matches(['/', '.']).is_empty())
            .collect();
        let globs = if texts.is_empty() {
            None
        } else {
            Some(Globs::new(texts.into_iter())?)
        };
        Ok(Self { paths, globs })
    }

    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.globs.is_none()
    }

    fn has(&self, path: &EntryPath) -> bool {
        let mut paths = self.paths.iter();
        paths.any(|at| path == at || path.is_beneath(at))
            || self.globs.as_ref().is_some_and(|globs| {
                let mut at = Some(path.clone());
                while let Some(here) = at {
                    if globs.matches(&here) {
                        return true;
                    }
                    at = here.parent();
                }
                false
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::path;

    fn chosen(specs: &[&str], paths: &[&str]) -> Vec<String> {
        let spec = Pathspec::new(specs).unwrap();
        let all = paths.iter().filter(|at| spec.chooses(&path(at)));
        all.map(|at| (*at).to_owned()).collect()
    }

    #[test]
    fn a_pathspec_chooses_paths_globs_and_what_is_beneath_them() {
        let paths = [
            "",
            "etc",
            "etc/passwd",
            "usr/etc",
            "usr/lib/a.py",
            "usr/lib/d/b.py",
        ];
        assert_eq!(chosen(&[], &paths), paths);
        assert_eq!(chosen(&["/etc"], &paths), ["etc", "etc/passwd"]);
        assert_eq!(
            chosen(&["*.py"], &paths),
            ["usr/lib/a.py", "usr/lib/d/b.py"]
        );
        assert_eq!(
            chosen(&["/usr/*"], &paths),
            ["usr/etc", "usr/lib/a.py", "usr/lib/d/b.py"]
        );
        assert_eq!(
            chosen(&["/etc/passwd", "/usr/lib/*.py"], &paths),
            ["etc/passwd", "usr/lib/a.py"]
        );
        assert_eq!(chosen(&["/"], &paths), paths);
        assert_eq!(chosen(&["!*.py", "!/etc"], &paths), ["", "usr/etc"]);
        assert_eq!(
            chosen(&["/usr", "!/usr/lib/d"], &paths),
            ["usr/etc", "usr/lib/a.py"]
        );
        assert_eq!(chosen(&["!/"], &paths), [""; 0]);
        assert_eq!(chosen(&["/none"], &paths), [""; 0]);
    }

    #[test]
    fn a_name_that_is_also_a_glob_is_chosen_by_both() {
        assert_eq!(chosen(&["/a?"], &["a?", "ab", "abc"]), ["a?", "ab"]);
        assert!(Pathspec::new(&["a["]).is_err());
    }
}
