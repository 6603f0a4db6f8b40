//! The tree of an image of any maker, read in one pass over the layers.
//!
//! A layer whose blob the store has is taken from the database: the blob is hashed, since an archive can claim anything, but not
//! unpacked.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, LayerItems, check, read};
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::tree::entry::{Entry, Kind, Xattrs};
use crate::model::tree::overlay::{LayerItem, Overlay};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{Tree, content_bytes};
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::root_view::package_files::PackageFiles;
use crate::ops::root_view::places::is_telling;
use crate::store::Store;
use std::path::Path;

/// The amount of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerTotals {
    /// The length of all files, each inode once.
    pub content_bytes: u64,
    pub entries: u64,
    pub whiteouts: u64,
}

/// Reads the entries of an image, with the totals of each layer, and keeps the files that tell of packages and users.
/// `advance` is told the bytes of blobs. Fails if a blob cannot be read, is not what its digest or the manifest says, or holds
/// what no layer may; if all layers have more entries than any root; and if a file cannot be kept.
pub(crate) fn read_image(
    opened: &Opened,
    image: &FoundImage,
    store: Option<&Store>,
    package_files: &PackageFiles,
    advance: &dyn Fn(u64),
) -> Result<(Vec<Entry>, Vec<LayerTotals>)> {
    let mut overlay = Overlay::new();
    let mut totals = Vec::new();
    for layer in &image.layers {
        let items = match known_items(layer, store)? {
            Some(items) => {
                check(blob(opened, layer)?)?;
                package_files.keep_of_layer(&items, is_telling, || blob(opened, layer))?;
                items
            }
            None => {
                let items = read_items(opened, layer, package_files)?;
                with_links(items, &overlay, opened.path())?
            }
        };
        totals.push(LayerTotals::of(&items));
        overlay.apply(items.into_iter());
        refuse_too_many(&overlay, opened.path())?;
        advance(layer.blob.size_bytes);
    }
    Ok((entries_of(overlay, opened.path())?, totals))
}

/// Returns the entries of layers with these items, with the totals of each layer, as [`read_image`] does. Errors name `path`. Fails
/// if all layers have more entries than any root.
pub(crate) fn lay_items(
    layers: &[&[LayerItem]],
    path: &Path,
) -> Result<(Vec<Entry>, Vec<LayerTotals>)> {
    let mut overlay = Overlay::new();
    overlay.apply_all(layers.iter().map(|items| items.iter().cloned()));
    refuse_too_many(&overlay, path)?;
    let totals = layers.iter().map(|items| LayerTotals::of(items)).collect();
    Ok((entries_of(overlay, path)?, totals))
}

/// Keeps the files that `wants` chooses of a layer with these items; a layer without such files is not read. Fails if the blob
/// cannot be read, or is no layer.
pub(crate) fn keep_files(
    opened: &Opened,
    layer: &FoundLayer,
    items: &[LayerItem],
    wants: impl Fn(&EntryPath, u64) -> bool,
    kept: &PackageFiles,
) -> Result<()> {
    kept.keep_of_layer(items, wants, || blob(opened, layer))
}

/// Returns the items of a layer whose blob the store knows.
fn known_items(layer: &FoundLayer, store: Option<&Store>) -> Result<Option<Vec<LayerItem>>> {
    let Some(store) = store else {
        return Ok(None);
    };
    match store.layer_of_blob(&layer.blob.digest)? {
        Some(known) => store.items(known.id).map(Some),
        None => Ok(None),
    }
}

/// Returns the entries of all layers with the directories that no layer names.
fn entries_of(overlay: Overlay, path: &Path) -> Result<Vec<Entry>> {
    let entries = overlay.into_tree().into_entries();
    complete(entries, LARGEST_ENTRIES_BYTES).ok_or_else(|| too_many(path))
}

/// Unpacks a layer, and keeps the files of package managers.
fn read_items(
    opened: &Opened,
    layer: &FoundLayer,
    package_files: &PackageFiles,
) -> Result<LayerItems> {
    let mut files = package_files.layer();
    let items = read(blob(opened, layer)?, &mut |at, size| files.keep(at, size))?;
    files.keep_linked(&items.items, is_telling, || blob(opened, layer))?;
    Ok(items)
}

fn refuse_too_many(overlay: &Overlay, path: &Path) -> Result<()> {
    if overlay.memory_bytes() > LARGEST_ENTRIES_BYTES {
        return Err(too_many(path));
    }
    Ok(())
}

fn too_many(path: &Path) -> Error {
    Error::BadImage {
        path: path.to_owned(),
        what: "its layers have more entries than any root".to_owned(),
    }
}

fn blob<'a>(opened: &'a Opened, layer: &FoundLayer) -> Result<Blob<'a>> {
    Ok(Blob {
        input: opened.open(&layer.blob)?,
        path: opened.path(),
        digest: layer.blob.digest,
    })
}

/// Returns the tree of a foreign layer over the layers below. Errors name `path`. Fails with [`Error::BadLayer`] if the layer
/// links to a file that no layer below has, and with [`Error::BadImage`] if the tree has more entries than any root.
pub(crate) fn applied_over(below: &Overlay, items: LayerItems, path: &Path) -> Result<Tree> {
    let items = with_links(items, below, path)?;
    let mut overlay = below.clone();
    overlay.apply(items.into_iter());
    refuse_too_many(&overlay, path)?;
    Ok(Tree::new(entries_of(overlay, path)?))
}

/// Turns links to files of layers below into copies of the files: links do not cross layers.
fn with_links(items: LayerItems, below: &Overlay, path: &Path) -> Result<Vec<LayerItem>> {
    let LayerItems {
        mut items,
        links_below,
        ..
    } = items;
    if links_below.is_empty() {
        return Ok(items);
    }
    let mut memory_bytes = 0;
    for (name, target) in links_below {
        let inode = below
            .at(&target)
            .filter(|entry| !entry.is_directory())
            .ok_or_else(|| Error::BadLayer {
                path: path.to_owned(),
                member: crate::model::policy::normalise::shown_path(&name),
                what: format!("is a link to {target}, which is not there"),
            })?;
        memory_bytes += inode.memory_bytes();
        if memory_bytes > LARGEST_ENTRIES_BYTES {
            return Err(too_many(path));
        }
        items.push(LayerItem::Entry(Entry {
            path: name,
            group: None,
            ..inode.clone()
        }));
    }
    items.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(items)
}

impl LayerTotals {
    fn of(items: &[LayerItem]) -> Self {
        let entries = items.iter().filter_map(LayerItem::entry);
        let count = entries.clone().count();
        Self {
            content_bytes: content_bytes(entries),
            entries: count as u64,
            whiteouts: (items.len() - count) as u64,
        }
    }
}

/// Adds the directories that no layer names: engines make such directories as root's. An entry of another type in the place of
/// such a directory is hidden, as by the kernel's overlay. `None` if the added directories need more than `most_bytes` of
/// memory: a path of a few bytes may be of thousands.
fn complete(entries: Vec<Entry>, most_bytes: usize) -> Option<Vec<Entry>> {
    let mut all: Vec<Entry> = Vec::with_capacity(entries.len() + 1);
    let mut above: Vec<EntryPath> = Vec::new(); // the directories above the last entry, and the entry itself if a directory
    let mut added_bytes = 0;
    for entry in entries {
        while above
            .last()
            .is_some_and(|directory| !entry.path.is_beneath(directory))
        {
            above.pop();
        }
        for directory in missing_above(&entry, above.last()) {
            added_bytes += directory.memory_bytes();
            if added_bytes > most_bytes {
                return None;
            }
            if all.last().is_some_and(|last| last.path == directory.path) {
                all.pop();
            }
            above.push(directory.path.clone());
            all.push(directory);
        }
        if entry.is_directory() {
            above.push(entry.path.clone());
        }
        all.push(entry);
    }
    Some(all)
}

/// Returns the directories between `top` and the entry, the highest first.
fn missing_above(entry: &Entry, top: Option<&EntryPath>) -> Vec<Entry> {
    let mut missing = Vec::new();
    let mut parent = entry.path.parent();
    while let Some(path) = parent.filter(|path| top != Some(path)) {
        parent = path.parent();
        missing.push(implied(path));
    }
    missing.reverse();
    missing
}

/// Returns a directory as engines make directories that no layer names.
fn implied(path: EntryPath) -> Entry {
    Entry {
        path,
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        xattrs: Xattrs::default(),
        group: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{directory, file, symlink};

    fn paths(entries: Vec<Entry>) -> Vec<String> {
        complete(entries, usize::MAX)
            .unwrap()
            .iter()
            .map(|e| format!("{}{}", e.path, if e.is_directory() { "/" } else { "" }))
            .collect()
    }

    #[test]
    fn directories_that_nobody_has_named_are_there() {
        let entries = vec![file("a/b/c", 1), file("a/b/d", 1), file("x", 1)];
        assert_eq!(
            paths(entries),
            ["//", "/a/", "/a/b/", "/a/b/c", "/a/b/d", "/x"]
        );
        let entries = vec![
            directory(""),
            directory("a"),
            file("a/x", 1),
            directory("b"),
            file("b/c/y", 1),
        ];
        assert_eq!(
            paths(entries),
            ["//", "/a/", "/a/x", "/b/", "/b/c/", "/b/c/y"]
        );
    }

    #[test]
    fn directories_that_nobody_has_named_are_limited_too() {
        let deep = |name: &str| file(&format!("{name}/{}", "d/".repeat(1000)), 1);
        let entries = || vec![deep("a"), deep("b"), deep("c")];
        let bytes: usize = complete(entries(), usize::MAX)
            .unwrap()
            .iter()
            .map(Entry::memory_bytes)
            .sum();
        assert!(bytes > 3 << 20, "{bytes}");
        assert!(complete(entries(), bytes).is_some());
        assert!(complete(entries(), bytes / 2).is_none());
    }

    #[test]
    fn a_link_below_is_hidden_by_what_is_put_beneath_its_name() {
        let entries = vec![
            directory(""),
            symlink("lib", "usr/lib"),
            file("lib/x", 1),
            file("z", 1),
        ];
        assert_eq!(paths(entries), ["//", "/lib/", "/lib/x", "/z"]);
    }
}
