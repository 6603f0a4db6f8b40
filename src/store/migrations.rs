//! The database's format: an ordered list of migrations; `user_version` counts the applied migrations.
//!
//! An entry is never changed or removed; a new format is a new entry, with a store of the old format under fixtures/.

use crate::error::{Error, Result};
use crate::printable::printable;
use crate::store::database::{Database, For};
use crate::store::files::lost;
use crate::store::handle::Store;
use rusqlite::{Connection, TransactionBehavior};
use std::sync::OnceLock;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_create_records.sql"),
    include_str!("../../migrations/0002_create_stamps.sql"),
    include_str!("../../migrations/0003_create_file_lists.sql"),
    include_str!("../../migrations/0004_seal_snapshots.sql"),
    include_str!("../../migrations/0005_pack_stamps.sql"),
    include_str!("../../migrations/0006_change_stamps_in_part.sql"),
    include_str!("../../migrations/0007_tell_boots_apart.sql"),
    include_str!("../../migrations/0008_record_reasons.sql"),
    include_str!("../../migrations/0009_know_package_layers.sql"),
    include_str!("../../migrations/0010_keep_joined_layers.sql"),
    include_str!("../../migrations/0011_know_remote_blobs.sql"),
    include_str!("../../migrations/0012_keep_tree_digests.sql"),
    include_str!("../../migrations/0013_keep_package_details.sql"),
    include_str!("../../migrations/0014_keep_labels_and_pins.sql"),
];

/// The hash of each format's schema, from format 0 on, so an open need not run the migrations to know what they make.
const SCHEMAS: [&str; MIGRATIONS.len() + 1] = [
    "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    "5d59771643bbcf101e226df9f04061c7db082c84d6c28798a2eeaa434112b0e2",
    "5b3f157a0ca9868793cccac43714170d6b704e5b6d9be1cd3b3b6996063d384c",
    "d796cd23f34c97a8c10c6ae9a7fa36642e46216910f84b29e946e48af67b17db",
    "3be564b2fb9623f06321361b2202c60dd6abe30a65e88f61a5373b2da62229d2",
    "cbc9872189b105bf8c8f229010bd924ef578075e4b3a795ad790e195169690b0",
    "108cefa3b07c17ac0b723f3d8cb6934bf39ceca36aa4578e7c7664f9f7afde64",
    "023aaa411fb1b0724e768436fd212def0819ef4781df0bf4e68dbddc0b307233",
    "2b8e85ff75bab3ee17457b376539fea532dee124ee10542d347dd80aee2ed627",
    "2b8e85ff75bab3ee17457b376539fea532dee124ee10542d347dd80aee2ed627",
    "b600db0a061d2fc105ce0c99be4bdfbc31844df99b3190618f0d30a5250fd0ef",
    "75fcaebdb8f5f9f08a328144230f402512d3ca5ff67364fa98c788b752f85171",
    "53be5be30086d23a02f7385519e6087ba885ce0eb15b67e29f81c68aafd45b33",
    "eee94806bad96d26b6c49f87423d26e07f8bd8ed2af35cd37174204a56064e69",
    "a9786fb55d123905d4d8985b0a5658447c6f105beb59985d7d7f43b6202a338f",
];

/// "rstr", in the database's header (SQLite's `application_id`).
const APPLICATION_ID: i32 = 0x7273_7472;

impl Store {
    /// Brings the database to this version's format. An empty database in a store has lost its content. A database
    /// that cannot be written to is copied, and the copy is changed. Fails with [`Error::NewerStore`] for a newer
    /// format, and with [`Error::Locked`] if others have the store open for too long.
    pub(crate) fn migrate(&mut self, was_store: bool, purpose: For) -> Result<()> {
        let known = MIGRATIONS.len() as i64;
        let found = self.check_format(known)?;
        if found == known {
            return Ok(());
        }
        if found == 0 && was_store {
            return Err(lost(self.database.clone()));
        }
        if self.is_still() {
            let Database { connection, still } = Database::open_copy(&self.directory)?;
            (self.connection, self.still) = (connection, still);
            return self.migrate_alone(known);
        }
        // Others who have the store open read the old format. Others who wait as we do let us pass.
        let others = self
            .in_use
            .clone()
            .filter(|_| !matches!(purpose, For::Alone { .. }));
        if let Some(others) = &others {
            others.pause(&self.path)?;
        }
        let lock = self.lock()?; // a change of the journal's mode does not wait for other processes
        match (others, self.check_format(known)? == known) {
            (None, true) => Ok(()),
            (None, false) => self.migrate_alone(known),
            (Some(others), true) => {
                drop(lock);
                others.resume(&self.path)
            }
            (Some(others), false) => others.alone(&self.path.clone(), || self.migrate_alone(known)),
        }
    }

    fn migrate_alone(&mut self, known: i64) -> Result<()> {
        if self.check_format(known)? == 0 {
            self.connection
                .pragma_update(None, "journal_mode", "wal")
                .map_err(|e| self.failed(e))?;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let migrated = transaction.and_then(|transaction| {
            // Another process may have been faster.
            let found: i64 =
                transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for migration in MIGRATIONS.get(found as usize..).unwrap_or_default() {
                transaction.execute_batch(migration)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()
        });
        migrated.map_err(|e| self.failed(e))
    }

    /// Returns the database's format. Fails if the format is newer, or if the database has other tables and indexes
    /// than its format: somebody's trigger or view would be run by reading the tables.
    fn check_format(&self, known: i64) -> Result<i64> {
        let (found, is_ours, schema) =
            read_format(&self.connection, known).map_err(|e| self.failed(e))?;
        if !is_ours {
            return Err(Error::NotAStore(self.path.clone()));
        }
        if !(0..=known).contains(&found) {
            return Err(Error::NewerStore {
                path: self.path.clone(),
                found,
                known,
            });
        }
        if hash(&schema) == SCHEMAS[found as usize] {
            return Ok(found);
        }
        let expected = schema_of(found as usize).map_err(|e| self.failed(e))?;
        let Some((kind, name, _)) = first_difference(&schema, expected) else {
            return Ok(found);
        };
        let (kind, name) = (printable(kind.as_bytes()), printable(name.as_bytes()));
        Err(self.damaged(format!(
            "the {kind} {name} is not as format {found} has it, which the database says it has"
        )))
    }
}

/// Returns the first table or index that only one of two schemas has.
fn first_difference<'s>(
    found: &'s Schema,
    expected: &'s Schema,
) -> Option<&'s (String, String, String)> {
    let superfluous = found.iter().find(|one| !expected.contains(one));
    let missing = expected.iter().find(|one| !found.contains(one));
    superfluous.or(missing)
}

/// Returns the format of a database, whether the database is ours, and the schema; the schema of a foreign database or
/// of a format above `known` is left empty.
fn read_format(connection: &Connection, known: i64) -> rusqlite::Result<(i64, bool, Schema)> {
    let transaction = connection.unchecked_transaction()?; // another process may be changing the format
    let value = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (found, application) = (value("user_version")?, value("application_id")?);
    let is_ours = found == 0 || application == i64::from(APPLICATION_ID);
    let schema = if is_ours && (0..=known).contains(&found) {
        schema(&transaction)?
    } else {
        Schema::new()
    };
    Ok((found, is_ours, schema))
}

/// Kind, name and SQL of a database's tables and indexes, but for SQLite's own.
type Schema = Vec<(String, String, String)>;

fn schema(connection: &Connection) -> rusqlite::Result<Schema> {
    let query = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema
                 WHERE NOT (type = 'index' AND sql IS NULL) AND name NOT IN ('sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4')";
    let mut query = connection.prepare(query)?;
    let mut schema: Schema = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    schema.sort();
    Ok(schema)
}

/// Returns the BLAKE3 of a schema, in hexadecimal digits. Every text is preceded by the length.
fn hash(schema: &Schema) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in schema
        .iter()
        .flat_map(|(kind, name, sql)| [kind, name, sql])
    {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The tables and indexes of a format: SQLite is asked, once for each format.
fn schema_of(format: usize) -> rusqlite::Result<&'static Schema> {
    static KNOWN: [OnceLock<Schema>; MIGRATIONS.len() + 1] =
        [const { OnceLock::new() }; MIGRATIONS.len() + 1];
    if let Some(known) = KNOWN[format].get() {
        return Ok(known);
    }
    let connection = Connection::open_in_memory()?;
    for migration in &MIGRATIONS[..format] {
        connection.execute_batch(migration)?;
    }
    let made = schema(&connection)?;
    Ok(KNOWN[format].get_or_init(|| made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_each_format_is_that_of_what_its_migrations_make() {
        let made: Vec<String> = (0..=MIGRATIONS.len())
            .map(|format| hash(schema_of(format).unwrap()))
            .collect();
        assert_eq!(made, SCHEMAS, "an entry is added with each migration");
    }
}
