//! rpm's ndb backend: blobs of 16-byte blocks, found by slots at the head of the file (lib/backend/ndb/rpmpkg.c in rpm's source).
//!
//! ```text
//! "RpmP", version 0, generation, pages of slots, next package: u32 each; 12 bytes
//! slot = "Slot", package, first block (0 for a free slot), blocks: u32 each
//! blob = "BlbS", package, generation, length: u32 each; header; zeros up to a block; Adler-32 of the above, length, "BlbE": u32 each
//! ```
//!
//! All numbers are little-endian on any machine.

use super::database_file::DatabaseFile;
use super::fault::{Fault, fault};
use super::headers::{Headers, LONGEST_HEADER_BYTES};
use crate::model::limits::MOST_PACKAGES;

const MAGIC: &[u8; 4] = b"RpmP";
const SLOT_MAGIC: &[u8; 4] = b"Slot";
const BLOB_MAGIC: &[u8; 4] = b"BlbS";
const BLOB_END: &[u8; 4] = b"BlbE";

const PAGE_BYTES: usize = 4096;
/// Blocks and slots have one length.
const BLOCK_BYTES: usize = 16;
/// The slots of the first page begin after the header.
const FIRST_SLOTS_AT: usize = 32;
const BLOB_HEAD_BYTES: usize = 16;
const BLOB_TAIL_BYTES: usize = 12;
/// The modulus of Adler-32, and the number of bytes to sum up before each modulo (RFC 1950).
const ADLER_MODULUS: u32 = 65_521;
const ADLER_RUN_BYTES: usize = 5552;

/// Where a package lies.
struct Slot {
    package: u32,
    first_block: u32,
    blocks: u32,
}

/// Gives all headers to `headers`. Fails where rpm would refuse the database, and for a blob with a wrong sum: rpm looks at sums
/// only to write.
pub(super) fn read(
    database: &DatabaseFile,
    headers: &mut Headers,
) -> std::result::Result<(), Fault> {
    let mut slots = slots(database)?;
    // Slots that overlap would let a small file have any number of packages.
    slots.sort_by_key(|slot| slot.first_block);
    let mut free_from = 0;
    for slot in &slots {
        if slot.first_block < free_from {
            return fault("its packages overlap");
        }
        free_from = slot.first_block.saturating_add(slot.blocks);
    }
    // As rpm lists packages.
    slots.sort_by_key(|slot| slot.package);
    if slots.windows(2).any(|two| two[0].package == two[1].package) {
        return fault("two of its packages have one number");
    }
    for slot in slots {
        headers.add(&blob(database, &slot)?)?;
    }
    Ok(())
}

/// Returns the slots in use.
fn slots(database: &DatabaseFile) -> std::result::Result<Vec<Slot>, Fault> {
    let mut head = [0; FIRST_SLOTS_AT];
    database.read(0, &mut head)?;
    if &head[..4] != MAGIC {
        return fault("it is no database of ndb");
    }
    let [version, pages] = [4, 12].map(|at| number(&head, at));
    if version != 0 {
        return fault(format!("version {version} of ndb is not known"));
    }
    let mut slots = Vec::new();
    let mut page = [0; PAGE_BYTES];
    for at in 0..u64::from(pages) {
        database.read(at * PAGE_BYTES as u64, &mut page)?;
        let first = if at == 0 { FIRST_SLOTS_AT } else { 0 };
        for slot in page[first..].chunks_exact(BLOCK_BYTES) {
            if &slot[..4] != SLOT_MAGIC {
                return fault("one of its slots is malformed");
            }
            let [package, first_block, blocks] = [4, 8, 12].map(|at| number(slot, at));
            if first_block == 0 {
                continue;
            }
            if slots.len() == MOST_PACKAGES {
                return fault("it has more packages than any");
            }
            slots.push(Slot {
                package,
                first_block,
                blocks,
            });
        }
    }
    let first_block = pages.saturating_mul((PAGE_BYTES / BLOCK_BYTES) as u32);
    let is_wrong = |slot: &Slot| slot.package == 0 || slot.first_block < first_block;
    if slots.iter().any(is_wrong) {
        return fault("one of its slots is malformed");
    }
    Ok(slots)
}

/// Returns the header of a package.
fn blob(database: &DatabaseFile, slot: &Slot) -> std::result::Result<Vec<u8>, Fault> {
    let length = (slot.blocks as usize).saturating_mul(BLOCK_BYTES);
    if length > LONGEST_HEADER_BYTES {
        return fault(format!("its package {} has {length} bytes", slot.package));
    }
    let at = u64::from(slot.first_block) * BLOCK_BYTES as u64;
    let mut bytes = database.bytes(at, length)?;
    let malformed = || Fault::Content(format!("its package {} is malformed", slot.package));
    let tail_at = length.checked_sub(BLOB_TAIL_BYTES).ok_or_else(malformed)?;
    let (body, tail) = bytes.split_at(tail_at);
    let head = body.get(..BLOB_HEAD_BYTES).ok_or_else(malformed)?;
    let header_bytes = number(head, 12) as usize;
    let padding = (body.len() - BLOB_HEAD_BYTES).checked_sub(header_bytes);
    let is_framed = &head[..4] == BLOB_MAGIC
        && number(head, 4) == slot.package
        && padding.is_some_and(|padding| padding < BLOCK_BYTES)
        && number(tail, 4) as usize == header_bytes
        && &tail[8..] == BLOB_END;
    if !is_framed || number(tail, 0) != adler32(body) {
        return Err(malformed());
    }
    bytes.truncate(BLOB_HEAD_BYTES + header_bytes);
    bytes.drain(..BLOB_HEAD_BYTES);
    Ok(bytes)
}

/// Reads a number of four bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes[at..].first_chunk().copied();
    u32::from_le_bytes(four.unwrap_or_default())
}

/// RFC 1950, section 9.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for run in bytes.chunks(ADLER_RUN_BYTES) {
        for byte in run {
            low += u32::from(*byte);
            high += low;
        }
        low %= ADLER_MODULUS;
        high %= ADLER_MODULUS;
    }
    high << 16 | low
}
