//! Snapshots one after the other, each beside the snapshot before of the same stage.

use crate::error::Result;
use crate::model::digest::TreeDigest;
use crate::ops::query::filter::Filter;
use crate::ops::root_view::recorded::tree_digest_of;
use crate::store::{LayerUse, Snapshot, Store};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A snapshot with its layers.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The layers, the lowest first.
    pub layers: Vec<LayerUse>,
    /// The number of packages; `None` where they are unknown.
    pub packages: Option<u64>,
    /// The changes of packages since the snapshot before of the stage; `None` without a snapshot before, and where packages are unknown.
    pub package_changes: Option<PackageChanges>,
    /// The seconds since the recording.
    pub age_s: i64,
    /// The digest of the tree, if asked for.
    pub tree_digest: Option<TreeDigest>,
}

/// The different packages of two snapshots, each NAME.ARCH, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageChanges {
    /// Packages of the newer snapshot alone.
    pub added: Vec<String>,
    /// Packages of the older snapshot alone.
    pub removed: Vec<String>,
    /// Packages of other versions, or built at another time.
    pub changed: Vec<String>,
}

impl Logged {
    /// Returns the bytes of the layers written for the snapshot.
    pub(crate) fn new_bytes(&self) -> u64 {
        let new = self.layers.iter().filter(|layer| !layer.reused);
        new.map(|layer| layer.blob.size_bytes).sum()
    }
}

/// Returns the snapshots that the filter leaves, the newest first; `with_digests` computes the digests of their trees. Fails with
/// [`crate::error::Error::UnknownSeries`] without a series asked for, and if a row is not as recorded.
pub fn log(store_path: &Path, filter: &Filter, with_digests: bool) -> Result<Vec<Logged>> {
    let store = Store::open(store_path)?;
    let all = store.snapshots(None)?;
    let before = predecessors(&all);
    let mut sets = Sets::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.unwrap_or_default().as_secs() as i64;
    let snapshots = filter.of(&store, &all)?.into_iter();
    snapshots
        .map(|snapshot| {
            let packages = sets.of(&store, &snapshot)?;
            let older = match before.get(&snapshot.id) {
                Some(before) => sets.of(&store, before)?,
                None => None,
            };
            let digest = with_digests.then(|| tree_digest_of(&store, &snapshot));
            Ok(Logged {
                age_s: now_s - snapshot.created_s,
                layers: store.layers(snapshot.id)?,
                packages: packages.as_ref().map(|packages| packages.count),
                package_changes: older
                    .zip(packages)
                    .map(|(older, newer)| newer.changes_since(&older)),
                tree_digest: digest.transpose()?,
                snapshot,
            })
        })
        .collect()
}

/// Returns the last snapshot before each of the same stage and series, by number; `all` are the newest first.
pub(super) fn predecessors(all: &[Snapshot]) -> HashMap<i64, &Snapshot> {
    let mut last: HashMap<(&str, &str), &Snapshot> = HashMap::new();
    let mut before = HashMap::new();
    for snapshot in all.iter().rev() {
        let of = (snapshot.series.as_str(), snapshot.stage.as_str());
        if let Some(older) = last.insert(of, snapshot) {
            before.insert(snapshot.id, older);
        }
    }
    before
}

/// The packages of a set: versions and build times, of which rpm may install several, by name and architecture.
struct Set {
    count: u64,
    packages: BTreeMap<(String, String), BTreeSet<(String, i64)>>,
}

impl Set {
    fn read(store: &Store, id: i64) -> Result<Self> {
        let all = store.packages(id)?;
        let mut packages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let count = all.len() as u64;
        for package in all {
            let what = (package.evr(), package.build_time_s);
            let of = packages.entry((package.name, package.arch)).or_default();
            of.insert(what);
        }
        Ok(Self { count, packages })
    }

    fn changes_since(&self, older: &Self) -> PackageChanges {
        let mut changes = PackageChanges::default();
        for (of, newer) in &self.packages {
            match older.packages.get(of) {
                None => changes.added.push(named(of)),
                Some(older) if older != newer => changes.changed.push(named(of)),
                Some(_) => {}
            }
        }
        let of_older = older.packages.keys();
        let gone = of_older.filter(|of| !self.packages.contains_key(of));
        changes.removed = gone.map(named).collect();
        changes
    }
}

/// Returns NAME.ARCH.
fn named((name, arch): &(String, String)) -> String {
    format!("{name}.{arch}")
}

/// Sets read so far: many snapshots have the same.
#[derive(Default)]
struct Sets(HashMap<i64, Rc<Set>>);

impl Sets {
    /// Returns the packages of a snapshot; `None` where they are unknown. Fails if a row is not as recorded.
    fn of(&mut self, store: &Store, snapshot: &Snapshot) -> Result<Option<Rc<Set>>> {
        let Some(id) = snapshot.package_set_id else {
            return Ok(None);
        };
        if let Some(known) = self.0.get(&id) {
            return Ok(Some(Rc::clone(known)));
        }
        let set = Rc::new(Set::read(store, id)?);
        self.0.insert(id, Rc::clone(&set));
        Ok(Some(set))
    }
}
