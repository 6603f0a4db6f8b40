//! Whole databases: which ways give one, and which are refused.

use super::*;
use crate::rpm::SQLITE;
use crate::rpm::header::tests::blob;
use rusqlite::{Connection, params};

const TABLES: &str = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL);
    CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
    CREATE INDEX 'Name_key_idx' ON 'Name'(key ASC);
    CREATE TABLE 'Installtid' (key 'BLOB' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
    CREATE TABLE 'Basenames' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
    CREATE INDEX 'Basenames_hnum_idx' ON 'Basenames'(hnum ASC);";

/// A database of these packages, each with the time of its installation, in order.
struct Database {
    directory: tempfile::TempDir,
    connection: Connection,
}

impl Database {
    fn new(packages: &[(&str, u32)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join(SQLITE)).unwrap();
        connection
            .execute_batch("PRAGMA foreign_keys = OFF")
            .unwrap();
        connection.execute_batch(TABLES).unwrap();
        let database = Self {
            directory,
            connection,
        };
        for (name, time) in packages {
            database.install(name, *time);
        }
        database
    }

    fn install(&self, name: &str, time: u32) {
        let text = [name.as_bytes(), b"\0"].concat();
        let time_bytes = time.to_be_bytes();
        let header = blob(&[
            (1008, 4, 1, &time_bytes),
            (1128, 4, 1, &time_bytes),
            (1000, 6, 1, &text),
            (1001, 6, 1, b"1\0"),
            (1002, 6, 1, b"1\0"),
        ]);
        let insert = "INSERT INTO Packages (blob) VALUES (?)";
        self.connection.execute(insert, [header]).unwrap();
        let number = self.connection.last_insert_rowid();
        let rows = [("Name", 0), ("Basenames", 0), ("Basenames", 1)];
        for (table, place) in rows {
            let insert = format!("INSERT INTO {table} VALUES (?, ?, ?)");
            self.connection
                .execute(&insert, params![name, number, place])
                .unwrap();
        }
        self.connection
            .execute(
                "INSERT INTO Installtid VALUES (?, ?, 0)",
                params![time.to_le_bytes(), number],
            )
            .unwrap();
    }

    fn run(&self, statements: &str) -> &Self {
        self.connection.execute_batch(statements).unwrap();
        self
    }

    fn normalised(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        normalised(
            self.directory.path(),
            Path::new("/r/rpmdb.sqlite"),
            9,
            &mut out,
        )
        .map(|()| out)
        .map_err(|error| error.to_string())
    }

    fn refused(&self) -> String {
        let error = self.normalised().unwrap_err();
        assert!(error.contains("/r/rpmdb.sqlite"), "{error}");
        error
    }
}

#[test]
fn order_times_and_what_was_removed_make_no_difference() {
    let one = Database::new(&[("a", 1), ("b", 1), ("c", 1)]);
    let other = Database::new(&[("x", 5), ("c", 7), ("b", 6)]);
    other.run("DELETE FROM Packages WHERE hnum = 1; DELETE FROM Name WHERE hnum = 1;
        DELETE FROM Basenames WHERE hnum = 1; DELETE FROM Installtid WHERE hnum = 1; ANALYZE; VACUUM");
    other.install("a", 8);
    let bytes = one.normalised().unwrap();
    assert!(other.normalised().unwrap() == bytes);
    let more = Database::new(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    assert!(more.normalised().unwrap() != bytes);

    let again = tempfile::tempdir().unwrap();
    std::fs::write(again.path().join(SQLITE), &bytes).unwrap();
    let connection = Connection::open(again.path().join(SQLITE)).unwrap();
    let row =
        |query: &str| -> String { connection.query_row(query, [], |row| row.get(0)).unwrap() };
    assert_eq!(row("PRAGMA integrity_check"), "ok");
    assert_eq!(
        row("SELECT group_concat(key || hnum) FROM Name"),
        "a1,b2,c3"
    );
    assert_eq!(
        row("SELECT group_concat(hex(key)) FROM Installtid"),
        "09000000,09000000,09000000"
    );
    assert_eq!(row("SELECT cast(seq AS TEXT) FROM sqlite_sequence"), "3");
    let mut out = Vec::new();
    normalised(again.path(), Path::new("x"), 9, &mut out).unwrap();
    assert!(out == bytes);
}

#[test]
fn the_log_of_a_writer_counts() {
    let database = Database::new(&[("a", 1)]);
    let expected = Database::new(&[("a", 1), ("b", 1)]).normalised().unwrap();
    database.run("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0");
    database.install("b", 2);
    assert!(
        database
            .directory
            .path()
            .join(crate::rpm::backend::SQLITE_WAL)
            .exists()
    );
    assert!(database.normalised().unwrap() == expected);
}

#[test]
fn an_index_that_lies_is_refused() {
    let of = |statement: &str| {
        let database = Database::new(&[("a", 1), ("b", 1)]);
        database.run(statement).refused()
    };
    assert!(of("INSERT INTO Basenames VALUES ('x', 99, 0)").contains("not there"));
    assert!(of("UPDATE Name SET key = 'c' WHERE hnum = 1").contains("names"));
    assert!(of("DELETE FROM Name WHERE hnum = 1").contains("names"));
    assert!(of("INSERT INTO Name VALUES ('a', 1, 0)").contains("names"));
    assert!(of("UPDATE Installtid SET key = x'00'").contains("transactions"));
    assert!(of("UPDATE Name SET key = x'61' WHERE hnum = 1").contains("no name"));
    assert!(of("UPDATE Packages SET blob = x'00' WHERE hnum = 1").contains("malformed"));
}

#[test]
fn ten_thousand_rows_of_one_name_are_as_many_packages() {
    let database = Database::new(&[]);
    database.run("BEGIN");
    for _ in 0..10_000 {
        database.install("same", 3);
    }
    database.run("COMMIT");
    let bytes = database.normalised().unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(SQLITE), bytes).unwrap();
    let mut count = 0;
    crate::rpm::read(
        crate::rpm::Backend::Sqlite,
        directory.path(),
        Path::new("x"),
        |_| count += 1,
    )
    .unwrap();
    assert_eq!(count, 10_000);
}

#[test]
fn a_database_of_packages_alone_is_enough() {
    let database = Database::new(&[("a", 1)]);
    database.run("DROP TABLE Name; DROP TABLE Basenames; DROP TABLE Installtid");
    assert!(database.normalised().is_ok());
    database.run("DROP TABLE Packages");
    assert!(database.refused().contains("no table of packages"));
}
