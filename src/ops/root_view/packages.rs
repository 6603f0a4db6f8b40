//! The packages of a root, out of the package manager's own files.

use crate::apk;
use crate::dpkg;
use crate::error::Result;
use crate::fs::root::Root;
use crate::model::packages::owners::Installed;
use crate::model::packages::version::Manager;
use crate::model::policy::MtimeRule;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Monitor;
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::places::{LARGEST_TEXT_BYTES, LARGEST_TEXTS_BYTES, is_dpkg_info, path};
use crate::ops::root_view::rpm_database::{RpmPackages, read_rpm, rpm_databases};
use std::collections::HashMap;
use std::path::Path;

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
    rpm_databases().any(|database| root.has_file(&database.path()))
}

/// Reads the packages of any manager; `None` without a database, and if the database is damaged, which is noted. An rpm database without
/// packages counts where no other manager has packages. A copy is made in `scratch`. Fails if a file of the database cannot be read
/// or copied, and with [`crate::error::Error::Changed`] if a live database has changed since observed.
pub(crate) fn read_packages(
    files: &impl RootFiles,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Option<RootPackages>> {
    let of_rpm = match read_rpm(files, scratch, monitor)? {
        RpmPackages::Absent => None,
        RpmPackages::Unreadable(reason) => {
            monitor.note(&format!("{reason}; packages are unknown"));
            return Ok(None);
        }
        RpmPackages::Read(all) => Some(all),
    };
    let known = of_rpm.map(|all| RootPackages {
        manager: Manager::Rpm,
        all,
    });
    match known {
        Some(known) if !known.all.is_empty() => Ok(Some(known)),
        known => Ok(read_others(files)?.or(known)),
    }
}

/// Reads the packages of dpkg or apk; `None` without either.
fn read_others(files: &impl RootFiles) -> Result<Option<RootPackages>> {
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

/// Reads the packages of rpm alone; `None` without a database, and if the database is damaged: a note tells the reason, and the consequence for
/// times under `mtime`. Fails if the database cannot be copied to `scratch`, and with [`crate::error::Error::Changed`] if the
/// database of a live root has changed since it was observed.
pub(crate) fn read_rpm_packages(
    files: &impl RootFiles,
    scratch: &Path,
    mtime: MtimeRule,
    monitor: &dyn Monitor,
) -> Result<Option<Vec<Installed>>> {
    match read_rpm(files, scratch, monitor)? {
        RpmPackages::Absent => Ok(None),
        RpmPackages::Unreadable(reason) => {
            let times = match mtime {
                MtimeRule::Package => ", and files but *.py get the epoch as their time",
                MtimeRule::Keep | MtimeRule::Fixed => "",
            };
            monitor.note(&format!("{reason}; packages are unknown{times}"));
            Ok(None)
        }
        RpmPackages::Read(all) => Ok(Some(all)),
    }
}

impl RootPackages {
    fn of(manager: Manager, all: Vec<Installed>) -> Option<Self> {
        Some(Self { manager, all })
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
