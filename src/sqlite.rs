//! SQLite databases that others read: strangers' ones are opened with SQLite's defences up, and new ones have bytes that follow from
//! their statements alone.

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, MAIN_DB, OpenFlags};
use std::path::Path;

/// A longer value is none of any package manager's.
const LONGEST_VALUE_BYTES: i32 = 64 << 20;

/// Steps of SQLite's machine for all that is asked of one database: many times what the largest takes. Pages that lead in a circle
/// would keep SQLite busy for ever.
const MOST_STEPS: u64 = 1 << 27;
/// How many steps pass between two looks.
const STEPS_AT_ONCE: u64 = 100_000;

/// Fields of the header (sqlite.org/fileformat2.html, section 1.3) that count writes, or tell the version of SQLite: each of 4 bytes,
/// with the value that a new database has.
const FIXED_FIELDS: [(usize, u32); 4] = [
    (24, 1),         // file change counter
    (40, 1),         // schema cookie
    (92, 1),         // the change counter that the next field is valid for
    (96, 3_040_000), // SQLITE_VERSION_NUMBER
];

/// Opens a private copy of a stranger's database (sqlite.org/security.html, "Untrusted SQLite Database Files"): no views, triggers or
/// functions from the schema run, no question goes on for ever, and no value is longer than a limit. Fails if SQLite cannot open the file.
pub(crate) fn open_hostile(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags)?;
    let mut left = MOST_STEPS / STEPS_AT_ONCE;
    let is_over = move || {
        left = left.saturating_sub(1);
        left == 0
    };
    connection.progress_handler(STEPS_AT_ONCE as i32, Some(is_over))?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST_VALUE_BYTES)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Tells whether a column of a table would be computed while it is read, as large as the author likes. Fails where the schema
/// cannot be read.
pub(crate) fn computes_columns(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM pragma_table_xinfo(?) WHERE hidden <> 0)";
    connection.query_row(query, [table], |row| row.get(0))
}

/// Makes a database in memory, and returns the bytes of the file that it would be. `fill` runs within a transaction. Fails as SQLite
/// does.
pub(crate) fn made(
    page_bytes: u32,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<Vec<u8>> {
    let mut connection = Connection::open_in_memory()?;
    connection.pragma_update(None, "page_size", page_bytes)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.execute_batch("BEGIN")?;
    fill(&connection)?;
    connection.execute_batch("COMMIT")?;
    let mut bytes = connection.serialize(MAIN_DB)?.to_vec();
    for (at, value) in FIXED_FIELDS {
        if let Some(field) = bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_without_end_ends() {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("x")).unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        let connection = open_hostile(&directory.path().join("x")).unwrap();
        let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let error = connection.query_row(endless, [], |row| row.get::<_, i64>(0));
        let code = error.unwrap_err().sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::OperationInterrupted));
    }

    /// Another digest means that SQLite lays out pages in another way: then the version of normalised states
    /// (`model/policy/state.rs`) counts up.
    #[test]
    fn the_bytes_of_a_database_are_those_of_its_statements_and_of_no_version_of_sqlite() {
        let bytes = made(4096, |connection| {
            connection.execute_batch(
                "CREATE TABLE t (key TEXT NOT NULL, n INTEGER PRIMARY KEY AUTOINCREMENT, b BLOB);
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                 INSERT INTO t SELECT 'key' || (i * 7919 % 5000), i, zeroblob(i % 9000) FROM n;
                 CREATE INDEX t_key ON t (key ASC);",
            )
        })
        .unwrap();
        assert_eq!(&bytes[18..20], [1, 1], "the journal is a rollback journal");
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "ecc5a013afc67873a84aea016b972a3849f0f39b82da5b995c181abbde9a2dbf"
        );
    }
}
