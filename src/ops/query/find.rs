//! The snapshots with a content, a path or a package.
//!
//! No file's SHA-256 is recorded, but packages name the digests of their files: a file with length, time and mode of
//! its package counts as a file with the digest of its package. For certainty, the layers are read.

use crate::error::{Error, Result};
use crate::layer::read::read_files;
use crate::model::digest::{ContentHash, TreeDigest};
use crate::model::packages::file_list::DigestAlgorithm;
use crate::model::packages::owners::{Installed, Owners, Times, deviations};
use crate::model::packages::package::Package;
use crate::model::policy::globs::Globs;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::query::filter::Filter;
use crate::ops::query::package_pattern::PackagePattern;
use crate::ops::query::records::layer_ids;
use crate::ops::query::visible::{Occurrence, visible};
use crate::ops::root_view::recorded::tree_digest_of;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet, hash_map};
use std::io;
use std::path::Path;

/// The object of a search.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    /// Files with a content.
    Blake3(ContentHash),
    /// Files whose content has a SHA-256.
    Sha256 {
        /// The digest.
        digest: [u8; 32],
        /// The places of the search.
        within: Within,
    },
    /// Paths that match a glob.
    Path(String),
    /// Trees whose digest begins with these hexadecimal digits.
    Tree(String),
    /// Packages, as dnf takes their names: see [`PackagePattern`].
    Package(String),
}

/// The places of a search for a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// The file lists of packages.
    Packages,
    /// Every layer, by reading.
    Layers,
}

/// The results of a search.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The snapshots searched, the newest first.
    pub snapshots: Vec<Snapshot>,
    /// What was found in them.
    pub things: Things,
}

/// What was found, of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Things {
    /// Entries, in path order, each state of a path by itself.
    Entries(Vec<Occurrence<Entry>>),
    /// Packages, in order.
    Packages(Vec<Occurrence<Package>>),
    /// Trees, the newest first.
    Trees(Vec<Occurrence<TreeDigest>>),
}

impl Found {
    /// Tells whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.things {
            Things::Entries(entries) => entries.is_empty(),
            Things::Packages(packages) => packages.is_empty(),
            Things::Trees(trees) => trees.is_empty(),
        }
    }
}

/// Searches the snapshots that the filter leaves. Fails with [`Error::BadGlob`](crate::error::Error::BadGlob) for a bad glob, with
/// [`Error::UnknownSeries`](crate::error::Error::UnknownSeries) without a series asked for, and if a row or a layer is damaged.
pub(crate) fn find(store_path: &Path, query: &Query, filter: &Filter) -> Result<Found> {
    let store = Store::open(store_path)?;
    let snapshots = filter.of(&store, &store.snapshots(None)?)?;
    let things = match query {
        Query::Blake3(content) => of_contents(&store, &snapshots, &HashSet::from([*content])),
        Query::Sha256 { digest, within } => {
            let contents = match within {
                Within::Layers => read_layers(&store, &snapshots, digest)?,
                Within::Packages => of_packages(&store, &snapshots, digest)?,
            };
            of_contents(&store, &snapshots, &contents)
        }
        Query::Path(glob) => of_paths(&store, &snapshots, glob),
        Query::Tree(digits) => of_trees(&store, &snapshots, digits),
        Query::Package(name) => packages(&store, &snapshots, name),
    }?;
    Ok(Found { snapshots, things })
}

fn of_paths(store: &Store, snapshots: &[Snapshot], glob: &str) -> Result<Things> {
    let globs = Globs::new([glob].into_iter())?;
    let matches = store.matches(|path| globs.matches(path))?;
    visible(store, snapshots, matches).map(Things::Entries)
}

fn of_trees(store: &Store, snapshots: &[Snapshot], digits: &str) -> Result<Things> {
    let mut found: Vec<Occurrence<TreeDigest>> = Vec::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        let digest = tree_digest_of(store, snapshot)?;
        if !digest.hex().starts_with(digits) {
            continue;
        }
        match found.iter_mut().find(|one| one.thing == digest) {
            Some(one) => one.snapshots.push(number),
            None => found.push(Occurrence {
                thing: digest,
                snapshots: vec![number],
            }),
        }
    }
    Ok(Things::Trees(found))
}

fn of_contents(
    store: &Store,
    snapshots: &[Snapshot],
    contents: &HashSet<ContentHash>,
) -> Result<Things> {
    if contents.is_empty() {
        return Ok(Things::Entries(Vec::new()));
    }
    let paths = store.paths_of_contents(contents)?;
    let matches = store.matches(|path| paths.contains(path))?;
    let mut found = visible(store, snapshots, matches)?;
    found.retain(|one| match &one.thing.kind {
        Kind::File { content, .. } => contents.contains(content),
        _ => false,
    });
    Ok(Things::Entries(found))
}

/// Returns the contents of files with the digest in their packages' lists, if the files are otherwise as their
/// packages say.
fn of_packages(
    store: &Store,
    snapshots: &[Snapshot],
    digest: &[u8; 32],
) -> Result<HashSet<ContentHash>> {
    let mut lists = FileLists::default();
    let mut contents = HashSet::new();
    let mut done = HashSet::new();
    for snapshot in snapshots {
        let ids = layer_ids(store, snapshot)?;
        let Some(set) = snapshot.package_set_id else {
            continue;
        };
        if !done.insert((set, ids.clone())) {
            continue;
        }
        let mut installed = store.installed(set, &mut lists)?;
        installed.retain(|package| lists_digest(package, digest));
        if !installed.is_empty() {
            add_packaged(store, &ids, &installed, digest, &mut contents)?;
        }
    }
    Ok(contents)
}

/// Tells whether the file list of a package has a file with the digest.
fn lists_digest(package: &Installed, digest: &[u8; 32]) -> bool {
    package.files.as_ref().is_some_and(|files| {
        files.algorithm() == DigestAlgorithm::SHA256
            && files.files().any(|file| file.digest == digest)
    })
}

/// Adds the contents of a tree's files with the digest in their packages' lists, if the files are otherwise as their
/// packages say.
fn add_packaged(
    store: &Store,
    layer_ids: &[i64],
    installed: &[Installed],
    digest: &[u8; 32],
    contents: &mut HashSet<ContentHash>,
) -> Result<()> {
    let links = symlinks(store, layer_ids)?;
    let mut owned = Vec::new();
    Owners::new(installed, links.iter()).each(|path, owner| {
        if owner.file.digest == digest
            && let Some(path) = EntryPath::from_key(path)
        {
            owned.push((path, owner.file));
        }
    });
    for (path, file) in owned {
        if let Some((_, entry)) = store.entry_at(layer_ids, &path)?
            && let Kind::File { content, .. } = entry.kind
            && deviations(&entry, &file, Times::Lost).is_empty()
        {
            contents.insert(content);
        }
    }
    Ok(())
}

fn symlinks(store: &Store, layer_ids: &[i64]) -> Result<Vec<Entry>> {
    let mut links = Vec::new();
    for id in layer_ids {
        let items = store.items(*id)?;
        links.extend(items.into_iter().filter_map(symlink));
    }
    Ok(links)
}

fn symlink(item: LayerItem) -> Option<Entry> {
    let LayerItem::Entry(entry) = item else {
        return None;
    };
    match entry.kind {
        Kind::Symlink(_) => Some(entry),
        _ => None,
    }
}

/// Returns the contents with a digest of all layers, each of which is read.
fn read_layers(
    store: &Store,
    snapshots: &[Snapshot],
    digest: &[u8; 32],
) -> Result<HashSet<ContentHash>> {
    let mut contents = HashSet::new();
    let mut done = HashSet::new();
    for snapshot in snapshots {
        for layer in store.layers(snapshot.id)? {
            if done.insert(layer.layer.id) {
                read_layer(store, &layer, digest, &mut contents)?;
            }
        }
    }
    Ok(contents)
}

/// Adds the contents with a digest of a layer, which is read.
fn read_layer(
    store: &Store,
    layer: &LayerUse,
    digest: &[u8; 32],
    contents: &mut HashSet<ContentHash>,
) -> Result<()> {
    let source = store.open_layer(layer)?;
    read_files(
        (&source).into(),
        |_, _| true,
        |_, _, content| {
            let mut both = Both::default();
            let copied = io::copy(content, &mut both);
            copied.map_err(Error::io("read", source.path()))?;
            let sha256 = both.sha256.finalize();
            if sha256[..] == digest[..] {
                let blake3 = both.blake3.finalize();
                contents.insert(ContentHash(*blake3.as_bytes()));
            }
            Ok(true)
        },
    )
}

/// Both hashes of a content.
#[derive(Default)]
struct Both {
    blake3: blake3::Hasher,
    sha256: Sha256,
}

impl io::Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn packages(store: &Store, snapshots: &[Snapshot], name: &str) -> Result<Things> {
    let pattern = PackagePattern::new(name)?;
    let mut known: HashMap<i64, Vec<Package>> = HashMap::new();
    let mut found: BTreeMap<Package, Vec<usize>> = BTreeMap::new();
    for (number, snapshot) in snapshots.iter().enumerate() {
        let Some(set) = snapshot.package_set_id else {
            continue;
        };
        let packages = match known.entry(set) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(unknown) => unknown.insert(pattern.packages(store, set)?),
        };
        for package in packages.iter() {
            found.entry(package.clone()).or_default().push(number);
        }
    }
    let found = found.into_iter();
    let found = found.map(|(thing, snapshots)| Occurrence { thing, snapshots });
    Ok(Things::Packages(found.collect()))
}
