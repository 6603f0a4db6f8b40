//! Plans a restore: the acts that make a directory hold the tree of a snapshot. Written elsewhere.
//!
//! Pure. A path that is as the policy records it is left alone. An inode with several names is never changed, since a name may
//! lie outside of the directory: the whole group is made anew.

use crate::model::policy::globs::Pathspec;
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, Change, compare};
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// The work on an entry of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// None: the entry is there, or was not chosen.
    Leave,
    /// To make the entry.
    Make,
    /// To change the metadata.
    Adjust,
    /// To set the time of a directory again, after names in the directory have changed.
    Date,
}

/// The work of a restore.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The act for each entry of the snapshot.
    pub acts: Vec<Act>,
    /// The paths to be removed with all beneath; in path order, and none beneath another.
    pub removed: Vec<EntryPath>,
    /// How many chosen paths stay though the snapshot does not have them.
    pub extra: u64,
    /// The places of directories that are there and in which names come or go.
    pub opened: Vec<usize>,
    /// How many chosen entries are hidden by mounts.
    pub hidden: u64,
}

/// A path that keeps a plan from being made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A path beneath was chosen, but no directory is here.
    NotADirectory(EntryPath),
    /// A mount, beneath a path that would be removed.
    Mount(EntryPath),
}

/// The content of a directory before a restore.
pub(crate) struct Present<'a> {
    /// The tree under the policy; beneath mounts as in the snapshot.
    pub tree: &'a Tree,
    /// Paths that are neither removed nor looked into, in path order.
    pub masked: &'a [EntryPath],
    /// The masked paths that cannot be removed, in path order.
    pub mounts: &'a [EntryPath],
    /// Paths that no snapshot can have.
    pub unrecordable: &'a [EntryPath],
}

impl Present<'_> {
    fn masks(&self, path: &EntryPath) -> bool {
        self.masked.binary_search(path).is_ok()
    }

    /// Tells whether a masked path is at `path` or beneath.
    fn has_masked_at_or_beneath(&self, path: &EntryPath) -> bool {
        let from = self.masked.partition_point(|masked| masked < path);
        self.masked
            .get(from)
            .is_some_and(|masked| masked == path || masked.is_beneath(path))
    }
}

/// Whether a restore removes the paths that the snapshot does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// The paths stay.
    #[default]
    Kept,
    /// The paths are removed.
    Removed,
}

/// Plans a restore into an empty directory.
pub(crate) fn plan_anew(tree: &Tree, spec: &Pathspec) -> Plan {
    let parents = parents(tree);
    let mut acts = vec![Act::Leave; tree.entries().len()];
    for (at, entry) in tree.entries().iter().enumerate() {
        if spec.chooses(&entry.path) {
            acts[at] = Act::Make;
        }
    }
    for at in 0..acts.len() {
        if acts[at] == Act::Make {
            let mut above = parents[at];
            while let Some(parent) = above.filter(|parent| acts[*parent] == Act::Leave) {
                acts[parent] = Act::Make;
                above = parents[parent];
            }
        }
    }
    if let Some(root) = tree.position(&EntryPath::root()) {
        acts[root] = if spec.chooses(&EntryPath::root()) {
            Act::Adjust
        } else {
            Act::Leave
        };
    }
    Plan {
        acts,
        ..Plan::default()
    }
}

/// Plans a restore into a directory with entries. `links` tells how many names the inode at a path has. Fails with
/// [`Obstacle::NotADirectory`] if a chosen path lies beneath a path that is no directory, and with [`Obstacle::Mount`] if a
/// mount lies at or beneath a directory that is to be replaced.
pub(crate) fn plan(
    tree: &Tree,
    present: &Present,
    spec: &Pathspec,
    extra: Extra,
    links: impl Fn(&EntryPath) -> u32,
) -> Result<Plan, Obstacle> {
    let mut planning = Planning::new(tree, present, spec);
    for change in compare(present.tree, tree, Aspects::NONE) {
        planning.add(&change, &links);
    }
    planning.remove(extra)?;
    planning.complete_groups();
    planning.complete_parents()?;
    planning.note_opened();
    planning.plan.hidden = hidden_len(tree, present.mounts, spec);
    Ok(planning.plan)
}

fn act(change: &Change, entry: &Entry, links: impl Fn(&EntryPath) -> u32) -> Act {
    let of_inode = [
        Aspects::TYPE,
        Aspects::CONTENT,
        Aspects::TARGET,
        Aspects::DEVICE,
        Aspects::LINKS,
    ];
    let is_new = change.old.is_none() || of_inode.into_iter().any(|aspect| change.what.has(aspect));
    if is_new || entry.group.is_some() || !entry.is_directory() && links(&entry.path) > 1 {
        Act::Make
    } else {
        Act::Adjust
    }
}

/// Returns the first mount at or beneath one of the paths.
fn first_beneath(paths: &[EntryPath], mounts: &[EntryPath]) -> Option<EntryPath> {
    let mut covered = mounts
        .iter()
        .filter(|mount| paths.contains(mount) || is_beneath_any(mount, paths));
    covered.next().cloned()
}

fn is_beneath_any(path: &EntryPath, tops: &[EntryPath]) -> bool {
    tops.iter().any(|top| path.is_beneath(top))
}

/// Counts the chosen entries beneath mounts.
fn hidden_len(tree: &Tree, mounts: &[EntryPath], spec: &Pathspec) -> u64 {
    if mounts.is_empty() {
        return 0;
    }
    let hidden = tree
        .entries()
        .iter()
        .filter(|entry| is_beneath_any(&entry.path, mounts) && spec.chooses(&entry.path));
    hidden.count() as u64
}

/// Why an entry of the snapshot is not there.
#[derive(Clone, Copy, PartialEq)]
enum Absence {
    /// The path is free.
    Nothing,
    /// An entry of another type has the path.
    Other,
}

struct Planning<'t> {
    tree: &'t Tree,
    present: &'t Present<'t>,
    spec: &'t Pathspec,
    /// For each entry of the snapshot, the place of the directory above.
    parents: Vec<Option<usize>>,
    /// For each entry of the snapshot, why the entry is not there; `None` for an entry that is there.
    absent: Vec<Option<Absence>>,
    /// Chosen paths that the snapshot does not have.
    extras: Vec<EntryPath>,
    /// Directories that an entry of another type replaces, in path order.
    replaced: Vec<EntryPath>,
    plan: Plan,
}

impl<'t> Planning<'t> {
    /// Begins with nothing to be done.
    fn new(tree: &'t Tree, present: &'t Present<'t>, spec: &'t Pathspec) -> Self {
        let extras = present
            .unrecordable
            .iter()
            .filter(|path| spec.chooses(path))
            .cloned();
        Self {
            tree,
            present,
            spec,
            parents: parents(tree),
            absent: vec![None; tree.entries().len()],
            extras: extras.collect(),
            replaced: Vec::new(),
            plan: Plan {
                acts: vec![Act::Leave; tree.entries().len()],
                ..Plan::default()
            },
        }
    }

    /// Adds a path at which directory and snapshot differ.
    fn add(&mut self, change: &Change, links: impl Fn(&EntryPath) -> u32) {
        let was = change.old.map(|at| &self.present.tree.entries()[at]);
        if let Some(new) = change.new {
            self.add_wanted(new, change, was, links);
        } else if let Some(was) = was
            && self.spec.chooses(&was.path)
        {
            self.extras.push(was.path.clone());
        }
    }

    /// Adds the entry at place `new` of the snapshot, where the directory has `was`.
    fn add_wanted(
        &mut self,
        new: usize,
        change: &Change,
        was: Option<&Entry>,
        links: impl Fn(&EntryPath) -> u32,
    ) {
        let entry = &self.tree.entries()[new];
        let has_other_type = change.what.has(Aspects::TYPE);
        self.absent[new] = match was {
            None => Some(Absence::Nothing),
            Some(_) if has_other_type => Some(Absence::Other),
            Some(_) => None,
        };
        // Of a masked path only the mask was seen.
        let is_masked = self.absent[new].is_none() && self.present.masks(&entry.path);
        if is_masked || !self.spec.chooses(&entry.path) {
            return;
        }
        self.plan.acts[new] = act(change, entry, links);
        if has_other_type && was.is_some_and(Entry::is_directory) {
            self.replaced.push(entry.path.clone());
        }
    }

    /// Decides which paths are removed: replaced directories, the logs of databases made, and extra paths if asked for.
    fn remove(&mut self, extra: Extra) -> Result<(), Obstacle> {
        let logs = self.logs_of_made();
        let mut gone = std::mem::take(&mut self.replaced);
        let mut extras = std::mem::take(&mut self.extras);
        if let Some(mount) = first_beneath(&gone, self.present.mounts) {
            return Err(Obstacle::Mount(mount));
        }
        extras.retain(|path| !is_beneath_any(path, &gone));
        if extra == Extra::Removed {
            let (held, removable): (Vec<_>, Vec<_>) = extras
                .into_iter()
                .partition(|path| self.present.has_masked_at_or_beneath(path));
            extras = held;
            gone.extend(removable);
        }
        extras.retain(|path| !logs.contains(path));
        gone.extend(logs);
        self.plan.extra = extras.len() as u64;
        gone.sort();
        gone.dedup_by(|path, above| path == above || path.is_beneath(above));
        self.plan.removed = gone;
        Ok(())
    }

    /// Returns the files beside made SQLite databases that SQLite would take for their logs, chosen or not.
    fn logs_of_made(&self) -> Vec<EntryPath> {
        let made = self.plan.acts.iter().zip(self.tree.entries());
        let made = made
            .filter(|(act, entry)| **act == Act::Make && entry.path.name().ends_with(b".sqlite"));
        let logs = made.flat_map(|(_, entry)| {
            let above = entry.path.parent().unwrap_or_default();
            let name = entry.path.name();
            ["-wal", "-shm", "-journal"].map(|end| above.join(&[name, end.as_bytes()].concat()))
        });
        let is_extra = |path: &EntryPath| {
            let present = self.present.tree.position(path);
            let is_directory = |at: usize| {
                self.present.tree.entries()[at].is_directory() || self.present.masks(path)
            };
            present.is_some_and(|at| !is_directory(at)) && self.tree.position(path).is_none()
        };
        logs.filter(is_extra).collect()
    }

    /// Makes all chosen names of an inode if one of the names is made.
    fn complete_groups(&mut self) {
        let mut groups: HashMap<Group, Vec<usize>> = HashMap::new();
        for (at, entry) in self.tree.entries().iter().enumerate() {
            if let Some(group) = entry.group {
                groups.entry(group).or_default().push(at);
            }
        }
        for names in groups.into_values() {
            if names.iter().any(|at| self.plan.acts[*at] == Act::Make) {
                for at in names {
                    if self.spec.chooses(&self.tree.entries()[at].path) {
                        self.plan.acts[at] = Act::Make;
                    }
                }
            }
        }
    }

    /// Makes the missing directories above entries made.
    fn complete_parents(&mut self) -> Result<(), Obstacle> {
        for at in 0..self.plan.acts.len() {
            let mut above = self.parents[at].filter(|_| self.plan.acts[at] == Act::Make);
            while let Some(parent) = above.filter(|parent| self.plan.acts[*parent] == Act::Leave) {
                match self.absent[parent] {
                    None => break,
                    Some(Absence::Nothing) => self.plan.acts[parent] = Act::Make,
                    Some(Absence::Other) => {
                        return Err(Obstacle::NotADirectory(
                            self.tree.entries()[parent].path.clone(),
                        ));
                    }
                }
                above = self.parents[parent];
            }
        }
        Ok(())
    }

    /// Notes the directories in which names come or go.
    fn note_opened(&mut self) {
        let of_made = (0..self.plan.acts.len())
            .filter(|at| self.plan.acts[*at] == Act::Make)
            .filter_map(|at| self.parents[at]);
        let of_removed = self
            .plan
            .removed
            .iter()
            .filter_map(|path| self.tree.position(&path.parent().unwrap_or_default()));
        let mut opened: Vec<usize> = of_made.chain(of_removed).collect();
        opened.sort_unstable();
        opened.dedup();
        opened.retain(|at| self.absent[*at].is_none());
        for at in &opened {
            if self.plan.acts[*at] == Act::Leave {
                self.plan.acts[*at] = Act::Date;
            }
        }
        self.plan.opened = opened;
    }
}

/// Returns the place of the directory above each entry.
fn parents(tree: &Tree) -> Vec<Option<usize>> {
    let entries = tree.entries();
    let mut above: Vec<usize> = Vec::new();
    let mut parents = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        while above
            .last()
            .is_some_and(|top| !entry.path.is_beneath(&entries[*top].path))
        {
            above.pop();
        }
        parents.push(above.last().copied());
        if entry.is_directory() {
            above.push(at);
        }
    }
    parents
}

#[cfg(test)]
mod tests;
