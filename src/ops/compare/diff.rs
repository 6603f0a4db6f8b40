//! What differs between two snapshots, directories or images: packages first, then what no package accounts for.
//!
//! Between two snapshots, the database alone is read.

use crate::error::{Error, Result};
use crate::model::packages::attribution::{SideView, account};
use crate::model::packages::upgrade::compare_packages;
use crate::model::policy::Rules;
use crate::model::policy::globs::Pathspec;
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, compare};
use crate::model::tree::path::EntryPath;
pub use crate::ops::compare::content::FileContents;
use crate::ops::compare::content::{compare_files, verify};
pub use crate::ops::compare::findings::{Compared, FileDifference, PackageDifference};
use crate::ops::compare::findings::{count, keep_concerned, path_of};
use crate::ops::compare::open::open_sides;
use crate::ops::compare::side::Side;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::printable::printable;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The old side.
    pub a: Source,
    /// The new side.
    pub b: Source,
    /// Paths and globs that choose a part of it; none for all.
    pub pathspec: Vec<OsString>,
    /// Whether files count.
    pub files: Files,
    /// Whether modification times count.
    pub mtimes: Mtimes,
    /// Paths and globs of the files whose content is compared, beyond its hash; then nothing else is. None for no file.
    pub contents: Vec<OsString>,
    /// Whether files that no package accounts for are compared with their package's digest.
    pub digests: Digests,
    /// How many threads work.
    pub threads: NonZeroUsize,
}

/// Whether files are read to compare them with what their package says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Digests {
    Verified,
    Unread,
}

/// Whether files are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Files {
    Compared,
    /// Packages alone are.
    LeftOut,
}

/// Whether another modification time is a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mtimes {
    Compared,
    Ignored,
}

/// What differs.
#[derive(Debug)]
pub struct Difference {
    /// The old side and the new one.
    pub sides: [Side; 2],
    /// The packages that differ; `None` where those of a side are unknown.
    pub packages: Option<Vec<PackageDifference>>,
    /// The paths that differ, in path order.
    pub files: Vec<FileDifference>,
    /// What differs in the contents that were asked for, by place among `files`.
    pub contents: Vec<(usize, FileContents)>,
    /// What a reader should know of it.
    pub notes: Vec<String>,
    /// The time that each phase took.
    pub seconds: Vec<(Phase, Duration)>,
}

impl Difference {
    /// Tells whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.packages.as_ref().is_none_or(Vec::is_empty)
    }

    /// Returns it without what is known of the sides beyond their trees and packages.
    pub fn compared(&self) -> Compared<'_> {
        Compared {
            trees: [&self.sides[0].tree, &self.sides[1].tree],
            installed: [self.sides[0].installed(), self.sides[1].installed()],
            packages: self.packages.as_deref().unwrap_or_default(),
            files: &self.files,
        }
    }
}

/// Compares.
pub fn diff(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Difference> {
    let chosen = if request.contents.is_empty() {
        &request.pathspec
    } else {
        &request.contents
    };
    let pathspec = Pathspec::new(chosen)?;
    let phases = Phases::new(monitor);
    let with_trees = request.files == Files::Compared;
    let mut sides = open_sides(
        store_path,
        [&request.a, &request.b],
        with_trees,
        request.threads,
        &phases,
    )?;
    if let Some(side) = sides
        .iter()
        .find(|side| !with_trees && side.packages.is_none())
    {
        return Err(Error::UnknownPackages {
            of: side.source.to_string(),
        });
    }
    if with_trees {
        refuse_unknown(&sides, chosen)?;
    }
    let notes = notes(&sides);
    if !with_trees {
        sides
            .iter_mut()
            .for_each(|side| side.tree = Tree::default());
    }
    let (packages, mut files) = phases.run(Phase::Compare, None, || {
        differences(&sides, &pathspec, request.mtimes)
    })?;
    let mut contents = Vec::new();
    if request.digests == Digests::Verified {
        phases.run(Phase::Read, None, || verify(store_path, &sides, &mut files))?;
    }
    if !request.contents.is_empty() {
        contents = phases.run(Phase::Read, None, || {
            compare_files(store_path, &sides, &mut files)
        })?;
    }
    Ok(Difference {
        sides,
        packages,
        files,
        contents,
        notes,
        seconds: phases.spent(),
    })
}

/// What was asked for must be on a side: that nothing differs in a path which is misspelt says nothing.
fn refuse_unknown(sides: &[Side; 2], specs: &[OsString]) -> Result<()> {
    for spec in specs {
        let one = Pathspec::new(std::slice::from_ref(spec))?;
        if !sides.iter().any(|side| {
            side.tree
                .entries()
                .iter()
                .any(|entry| one.chooses(&entry.path))
        }) {
            let [a, b] = [0, 1].map(|at: usize| sides[at].source.to_string());
            return Err(Error::InNeither {
                path: printable(spec.as_encoded_bytes()),
                a,
                b,
            });
        }
    }
    Ok(())
}

type Differences = (Option<Vec<PackageDifference>>, Vec<FileDifference>);

fn differences(sides: &[Side; 2], pathspec: &Pathspec, mtimes: Mtimes) -> Result<Differences> {
    let ignored = match mtimes {
        Mtimes::Compared => Aspects::NONE,
        Mtimes::Ignored => Aspects::MTIME,
    };
    let mut changes = compare(&sides[0].tree, &sides[1].tree, ignored);
    let trees = [&sides[0].tree, &sides[1].tree];
    if !pathspec.is_empty() {
        changes.retain(|change| pathspec.chooses(path_of(trees, change)));
    }
    let known = match sides {
        [
            Side {
                packages: Some(a), ..
            },
            Side {
                packages: Some(b), ..
            },
        ] => Some((a, b)),
        _ => None,
    };
    let package_changes = known.map(|(a, b)| compare_packages(b.manager, &a.all, &b.all));
    let grounds = [0, 1].map(|at: usize| {
        let side = &sides[at];
        SideView {
            tree: &side.tree,
            packages: side.installed(),
            times: side.times(),
        }
    });
    let known = package_changes.as_deref().unwrap_or_default();
    let accounts = account(&grounds[0], &grounds[1], &changes, known);
    let volatile = Volatile::of(sides)?;
    let mut files: Vec<FileDifference> = changes
        .into_iter()
        .zip(accounts)
        .map(|(change, account)| {
            let is_volatile = volatile.has(path_of(trees, &change));
            FileDifference {
                change,
                account,
                is_volatile,
            }
        })
        .collect();
    let mut packages = package_changes.map(|changes| count(trees, &changes, &files));
    if let Some(packages) = packages.as_mut().filter(|_| !pathspec.is_empty()) {
        keep_concerned(packages, &mut files);
    }
    Ok((packages, files))
}

fn notes(sides: &[Side; 2]) -> Vec<String> {
    let names = |is_meant: &dyn Fn(&Side) -> bool| {
        let names: Vec<String> = sides
            .iter()
            .filter(|side| is_meant(side))
            .map(|side| side.source.to_string())
            .collect();
        (!names.is_empty()).then(|| names.join(" and "))
    };
    let mut notes = Vec::new();
    if let Some(names) = names(&|side| side.packages.is_none()) {
        notes.push(format!(
            "files alone are compared: the packages of {names} are unknown"
        ));
    } else if let Some(names) = names(&|side| !side.installed().is_empty() && !side.has_owners()) {
        notes.push(format!(
            "whose files differ is unknown: {names} was recorded before that was kept"
        ));
    }
    notes
}

/// What the policies of the sides count as volatile.
struct Volatile(Vec<Rules>);

impl Volatile {
    fn of(sides: &[Side; 2]) -> Result<Self> {
        let mut policies: Vec<_> = sides
            .iter()
            .filter_map(|side| side.policy.as_ref())
            .collect();
        policies.dedup();
        policies
            .into_iter()
            .map(|policy| policy.rules(""))
            .collect::<Result<_>>()
            .map(Self)
    }

    fn has(&self, path: &EntryPath) -> bool {
        self.0.iter().any(|rules| rules.is_volatile(path))
    }
}
