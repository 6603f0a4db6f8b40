//! A row of stamps as it is put together (docs/format.md, "Stamps").

use crate::model::digest::ContentHash;
use crate::model::stamp::{Mark, MarkKind, Stamp};
use crate::store::stamps::rows::{FILE, OTHER, SYMLINK, Said, WITH_XATTRS};

/// A row with more bytes becomes two rows: a changed stamp writes the whole row, and each row has a cost.
const MOST_BYTES: usize = 64 << 10;

/// A row that is being put together.
#[derive(Debug, Default)]
pub(crate) struct NewRow {
    /// The path of the first stamp.
    first: Vec<u8>,
    bytes: Vec<u8>,
    /// The path of the last stamp.
    last: Vec<u8>,
    /// The offset at which the row can be cut in two, and the path at the offset.
    middle: Option<(usize, Vec<u8>)>,
}

impl NewRow {
    /// Takes off the first half of a row that has become too long, with the first path; `None` for a shorter row.
    pub(crate) fn split_off(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (at, key) = self.middle.take_if(|_| self.bytes.len() > MOST_BYTES)?;
        let rest = self.bytes.split_off(at);
        Some((
            std::mem::replace(&mut self.first, key),
            std::mem::replace(&mut self.bytes, rest),
        ))
    }

    /// Returns the row, with the first path; `None` for an empty row.
    pub(crate) fn rest(self) -> Option<(Vec<u8>, Vec<u8>)> {
        (!self.bytes.is_empty()).then_some((self.first, self.bytes))
    }

    /// Returns the length of the row in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the stamp, or the mark of a removal, that another row has for `key`, a path after the last.
    pub(crate) fn keep(&mut self, key: &[u8], said: Said) {
        if self.push_key(key) {
            self.bytes.extend_from_slice(said.body());
        }
    }

    /// Adds the stamp of `key`, a path after the last. Tells whether the row has the stamp: a stamp without the facts of
    /// the kind would vouch for nothing and is left out.
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
        let xattrs_flag = if has_xattrs { WITH_XATTRS } else { 0 };
        self.bytes.push(kind | xattrs_flag);
        self.push_mark(mark);
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

    /// Adds the numbers of a mark, at fixed places in the stamp.
    fn push_mark(&mut self, mark: &Mark) {
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
    }

    /// Adds a path, without the start that the path before has too. Tells whether the path fits into a row: the kernel
    /// takes no path that is too long (PATH_MAX).
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
    use crate::model::stamp::{Facts, Stat, StatKind, Time};
    use crate::model::tree::entry::Xattrs;
    use crate::store::stamps::rows::{Rows, Stamps};

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
