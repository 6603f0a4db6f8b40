//! Stamps as the database has them: many in a row, in path order, each path without the start that the path before has
//! too (docs/format.md, "Stamps").
//!
//! Bytes that are no stamps end their row and never panic.

use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Mark, MarkKind, Time};
use crate::model::tree::entry::Xattrs;
use std::cmp::Ordering;

pub(crate) const OTHER: u8 = 0;
pub(crate) const FILE: u8 = 1;
pub(crate) const SYMLINK: u8 = 2;
/// Added to a kind.
pub(crate) const WITH_XATTRS: u8 = 4;
/// The path has no stamp any more, in spite of older rows. Nothing follows.
pub(crate) const GONE: u8 = 3;

/// Stamps in path order, as read: most are compared once and dropped.
#[derive(Debug, Default)]
pub struct Stamps {
    pub(crate) older: Rows,
    /// For a path in both, the newer row counts.
    pub(crate) newer: Rows,
}

/// Goes through stamps in path order.
#[derive(Debug)]
pub struct Reader<'r> {
    older: RowReader<'r>,
    newer: RowReader<'r>,
    /// Whether the last stamp is a newer one.
    is_newer: bool,
}

/// Rows of a level, in path order.
#[derive(Debug, Default)]
pub(crate) struct Rows(pub(crate) Vec<Box<[u8]>>);

/// Goes through rows of a level in path order.
#[derive(Debug)]
pub(crate) struct RowReader<'r> {
    rows: std::slice::Iter<'r, Box<[u8]>>,
    rest: &'r [u8],
    key: Vec<u8>,
    /// Whether the path was read, and its stamp was not.
    is_at_path: bool,
}

/// The content of a row for a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'r> {
    Stamp(Packed<'r>),
    Gone,
}

/// A stamp in its row.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'r> {
    /// The facts of the inode that must be the same still.
    pub(crate) mark: Mark,
    content: Option<&'r [u8; 32]>,
    target: &'r [u8],
    xattrs: &'r [u8],
    /// All bytes but the path.
    body: &'r [u8],
}

impl Stamps {
    /// Tells whether there are no stamps.
    pub fn is_empty(&self) -> bool {
        self.older.0.is_empty() && self.newer.0.is_empty()
    }

    /// Starts at the first.
    pub fn read(&self) -> Reader<'_> {
        Reader {
            older: self.older.read(),
            newer: self.newer.read(),
            is_newer: false,
        }
    }
}

impl Reader<'_> {
    /// Returns the ordered form of the path of the last returned stamp.
    pub fn key(&self) -> &[u8] {
        if self.is_newer {
            &self.newer.key
        } else {
            &self.older.key
        }
    }
}

impl<'r> Iterator for Reader<'r> {
    type Item = Packed<'r>;

    fn next(&mut self) -> Option<Packed<'r>> {
        loop {
            let order = match (self.newer.find(), self.older.find()) {
                (false, false) => return None,
                (false, true) => Ordering::Less,
                (true, false) => Ordering::Greater,
                (true, true) => self.older.key.cmp(&self.newer.key),
            };
            self.is_newer = order.is_ge();
            if order.is_eq() {
                self.older.take();
            }
            let level = if self.is_newer {
                &mut self.newer
            } else {
                &mut self.older
            };
            if let Some(Said::Stamp(stamp)) = level.take() {
                return Some(stamp);
            }
        }
    }
}

impl Rows {
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.0.push(row.into());
    }

    /// Returns the length of the rows.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|row| row.len() as u64).sum()
    }

    /// Starts at the first.
    pub(crate) fn read(&self) -> RowReader<'_> {
        RowReader {
            rows: self.0.iter(),
            rest: &[],
            key: Vec::new(),
            is_at_path: false,
        }
    }
}

impl<'r> RowReader<'r> {
    /// Goes to the next path, unless the stamp of the current path was not taken yet. Tells whether there is a path.
    pub(crate) fn find(&mut self) -> bool {
        while !self.is_at_path {
            while self.rest.is_empty() {
                let Some(row) = self.rows.next() else {
                    return false;
                };
                self.rest = row;
                self.key.clear();
            }
            match split_key(&mut self.rest, &mut self.key) {
                Some(()) => self.is_at_path = true,
                None => self.rest = &[],
            }
        }
        true
    }

    /// Returns the ordered form of the path.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Returns the stamp of the path, if the bytes can be read.
    pub(crate) fn take(&mut self) -> Option<Said<'r>> {
        self.is_at_path = false;
        if split_gone(&mut self.rest) {
            return Some(Said::Gone);
        }
        let stamp = split_stamp(&mut self.rest);
        if stamp.is_none() {
            self.rest = &[];
        }
        stamp.map(Said::Stamp)
    }
}

impl<'r> Said<'r> {
    /// All bytes but the path.
    pub(crate) fn body(&self) -> &'r [u8] {
        match self {
            Self::Stamp(stamp) => stamp.body,
            Self::Gone => &[GONE],
        }
    }
}

impl Packed<'_> {
    /// Returns the facts that were costly to find out.
    pub fn facts(&self) -> Facts {
        Facts {
            content: self.content.map(|hash| ContentHash(*hash)),
            target: self.target.into(),
            xattrs: Xattrs::from_bytes(self.xattrs).unwrap_or_default(), // checked when split off
        }
    }
}

/// Replaces the path before by the path at the start of `rest`.
fn split_key(rest: &mut &[u8], key: &mut Vec<u8>) -> Option<()> {
    let common = usize::from(split_number(rest, u16::from_le_bytes)?);
    let length = usize::from(split_number(rest, u16::from_le_bytes)?);
    let end = rest.split_off(..length)?;
    if common > key.len() {
        return None;
    }
    key.truncate(common);
    key.extend_from_slice(end);
    Some(())
}

/// Tells whether the path has no stamp any more.
fn split_gone(rest: &mut &[u8]) -> bool {
    let after = rest.strip_prefix(&[GONE]);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn split_stamp<'r>(rest: &mut &'r [u8]) -> Option<Packed<'r>> {
    let start = *rest;
    let [flags] = *split_chunk(rest)?;
    let kind = match flags & !WITH_XATTRS {
        OTHER => MarkKind::Other,
        FILE => MarkKind::File,
        SYMLINK => MarkKind::Symlink,
        _ => return None,
    };
    let mark = split_mark(rest, kind)?;
    let (content, target) = match kind {
        MarkKind::Other => (None, &[][..]),
        MarkKind::File => (Some(split_chunk(rest)?), &[][..]),
        MarkKind::Symlink => (None, split_bytes(rest)?),
    };
    let has_xattrs = flags & WITH_XATTRS != 0;
    let xattrs = if has_xattrs { split_bytes(rest)? } else { &[] };
    Xattrs::from_bytes(xattrs)?;
    Some(Packed {
        mark,
        content,
        target,
        xattrs,
        body: &start[..start.len() - rest.len()],
    })
}

fn split_mark(rest: &mut &[u8], kind: MarkKind) -> Option<Mark> {
    let inode = split_number(rest, u64::from_le_bytes)?;
    let size_bytes = split_number(rest, u64::from_le_bytes)?;
    let mtime = split_time(rest)?;
    let ctime = split_time(rest)?;
    let mode = split_number(rest, u16::from_le_bytes)?;
    let uid = split_number(rest, u32::from_le_bytes)?;
    let gid = split_number(rest, u32::from_le_bytes)?;
    Some(Mark {
        kind,
        inode,
        size_bytes,
        mtime,
        ctime,
        owner: (mode, uid, gid),
    })
}

fn split_chunk<'r, const N: usize>(rest: &mut &'r [u8]) -> Option<&'r [u8; N]> {
    let (chunk, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(chunk)
}

fn split_number<T, const N: usize>(rest: &mut &[u8], read: fn([u8; N]) -> T) -> Option<T> {
    split_chunk(rest).map(|chunk| read(*chunk))
}

fn split_time(rest: &mut &[u8]) -> Option<Time> {
    let seconds = split_number(rest, i64::from_le_bytes)?;
    Some(Time {
        seconds,
        nanos: split_number(rest, u32::from_le_bytes)?,
    })
}

fn split_bytes<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = split_number(rest, u32::from_le_bytes)?;
    rest.split_off(..length as usize)
}
