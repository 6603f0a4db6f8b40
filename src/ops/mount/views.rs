//! What is mounted: a snapshot, or all snapshots of a store behind directories. A snapshot behind a directory is loaded when
//! somebody looks inside, for which the store is opened for a moment.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::tree::entry::Entry;
use crate::model::tree::overlay::Overlay;
use crate::model::tree::path::EntryPath;
use crate::ops::mount::cache::lock;
use crate::ops::mount::contents::Contents;
use crate::ops::mount::doors::Doors;
use crate::ops::mount::nodes::{Node, Nodes, plain_directory};
use crate::store::{Snapshot, Store};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// All that is mounted.
pub(super) struct Views {
    store_path: PathBuf,
    pub contents: Contents,
    /// The mounted root, and behind it the snapshots.
    views: Vec<View>,
    /// The snapshot that an inode of the mounted root stands for.
    doors: HashMap<u32, u32>,
}

/// A tree of inodes.
struct View {
    nodes: OnceLock<Arc<Nodes>>,
    /// Held while the snapshot is loaded.
    loading: Mutex<()>,
    /// The number of the snapshot; 0 for directories above snapshots.
    snapshot: i64,
    /// The inode of the mounted root that stands for the snapshot.
    door: u32,
    /// The root of a snapshot that is not loaded.
    root: OnceLock<Node>,
}

/// An inode of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub view: u32,
    pub node: u32,
}

impl Inode {
    /// Returns the number for the kernel, whose root is 1.
    pub(super) fn number(self) -> u64 {
        u64::from(self.view) << 32 | (u64::from(self.node) + 1)
    }

    /// Takes a number of the kernel.
    pub(super) fn of_number(number: u64) -> Self {
        let node = (number & u64::from(u32::MAX)) as u32;
        Self {
            view: (number >> 32) as u32,
            node: node.wrapping_sub(1),
        }
    }
}

impl Views {
    /// Loads a snapshot. Fails with [`crate::error::Error::UnknownSnapshot`] without such a snapshot, and if a row or a layer is damaged or missing.
    pub(super) fn one(
        store_path: &Path,
        reference: &SnapshotRef,
        contents: Contents,
    ) -> Result<Self> {
        let store = Store::open(store_path)?;
        let snapshot = store.find(reference)?;
        let nodes = load(&store, &snapshot, &contents)?;
        let view = View::loaded(nodes, snapshot.id);
        Ok(Self {
            store_path: store_path.to_owned(),
            contents,
            views: vec![view],
            doors: HashMap::new(),
        })
    }

    /// Lists the snapshots of a store. Fails if the row of a snapshot is damaged.
    pub(super) fn all(store_path: &Path, contents: Contents) -> Result<Self> {
        let snapshots = Store::open(store_path)?.snapshots(None)?;
        let Doors { nodes, inodes } = Doors::new(&snapshots);
        let mut views = vec![View::loaded(nodes, 0)];
        let mut doors = HashMap::new();
        for (snapshot, door) in snapshots.iter().zip(inodes) {
            let Some(door) = door else { continue };
            doors.insert(door, views.len() as u32);
            views.push(View::behind(door, snapshot.id));
        }
        Ok(Self {
            store_path: store_path.to_owned(),
            contents,
            views,
            doors,
        })
    }

    /// Returns the inodes of a view, loaded by the first call; `None` without such a view. Fails as [`Views::one`] does.
    pub(super) fn nodes(&self, view: u32) -> Result<Option<Arc<Nodes>>> {
        let Some(view) = self.views.get(view as usize) else {
            return Ok(None);
        };
        if let Some(nodes) = view.nodes.get() {
            return Ok(Some(Arc::clone(nodes)));
        }
        let _loading = lock(&view.loading);
        if let Some(nodes) = view.nodes.get() {
            return Ok(Some(Arc::clone(nodes)));
        }
        let store = Store::open(&self.store_path)?;
        let snapshot = store.find(&SnapshotRef::Id(view.snapshot))?;
        let nodes = Arc::new(load(&store, &snapshot, &self.contents)?);
        Ok(Some(Arc::clone(view.nodes.get_or_init(|| nodes))))
    }

    /// Returns the number of the snapshot of a view, or 0.
    pub(super) fn snapshot(&self, view: u32) -> i64 {
        let view = self.views.get(view as usize);
        view.map_or(0, |view| view.snapshot)
    }

    /// Returns where an inode leads: a directory that stands for a snapshot leads to the root of the snapshot.
    pub(super) fn behind(&self, inode: Inode) -> Inode {
        let door = self.doors.get(&inode.node).filter(|_| inode.view == 0);
        door.map_or(inode, |view| Inode {
            view: *view,
            node: 0,
        })
    }

    /// Returns the inode that stands for the root of a snapshot that is not loaded; `None` for any other inode.
    pub(super) fn door(&self, inode: Inode) -> Option<Inode> {
        let view = self.views.get(inode.view as usize)?;
        let is_shut = inode.node == 0 && view.nodes.get().is_none();
        is_shut.then_some(Inode {
            view: 0,
            node: view.door,
        })
    }

    /// Returns the root of a snapshot as recorded, but without names, for who does not look inside; `None` without such a view. Fails
    /// with [`crate::error::Error::UnknownSnapshot`] for a snapshot removed meanwhile, and if the row of the root is damaged.
    pub(super) fn root(&self, view: u32) -> Result<Option<&Node>> {
        let Some(view) = self.views.get(view as usize) else {
            return Ok(None);
        };
        if let Some(root) = view.root.get() {
            return Ok(Some(root));
        }
        let store = Store::open(&self.store_path)?;
        let snapshot = store.find(&SnapshotRef::Id(view.snapshot))?;
        let layers = store.layers(snapshot.id)?;
        let ids = layers.iter().rev().map(|used| used.layer.id);
        let entry = store.topmost(ids, &EntryPath::root())?;
        let entry = entry.filter(Entry::is_directory);
        let plain = || plain_directory(EntryPath::root(), 0);
        let root = Node::new(entry.unwrap_or_else(plain), 0);
        Ok(Some(view.root.get_or_init(|| root)))
    }

    /// Returns the directory above the root of a view.
    pub(super) fn above(&self, view: u32) -> Inode {
        let door = self.views.get(view as usize).map_or(0, |view| view.door);
        let top = self.views.first().and_then(|top| top.nodes.get());
        let node = top.and_then(|nodes| nodes.node(door));
        Inode {
            view: 0,
            node: node.map_or(0, |node| node.parent),
        }
    }
}

impl View {
    fn loaded(nodes: Nodes, snapshot: i64) -> Self {
        Self {
            nodes: OnceLock::from(Arc::new(nodes)),
            loading: Mutex::default(),
            snapshot,
            door: 0,
            root: OnceLock::new(),
        }
    }

    fn behind(door: u32, snapshot: i64) -> Self {
        Self {
            nodes: OnceLock::new(),
            loading: Mutex::default(),
            snapshot,
            door,
            root: OnceLock::new(),
        }
    }
}

/// Loads the tree of a snapshot, and adds the layers to `contents`.
fn load(store: &Store, snapshot: &Snapshot, contents: &Contents) -> Result<Nodes> {
    let mut layers = Vec::new();
    for used in store.layers(snapshot.id)?.iter() {
        let items = store.items(used.layer.id)?;
        if !contents.has(&used.layer.key) {
            contents.add(store, used, &items)?;
        }
        layers.push(items.into_iter());
    }
    let mut overlay = Overlay::new();
    overlay.apply_all(layers);
    Ok(Nodes::new(overlay.into_tree()))
}
