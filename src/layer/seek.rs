//! Reads files of a native layer by offset, on any number of threads, without decompressing the rest.
//!
//! The bytes of a layer follow from the entries, so the place of each content is known beforehand; and a blob in zstd
//! consists of independent frames. Only frames with wanted content are decompressed, as far as needed. The caller compares
//! a content with the hash.

use super::members::{Members, write_whiteout};
use super::zstandard::block_bytes;
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::frame_table::FrameTable;
use crate::model::tree::entry::{Entry, Kind};
use crate::model::tree::overlay::LayerItem;
use crate::model::tree::path::EntryPath;
use crate::tarball::{BLOCK_BYTES, END, padding};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use zstd::zstd_safe::{DCtx, get_error_name};

const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 128 * 1024;
/// No frame of any level is longer, with its content or without.
const LARGEST_FRAME_BYTES: u64 = 32 << 20;
/// A whole number of frames of any level.
const PART_BYTES: u64 = 32 << 20;

/// The place of a content in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name of the file.
    pub name: EntryPath,
    /// The offset in the uncompressed layer.
    pub start: u64,
    /// The length.
    pub size_bytes: u64,
}

/// Returns the places of the wanted contents, in order, and the length of the layer: a foreign layer has another length.
/// Fails if tar cannot express an entry.
pub fn places(
    items: &[LayerItem],
    is_wanted: impl Fn(&EntryPath) -> bool,
) -> Result<(Vec<Place>, u64)> {
    let mut members = Members::default();
    let mut header = Vec::new();
    let mut at = 0;
    let mut places = Vec::new();
    for item in items {
        header.clear();
        match item {
            LayerItem::Whiteout(path) => write_whiteout(path, &mut header)?,
            LayerItem::Opaque(_) => {}
            LayerItem::Entry(entry) => {
                let size_bytes = if members.has_content(entry) {
                    entry.size_bytes()
                } else {
                    0
                };
                if is_plain(entry) {
                    at += BLOCK_BYTES as u64;
                } else {
                    members.write_entry(entry, &entry.xattrs, &mut header)?;
                }
                let start = at + header.len() as u64;
                if size_bytes > 0 && is_wanted(&entry.path) {
                    places.push(Place {
                        name: entry.path.clone(),
                        start,
                        size_bytes,
                    });
                }
                at += size_bytes + padding(size_bytes) as u64;
            }
        }
        at += header.len() as u64;
    }
    Ok((places, at + END.len() as u64))
}

/// Tells, for most entries, that the header has a single block, without writing the header.
fn is_plain(entry: &Entry) -> bool {
    const LONGEST_NAME: usize = 98; // fits even with a slash
    let is_plain_kind = match &entry.kind {
        Kind::Directory | Kind::Fifo => true,
        Kind::File { size_bytes, .. } => *size_bytes <= u64::from(u32::MAX),
        Kind::Symlink(target) => target.len() <= LONGEST_NAME,
        Kind::CharDevice(_) | Kind::BlockDevice(_) => false,
    };
    is_plain_kind
        && (1..=LONGEST_NAME).contains(&entry.path.key().len())
        && entry.uid.max(entry.gid) <= 1 << 20
        && (0..=i64::from(u32::MAX)).contains(&entry.mtime_s)
        && entry.xattrs.iter().next().is_none()
        && entry.group.is_none()
}

/// Splits places, in order, into parts for threads: no frame belongs to two parts, except for a content that continues in
/// the next frame.
pub fn parts(places: &[Place]) -> impl Iterator<Item = &[Place]> {
    places.chunk_by(|a, b| a.start / PART_BYTES == b.start / PART_BYTES)
}

/// The decompressor of a thread; a new context for each frame would cost more than the frame.
pub struct Decompressor {
    context: DCtx<'static>,
    buffer: Vec<u8>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self {
            context: DCtx::create(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }
}

/// A blob in zstd, as frames. The search for frames goes as far as needed, once for all threads.
#[derive(Debug)]
pub struct Frames {
    blob: BlobSource,
    walk: Mutex<Walk>,
}

/// The frames known so far.
#[derive(Debug, Default)]
struct Walk {
    frames: Vec<Frame>,
    /// The beginning of the next frame.
    next: Frame,
}

/// A frame of a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frame {
    /// The offset in the blob.
    position: u64,
    /// The offset of the content in the layer.
    start: u64,
}

impl Frames {
    /// Takes the blob of a layer of `tar_bytes`; `None` for a foreign compressor, whose frames may lack lengths. Fails if the
    /// first bytes cannot be read.
    pub fn open(blob: &BlobSource, tar_bytes: u64) -> Result<Option<Self>> {
        let first = FrameHeader::read(blob, 0).map_err(Error::io("read", blob.path()))?;
        let is_block = |bytes| {
            [1, 9, 16]
                .iter()
                .any(|level| block_bytes(*level) as u64 == bytes)
        };
        if first
            .is_none_or(|first| first.content_bytes != tar_bytes && !is_block(first.content_bytes))
        {
            return Ok(None);
        }
        Ok(Some(Self {
            blob: blob.clone(),
            walk: Mutex::default(),
        }))
    }

    /// Takes a blob whose frames are known, of a layer that ends at `end`; `u64::MAX` where nobody wants the last frame as a whole. A
    /// table that is wrong gives other contents, or none.
    pub(crate) fn of_table(blob: &BlobSource, table: &FrameTable, end: u64) -> Self {
        let offsets = table.offsets().into_iter();
        let mut frames: Vec<Frame> = offsets
            .map(|(position, start)| Frame { position, start })
            .collect();
        frames.pop();
        // Behind the last frame is nothing to look for.
        let next = Frame {
            position: blob.size_bytes(),
            start: end,
        };
        Self {
            blob: blob.clone(),
            walk: Mutex::new(Walk { frames, next }),
        }
    }

    /// Returns the lengths of all frames; `None` where a frame but the last has another length of content than the first, and if
    /// the frames do not end where the blob does. Fails if the blob cannot be read, or a frame is malformed.
    pub fn table(&self) -> Result<Option<FrameTable>> {
        let failed = |e: io::Error| Error::damaged(self.blob.path(), e.to_string());
        let mut frame = Frame::default();
        let (mut lengths, mut content_bytes) = (Vec::new(), None);
        let mut is_even = true;
        while frame.position < self.blob.size_bytes() {
            let next = self.after(frame).map_err(failed)?;
            let content = next.start - frame.start;
            let usual = *content_bytes.get_or_insert(content);
            let is_last = next.position == self.blob.size_bytes();
            is_even &= usual > 0 && (content == usual || is_last && content < usual);
            lengths.push(next.position - frame.position);
            frame = next;
        }
        let is_whole = frame.position == self.blob.size_bytes();
        let table = content_bytes.map(|bytes| FrameTable::new(bytes, lengths));
        Ok(table.filter(|_| is_even && is_whole))
    }

    /// Gives `take` the contents at `places`, in order, until `take` returns `false`. Fails with [`Error::Damaged`] if a frame
    /// is missing or malformed, and if `take` fails.
    pub fn read(
        &self,
        places: &[Place],
        decompressor: &mut Decompressor,
        mut take: impl FnMut(&Place, &mut dyn Read) -> Result<bool>,
    ) -> Result<()> {
        let failed = |e: io::Error| Error::damaged(self.blob.path(), e.to_string());
        let Decompressor { context, buffer } = decompressor;
        let mut rest = places.iter().peekable();
        while let Some(first) = rest.peek() {
            let frame = self.holding(first.start).map_err(failed)?;
            let input = self.blob.reader_at(frame.position);
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            let mut decoder = zstd::Decoder::with_context(input, context);
            let mut at = frame.start;
            while let Some(place) = rest.peek() {
                if self.holding(place.start).map_err(failed)?.start > at || at > place.start {
                    break;
                }
                skip(&mut decoder, place.start - at, buffer).map_err(failed)?;
                let mut content = decoder.by_ref().take(place.size_bytes);
                if !take(place, &mut content)? {
                    return Ok(());
                }
                at = place.start + place.size_bytes - content.limit();
                rest.next();
            }
        }
        Ok(())
    }

    /// Returns the bytes of the layer that are in the frame with byte `at`. Fails if the frames before cannot be read, or end before
    /// `at`.
    pub(crate) fn extent_of(&self, at: u64) -> Result<Range<u64>> {
        let around = self.around(at);
        around
            .map(|(frame, next)| frame.start..next.start)
            .map_err(|e| Error::damaged(self.blob.path(), e.to_string()))
    }

    /// Tells whether the first frame is longer than any written here, so [`Frames::decompress`] refuses it.
    pub(crate) fn begins_long(&self) -> bool {
        self.around(0)
            .is_ok_and(|(_, next)| next.start > LARGEST_FRAME_BYTES)
    }

    /// Decompresses the whole frame with byte `at` of the layer. Fails with [`Error::Damaged`] if the frame is longer than any that
    /// is written here, or is malformed.
    pub(crate) fn decompress(&self, at: u64, decompressor: &mut Decompressor) -> Result<Vec<u8>> {
        let bytes = self.decompressed(at, decompressor);
        bytes.map_err(|e| Error::damaged(self.blob.path(), e.to_string()))
    }

    fn decompressed(&self, at: u64, decompressor: &mut Decompressor) -> io::Result<Vec<u8>> {
        let (frame, next) = self.around(at)?;
        let lengths = [next.position - frame.position, next.start - frame.start];
        if lengths.iter().any(|length| *length > LARGEST_FRAME_BYTES) {
            return Err(io::Error::other("a frame is too long"));
        }
        let [packed_bytes, content_bytes] = lengths.map(|length| length as usize);
        let mut packed = vec![0; packed_bytes];
        self.blob.read_exact_at(&mut packed, frame.position)?;
        let mut content = Vec::with_capacity(content_bytes);
        let context = &mut decompressor.context;
        let count = context.decompress(&mut content, &packed);
        let count = count.map_err(|code| io::Error::other(get_error_name(code)))?;
        if count != content_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content)
    }

    /// Returns the frame with byte `at` of the layer.
    fn holding(&self, at: u64) -> io::Result<Frame> {
        self.around(at).map(|(frame, _)| frame)
    }

    /// Returns the frame with byte `at` of the layer, and the next.
    fn around(&self, at: u64) -> io::Result<(Frame, Frame)> {
        let mut walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        while walk.next.start <= at {
            let frame = walk.next;
            walk.next = self.after(frame)?;
            walk.frames.push(frame);
        }
        let behind = walk.frames.partition_point(|frame| frame.start <= at);
        let place = behind.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
        let next = walk.frames.get(behind).unwrap_or(&walk.next);
        Ok((walk.frames[place], *next))
    }

    /// Finds the end of a frame by the headers of the frame and the blocks (RFC 8878, "Zstandard Frames").
    fn after(&self, frame: Frame) -> io::Result<Frame> {
        if frame.position >= self.blob.size_bytes() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = FrameHeader::read(&self.blob, frame.position)?;
        let header = header.ok_or(io::ErrorKind::InvalidData)?;
        let mut position = frame.position + header.bytes;
        loop {
            let mut block = [0; 4];
            self.blob.read_exact_at(&mut block[..3], position)?;
            let block = u32::from_le_bytes(block);
            position += 3 + if block >> 1 & 3 == 1 {
                1
            } else {
                u64::from(block >> 3)
            };
            if block & 1 == 1 {
                break;
            }
        }
        let start = frame
            .start
            .checked_add(header.content_bytes)
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(Frame {
            position: position + header.checksum_bytes,
            start,
        })
    }
}

/// The header of a frame.
struct FrameHeader {
    bytes: u64,
    content_bytes: u64,
    checksum_bytes: u64,
}

impl FrameHeader {
    /// Reads the header at `position`; `None` for no frame, or a frame without the length of the content.
    fn read(blob: &BlobSource, position: u64) -> io::Result<Option<Self>> {
        let mut header = [0; 14];
        let known = blob.size_bytes().saturating_sub(position).min(14) as usize;
        blob.read_exact_at(&mut header[..known], position)?;
        let descriptor = header[4];
        let is_single = descriptor >> 5 & 1 == 1;
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let at = 5 + usize::from(!is_single) + dictionary;
        let (bytes, more) = match descriptor >> 6 {
            0 if is_single => (1, 0),
            1 => (2, 256),
            2 => (4, 0),
            3 => (8, 0),
            _ => return Ok(None),
        };
        let Some(field) = header
            .get(at..at + bytes)
            .filter(|_| header[..4] == FRAME_MAGIC)
        else {
            return Ok(None);
        };
        let mut size = [0; 8];
        size[..bytes].copy_from_slice(field);
        Ok(Some(Self {
            bytes: (at + bytes) as u64,
            content_bytes: u64::from_le_bytes(size) + more,
            checksum_bytes: u64::from(descriptor >> 2 & 1) * 4,
        }))
    }
}

/// Skips as many bytes.
fn skip(input: &mut impl Read, mut bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
    while bytes > 0 {
        let most = bytes.min(buffer.len() as u64) as usize;
        match input.read(&mut buffer[..most]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes -= count as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::any_tree;
    use proptest::prelude::*;

    /// All headers written, one after another.
    fn written_bytes(items: &[LayerItem]) -> u64 {
        let mut members = Members::default();
        let mut bytes = END.len() as u64;
        for item in items {
            let mut out = Vec::new();
            if let LayerItem::Entry(entry) = item {
                let size_bytes = if members.has_content(entry) {
                    entry.size_bytes()
                } else {
                    0
                };
                members.write_entry(entry, &entry.xattrs, &mut out).unwrap();
                bytes += out.len() as u64 + size_bytes + padding(size_bytes) as u64;
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn headers_that_are_not_written_are_as_long_as_those_that_are(
            tree in any_tree(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u8), 0..6),
        ) {
            let mut entries = tree.into_entries();
            for (at, change) in changes.into_iter().filter(|_| !entries.is_empty()).collect::<Vec<_>>() {
                let at = at.index(entries.len());
                let entry = &mut entries[at];
                match change {
                    0 => entry.uid = 2_097_152,
                    1 => entry.gid = u32::MAX,
                    2 => entry.mtime_s = -1,
                    3 => entry.mtime_s = 1 << 34,
                    4 => entry.kind = Kind::Symlink(vec![b'x'; 100].into()),
                    5 => entry.kind = Kind::Symlink(vec![b'x'; 101].into()),
                    6 => entry.path = entry.path.join(&[b'n'; 99]),
                    _ => entry.path = entry.path.join(&[b'n'; 98]),
                }
            }
            let items: Vec<LayerItem> = entries.into_iter().map(LayerItem::Entry).collect();
            prop_assert_eq!(places(&items, |_| false).unwrap().1, written_bytes(&items));
        }
    }
}
