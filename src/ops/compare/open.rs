//! Opens the two sides of a comparison, wherever each of them is.
//!
//! A side that is no snapshot is seen as the policy of the other has it, if that is a snapshot; two that are none are compared
//! as they are.

use crate::error::{Error, Result, show};
use crate::fs::root::Root;
use crate::model::names::SnapshotRef;
use crate::model::packages::version::Manager;
use crate::model::source::Source;
use crate::model::tree::Tree;
use crate::ops::compare::foreign_packages::foreign_packages;
use crate::ops::compare::seen_as::{FoundDirectory, ImageViewing, SeenAs, Viewing};
use crate::ops::compare::side::{RootPackages, Side};
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::recorded::{tree_of, trees_of};
use crate::ops::transfer::opened::open_images;
use crate::store::FileLists;
use crate::store::Snapshot;
use crate::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;

/// Opens the store; `None` where there is none.
pub(crate) fn open_store(path: &Path) -> Result<Option<Store>> {
    match Store::open(path) {
        Err(Error::NoStore(_)) => Ok(None),
        store => store.map(Some),
    }
}

/// Opens both sides, with their trees where these are wanted.
pub(crate) fn open_sides(
    store_path: &Path,
    sources: [&Source; 2],
    with_trees: bool,
    threads: NonZeroUsize,
    phases: &Phases,
) -> Result<[Side; 2]> {
    let mut opening = Opening {
        store: open_store(store_path)?,
        store_path,
        lists: FileLists::default(),
        threads,
        phases,
    };
    let meant = sources.map(|source| opening.meant(source));
    let sources = meant.each_ref();
    let snapshots = [opening.snapshot(sources[0])?, opening.snapshot(sources[1])?];
    let [a, b] = match snapshots {
        [Some(mut a), Some(mut b)] => {
            // Packages that rpm does not know are found in the tree.
            if with_trees || a.packages.is_none() || b.packages.is_none() {
                (a.tree, b.tree) = opening.trees(&a.layer_ids(), &b.layer_ids())?;
            }
            [a, b]
        }
        [Some(a), None] => {
            let (a, b) = opening.beside(a, sources[1])?;
            [a, b]
        }
        [None, Some(b)] => {
            let (b, a) = opening.beside(b, sources[0])?;
            [a, b]
        }
        // What is mounted in a directory is compared with what the other has there; so that comes first.
        [None, None] if matches!(sources[0], Source::Directory(_)) => {
            let b = opening.other(sources[1], None)?;
            [opening.other(sources[0], Some(&b))?, b]
        }
        [None, None] => {
            let a = opening.other(sources[0], None)?;
            let b = opening.other(sources[1], Some(&a))?;
            [a, b]
        }
    };
    Ok([opening.with_packages(a)?, opening.with_packages(b)?])
}

struct Opening<'a> {
    store: Option<Store>,
    store_path: &'a Path,
    lists: FileLists,
    threads: NonZeroUsize,
    phases: &'a Phases<'a>,
}

impl Opening<'_> {
    fn store(&self) -> Result<&Store> {
        self.store
            .as_ref()
            .ok_or_else(|| Error::NoStore(self.store_path.to_owned()))
    }

    /// What a source means: a name of no series is that of a directory, if there is one.
    fn meant(&self, source: &Source) -> Source {
        let Source::Snapshot(SnapshotRef::Latest {
            series,
            stage: None,
            back: 0,
        }) = source
        else {
            return source.clone();
        };
        let is_series = || {
            let of = |store: &Store| store.snapshots(Some(series));
            self.store
                .as_ref()
                .is_some_and(|store| !matches!(of(store), Err(Error::UnknownSeries { .. })))
        };
        if !Path::new(series).is_dir() || is_series() {
            return source.clone();
        }
        let directory = Source::Directory(series.into());
        let store = show(self.store_path);
        self.phases.monitor.note(&format!(
            "no snapshot {series} in {store}: {directory} is compared"
        ));
        directory
    }

    /// A snapshot without its tree; `None` where the source is none.
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

    /// Opens a source beside a snapshot, which has no tree yet, and gives the snapshot its tree.
    fn beside(&mut self, mut snapshot: Side, source: &Source) -> Result<(Side, Side)> {
        let Source::Directory(path) = source else {
            snapshot.tree = self.tree(&snapshot)?;
            let other = self.other(source, Some(&snapshot))?;
            return Ok((snapshot, other));
        };
        let root = Root::open(path)?;
        let seen_as = SeenAs::beside(Some(&snapshot))?;
        let viewing = self.viewing(&root, &seen_as)?;
        let (tree, packages) = match viewing.find(|id| self.recorded(id, &snapshot))? {
            FoundDirectory::Viewed(view) => {
                snapshot.tree = self.tree(&snapshot)?;
                view.beside(Some(&snapshot.tree))
            }
            FoundDirectory::Recorded(same) => {
                let (layers, packages) = self.known(&same)?;
                let tree;
                (snapshot.tree, tree) = self.trees(&snapshot.layer_ids(), &layers)?;
                (tree, packages)
            }
        };
        let other = Side::of_directory(source, root, tree, packages, seen_as.recorded);
        Ok((snapshot, other))
    }

    /// The snapshot with this number, where a directory with its tree can be compared with `counterpart` as if it were that.
    fn recorded(&self, id: i64, counterpart: &Side) -> Result<Option<Snapshot>> {
        let alike = counterpart
            .snapshot
            .as_ref()
            .map(|other| (other.policy_key, other.stage.as_str()));
        let found = self.store()?.snapshot(id)?;
        // Without packages of rpm, there may be others.
        Ok(found
            .filter(|it| alike == Some((it.policy_key, &it.stage)) && it.package_set_id.is_some()))
    }

    /// The layers of a snapshot, and its packages.
    fn known(&mut self, snapshot: &Snapshot) -> Result<(Vec<i64>, Option<RootPackages>)> {
        let store = self
            .store
            .as_ref()
            .ok_or_else(|| Error::NoStore(self.store_path.to_owned()))?;
        let layers = store
            .layers(snapshot.id)?
            .iter()
            .map(|layer| layer.layer.id)
            .collect();
        let all = snapshot
            .package_set_id
            .map(|set| store.installed(set, &mut self.lists))
            .transpose()?;
        Ok((
            layers,
            all.map(|all| RootPackages {
                manager: Manager::Rpm,
                all,
            }),
        ))
    }

    /// Opens a directory or an image beside a side that has its tree.
    fn other(&self, source: &Source, counterpart: Option<&Side>) -> Result<Side> {
        let seen_as = SeenAs::beside(counterpart)?;
        let Source::Directory(path) = source else {
            let (opened, reference) = open_images(source)?;
            let viewing = ImageViewing {
                source,
                seen_as,
                store: self.store.as_ref(),
                phases: self.phases,
            };
            return viewing.view(opened, reference);
        };
        let root = Root::open(path)?;
        let view = self.viewing(&root, &seen_as)?.view_all()?;
        let (tree, packages) = view.beside(counterpart.map(|side| &side.tree));
        let policy = seen_as.recorded;
        Ok(Side::of_directory(source, root, tree, packages, policy))
    }

    fn viewing<'v>(&'v self, root: &'v Root, seen_as: &'v SeenAs) -> Result<Viewing<'v>> {
        Ok(Viewing {
            root,
            seen_as,
            store: open_store(self.store_path)?, // another, since stamps are read for writing
            threads: self.threads,
            phases: self.phases,
        })
    }

    /// Adds packages that rpm does not know.
    fn with_packages(&self, mut side: Side) -> Result<Side> {
        if let Some(packages) = foreign_packages(self.store.as_ref(), &side, self.phases)? {
            side.packages = Some(packages);
        }
        Ok(side)
    }
}
