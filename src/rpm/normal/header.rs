//! A package's header with the time and the transaction of the installation set: tags that rpm adds when a package is installed,
//! outside the region that signatures and digests cover (rpm's docs/manual/format.md, "Immutable regions").

use crate::rpm::byte_order::ByteOrder;
use crate::rpm::header::{ENTRY_BYTES, Header, be32};

/// RPMTAG_INSTALLTIME and RPMTAG_INSTALLTID, each one INT32.
const INSTALL_TIME: u32 = 1008;
const INSTALL_TID: u32 = 1128;
/// RPMTAG_HEADERIMMUTABLE, the entry of the region.
const IMMUTABLE: u32 = 63;

const INT32: u32 = 4;
const REGION_TRAILER_BYTES: usize = 16;

/// The number of the transaction that has installed a package; `None` in a header without one.
pub(super) struct InstallTid(Option<u32>);

impl InstallTid {
    /// Tells whether `key` is the key in the index of transactions for this number, in this byte order.
    pub(super) fn is_key(&self, key: &[u8], order: ByteOrder) -> bool {
        self.0.is_some_and(|own| key == order.bytes(own))
    }
}

/// Returns a header with the epoch as time and transaction of the installation, and the transaction before. `None` for what is no
/// header, and where other values lie where these two stand.
pub(super) fn with_epoch(blob: &[u8], epoch_s: u32) -> Option<(Vec<u8>, InstallTid)> {
    let entries = be32(blob, 0)? as usize;
    let data_bytes = be32(blob, 4)? as usize;
    let data_at = 8_usize.checked_add(entries.checked_mul(ENTRY_BYTES)?)?;
    if data_at.checked_add(data_bytes)? != blob.len() {
        return None;
    }
    let index = &blob[8..data_at];
    let mut changed = blob.to_vec();
    let mut tid = InstallTid(None);
    for entry in index.chunks_exact(ENTRY_BYTES) {
        let tag = be32(entry, 0)?;
        if !matches!(tag, INSTALL_TIME | INSTALL_TID) {
            continue;
        }
        let offset = be32(entry, 8)? as usize;
        let is_number = be32(entry, 4)? == INT32 && be32(entry, 12)? == 1;
        if !is_number || offset < region_end(index)? || offset.checked_add(4)? > data_bytes {
            return None;
        }
        let value = changed.get_mut(data_at + offset..data_at + offset + 4)?;
        if tag == INSTALL_TID {
            tid = InstallTid(be32(blob, data_at + offset));
        }
        value.copy_from_slice(&epoch_s.to_be_bytes());
    }
    // Nothing else of what is read of a header may lie there.
    let is_same = Header::parse(blob)? == Header::parse(&changed)?;
    is_same.then_some((changed, tid))
}

/// Returns where the immutable region of the data ends; 0 without a region.
fn region_end(index: &[u8]) -> Option<usize> {
    if index.is_empty() || be32(index, 0)? != IMMUTABLE {
        return Some(0);
    }
    (be32(index, 8)? as usize).checked_add(REGION_TRAILER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::header::tests::blob;

    /// The fields of a header of package `a`, and more.
    fn header(more: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
        let own: [(u32, u32, u32, &[u8]); 3] = [
            (1000, 6, 1, b"a\0"),
            (1001, 6, 1, b"1\0"),
            (1002, 6, 1, b"1\0"),
        ];
        blob(&[&own, more].concat())
    }

    #[test]
    fn time_and_transaction_become_the_epoch_and_no_other_byte_changes() {
        let of = |time: &[u8], tid: &[u8]| {
            header(&[(1008, 4, 1, time), (1128, 4, 1, tid), (1022, 6, 1, b"x\0")])
        };
        let (changed, tid) = with_epoch(&of(&[1, 2, 3, 4], &[5, 6, 7, 8]), 9).unwrap();
        assert_eq!(changed, of(&[0, 0, 0, 9], &[0, 0, 0, 9]));
        assert!(tid.is_key(&[8, 7, 6, 5], ByteOrder::Little));
        assert!(tid.is_key(&[5, 6, 7, 8], ByteOrder::Big));
        assert!(!tid.is_key(&[5, 6, 7], ByteOrder::Big));
    }

    #[test]
    fn a_header_without_them_stays_and_has_no_key() {
        let (same, tid) = with_epoch(&header(&[]), 9).unwrap();
        assert_eq!(same, header(&[]));
        assert!(!tid.is_key(&[0; 4], ByteOrder::Little));
    }

    #[test]
    fn a_time_in_the_place_of_something_else_is_refused() {
        // The time stands where the name does.
        let mut lying = header(&[(1008, 4, 1, &[0; 4])]);
        let entry = 8 + 3 * ENTRY_BYTES;
        lying[entry + 8..entry + 12].fill(0);
        assert!(with_epoch(&lying, 9).is_none());
        let of_two = header(&[(1008, 4, 2, &[0; 8])]);
        assert!(with_epoch(&of_two, 9).is_none());
    }

    #[test]
    fn a_time_in_the_signed_region_is_refused() {
        let region = (63, 7, 16, &[0; 16][..]);
        let in_front = blob(&[region, (1000, 6, 1, b"a\0"), (1001, 6, 1, b"1\0")]);
        assert!(with_epoch(&in_front, 9).is_none()); // without a release it is no header
        let fields = |offset: u32| {
            let mut bytes = blob(&[
                region,
                (1000, 6, 1, b"a\0"),
                (1001, 6, 1, b"1\0"),
                (1002, 6, 1, b"1\0"),
                (1008, 4, 1, &[0; 4]),
            ]);
            let entry = 8 + 4 * ENTRY_BYTES;
            bytes[entry + 8..entry + 12].copy_from_slice(&offset.to_be_bytes());
            bytes
        };
        assert!(with_epoch(&fields(22), 9).is_some());
        assert!(with_epoch(&fields(12), 9).is_none());
    }

    #[test]
    fn bytes_that_are_cut_or_go_on_are_no_header() {
        let whole = header(&[(1008, 4, 1, &[0; 4])]);
        for length in 0..whole.len() {
            assert!(with_epoch(&whole[..length], 9).is_none(), "{length}");
        }
        assert!(with_epoch(&[whole.as_slice(), b"x"].concat(), 9).is_none());
    }
}
