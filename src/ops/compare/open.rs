//! Opens the two sides of a comparison: snapshots, directories or images.
//!
//! A side that is no snapshot is normalised by the policy of the other side, if the other side is a snapshot; without a
//! snapshot, both sides are compared as found.

use crate::error::{Error, Result, show};
use crate::fs::root::Root;
use crate::model::names::SnapshotRef;
use crate::model::packages::version::Manager;
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::ops::compare::by_records::{self, ImageSide};
use crate::ops::compare::foreign_packages::foreign_packages;
use crate::ops::compare::listed::read_list;
use crate::ops::compare::seen_as::{FoundDirectory, ImageViewing, SeenAs, Viewing};
use crate::ops::compare::side::{RootPackages, Side};
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::derived::Derived;
use crate::ops::root_view::recorded::{tree_of, trees_of};
use crate::ops::transfer::opened::open_images;
use crate::registry::Access;
use crate::store::FileLists;
use crate::store::Snapshot;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;

/// Opens the store; `None` without a store. Fails if the store is damaged, of another format, or not to be read.
pub(crate) fn open_store(path: &Path) -> Result<Option<Store>> {
    match Store::open(path) {
        Err(Error::NoStore(_)) => Ok(None),
        store => store.map(Some),
    }
}

/// Opens both sides; two snapshots get their trees only if `with_trees`, or if the packages are found in the trees alone.
/// Fails if a snapshot, a directory or an image is not there, if a directory cannot be read or keeps changing, and if a row
/// or an image is not as its hashes say.
pub(crate) fn open_sides(
    store_path: &Path,
    sources: [&Source; 2],
    with_trees: bool,
    (threads, registry): (NonZeroUsize, (&Access, NonZeroUsize)),
    phases: &Phases,
) -> Result<[Side; 2]> {
    let mut opening = Opening {
        store: open_store(store_path)?,
        store_path,
        lists: FileLists::default(),
        threads,
        registry,
        images: Vec::new(),
        phases,
    };
    let meant = sources.map(|source| opening.meant(source));
    let [a, b] = opening.sides(meant.each_ref(), with_trees)?;
    Ok([opening.with_packages(a)?, opening.with_packages(b)?])
}

struct Opening<'a> {
    store: Option<Store>,
    store_path: &'a Path,
    lists: FileLists,
    threads: NonZeroUsize,
    /// How registries are reached, and how many requests at once.
    registry: (&'a Access, NonZeroUsize),
    /// The images of registries that are not sides yet, with the sources that name them.
    images: Vec<(Source, ImageSide)>,
    phases: &'a Phases<'a>,
}

impl Opening<'_> {
    fn store(&self) -> Result<&Store> {
        self.store
            .as_ref()
            .ok_or_else(|| Error::NoStore(self.store_path.to_owned()))
    }

    fn sides(&mut self, sources: [&Source; 2], with_trees: bool) -> Result<[Side; 2]> {
        let [a, b] = sources;
        let snapshots = [self.snapshot(a)?, self.snapshot(b)?];
        self.ask_registries(sources)?;
        match snapshots {
            [Some(mut a), Some(mut b)] => {
                // Packages that rpm does not know are found in the tree.
                if with_trees || a.installed().is_empty() || b.installed().is_empty() {
                    let (a_ids, b_ids) = (a.layer_ids(), b.layer_ids());
                    (a.tree, b.tree) = self.trees(&a_ids, &b_ids)?;
                }
                Ok([a, b])
            }
            [Some(snapshot), None] => {
                let (a, b) = self.beside(snapshot, b)?;
                Ok([a, b])
            }
            [None, Some(snapshot)] => {
                let (b, a) = self.beside(snapshot, a)?;
                Ok([a, b])
            }
            [None, None] => self.others(a, b),
        }
    }

    /// Opens two sides that are no snapshots. A path in a directory on which something is mounted counts as on the other
    /// side, so the other side is opened first.
    fn others(&mut self, a: &Source, b: &Source) -> Result<[Side; 2]> {
        if matches!(a, Source::Directory(_)) {
            let b = self.other(b, None)?;
            let a = self.other(a, Some(&b))?;
            Ok([a, b])
        } else {
            let a = self.other(a, None)?;
            let b = self.other(b, Some(&a))?;
            Ok([a, b])
        }
    }

    /// Returns the meaning of a source: the name of a directory that is no series means the directory.
    fn meant(&self, source: &Source) -> Source {
        let Source::Snapshot(SnapshotRef::Latest {
            series,
            stage: None,
            at: None,
            back: 0,
        }) = source
        else {
            return source.clone();
        };
        if !Path::new(series).is_dir() || self.has_series(series) {
            return source.clone();
        }
        let directory = Source::Directory(series.into());
        let store = show(self.store_path);
        self.phases.monitor.note(&format!(
            "no snapshot {series} in {store}: {directory} is compared"
        ));
        directory
    }

    /// Tells whether the store may have a series: a store that cannot tell counts as one that has.
    fn has_series(&self, series: &str) -> bool {
        let Some(store) = &self.store else {
            return false;
        };
        let snapshots = store.snapshots(Some(series));
        !matches!(snapshots, Err(Error::UnknownSeries { .. }))
    }

    /// Opens a snapshot without the tree; `None` for another source.
    fn snapshot(&mut self, source: &Source) -> Result<Option<Side>> {
        let Source::Snapshot(reference) = source else {
            return Ok(None);
        };
        let store = self
            .store
            .as_ref()
            .ok_or_else(|| Error::NoStore(self.store_path.to_owned()))?;
        let snapshot = store.find(reference)?;
        Side::of_snapshot(store, source, snapshot, &mut self.lists).map(Some)
    }

    fn tree(&self, side: &Side) -> Result<Tree> {
        self.phases.run(Phase::Compare, None, || {
            tree_of(self.store()?, &side.layer_ids())
        })
    }

    fn trees(&self, a: &[i64], b: &[i64]) -> Result<(Tree, Tree)> {
        self.phases.run(Phase::Compare, None, || {
            trees_of(self.store()?, a, b, self.threads)
        })
    }

    /// Opens a source beside a snapshot, which has no tree yet, and gives the snapshot the tree.
    fn beside(&mut self, mut snapshot: Side, source: &Source) -> Result<(Side, Side)> {
        let Source::Directory(path) = source else {
            if !matches!(source, Source::Packages(_)) || snapshot.installed().is_empty() {
                snapshot.tree = self.tree(&snapshot)?;
            }
            let other = self.other(source, Some(&snapshot))?;
            return Ok((snapshot, other));
        };
        let root = Root::open(path)?;
        let seen_as = SeenAs::beside(Some(&snapshot))?;
        let (tree, packages, derived) = self.directory_beside(&mut snapshot, &root, &seen_as)?;
        let packages = (packages, derived);
        let other = Side::of_directory(source, root, tree, packages, seen_as.recorded);
        Ok((snapshot, other))
    }

    /// Reads a directory, and gives the snapshot beside its tree. Returns the tree, the packages and the derived files of the
    /// directory.
    fn directory_beside(
        &mut self,
        snapshot: &mut Side,
        root: &Root,
        seen_as: &SeenAs,
    ) -> Result<(Tree, Option<RootPackages>, Derived)> {
        let viewing = self.viewing(root, seen_as)?;
        match viewing.find(|id| self.recorded(id, snapshot))? {
            FoundDirectory::Viewed(view) => {
                snapshot.tree = self.tree(snapshot)?;
                Ok(view.beside(Some(&snapshot.tree)))
            }
            FoundDirectory::Recorded(same) => {
                let (layers, packages) = self.known(&same)?;
                let tree;
                (snapshot.tree, tree) = self.trees(&snapshot.layer_ids(), &layers)?;
                Ok((tree, packages, Derived::default()))
            }
        }
    }

    /// Returns the snapshot with this number if a directory with the snapshot's tree can be compared with `counterpart` like
    /// the snapshot itself: under the same policy and stage, with packages of rpm, since there may be others, and with all contents
    /// as in the directory.
    fn recorded(&self, id: i64, counterpart: &Side) -> Result<Option<Snapshot>> {
        let Some(snapshot) = self.store()?.snapshot(id)? else {
            return Ok(None);
        };
        let Some(other) = &counterpart.snapshot else {
            return Ok(None);
        };
        let Some(set) = snapshot.package_set_id else {
            return Ok(None);
        };
        let is_alike = other.policy_key == snapshot.policy_key
            && other.stage == snapshot.stage
            && self.store()?.packages_len(set)? != 0
            && !counterpart.is_normalized();
        Ok(is_alike.then_some(snapshot))
    }

    /// Returns the layers of a snapshot, and the packages.
    fn known(&mut self, snapshot: &Snapshot) -> Result<(Vec<i64>, Option<RootPackages>)> {
        let store = self
            .store
            .as_ref()
            .ok_or_else(|| Error::NoStore(self.store_path.to_owned()))?;
        let layers = store.layers(snapshot.id)?;
        let layer_ids = layers.iter().map(|layer| layer.layer.id);
        let layer_ids = layer_ids.collect();
        let packages = match snapshot.package_set_id {
            Some(set) => Some(RootPackages {
                manager: Manager::Rpm,
                all: store.installed(set, &mut self.lists)?,
            }),
            None => None,
        };
        Ok((layer_ids, packages))
    }

    /// Asks for the images of registries among the sources.
    fn ask_registries(&mut self, sources: [&Source; 2]) -> Result<()> {
        let mut names = Vec::new();
        for source in sources {
            if let Source::Registry(name) = source {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let images = self.phases.run(Phase::Fetch, None, || {
            by_records::open_sides(&names, self.store.as_ref(), self.registry)
        })?;
        let sources = names.into_iter().cloned().map(Source::Registry);
        self.images = sources.zip(images).collect();
        Ok(())
    }

    /// Opens an image, with what records say of the image, if any do.
    fn image(&mut self, source: &Source) -> Result<ImageSide> {
        let at = self.images.iter().position(|(of, _)| of == source);
        if let Some(at) = at {
            return Ok(self.images.swap_remove(at).1);
        }
        let (opened, reference) = open_images(source, self.registry.0)?;
        let (image, passed_over) = opened.image(reference)?;
        Ok(ImageSide {
            opened,
            image,
            passed_over,
            records: None,
        })
    }

    /// Opens a directory, an image or a list beside a side with a tree.
    fn other(&mut self, source: &Source, counterpart: Option<&Side>) -> Result<Side> {
        if let Source::Packages(path) = source {
            return Ok(Side::of_list(source, read_list(path)?));
        }
        let seen_as = SeenAs::beside(counterpart)?;
        let Source::Directory(path) = source else {
            let found = self.image(source)?;
            if let Some(what) = &found.passed_over {
                self.phases.monitor.note(&format!("{source}: {what}"));
            }
            let records = match found.records {
                Some(Err(why)) => {
                    let note = format!("{source}: {why}: its layers are read");
                    self.phases.monitor.note(&note);
                    None
                }
                Some(Ok(records)) => Some(records),
                None => None,
            };
            let viewing = ImageViewing {
                source,
                seen_as,
                store: self.store.as_ref(),
                phases: self.phases,
            };
            return viewing.view(found.opened, found.image, records);
        };
        let root = Root::open(path)?;
        let view = self.viewing(&root, &seen_as)?.view_all()?;
        let other = counterpart.map(|side| &side.tree);
        let (tree, packages, derived) = view.beside(other);
        let policy = seen_as.recorded;
        Ok(Side::of_directory(
            source,
            root,
            tree,
            (packages, derived),
            policy,
        ))
    }

    fn viewing<'v>(&'v self, root: &'v Root, seen_as: &'v SeenAs) -> Result<Viewing<'v>> {
        Ok(Viewing {
            root,
            seen_as,
            store: open_store(self.store_path)?, // a second store, since stamps are read for writing
            threads: self.threads,
            phases: self.phases,
        })
    }

    /// Adds packages that rpm does not know.
    fn with_packages(&self, mut side: Side) -> Result<Side> {
        let store = self.store.as_ref();
        let found = foreign_packages(store, &side, self.phases)?;
        if found.is_some() {
            side.packages = found;
        }
        Ok(side)
    }
}
