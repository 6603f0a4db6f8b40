//! The paths that a scan has found, in order.

use crate::model::stamp::{Stat, StatKind, Time};
use crate::model::tree::path::EntryPath;
use std::ops::{Index, IndexMut, Range};

/// A path found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The path.
    pub path: EntryPath,
    /// The stat data; [`masked_stat`] for a masked path.
    pub stat: Stat,
    /// Why an empty directory or file of root's stands in for the path, neither opened nor recorded.
    pub masked: Option<Mask>,
}

/// The reason for not looking at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// A mount point.
    Mount,
    /// Kept empty by the policy.
    Policy,
}

impl Found {
    /// Tells whether the scan lists the path.
    pub(super) fn is_entered(&self) -> bool {
        self.masked.is_none() && self.stat.kind == StatKind::Directory
    }
}

/// All paths in order; the root itself comes first. Paths stay in the lists of the threads, since moving all into one list
/// would need the memory twice.
#[derive(Debug)]
pub(crate) struct Paths {
    /// For each thread the found paths.
    pub found: Vec<Vec<Found>>,
    /// For each path in order the thread and the place.
    pub order: Vec<(u32, u32)>,
}

impl Paths {
    /// Returns the number of paths.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns all paths in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Found> + Clone {
        self.range(0..self.len())
    }

    /// Returns a range of the paths in order.
    pub(crate) fn range(
        &self,
        places: Range<usize>,
    ) -> impl ExactSizeIterator<Item = &Found> + Clone {
        self.order[places]
            .iter()
            .map(|(thread, at)| &self.found[*thread as usize][*at as usize])
    }

    /// Returns the place of the directory that holds the path at `at`; `None` for the root.
    pub(crate) fn above(&self, at: usize) -> Option<usize> {
        let directory = self[at].path.parent_key()?;
        // The directory is not far before.
        let mut step = 1;
        let first = loop {
            let before = at.saturating_sub(step);
            if before == 0 || self[before].path.key() <= directory {
                break before;
            }
            step *= 2;
        };
        self.position_among(first..at, directory).ok()
    }

    /// Returns the place of each path; `None` for a path that was not found. `paths` come in order.
    pub(crate) fn positions<'p>(
        &self,
        paths: impl Iterator<Item = &'p EntryPath>,
    ) -> impl Iterator<Item = Option<usize>> {
        let mut next = 0;
        paths.map(move |path| {
            // The path is not far behind the previous path.
            let mut step = 1;
            while next + step < self.len() && self[next + step].path < *path {
                step *= 2;
            }
            let found = self.position_among(next..self.len().min(next + step + 1), path.key());
            next = found.unwrap_or_else(|next| next);
            found.ok()
        })
    }

    fn position_among(
        &self,
        places: Range<usize>,
        key: &[u8],
    ) -> std::result::Result<usize, usize> {
        let found = |&(thread, at): &(u32, u32)| &self.found[thread as usize][at as usize];
        let among = self.order[places.clone()].binary_search_by(|at| found(at).path.key().cmp(key));
        among
            .map(|among| places.start + among)
            .map_err(|among| places.start + among)
    }

    /// Returns the place of `path` in the order.
    pub(crate) fn position(&self, path: &EntryPath) -> Option<usize> {
        self.position_among(0..self.len(), path.key()).ok()
    }
}

impl Index<usize> for Paths {
    type Output = Found;

    fn index(&self, at: usize) -> &Found {
        let (thread, at) = self.order[at];
        &self.found[thread as usize][at as usize]
    }
}

impl IndexMut<usize> for Paths {
    fn index_mut(&mut self, at: usize) -> &mut Found {
        let (thread, at) = self.order[at];
        &mut self.found[thread as usize][at as usize]
    }
}

/// Takes paths in order.
impl From<Vec<Found>> for Paths {
    fn from(found: Vec<Found>) -> Self {
        Self {
            order: (0..found.len() as u32).map(|at| (0, at)).collect(),
            found: vec![found],
        }
    }
}

/// Returns the stat data of a masked path, the same for every cover.
pub(crate) fn masked_stat(kind: StatKind) -> Stat {
    Stat {
        kind,
        mode: if kind == StatKind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        nlink: 1,
        device: 0,
        inode: 0,
        size_bytes: 0,
        mtime: Time::default(),
        ctime: Time::default(),
    }
}
