//! The tree of an image that anybody may have made, read in one pass over its layers.
//!
//! A layer whose blob the store has is taken from the database; its bytes are hashed, since an archive can claim anything,
//! but not unpacked.

use crate::error::{Error, Result};
use crate::layer::read::{Blob, LayerItems, check, read, read_files};
use crate::model::limits::LARGEST_ENTRIES_BYTES;
use crate::model::tree::entry::{Entry, Kind, Xattrs};
use crate::model::tree::overlay::{Laid, Overlay};
use crate::model::tree::path::EntryPath;
use crate::model::tree::{Tree, content_bytes};
use crate::oci::read::{FoundImage, FoundLayer, Opened};
use crate::ops::compare::side::SideLayer;
use crate::ops::root_view::package_files::{self, Spool};
use crate::store::Layer;
use crate::store::Store;
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Reads the entries of an image, and puts aside what `spool` wants. `advance` is told the bytes of blobs.
pub(crate) fn read_image(
    opened: &Opened,
    image: &FoundImage,
    store: Option<&Store>,
    spool: &mut Spool,
    advance: &dyn Fn(u64),
) -> Result<(Vec<Entry>, Vec<SideLayer>)> {
    let mut overlay = Overlay::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let known = store
            .map(|store| store.layer_of_blob(&layer.blob.digest))
            .transpose()?
            .flatten();
        let items = match (store, known) {
            (Some(store), Some(known)) => read_known(opened, layer, store, &known, spool)?,
            _ => read(blob(opened, layer)?, &mut |path, size| {
                spool.keep(path, size)
            })?,
        };
        spool.keep_linked(&items.items, || blob(opened, layer))?;
        let items = with_links(items, &overlay, opened.path())?;
        layers.push(side_layer(layer, &items));
        overlay.lay(items.into_iter());
        if overlay.memory_bytes() > LARGEST_ENTRIES_BYTES {
            return Err(too_many(opened.path()));
        }
        advance(layer.blob.size_bytes);
    }
    let entries = complete(overlay.into_tree().into_entries(), LARGEST_ENTRIES_BYTES);
    Ok((entries.ok_or_else(|| too_many(opened.path()))?, layers))
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

fn read_known(
    opened: &Opened,
    layer: &FoundLayer,
    store: &Store,
    known: &Layer,
    spool: &mut Spool,
) -> Result<LayerItems> {
    check(blob(opened, layer)?)?;
    let items = store.items(known.id)?;
    let is_wanted = |item: &&Laid| match item {
        Laid::Entry(Entry {
            path,
            kind: Kind::File { size_bytes, .. },
            ..
        }) => package_files::is_wanted(path, *size_bytes),
        _ => false,
    };
    let mut left: HashSet<&EntryPath> = items.iter().filter(is_wanted).map(Laid::path).collect();
    if !left.is_empty() {
        read_files(
            blob(opened, layer)?,
            package_files::is_wanted,
            |path, size, content| {
                if let Some(mut out) = spool.keep(path, size)? {
                    io::copy(content, &mut out).map_err(Error::io("read", opened.path()))?;
                }
                left.remove(path);
                Ok(!left.is_empty())
            },
        )?;
    }
    Ok(LayerItems {
        items,
        ..LayerItems::default()
    })
}

/// Returns the tree that a layer of others, which errors call `path`, makes of what is below it.
pub(crate) fn laid_over(below: &Overlay, items: LayerItems, path: &Path) -> Result<Tree> {
    let items = with_links(items, below, path)?;
    let mut overlay = below.clone();
    overlay.lay(items.into_iter());
    if overlay.memory_bytes() > LARGEST_ENTRIES_BYTES {
        return Err(too_many(path));
    }
    let entries = complete(overlay.into_tree().into_entries(), LARGEST_ENTRIES_BYTES);
    Ok(Tree::new(entries.ok_or_else(|| too_many(path))?))
}

/// A link to a file of a layer below counts as a copy of it: links do not cross layers.
fn with_links(items: LayerItems, below: &Overlay, path: &Path) -> Result<Vec<Laid>> {
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
        let inode = below.at(&target).filter(|entry| !entry.is_directory());
        let inode = inode.ok_or_else(|| Error::BadLayer {
            path: path.to_owned(),
            member: crate::model::policy::normalise::shown_path(&name),
            what: format!("is a link to {target}, which is not there"),
        })?;
        memory_bytes += inode.memory_bytes();
        if memory_bytes > LARGEST_ENTRIES_BYTES {
            return Err(too_many(path));
        }
        items.push(Laid::Entry(Entry {
            path: name,
            group: None,
            ..inode.clone()
        }));
    }
    items.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(items)
}

fn side_layer(layer: &FoundLayer, items: &[Laid]) -> SideLayer {
    let entries = items.iter().filter_map(|item| match item {
        Laid::Entry(entry) => Some(entry),
        _ => None,
    });
    let count = entries.clone().count();
    SideLayer {
        role: layer.role,
        key: layer.key,
        diff_id: layer.diff_id,
        digest: layer.blob.digest,
        media_type: layer.media_type.clone(),
        size_bytes: layer.blob.size_bytes,
        content_bytes: Some(content_bytes(entries)),
        entries: Some(count as u64),
        whiteouts: Some((items.len() - count) as u64),
    }
}

/// Adds the directories that nobody has named: an engine makes them as root's. Where a layer below has something else in
/// such a place, it is hidden, as the kernel's overlay hides it. `None` where these directories take more than that many
/// bytes of memory: a path of a few bytes may be of thousands.
fn complete(entries: Vec<Entry>, most_bytes: usize) -> Option<Vec<Entry>> {
    let mut all: Vec<Entry> = Vec::with_capacity(entries.len() + 1);
    let mut above: Vec<EntryPath> = Vec::new(); // the directories that the last entry is in, and itself if it is one
    let mut added_bytes = 0;
    for entry in entries {
        while above
            .last()
            .is_some_and(|directory| !entry.path.is_beneath(directory))
        {
            above.pop();
        }
        let mut missing = Vec::new();
        let mut parent = entry.path.parent();
        while let Some(path) = parent.filter(|path| above.last() != Some(path)) {
            parent = path.parent();
            missing.push(implied(path));
        }
        for directory in missing.into_iter().rev() {
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

/// A directory as an engine makes it.
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
