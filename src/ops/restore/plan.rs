//! What is to be done so that a directory holds what a snapshot does: decided here, done elsewhere.
//!
//! Pure. Of a path that is as the policy records it, nothing is touched. An inode with more names than one is never
//! changed, since a name may lie outside: the group is made anew.

use crate::model::policy::globs::Pathspec;
use crate::model::tree::Tree;
use crate::model::tree::compare::{Aspects, Change, compare};
use crate::model::tree::entry::{Entry, Group};
use crate::model::tree::path::EntryPath;
use std::collections::HashMap;

/// What is to be done with an entry of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is there, or was not asked for.
    Leave,
    /// It is to be made.
    Make,
    /// Its metadata is to be changed.
    Adjust,
    /// It is a directory that is as it should be, but for the names in it: its time is to be set again.
    Date,
}

/// All that is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each entry of the snapshot.
    pub(crate) acts: Vec<Act>,
    /// What goes, with all that is beneath it; in path order, and none beneath another.
    pub(crate) removed: Vec<EntryPath>,
    /// What the snapshot does not have and that stays.
    pub(crate) extra: u64,
    /// Directories that are there and in which names come or go, by their places.
    pub(crate) opened: Vec<usize>,
    /// How many entries that were asked for something else hides.
    pub(crate) hidden: u64,
}

/// What of the present state keeps a plan from being made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It is no directory, but something beneath it was asked for.
    NotADirectory(EntryPath),
    /// Something is mounted there, beneath what is to go.
    Mount(EntryPath),
}

/// What a directory holds.
pub(crate) struct Present<'a> {
    /// As the policy has it; what the mounts hide counts as the snapshot has it.
    pub(crate) tree: &'a Tree,
    /// What is neither removed nor looked into, in path order.
    pub(crate) masked: &'a [EntryPath],
    /// The subset of it that cannot be removed.
    pub(crate) mounts: &'a [EntryPath],
    /// Paths that no snapshot can have.
    pub(crate) unrecordable: &'a [EntryPath],
}

/// Whether what the snapshot does not have is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// It stays.
    #[default]
    Kept,
    /// It goes.
    Removed,
}

/// Plans for a directory that is empty.
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

/// Plans for a directory that holds something. `links` tells how many names the inode at a path has.
pub(crate) fn plan(
    tree: &Tree,
    present: &Present,
    spec: &Pathspec,
    extra: Extra,
    links: impl Fn(&EntryPath) -> u32,
) -> Result<Plan, Obstacle> {
    let mut planning = Planning {
        tree,
        parents: parents(tree),
        absent: vec![None; tree.entries().len()],
        plan: Plan {
            acts: vec![Act::Leave; tree.entries().len()],
            ..Plan::default()
        },
    };
    let mut extras: Vec<EntryPath> = present
        .unrecordable
        .iter()
        .filter(|path| spec.chooses(path))
        .cloned()
        .collect();
    let mut replaced = Vec::new();
    for change in compare(present.tree, tree, Aspects::NONE) {
        let was = change.old.map(|at| &present.tree.entries()[at]);
        let Some(new) = change.new else {
            extras.extend(
                was.filter(|was| spec.chooses(&was.path))
                    .map(|was| was.path.clone()),
            );
            continue;
        };
        let entry = &tree.entries()[new];
        match was {
            None => planning.absent[new] = Some(Absence::Nothing),
            Some(_) if change.what.has(Aspects::TYPE) => {
                planning.absent[new] = Some(Absence::Other)
            }
            _ => {}
        }
        // What covers a path is what is seen of it.
        let is_masked =
            planning.absent[new].is_none() && present.masked.binary_search(&entry.path).is_ok();
        if spec.chooses(&entry.path) && !is_masked {
            planning.plan.acts[new] = act(&change, entry, &links);
            if change.what.has(Aspects::TYPE) && was.is_some_and(Entry::is_directory) {
                replaced.push(entry.path.clone());
            }
        }
    }
    if let Some(mount) = first_beneath(&replaced, present.mounts) {
        return Err(Obstacle::Mount(mount));
    }
    let mut gone = replaced;
    extras.retain(|path| !gone.iter().any(|top| path.is_beneath(top)));
    match extra {
        Extra::Removed => {
            let is_held = |path: &EntryPath| {
                let from = present.masked.partition_point(|masked| masked < path);
                present
                    .masked
                    .get(from)
                    .is_some_and(|masked| masked == path || masked.is_beneath(path))
            };
            let (held, removable): (Vec<_>, Vec<_>) = extras.into_iter().partition(is_held);
            planning.plan.extra = held.len() as u64;
            gone.extend(removable);
        }
        Extra::Kept => planning.plan.extra = extras.len() as u64,
    }
    gone.sort();
    gone.dedup_by(|path, above| path == above || path.is_beneath(above));
    planning.plan.removed = gone;
    planning.complete_groups(spec);
    planning.complete_parents()?;
    planning.note_opened();
    let is_hidden = |entry: &&Entry| {
        present
            .mounts
            .iter()
            .any(|mount| entry.path.is_beneath(mount))
            && spec.chooses(&entry.path)
    };
    planning.plan.hidden = match present.mounts {
        [] => 0,
        _ => tree.entries().iter().filter(is_hidden).count() as u64,
    };
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

/// The first mount that lies at or beneath one of the paths.
fn first_beneath(paths: &[EntryPath], mounts: &[EntryPath]) -> Option<EntryPath> {
    let is_beneath = |mount: &&EntryPath| {
        paths
            .iter()
            .any(|path| *mount == path || mount.is_beneath(path))
    };
    mounts.iter().find(is_beneath).cloned()
}

/// Why an entry of the snapshot is not there.
#[derive(Clone, Copy, PartialEq)]
enum Absence {
    /// Nothing is at its path.
    Nothing,
    /// Something of another type is.
    Other,
}

struct Planning<'t> {
    tree: &'t Tree,
    parents: Vec<Option<usize>>,
    absent: Vec<Option<Absence>>,
    plan: Plan,
}

impl Planning<'_> {
    /// Where one name of an inode is made, all that were asked for are.
    fn complete_groups(&mut self, spec: &Pathspec) {
        let mut groups: HashMap<Group, Vec<usize>> = HashMap::new();
        for (at, entry) in self.tree.entries().iter().enumerate() {
            if let Some(group) = entry.group {
                groups.entry(group).or_default().push(at);
            }
        }
        for names in groups.into_values() {
            if names.iter().any(|at| self.plan.acts[*at] == Act::Make) {
                for at in names
                    .into_iter()
                    .filter(|at| spec.chooses(&self.tree.entries()[*at].path))
                {
                    self.plan.acts[at] = Act::Make;
                }
            }
        }
    }

    /// Makes the directories above what is made, where they are missing.
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

    fn note_opened(&mut self) {
        let made = (0..self.plan.acts.len()).filter(|at| self.plan.acts[*at] == Act::Make);
        let of_made = made.filter_map(|at| self.parents[at]);
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

/// The place of the directory above each entry.
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
