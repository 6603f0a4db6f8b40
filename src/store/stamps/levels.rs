//! The two levels of a root's stamps: the table `stamp`, and `newer_stamp` with what has changed since. So what it costs to
//! change some stamps is proportional to them, and not to all that a root has.
//!
//! What a newer row says of a path counts. Where it is lost, the older stamp speaks again. It was true once, and vouches only
//! for what has the same inode, size, times, mode and owner still, as any stamp does. But all of them together may then be of
//! another tree than they are said to be of, so the root's own sum covers those of its newer rows
//! (`a_newer_row_that_is_lost_is_missed`). What turned out not to be true is removed from both levels: no loss brings it back
//! (`what_was_forgotten_stays_forgotten_whatever_is_lost`).

use crate::model::stamp::Stamp;
use crate::store::records::seal::sum;
use crate::store::stamps::rows::{NewRow, Packed, RowReader, Rows, Said, Stamps};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::borrow::Cow;
use std::iter::Peekable;

/// The newer rows have at most this part of the older ones' bytes, then they are put into them: what each change writes and
/// each reader holds twice, against how often all is written.
const PART: u64 = 8;

/// Returns the stamps of a root, and whether all of their rows are as they were written.
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

/// Returns the sums of a root's newer rows, as they stand there, in the order of paths.
pub(crate) fn newer_sums(connection: &Connection, root_id: i64) -> rusqlite::Result<Vec<i64>> {
    let mut query = connection
        .prepare_cached("SELECT sum FROM newer_stamp WHERE root_id = ? ORDER BY first")?;
    query.query_map([root_id], |row| row.get(0))?.collect()
}

/// Changes the stamps of the given paths; `None` removes one. Each that does not follow the one before costs a row. Tells whether
/// all rows that it came upon were as they were written.
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

/// As [`change`], but leaves no older stamp that would speak again if a newer one is lost.
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

/// Puts the newer stamps into the older ones, with changes that came after them. Tells whether all rows were as they were
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

/// Removes the stamps of a path, the older one as well.
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
            match rows.key() == key {
                true => drop(rows.take()),
                false => new.keep(&mut rows)?,
            }
        }
        new.finish()?;
    }
    Ok(())
}

/// Removes all stamps of a root.
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

/// Removes the rows of a root that are not as they were written.
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

/// What becomes of the stamp of a path.
enum Change<'r> {
    New(Stamp),
    Moved(Packed<'r>),
    Gone,
}

/// Newer stamps with the changes that came after them. In order, as far as the changes are.
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
                None => {} // it has changed, or is no stamp
                Some(Said::Stamp(stamp)) => return Some((key.into(), Change::Moved(stamp))),
                Some(Said::Gone) => return Some((key.into(), Change::Gone)),
            }
        }
        changes.next()
    })
}

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Table(&'static str);

const OLDER: Table = Table("stamp");
const NEWER: Table = Table("newer_stamp");

/// The rows of a root in one of the tables.
#[derive(Clone, Copy, Debug)]
struct Level<'c> {
    connection: &'c Connection,
    table: Table,
    root_id: i64,
}

/// What was found and left.
struct Written {
    /// Of all rows of the level.
    bytes: u64,
    /// Each row that was written anew was as it had been written.
    is_sound: bool,
}

impl<'c> Level<'c> {
    /// Returns all rows that are as they were written, and whether these are all.
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

    /// Writes each row that a change belongs to anew, with what it keeps, until there are `most_bytes`; there were `bytes`.
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

    /// Takes the row out that a path belongs to, and returns it with the place where the next begins, and whether it was as it had
    /// been written; if not, it is as good as empty.
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

/// Writes rows of a level, one after another.
struct Writer<'c> {
    level: Level<'c>,
    /// Of the rows that are there.
    bytes: u64,
    new: NewRow,
}

impl<'c> Writer<'c> {
    /// `bytes` is what the level's rows have.
    fn new(level: Level<'c>, bytes: u64) -> Self {
        Self {
            level,
            bytes,
            new: NewRow::default(),
        }
    }

    /// Returns what the level has with what is yet to be written.
    fn bytes(&self) -> u64 {
        self.bytes + self.new.len() as u64
    }

    /// Writes what a row that was taken out says.
    fn keep(&mut self, old: &mut RowReader) -> rusqlite::Result<()> {
        if let Some(said) = old.take() {
            self.new.keep(old.key(), said);
        }
        self.write_full()
    }

    /// Writes what has become of a path. That it has no stamp is worth a mark only where there may be an older one.
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

    /// Writes the rest, and returns what the level's rows have.
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

/// Returns the stamps of a row (`first`, `sum`, `stamps`) that is as it was written. Of a content, packing compares the hash
/// with what it reads; but nobody looks at a target or an attribute again.
fn sound<'r>(row: &'r Row) -> rusqlite::Result<Option<&'r [u8]>> {
    let (first, stamps) = (row.get_ref(0)?.as_blob()?, row.get_ref(2)?.as_blob()?);
    Ok((row.get::<_, i64>(1)? == sum([first, stamps])).then_some(stamps))
}
