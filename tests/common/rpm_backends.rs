//! Files of rpm's backends as rpm writes them, of headers; and back, of files that are known to be sound.

use std::io::Read;
use std::path::Path;

/// Returns a real database of fixtures/rpmdb.
pub fn real(name: &str) -> Vec<u8> {
    let path = Path::new(super::REPOSITORY).join(format!("fixtures/rpmdb/{name}.xz"));
    let file = std::fs::File::open(path).unwrap();
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(file, true)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// The order of bytes in the numbers of Berkeley DB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    fn u16(self, number: usize) -> [u8; 2] {
        match self {
            Self::Little => (number as u16).to_le_bytes(),
            Self::Big => (number as u16).to_be_bytes(),
        }
    }
}

/// Returns a database of ndb: one page of slots, or as many as the packages need, and a free slot between.
pub fn ndb(headers: &[Vec<u8>]) -> Vec<u8> {
    let le =
        |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let pages = (2 + 2 * headers.len()).div_ceil(256);
    let mut blobs = Vec::new();
    let mut slots = Vec::new();
    for (header, number) in headers.iter().zip(1_u32..) {
        let first_block = pages * 256 + blobs.len() / 16;
        let mut blob = [
            b"BlbS".to_vec(),
            le(&[number, 1, header.len() as u32]),
            header.clone(),
        ]
        .concat();
        blob.resize((blob.len() + 12).next_multiple_of(16) - 12, 0);
        let tail = [adler32(&blob), header.len() as u32];
        blob.extend(le(&tail));
        blob.extend(b"BlbE");
        slots.extend([b"Slot".to_vec(), le(&[0, 0, 0])].concat());
        slots.extend(b"Slot");
        slots.extend(le(&[number, first_block as u32, blob.len() as u32 / 16]));
        blobs.extend(blob);
    }
    let head = [
        b"RpmP".to_vec(),
        le(&[0, 1, pages as u32, 1 + headers.len() as u32, 0, 0, 0]),
    ]
    .concat();
    let mut file = [head, slots].concat();
    while file.len() < pages * 4096 {
        file.extend([b"Slot".to_vec(), le(&[0, 0, 0])].concat());
    }
    [file, blobs].concat()
}

/// RFC 1950, section 8.2, byte by byte.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u64, 0_u64);
    for byte in bytes {
        low = (low + u64::from(*byte)) % 65521;
        high = (high + low) % 65521;
    }
    (high << 16 | low) as u32
}

/// Returns the headers of a sound database of ndb.
pub fn of_ndb(file: &[u8]) -> Vec<Vec<u8>> {
    let number = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let slots = (32..number(12) * 4096).step_by(16);
    let mut slots: Vec<_> = slots
        .map(|at| (number(at + 4), number(at + 8) * 16))
        .collect();
    slots.retain(|(_, blob)| *blob != 0);
    slots.sort_unstable();
    let blobs = slots
        .iter()
        .map(|(_, blob)| file[blob + 16..blob + 16 + number(blob + 12)].to_vec());
    blobs.collect()
}

/// A database of Berkeley DB while it is made.
struct Pages {
    order: Order,
    bytes: usize,
    pages: Vec<Vec<u8>>,
}

impl Pages {
    /// Adds an empty page, and returns its number.
    fn add(&mut self, kind: u8) -> usize {
        let mut page = vec![0; self.bytes];
        page[8..12].copy_from_slice(&self.order.u32(self.pages.len() as u32));
        page[22..24].copy_from_slice(&self.order.u16(self.bytes));
        page[25] = kind;
        self.pages.push(page);
        self.pages.len() - 1
    }

    fn set_next(&mut self, page: usize, next: usize) {
        let next = self.order.u32(next as u32);
        self.pages[page][16..20].copy_from_slice(&next);
    }

    /// Puts bytes on overflow pages, and returns the first.
    fn chain(&mut self, bytes: &[u8]) -> usize {
        let (mut first, mut last) = (0, 0);
        for part in bytes.chunks(self.bytes - 26) {
            let page = self.add(7);
            self.pages[page][26..26 + part.len()].copy_from_slice(part);
            let length = self.order.u16(part.len());
            self.pages[page][22..24].copy_from_slice(&length);
            if first == 0 {
                first = page;
            } else {
                self.set_next(last, page);
            }
            last = page;
        }
        first
    }

    /// Puts a key and a value on the last page of a bucket, or a new one.
    fn put(&mut self, bucket: &mut usize, items: [Vec<u8>; 2], count: &mut usize, end: &mut usize) {
        let needed: usize = items.iter().map(|item| item.len() + 2).sum();
        if 26 + 2 * *count + needed > *end {
            let next = self.add(13);
            self.set_next(*bucket, next);
            (*bucket, *count, *end) = (next, 0, self.bytes);
        }
        for item in items {
            *end -= item.len();
            let offset = self.order.u16(*end);
            let page = &mut self.pages[*bucket];
            page[*end..*end + item.len()].copy_from_slice(&item);
            page[26 + 2 * *count..28 + 2 * *count].copy_from_slice(&offset);
            *count += 1;
        }
        let (count, end) = (self.order.u16(*count), self.order.u16(*end));
        self.pages[*bucket][20..22].copy_from_slice(&count);
        self.pages[*bucket][22..24].copy_from_slice(&end);
    }
}

/// Returns a hash of Berkeley DB with three buckets, and key 0 among the packages as rpm has it.
pub fn berkeley_db(headers: &[Vec<u8>], page_bytes: usize, order: Order) -> Vec<u8> {
    let mut pages = Pages {
        order,
        bytes: page_bytes,
        pages: Vec::new(),
    };
    pages.add(8);
    // (last page, items on it, end of the free part)
    let mut buckets = [0; 3].map(|_| (pages.add(13), 0, page_bytes));
    let largest = order.u32(headers.len() as u32).to_vec();
    let values = headers.iter().map(Vec::as_slice);
    for (number, value) in [largest.as_slice()].into_iter().chain(values).enumerate() {
        let key = [vec![1], order.u32(number as u32).to_vec()].concat();
        let value = if value.len() > page_bytes / 4 {
            let first = pages.chain(value);
            let place = [order.u32(first as u32), order.u32(value.len() as u32)].concat();
            [vec![3, 0, 0, 0], place].concat()
        } else {
            [&[1], value].concat()
        };
        let (page, count, end) = &mut buckets[number % 3];
        pages.put(page, [key, value], count, end);
    }
    let last_page = pages.pages.len() as u32 - 1;
    let meta = &mut pages.pages[0];
    let mut set = |at: usize, number: u32| meta[at..at + 4].copy_from_slice(&order.u32(number));
    let fields = [
        (12, 0x61561),
        (16, 9),
        (20, page_bytes as u32),
        (32, last_page),
    ];
    // Buckets, masks, number of pairs; what lies before buckets 0, 1, and 2 to 3.
    let hash = [
        (72, 2),
        (76, 3),
        (80, 1),
        (88, headers.len() as u32 + 1),
        (96, 1),
        (100, 1),
        (104, 1),
    ];
    for (at, number) in fields.into_iter().chain(hash) {
        set(at, number);
    }
    pages.pages.concat()
}

/// Returns the headers of a sound little-endian database of Berkeley DB: all pages of items, whatever bucket they are of.
pub fn of_berkeley_db(file: &[u8]) -> Vec<Vec<u8>> {
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    let short = |bytes: &[u8], at: usize| {
        usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
    };
    let page_bytes = number(file, 20);
    let page = |at: usize| &file[at * page_bytes..(at + 1) * page_bytes];
    let mut packages = Vec::new();
    for items in file.chunks(page_bytes).filter(|page| page[25] == 13) {
        let offset = |item: usize| {
            if item == 0 {
                page_bytes
            } else {
                short(items, 24 + 2 * item)
            }
        };
        for item in (0..short(items, 20)).step_by(2) {
            let key = number(items, offset(item + 1) + 1);
            let value = &items[offset(item + 2)..offset(item + 1)];
            if key != 0 && value[0] == 1 {
                packages.push((key, value[1..].to_vec()));
            } else if key != 0 {
                let (mut next, mut header) = (number(value, 4), Vec::new());
                while next != 0 {
                    header.extend(&page(next)[26..26 + short(page(next), 22)]);
                    next = number(page(next), 16);
                }
                assert_eq!(header.len(), number(value, 8));
                packages.push((key, header));
            }
        }
    }
    packages.sort_unstable();
    packages.into_iter().map(|(_, header)| header).collect()
}
