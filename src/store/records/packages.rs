//! Sets of installed packages, as rows.

use crate::error::Result;
use crate::model::packages::details::Details;
use crate::model::packages::file_list::FileList;
use crate::model::packages::owners::Installed;
use crate::model::packages::package::Package;
use crate::store::handle::Store;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::sync::Arc;

/// File lists in memory, by number.
#[derive(Debug, Default)]
pub(crate) struct FileLists(HashMap<i64, Arc<FileList>>);

impl Store {
    /// Returns the packages of a set, sorted by name; no packages for an unknown set. Fails with
    /// [`crate::error::Error::Damaged`] if a name or a version is no UTF-8, and with [`crate::error::Error::Database`]
    /// if SQLite cannot read the set.
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

    /// Returns the packages of a set, sorted by name, with the details of each and without files. Fails as [`Store::packages`] does.
    pub(crate) fn described_packages(&self, package_set_id: i64) -> Result<Vec<Installed>> {
        let members = members(&self.connection, package_set_id).map_err(|e| self.failed(e))?;
        let described = members.into_iter().map(|(package, _, details)| Installed {
            package,
            files: None,
            details: details.map(Arc::new),
        });
        let mut described: Vec<Installed> = described.collect();
        described.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(described)
    }

    /// Returns the packages of a set, sorted by name, with the recorded files of each. `lists` remembers file lists
    /// between calls. Fails if a list is not as recorded.
    pub(crate) fn installed(
        &self,
        package_set_id: i64,
        lists: &mut FileLists,
    ) -> Result<Vec<Installed>> {
        // In a transaction, or each list would be locked by itself.
        let reading = self
            .connection
            .unchecked_transaction()
            .map_err(|e| self.failed(e))?;
        let mut installed = Vec::new();
        let members = members(&self.connection, package_set_id).map_err(|e| self.failed(e))?;
        for (package, list_id, details) in members {
            let files = list_id.map(|id| self.file_list(id, lists)).transpose()?;
            installed.push(Installed {
                package,
                files,
                details: details.map(Arc::new),
            });
        }
        reading.finish().map_err(|e| self.failed(e))?;
        installed.sort_by(|a, b| a.package.cmp(&b.package));
        Ok(installed)
    }

    /// Returns a list of files, which `lists` remembers.
    fn file_list(&self, id: i64, lists: &mut FileLists) -> Result<Arc<FileList>> {
        if let Some(known) = lists.0.get(&id) {
            return Ok(Arc::clone(known));
        }
        let (key, bytes) = list_of(&self.connection, id).map_err(|e| self.failed(e))?;
        let list = FileList::from_bytes(bytes).filter(|list| list.key() == key);
        let list =
            list.ok_or_else(|| self.damaged(format!("file list {id} is not what was recorded")))?;
        let list = Arc::new(list);
        lists.0.insert(id, Arc::clone(&list));
        Ok(list)
    }

    /// Returns the number of packages in a set; 0 for an unknown set. Fails with [`crate::error::Error::Database`] if
    /// SQLite cannot read the rows counted.
    pub(crate) fn packages_len(&self, package_set_id: i64) -> Result<u64> {
        let query = "SELECT count(*) FROM package_set_member WHERE package_set_id = ?";
        self.connection
            .query_row(query, [package_set_id], |row| row.get(0))
            .map_err(|e| self.failed(e))
    }
}

/// A package of a set, the number of the list of files, and the details.
type Member = (Package, Option<i64>, Option<Details>);

/// Returns the packages of a set.
fn members(connection: &Connection, package_set_id: i64) -> rusqlite::Result<Vec<Member>> {
    let mut query = connection.prepare_cached(
        "SELECT name, epoch, version, release, arch, source_rpm, build_time_s, file_list_id,
                package_detail_id IS NOT NULL, size_bytes, license, vendor, signature_key, header_checksum, md5
         FROM package_set_member AS member JOIN package ON package.id = package_id
         LEFT JOIN package_set_files AS files USING (package_set_id, package_id)
         LEFT JOIN package_detail AS detail ON detail.id = package_detail_id
         WHERE member.package_set_id = ?",
    )?;
    query
        .query_map([package_set_id], |row| {
            Ok((package(row)?, row.get(7)?, details(row, 8)?))
        })?
        .collect()
}

/// Reads details from a column that tells whether there are any, and those that follow. Fails if a column has another type.
pub(super) fn details(row: &Row, at: usize) -> rusqlite::Result<Option<Details>> {
    if !row.get(at)? {
        return Ok(None);
    }
    Ok(Some(Details {
        size_bytes: row.get(at + 1)?,
        license: row.get(at + 2)?,
        vendor: row.get(at + 3)?,
        signature_key: row.get(at + 4)?,
        header_checksum: row.get(at + 5)?,
        md5: row.get(at + 6)?,
    }))
}

/// Returns the key and the bytes of a list of files.
fn list_of(connection: &Connection, id: i64) -> rusqlite::Result<([u8; 32], Vec<u8>)> {
    let mut query = connection.prepare_cached("SELECT key, list FROM file_list WHERE id = ?")?;
    query.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Returns the set of these sorted packages, and makes the set if new. The lists of files belong to the set if every
/// package has a list, and so do the details beside lists. Fails if the database cannot be written to; then a part of the set may be in the transaction.
pub(crate) fn keep_set(connection: &Connection, installed: &[Installed]) -> rusqlite::Result<i64> {
    let lists: Option<Vec<&FileList>> = installed.iter().map(|one| one.files.as_deref()).collect();
    let lists = lists.unwrap_or_default();
    let list_keys: Vec<[u8; 32]> = lists.iter().map(|list| list.key()).collect();
    let details: Option<Vec<&Details>> =
        installed.iter().map(|one| one.details.as_deref()).collect();
    let details = details.filter(|_| !lists.is_empty()).unwrap_or_default();
    let detail_keys: Vec<[u8; 32]> = details.iter().map(|one| one.key()).collect();
    let key = key(
        installed.iter().map(|one| &one.package),
        [&list_keys, &detail_keys],
    );
    let known = id_by_key(connection, "SELECT id FROM package_set WHERE key = ?", &key)?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO package_set (key) VALUES (?)")?
        .execute([key])?;
    let set_id = connection.last_insert_rowid();
    let mut own = connection.prepare_cached("INSERT INTO package_set_files VALUES (?, ?, ?, ?)")?;
    let mut members = NewMembers::of(connection, set_id)?;
    for (at, package) in installed.iter().map(|one| &one.package).enumerate() {
        let package_id = members.add(package)?;
        if let (Some(package_id), Some(list)) = (package_id, lists.get(at)) {
            let list_id = keep_list(connection, &list_keys[at], list)?;
            let own_details = details.get(at).zip(detail_keys.get(at));
            let detail_id = own_details
                .map(|(details, key)| keep_details(connection, key, details))
                .transpose()?;
            own.execute(params![set_id, package_id, list_id, detail_id])?;
        }
    }
    Ok(set_id)
}

/// The members of a set that is being made.
struct NewMembers<'c> {
    set_id: i64,
    insert: CachedStatement<'c>,
    join: CachedStatement<'c>,
}

impl<'c> NewMembers<'c> {
    fn of(connection: &'c Connection, set_id: i64) -> rusqlite::Result<Self> {
        let insert = connection
            .prepare_cached("INSERT OR IGNORE INTO package VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)")?;
        let join = connection.prepare_cached(
            "INSERT OR IGNORE INTO package_set_member SELECT ?, id FROM package
             WHERE (name, epoch, version, release, arch, source_rpm, build_time_s) = (?, ?, ?, ?, ?, ?, ?)
             RETURNING package_id",
        )?;
        Ok(Self {
            set_id,
            insert,
            join,
        })
    }

    /// Adds a package, and returns the package's number; `None` if the set has the package already.
    fn add(&mut self, package: &Package) -> rusqlite::Result<Option<i64>> {
        let Package {
            name,
            version,
            release,
            arch,
            source_rpm,
            build_time_s,
            ..
        } = package;
        let epoch = package.epoch.map_or(-1, i64::from);
        self.insert.execute(params![
            name,
            epoch,
            version,
            release,
            arch,
            source_rpm,
            build_time_s
        ])?;
        let values = params![
            self.set_id,
            name,
            epoch,
            version,
            release,
            arch,
            source_rpm,
            build_time_s
        ];
        self.join.query_row(values, |row| row.get(0)).optional()
    }
}

/// Returns the list with a key, and makes the list if new. Fails as SQLite does.
fn keep_list(connection: &Connection, key: &[u8; 32], list: &FileList) -> rusqlite::Result<i64> {
    let known = id_by_key(connection, "SELECT id FROM file_list WHERE key = ?", key)?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO file_list (key, files, list) VALUES (?, ?, ?)")?
        .execute(params![key, list.len(), list.bytes()])?;
    Ok(connection.last_insert_rowid())
}

/// Returns the details with a key, and makes the row if new. Fails as SQLite does.
fn keep_details(
    connection: &Connection,
    key: &[u8; 32],
    details: &Details,
) -> rusqlite::Result<i64> {
    let query = "SELECT id FROM package_detail WHERE key = ?";
    let known = id_by_key(connection, query, key)?;
    if let Some(id) = known {
        return Ok(id);
    }
    let [license, vendor, signature_key, header_checksum, md5] = details.texts();
    let values = params![
        key,
        details.size_bytes,
        license,
        vendor,
        signature_key,
        header_checksum,
        md5
    ];
    connection
        .prepare_cached("INSERT INTO package_detail VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(values)?;
    Ok(connection.last_insert_rowid())
}

/// Returns the number that `query` has for a key.
fn id_by_key(
    connection: &Connection,
    query: &str,
    key: &[u8; 32],
) -> rusqlite::Result<Option<i64>> {
    let mut query = connection.prepare_cached(query)?;
    query.query_row([key], |row| row.get(0)).optional()
}

/// Hashes packages, and the keys of their lists and of their details: every field has a fixed length or follows its length.
/// Before format 3, packages had no lists, and before format 13 no details.
pub(crate) fn key<'p>(
    packages: impl Iterator<Item = &'p Package>,
    keys: [&[[u8; 32]]; 2],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for p in packages {
        for text in [&p.name, &p.version, &p.release, &p.arch, &p.source_rpm] {
            hasher
                .update(&(text.len() as u64).to_le_bytes())
                .update(text.as_bytes());
        }
        hasher
            .update(&p.epoch.map_or(-1, i64::from).to_le_bytes())
            .update(&p.build_time_s.to_le_bytes());
    }
    for key in keys.into_iter().flatten() {
        hasher.update(key);
    }
    *hasher.finalize().as_bytes()
}

/// Reads a package from the first seven columns. Fails if a text is no UTF-8, or a column has another type.
pub(crate) fn package(row: &Row) -> rusqlite::Result<Package> {
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
