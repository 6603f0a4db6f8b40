//! Sets of installed packages, as rows.

use super::Store;
use crate::error::Result;
use crate::model::package::Package;
use rusqlite::{Connection, OptionalExtension, Row, params};

impl Store {
    /// Returns the packages of a set, sorted by name.
    pub fn packages(&self, package_set_id: i64) -> Result<Vec<Package>> {
        let run = || -> rusqlite::Result<Vec<Package>> {
            let mut query = self.connection.prepare_cached(
                "SELECT name, epoch, version, release, arch, source_rpm, build_time_s
                 FROM package JOIN package_set_member ON package_id = id WHERE package_set_id = ?",
            )?;
            query.query_map([package_set_id], package)?.collect()
        };
        let mut packages = run().map_err(|e| self.failed(e))?;
        packages.sort();
        Ok(packages)
    }

    /// Returns how many packages a set has.
    pub fn packages_len(&self, package_set_id: i64) -> Result<u64> {
        let query = "SELECT count(*) FROM package_set_member WHERE package_set_id = ?";
        self.connection.query_row(query, [package_set_id], |row| row.get(0)).map_err(|e| self.failed(e))
    }
}

/// Returns the set with these packages, which are sorted, and makes it where it is new.
pub(super) fn keep_set(connection: &Connection, packages: &[Package]) -> rusqlite::Result<i64> {
    let key = key(packages);
    let known = connection
        .prepare_cached("SELECT id FROM package_set WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO package_set (key) VALUES (?)")?.execute([key])?;
    let id = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO package VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut join = connection.prepare_cached(
        "INSERT OR IGNORE INTO package_set_member SELECT ?, id FROM package
         WHERE (name, epoch, version, release, arch, source_rpm, build_time_s) = (?, ?, ?, ?, ?, ?, ?)",
    )?;
    for p in packages {
        let epoch = p.epoch.map_or(-1, i64::from);
        insert.execute(params![p.name, epoch, p.version, p.release, p.arch, p.source_rpm, p.build_time_s])?;
        join.execute(params![id, p.name, epoch, p.version, p.release, p.arch, p.source_rpm, p.build_time_s])?;
    }
    Ok(id)
}

/// Every field is preceded by its length or has a fixed one.
fn key(packages: &[Package]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for p in packages {
        for text in [&p.name, &p.version, &p.release, &p.arch, &p.source_rpm] {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.update(&p.epoch.map_or(-1, i64::from).to_le_bytes()).update(&p.build_time_s.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn package(row: &Row) -> rusqlite::Result<Package> {
    Ok(Package {
        name: row.get(0)?,
        epoch: u32::try_from(row.get::<_, i64>(1)?).ok(),
        version: row.get(2)?,
        release: row.get(3)?,
        arch: row.get(4)?,
        source_rpm: row.get(5)?,
        build_time_s: row.get(6)?,
    })
}
