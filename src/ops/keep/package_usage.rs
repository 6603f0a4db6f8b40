//! The space of packages that have layers of their own, and who shares the layers.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::plan::label_stem;
use crate::model::plan::layer::Role;
use crate::store::{LayerUse, Snapshot, Store};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The space of all versions of a package. All lengths are bytes of files in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageUsage {
    /// The name; `None` for packages of which no name was recorded.
    pub name: Option<String>,
    /// The architecture; empty for a package without.
    pub arch: String,
    /// Bytes of the package's layers.
    pub size_bytes: u64,
    /// The number of layers.
    pub layers: u64,
    /// The number of snapshots that have any of the layers.
    pub snapshots: u64,
    /// The series of these snapshots.
    pub series: BTreeSet<String>,
    /// Bytes of layers that a single series has: what goes with this series.
    pub one_series_bytes: u64,
    /// Bytes of layers that a single snapshot has: what goes with this snapshot.
    pub one_snapshot_bytes: u64,
}

/// Finds the space of all packages that have a layer in `all` snapshots, or in those of a series; what others share counts as
/// theirs too. The largest comes first. Fails if a row of a snapshot is not as recorded.
pub(crate) fn package_usage(
    store: &Store,
    all: &[Snapshot],
    series: Option<&str>,
) -> Result<Vec<PackageUsage>> {
    let mut packages: BTreeMap<Stem, Layers> = BTreeMap::new();
    for snapshot in all {
        for used in store.layers(snapshot.id)? {
            if used.role == Role::Package {
                let layers = packages.entry(stem(&used)).or_default();
                layers.add(&used, snapshot);
            }
        }
    }
    let mut usages: Vec<PackageUsage> = packages
        .into_iter()
        .filter_map(|(stem, layers)| layers.of_series(series).usage(stem))
        .collect();
    usages.sort_by_key(|usage| Reverse(usage.size_bytes)); // stable: in the order of names
    Ok(usages)
}

/// Name and architecture.
type Stem = (Option<String>, String);

fn stem(used: &LayerUse) -> Stem {
    match &used.label {
        Some(label) => {
            let (name, arch) = label_stem(label);
            (Some(name.to_owned()), arch.to_owned())
        }
        None => (None, String::new()),
    }
}

/// The forms of a package's layers, each with the number of the layer.
#[derive(Default)]
struct Layers(BTreeMap<(i64, Digest), Users>);

/// The users of a form of a layer.
#[derive(Default)]
struct Users {
    size_bytes: u64,
    snapshots: BTreeSet<i64>,
    series: BTreeSet<String>,
}

impl Layers {
    fn add(&mut self, used: &LayerUse, snapshot: &Snapshot) {
        let form = (used.layer.id, used.blob.digest);
        let users = self.0.entry(form).or_default();
        users.size_bytes = used.blob.size_bytes;
        users.snapshots.insert(snapshot.id);
        users.series.insert(snapshot.series.clone());
    }

    /// Leaves the layers that a series has.
    fn of_series(mut self, series: Option<&str>) -> Self {
        if let Some(series) = series {
            self.0.retain(|_, users| users.series.contains(series));
        }
        self
    }

    /// Sums up; `None` without a layer.
    fn usage(self, (name, arch): Stem) -> Option<PackageUsage> {
        if self.0.is_empty() {
            return None;
        }
        let layers: HashSet<i64> = self.0.keys().map(|(layer, _)| *layer).collect();
        let mut snapshots: BTreeSet<i64> = BTreeSet::new();
        let mut usage = PackageUsage {
            name,
            arch,
            size_bytes: 0,
            layers: layers.len() as u64,
            snapshots: 0,
            series: BTreeSet::new(),
            one_series_bytes: 0,
            one_snapshot_bytes: 0,
        };
        for users in self.0.into_values() {
            usage.size_bytes += users.size_bytes;
            if users.series.len() == 1 {
                usage.one_series_bytes += users.size_bytes;
            }
            if users.snapshots.len() == 1 {
                usage.one_snapshot_bytes += users.size_bytes;
            }
            snapshots.extend(users.snapshots);
            usage.series.extend(users.series);
        }
        usage.snapshots = snapshots.len() as u64;
        Some(usage)
    }
}
