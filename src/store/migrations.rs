//! The database's format: an ordered list of migrations, of which `user_version` counts those that were applied.
//!
//! An entry is never changed or removed; a new format is a new entry with a store of the old one under fixtures/.

use super::{Store, lost};
use crate::error::{Error, Result};
use rusqlite::TransactionBehavior;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_create_records.sql"),
    include_str!("../../migrations/0002_create_stamps.sql"),
    include_str!("../../migrations/0003_create_file_lists.sql"),
    include_str!("../../migrations/0004_seal_snapshots.sql"),
    include_str!("../../migrations/0005_pack_stamps.sql"),
    include_str!("../../migrations/0006_change_stamps_in_part.sql"),
];

/// "rstr", in the database's header (SQLite's `application_id`).
const APPLICATION_ID: i32 = 0x7273_7472;

impl Store {
    /// Brings the database to this version's format, or refuses a newer one. Where there was a store, an empty one has lost
    /// what it had.
    pub(super) fn migrate(&mut self, was_store: bool) -> Result<()> {
        let known = MIGRATIONS.len() as i64;
        let found = self.check_version(known)?;
        if found == known {
            return Ok(());
        }
        if found == 0 && was_store {
            return Err(lost(self.database.clone()));
        }
        let _lock = self.lock()?; // a change of the journal's mode does not wait for other processes
        if self.check_version(known)? == 0 {
            self.connection.pragma_update(None, "journal_mode", "wal").map_err(|e| self.failed(e))?;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let migrated = transaction.and_then(|transaction| {
            // Another process may have been faster.
            let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for migration in MIGRATIONS.get(found as usize..).unwrap_or_default() {
                transaction.execute_batch(migration)?;
            }
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()
        });
        migrated.map_err(|e| self.failed(e))
    }

    fn check_version(&self, known: i64) -> Result<i64> {
        let value = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let found = value("user_version").map_err(|e| self.failed(e))?;
        let application = value("application_id").map_err(|e| self.failed(e))?;
        match found {
            0 => Ok(0),
            _ if application != i64::from(APPLICATION_ID) => Err(Error::NotAStore(self.path.clone())),
            _ if !(1..=known).contains(&found) => {
                Err(Error::NewerStore { path: self.path.clone(), found, known })
            }
            _ => Ok(found),
        }
    }
}
