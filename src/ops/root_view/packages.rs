//! What the root's rpm database says: packages, and the times of their files.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::packages::file_list::FileList;
use crate::model::packages::package::Package;
use crate::model::policy::package_mtimes::{Gathering, Links, Vouched};
use crate::model::stamp::StatKind;
use crate::model::tree::path::EntryPath;
use crate::ops::monitor::Monitor;
use crate::ops::root_view::observe::Observation;
use crate::rpm;
use crate::store::Scratch;
use std::io::{Read, Write};

/// A larger file is no rpm database, and is not copied.
const LARGEST_DATABASE_BYTES: u64 = 2 << 30;

/// More than the lists of any root's files: 61,000 files have 6 MB.
pub(crate) const LARGEST_LISTS_BYTES: usize = 256 << 20;

/// Packages of a root.
#[derive(Debug, Default)]
pub(crate) struct Installed {
    /// Sorted; `None` where nobody knows.
    pub(crate) packages: Option<Vec<Package>>,
    /// The files of each; none where they are more than any root has.
    pub(crate) files: Vec<FileList>,
    /// The times that they give their files.
    pub(crate) vouched: Vouched,
}

/// Tells whether the root has an rpm database of any kind.
pub(crate) fn has_database(root: &Root) -> bool {
    places().any(|place| {
        [rpm::SQLITE]
            .iter()
            .chain(rpm::OTHER_BACKENDS)
            .any(|name| root.has_file(&place.join(name.as_bytes())))
    })
}

/// Reads the packages, and the times of their files where they are wanted, with `scratch` as a place to work in. A database that cannot be read is noted, and the packages are then unknown.
pub(crate) fn read(
    scratch: &Scratch,
    root: &Root,
    observed: &Observation,
    wants_times: bool,
    monitor: &dyn Monitor,
) -> Result<Installed> {
    let is_file = |path: &EntryPath| {
        observed
            .stat(path)
            .is_some_and(|stat| stat.kind == StatKind::File)
    };
    for place in places() {
        if is_file(&place.join(rpm::SQLITE.as_bytes())) {
            return match read_sqlite(scratch, root, observed, &place, wants_times) {
                Err(error @ Error::RpmDatabase { .. }) => {
                    monitor.note(&format!("{error}; packages are unknown"));
                    Ok(Installed::default())
                }
                read => read,
            };
        }
        for name in rpm::OTHER_BACKENDS {
            let path = place.join(name.as_bytes());
            if is_file(&path) {
                let at = root.full_path(&path);
                monitor.note(&format!(
                    "{} is not of the SQLite backend; packages are unknown",
                    at.display()
                ));
                return Ok(Installed::default());
            }
        }
    }
    Ok(Installed::default())
}

/// Returns where the files may be that are read here.
pub(crate) fn database_files() -> impl Iterator<Item = EntryPath> {
    places()
        .flat_map(|place| [rpm::SQLITE, rpm::SQLITE_WAL].map(|name| place.join(name.as_bytes())))
}

fn places() -> impl Iterator<Item = EntryPath> {
    rpm::PLACES
        .iter()
        .filter_map(|place| EntryPath::from_slashed(place.as_bytes()))
}

/// SQLite opens files by path and makes others beside them, so it gets a private copy.
fn read_sqlite(
    scratch: &Scratch,
    root: &Root,
    observed: &Observation,
    place: &EntryPath,
    wants_times: bool,
) -> Result<Installed> {
    for name in [rpm::SQLITE, rpm::SQLITE_WAL] {
        let path = place.join(name.as_bytes());
        if let Some(stat) = observed
            .stat(&path)
            .filter(|stat| stat.kind == StatKind::File)
        {
            if stat.size_bytes > LARGEST_DATABASE_BYTES {
                let reason = format!("{} bytes are more than any has", stat.size_bytes);
                return Err(Error::RpmDatabase {
                    path: root.full_path(&path),
                    reason,
                });
            }
            copy(root, observed, &path, scratch, name)?;
        }
    }
    let links: Links = observed
        .seen()
        .filter(|seen| seen.stat.kind == StatKind::Symlink)
        .map(|seen| (seen.path.clone(), seen.facts.target.clone()))
        .collect();
    let mut gathering = Gathering::new(&links);
    let is_seen = |path: &EntryPath, mtime_s: i64| {
        observed
            .stat(path)
            .is_some_and(|stat| stat.mtime.seconds == mtime_s)
    };
    let mut packages: Vec<(Package, FileList)> = Vec::new();
    let mut lists_bytes = 0;
    rpm::read(
        scratch.path(),
        &root.full_path(&place.join(rpm::SQLITE.as_bytes())),
        |header| {
            if wants_times {
                let directories: Vec<&[u8]> = header.files.directories().collect();
                let files = header
                    .files
                    .files()
                    .map(|file| (file.directory, file.name, i64::from(file.mtime_s)));
                gathering.add(&directories, files, is_seen);
            }
            lists_bytes += header.files.bytes().len();
            let is_kept = lists_bytes <= LARGEST_LISTS_BYTES;
            packages.push((
                header.package,
                if is_kept {
                    header.files
                } else {
                    FileList::default()
                },
            ));
        },
    )?;
    packages.sort_by(|a, b| a.0.cmp(&b.0));
    let (packages, mut files): (_, Vec<FileList>) = packages.into_iter().unzip();
    if lists_bytes > LARGEST_LISTS_BYTES {
        files.clear();
    }
    Ok(Installed {
        packages: Some(packages),
        files,
        vouched: gathering.finish(),
    })
}

/// Copies a file as it was seen; another content is a change of the root.
fn copy(
    root: &Root,
    observed: &Observation,
    path: &EntryPath,
    scratch: &Scratch,
    name: &str,
) -> Result<()> {
    let full = root.full_path(path);
    let target = scratch.path().join(name);
    let mut input = root.open_file(path)?;
    let mut output = std::fs::File::create(&target).map_err(Error::io("write", &target))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = input.read(&mut buffer).map_err(Error::io("read", &full))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        output
            .write_all(&buffer[..count])
            .map_err(Error::io("write", &target))?;
    }
    let recorded = observed.at(path).and_then(|(_, facts)| facts.content);
    if recorded.is_none_or(|content| content.0 != *hasher.finalize().as_bytes()) {
        return Err(Error::Changed(full));
    }
    Ok(())
}
