//! The normalised state of a root: files recorded in the place of those that are there.

use crate::dnf;
use crate::error::{Error, Result};
use crate::model::digest::ContentHash;
use crate::model::packages::owners::{Installed, Owners};
use crate::model::policy::normalise::{Home, StableVolatile};
use crate::model::policy::state::{Derivation, Derivations};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, FileContent, Group, Kind};
use crate::model::tree::path::EntryPath;
use crate::ops::root_view::build_user::BuildUser;
use crate::ops::root_view::facts::RootFiles;
use crate::ops::root_view::places::{
    LARGEST_CONFIGURATION_BYTES, LARGEST_TEXT_BYTES, account_files, dnf_history_files,
};
use crate::ops::root_view::rpm_database::{RpmDatabase, copy_database, rpm_databases};
use crate::ops::root_view::user_numbers::{Accounts, are_others, owner};
use crate::rpm::{self, Backend};
use crate::shadow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A database is made anew in memory, which takes three times as much.
const LARGEST_DATABASE_BYTES: u64 = 256 << 20;

/// The contents of derived files, each in a file without a name.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    files: HashMap<EntryPath, DerivedFile>,
}

#[derive(Debug)]
struct DerivedFile {
    content: ContentHash,
    file: File,
}

impl Derived {
    /// Opens the derived file at `path` that has this content; `None` for a file that is as in the root.
    pub(crate) fn open(&self, path: &EntryPath, content: ContentHash) -> Option<DerivedReader<'_>> {
        let derived = self.files.get(path)?;
        (derived.content == content).then_some(DerivedReader {
            file: &derived.file,
            at: 0,
        })
    }
}

/// Reads a derived file from the beginning, beside others who read the same.
#[derive(Debug)]
pub(crate) struct DerivedReader<'a> {
    file: &'a File,
    at: u64,
}

impl Read for DerivedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Returns the normalised volatile side of a root with these packages, and the contents of derived files, whose time is `epoch_s`.
/// `scratch` takes copies. Fails with [`Error::NotNormalizable`] or [`Error::RpmDatabase`] if the rpm database cannot be made anew,
/// if a file cannot be read, and with [`Error::Changed`] if a file of a live root has changed since observed.
pub(crate) fn derive(
    sides: &StableVolatile<FileContent>,
    (derivations, epoch_s): (&Derivations, i64),
    files: &impl RootFiles,
    (packages, user): (&[Installed], Option<&BuildUser>),
    scratch: &Path,
) -> Result<(Tree<FileContent>, Derived)> {
    refuse_other_database(sides, derivations, files)?;
    let owned = owned_logs(sides, derivations, packages);
    let mut deriver = Deriver {
        files,
        derivations,
        owned,
        packages,
        epoch_s,
        scratch,
        derived: Derived::default(),
    };
    let mut volatile = Vec::new();
    for entry in sides.volatile.entries() {
        volatile.extend(deriver.entry(entry.clone())?);
    }
    let home = user
        .filter(|user| user.has_group)
        .and_then(|user| user.home.as_ref());
    if let Some(home) = home.filter(|home| are_others(home) && is_seen_whole(sides, home)) {
        let next_group = volatile.iter().filter_map(|entry| entry.group);
        let next_group = next_group
            .map(|Group(number)| number + 1)
            .max()
            .unwrap_or(0);
        let renumbered = deriver.renumbered(&sides.stable, home)?.into_iter();
        volatile.extend(renumbered.map(|entry| Entry {
            group: entry.group.map(|Group(number)| Group(number + next_group)),
            ..entry
        }));
    }
    Ok((Tree::new(volatile), deriver.derived))
}

/// Refuses an rpm database that no rule normalises: recorded as found, it would make each root another.
fn refuse_other_database(
    sides: &StableVolatile<FileContent>,
    derivations: &Derivations,
    files: &impl RootFiles,
) -> Result<()> {
    let is_other = |at: &EntryPath| {
        let is_derived =
            sides.volatile.position(at).is_some() && derivations.of(at) != Derivation::Found;
        files.size_bytes(at).is_some() && !is_derived
    };
    match rpm_databases()
        .map(|database| database.path())
        .find(is_other)
    {
        Some(path) => Err(Error::NotNormalizable {
            path: files.shown(&path),
            reason: "it is an rpm database in a place where none is made anew",
        }),
        None => Ok(()),
    }
}

/// Tells whether accounts and home are on the stable side, and nothing is mounted in the home: only then do all numbers change
/// together.
fn is_seen_whole(sides: &StableVolatile<FileContent>, home: &Home) -> bool {
    let is_of_home = |path: &EntryPath| *path == home.path || path.is_beneath(&home.path);
    let is_of_user = |path: &EntryPath| {
        let accounts = [Accounts::Users, Accounts::Groups];
        is_of_home(path)
            || accounts
                .into_iter()
                .flat_map(account_files)
                .any(|file| file == *path)
    };
    let mut volatile = sides.volatile.entries().iter();
    !volatile.any(|entry| is_of_user(&entry.path)) && !sides.mounts.iter().any(is_of_user)
}

/// Which logs packages have installed, and the directories above them.
struct OwnedLogs {
    kept: HashSet<EntryPath>,
}

fn owned_logs(
    sides: &StableVolatile<FileContent>,
    derivations: &Derivations,
    packages: &[Installed],
) -> OwnedLogs {
    let logs = sides.volatile.entries().iter().map(|entry| &entry.path);
    let logs: Vec<&EntryPath> = logs
        .filter(|path| derivations.of(path) == Derivation::Log)
        .collect();
    let links = sides.stable.entries().iter();
    let owners = Owners::new(packages, links.chain(sides.volatile.entries())).of(&logs);
    let mut kept = HashSet::new();
    for (path, owners) in logs.into_iter().zip(owners) {
        if owners.iter().any(|owner| !owner.file.is_ghost()) {
            kept.extend(path.ancestors());
            kept.insert(path.clone());
        }
    }
    OwnedLogs { kept }
}

/// Derives entry by entry.
struct Deriver<'a, F> {
    files: &'a F,
    derivations: &'a Derivations,
    owned: OwnedLogs,
    packages: &'a [Installed],
    /// The time of derived files.
    epoch_s: i64,
    scratch: &'a Path,
    derived: Derived,
}

impl<F: RootFiles> Deriver<'_, F> {
    /// Returns what the state has of an entry of the volatile side.
    fn entry(&mut self, entry: Entry<FileContent>) -> Result<Option<Entry<FileContent>>> {
        let derivation = self.derivations.of(&entry.path);
        let is_file = matches!(entry.kind, Kind::File { .. });
        match derivation {
            Derivation::Found => return Ok(Some(entry)),
            Derivation::LeftOut => return Ok(None),
            Derivation::Log if !self.owned.kept.contains(&entry.path) => return Ok(None),
            _ if !is_file => return Ok(Some(entry)),
            _ => {}
        }
        let mut out = Output::new(self.scratch)?;
        if !self.write(derivation, &entry.path, &mut out)? {
            return Ok(Some(entry));
        }
        self.derived_entry(entry, out).map(Some)
    }

    /// Returns the entries of the stable side that have numbers of the build user, with the fixed ones: passwd, group and the
    /// home. None if another account has a fixed number.
    fn renumbered(
        &mut self,
        stable: &Tree<FileContent>,
        home: &Home,
    ) -> Result<Vec<Entry<FileContent>>> {
        let mut renumbered = Vec::new();
        for accounts in [Accounts::Users, Accounts::Groups] {
            for path in account_files(accounts) {
                let text = self.files.bytes(&path, LARGEST_CONFIGURATION_BYTES)?;
                let (Some(text), Some(place)) = (text, stable.position(&path)) else {
                    continue;
                };
                if !accounts.is_free(&text) {
                    return Ok(Vec::new());
                }
                let changed = accounts.renumbered(&text, home);
                if changed != text {
                    let mut out = Output::new(self.scratch)?;
                    out.write_all(&changed)
                        .map_err(Error::io("write in", self.scratch))?;
                    let entry = stable.entries()[place].clone();
                    renumbered.push(self.derived_entry(entry, out)?);
                }
            }
        }
        for entry in stable.entries() {
            let is_of_home = entry.path == home.path || entry.path.is_beneath(&home.path);
            if is_of_home && !self.derived.files.contains_key(&entry.path) {
                let (uid, gid) = owner(home, (entry.uid, entry.gid));
                renumbered.push(Entry {
                    uid,
                    gid,
                    ..entry.clone()
                });
            }
        }
        Ok(renumbered)
    }

    /// Returns the entry of a derived file.
    fn derived_entry(
        &mut self,
        entry: Entry<FileContent>,
        out: Output,
    ) -> Result<Entry<FileContent>> {
        let (file, size_bytes, content) = out.finish(self.scratch)?;
        let path = entry.path.clone();
        self.derived
            .files
            .insert(path, DerivedFile { content, file });
        Ok(Entry {
            kind: Kind::File {
                size_bytes,
                content: FileContent::Known(content),
            },
            mtime_s: self.epoch_s,
            group: None,
            ..entry
        })
    }

    /// Writes the content of a file in the state, and tells whether the state has the file.
    fn write(&self, derivation: Derivation, path: &EntryPath, out: &mut Output) -> Result<bool> {
        match derivation {
            Derivation::Empty | Derivation::Log => Ok(true),
            Derivation::RpmDatabase => self.write_database(path, out),
            Derivation::LockedDays => {
                self.write_text(path, out, |text| Some(shadow::without_locked_days(text)))
            }
            Derivation::SortedToml => {
                self.write_text(path, out, |text| dnf::sorted(text).map(String::into_bytes))
            }
            Derivation::OtherRpmDatabase => Err(Error::NotNormalizable {
                path: self.files.shown(path),
                reason: "it is an rpm database of ndb or Berkeley DB",
            }),
            Derivation::DnfHistory => self.write_history(path, out),
            Derivation::Found | Derivation::LeftOut => Ok(false),
        }
    }

    fn write_database(&self, path: &EntryPath, out: &mut Output) -> Result<bool> {
        let database = RpmDatabase {
            place: path.parent().unwrap_or_default(),
            backend: Backend::Sqlite,
        };
        if database.size_bytes(self.files) > LARGEST_DATABASE_BYTES {
            return Err(Error::NotNormalizable {
                path: self.files.shown(path),
                reason: "its database is larger than any that is made anew in memory",
            });
        }
        let Some(copy) = copy_database(self.files, &database, self.scratch)? else {
            return Ok(false);
        };
        let epoch_s = self.epoch_s.clamp(0, i64::from(u32::MAX)) as u32;
        rpm::normalised(copy.path(), &self.files.shown(path), epoch_s, out)?;
        Ok(true)
    }

    fn write_history(&self, path: &EntryPath, out: &mut Output) -> Result<bool> {
        let copy = tempfile::tempdir_in(self.scratch);
        let copy = copy.map_err(Error::io("write in", self.scratch))?;
        for file in dnf_history_files() {
            let name = OsStr::from_bytes(file.name());
            if self
                .files
                .size_bytes(&file)
                .is_some_and(|size_bytes| size_bytes > LARGEST_TEXT_BYTES)
            {
                return Ok(false);
            }
            self.files.copy(&file, &copy.path().join(name))?;
        }
        let packages = self.packages.iter().map(|one| &one.package);
        let shown = self.files.shown(path);
        dnf::history::normalised(copy.path(), packages, self.epoch_s, (out, &shown))
    }

    fn write_text(
        &self,
        path: &EntryPath,
        out: &mut Output,
        change: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        let text = self.files.bytes(path, LARGEST_CONFIGURATION_BYTES)?;
        let Some(changed) = text.and_then(|text| change(&text)) else {
            return Ok(false);
        };
        out.write_all(&changed)
            .map_err(Error::io("write in", self.scratch))?;
        Ok(true)
    }
}

/// A derived file while it is written.
struct Output {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl Output {
    fn new(scratch: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(scratch).map_err(Error::io("write in", scratch))?;
        Ok(Self {
            file: BufWriter::new(file),
            hasher: blake3::Hasher::new(),
            size_bytes: 0,
        })
    }

    /// Returns the file, the length and the hash of the content.
    fn finish(self, scratch: &Path) -> Result<(File, u64, ContentHash)> {
        let file = self.file.into_inner();
        let file = file.map_err(|error| error.into_error());
        Ok((
            file.map_err(Error::io("write in", scratch))?,
            self.size_bytes,
            ContentHash(*self.hasher.finalize().as_bytes()),
        ))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
