//! The rpm database of a root among several, and the packages there.
//!
//! The database counts that rpm of the root would open: directory and backend by the root's macros, else the first found
//! (`dbDetectBackend` in rpm's lib/backend/dbi.c). An empty database never counts beside a database with packages: the host's rpm
//! makes empty databases wherever a query leads.

use crate::error::{Error, Result};
use crate::model::packages::owners::Installed;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Monitor;
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::places::{
    LARGEST_CONFIGURATION_BYTES, LARGEST_DATABASE_BYTES, macro_files, path, rpm_places,
};
use crate::rpm::{self, Backend, Configured};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// More than the file lists of any root's packages: 61,000 files have 6 MB.
const LARGEST_LISTS_BYTES: usize = 256 << 20;

/// The packages of rpm, as far as known.
pub(super) enum RpmPackages {
    /// The root has no database.
    Absent,
    /// The database cannot be read, for a reason.
    Unreadable(String),
    /// The packages, sorted.
    Read(Vec<Installed>),
}

/// A database of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpmDatabase {
    /// The directory.
    pub place: EntryPath,
    pub backend: Backend,
}

impl RpmDatabase {
    /// Returns the place of the file with the packages.
    pub(crate) fn path(&self) -> EntryPath {
        self.place.join(self.backend.file_name().as_bytes())
    }

    /// Returns the length of all files of the database.
    pub(super) fn size_bytes(&self, files: &impl RootFiles) -> u64 {
        let sizes = self.files().filter_map(|(_, file)| files.size_bytes(&file));
        sizes.sum()
    }

    /// Returns the files of the database, the file with the packages first.
    fn files(&self) -> impl Iterator<Item = (&'static str, EntryPath)> {
        let names = self.backend.file_names().iter();
        names.map(|name| (*name, self.place.join(name.as_bytes())))
    }
}

/// Returns all databases possible in a root.
pub(crate) fn rpm_databases() -> impl Iterator<Item = RpmDatabase> {
    rpm_places().flat_map(|place| {
        Backend::ALL.into_iter().map(move |backend| RpmDatabase {
            place: place.clone(),
            backend,
        })
    })
}

/// Reads the packages of the database that counts; a note names another database in doubt. Fails if a file cannot be read or
/// copied to `scratch`, and with [`Error::Changed`] if the database of a live root has changed since it was observed.
pub(super) fn read_rpm(
    files: &impl RootFiles,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<RpmPackages> {
    let (databases, is_told) = candidates(files)?;
    let mut empty = None;
    for database in &databases {
        match read_database(files, database, scratch) {
            Ok(all) if all.is_empty() => empty = Some(all),
            Ok(all) => {
                if let Some(note) = doubt(files, database, &databases, is_told) {
                    monitor.note(&note);
                }
                return Ok(RpmPackages::Read(all));
            }
            Err(error @ Error::RpmDatabase { .. }) => {
                return Ok(RpmPackages::Unreadable(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(empty.map_or(RpmPackages::Absent, RpmPackages::Read))
}

/// Returns the databases of the root in the order of rpm, and whether the root's macros name the first.
fn candidates(files: &impl RootFiles) -> Result<(Vec<RpmDatabase>, bool)> {
    let mut found: Vec<RpmDatabase> = rpm_databases()
        .filter(|database| files.size_bytes(&database.path()).is_some())
        .collect();
    if found.iter().any(|database| database.size_bytes(files) != 0) {
        found.retain(|database| database.size_bytes(files) != 0);
    }
    if found.len() < 2 {
        return Ok((found, true));
    }
    let Configured { directory, backend } = read_macros(files)?;
    let directory = directory.map(|directory| path(directory.trim_matches('/')));
    let is_other = |database: &RpmDatabase| {
        (
            directory.as_ref() != Some(&database.place),
            backend != Some(database.backend),
        )
    };
    // Stable: otherwise in the order of places and backends.
    found.sort_by_key(is_other);
    let is_told = found
        .first()
        .is_some_and(|first| is_other(first) == (false, false));
    Ok((found, is_told))
}

fn read_macros(files: &impl RootFiles) -> Result<Configured> {
    let mut texts = Vec::new();
    for file in macro_files() {
        texts.extend(files.bytes(&file, LARGEST_CONFIGURATION_BYTES)?);
    }
    Ok(rpm::configured(texts.iter().map(Vec::as_slice)))
}

/// Returns a note where rpm might open another database than `counts`.
fn doubt(
    files: &impl RootFiles,
    counts: &RpmDatabase,
    all: &[RpmDatabase],
    is_told: bool,
) -> Option<String> {
    let first = all.first().filter(|first| *first != counts || !is_told)?;
    let shown = |database: &RpmDatabase| files.shown(&database.path()).display().to_string();
    if first != counts {
        let (first, counts) = (shown(first), shown(counts));
        return Some(format!("{first} has no packages; those of {counts} count"));
    }
    let other = all.iter().find(|other| *other != counts)?;
    let (counts, other) = (shown(counts), shown(other));
    Some(format!(
        "the packages of {counts} count, and not those of {other}"
    ))
}

/// Reads the packages of a database.
fn read_database(
    files: &impl RootFiles,
    database: &RpmDatabase,
    scratch: &Path,
) -> Result<Vec<Installed>> {
    if database.size_bytes(files) == 0 {
        return Err(Error::RpmDatabase {
            path: files.shown(&database.path()),
            reason: "it is an empty file".to_owned(),
        });
    }
    let Some(copy) = copy_database(files, database, scratch)? else {
        return Ok(Vec::new());
    };
    let shown = files.shown(&database.path());
    let (mut all, mut lists_bytes) = (Vec::new(), 0);
    rpm::read(database.backend, copy.path(), &shown, |header| {
        lists_bytes += header.files.bytes().len();
        let files = (lists_bytes <= LARGEST_LISTS_BYTES).then(|| Arc::new(header.files));
        all.push(Installed {
            package: header.package,
            files,
            details: Some(Arc::new(header.details)),
        });
    })?;
    all.sort_by(|a, b| a.package.cmp(&b.package));
    // Of two rows of one package, as after a power cut, one is kept: a set has each package once.
    all.dedup_by(|a, b| a.package == b.package);
    Ok(all)
}

/// Makes a private copy of a database, with the log beside a database in SQLite; `None` without a database. SQLite opens files by path
/// and makes others beside them. Fails if the database cannot be copied to `scratch`, and with [`Error::RpmDatabase`] if the database is
/// larger than any.
pub(super) fn copy_database(
    files: &impl RootFiles,
    database: &RpmDatabase,
    scratch: &Path,
) -> Result<Option<TempDir>> {
    if files.size_bytes(&database.path()).is_none() {
        return Ok(None);
    }
    for (_, file) in database.files() {
        refuse_too_large(files, &file)?;
    }
    let copy = tempfile::tempdir_in(scratch).map_err(Error::io("write in", scratch))?;
    for (number, (name, file)) in database.files().enumerate() {
        if !files.copy(&file, &copy.path().join(name))? && number == 0 {
            return Ok(None);
        }
    }
    Ok(Some(copy))
}

fn refuse_too_large(files: &impl RootFiles, path: &EntryPath) -> Result<()> {
    match files.size_bytes(path) {
        Some(size_bytes) if size_bytes > LARGEST_DATABASE_BYTES => Err(Error::RpmDatabase {
            path: files.shown(path),
            reason: format!("{size_bytes} bytes are more than any has"),
        }),
        _ => Ok(()),
    }
}
