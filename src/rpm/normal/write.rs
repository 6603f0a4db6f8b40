//! A database in memory, filled in one order.

use super::content::{Content, Key};
use crate::sqlite;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params};

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Returns the bytes of a database with this content. Fails as SQLite does, which runs out of memory or takes a key for no text.
pub(super) fn database(content: &Content) -> rusqlite::Result<Vec<u8>> {
    sqlite::made(content.page_bytes, |connection| fill(connection, content))
}

fn fill(connection: &Connection, content: &Content) -> rusqlite::Result<()> {
    connection.execute_batch(&content.schema.packages)?;
    let mut insert = connection.prepare("INSERT INTO Packages VALUES (?, ?)")?;
    for (number, header) in (1_i64..).zip(&content.headers) {
        insert.execute(params![number, header])?;
    }
    for (index, rows) in content.schema.indexes.iter().zip(&content.rows) {
        connection.execute_batch(&index.statement)?;
        let insert = format!("INSERT INTO \"{}\" VALUES (?, ?, ?)", index.name);
        let mut insert = connection.prepare(&insert)?;
        for (key, number, place) in rows {
            insert.execute(params![key, number, place])?;
        }
        for statement in &index.indexes {
            connection.execute_batch(statement)?;
        }
    }
    Ok(())
}
