//! The two levels of a root's stamps: the table `stamp`, and `newer_stamp` with later changes. So the cost of changing
//! some stamps grows with the change, and not with the root.
//!
//! A newer row counts for its paths. Where a newer row is lost, the older stamp speaks again. The older stamp was true
//! once, and vouches only for a path with the same inode, size, times, mode and owner, as any stamp does. But all
//! stamps together may then be of another tree than the root's row says, so the sum of the root's row covers the sums
//! of the newer rows (`a_newer_row_that_is_lost_is_missed`). A stamp that turned out untrue is removed from both
//! levels: no loss brings the stamp back (`what_was_forgotten_stays_forgotten_whatever_is_lost`).

use crate::model::stamp::Stamp;
use crate::store::records::seal::sum;
use crate::store::stamps::new_row::NewRow;
use crate::store::stamps::rows::{Packed, RowReader, Rows, Said, Stamps};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::borrow::Cow;
use std::iter::Peekable;

/// The newer rows have at most this part of the older rows' bytes; then both are put together. A larger part would
/// make each change and each reader handle more bytes twice, a smaller part would write all rows more often.
const PART: u64 = 8;

/// Returns the stamps of a root, and whether all rows are as they were written. Fails if SQLite cannot read a row; a
/// row with a wrong sum is left out.
pub(crate) fn load(connection: &Connection, root_id: i64) -> rusqlite::Result<(Stamps, bool)> {
    let (older, is_older_sound) = Level {
        connection,
        table: OLDER,
        root_id,
    }
    .load()?;
    let (newer, is_newer_sound) = Level {
        connection,
        table: NEWER,
        root_id,
    }
    .load()?;
    Ok((Stamps { older, newer }, is_older_sound && is_newer_sound))
}

/// Returns the sums that a root's newer rows have, in the order of paths. Fails if SQLite cannot read the newer rows.
pub(crate) fn newer_sums(connection: &Connection, root_id: i64) -> rusqlite::Result<Vec<i64>> {
    let mut query = connection
        .prepare_cached("SELECT sum FROM newer_stamp WHERE root_id = ? ORDER BY first")?;
    query.query_map([root_id], |row| row.get(0))?.collect()
}

/// Changes the stamps of the given paths; `None` removes a stamp. Each path out of order costs a row. Tells whether all
/// rows on the way were as they were written. Fails if a row cannot be read or replaced; then some of the changes may
/// be in the transaction.
pub(crate) fn change<'a>(
    connection: &Connection,
    root_id: i64,
    changes: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
) -> rusqlite::Result<bool> {
    let mut changes = changes.map(change_of).peekable();
    let older = Level {
        connection,
        table: OLDER,
        root_id,
    };
    let newer = Level {
        connection,
        table: NEWER,
        root_id,
    };
    let most_bytes = older.bytes()? / PART;
    let written = newer.write(&mut changes, newer.bytes()?, most_bytes)?;
    if changes.peek().is_some() || written.bytes > most_bytes {
        return Ok(unite(older, newer, changes)? && written.is_sound);
    }
    Ok(written.is_sound)
}

/// As [`change`], but leaves no older stamp that would speak again after the loss of a newer stamp. Fails if a row of
/// either level cannot be read or replaced.
pub(crate) fn change_whole<'a>(
    connection: &Connection,
    root_id: i64,
    changes: impl Iterator<Item = (&'a [u8], Option<Stamp>)>,
) -> rusqlite::Result<bool> {
    let level = |table| Level {
        connection,
        table,
        root_id,
    };
    unite(
        level(OLDER),
        level(NEWER),
        changes.map(change_of).peekable(),
    )
}

fn change_of((key, stamp): (&[u8], Option<Stamp>)) -> (Cow<'_, [u8]>, Change<'_>) {
    (Cow::Borrowed(key), stamp.map_or(Change::Gone, Change::New))
}

/// Puts the newer stamps and the changes after them into the older stamps. Tells whether all rows were as they were
/// written.
fn unite<'a>(
    older: Level,
    newer: Level,
    changes: Peekable<impl Iterator<Item = (Cow<'a, [u8]>, Change<'a>)>>,
) -> rusqlite::Result<bool> {
    let (rows, is_sound) = newer.load()?;
    newer.clear()?;
    let all = older.write(&mut merged(rows.read(), changes).peekable(), 0, u64::MAX)?;
    Ok(is_sound && all.is_sound)
}

/// Removes both stamps of a path, the newer and the older. Fails if the rows of the path cannot be read, or written
/// again without the path.
pub(crate) fn forget(connection: &Connection, root_id: i64, key: &[u8]) -> rusqlite::Result<()> {
    for table in [OLDER, NEWER] {
        let level = Level {
            connection,
            table,
            root_id,
        };
        let (rows, _, _) = level.take_row(key)?;
        let (mut rows, mut new) = (rows.read(), Writer::new(level, 0));
        while rows.find() {
            if rows.key() == key {
                rows.take();
            } else {
                new.keep(&mut rows)?
            }
        }
        new.finish()?;
    }
    Ok(())
}

/// Removes all stamps of a root. Fails if SQLite cannot delete the rows of either level.
pub(crate) fn clear(connection: &Connection, root_id: i64) -> rusqlite::Result<()> {
    [OLDER, NEWER].into_iter().try_for_each(|table| {
        Level {
            connection,
            table,
            root_id,
        }
        .clear()
    })
}

/// Removes the damaged rows of a root. Fails if SQLite cannot read a row to tell whether the row is damaged, or cannot
/// delete the row.
pub(crate) fn sweep(connection: &Connection, root_id: i64) -> rusqlite::Result<()> {
    [OLDER, NEWER].into_iter().try_for_each(|table| {
        Level {
            connection,
            table,
            root_id,
        }
        .sweep()
    })
}

/// The fate of the stamp of a path.
enum Change<'r> {
    New(Stamp),
    Moved(Packed<'r>),
    Gone,
}

/// Newer stamps with later changes, in the order of paths as far as the changes are in order.
fn merged<'r, 'a: 'r>(
    mut newer: RowReader<'r>,
    mut changes: Peekable<impl Iterator<Item = (Cow<'a, [u8]>, Change<'a>)>>,
) -> impl Iterator<Item = (Cow<'r, [u8]>, Change<'r>)> {
    std::iter::from_fn(move || {
        while newer.find() {
            let order = changes.peek().map(|(key, _)| (**key).cmp(newer.key()));
            if order.is_some_and(|order| order.is_lt()) {
                break;
            }
            let key = newer.key().to_owned();
            let said = newer.take();
            match said.filter(|_| order.is_none_or(|order| order.is_gt())) {
                None => {} // changed since, or no stamp
                Some(Said::Stamp(stamp)) => return Some((key.into(), Change::Moved(stamp))),
                Some(Said::Gone) => return Some((key.into(), Change::Gone)),
            }
        }
        changes.next()
    })
}

/// The table of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table(&'static str);

const OLDER: Table = Table("stamp");
const NEWER: Table = Table("newer_stamp");

/// The rows of a root in a table.
#[derive(Clone, Copy, Debug)]
struct Level<'c> {
    connection: &'c Connection,
    table: Table,
    root_id: i64,
}

/// The outcome of writing rows of a level.
struct Written {
    /// Of all rows of the level.
    bytes: u64,
    /// Whether no row on the way was damaged.
    is_sound: bool,
}

impl<'c> Level<'c> {
    /// Returns the sound rows, and whether no row is damaged.
    fn load(self) -> rusqlite::Result<(Rows, bool)> {
        let Table(table) = self.table;
        let query =
            format!("SELECT first, sum, stamps FROM {table} WHERE root_id = ? ORDER BY first");
        let mut query = self.connection.prepare_cached(&query)?;
        let mut found = query.query([self.root_id])?;
        let (mut rows, mut is_sound) = (Rows::default(), true);
        while let Some(row) = found.next()? {
            match sound(row)? {
                Some(row) => rows.push(row),
                None => is_sound = false,
            }
        }
        Ok((rows, is_sound))
    }

    fn bytes(self) -> rusqlite::Result<u64> {
        let Table(table) = self.table;
        let query =
            format!("SELECT coalesce(sum(length(stamps)), 0) FROM {table} WHERE root_id = ?");
        self.connection
            .prepare_cached(&query)?
            .query_row([self.root_id], |row| row.get(0))
    }

    /// Rewrites each row in which a path changes, until the level has `most_bytes`; before, the level has `bytes`.
    fn write<'a>(
        self,
        changes: &mut Peekable<impl Iterator<Item = (Cow<'a, [u8]>, Change<'a>)>>,
        bytes: u64,
        most_bytes: u64,
    ) -> rusqlite::Result<Written> {
        let mut written = Written {
            bytes,
            is_sound: true,
        };
        while written.bytes < most_bytes
            && let Some((first, _)) = changes.peek()
        {
            let (old, end, is_sound) = self.take_row(first)?;
            written.is_sound &= is_sound;
            let mut new = Writer::new(self, written.bytes.saturating_sub(old.bytes()));
            let mut old = old.read();
            let mut last: Option<Cow<[u8]>> = None;
            let follows = |key: &[u8], last: Option<&[u8]>| {
                last.is_none_or(|last| last < key) && end.as_deref().is_none_or(|end| key < end)
            };
            while new.bytes() < most_bytes
                && let Some((key, change)) =
                    changes.next_if(|(key, _)| follows(key, last.as_deref()))
            {
                while old.find() && old.key() < &*key {
                    new.keep(&mut old)?;
                }
                if old.find() && old.key() == &*key {
                    old.take();
                }
                new.push(&key, change)?;
                last = Some(key);
            }
            while old.find() {
                new.keep(&mut old)?;
            }
            written.bytes = new.finish()?;
        }
        Ok(written)
    }

    /// Takes out the row of a path. Returns the row, where the next row begins, and whether the row was sound; a
    /// damaged row counts as empty.
    fn take_row(self, key: &[u8]) -> rusqlite::Result<(Rows, Option<Vec<u8>>, bool)> {
        let (
            Table(table),
            Self {
                connection,
                root_id,
                ..
            },
        ) = (self.table, self);
        let query = format!(
            "SELECT first, sum, stamps FROM {table} WHERE root_id = ? AND first <= ? ORDER BY first DESC LIMIT 1"
        );
        let found = connection
            .prepare_cached(&query)?
            .query_row(params![root_id, key], |row| {
                let (mut rows, sound) = (Rows::default(), sound(row)?);
                sound.into_iter().for_each(|sound| rows.push(sound));
                Ok((row.get::<_, Vec<u8>>(0)?, rows, sound.is_some()))
            });
        let (rows, is_sound) = match found.optional()? {
            None => (Rows::default(), true),
            Some((first, rows, is_sound)) => {
                self.delete(&first)?;
                (rows, is_sound)
            }
        };
        let query = format!(
            "SELECT first FROM {table} WHERE root_id = ? AND first > ? ORDER BY first LIMIT 1"
        );
        let end = connection
            .prepare_cached(&query)?
            .query_row(params![root_id, key], |row| row.get(0));
        Ok((rows, end.optional()?, is_sound))
    }

    fn insert(self, first: &[u8], stamps: &[u8]) -> rusqlite::Result<()> {
        let Table(table) = self.table;
        let mut insert = self
            .connection
            .prepare_cached(&format!("INSERT INTO {table} VALUES (?, ?, ?, ?)"))?;
        insert
            .execute(params![self.root_id, first, sum([first, stamps]), stamps])
            .map(drop)
    }

    fn delete(self, first: &[u8]) -> rusqlite::Result<()> {
        let Table(table) = self.table;
        let query = format!("DELETE FROM {table} WHERE root_id = ? AND first = ?");
        self.connection
            .prepare_cached(&query)?
            .execute(params![self.root_id, first])
            .map(drop)
    }

    fn clear(self) -> rusqlite::Result<()> {
        let Table(table) = self.table;
        let query = format!("DELETE FROM {table} WHERE root_id = ?");
        self.connection
            .prepare_cached(&query)?
            .execute([self.root_id])
            .map(drop)
    }

    fn sweep(self) -> rusqlite::Result<()> {
        let Table(table) = self.table;
        let query = format!("SELECT first, sum, stamps FROM {table} WHERE root_id = ?");
        let mut query = self.connection.prepare_cached(&query)?;
        let first = |row: &Row| Ok(sound(row)?.is_none().then_some(row.get::<_, Vec<u8>>(0)?));
        let damaged: Vec<_> = query
            .query_map([self.root_id], first)?
            .collect::<rusqlite::Result<_>>()?;
        damaged
            .iter()
            .flatten()
            .try_for_each(|first| self.delete(first))
    }
}

/// Writes rows of a level, in order.
struct Writer<'c> {
    level: Level<'c>,
    /// Bytes of the level's rows.
    bytes: u64,
    new: NewRow,
}

impl<'c> Writer<'c> {
    /// Starts with a level whose rows have `bytes`.
    fn new(level: Level<'c>, bytes: u64) -> Self {
        Self {
            level,
            bytes,
            new: NewRow::default(),
        }
    }

    /// Returns the bytes of the level's rows, unwritten stamps included.
    fn bytes(&self) -> u64 {
        self.bytes + self.new.len() as u64
    }

    /// Keeps a path of a row taken out.
    fn keep(&mut self, old: &mut RowReader) -> rusqlite::Result<()> {
        if let Some(said) = old.take() {
            self.new.keep(old.key(), said);
        }
        self.write_full()
    }

    /// Writes the change of a path. A removal is worth a mark only above an older stamp.
    fn push(&mut self, key: &[u8], change: Change) -> rusqlite::Result<()> {
        let has_stamp = match change {
            Change::New(stamp) => self.new.push(key, &stamp),
            Change::Moved(stamp) => {
                self.new.keep(key, Said::Stamp(stamp));
                true
            }
            Change::Gone => false,
        };
        if !has_stamp && self.level.table == NEWER {
            self.new.keep(key, Said::Gone);
        }
        self.write_full()
    }

    fn write_full(&mut self) -> rusqlite::Result<()> {
        self.new
            .split_off()
            .map_or(Ok(()), |(first, stamps)| self.insert(&first, &stamps))
    }

    /// Writes the rest, and returns the bytes of the level's rows.
    fn finish(mut self) -> rusqlite::Result<u64> {
        let rest = std::mem::take(&mut self.new).rest();
        rest.map_or(Ok(()), |(first, stamps)| self.insert(&first, &stamps))?;
        Ok(self.bytes)
    }

    fn insert(&mut self, first: &[u8], stamps: &[u8]) -> rusqlite::Result<()> {
        self.bytes += stamps.len() as u64;
        self.level.insert(first, stamps)
    }
}

/// Returns the stamps of a sound row (`first`, `sum`, `stamps`). Packing compares the hash of a content with the bytes
/// read; but nobody looks at a target or an attribute again.
fn sound<'r>(row: &'r Row) -> rusqlite::Result<Option<&'r [u8]>> {
    let (first, stamps) = (row.get_ref(0)?.as_blob()?, row.get_ref(2)?.as_blob()?);
    Ok((row.get::<_, i64>(1)? == sum([first, stamps])).then_some(stamps))
}
