//! How values of the model stand in columns, and come back checked.

use crate::model::tree::entry::Xattrs;
use crate::model::tree::path::EntryPath;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Row, RowIndex};

/// Reads a hash of 32 bytes. Fails if the column has another type or length.
pub(crate) fn hash(row: &Row, column: impl RowIndex) -> rusqlite::Result<[u8; 32]> {
    row.get(column)
}

/// Reads an unsigned number, stored as the same 64 bits with a sign. Fails if the column has another type.
pub(crate) fn bits(row: &Row, column: impl RowIndex) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads a path. Fails if the column holds no path.
pub(crate) fn path(row: &Row, column: usize) -> rusqlite::Result<EntryPath> {
    EntryPath::from_key(row.get_ref(column)?.as_blob()?).ok_or_else(|| unfit(column))
}

/// Reads bytes; NULL gives no bytes. Fails if the column has another type.
pub(crate) fn bytes(row: &Row, column: usize) -> rusqlite::Result<Box<[u8]>> {
    Ok(row
        .get_ref(column)?
        .as_blob_or_null()?
        .unwrap_or_default()
        .into())
}

/// Reads extended attributes; NULL gives no attributes. Fails if the bytes are no attributes.
pub(crate) fn xattrs(row: &Row, column: usize) -> rusqlite::Result<Xattrs> {
    match row.get_ref(column)?.as_blob_or_null()? {
        None => Ok(Xattrs::default()),
        Some(encoded) => Xattrs::from_bytes(encoded).ok_or_else(|| unfit(column)),
    }
}

/// Writes extended attributes; no attributes are NULL.
pub(crate) fn encode_xattrs(xattrs: &Xattrs) -> Option<Vec<u8>> {
    (!xattrs.is_empty()).then(|| xattrs.to_bytes())
}

/// Says that a column holds no value of its kind.
pub(crate) fn unfit(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Blob,
        Box::new(FromSqlError::InvalidType),
    )
}
