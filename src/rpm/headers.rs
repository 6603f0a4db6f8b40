//! The headers of one database, on the way to the reader of the packages.

use super::fault::{Fault, fault};
use super::header::Header;
use crate::model::limits::MOST_PACKAGES;

/// No header of a package is longer.
pub(super) const LONGEST_HEADER_BYTES: usize = 64 << 20;

/// Takes blobs, and gives the headers on, within bounds.
pub(super) struct Headers<'e> {
    each: &'e mut dyn FnMut(Header),
    /// All blobs together are no larger than the file, unless packages share bytes.
    bytes_left: u64,
    packages_left: usize,
}

impl<'e> Headers<'e> {
    /// Gives each header of a database of `size_bytes` to `each`.
    pub(super) fn of(size_bytes: u64, each: &'e mut dyn FnMut(Header)) -> Self {
        Self {
            each,
            bytes_left: size_bytes,
            packages_left: MOST_PACKAGES,
        }
    }

    /// Fails for a malformed header, for blobs longer than the file, and past the most packages.
    pub(super) fn add(&mut self, blob: &[u8]) -> std::result::Result<(), Fault> {
        let Some(bytes_left) = self.bytes_left.checked_sub(blob.len() as u64) else {
            return fault("its packages share their bytes");
        };
        self.bytes_left = bytes_left;
        let Some(packages_left) = self.packages_left.checked_sub(1) else {
            return fault("it has more packages than any");
        };
        self.packages_left = packages_left;
        match Header::parse(blob) {
            Some(header) => {
                (self.each)(header);
                Ok(())
            }
            None => fault("a package's header is malformed"),
        }
    }
}
