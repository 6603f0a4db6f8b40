//! The few files of a tree whose content says something of it: package databases, and who the build user is.
//!
//! They are put aside as they come by, under a private temporary directory, so that a tree is read once and no large file
//! is held in memory. Nothing is believed because of its name: what is taken out again has the hash of the tree's entry.

use crate::apk;
use crate::dpkg;
use crate::error::{Error, Result};
use crate::layer::read::{Blob, Held, read_by_hash};
use crate::model::digest::ContentHash;
use crate::model::packages::owners::Installed;
use crate::model::packages::version::Manager;
use crate::model::policy::normalise::shown_path;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::Laid;
use crate::model::tree::path::EntryPath;
use crate::ops::compare::side::SidePackages;
use crate::ops::monitor::Monitor;
use crate::ops::root_view::packages::LARGEST_LISTS_BYTES;
use crate::rpm;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A larger file is no package database.
const LARGEST_DATABASE_BYTES: u64 = 2 << 30;
/// A larger file of another kind is none that is looked for.
const LARGEST_TEXT_BYTES: u64 = 64 << 20;
/// All of them together.
const LARGEST_SPOOL_BYTES: u64 = 6 << 30;
/// All but the databases together, which are read into memory.
const LARGEST_TEXTS_BYTES: u64 = 512 << 20;
/// How many there may be: a Debian of 5,000 packages has 10,000.
const MOST_FILES: usize = 100_000;

/// Files that were put aside.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: TempDir,
    files: HashMap<EntryPath, Vec<PathBuf>>,
    bytes_left: u64,
    texts_bytes_left: u64,
    count: usize,
    /// What was put aside of the layer that is read.
    of_layer: HashSet<EntryPath>,
}

/// What names a file in a tree and what it must hold.
pub(crate) trait Lookup {
    /// The file at a path.
    fn content(&self, path: &EntryPath) -> Option<ContentHash>;
    /// The names of the files in a directory.
    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>>;
}

impl Lookup for [Entry] {
    fn content(&self, path: &EntryPath) -> Option<ContentHash> {
        let at = self.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
        match self[at].kind {
            Kind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    fn names_in(&self, directory: &EntryPath) -> Vec<Vec<u8>> {
        let from = self.partition_point(|entry| entry.path <= *directory);
        let beneath = self[from..]
            .iter()
            .take_while(|entry| entry.path.is_beneath(directory));
        let files = beneath.filter(|entry| entry.path.parent().as_ref() == Some(directory));
        files.map(|entry| entry.path.name().to_vec()).collect()
    }
}

fn path(text: &str) -> EntryPath {
    EntryPath::from_slashed(text.as_bytes()).unwrap_or_default()
}

/// Tells whether a file of this length is put aside.
pub(crate) fn is_wanted(at: &EntryPath, size_bytes: u64) -> bool {
    if is_database(at) {
        return size_bytes <= LARGEST_DATABASE_BYTES;
    }
    let parent = at.parent().unwrap_or_default();
    let is_text = apk::INSTALLED
        .iter()
        .chain(&[dpkg::STATUS, PASSWD, GROUP])
        .any(|known| *at == path(known))
        || parent == path(dpkg::STATUS_PARTS)
        || parent == path(dpkg::INFO)
            && (at.name().ends_with(b".list") || at.name().ends_with(b".md5sums"));
    is_text && size_bytes <= LARGEST_TEXT_BYTES
}

/// Tells whether it is of rpm's.
fn is_database(at: &EntryPath) -> bool {
    [rpm::SQLITE, rpm::SQLITE_WAL]
        .iter()
        .any(|name| at.name() == name.as_bytes())
        && rpm::PLACES
            .iter()
            .any(|place| at.parent() == Some(path(place)))
}

/// Tells whether it is wanted for the build user alone.
pub(crate) fn is_user_file(at: &EntryPath) -> bool {
    *at == path(PASSWD) || *at == path(GROUP)
}

/// The files that say who the build user is.
pub(crate) const PASSWD: &str = "etc/passwd";
/// See [`PASSWD`].
pub(crate) const GROUP: &str = "etc/group";

impl Spool {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("rootstrata-").tempdir();
        let directory = directory.map_err(Error::io("write in", std::env::temp_dir()))?;
        Ok(Self {
            directory,
            files: HashMap::new(),
            bytes_left: LARGEST_SPOOL_BYTES,
            texts_bytes_left: LARGEST_TEXTS_BYTES,
            count: 0,
            of_layer: HashSet::new(),
        })
    }

    /// Returns where the content of this file is to be put; `None` where it is not wanted.
    pub(crate) fn keep(
        &mut self,
        at: &EntryPath,
        size_bytes: u64,
    ) -> Result<Option<Box<dyn Write>>> {
        let left = if is_database(at) {
            &mut self.bytes_left
        } else {
            &mut self.texts_bytes_left
        };
        if !is_wanted(at, size_bytes) || size_bytes > *left || self.count == MOST_FILES {
            return Ok(None);
        }
        *left -= size_bytes;
        let place = self.directory.path().join(self.count.to_string());
        self.count += 1;
        let file = File::create(&place).map_err(Error::io("write", &place))?;
        self.files.entry(at.clone()).or_default().push(place);
        self.of_layer.insert(at.clone());
        Ok(Some(Box::new(file)))
    }

    /// Puts aside what a layer that was read, which has `items`, holds under other names: links to it are what is wanted.
    /// `open` opens its blob.
    pub(crate) fn keep_linked<'b>(
        &mut self,
        items: &[Laid],
        open: impl FnOnce() -> Result<Blob<'b>>,
    ) -> Result<()> {
        let of_layer = std::mem::take(&mut self.of_layer);
        let linked = items.iter().filter_map(|item| match item.entry()? {
            Entry {
                path,
                kind:
                    Kind::File {
                        size_bytes,
                        content,
                    },
                group: Some(_),
                ..
            } if is_wanted(path, *size_bytes) && !of_layer.contains(path) => {
                Some((path, *size_bytes, *content))
            }
            _ => None,
        });
        let mut linked: Vec<(&EntryPath, u64, ContentHash)> = linked.collect();
        if linked.is_empty() {
            return Ok(());
        }
        let sizes: HashSet<u64> = linked
            .iter()
            .map(|(_, size_bytes, _)| *size_bytes)
            .collect();
        read_by_hash(
            open()?,
            |size_bytes| sizes.contains(&size_bytes),
            |held| {
                let mut kept = Ok(());
                linked.retain(|(at, size_bytes, content)| {
                    let is_held = (*size_bytes, *content) == (held.size_bytes, held.hash);
                    if is_held && kept.is_ok() {
                        kept = self.keep_held(at, held);
                    }
                    !is_held
                });
                kept.map(|()| !linked.is_empty())
            },
        )
    }

    fn keep_held(&mut self, at: &EntryPath, held: &mut Held) -> Result<()> {
        match self.keep(at, held.size_bytes)? {
            Some(mut out) => io::copy(held.read()?, &mut out)
                .map(drop)
                .map_err(Error::io("write in", self.directory.path())),
            None => Ok(()),
        }
    }

    /// Returns the file that has the content which the tree has at `at`.
    fn place(&self, tree: &(impl Lookup + ?Sized), at: &EntryPath) -> Result<Option<&Path>> {
        let Some(wanted) = tree.content(at) else {
            return Ok(None);
        };
        for place in self.files.get(at).into_iter().flatten().rev() {
            let mut hasher = blake3::Hasher::new();
            let mut file = File::open(place).map_err(Error::io("read", place))?;
            io::copy(&mut file, &mut hasher).map_err(Error::io("read", place))?;
            if *hasher.finalize().as_bytes() == wanted.0 {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Returns the content that the tree has at `at`, where it was put aside.
    pub(crate) fn bytes(
        &self,
        tree: &(impl Lookup + ?Sized),
        at: &EntryPath,
    ) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.place(tree, at)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let file = File::open(place).map_err(Error::io("read", place))?;
        file.take(LARGEST_TEXT_BYTES)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", place))?;
        Ok(Some(bytes))
    }

    /// Reads the packages of a tree. `shown` is what the tree is called; a database that cannot be read is noted, and the
    /// packages are then unknown.
    pub(crate) fn packages(
        &self,
        tree: &(impl Lookup + ?Sized),
        shown: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Option<SidePackages>> {
        for place in rpm::PLACES {
            let at = path(place).join(rpm::SQLITE.as_bytes());
            if let Some(database) = self.place(tree, &at)? {
                let log = self.place(tree, &path(place).join(rpm::SQLITE_WAL.as_bytes()))?;
                return match rpm_packages(database, log, &below(shown, &at)) {
                    Err(error @ Error::RpmDatabase { .. }) => {
                        monitor.note(&format!("{error}; packages are unknown"));
                        Ok(None)
                    }
                    read => read.map(|all| {
                        Some(SidePackages {
                            manager: Manager::Rpm,
                            all,
                        })
                    }),
                };
            }
        }
        if let Some(all) = self.dpkg_packages(tree)? {
            return Ok(Some(SidePackages {
                manager: Manager::Dpkg,
                all,
            }));
        }
        for place in apk::INSTALLED {
            if let Some(installed) = self.bytes(tree, &path(place))? {
                return Ok(Some(SidePackages {
                    manager: Manager::Apk,
                    all: apk::read(&installed),
                }));
            }
        }
        Ok(None)
    }

    fn dpkg_packages(&self, tree: &(impl Lookup + ?Sized)) -> Result<Option<Vec<Installed>>> {
        let mut status = self.bytes(tree, &path(dpkg::STATUS))?;
        let parts = path(dpkg::STATUS_PARTS);
        for name in tree.names_in(&parts) {
            // A part's sums stand beside it.
            if !name.ends_with(b".md5sums")
                && let Some(part) = self.bytes(tree, &parts.join(&name))?
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
        for name in tree.names_in(&directory) {
            if let Some(bytes) = self.bytes(tree, &directory.join(&name))? {
                info.insert(name, bytes);
            }
        }
        Ok(Some(dpkg::read(&status, &info)))
    }
}

/// SQLite wants the log beside the database, by its name.
fn rpm_packages(database: &Path, log: Option<&Path>, shown: &Path) -> Result<Vec<Installed>> {
    let beside = database.parent().unwrap_or(database);
    let scratch = tempfile::tempdir_in(beside).map_err(Error::io("write in", beside))?;
    for (from, name) in [(Some(database), rpm::SQLITE), (log, rpm::SQLITE_WAL)] {
        if let Some(from) = from {
            let to = scratch.path().join(name);
            std::fs::rename(from, &to)
                .or_else(|_| std::fs::copy(from, &to).map(drop))
                .map_err(Error::io("write", &to))?;
        }
    }
    let (mut all, mut lists_bytes) = (Vec::new(), 0);
    rpm::read(scratch.path(), shown, |header| {
        lists_bytes += header.files.bytes().len();
        let files = (lists_bytes <= LARGEST_LISTS_BYTES).then(|| Arc::new(header.files));
        all.push(Installed {
            package: header.package,
            files,
        });
    })?;
    all.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(all)
}

fn below(shown: &Path, at: &EntryPath) -> PathBuf {
    let inside = shown_path(at);
    shown.join(inside.strip_prefix("/").unwrap_or(&inside))
}
