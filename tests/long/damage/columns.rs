//! One bit of each column of each table.

use super::{Kept, Said};
use rusqlite::Connection;
use rusqlite::types::Value as Column;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// The value with one bit changed.
fn flipped(value: &Column) -> Option<Column> {
    match value {
        Column::Null => None,
        Column::Integer(number) => Some(Column::Integer(number ^ 1)),
        Column::Real(number) => Some(Column::Real(-number)),
        Column::Text(text) => {
            let mut bytes = text.clone().into_bytes();
            *bytes.last_mut()? ^= 1;
            Some(Column::Text(String::from_utf8(bytes).unwrap()))
        }
        Column::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let middle = bytes.len() / 2;
            *bytes.get_mut(middle)? ^= 1;
            Some(Column::Blob(bytes))
        }
    }
}

/// What is shown and decides nothing: the number of the parent goes when the parent goes, so the seal leaves it out.
const UNSEALED: [(&str, &str); 1] = [("snapshot", "parent_id")];

/// Caches: a row that does not hold is not believed, and costs a look at the root or at a blob. Nobody is bothered with it.
const CACHES: [&str; 5] = ["blob_stamp", "joined_layer", "newer_stamp", "root", "stamp"];

fn open(store: &Path) -> Connection {
    Connection::open(store.join("rootstrata.sqlite")).unwrap()
}

fn names(connection: &Connection, query: &str) -> Vec<String> {
    let mut query = connection.prepare(query).unwrap();
    let names = query.query_map([], |row| row.get(0)).unwrap();
    names.collect::<rusqlite::Result<_>>().unwrap()
}

/// The tables, each with its columns.
fn tables(connection: &Connection) -> BTreeMap<String, Vec<String>> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let columns = |table: &str| {
        names(
            connection,
            &format!("SELECT name FROM pragma_table_info('{table}')"),
        )
    };
    names(connection, tables)
        .into_iter()
        .map(|table| (table.clone(), columns(&table)))
        .collect()
}

/// Changes a bit of a column in the first or the last row that has a value; returns how it was changed, if it was.
fn change(
    connection: &Connection,
    (table, columns): (&str, &[String]),
    column: &str,
    order: &str,
) -> Option<String> {
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    let all = columns.join("\", \"");
    let query = format!(
        "SELECT \"{column}\", \"{all}\" FROM \"{table}\" WHERE \"{column}\" IS NOT NULL ORDER BY \"{all}\" {order} LIMIT 1"
    );
    let row: Vec<Column> = connection
        .query_row(&query, [], |row| {
            (0..=columns.len()).map(|at| row.get(at)).collect()
        })
        .ok()?;
    let value = flipped(&row[0])?;
    let is_row: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, name)| format!("\"{name}\" IS ?{}", at + 2))
        .collect();
    let update = format!(
        "UPDATE OR IGNORE \"{table}\" SET \"{column}\" = ?1 WHERE {}",
        is_row.join(" AND ")
    );
    let values = std::iter::once(&value).chain(&row[1..]);
    let changed = connection
        .execute(&update, rusqlite::params_from_iter(values))
        .unwrap();
    (changed > 0).then(|| format!("{table}.{column}: {:?} became {value:?}", row[0]))
}

#[test]
fn no_column_of_the_database_can_change_without_being_noticed_or_without_harm() {
    let kept = Kept::new();
    let tables = {
        let connection = open(&kept.bench.store());
        let rows = connection.query_row("SELECT count(*) FROM newer_stamp", [], |row| row.get(0));
        assert_ne!(rows, Ok(0), "there is nothing to change");
        tables(&connection)
    };
    let mut changed = 0;
    let mut harmless: BTreeMap<&str, usize> = BTreeMap::new();
    for (table, columns) in &tables {
        for (column, order) in columns
            .iter()
            .flat_map(|column| ["ASC", "DESC"].map(|order| (column, order)))
        {
            let store = kept.copy();
            let Some(change) = change(&open(&store), (table, columns), column, order) else {
                continue;
            };
            changed += 1;
            match catch_unwind(AssertUnwindSafe(|| kept.said_of(&store))) {
                Ok(said) => {
                    let is_harmless = said.is_harmless();
                    *harmless.entry(table).or_default() += usize::from(is_harmless);
                    assert!(
                        is_harmless || !CACHES.contains(&table.as_str()),
                        "{change}: {said:?}"
                    );
                    println!("{table}.{column}: {}", first_line(&said));
                }
                Err(_) if UNSEALED.contains(&(table.as_str(), column.as_str())) => {}
                Err(panic) => {
                    eprintln!("{change}");
                    resume_unwind(panic);
                }
            }
        }
    }
    println!("{changed} changes, harmless by table: {harmless:?}");
    assert!(changed > 100, "{changed}");
    for cache in CACHES {
        assert!(
            harmless.get(cache).is_some_and(|count| *count > 2),
            "{cache}: {harmless:?}"
        );
    }
}

fn first_line(said: &Said) -> &str {
    said.stderr.lines().next().unwrap_or("no harm")
}
