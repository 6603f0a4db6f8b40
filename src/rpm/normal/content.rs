//! What an rpm database says, in the order of a normalised one.

use super::header::{InstallTid, with_epoch};
use super::schema::{INSTALL_TID, Index, NAME, Schema};
use crate::model::limits::MOST_PACKAGES;
use crate::rpm::backend::{SQLITE, SQLITE_WAL};
use crate::rpm::byte_order::ByteOrder;
use crate::rpm::fault::{Fault, fault};
use crate::rpm::header::Header;
use crate::sqlite::open_hostile;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::HashMap;
use std::path::Path;

/// The key of a row of an index table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A string.
    Text(Vec<u8>),
    /// Bytes, as of a checksum.
    Blob(Vec<u8>),
}

/// A row of an index table: the key, the number of the package, and the place of the key in the package's header.
pub(super) type Row = (Key, i64, i64);

/// What a database says.
pub(super) struct Content {
    /// The length of a page.
    pub page_bytes: u32,
    /// The tables.
    pub schema: Schema,
    /// The headers in the new order: their numbers are 1 and up.
    pub headers: Vec<Vec<u8>>,
    /// The rows of each index table, in order.
    pub rows: Vec<Vec<Row>>,
}

/// A header as found, and normalised.
struct Package {
    old_number: i64,
    /// The order of headers: name, epoch, version, release and architecture, then all bytes.
    rank: (String, Option<u32>, String, String, String),
    blob: Vec<u8>,
    tid: InstallTid,
}

impl Content {
    /// Reads the database in `directory`, a private copy with the write-ahead log, with `epoch_s` as the installation of each package.
    /// Fails if SQLite cannot read the database, and at the first thing that rpm does not make.
    pub(super) fn read(directory: &Path, epoch_s: u32) -> std::result::Result<Self, Fault> {
        let size =
            |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |found| found.len());
        // All values together are no larger than the files, unless they share pages.
        let mut bytes_left = size(SQLITE) + size(SQLITE_WAL);
        let connection = open_hostile(&directory.join(SQLITE))?;
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let encoding: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
        if encoding != "UTF-8" {
            return fault("its text is not UTF-8");
        }
        let schema = Schema::read(&connection)?;
        let mut packages = read_packages(&connection, epoch_s, &mut bytes_left)?;
        packages.sort_by(|a, b| (&a.rank, &a.blob).cmp(&(&b.rank, &b.blob)));
        let numbers = new_numbers(&packages);
        let mut rows = Vec::new();
        for index in &schema.indexes {
            rows.push(read_rows(&connection, index, &numbers, &mut bytes_left)?);
        }
        let mut content = Self {
            page_bytes,
            schema,
            headers: Vec::new(),
            rows,
        };
        content.check_names(&packages)?;
        content.set_tids(&packages, epoch_s)?;
        content
            .rows
            .iter_mut()
            .for_each(|rows| rows.sort_unstable());
        content.headers = packages.into_iter().map(|package| package.blob).collect();
        Ok(content)
    }

    /// Compares the index of names with the headers: by it, rpm finds packages.
    fn check_names(&self, packages: &[Package]) -> std::result::Result<(), Fault> {
        let Some(rows) = self.rows_of(NAME) else {
            return Ok(());
        };
        let mut named: Vec<(&[u8], i64)> = Vec::with_capacity(rows.len());
        for (key, number, _) in rows {
            let Key::Text(name) = key else {
                return fault("its index of names holds what is no name");
            };
            named.push((name, *number));
        }
        named.sort_unstable();
        let names = packages.iter().zip(1..);
        let mut expected: Vec<(&[u8], i64)> = names
            .map(|(package, number)| (package.rank.0.as_bytes(), number))
            .collect();
        expected.sort_unstable();
        if named == expected {
            Ok(())
        } else {
            fault("its index of names is not that of its packages")
        }
    }

    /// Gives all rows of the index of transactions the epoch, in the byte order that the rows have.
    fn set_tids(&mut self, packages: &[Package], epoch_s: u32) -> std::result::Result<(), Fault> {
        let Some(at) = self.place_of(INSTALL_TID) else {
            return Ok(());
        };
        let rows = &self.rows[at];
        let are_all = |order: &ByteOrder| {
            let is_key = |(key, number, _): &Row| {
                let tid = &packages[*number as usize - 1].tid;
                tid.is_key(key_bytes(key), *order)
            };
            rows.iter().all(is_key)
        };
        // Where both are possible, as with numbers that read alike in both, machines of today decide.
        let mut orders = [ByteOrder::Little, ByteOrder::Big].into_iter();
        let Some(order) = orders.find(are_all) else {
            return fault("its index of transactions is not that of its packages");
        };
        for (key, ..) in &mut self.rows[at] {
            *key = Key::Blob(order.bytes(epoch_s).to_vec());
        }
        Ok(())
    }

    fn place_of(&self, index: &str) -> Option<usize> {
        let mut indexes = self.schema.indexes.iter();
        indexes.position(|one| one.name == index)
    }

    fn rows_of(&self, index: &str) -> Option<&[Row]> {
        Some(&self.rows[self.place_of(index)?])
    }
}

fn key_bytes(key: &Key) -> &[u8] {
    match key {
        Key::Text(bytes) | Key::Blob(bytes) => bytes,
    }
}

/// Returns the new number of each package by the old one.
fn new_numbers(packages: &[Package]) -> HashMap<i64, i64> {
    let numbers = packages.iter().zip(1..);
    numbers
        .map(|(package, number)| (package.old_number, number))
        .collect()
}

fn read_packages(
    connection: &Connection,
    epoch_s: u32,
    bytes_left: &mut u64,
) -> std::result::Result<Vec<Package>, Fault> {
    let mut packages = Vec::new();
    let mut query = connection.prepare("SELECT hnum, blob FROM Packages")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let old_number = row.get(0)?;
        let ValueRef::Blob(blob) = row.get_ref(1)? else {
            return fault("a package's header is malformed");
        };
        take(bytes_left, blob.len())?;
        let Some((blob, tid)) = with_epoch(blob, epoch_s) else {
            return fault("a package's header is malformed");
        };
        let Some(Header { package, .. }) = Header::parse(&blob) else {
            return fault("a package's header is malformed");
        };
        if packages.len() == MOST_PACKAGES {
            return fault("it has more packages than any");
        }
        packages.push(Package {
            old_number,
            rank: (
                package.name,
                package.epoch,
                package.version,
                package.release,
                package.arch,
            ),
            blob,
            tid,
        });
    }
    Ok(packages)
}

fn read_rows(
    connection: &Connection,
    index: &Index,
    numbers: &HashMap<i64, i64>,
    bytes_left: &mut u64,
) -> std::result::Result<Vec<Row>, Fault> {
    let mut found = Vec::new();
    let query = format!("SELECT key, hnum, idx FROM \"{}\"", index.name);
    let mut query = connection.prepare(&query)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let key = match row.get_ref(0)? {
            ValueRef::Text(text) => Key::Text(text.to_vec()),
            ValueRef::Blob(bytes) => Key::Blob(bytes.to_vec()),
            _ => return fault(format!("its index {} holds what is no key", index.name)),
        };
        take(bytes_left, key_bytes(&key).len() + 1)?;
        let Some(number) = numbers.get(&row.get(1)?) else {
            let what = format!("its index {} names a package that is not there", index.name);
            return fault(what);
        };
        found.push((key, *number, row.get(2)?));
    }
    Ok(found)
}

/// Takes bytes of a value from what is left of the files' lengths.
fn take(bytes_left: &mut u64, bytes: usize) -> std::result::Result<(), Fault> {
    match bytes_left.checked_sub(bytes as u64) {
        Some(left) => {
            *bytes_left = left;
            Ok(())
        }
        None => fault("its rows share their bytes"),
    }
}
