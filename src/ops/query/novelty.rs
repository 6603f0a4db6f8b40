//! Why a layer is new, and the paths that made the layer new.
//!
//! A layer's key is a function of the layer's entries, so the paths that made a layer new are the paths at which the layer
//! differs from the layers of the series' last snapshot of the stage in whose place the layer is; without such layers, all
//! paths of the layer. Only paths are named that are not as they were in that snapshot, or, in the first snapshot of a
//! stage, as they lie below.

use crate::error::Result;
use crate::model::packages::attribution::{SideView, account};
use crate::model::packages::owners::Installed;
use crate::model::packages::upgrade::compare_packages;
use crate::model::packages::version::Manager;
use crate::model::plan::layer::Role;
use crate::model::policy::build_configuration::is_build_configuration;
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, Change, compare};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::ops::compare::findings::{Compared, FileDifference, PackageDifference};
use crate::ops::compare::findings::{count, keep_concerned, path_of};
use crate::ops::query::derived_rule::derived_rule;
use crate::ops::query::predecessor::{Against, NewLayer, Predecessor};
use crate::ops::query::records::{ids_of, times};
use crate::ops::query::rule::{Rule, recorded_rule};
use crate::ops::root_view::recorded::tree_of;
use crate::store::{FileLists, Store};
use std::collections::{HashMap, HashSet};

/// Why a layer is new.
#[derive(Debug)]
pub struct Novelty {
    /// For a base, and a delta in the place of another, the rule that asked for the layer.
    pub rule: Option<Rule>,
    /// The other side of the comparison.
    pub against: Against,
    /// The differences that made the layer new.
    pub cause: Cause,
}

impl Novelty {
    /// Finds out why a layer is new. Fails if a row that the comparison needs, of this snapshot or of the snapshot before,
    /// is not as recorded.
    pub(super) fn of(new: &NewLayer) -> Result<Self> {
        let layer = new.layer();
        let rule = match &layer.reason {
            Some(reason) => recorded_rule(new.store, reason)?,
            None => derived_rule(new.store, new.snapshot, new.layers, layer.role)?,
        };
        let (against, predecessor) = Predecessor::of(new)?;
        let cause = Cause::find(new, predecessor)?;
        Ok(Self {
            rule,
            against,
            cause,
        })
    }
}

/// The trees before and after, and where the trees differ.
#[derive(Debug)]
pub struct Cause {
    /// The tree before.
    pub old: Tree,
    /// The tree after.
    pub new: Tree,
    /// Packages before, sorted.
    pub old_packages: Vec<Installed>,
    /// Packages after, sorted.
    pub new_packages: Vec<Installed>,
    /// Packages that account for any of the differences.
    pub packages: Vec<PackageDifference>,
    /// Paths that differ, in path order.
    pub files: Vec<FileDifference>,
    /// Number of entries that the layer before did not hold although the entries are the same: directories above a
    /// difference, other names of an inode, or entries that the base had then.
    pub carried: u64,
}

impl Cause {
    fn find(new_layer: &NewLayer, predecessor: Predecessor) -> Result<Self> {
        let NewLayer {
            store, snapshot, ..
        } = new_layer;
        let old = predecessor.tree;
        let new = tree_of(store, &ids_of(new_layer.layers))?;
        let items = store.items(new_layer.layer().layer.id)?;
        let concerned = Concerned::of(&items, &predecessor.items);
        let changes = concerned.changes([&old, &new]);
        let carried = concerned.carried([&old, &new], &changes);
        let mut lists = FileLists::default();
        let old_packages = installed(store, predecessor.package_set_id, &mut lists)?;
        let new_packages = installed(store, snapshot.package_set_id, &mut lists)?;
        let times = times(store, snapshot)?;
        let old_side = SideView {
            tree: &old,
            packages: &old_packages,
            times,
        };
        let new_side = SideView {
            tree: &new,
            packages: &new_packages,
            times,
        };
        let is_volatile = new_layer.layer().role == Role::State;
        let (packages, files) = differences([&old_side, &new_side], changes, is_volatile);
        Ok(Self {
            old,
            new,
            old_packages,
            new_packages,
            packages,
            files,
            carried,
        })
    }

    /// Returns the cause as a difference between two sides.
    pub fn compared(&self) -> Compared<'_> {
        Compared {
            trees: [&self.old, &self.new],
            installed: [&self.old_packages, &self.new_packages],
            packages: &self.packages,
            files: &self.files,
        }
    }
}

fn installed(
    store: &Store,
    package_set_id: Option<i64>,
    lists: &mut FileLists,
) -> Result<Vec<Installed>> {
    match package_set_id {
        Some(set) => store.installed(set, lists),
        None => Ok(Vec::new()),
    }
}

/// Attributes changes to packages. Leaves out packages that account for none.
fn differences(
    [old, new]: [&SideView; 2],
    changes: Vec<Change>,
    is_volatile: bool,
) -> (Vec<PackageDifference>, Vec<FileDifference>) {
    let package_changes = compare_packages(Manager::Rpm, old.packages, new.packages);
    let accounts = account(old, new, &changes, &package_changes);
    let mut files = Vec::with_capacity(changes.len());
    for (change, account) in changes.into_iter().zip(accounts) {
        let path = path_of([old.tree, new.tree], &change);
        files.push(FileDifference {
            change,
            account,
            is_volatile,
            is_configuration: is_build_configuration(path),
        });
    }
    let mut packages = count([old.tree, new.tree], &package_changes, &files);
    keep_concerned(&mut packages, &mut files);
    (packages, files)
}

/// The paths at which two layers do not hold the same.
struct Concerned<'a> {
    paths: HashSet<&'a EntryPath>,
    /// The paths among `paths` beneath which something may be gone.
    tops: HashSet<&'a EntryPath>,
}

impl<'a> Concerned<'a> {
    fn of(now: &'a [LayerItem], before: &'a [LayerItem]) -> Self {
        let mut at_path: HashMap<&EntryPath, &LayerItem> =
            before.iter().map(|item| (item.path(), item)).collect();
        let mut concerned = Self {
            paths: HashSet::new(),
            tops: HashSet::new(),
        };
        for item in now {
            let was = at_path.remove(item.path());
            if was.is_none_or(|was| !is_same(item, was)) {
                concerned.add(item);
            }
        }
        for item in at_path.into_values() {
            concerned.add(item);
        }
        concerned
    }

    fn add(&mut self, item: &'a LayerItem) {
        self.paths.insert(item.path());
        match item.entry() {
            Some(entry) if entry.is_directory() => {}
            _ => {
                self.tops.insert(item.path());
            }
        }
    }

    fn has(&self, path: &EntryPath) -> bool {
        self.paths.contains(path) || self.has_top_above(path)
    }

    fn has_top_above(&self, path: &EntryPath) -> bool {
        let mut at = path.parent();
        while let Some(above) = at {
            if self.tops.contains(&above) {
                return true;
            }
            at = above.parent();
        }
        false
    }

    /// Returns the changes between two trees at these paths.
    fn changes(&self, trees: [&Tree; 2]) -> Vec<Change> {
        let mut changes = compare(trees[0], trees[1], Aspects::NONE);
        changes.retain(|change| self.has(path_of(trees, change)));
        changes
    }

    /// Counts the paths without a change.
    fn carried(&self, trees: [&Tree; 2], changes: &[Change]) -> u64 {
        let changed: HashSet<&EntryPath> = changes
            .iter()
            .map(|change| path_of(trees, change))
            .collect();
        let mut carried = 0;
        for path in &self.paths {
            if !changed.contains(path) {
                carried += 1;
            }
        }
        carried
    }
}

fn is_same(a: &LayerItem, b: &LayerItem) -> bool {
    match (a, b) {
        (LayerItem::Entry(a), LayerItem::Entry(b)) => a.same_but_group(b),
        (a, b) => a == b,
    }
}
