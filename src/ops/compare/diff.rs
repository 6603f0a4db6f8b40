//! Compares two snapshots, directories or images: packages first, then the files that no package accounts for.
//!
//! Between two snapshots, the database alone is read.

use crate::error::{Error, Result};
use crate::model::names::SnapshotRef;
use crate::model::packages::attribution::{SideView, account};
use crate::model::packages::upgrade::compare_packages;
use crate::model::packages::version::Manager;
use crate::model::policy::Rules;
use crate::model::policy::build_configuration::is_build_configuration;
use crate::model::policy::globs::Pathspec;
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, Change, compare};
use crate::model::tree::path::EntryPath;
pub use crate::ops::compare::content::FileContents;
use crate::ops::compare::content::{compare_files, verify};
pub use crate::ops::compare::findings::{Compared, FileDifference, PackageDifference};
use crate::ops::compare::findings::{count, keep_concerned, path_of};
use crate::ops::compare::listed::compare_told;
use crate::ops::compare::open::open_sides;
use crate::ops::compare::side::Side;
use crate::ops::monitor::{Monitor, Phase, Phases};
use crate::printable::printable;
use crate::registry::Access;
use crate::store::Store;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// The sides to be compared, and the manner of the comparison.
#[derive(Clone, Debug)]
pub struct Request {
    /// The old side.
    pub a: Source,
    /// The new side.
    pub b: Source,
    /// Paths and globs that choose a part of both sides; empty for all.
    pub pathspec: Vec<OsString>,
    /// Whether files count.
    pub files: Files,
    /// Whether modification times count.
    pub mtimes: Mtimes,
    /// Whether volatile files that no package accounts for count.
    pub volatile_files: VolatileFiles,
    /// Paths and globs of the files to compare byte by byte, and nothing else; empty for no file.
    pub contents: Vec<OsString>,
    /// Whether files that no package accounts for are compared with their package's digest.
    pub digests: Digests,
    /// The number of threads.
    pub threads: NonZeroUsize,
    /// How registries are reached.
    pub access: Access,
    /// How many requests of registries are on the wire at once.
    pub jobs: NonZeroUsize,
}

/// Whether files are read, to be compared with the digests of their packages.
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
    /// Packages alone are compared.
    LeftOut,
}

/// Whether another modification time is a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mtimes {
    Compared,
    Ignored,
}

/// Whether a volatile file that differs is a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VolatileFiles {
    Compared,
    Ignored,
}

/// The differences between two sides.
#[derive(Debug)]
pub struct Difference {
    /// The old side and the new one.
    pub sides: [Side; 2],
    /// The packages that differ; `None` if the packages of a side are unknown.
    pub packages: Option<Vec<PackageDifference>>,
    /// The paths that differ, in path order.
    pub files: Vec<FileDifference>,
    /// The differences within the requested contents, by position in `files`.
    pub contents: Vec<(usize, FileContents)>,
    /// Sentences about the comparison that a reader should know.
    pub notes: Vec<String>,
    /// The time of each phase.
    pub seconds: Vec<(Phase, Duration)>,
}

impl Difference {
    /// Tells whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let packages = self.packages.as_deref().unwrap_or_default();
        self.files.is_empty() && packages.is_empty()
    }

    /// Returns the difference with the trees and packages of the sides alone.
    pub fn compared(&self) -> Compared<'_> {
        let [a, b] = &self.sides;
        Compared {
            trees: [&a.tree, &b.tree],
            installed: [a.installed(), b.installed()],
            packages: self.packages.as_deref().unwrap_or_default(),
            files: &self.files,
        }
    }
}

/// Returns the last snapshot before another of its series and stage. Fails with [`Error::UnknownSnapshot`] without the other, and with
/// [`Error::FirstOfStage`] if there is none before.
pub(crate) fn predecessor(store_path: &Path, of: &SnapshotRef) -> Result<SnapshotRef> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(of)?;
    let all = store.snapshots(Some(&snapshot.series))?; // the newest first
    let before = all
        .into_iter()
        .find(|one| one.id < snapshot.id && one.stage == snapshot.stage);
    let before = before.map(|before| SnapshotRef::Id(before.id));
    before.ok_or(Error::FirstOfStage {
        snapshot: snapshot.id,
        stage: snapshot.stage,
    })
}

/// Compares two sides; beside a list, packages alone. Fails if a pathspec is malformed or chooses nothing on either side, if a side cannot be opened or
/// read, if packages alone are compared and those of a side are unknown, and if a content to be compared is not as recorded.
pub fn diff(store_path: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Difference> {
    let chosen = if request.contents.is_empty() {
        &request.pathspec
    } else {
        &request.contents
    };
    let pathspec = Pathspec::new(chosen)?;
    let phases = Phases::new(monitor);
    let sources = [&request.a, &request.b];
    let is_list = |source: &&Source| matches!(source, Source::Packages(_));
    let has_list = sources.iter().any(is_list);
    if has_list && !chosen.is_empty() {
        return Err(Error::NoFilesInList);
    }
    if request.a == request.b && request.a == Source::Packages("-".into()) {
        return Err(Error::TwoLists);
    }
    let with_trees = request.files == Files::Compared && !has_list;
    let mut sides = open_sides(
        store_path,
        sources,
        with_trees,
        (request.threads, (&request.access, request.jobs)),
        &phases,
    )?;
    if with_trees {
        refuse_unknown(&sides, chosen)?;
    } else {
        refuse_unknown_packages(&sides)?;
    }
    let notes = notes(&sides);
    if !with_trees {
        for side in &mut sides {
            side.tree = Tree::default();
        }
    }
    let (packages, mut files) = phases.run(Phase::Compare, None, || {
        let counted = (request.mtimes, request.volatile_files);
        differences(&sides, &pathspec, counted)
    })?;
    let contents = read_files(store_path, request, &sides, &mut files, &phases)?;
    Ok(Difference {
        sides,
        packages,
        files,
        contents,
        notes,
        seconds: phases.spent(),
    })
}

/// Refuses to compare packages alone if those of a side are unknown, or, beside a list, not of rpm.
fn refuse_unknown_packages(sides: &[Side; 2]) -> Result<()> {
    let is_of_another = |side: &&Side| {
        let packages = side.packages.as_ref();
        packages.is_some_and(|packages| packages.manager != Manager::Rpm)
    };
    if sides.iter().any(Side::is_list)
        && let Some(other) = sides.iter().find(is_of_another)
    {
        let of = other.source.to_string();
        return Err(Error::NotOfRpm { of });
    }
    match sides.iter().find(|side| side.packages.is_none()) {
        None => Ok(()),
        Some(side) => Err(Error::UnknownPackages {
            of: side.source.to_string(),
        }),
    }
}

/// Reads the files that differ, as far as the request asks for digests or contents.
fn read_files(
    store_path: &Path,
    request: &Request,
    sides: &[Side; 2],
    files: &mut [FileDifference],
    phases: &Phases,
) -> Result<Vec<(usize, FileContents)>> {
    if request.digests == Digests::Verified {
        phases.run(Phase::Read, None, || verify(store_path, sides, files))?;
    }
    if request.contents.is_empty() {
        return Ok(Vec::new());
    }
    phases.run(Phase::Read, None, || {
        compare_files(store_path, sides, files)
    })
}

/// Refuses a pathspec that chooses nothing on either side: for a misspelt path, no difference would say nothing.
fn refuse_unknown(sides: &[Side; 2], specs: &[OsString]) -> Result<()> {
    for spec in specs {
        if Pathspec::leaves_out(spec) {
            continue;
        }
        let pathspec = Pathspec::new(std::slice::from_ref(spec))?;
        let is_known = sides.iter().any(|side| has_chosen(side, &pathspec));
        if !is_known {
            let [a, b] = sides;
            return Err(Error::InNeither {
                path: printable(spec.as_encoded_bytes()),
                a: a.source.to_string(),
                b: b.source.to_string(),
            });
        }
    }
    Ok(())
}

fn has_chosen(side: &Side, pathspec: &Pathspec) -> bool {
    let mut entries = side.tree.entries().iter();
    entries.any(|entry| pathspec.chooses(&entry.path))
}

type Differences = (Option<Vec<PackageDifference>>, Vec<FileDifference>);

fn differences(
    sides: &[Side; 2],
    pathspec: &Pathspec,
    (mtimes, volatile_files): (Mtimes, VolatileFiles),
) -> Result<Differences> {
    let [a, b] = sides;
    let trees = [&a.tree, &b.tree];
    let changes = changes(trees, pathspec, mtimes);
    let package_changes = match (&a.packages, &b.packages) {
        (Some(_), Some(new)) if a.is_list() || b.is_list() => Some(compare_told(new.manager, a, b)),
        (Some(old), Some(new)) => {
            let changes = compare_packages(new.manager, &old.all, &new.all);
            Some(changes)
        }
        _ => None,
    };
    let known = package_changes.as_deref().unwrap_or_default();
    let (old, new) = (view_of(a), view_of(b));
    let accounts = account(&old, &new, &changes, known);
    let volatile = Volatile::of(sides)?;
    let mut files = Vec::with_capacity(changes.len());
    for (change, account) in changes.into_iter().zip(accounts) {
        let path = path_of(trees, &change);
        files.push(FileDifference {
            change,
            account,
            is_volatile: volatile.has(path),
            is_configuration: is_build_configuration(path),
        });
    }
    let mut packages = package_changes.map(|changes| count(trees, &changes, &files));
    if volatile_files == VolatileFiles::Ignored {
        files.retain(|file| !file.is_volatile || file.account.package_change.is_some());
    }
    if let Some(packages) = &mut packages
        && !pathspec.is_empty()
    {
        keep_concerned(packages, &mut files);
    }
    Ok((packages, files))
}

/// Returns the chosen changes between two trees.
fn changes(trees: [&Tree; 2], pathspec: &Pathspec, mtimes: Mtimes) -> Vec<Change> {
    let ignored = match mtimes {
        Mtimes::Compared => Aspects::NONE,
        Mtimes::Ignored => Aspects::MTIME,
    };
    let mut changes = compare(trees[0], trees[1], ignored);
    if !pathspec.is_empty() {
        changes.retain(|change| {
            let path = path_of(trees, change);
            pathspec.chooses(path)
        });
    }
    changes
}

fn view_of(side: &Side) -> SideView<'_> {
    SideView {
        tree: &side.tree,
        packages: side.installed(),
        times: side.times(),
    }
}

fn notes(sides: &[Side; 2]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(names) = names(sides, |side| side.packages.is_none()) {
        notes.push(format!(
            "files alone are compared: the packages of {names} are unknown"
        ));
    } else if sides.iter().any(Side::is_list) {
        notes.extend(notes_of_lists(sides));
    } else if let Some(names) = names(sides, has_packages_without_owners) {
        notes.push(format!(
            "whose files differ is unknown: {names} was recorded before that was kept"
        ));
    }
    let [one, other] = sides;
    let are_known = one.policy.is_some() && other.policy.is_some();
    if are_known
        && one.is_normalized() != other.is_normalized()
        && let Some(names) = names(sides, Side::is_normalized)
    {
        notes.push(format!(
            "volatile files differ in how they were recorded: {names} alone has a normalised state"
        ));
    }
    notes
}

/// Says what is not compared, since a list does not tell it.
fn notes_of_lists(sides: &[Side; 2]) -> Vec<String> {
    let missing = [
        ("epochs", names(sides, |side| !side.told().epochs)),
        ("keys of rpm", names(sides, |side| !side.told().keys)),
    ];
    let missing = missing
        .into_iter()
        .filter_map(|(what, names)| Some(format!("{what} are not compared: {} has none", names?)));
    missing.collect()
}

fn has_packages_without_owners(side: &Side) -> bool {
    !side.installed().is_empty() && !side.has_owners()
}

/// Returns the names of the sides that are meant; `None` without such a side.
fn names(sides: &[Side; 2], is_meant: impl Fn(&Side) -> bool) -> Option<String> {
    let mut names = Vec::new();
    for side in sides {
        if is_meant(side) {
            names.push(side.source.to_string());
        }
    }
    if names.is_empty() {
        return None;
    }
    Some(names.join(" and "))
}

/// The paths that the policies of the sides count as volatile.
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
