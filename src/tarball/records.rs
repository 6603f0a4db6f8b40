//! The records of pax extended headers.
//!
//! The bytes are hostile: the length of a header, limited by the reader, limits the number of records.

use super::defect::{Result, malformed};
use std::collections::BTreeMap;

/// Records of extended headers: `LENGTH KEY=VALUE\n`, with the length of the whole record (pax(1), "pax Extended Header").
/// The last of equal keys counts; an empty value removes a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Adds the records of one extended header. Fails if a record has no length, key or line end, or is longer than the
    /// header.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        // Some end the header in NULs.
        while bytes.first().is_some_and(|first| *first != 0) {
            let space = bytes.iter().take(20).position(|b| *b == b' ');
            let Some(space) = space.filter(|space| *space > 0) else {
                return malformed("has a malformed extended header");
            };
            let length = usize::try_from(decimal(&bytes[..space])?).ok();
            let Some((record, rest)) = length.and_then(|length| bytes.split_at_checked(length))
            else {
                return malformed("has a malformed extended header");
            };
            bytes = rest;
            let record = record
                .get(space + 1..)
                .and_then(|record| record.strip_suffix(b"\n"));
            let parts = record.and_then(|record| {
                let equals = record
                    .iter()
                    .position(|b| *b == b'=')
                    .filter(|at| *at > 0)?;
                Some((record[..equals].to_vec(), record[equals + 1..].to_vec()))
            });
            let Some((key, value)) = parts else {
                return malformed("has a malformed extended header");
            };
            self.0.push((key, value));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let last = self.0.iter().rev().find(|(known, _)| known == key);
        last.map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn has_prefix(&self, prefix: &[u8]) -> bool {
        self.0.iter().any(|(key, _)| key.starts_with(prefix))
    }

    /// Attributes as `SCHILY.xattr.NAME`, even with empty values.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (key, value) in &self.0 {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                all.insert(name, value);
            }
        }
        all.into_iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect()
    }
}

/// Reads decimal digits. Fails if there is no digit, another byte, or a number that 64 bits cannot hold.
pub(super) fn decimal(text: &[u8]) -> Result<u64> {
    let value = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    value
        .and_then(|text| text.parse().ok())
        .map_or_else(|| malformed("has a number that is none"), Ok)
}
