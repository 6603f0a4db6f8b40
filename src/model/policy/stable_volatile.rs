//! The stable and the volatile tree of a root. Pure.

use crate::model::digest::ContentHash;
use crate::model::tree::Tree;
use crate::model::tree::entry::{Entry, FileContent, Group, Kind, Xattrs};
use crate::model::tree::path::EntryPath;

/// The two sides of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StableVolatile<C = ContentHash> {
    /// What two installs of the same packages have alike.
    pub stable: Tree<C>,
    /// What the policy counts as volatile, and what lies over stable paths.
    pub volatile: Tree<C>,
    /// Stable paths on which something is mounted, in path order; they stand in `stable` as empty.
    pub mounts: Vec<EntryPath>,
}

/// The content and the extended attributes of a file that was pending.
#[derive(Debug)]
pub(crate) struct Resolved<'f> {
    /// The file.
    pub path: &'f EntryPath,
    /// The hash of its content.
    pub content: ContentHash,
    /// The extended attributes that its entry gets.
    pub xattrs: Xattrs,
}

impl StableVolatile<FileContent> {
    /// Gives the pending files what was read, `resolved` in path order; one of both sides is one file. Fails with the path of a file that is pending still.
    pub(crate) fn resolve<'f>(
        self,
        resolved: impl Iterator<Item = Resolved<'f>>,
    ) -> std::result::Result<StableVolatile, EntryPath> {
        let mut resolved = resolved.peekable();
        let stable = self.stable.try_map(|mut entry| {
            if entry.is_pending() {
                while resolved.next_if(|file| *file.path < entry.path).is_some() {}
                if let Some(file) = resolved.next_if(|file| *file.path == entry.path) {
                    entry.resolve(file.content, file.xattrs);
                }
            }
            entry.into_known()
        })?;
        let volatile = self.volatile.try_map(|mut entry| {
            let same = stable.position(&entry.path).map(|at| &stable.entries()[at]);
            if let Some(same) = same.filter(|_| entry.is_pending())
                && let Kind::File { content, .. } = same.kind
            {
                entry.resolve(content, same.xattrs.clone());
            }
            entry.into_known()
        })?;
        Ok(StableVolatile {
            stable,
            volatile,
            mounts: self.mounts,
        })
    }

    /// Returns the sides where every file has been read. Fails with the path of a pending file.
    pub(crate) fn into_known(self) -> std::result::Result<StableVolatile, EntryPath> {
        self.resolve(std::iter::empty())
    }
}

impl<C> StableVolatile<C>
where
    Entry<C>: From<Entry>,
{
    /// Takes what `below` has at each mount point, and beneath it, for what is under the mount: what cannot be seen
    /// has left the scope, and counts as unchanged and not as deleted.
    pub(crate) fn keep_below_mounts(&mut self, below: &Tree) {
        let is_kept = |at: &&EntryPath| below.position(at).is_some();
        let kept: Vec<&EntryPath> = self.mounts.iter().filter(is_kept).collect();
        if kept.is_empty() {
            return;
        }
        let mut entries = std::mem::take(&mut self.stable).into_entries();
        entries.retain(|entry| kept.binary_search(&&entry.path).is_err());
        let next_group = entries
            .iter()
            .filter_map(|entry| entry.group)
            .map(|Group(number)| number + 1)
            .max();
        for mount in kept {
            let hidden = below
                .entries()
                .iter()
                .filter(|entry| entry.path == *mount || entry.path.is_beneath(mount));
            let regroup = |Group(number): Group| Group(number + next_group.unwrap_or(0));
            entries.extend(hidden.map(|entry| {
                let mut entry = Entry::<C>::from(entry.clone());
                entry.group = entry.group.map(regroup);
                entry
            }));
        }
        self.stable = Tree::new(entries);
    }

    /// Takes directories that were on the volatile side for what is under a mount, as far as the stable side has them now.
    pub(crate) fn keep_apart_below_mounts(&mut self, apart: &Tree) {
        let is_below = |entry: &&Entry| {
            let mut mounts = self.mounts.iter();
            mounts.any(|mount| entry.path == *mount || entry.path.is_beneath(mount))
        };
        let is_there = |entry: &&Entry| self.stable.position(&entry.path).is_some();
        let kept = apart.entries().iter().filter(is_below).filter(is_there);
        let kept: Vec<Entry<C>> = kept.cloned().map(Entry::<C>::from).collect();
        if kept.is_empty() {
            return;
        }
        let mut entries = std::mem::take(&mut self.volatile).into_entries();
        entries.extend(kept);
        self.volatile = Tree::new(entries);
    }
}
