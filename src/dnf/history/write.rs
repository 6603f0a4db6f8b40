//! A history of one transaction.

use super::installed::{Group, Installed, Reason, VERSION};
use crate::sqlite;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

const PAGE_BYTES: u32 = 4096;

/// Kinds of items (`TransactionItemType`): a package, a group, an environment.
const PACKAGE: i64 = 0;
const GROUP: i64 = 1;
const ENVIRONMENT: i64 = 2;

/// The tables of version 1.2, as dnf asks for them.
const SCHEMA: &str = "
    CREATE TABLE config (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE trans (id INTEGER PRIMARY KEY AUTOINCREMENT, dt_begin INTEGER NOT NULL, dt_end INTEGER,
        rpmdb_version_begin TEXT, rpmdb_version_end TEXT, releasever TEXT NOT NULL, user_id INTEGER NOT NULL,
        cmdline TEXT, state INTEGER NOT NULL, comment TEXT DEFAULT '');
    CREATE TABLE repo (id INTEGER PRIMARY KEY, repoid TEXT NOT NULL);
    CREATE TABLE console_output (id INTEGER PRIMARY KEY, trans_id INTEGER REFERENCES trans(id),
        file_descriptor INTEGER NOT NULL, line TEXT NOT NULL);
    CREATE TABLE item (id INTEGER PRIMARY KEY, item_type INTEGER NOT NULL);
    CREATE TABLE trans_item (id INTEGER PRIMARY KEY AUTOINCREMENT, trans_id INTEGER REFERENCES trans(id),
        item_id INTEGER REFERENCES item(id), repo_id INTEGER REFERENCES repo(id), action INTEGER NOT NULL,
        reason INTEGER NOT NULL, state INTEGER NOT NULL);
    CREATE TABLE item_replaced_by (trans_item_id INTEGER REFERENCES trans_item(id),
        by_trans_item_id INTEGER REFERENCES trans_item(id), PRIMARY KEY (trans_item_id, by_trans_item_id));
    CREATE TABLE trans_with (id INTEGER PRIMARY KEY AUTOINCREMENT, trans_id INTEGER REFERENCES trans(id),
        item_id INTEGER REFERENCES item(id), CONSTRAINT trans_with_unique_trans_item UNIQUE (trans_id, item_id));
    CREATE TABLE rpm (item_id INTEGER UNIQUE NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,
        version TEXT NOT NULL, release TEXT NOT NULL, arch TEXT NOT NULL, FOREIGN KEY(item_id) REFERENCES item(id),
        CONSTRAINT rpm_unique_nevra UNIQUE (name, epoch, version, release, arch));
    CREATE TABLE comps_group (item_id INTEGER UNIQUE NOT NULL, groupid TEXT NOT NULL, name TEXT NOT NULL,
        translated_name TEXT NOT NULL, pkg_types INTEGER NOT NULL, FOREIGN KEY(item_id) REFERENCES item(id));
    CREATE TABLE comps_group_package (id INTEGER PRIMARY KEY AUTOINCREMENT, group_id INTEGER NOT NULL,
        name TEXT NOT NULL, installed INTEGER NOT NULL, pkg_type INTEGER NOT NULL,
        FOREIGN KEY(group_id) REFERENCES comps_group(item_id),
        CONSTRAINT comps_group_package_unique_name UNIQUE (group_id, name));
    CREATE TABLE comps_environment (item_id INTEGER UNIQUE NOT NULL, environmentid TEXT NOT NULL, name TEXT NOT NULL,
        translated_name TEXT NOT NULL, pkg_types INTEGER NOT NULL, FOREIGN KEY(item_id) REFERENCES item(id));
    CREATE TABLE comps_environment_group (id INTEGER PRIMARY KEY AUTOINCREMENT, environment_id INTEGER NOT NULL,
        groupid TEXT NOT NULL, installed INTEGER NOT NULL, group_type INTEGER NOT NULL,
        FOREIGN KEY(environment_id) REFERENCES comps_environment(item_id),
        CONSTRAINT comps_environment_group_unique_groupid UNIQUE (environment_id, groupid));
    CREATE INDEX rpm_name ON rpm(name);
    CREATE INDEX trans_item_trans_id ON trans_item(trans_id);
    CREATE INDEX trans_item_item_id ON trans_item(item_id);";

/// Returns the bytes of a history that has installed all this in one transaction at `epoch_s`. Fails as SQLite does: two packages of
/// one name and version have no place in a history.
pub(super) fn database(installed: &Installed, epoch_s: i64) -> rusqlite::Result<Vec<u8>> {
    sqlite::made(PAGE_BYTES, |connection| {
        connection.execute_batch(SCHEMA)?;
        let version = "INSERT INTO config VALUES ('version', ?)";
        connection.execute(version, [VERSION])?;
        let transaction = "INSERT INTO trans VALUES (1, ?1, ?1, '', '', '', 0, '', 1, '')";
        connection.execute(transaction, [epoch_s])?;
        let mut writing = Writing {
            connection,
            repositories: repositories(installed),
            items: 0,
        };
        writing.fill(installed)
    })
}

/// Returns the numbers of the repositories, in the order of their names.
fn repositories(installed: &Installed) -> BTreeMap<&str, i64> {
    let packages = installed.packages.iter().map(|one| &one.repository);
    let groups = installed.groups.iter().chain(&installed.environments);
    let all = packages.chain(groups.map(|group| &group.repository));
    let mut numbers: BTreeMap<&str, i64> = all.flatten().map(|name| (name.as_str(), 0)).collect();
    numbers
        .values_mut()
        .zip(1..)
        .for_each(|(number, next)| *number = next);
    numbers
}

struct Writing<'a> {
    connection: &'a Connection,
    repositories: BTreeMap<&'a str, i64>,
    /// The number of items so far.
    items: i64,
}

impl Writing<'_> {
    fn fill(&mut self, installed: &Installed) -> rusqlite::Result<()> {
        for (name, number) in &self.repositories {
            let insert = "INSERT INTO repo VALUES (?, ?)";
            self.connection.execute(insert, params![number, name])?;
        }
        for one in &installed.packages {
            let item = self.item(PACKAGE, one.reason, one.repository.as_deref())?;
            let insert = "INSERT INTO rpm VALUES (?, ?, ?, ?, ?, ?)";
            self.connection.prepare_cached(insert)?.execute(params![
                item,
                one.name,
                one.epoch,
                one.version,
                one.release,
                one.arch
            ])?;
        }
        for group in &installed.groups {
            self.group(
                group,
                GROUP,
                "INSERT INTO comps_group VALUES (?, ?, ?, ?, ?)",
                "INSERT INTO comps_group_package VALUES (NULL, ?, ?, ?, ?)",
            )?;
        }
        for environment in &installed.environments {
            self.group(
                environment,
                ENVIRONMENT,
                "INSERT INTO comps_environment VALUES (?, ?, ?, ?, ?)",
                "INSERT INTO comps_environment_group VALUES (NULL, ?, ?, ?, ?)",
            )?;
        }
        Ok(())
    }

    /// Adds an item that the transaction has installed, and returns the number.
    fn item(
        &mut self,
        kind: i64,
        reason: Reason,
        repository: Option<&str>,
    ) -> rusqlite::Result<i64> {
        self.items += 1;
        let insert = "INSERT INTO item VALUES (?, ?)";
        let mut insert = self.connection.prepare_cached(insert)?;
        insert.execute([self.items, kind])?;
        let repository = repository.and_then(|name| self.repositories.get(name));
        let insert = "INSERT INTO trans_item VALUES (?1, 1, ?1, ?2, 1, ?3, 1)";
        let mut insert = self.connection.prepare_cached(insert)?;
        insert.execute(params![self.items, repository, reason])?;
        Ok(self.items)
    }

    fn group(
        &mut self,
        group: &Group,
        kind: i64,
        insert_group: &str,
        insert_member: &str,
    ) -> rusqlite::Result<()> {
        let item = self.item(kind, group.reason, group.repository.as_deref())?;
        let row = params![
            item,
            group.id,
            group.name,
            group.translated_name,
            group.kinds
        ];
        self.connection.execute(insert_group, row)?;
        for member in &group.members {
            let row = params![item, member.name, member.is_installed, member.kind];
            self.connection.execute(insert_member, row)?;
        }
        Ok(())
    }
}
