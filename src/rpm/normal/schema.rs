//! The schema of an rpm database, as far as rpm makes it (rpm's lib/backend/sqlite.cc).

use crate::rpm::fault::{Fault, fault};
use rusqlite::Connection;

/// The index by which rpm finds packages.
pub(super) const NAME: &str = "Name";
/// The index of the transactions that have installed packages.
pub(super) const INSTALL_TID: &str = "Installtid";

const PACKAGES: &str = "Packages";
/// More than any rpm has.
const MOST_OBJECTS: usize = 256;
const LONGEST_STATEMENT: usize = 1024;

/// An index table.
pub(super) struct Index {
    /// Letters, digits and underscores.
    pub name: String,
    /// The statement that makes the table, as found.
    pub statement: String,
    /// The statements that make SQLite's indexes of the table, in the order of their names.
    pub indexes: Vec<String>,
}

/// The tables of a database.
pub(super) struct Schema {
    /// The statement that makes the table of headers, as found.
    pub packages: String,
    /// The index tables in the order of their names.
    pub indexes: Vec<Index>,
}

impl Schema {
    /// Reads the schema. Fails at an object that rpm does not make; of the statistics of the query planner and SQLite's own
    /// tables nothing is taken.
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        let mut objects = objects(connection)?;
        objects.sort_unstable();
        let mut packages = None;
        let mut indexes: Vec<Index> = Vec::new();
        for object in objects.iter().filter(|object| object.is_table()) {
            if is_of_sqlite(&object.name) {
                continue;
            }
            let form = packed(&object.statement);
            let is_own = makes(&object.statement, "createtable", &object.name);
            if is_own && object.name == PACKAGES && is_packages(&form) {
                packages = Some(object.statement.clone());
            } else if is_own && is_name(&object.name) && is_index_table(&form, &object.name) {
                indexes.push(Index {
                    name: object.name.clone(),
                    statement: object.statement.clone(),
                    indexes: Vec::new(),
                });
            } else {
                return fault("it has a table that rpm does not make");
            }
        }
        for object in objects.iter().filter(|object| !object.is_table()) {
            let mut tables = indexes.iter_mut();
            match tables.find(|table| is_index(object, &table.name)) {
                Some(table) => table.indexes.push(object.statement.clone()),
                None => return fault("it has an object that rpm does not make"),
            }
        }
        match packages {
            Some(packages) => Ok(Self { packages, indexes }),
            None => fault("it has no table of packages"),
        }
    }
}

/// A row of the schema.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    name: String,
    kind: String,
    statement: String,
}

impl Object {
    fn is_table(&self) -> bool {
        self.kind == "table"
    }
}

fn objects(connection: &Connection) -> Result<Vec<Object>, Fault> {
    let mut query =
        connection.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema")?;
    let mut rows = query.query([])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let object = Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            statement: row.get(2)?,
        };
        if objects.len() == MOST_OBJECTS || object.statement.len() > LONGEST_STATEMENT {
            return fault("its schema is larger than any of rpm's");
        }
        objects.push(object);
    }
    Ok(objects)
}

fn is_of_sqlite(name: &str) -> bool {
    name.starts_with("sqlite_")
}

fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(is_word)
}

/// Returns the characters of a statement without spaces and quotes.
fn squeezed(statement: &str) -> impl Iterator<Item = char> {
    let characters = statement.chars();
    characters.filter(|c| !c.is_ascii_whitespace() && !matches!(c, '\'' | '"'))
}

/// Returns a statement in lower case, without spaces and quotes.
fn packed(statement: &str) -> String {
    squeezed(statement)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Tells whether a statement, after `verb`, spells the name of the object as the schema does: SQLite finds objects in any case.
fn makes(statement: &str, verb: &str, name: &str) -> bool {
    let named = squeezed(statement).skip(verb.len()).take(name.len());
    named.eq(name.chars())
}

/// Tells whether a packed statement makes the table of headers. The numbers go up by themselves in any rpm; without that, the table is
/// as sound.
fn is_packages(form: &str) -> bool {
    ["autoincrement", ""].iter().any(|more| {
        form == format!("createtablepackages(hnumintegerprimarykey{more},blobblobnotnull)")
    })
}

fn is_index_table(form: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["text", "blob"].iter().any(|kind| {
        let columns = format!("key{kind}notnull,hnumintegernotnull,idxintegernotnull");
        let reference = "foreignkey(hnum)referencespackages(hnum)";
        form == format!("createtable{name}({columns},{reference})")
    })
}

fn is_index(object: &Object, table: &str) -> bool {
    if object.kind != "index" {
        return false;
    }
    let form = packed(&object.statement);
    let lower = table.to_ascii_lowercase();
    ["key", "hnum"].iter().any(|column| {
        object.name == format!("{table}_{column}_idx")
            && makes(&object.statement, "createindex", &object.name)
            && form == format!("createindex{lower}_{column}_idxon{lower}({column}asc)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL);";
    const NAMES: &str = "CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, \
                         FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));";

    fn read(more: &str) -> Result<Schema, String> {
        let connection = Connection::open_in_memory().unwrap();
        let statements = format!("{TABLE}{NAMES}{more}");
        connection.execute_batch(&statements).unwrap();
        Schema::read(&connection).map_err(Fault::reason)
    }

    #[test]
    fn what_rpm_makes_is_taken_as_found() {
        let more = "CREATE INDEX 'Name_key_idx' ON 'Name'(key ASC); ANALYZE;";
        let schema = read(more).unwrap();
        assert_eq!(schema.packages, TABLE.trim_end_matches(';'));
        let names: Vec<_> = schema
            .indexes
            .iter()
            .map(|index| index.name.as_str())
            .collect();
        assert_eq!((names, schema.indexes[0].indexes.len()), (vec![NAME], 1));
    }

    #[test]
    fn a_name_that_its_statement_spells_otherwise_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLE).unwrap();
        assert!(Schema::read(&connection).is_ok());
        let planted = "PRAGMA writable_schema = ON;
                       UPDATE sqlite_schema SET sql = replace(sql, 'Packages', 'PackAges');";
        connection.execute_batch(planted).unwrap();
        assert!(Schema::read(&connection).is_err());
    }

    #[test]
    fn what_rpm_does_not_make_is_refused() {
        for more in [
            "CREATE VIEW v AS SELECT 1",
            "CREATE TRIGGER t AFTER INSERT ON Name BEGIN SELECT 1; END",
            "CREATE TABLE Other (a)",
            "CREATE TABLE Basenames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)",
            "CREATE INDEX Name_key_idx ON Name(key DESC)",
            "CREATE INDEX other ON Name(key ASC)",
            "CREATE INDEX Name_key_idx ON Name(key ASC) WHERE hnum > 1",
        ] {
            assert!(read(more).is_err(), "{more}");
        }
    }
}
