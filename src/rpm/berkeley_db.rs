//! rpm's old backend: Berkeley DB's hash access method, where each package is the value of a number.
//!
//! The layout is that of dbinc/db_page.h in Berkeley DB 4.2 to 5.3 (versions 8 to 10 of the hash). A database has the byte order of
//! the machine where rpm ran; headers are big-endian in any. No page is read twice, so the whole is bounded by the file.

use super::byte_order::ByteOrder;
use super::database_file::DatabaseFile;
use super::fault::{Fault, fault};
use super::headers::{Headers, LONGEST_HEADER_BYTES};

const HASH_MAGIC: u32 = 0x0006_1561;
const BTREE_MAGIC: u32 = 0x0005_3162;
const VERSIONS: std::ops::RangeInclusive<u32> = 8..=10;

/// The first bytes of the first page: no more than the shortest page has.
const META_BYTES: usize = 512;
const SPARES: usize = 32;
const LARGEST_PAGE_BYTES: u32 = 1 << 16;

/// The header of a page, before the offsets of items or the bytes of an overflow page.
const PAGE_HEAD_BYTES: usize = 26;
/// An item in the place of a chain of overflow pages: type, three unused bytes, first page, length.
const OFF_PAGE_BYTES: usize = 12;

mod page_type {
    pub(super) const HASH_UNSORTED: u8 = 2;
    pub(super) const OVERFLOW: u8 = 7;
    pub(super) const HASH_META: u8 = 8;
    pub(super) const HASH: u8 = 13;
}

mod item_type {
    pub(super) const KEY_DATA: u8 = 1;
    pub(super) const OFF_PAGE: u8 = 3;
}

/// The fields of the first page.
struct Meta {
    order: ByteOrder,
    page_bytes: u32,
    last_page: u32,
    last_bucket: u32,
    /// The number of keys with their values.
    pairs: u32,
    /// For the buckets of each power of two, the pages that lie before.
    spares: [u32; SPARES],
}

/// Gives all headers to `headers`. Fails where rpm would refuse the database.
pub(super) fn read(
    database: &DatabaseFile,
    headers: &mut Headers,
) -> std::result::Result<(), Fault> {
    let meta = Meta::read(database)?;
    let pages = u64::from(meta.last_page) + 1;
    if pages * u64::from(meta.page_bytes) > database.size_bytes() {
        return fault("it is cut short");
    }
    if meta.last_bucket > meta.last_page {
        return fault("it has more buckets than pages");
    }
    let mut pages = Pages {
        database,
        seen: vec![0; (pages as usize).div_ceil(64)],
        meta,
        pairs: 0,
    };
    let mut has_hole = false;
    for bucket in 0..=pages.meta.last_bucket {
        let first = pages.meta.page_of(bucket)?;
        let mut next = first;
        while next != 0 {
            let page = pages.take(next)?;
            // Of a new hash, only the page of the last bucket is written: the others are holes.
            if next == first && page.iter().all(|byte| *byte == 0) {
                has_hole = true;
                break;
            }
            pages.check_number(&page, next)?;
            pages.read_items(&page, headers)?;
            next = pages.meta.order.u32(&page, 16);
        }
    }
    if has_hole && pages.pairs != pages.meta.pairs {
        return fault("pages with packages are missing");
    }
    Ok(())
}

impl Meta {
    fn read(database: &DatabaseFile) -> std::result::Result<Self, Fault> {
        let mut page = [0; META_BYTES];
        database.read(0, &mut page)?;
        let mut orders = [ByteOrder::Little, ByteOrder::Big].into_iter();
        let Some(order) = orders.find(|order| order.u32(&page, 12) == HASH_MAGIC) else {
            let is_btree = |order: ByteOrder| order.u32(&page, 12) == BTREE_MAGIC;
            return fault(if is_btree(ByteOrder::Little) || is_btree(ByteOrder::Big) {
                "it is a B-tree of Berkeley DB, and packages are in a hash"
            } else {
                "it is no database of Berkeley DB"
            });
        };
        let version = order.u32(&page, 16);
        if !VERSIONS.contains(&version) {
            return fault(format!("version {version} of its hash is not known"));
        }
        // Encryption, and checksums on pages, which are longer by them.
        if page[24] != 0 || page[26] & 1 != 0 || page[25] != page_type::HASH_META {
            return fault("its pages are not as rpm makes pages");
        }
        let page_bytes = order.u32(&page, 20);
        let is_page = page_bytes.is_power_of_two()
            && (META_BYTES as u32..=LARGEST_PAGE_BYTES).contains(&page_bytes);
        if !is_page {
            return fault(format!("its pages have {page_bytes} bytes, as none have"));
        }
        let mut spares = [0; SPARES];
        for (number, spare) in spares.iter_mut().enumerate() {
            *spare = order.u32(&page, 96 + 4 * number);
        }
        Ok(Self {
            order,
            page_bytes,
            last_page: order.u32(&page, 32),
            last_bucket: order.u32(&page, 72),
            pairs: order.u32(&page, 88),
            spares,
        })
    }

    /// Returns the first page of a bucket (`BUCKET_TO_PAGE`).
    fn page_of(&self, bucket: u32) -> std::result::Result<u32, Fault> {
        let doublings = (u32::BITS - bucket.leading_zeros()) as usize;
        let spare = self.spares.get(doublings).copied().unwrap_or_default();
        match bucket.checked_add(spare) {
            Some(page) if page != 0 => Ok(page),
            _ => fault(format!("its bucket {bucket} has no page")),
        }
    }
}

/// The pages of a database, each given once.
struct Pages<'d> {
    database: &'d DatabaseFile,
    meta: Meta,
    /// A bit for each page, set when the page is read.
    seen: Vec<u64>,
    /// The number of keys so far.
    pairs: u32,
}

impl Pages<'_> {
    /// Reads a page. Fails for a page past the end, and a page read before.
    fn take(&mut self, number: u32) -> std::result::Result<Vec<u8>, Fault> {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if number == 0 || number > self.meta.last_page {
            return fault(format!("a chain leads to page {number}, which it has not"));
        }
        if self.seen[word] & bit != 0 {
            return fault(format!("two chains lead to page {number}"));
        }
        self.seen[word] |= bit;
        let page_bytes = self.meta.page_bytes as usize;
        let at = u64::from(number) * page_bytes as u64;
        self.database.bytes(at, page_bytes)
    }

    /// Fails for a page with another number.
    fn check_number(&self, page: &[u8], number: u32) -> std::result::Result<(), Fault> {
        if self.meta.order.u32(page, 8) == number {
            Ok(())
        } else {
            fault(format!("page {number} is malformed"))
        }
    }

    /// Reads the packages of a page of the hash: items are keys and values in turn, from the end of the page on.
    fn read_items(&mut self, page: &[u8], headers: &mut Headers) -> std::result::Result<(), Fault> {
        let order = self.meta.order;
        let malformed = || {
            let what = format!("page {} is malformed", order.u32(page, 8));
            Fault::Content(what)
        };
        if !matches!(page[25], page_type::HASH | page_type::HASH_UNSORTED) {
            return Err(malformed());
        }
        let items = usize::from(order.u16(page, 20));
        let offsets = page.get(PAGE_HEAD_BYTES..PAGE_HEAD_BYTES + 2 * items);
        let offsets = offsets.filter(|_| items.is_multiple_of(2));
        let mut end = page.len();
        let mut key = &page[..0];
        for (number, offset) in offsets.ok_or_else(malformed)?.chunks_exact(2).enumerate() {
            let offset = usize::from(order.u16(offset, 0));
            let is_among = offset >= PAGE_HEAD_BYTES + 2 * items;
            let item = page.get(offset..end).filter(|_| is_among);
            let item = item.filter(|item| !item.is_empty()).ok_or_else(malformed)?;
            end = offset;
            if number.is_multiple_of(2) {
                self.pairs = self.pairs.saturating_add(1);
                key = item;
            } else if let Some(bytes) = self.package(key, item).map_err(|()| malformed())? {
                headers.add(&bytes.read(self)?)?;
            }
        }
        Ok(())
    }

    /// Returns where the header of a package is; `None` for the value of key 0, the largest number so far.
    fn package<'p>(
        &self,
        key: &[u8],
        value: &'p [u8],
    ) -> std::result::Result<Option<Bytes<'p>>, ()> {
        let order = self.meta.order;
        let [item_type::KEY_DATA, number @ ..] = key else {
            return Err(());
        };
        if number.len() != 4 {
            return Err(());
        }
        if number == [0; 4] {
            return Ok(None);
        }
        match value {
            [item_type::KEY_DATA, bytes @ ..] => Ok(Some(Bytes::Here(bytes))),
            [item_type::OFF_PAGE, ..] if value.len() == OFF_PAGE_BYTES => Ok(Some(Bytes::Chain {
                first_page: order.u32(value, 4),
                length: order.u32(value, 8),
            })),
            _ => Err(()),
        }
    }

    /// Reads a chain of overflow pages.
    fn read_chain(&mut self, first_page: u32, length: u32) -> std::result::Result<Vec<u8>, Fault> {
        if length as usize > LONGEST_HEADER_BYTES {
            return fault(format!("a package has a header of {length} bytes"));
        }
        let (mut next, mut bytes) = (first_page, Vec::new());
        while bytes.len() < length as usize {
            let page = self.take(next)?;
            self.check_number(&page, next)?;
            let own = usize::from(self.meta.order.u16(&page, 22));
            let own = page.get(PAGE_HEAD_BYTES..PAGE_HEAD_BYTES + own);
            let own = own.filter(|own| page[25] == page_type::OVERFLOW && !own.is_empty());
            let Some(own) = own else {
                return fault(format!("page {next} is malformed"));
            };
            bytes.extend_from_slice(own);
            next = self.meta.order.u32(&page, 16);
        }
        if bytes.len() > length as usize || next != 0 {
            return fault("a package is longer than its length");
        }
        Ok(bytes)
    }
}

/// The bytes of a value.
enum Bytes<'p> {
    /// On the page of the item.
    Here(&'p [u8]),
    /// On pages of their own.
    Chain { first_page: u32, length: u32 },
}

impl<'p> Bytes<'p> {
    fn read(self, pages: &mut Pages) -> std::result::Result<std::borrow::Cow<'p, [u8]>, Fault> {
        match self {
            Self::Here(bytes) => Ok(bytes.into()),
            Self::Chain { first_page, length } => {
                pages.read_chain(first_page, length).map(Into::into)
            }
        }
    }
}
