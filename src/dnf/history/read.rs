//! What a history says of the packages installed.

use super::installed::{Group, Installed, InstalledPackage, Member, Reason, VERSION};
use crate::dnf::{HISTORY, HISTORY_WAL};
use crate::model::packages::package::Package;
use crate::sqlite::{computes_columns, open_hostile};
use rusqlite::{Connection, Row};
use std::collections::HashMap;
use std::path::Path;

/// A transaction that has ended well (`TransactionState::DONE`).
const DONE: i64 = 1;
/// Actions of an item that say nothing of what is installed afterwards: downgraded, obsoleted and upgraded, which another item of
/// the transaction replaces (`TransactionItemAction`).
const REPLACED: [i64; 3] = [3, 5, 7];
/// The item was removed.
const REMOVED: i64 = 8;

/// More rows than any history has that is worth being kept.
const MOST_ROWS: usize = 1 << 22;

const TABLES: [&str; 10] = [
    "config",
    "trans",
    "repo",
    "trans_item",
    "item",
    "rpm",
    "comps_group",
    "comps_group_package",
    "comps_environment",
    "comps_environment_group",
];

/// The last that is said of an item, by its number.
#[derive(Clone)]
struct Said {
    /// The transaction and the row, by which the last is found.
    order: (i64, i64),
    action: i64,
    reason: Reason,
    repository: Option<String>,
}

/// A table of groups, or of environments.
struct Groups {
    groups: &'static str,
    members: &'static str,
}

const GROUPS: Groups = Groups {
    groups: "SELECT item_id, groupid, name, translated_name, pkg_types FROM comps_group",
    members: "SELECT group_id, name, installed, pkg_type FROM comps_group_package",
};
const ENVIRONMENTS: Groups = Groups {
    groups: "SELECT item_id, environmentid, name, translated_name, pkg_types FROM comps_environment",
    members: "SELECT environment_id, groupid, installed, group_type FROM comps_environment_group",
};

/// Returns what the history in `directory` says of packages, and of groups; `None` for a history of another version or with computed
/// columns, and for one of more rows than any. Fails as SQLite does, and at a value of another type.
pub(super) fn installed<'p>(
    directory: &Path,
    packages: impl Iterator<Item = &'p Package>,
) -> rusqlite::Result<Option<Installed>> {
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |found| found.len());
    let mut reading = Reading {
        connection: open_hostile(&directory.join(HISTORY))?,
        bytes_left: size(HISTORY) + size(HISTORY_WAL),
        rows_left: MOST_ROWS,
    };
    for table in TABLES {
        if computes_columns(&reading.connection, table)? {
            return Ok(None);
        }
    }
    let version = "SELECT key, value FROM config";
    let config = reading.all(version, |row| Ok((text(row, 0)?, text(row, 1)?)))?;
    if !config.contains(&("version".to_owned(), VERSION.to_owned())) {
        return Ok(None);
    }
    let said = reading.said()?;
    let mut installed = Installed {
        packages: reading.packages(&said, packages)?,
        groups: reading.groups(&GROUPS, &said)?,
        environments: reading.groups(&ENVIRONMENTS, &said)?,
    };
    installed.packages.sort_unstable();
    Ok(Some(installed))
}

fn text(row: &Row, at: usize) -> rusqlite::Result<String> {
    row.get(at)
}

/// A history while it is read.
struct Reading {
    connection: Connection,
    /// All values together are no larger than the file, unless they share pages.
    bytes_left: u64,
    rows_left: usize,
}

impl Reading {
    /// Returns all rows. Fails if there are more than any history has.
    fn all<T>(
        &mut self,
        query: &str,
        read: impl Fn(&Row) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut query = self.connection.prepare(query)?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes: u64 = (0..columns).map(|at| value_bytes(row, at)).sum();
            let left = (
                self.bytes_left.checked_sub(bytes),
                self.rows_left.checked_sub(1),
            );
            let (Some(bytes_left), Some(rows_left)) = left else {
                return Err(rusqlite::Error::InvalidQuery);
            };
            (self.bytes_left, self.rows_left) = (bytes_left, rows_left);
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Returns what is said of each item, in all transactions that have ended well.
    fn said(&mut self) -> rusqlite::Result<HashMap<i64, Vec<Said>>> {
        let done = self.all("SELECT id, state FROM trans", |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })?;
        let done: HashMap<i64, i64> = done.into_iter().collect();
        let repositories = self.all("SELECT id, repoid FROM repo", |row| {
            Ok((row.get::<_, i64>(0)?, text(row, 1)?))
        })?;
        let repositories: HashMap<i64, String> = repositories.into_iter().collect();
        let rows = "SELECT item_id, trans_id, id, action, reason, repo_id FROM trans_item";
        let rows = self.all(rows, |row| {
            let repository: Option<i64> = row.get(5)?;
            let said = Said {
                order: (row.get(1)?, row.get(2)?),
                action: row.get(3)?,
                reason: row.get(4)?,
                repository: repository.and_then(|id| repositories.get(&id).cloned()),
            };
            Ok((row.get::<_, i64>(0)?, said))
        })?;
        let mut all: HashMap<i64, Vec<Said>> = HashMap::new();
        for (item, said) in rows {
            let is_done = done.get(&said.order.0) == Some(&DONE);
            if is_done && !REPLACED.contains(&said.action) {
                all.entry(item).or_default().push(said);
            }
        }
        Ok(all)
    }

    /// Returns the packages of which something is said: the reason is that of the last item with name and architecture, as for
    /// dnf, and the repository that of the last item with the same version.
    fn packages<'p>(
        &mut self,
        said: &HashMap<i64, Vec<Said>>,
        packages: impl Iterator<Item = &'p Package>,
    ) -> rusqlite::Result<Vec<InstalledPackage>> {
        let rows = "SELECT item_id, name, arch, epoch, version, release FROM rpm";
        let rows = self.all(rows, |row| {
            let version = (row.get::<_, i64>(3)?, text(row, 4)?, text(row, 5)?);
            Ok((
                row.get::<_, i64>(0)?,
                (text(row, 1)?, text(row, 2)?),
                version,
            ))
        })?;
        let mut by_name: HashMap<(String, String), Said> = HashMap::new();
        let mut by_version = HashMap::new();
        for (item, name, version) in rows {
            let Some(last) = said.get(&item).and_then(|all| last(all)) else {
                continue;
            };
            keep_last(&mut by_name, name.clone(), last);
            keep_last(&mut by_version, (name, version), last);
        }
        let known = packages.filter_map(|package| {
            let name = (package.name.clone(), package.arch.clone());
            let last = by_name.get(&name)?;
            let reason = Some(last).filter(|last| last.action != REMOVED)?.reason;
            let epoch = package.epoch.map_or(0, i64::from);
            let version = (epoch, package.version.clone(), package.release.clone());
            let same = by_version.get(&(name, version));
            Some(InstalledPackage {
                name: package.name.clone(),
                epoch,
                version: package.version.clone(),
                release: package.release.clone(),
                arch: package.arch.clone(),
                reason,
                repository: same.and_then(|same| same.repository.clone()),
            })
        });
        Ok(known.collect())
    }

    /// Returns the groups whose last item is not their removal.
    fn groups(
        &mut self,
        tables: &Groups,
        said: &HashMap<i64, Vec<Said>>,
    ) -> rusqlite::Result<Vec<Group>> {
        let rows = self.all(tables.members, |row| {
            let member = Member {
                name: text(row, 1)?,
                is_installed: row.get(2)?,
                kind: row.get(3)?,
            };
            Ok((row.get::<_, i64>(0)?, member))
        })?;
        let mut members: HashMap<i64, Vec<Member>> = HashMap::new();
        for (group, member) in rows {
            members.entry(group).or_default().push(member);
        }
        let rows = self.all(tables.groups, |row| {
            let group = Group {
                id: text(row, 1)?,
                name: text(row, 2)?,
                translated_name: text(row, 3)?,
                kinds: row.get(4)?,
                reason: 0,
                repository: None,
                members: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, group))
        })?;
        let mut by_id: HashMap<String, (Said, Group)> = HashMap::new();
        for (item, mut group) in rows {
            let Some(last) = said.get(&item).and_then(|all| last(all)) else {
                continue;
            };
            let known = by_id.get(&group.id);
            if known.is_none_or(|(known, _)| known.order < last.order) {
                group.reason = last.reason;
                group.repository = last.repository.clone();
                group.members = members.remove(&item).unwrap_or_default();
                group.members.sort_unstable();
                by_id.insert(group.id.clone(), (last.clone(), group));
            }
        }
        let mut groups: Vec<Group> = by_id
            .into_values()
            .filter(|(last, _)| last.action != REMOVED)
            .map(|(_, group)| group)
            .collect();
        groups.sort_unstable();
        Ok(groups)
    }
}

fn value_bytes(row: &Row, at: usize) -> u64 {
    let value = row.get_ref(at).ok();
    value
        .and_then(|value| value.as_bytes().ok())
        .map_or(1, |bytes| bytes.len() as u64)
}

fn last(said: &[Said]) -> Option<&Said> {
    said.iter().max_by_key(|one| one.order)
}

fn keep_last<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Said>, key: K, said: &Said) {
    let known = all.get(&key);
    if known.is_none_or(|known| known.order < said.order) {
        all.insert(key, said.clone());
    }
}
