//! Stamps as the database has them: many in a row, in path order, each path without what it begins with like the one
//! before (docs/format.md, "Stamps").
//!
//! Bytes that are no stamps end their row and never panic.

use crate::model::digest::ContentHash;
use crate::model::stamp::{Facts, Mark, MarkKind, Stamp, Time};
use crate::model::tree::entry::Xattrs;
use std::cmp::Ordering;

/// A row with more bytes becomes two: what is written where one stamp changes, against what each row costs.
const MOST_BYTES: usize = 64 << 10;

const OTHER: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
/// Added to one of these.
const WITH_XATTRS: u8 = 4;
/// The path has no stamp any more, whatever older rows say. Nothing follows.
const GONE: u8 = 3;

/// Stamps in path order, as they were read: most are compared once and dropped.
#[derive(Debug, Default)]
pub struct Stamps {
    pub(crate) older: Rows,
    /// What these say of a path counts, whatever the older ones say of it.
    pub(crate) newer: Rows,
}

/// Goes through stamps in path order.
#[derive(Debug)]
pub struct Reader<'r> {
    older: RowReader<'r>,
    newer: RowReader<'r>,
    /// Which of them the last stamp is of.
    is_newer: bool,
}

/// Rows of one level, in path order.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Box<[u8]>>);

/// Goes through rows of one level in path order.
#[derive(Debug)]
pub(crate) struct RowReader<'r> {
    rows: std::slice::Iter<'r, Box<[u8]>>,
    rest: &'r [u8],
    key: Vec<u8>,
    /// The path was read, and what is said of it was not.
    is_at_path: bool,
}

/// What a row says of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'r> {
    Stamp(Packed<'r>),
    Gone,
}

/// A stamp in its row.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'r> {
    /// What must be the same still.
    pub mark: Mark,
    content: Option<&'r [u8; 32]>,
    target: &'r [u8],
    xattrs: &'r [u8],
    /// All of it but for the path.
    body: &'r [u8],
}

impl Stamps {
    /// Tells whether there are none.
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
    /// Returns the ordered form of the path of the last stamp that was returned.
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

    /// Returns how long they are.
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
    /// Goes to the next path, unless what is said of this one was not taken yet. Tells whether there is one.
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

    /// Returns what is said of the path, if that can be read.
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
    /// All of it but for the path.
    fn body(&self) -> &'r [u8] {
        match self {
            Self::Stamp(stamp) => stamp.body,
            Self::Gone => &[GONE],
        }
    }
}

impl Packed<'_> {
    /// Returns what was found out.
    pub fn facts(&self) -> Facts {
        Facts {
            content: self.content.map(|hash| ContentHash(*hash)),
            target: self.target.into(),
            xattrs: Xattrs::from_bytes(self.xattrs).unwrap_or_default(), // it was looked at when it was split off
        }
    }
}

/// Replaces the path before by the one that stands at the start of `rest`.
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
    let [kind] = *split_chunk(rest)?;
    let inode = split_number(rest, u64::from_le_bytes)?;
    let size_bytes = split_number(rest, u64::from_le_bytes)?;
    let mtime = split_time(rest)?;
    let ctime = split_time(rest)?;
    let mode = split_number(rest, u16::from_le_bytes)?;
    let uid = split_number(rest, u32::from_le_bytes)?;
    let gid = split_number(rest, u32::from_le_bytes)?;
    let (kind, with_xattrs) = (kind & !WITH_XATTRS, kind & WITH_XATTRS != 0);
    let (kind, content, target) = match kind {
        OTHER => (MarkKind::Other, None, &[][..]),
        FILE => (MarkKind::File, Some(split_chunk(rest)?), &[][..]),
        SYMLINK => (MarkKind::Symlink, None, split_bytes(rest)?),
        _ => return None,
    };
    let xattrs = if with_xattrs { split_bytes(rest)? } else { &[] };
    Xattrs::from_bytes(xattrs)?;
    let mark = Mark {
        kind,
        inode,
        size_bytes,
        mtime,
        ctime,
        owner: (mode, uid, gid),
    };
    Some(Packed {
        mark,
        content,
        target,
        xattrs,
        body: &start[..start.len() - rest.len()],
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

/// A row that is being put together.
#[derive(Debug, Default)]
pub(crate) struct NewRow {
    /// The path of its first stamp.
    first: Vec<u8>,
    bytes: Vec<u8>,
    /// The path of its last stamp.
    last: Vec<u8>,
    /// Where it can be cut in two, and the path there.
    middle: Option<(usize, Vec<u8>)>,
}

impl NewRow {
    /// Returns the first half, with its first path, where it has become too long.
    pub(crate) fn split_off(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (at, key) = self.middle.take_if(|_| self.bytes.len() > MOST_BYTES)?;
        let rest = self.bytes.split_off(at);
        Some((
            std::mem::replace(&mut self.first, key),
            std::mem::replace(&mut self.bytes, rest),
        ))
    }

    /// Returns what is left, with its first path, if there is any.
    pub(crate) fn rest(self) -> Option<(Vec<u8>, Vec<u8>)> {
        (!self.bytes.is_empty()).then_some((self.first, self.bytes))
    }

    /// Returns how long it is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds what another row says of a path that comes after those that are there.
    pub(crate) fn keep(&mut self, key: &[u8], said: Said) {
        if self.push_key(key) {
            self.bytes.extend_from_slice(said.body());
        }
    }

    /// Adds a stamp whose path comes after those that are there. One without its facts would vouch for nothing: tells whether
    /// there is a stamp.
    pub(crate) fn push(&mut self, key: &[u8], stamp: &Stamp) -> bool {
        let Stamp { mark, facts } = stamp;
        let kind = match (mark.kind, facts.content) {
            (MarkKind::File, Some(_)) => FILE,
            (MarkKind::Symlink, None) => SYMLINK,
            (MarkKind::Other, None) => OTHER,
            _ => return false,
        };
        if !self.push_key(key) {
            return false;
        }
        let has_xattrs = !facts.xattrs.is_empty();
        self.bytes
            .push(kind | if has_xattrs { WITH_XATTRS } else { 0 });
        self.bytes.extend_from_slice(&mark.inode.to_le_bytes());
        self.bytes.extend_from_slice(&mark.size_bytes.to_le_bytes());
        for time in [mark.mtime, mark.ctime] {
            self.bytes.extend_from_slice(&time.seconds.to_le_bytes());
            self.bytes.extend_from_slice(&time.nanos.to_le_bytes());
        }
        let (mode, uid, gid) = mark.owner;
        self.bytes.extend_from_slice(&mode.to_le_bytes());
        self.bytes.extend_from_slice(&uid.to_le_bytes());
        self.bytes.extend_from_slice(&gid.to_le_bytes());
        if let Some(ContentHash(hash)) = &facts.content {
            self.bytes.extend_from_slice(hash);
        }
        if kind == SYMLINK {
            self.push_bytes(&facts.target);
        }
        if has_xattrs {
            self.push_bytes(&facts.xattrs.to_bytes());
        }
        true
    }

    /// Fails where the path is too long for a row; the kernel knows none that is (PATH_MAX).
    fn push_key(&mut self, key: &[u8]) -> bool {
        let Ok(length) = u16::try_from(key.len()) else {
            return false;
        };
        if self.bytes.is_empty() {
            self.first = key.to_owned();
            self.last.clear();
        } else if self.middle.is_none() && self.bytes.len() >= MOST_BYTES / 2 {
            self.middle = Some((self.bytes.len(), key.to_owned()));
            self.last.clear();
        }
        let common = self
            .last
            .iter()
            .zip(key)
            .take_while(|(a, b)| a == b)
            .count();
        let common_length = common as u16; // at most `length`
        self.bytes.extend_from_slice(&common_length.to_le_bytes());
        self.bytes
            .extend_from_slice(&(length - common_length).to_le_bytes());
        self.bytes.extend_from_slice(&key[common..]);
        self.last.truncate(common);
        self.last.extend_from_slice(&key[common..]);
        true
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stamp::{Stat, StatKind};

    fn stamp(kind: StatKind, inode: u64, facts: Facts) -> Stamp {
        let (early, now) = (
            Time {
                seconds: -1,
                nanos: 5,
            },
            Time {
                seconds: i64::MAX,
                nanos: 0,
            },
        );
        let stat = Stat {
            kind,
            mode: 0o4755,
            uid: u32::MAX,
            gid: 7,
            nlink: 1,
            device: 1,
            inode,
            size_bytes: u64::MAX,
            mtime: early,
            ctime: Time {
                seconds: 9,
                nanos: 999_999_999,
            },
        };
        Stamp::new(&stat, now, &facts).unwrap()
    }

    fn several() -> Vec<(Vec<u8>, Stamp)> {
        let pair = |name: &[u8], value: &[u8]| (name.into(), value.into());
        let xattrs = Xattrs::new(vec![pair(b"user.a", b""), pair(b"user.b", b"\0v")]);
        let content = Some(ContentHash([3; 32]));
        let facts = [
            (StatKind::Directory, Facts::default()),
            (
                StatKind::Directory,
                Facts {
                    xattrs: xattrs.clone(),
                    ..Facts::default()
                },
            ),
            (
                StatKind::File,
                Facts {
                    content,
                    ..Facts::default()
                },
            ),
            (
                StatKind::File,
                Facts {
                    content,
                    xattrs: xattrs.clone(),
                    ..Facts::default()
                },
            ),
            (
                StatKind::Symlink,
                Facts {
                    target: (*b"../t").into(),
                    xattrs,
                    ..Facts::default()
                },
            ),
            (StatKind::Fifo, Facts::default()),
        ];
        let keys = [
            &b""[..],
            b"usr",
            b"usr\0bin",
            b"usr\0bin\0x",
            b"usr\0bi\xff",
            b"v",
        ];
        let all = keys.into_iter().zip(facts).zip(1..);
        all.map(|((key, (kind, facts)), inode)| (key.to_owned(), stamp(kind, inode, facts)))
            .collect()
    }

    fn read(row: &[u8]) -> Vec<(Vec<u8>, Stamp)> {
        let stamps = Stamps {
            older: Rows(vec![row.into()]),
            newer: Rows::default(),
        };
        let mut reader = stamps.read();
        let mut all = Vec::new();
        while let Some(packed) = reader.next() {
            all.push((
                reader.key().to_owned(),
                Stamp {
                    mark: packed.mark,
                    facts: packed.facts(),
                },
            ));
        }
        all
    }

    #[test]
    fn what_is_packed_reads_back_also_from_a_row_that_it_was_copied_to() {
        let (mut row, mut copy) = (NewRow::default(), NewRow::default());
        assert!(several().iter().all(|(key, stamp)| row.push(key, stamp)));
        assert_eq!(read(&row.bytes), several());
        let rows = Rows(vec![row.bytes.clone().into()]);
        let mut reader = rows.read();
        while reader.find() {
            let said = reader.take().unwrap();
            copy.keep(reader.key(), said);
        }
        assert_eq!((&copy.first, &copy.bytes), (&row.first, &row.bytes));
    }

    #[test]
    fn a_cut_row_gives_the_stamps_before_the_cut_and_no_row_makes_it_panic() {
        let mut row = NewRow::default();
        assert!(several().iter().all(|(key, stamp)| row.push(key, stamp)));
        for cut in 0..row.bytes.len() {
            let found = read(&row.bytes[..cut]);
            assert_eq!(found, several()[..found.len()], "{cut}");
            assert!(found.len() < several().len());
        }
        for at in 0..row.bytes.len() {
            for bit in 0..8 {
                let mut other = row.bytes.clone();
                other[at] ^= 1 << bit;
                read(&other);
            }
        }
    }

    #[test]
    fn a_row_that_becomes_too_long_is_cut_in_two_that_read_alike() {
        let (_, stamp) = &several()[2];
        let keys: Vec<Vec<u8>> = (0..3000)
            .map(|n| format!("usr\0{n:05}").into_bytes())
            .collect();
        let (mut row, mut found) = (NewRow::default(), Vec::new());
        for key in &keys {
            assert!(row.push(key, stamp));
            found.extend(row.split_off());
        }
        found.extend(row.rest());
        assert!(found.len() > 2);
        assert!(
            found
                .iter()
                .all(|(_, bytes)| (MOST_BYTES / 3..=MOST_BYTES).contains(&bytes.len()))
        );
        let read: Vec<_> = found.iter().map(|(_, bytes)| read(bytes)).collect();
        assert!(
            read.iter()
                .zip(&found)
                .all(|(stamps, (first, _))| stamps[0].0 == *first)
        );
        assert_eq!(
            read.concat()
                .into_iter()
                .map(|(key, _)| key)
                .collect::<Vec<_>>(),
            keys
        );
    }

    #[test]
    fn a_path_that_is_too_long_has_no_stamp() {
        let mut row = NewRow::default();
        let (_, stamp) = &several()[0];
        assert!(!row.push(&vec![b'x'; 70_000], stamp));
        assert!(row.bytes.is_empty());
    }
}
