//! Opens the two sides of a comparison, each from wherever it is.
//!
//! A side that is no snapshot is dressed as the policy of the other has it, if that is one; two that are none are compared
//! as they are.

use crate::error::{Error, Result, show};
use crate::fs::root::Root;
use crate::layer::read::{Blob, read_files};
use crate::model::names::SnapshotRef;
use crate::model::packages::version::Manager;
use crate::model::policy::Policy;
use crate::model::policy::normalise::Seen;
use crate::model::source::{ImageRef, Source};
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, Kind};
use crate::oci::read::Opened;
use crate::ops::compare::side::{Access, Side, SidePackages};
use crate::ops::monitor::{Phase, Phases};
use crate::ops::root_view::image::read_image;
use crate::ops::root_view::live::{Live, look};
use crate::ops::root_view::normalise_as::{Member, as_seen, dress};
use crate::ops::root_view::observe::Observation;
use crate::ops::root_view::package_files::{Spool, is_wanted};
use crate::ops::root_view::recorded::{tree_of, trees_of};
use crate::ops::transfer::opened::open_images;
use crate::store::FileLists;
use crate::store::Snapshot;
use crate::store::Store;
use std::convert::Infallible;
use std::io;
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

    /// A snapshot, which has no tree yet, and a directory or an image beside it.
    fn beside(&mut self, mut snapshot: Side, source: &Source) -> Result<(Side, Side)> {
        let Source::Directory(path) = source else {
            snapshot.tree = self.tree(&snapshot)?;
            let other = self.other(source, Some(&snapshot))?;
            return Ok((snapshot, other));
        };
        let (root, spool, live) =
            self.look(path, Some(&snapshot), |id| self.recorded(id, &snapshot))?;
        let other = match live {
            Live::Observed(seen) => {
                snapshot.tree = self.tree(&snapshot)?;
                self.dressed(source, root, &seen, &spool, Some(&snapshot))?
            }
            Live::Recorded(same) => {
                let (layers, packages) = self.known(same)?;
                let tree;
                (snapshot.tree, tree) = self.trees(&snapshot.layer_ids(), &layers)?;
                Side::of_directory(source, root, tree, packages, snapshot.policy.clone())
            }
        };
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
    fn known(&mut self, snapshot: Snapshot) -> Result<(Vec<i64>, Option<SidePackages>)> {
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
            all.map(|all| SidePackages {
                manager: Manager::Rpm,
                all,
            }),
        ))
    }

    /// A directory or an image.
    fn other(&self, source: &Source, counterpart: Option<&Side>) -> Result<Side> {
        match source {
            Source::Directory(path) => {
                let (root, spool, live) =
                    self.look::<Infallible>(path, counterpart, |_| Ok(None))?;
                match live {
                    Live::Observed(seen) => self.dressed(source, root, &seen, &spool, counterpart),
                    Live::Recorded(never) => match never {},
                }
            }
            Source::Archive(..) | Source::Layout(..) | Source::DockerArchive(..) => {
                let (opened, reference) = open_images(source)?;
                self.image(source, opened, reference, counterpart)
            }
            Source::Snapshot(_) => unreachable!("snapshots are opened before"),
        }
    }

    fn look<T>(
        &self,
        path: &Path,
        counterpart: Option<&Side>,
        recorded: impl FnMut(i64) -> Result<Option<T>>,
    ) -> Result<(Root, Spool, Live<T>)> {
        let root = Root::open(path)?;
        let (policy, stage) = manner(counterpart);
        let rules = policy.cloned().unwrap_or_else(Policy::plain).rules(stage)?;
        let mut spool = Spool::new()?;
        let store = open_store(self.store_path)?; // another, since reading stamps takes it for itself
        let live = look(
            &root,
            store,
            &rules,
            self.threads,
            &mut spool,
            self.phases,
            recorded,
        )?;
        Ok((root, spool, live))
    }

    fn dressed(
        &self,
        source: &Source,
        root: Root,
        observed: &Observation,
        spool: &Spool,
        counterpart: Option<&Side>,
    ) -> Result<Side> {
        let (policy, stage) = manner(counterpart);
        let dressed_as = policy.cloned().unwrap_or_else(Policy::plain);
        let seen: Vec<Seen> = observed.seen().collect();
        let packages = self.packages(spool, seen.as_slice(), root.path())?;
        let installed = packages
            .as_ref()
            .map(|packages| packages.all.as_slice())
            .unwrap_or_default();
        let other = counterpart.map(|side| &side.tree);
        let tree = dress(
            &seen,
            &dressed_as,
            &dressed_as.rules(stage)?,
            installed,
            spool,
            other,
        )?;
        Ok(Side::of_directory(
            source,
            root,
            tree,
            packages,
            policy.cloned(),
        ))
    }

    fn image(
        &self,
        source: &Source,
        opened: Opened,
        reference: &ImageRef,
        counterpart: Option<&Side>,
    ) -> Result<Side> {
        let (policy, stage) = manner(counterpart);
        let (image, passed_over) = opened.image(reference)?;
        passed_over
            .iter()
            .for_each(|what| self.phases.monitor.note(&format!("{source}: {what}")));
        let mut spool = Spool::new()?;
        let total = image.blobs_bytes();
        let advance = |bytes| self.phases.monitor.advance(bytes);
        let (entries, layers) = self.phases.run(Phase::Read, Some(total), || {
            read_image(&opened, &image, self.store.as_ref(), &mut spool, &advance)
        })?;
        let packages = self.packages(&spool, entries.as_slice(), opened.path())?;
        let installed = packages
            .as_ref()
            .map(|packages| packages.all.as_slice())
            .unwrap_or_default();
        let tree = match policy {
            None => Tree::new(entries),
            Some(policy) => {
                let rules = policy.rules(stage)?;
                let members = as_seen(entries, &rules);
                let seen: Vec<Seen> = members.iter().map(Member::seen).collect();
                dress(&seen, policy, &rules, installed, &spool, None)?
            }
        };
        Ok(Side {
            source: source.clone(),
            snapshot: None,
            layers,
            tree,
            packages,
            policy: policy.cloned(),
            access: Access::Image(Box::new(opened), Box::new(image)),
        })
    }

    fn packages(
        &self,
        spool: &Spool,
        tree: &(impl crate::ops::root_view::package_files::Lookup + ?Sized),
        shown: &Path,
    ) -> Result<Option<SidePackages>> {
        self.phases.run(Phase::Packages, None, || {
            spool.packages(tree, shown, self.phases.monitor)
        })
    }

    /// A snapshot of a root without an rpm database may have one of another kind, which its layers hold.
    fn with_packages(&self, mut side: Side) -> Result<Side> {
        let (Access::Store(layers), None) = (&side.access, &side.packages) else {
            return Ok(side);
        };
        let is_database = |entry: &Entry| match entry.kind {
            Kind::File { size_bytes, .. } => {
                is_wanted(&entry.path, size_bytes)
                    && !crate::ops::root_view::package_files::is_user_file(&entry.path)
            }
            _ => false,
        };
        if !side.tree.entries().iter().any(is_database) {
            return Ok(side);
        }
        let store = self.store()?;
        let mut spool = Spool::new()?;
        for layer in layers {
            let path = store.blob_path(&layer.blob.digest);
            let open = || -> Result<Blob> {
                let input = store.open_blob(&layer.blob.digest, layer.blob.size_bytes)?;
                Ok(Blob {
                    input: Box::new(input.reader()),
                    path: &path,
                    digest: layer.blob.digest,
                })
            };
            read_files(open()?, is_wanted, |at, size, content| {
                if let Some(mut out) = spool.keep(at, size)? {
                    io::copy(content, &mut out).map_err(Error::io("read", &path))?;
                }
                Ok(true)
            })?;
            spool.keep_linked(&store.items(layer.layer.id)?, open)?;
        }
        let packages = self.packages(&spool, side.tree.entries(), store.path())?;
        side.packages = packages.filter(|packages| packages.manager != Manager::Rpm); // which was refused when it was recorded
        Ok(side)
    }
}

/// The policy and the stage as which a side is seen beside `counterpart`, if that is a snapshot.
fn manner(counterpart: Option<&Side>) -> (Option<&Policy>, &str) {
    match counterpart {
        Some(Side {
            snapshot: Some(snapshot),
            policy,
            ..
        }) => (policy.as_ref(), &snapshot.stage),
        _ => (None, ""),
    }
}
