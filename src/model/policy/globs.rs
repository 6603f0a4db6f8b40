//! Globs over the paths of a root, as in gitignore(5).
//!
//! Pure. One with a slash inside or in front is anchored at the root, one without matches a name anywhere; `*` and `?`
//! stop at slashes, `**` does not.

use crate::error::{Error, Result};
use crate::model::tree::path::EntryPath;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
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

/// Paths and globs that choose a part of a tree: what they name, and all that is beneath it.
#[derive(Debug, Default)]
pub(crate) struct Pathspec {
    paths: Vec<EntryPath>,
    globs: Option<Globs>,
}

impl Pathspec {
    /// Takes each as a path and as a glob; none of them choose everything. Fails where a glob does not parse that is no
    /// path either.
    pub(crate) fn new(specs: &[impl AsRef<OsStr>]) -> Result<Self> {
        let bytes = || specs.iter().map(|spec| spec.as_ref().as_bytes());
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

    /// Tells whether it chooses everything because nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.globs.is_none()
    }

    /// Tells whether it chooses the path.
    pub(crate) fn chooses(&self, path: &EntryPath) -> bool {
        self.is_empty()
            || self
                .paths
                .iter()
                .any(|at| path == at || path.is_beneath(at))
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
        assert_eq!(chosen(&["/none"], &paths), [""; 0]);
    }

    #[test]
    fn a_name_that_is_also_a_glob_is_chosen_by_both() {
        assert_eq!(chosen(&["/a?"], &["a?", "ab", "abc"]), ["a?", "ab"]);
        assert!(Pathspec::new(&["a["]).is_err());
    }
}
