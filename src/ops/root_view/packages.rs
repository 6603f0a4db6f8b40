//! The packages of a root, out of the package manager's own files.

use crate::apk;
use crate::dpkg;
use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::packages::owners::Installed;
use crate::model::packages::version::Manager;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Monitor;
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::places::{
    LARGEST_DATABASE_BYTES, LARGEST_TEXT_BYTES, LARGEST_TEXTS_BYTES, database_files_in,
    is_dpkg_info, path, rpm_places,
};
use crate::rpm;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// More than the file lists of any root's packages: 61,000 files have 6 MB.
const LARGEST_LISTS_BYTES: usize = 256 << 20;

/// The packages of a root.
#[derive(Debug)]
pub struct RootPackages {
    /// The package manager.
    pub manager: Manager,
    /// Sorted; without the lists of files past the limit of all lists.
    pub all: Vec<Installed>,
}

/// Tells whether the root has an rpm database of any kind.
pub(crate) fn has_rpm_database(root: &Root) -> bool {
    rpm_places().any(|place| {
        [rpm::SQLITE]
            .iter()
            .chain(rpm::OTHER_BACKENDS)
            .any(|name| root.has_file(&place.join(name.as_bytes())))
    })
}

/// Reads the packages of any manager; `None` without a database, and if the database is damaged, which is noted. A copy is made in
/// `scratch`. Fails if a file of the database cannot be read or copied, and with [`Error::Changed`] if a live database has changed
/// since observed.
pub(crate) fn read_packages(
    files: &impl RootFiles,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Option<RootPackages>> {
    for place in rpm_places() {
        match read_sqlite(files, &place, scratch, monitor)? {
            Database::Absent => {}
            Database::Unreadable => return Ok(None),
            Database::Read(all) => return Ok(RootPackages::of(Manager::Rpm, all)),
        }
    }
    if let Some(all) = read_dpkg(files)? {
        return Ok(RootPackages::of(Manager::Dpkg, all));
    }
    for place in apk::INSTALLED {
        if let Some(installed) = files.bytes(&path(place), LARGEST_TEXT_BYTES)? {
            return Ok(RootPackages::of(Manager::Apk, apk::read(&installed)));
        }
    }
    Ok(None)
}

/// Reads the packages of rpm alone; `None` without a database of SQLite, where a note names a database of another backend.
/// Fails if the database cannot be copied to `scratch`, and with [`Error::Changed`] if the database of a live root has changed
/// since it was observed.
pub(crate) fn read_rpm_packages(
    files: &impl RootFiles,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Option<Vec<Installed>>> {
    for place in rpm_places() {
        match read_sqlite(files, &place, scratch, monitor)? {
            Database::Absent => {}
            Database::Unreadable => return Ok(None),
            Database::Read(all) => return Ok(Some(all)),
        }
        let mut others = rpm::OTHER_BACKENDS
            .iter()
            .map(|name| place.join(name.as_bytes()));
        if let Some(other) = others.find(|other| files.size_bytes(other).is_some()) {
            monitor.note(&format!(
                "{} is not of the SQLite backend; packages are unknown",
                files.shown(&other).display()
            ));
            return Ok(None);
        }
    }
    Ok(None)
}

impl RootPackages {
    fn of(manager: Manager, all: Vec<Installed>) -> Option<Self> {
        Some(Self { manager, all })
    }
}

/// An SQLite database of rpm's.
enum Database {
    Absent,
    /// A note tells why the database cannot be read.
    Unreadable,
    Read(Vec<Installed>),
}

/// Reads the database in the directory `place`.
fn read_sqlite(
    files: &impl RootFiles,
    place: &EntryPath,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Database> {
    match read_copy(files, place, scratch) {
        Ok(None) => Ok(Database::Absent),
        Ok(Some(all)) => Ok(Database::Read(all)),
        Err(error @ Error::RpmDatabase { .. }) => {
            monitor.note(&format!("{error}; packages are unknown"));
            Ok(Database::Unreadable)
        }
        Err(error) => Err(error),
    }
}

/// Makes a private copy of the database in SQLite in the directory `place`, with the log beside the database; `None` without a
/// database. SQLite opens files by path and makes others beside them. Fails if the database cannot be copied to `scratch`, and
/// with [`Error::RpmDatabase`] if the database is larger than any.
pub(super) fn copy_database(
    files: &impl RootFiles,
    place: &EntryPath,
    scratch: &Path,
) -> Result<Option<TempDir>> {
    let [database, log] = database_files_in(place);
    if files.size_bytes(&database).is_none() {
        return Ok(None);
    }
    refuse_too_large(files, &database)?;
    refuse_too_large(files, &log)?;
    let copy = tempfile::tempdir_in(scratch).map_err(Error::io("write in", scratch))?;
    if !files.copy(&database, &copy.path().join(rpm::SQLITE))? {
        return Ok(None);
    }
    files.copy(&log, &copy.path().join(rpm::SQLITE_WAL))?;
    Ok(Some(copy))
}

fn read_copy(
    files: &impl RootFiles,
    place: &EntryPath,
    scratch: &Path,
) -> Result<Option<Vec<Installed>>> {
    let Some(copy) = copy_database(files, place, scratch)? else {
        return Ok(None);
    };
    let [database, _] = database_files_in(place);
    let (mut all, mut lists_bytes) = (Vec::new(), 0);
    rpm::read(copy.path(), &files.shown(&database), |header| {
        lists_bytes += header.files.bytes().len();
        let files = (lists_bytes <= LARGEST_LISTS_BYTES).then(|| Arc::new(header.files));
        all.push(Installed {
            package: header.package,
            files,
        });
    })?;
    all.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(Some(all))
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

/// Reads the files of dpkg, which are small and many, up to a limit on all of them.
struct DpkgFiles<'f, F> {
    files: &'f F,
    bytes_left: u64,
}

impl<F: RootFiles> DpkgFiles<'_, F> {
    /// Reads a file; `None` without such a file, and past the limit.
    fn read(&mut self, path: &EntryPath) -> Result<Option<Vec<u8>>> {
        let most_bytes = LARGEST_TEXT_BYTES.min(self.bytes_left);
        let bytes = self.files.bytes(path, most_bytes)?;
        self.bytes_left -= bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(bytes)
    }
}

fn read_dpkg(files: &impl RootFiles) -> Result<Option<Vec<Installed>>> {
    let mut dpkg_files = DpkgFiles {
        files,
        bytes_left: LARGEST_TEXTS_BYTES,
    };
    let mut status = dpkg_files.read(&path(dpkg::STATUS))?;
    let parts = path(dpkg::STATUS_PARTS);
    for name in files.names_in(&parts) {
        // The checksums of a part stand beside it.
        if !name.ends_with(b".md5sums")
            && let Some(part) = dpkg_files.read(&parts.join(&name))?
        {
            let status = status.get_or_insert_default();
            status.extend_from_slice(b"\n\n");
            status.extend(part);
        }
    }
    let Some(status) = status else {
        return Ok(None);
    };
    let mut info = HashMap::new();
    let directory = path(dpkg::INFO);
    for name in files.names_in(&directory) {
        if is_dpkg_info(&name)
            && let Some(bytes) = dpkg_files.read(&directory.join(&name))?
        {
            info.insert(name, bytes);
        }
    }
    Ok(Some(dpkg::read(&status, &info)))
}
