//! rpm's SQLite backend: the table `Packages (hnum, blob)`.

use super::backend::{SQLITE, SQLITE_WAL};
use super::fault::{Fault, fault};
use super::header::Header;
use super::headers::Headers;
use crate::sqlite::{computes_columns, open_hostile};
use std::path::Path;

/// Gives `each` the packages of the database in `directory`, a private copy with the write-ahead log. Fails if SQLite cannot read the
/// database, the table is not as rpm makes tables, or a row is no header.
pub(super) fn read(
    directory: &Path,
    each: &mut dyn FnMut(Header),
) -> std::result::Result<(), Fault> {
    let size =
        |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
    let mut headers = Headers::of(size(SQLITE) + size(SQLITE_WAL), each);
    let connection = open_hostile(&directory.join(SQLITE))?;
    if computes_columns(&connection, "Packages")? {
        return fault("its table of packages is not as rpm makes tables");
    }
    let mut packages = connection.prepare("SELECT blob FROM Packages")?;
    let mut rows = packages.query([])?;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_blob() {
            Ok(blob) => headers.add(blob)?,
            Err(_) => return fault("a package's header is malformed"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::blob;
    use super::super::{Backend, Header, read as read_any};
    use super::SQLITE;
    use crate::error::Result;
    use rusqlite::Connection;
    use std::path::Path;

    fn database(sql: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        Connection::open(directory.path().join(SQLITE))
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        directory
    }

    fn read(directory: &Path, shown: &Path, each: impl FnMut(Header)) -> Result<()> {
        read_any(Backend::Sqlite, directory, shown, each)
    }

    const TABLE: &str = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)";

    #[test]
    fn a_database_gives_its_packages() {
        let directory = database(TABLE);
        let connection = Connection::open(directory.path().join(SQLITE)).unwrap();
        for (number, name) in [(2, b"b\0"), (1, b"a\0")] {
            let header = blob(&[
                (1000, 6, 1, name),
                (1001, 6, 1, b"1\0"),
                (1002, 6, 1, b"1\0"),
            ]);
            connection
                .execute(
                    "INSERT INTO Packages VALUES (?, ?)",
                    rusqlite::params![number, header],
                )
                .unwrap();
        }
        let mut names = Vec::new();
        read(directory.path(), Path::new("x"), |header| {
            names.push(header.package.name)
        })
        .unwrap();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_view_in_the_place_of_the_table_is_refused() {
        let endless =
            "CREATE VIEW Packages AS WITH RECURSIVE n (hnum) AS (SELECT 1 UNION ALL SELECT hnum + 1 FROM n)
                       SELECT hnum, x'00' AS blob FROM n";
        assert!(
            read(database(endless).path(), Path::new("/r/rpmdb"), |_| ())
                .unwrap_err()
                .to_string()
                .contains("/r/rpmdb")
        );
    }

    #[test]
    fn a_column_that_is_computed_is_refused_at_once() {
        let sql =
            "CREATE TABLE Packages (hnum INT, x INT, blob GENERATED ALWAYS AS (zeroblob(60000000)) VIRTUAL);
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
                   INSERT INTO Packages (hnum, x) SELECT 200 - i, i FROM n";
        assert!(
            read(database(sql).path(), Path::new("/r/rpmdb"), |_| panic!(
                "no package"
            ))
            .is_err()
        );
    }

    #[test]
    fn what_is_no_database_or_no_header_is_an_error_with_the_path() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(SQLITE), [7; 5000]).unwrap();
        assert!(
            read(directory.path(), Path::new("/r/rpmdb"), |_| ())
                .unwrap_err()
                .to_string()
                .contains("/r/rpmdb")
        );
        let directory = database(&format!(
            "{TABLE}; INSERT INTO Packages VALUES (1, x'0000')"
        ));
        assert!(
            read(directory.path(), Path::new("/r/rpmdb"), |_| ())
                .unwrap_err()
                .to_string()
                .contains("malformed")
        );
    }
}
