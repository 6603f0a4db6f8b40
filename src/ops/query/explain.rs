//! Why each layer of a snapshot was written or reused.
//!
//! The rule that asked for a base or a delta is recorded with the snapshot, or for an older snapshot derived. The paths that
//! made a layer new are derived: a layer's key is a function of its entries, so these are the paths at which the layer differs
//! from the layers of the series' last snapshot of the stage in whose place it is; where there were none, all of its paths. Of
//! them, those are named that are not as they were in that snapshot, or, in the first of a stage, as they lie below.

use crate::error::Result;
use crate::model::names::SnapshotRef;
use crate::model::packages::attribution::{SideView, account};
use crate::model::packages::owners::{Installed, Times};
use crate::model::packages::upgrade::compare_packages;
use crate::model::packages::version::Manager;
use crate::model::plan::layer::Role;
use crate::model::policy::{MtimeRule, Policy};
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, compare};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::compare::findings::{Compared, FileDifference, PackageDifference};
use crate::ops::compare::findings::{count, keep_concerned, path_of};
use crate::ops::query::derived_rule::derived_rule;
use crate::ops::query::rule::{Rule, recorded_rule};
use crate::ops::root_view::recorded::tree_of;
use crate::store::FileLists;
use crate::store::LayerUse;
use crate::store::Snapshot;
use crate::store::Store;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// A snapshot with the reason for each of its layers.
#[derive(Debug)]
pub struct Explained {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its layers, the lowest first.
    pub layers: Vec<ExplainedLayer>,
}

/// A layer with its reason.
#[derive(Debug)]
pub struct ExplainedLayer {
    /// The layer.
    pub layer: LayerUse,
    /// Why it is there.
    pub reason: Reason,
}

/// Why a layer was written or reused.
#[derive(Debug)]
pub enum Reason {
    /// It was there, first in this snapshot.
    Reused(Box<Snapshot>),
    /// It was written.
    New(Box<Novelty>),
}

/// Why a layer is new.
#[derive(Debug)]
pub struct Novelty {
    /// For a base, and a delta in the place of another, the rule that asked for it.
    pub rule: Option<Rule>,
    /// What it was compared with.
    pub against: Against,
    /// What made it new.
    pub cause: Cause,
}

/// What a new layer was compared with.
#[derive(Clone, Debug)]
pub enum Against {
    /// Nothing: it is the first.
    Nothing,
    /// What lies below it; of this snapshot, where it is a stage before.
    PriorLayers(Option<Snapshot>),
    /// The last snapshot of the stage.
    Before(Snapshot),
}

/// What made a layer new: the trees before and after, and where they differ.
#[derive(Debug)]
pub struct Cause {
    /// Before.
    pub old: Tree,
    /// After.
    pub new: Tree,
    /// Packages before, sorted.
    pub old_packages: Vec<Installed>,
    /// Packages after, sorted.
    pub new_packages: Vec<Installed>,
    /// Packages that account for any of it.
    pub packages: Vec<PackageDifference>,
    /// Paths that differ, in path order.
    pub files: Vec<FileDifference>,
    /// Entries that the layer before did not hold although they are the same: directories above what differs, other names of
    /// an inode, or what the base had then.
    pub carried: u64,
}

impl Cause {
    /// Returns it as what differs between two sides.
    pub fn compared(&self) -> Compared<'_> {
        Compared {
            trees: [&self.old, &self.new],
            installed: [&self.old_packages, &self.new_packages],
            packages: &self.packages,
            files: &self.files,
        }
    }
}

/// Explains a snapshot.
pub fn explain(store_path: &Path, reference: &SnapshotRef) -> Result<Explained> {
    let store = Store::open(store_path)?;
    let snapshot = store.find(reference)?;
    let layers = store.layers(snapshot.id)?;
    let before = before(&store, &snapshot)?;
    let mut explained = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        let reason = if layer.reused {
            let first = store.first_with_layer(layer.layer.id)?;
            Reason::Reused(Box::new(first.unwrap_or_else(|| snapshot.clone())))
        } else {
            new_layer(&store, &snapshot, before.as_ref(), &layers, place)?
        };
        explained.push(ExplainedLayer {
            layer: layer.clone(),
            reason,
        });
    }
    Ok(Explained {
        snapshot,
        layers: explained,
    })
}

/// The series' last snapshot of the stage under the same policy.
fn before(store: &Store, snapshot: &Snapshot) -> Result<Option<Snapshot>> {
    let all = store.snapshots(Some(&snapshot.series))?;
    Ok(all.into_iter().find(|one| {
        one.id < snapshot.id && one.stage == snapshot.stage && one.policy_key == snapshot.policy_key
    }))
}

fn new_layer(
    store: &Store,
    snapshot: &Snapshot,
    before: Option<&Snapshot>,
    layers: &[LayerUse],
    place: usize,
) -> Result<Reason> {
    let layer = &layers[place];
    let rule = match &layer.reason {
        Some(reason) => recorded_rule(store, reason)?,
        None => derived_rule(store, snapshot, layers, layer.role)?,
    };
    let was = was(store, snapshot, before, layers, place)?;
    let new = tree_of(store, &ids(layers))?;
    let items = store.items(layer.layer.id)?;
    let concerned = Concerned::of(&items, &was.items);
    let mut changes = compare(&was.tree, &new, Aspects::NONE);
    let trees = [&was.tree, &new];
    changes.retain(|change| concerned.has(path_of(trees, change)));
    let changed: HashSet<&EntryPath> = changes
        .iter()
        .map(|change| path_of(trees, change))
        .collect();
    let carried = concerned
        .paths
        .iter()
        .filter(|path| !changed.contains(**path))
        .count() as u64;
    let mut lists = FileLists::default();
    let mut installed = |set: Option<i64>| -> Result<Vec<Installed>> {
        set.map_or(Ok(Vec::new()), |set| store.installed(set, &mut lists))
    };
    let (old_packages, new_packages) = (
        installed(was.package_set_id)?,
        installed(snapshot.package_set_id)?,
    );
    let packages = compare_packages(Manager::Rpm, &old_packages, &new_packages);
    let times = times(store, snapshot)?;
    let accounts = account(
        &SideView {
            tree: &was.tree,
            packages: &old_packages,
            times,
        },
        &SideView {
            tree: &new,
            packages: &new_packages,
            times,
        },
        &changes,
        &packages,
    );
    let is_volatile = layer.role == Role::State;
    let all = changes.into_iter().zip(accounts);
    let mut files: Vec<FileDifference> = all
        .map(|(change, account)| FileDifference {
            change,
            account,
            is_volatile,
        })
        .collect();
    let mut packages = count([&was.tree, &new], &packages, &files);
    keep_concerned(&mut packages, &mut files);
    let cause = Cause {
        old: was.tree,
        new,
        old_packages,
        new_packages,
        packages,
        files,
        carried,
    };
    Ok(Reason::New(Box::new(Novelty {
        rule,
        against: was.against,
        cause,
    })))
}

/// What a layer is compared with.
struct Was {
    against: Against,
    tree: Tree,
    package_set_id: Option<i64>,
    /// What the layers held in whose place it is.
    items: Vec<LayerItem>,
}

fn was(
    store: &Store,
    snapshot: &Snapshot,
    before: Option<&Snapshot>,
    layers: &[LayerUse],
    place: usize,
) -> Result<Was> {
    if let Some(before) = before {
        let earlier = store.layers(before.id)?;
        let tree = tree_of(store, &ids(&earlier))?;
        let is_state = layers[place].role == Role::State;
        let is_kept = |layer: &LayerUse| layers.iter().any(|now| now.layer.id == layer.layer.id);
        let own = earlier.into_iter().filter(|layer| !layer.is_inherited);
        let replaced =
            own.filter(|layer| (layer.role == Role::State) == is_state && !is_kept(layer));
        // What the upper ones have counts.
        let mut items: BTreeMap<EntryPath, LayerItem> = BTreeMap::new();
        for layer in replaced {
            items.extend(
                store
                    .items(layer.layer.id)?
                    .into_iter()
                    .map(|item| (item.path().clone(), item)),
            );
        }
        return Ok(Was {
            against: Against::Before(before.clone()),
            tree,
            package_set_id: before.package_set_id,
            items: items.into_values().collect(),
        });
    }
    if place == 0 {
        return Ok(Was {
            against: Against::Nothing,
            tree: Tree::default(),
            package_set_id: None,
            items: Vec::new(),
        });
    }
    let parent = snapshot
        .parent_id
        .map(|id| store.snapshot(id))
        .transpose()?
        .flatten();
    Ok(Was {
        package_set_id: parent.as_ref().and_then(|parent| parent.package_set_id),
        against: Against::PriorLayers(parent),
        tree: tree_of(store, &ids(&layers[..place]))?,
        items: Vec::new(),
    })
}

fn ids(layers: &[LayerUse]) -> Vec<i64> {
    layers.iter().map(|layer| layer.layer.id).collect()
}

/// The paths at which two layers do not hold the same.
struct Concerned<'a> {
    paths: HashSet<&'a EntryPath>,
    /// Those of them beneath which something may be gone.
    tops: HashSet<&'a EntryPath>,
}

impl<'a> Concerned<'a> {
    fn of(now: &'a [LayerItem], before: &'a [LayerItem]) -> Self {
        let mut at_path: HashMap<&EntryPath, &LayerItem> =
            before.iter().map(|item| (item.path(), item)).collect();
        let is_same = |a: &LayerItem, b: &LayerItem| match (a, b) {
            (LayerItem::Entry(a), LayerItem::Entry(b)) => a.same_but_group(b),
            (a, b) => a == b,
        };
        let mut differing = Vec::new();
        for item in now {
            if at_path
                .remove(item.path())
                .is_none_or(|was| !is_same(item, was))
            {
                differing.push(item);
            }
        }
        differing.extend(at_path.into_values());
        let is_top =
            |item: &&&LayerItem| !matches!(item, LayerItem::Entry(entry) if entry.is_directory());
        Self {
            paths: differing.iter().map(|item| item.path()).collect(),
            tops: differing
                .iter()
                .filter(is_top)
                .map(|item| item.path())
                .collect(),
        }
    }

    fn has(&self, path: &EntryPath) -> bool {
        let is_gone_with = || {
            let mut at = path.parent();
            while let Some(above) = at {
                if self.tops.contains(&above) {
                    return true;
                }
                at = above.parent();
            }
            false
        };
        self.paths.contains(path) || is_gone_with()
    }
}

fn times(store: &Store, snapshot: &Snapshot) -> Result<Times> {
    let policy = Policy::from_canonical(&store.policy(&snapshot.policy_key)?);
    Ok(match policy {
        Some(policy) if policy.mtime != MtimeRule::Fixed => Times::Kept,
        _ => Times::Lost,
    })
}
