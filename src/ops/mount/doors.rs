//! The directories above all snapshots of a store: series, stage, and time with number.

use crate::model::time::rfc3339;
use crate::model::tree::Tree;
use crate::model::tree::entry::Entry;
use crate::model::tree::path::EntryPath;
use crate::ops::mount::nodes::{Nodes, plain_directory};
use crate::store::Snapshot;
use std::collections::HashMap;

/// The directories, and which are snapshots.
pub(super) struct Doors {
    pub nodes: Nodes,
    /// The inodes that stand for snapshots, in the order of the snapshots; `None` for a name that cannot be.
    pub inodes: Vec<Option<u32>>,
}

impl Doors {
    /// Makes the directories.
    pub(super) fn new(snapshots: &[Snapshot]) -> Self {
        let mut newest: HashMap<EntryPath, i64> = HashMap::new();
        let paths: Vec<Option<EntryPath>> = snapshots.iter().map(path_of).collect();
        for (path, snapshot) in paths.iter().zip(snapshots) {
            let Some(path) = path else { continue };
            for at in path.ancestors().chain([path.clone()]) {
                let time = newest.entry(at).or_insert(snapshot.created_s);
                *time = snapshot.created_s.max(*time);
            }
        }
        let entries = newest.into_iter();
        let entries: Vec<Entry> = entries
            .map(|(path, time)| plain_directory(path, time))
            .collect();
        let nodes = Nodes::new(Tree::new(entries));
        let inodes = paths.iter().map(|path| inode(&nodes, path.as_ref()?));
        Self {
            inodes: inodes.collect(),
            nodes,
        }
    }
}

/// Returns the path of a snapshot; `None` for names that lead elsewhere.
fn path_of(snapshot: &Snapshot) -> Option<EntryPath> {
    let Snapshot {
        series, stage, id, ..
    } = snapshot;
    let name = format!("{}-{id}", rfc3339(snapshot.created_s));
    let path = EntryPath::from_slashed(format!("{series}/{stage}/{name}").as_bytes())?;
    (path.ancestors().count() == 3).then_some(path)
}

fn inode(nodes: &Nodes, path: &EntryPath) -> Option<u32> {
    let names = path.key().split(|byte| *byte == 0);
    names
        .into_iter()
        .try_fold(0, |at, name| nodes.child(at, name))
}
