//! How values of the model stand in columns, and come back checked.

use crate::model::entry::Xattrs;
use crate::model::path::EntryPath;
use crate::model::stamp::Time;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Row, RowIndex};

/// Reads a hash of 32 bytes.
pub(super) fn hash(row: &Row, column: impl RowIndex) -> rusqlite::Result<[u8; 32]> {
    row.get(column)
}

/// Reads an unsigned number that was stored as the same 64 bits with a sign.
pub(super) fn bits(row: &Row, column: impl RowIndex) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// Reads a path.
pub(super) fn path(row: &Row, column: usize) -> rusqlite::Result<EntryPath> {
    EntryPath::from_key(row.get_ref(column)?.as_blob()?).ok_or_else(|| unfit(column))
}

/// Reads seconds and nanoseconds from two columns.
pub(super) fn time(row: &Row, column: usize) -> rusqlite::Result<Time> {
    Ok(Time { seconds: row.get(column)?, nanos: row.get(column + 1)? })
}

/// Reads bytes; NULL gives none.
pub(super) fn bytes(row: &Row, column: usize) -> rusqlite::Result<Box<[u8]>> {
    Ok(row.get_ref(column)?.as_blob_or_null()?.unwrap_or_default().into())
}

/// Reads extended attributes; NULL gives none.
pub(super) fn xattrs(row: &Row, column: usize) -> rusqlite::Result<Xattrs> {
    match row.get_ref(column)?.as_blob_or_null()? {
        None => Ok(Xattrs::default()),
        Some(encoded) => decode_xattrs(encoded).ok_or_else(|| unfit(column)),
    }
}

/// Writes extended attributes; none are NULL.
pub(super) fn encode_xattrs(xattrs: &Xattrs) -> Option<Vec<u8>> {
    if xattrs.is_empty() {
        return None;
    }
    let mut encoded = Vec::new();
    for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        encoded.extend_from_slice(&(part.len() as u32).to_le_bytes());
        encoded.extend_from_slice(part);
    }
    Some(encoded)
}

fn decode_xattrs(mut encoded: &[u8]) -> Option<Xattrs> {
    let mut part = || {
        let (length, rest) = encoded.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        encoded = rest;
        Some(Box::<[u8]>::from(part))
    };
    let mut pairs = Vec::new();
    while let Some(name) = part() {
        pairs.push((name, part()?));
    }
    encoded.is_empty().then(|| Xattrs::new(pairs))
}

/// Bytes as a column has them; none are NULL.
pub(super) fn or_null(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

/// The column does not hold what it must.
pub(super) fn unfit(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(FromSqlError::InvalidType))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xattrs_read_back_and_cut_ones_are_refused() {
        let pair = |name: &[u8], value: &[u8]| (name.into(), value.into());
        let xattrs = Xattrs::new(vec![pair(b"user.b", b"\0\n\xff"), pair(b"user.a", b"")]);
        let encoded = encode_xattrs(&xattrs).unwrap();
        assert_eq!(decode_xattrs(&encoded), Some(xattrs));
        for cut in 1..encoded.len() {
            assert_ne!(decode_xattrs(&encoded[..cut]), decode_xattrs(&encoded), "{cut}");
        }
        assert_eq!(encode_xattrs(&Xattrs::default()), None);
    }
}
