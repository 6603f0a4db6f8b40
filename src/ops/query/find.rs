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
use crate::ops::query::records::layer_ids;
use crate::ops::root_view::recorded::tree_digest_of;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap, HashSet, hash_map};
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
    /// Packages of a name, perhaps a glob, or of a whole `NAME-VERSION-RELEASE.ARCH`.
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
pub(crate) enum Found {
    /// Entries of snapshots, in order of snapshots and paths, the newest first.
    Entries(Vec<(Snapshot, Entry)>),
    /// Packages of snapshots, in the same order.
    Packages(Vec<(Snapshot, Package)>),
    /// Trees of snapshots, in the same order.
    Trees(Vec<(Snapshot, TreeDigest)>),
}

impl Found {
    /// Tells whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Entries(entries) => entries.is_empty(),
            Self::Packages(packages) => packages.is_empty(),
            Self::Trees(trees) => trees.is_empty(),
        }
    }
}

/// Searches all snapshots. Fails with [`Error::BadGlob`](crate::error::Error::BadGlob) for a bad glob, and if a row or
/// a layer is damaged.
pub(crate) fn find(store_path: &Path, query: &Query) -> Result<Found> {
    let store = Store::open(store_path)?;
    let snapshots = store.snapshots(None)?;
    match query {
        Query::Blake3(content) => {
            let contents = HashSet::from([*content]);
            of_contents(&store, snapshots, &contents)
        }
        Query::Sha256 { digest, within } => {
            let contents = match within {
                Within::Layers => read_layers(&store, &snapshots, digest)?,
                Within::Packages => of_packages(&store, &snapshots, digest)?,
            };
            of_contents(&store, snapshots, &contents)
        }
        Query::Path(glob) => of_paths(&store, snapshots, glob),
        Query::Tree(digits) => of_trees(&store, snapshots, digits),
        Query::Package(name) => packages(&store, snapshots, name),
    }
}

fn of_paths(store: &Store, snapshots: Vec<Snapshot>, glob: &str) -> Result<Found> {
    let globs = Globs::new([glob].into_iter())?;
    let places = store.places_where(|path, _| globs.matches(path))?;
    visible(store, snapshots, &places, |_| true)
}

fn of_trees(store: &Store, snapshots: Vec<Snapshot>, digits: &str) -> Result<Found> {
    let mut found = Vec::new();
    for snapshot in snapshots {
        let digest = tree_digest_of(store, &snapshot)?;
        if digest.hex().starts_with(digits) {
            found.push((snapshot, digest));
        }
    }
    Ok(Found::Trees(found))
}

fn of_contents(
    store: &Store,
    snapshots: Vec<Snapshot>,
    contents: &HashSet<ContentHash>,
) -> Result<Found> {
    let places = if contents.is_empty() {
        HashMap::new()
    } else {
        store.places_where(|_, content| match content {
            Some(content) => contents.contains(&content),
            None => false,
        })?
    };
    visible(store, snapshots, &places, |entry| match &entry.kind {
        Kind::File { content, .. } => contents.contains(content),
        _ => false,
    })
}

/// Returns the wanted entries that snapshots show, of paths by layer.
fn visible(
    store: &Store,
    snapshots: Vec<Snapshot>,
    places: &HashMap<i64, Vec<EntryPath>>,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Found> {
    let mut found = Vec::new();
    for snapshot in snapshots {
        let ids = layer_ids(store, &snapshot)?;
        let paths: BTreeSet<&EntryPath> = ids
            .iter()
            .filter_map(|id| places.get(id))
            .flatten()
            .collect();
        for path in paths {
            let Some((_, entry)) = store.entry_at(&ids, path)? else {
                continue;
            };
            if wanted(&entry) {
                found.push((snapshot.clone(), entry));
            }
        }
    }
    Ok(Found::Entries(found))
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

fn packages(store: &Store, snapshots: Vec<Snapshot>, name: &str) -> Result<Found> {
    let pattern = PackagePattern::new(name)?;
    let mut known: HashMap<i64, Vec<Package>> = HashMap::new();
    let mut found = Vec::new();
    for snapshot in snapshots {
        let Some(set) = snapshot.package_set_id else {
            continue;
        };
        let packages = match known.entry(set) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(unknown) => {
                let mut packages = store.packages(set)?;
                packages.retain(|package| pattern.matches(package));
                unknown.insert(packages)
            }
        };
        for package in packages.iter() {
            found.push((snapshot.clone(), package.clone()));
        }
    }
    Ok(Found::Packages(found))
}

/// The wanted packages: by name, by a glob for the name, or by a whole `NAME-VERSION-RELEASE.ARCH`.
struct PackagePattern<'a> {
    name: &'a str,
    globs: Globs,
}

impl<'a> PackagePattern<'a> {
    fn new(name: &'a str) -> Result<Self> {
        let globs = Globs::new([name].into_iter())?;
        Ok(Self { name, globs })
    }

    fn matches(&self, package: &Package) -> bool {
        package.name == self.name
            || package.to_string() == self.name
            || self.matches_glob(&package.name)
    }

    /// Matches a name as a path of one component; packages' names hold no slash.
    fn matches_glob(&self, name: &str) -> bool {
        match EntryPath::from_slashed(name.as_bytes()) {
            Some(path) => self.globs.matches(&path),
            None => false,
        }
    }
}
