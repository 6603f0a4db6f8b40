//! Tar members, read: ustar, pax and GNU archives, as other tools write layers.
//!
//! The bytes are hostile. Every number is checked, no length is believed before the comparison with a limit, and only a
//! single header is kept. Headers are parsed by bytes, without the tar crate.
//!
//! Supported are ustar names with a prefix (POSIX.1-2017, pax(1), "ustar Interchange Format"), pax extended headers for a
//! member, GNU's long names and links (`L`, `K`) and numbers in base 256. Global pax headers are passed over, and a sparse
//! file is refused, as by engines.

use super::defect::{Result, TarError, malformed};
use super::records::{Records, decimal};
use super::{BLOCK_BYTES, padding};
use crate::model::limits::{LARGEST_EXTENDED_BYTES, LARGEST_EXTENDED_SUM_BYTES};
use std::io::{self, Read, Seek, SeekFrom};

/// The most extended headers before a member.
const MOST_EXTENDED: usize = 8;

/// A member of an archive, without content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The path in the archive; a directory may end in a slash or not.
    pub path: Vec<u8>,
    /// The type, with target, size or device.
    pub kind: FoundKind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds, rounded down; may be negative.
    pub mtime_s: i64,
    /// Extended attributes: name and value, as in the archive.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The type of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A file with bytes of content for [`Reader::read`].
    File(u64),
    /// Another name of the member with a path.
    Link(Vec<u8>),
    /// A symlink to a target.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

/// Reads an archive from beginning to end, member by member.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Unread bytes of the current content.
    content_left: u64,
    /// Bytes after the content, up to the next header.
    padding_left: u64,
    /// The offset of the next byte in the archive.
    position: u64,
    /// Bytes of all extended headers so far.
    extended_bytes: u64,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    pub fn new(input: R) -> Self {
        Self {
            input,
            content_left: 0,
            padding_left: 0,
            position: 0,
            extended_bytes: 0,
            is_over: false,
        }
    }

    /// Returns the next member, `None` at the end. Unread content of the previous member is skipped. Fails if a header is
    /// malformed, or the archive is cut.
    pub fn next_member(&mut self) -> Result<Option<Found>> {
        let mut extended = Extended::default();
        for _ in 0..=MOST_EXTENDED {
            let Some(block) = self.next_header()? else {
                return if extended.is_empty() {
                    Ok(None)
                } else {
                    malformed("ends after an extended header")
                };
            };
            let header = Header(&block);
            let size = header.number(124..136)?;
            match header.type_flag() {
                b'x' => extended.records.add(&self.extended(size)?)?,
                b'g' => drop(self.extended(size)?), // for all following members: ignored by engines, too
                b'L' => extended.long_path = Some(without_nul(self.extended(size)?)),
                b'K' => extended.long_link = Some(without_nul(self.extended(size)?)),
                b'V' => self.skip(size)?, // a label of the whole archive
                _ => return self.begin_member(&header, size, extended).map(Some),
            }
        }
        malformed("has too many extended headers before a member")
    }

    /// Returns a member by all its headers; the content is read next.
    fn begin_member(&mut self, header: &Header, size: u64, extended: Extended) -> Result<Found> {
        let found = header.found(size, extended);
        let (found, content_bytes) = found.map_err(|error| named(error, header.path()))?;
        self.content_left = content_bytes;
        self.padding_left = padding(content_bytes) as u64;
        Ok(found)
    }

    /// Reads from the content of the current member; 0 at the end. Fails if the archive ends early.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.content_left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..most])?;
        if count == 0 {
            return malformed("ends within a file");
        }
        self.content_left -= count as u64;
        Ok(count)
    }

    /// Returns the offset of the unread content in the archive.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the input, behind the end of the archive once [`Self::next_member`] has returned `None`.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Returns the next header block; `None` at the end.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>> {
        if self.is_over {
            return Ok(None);
        }
        let left = self.content_left + self.padding_left;
        (self.content_left, self.padding_left) = (0, 0);
        self.skip(left)?;
        let mut block = [0; BLOCK_BYTES];
        let count = self.fill(&mut block)?;
        if count == 0 {
            self.is_over = true; // without an end mark, as from some tools
            return Ok(None);
        }
        if count < BLOCK_BYTES {
            return malformed("ends within a header");
        }
        if block.iter().all(|byte| *byte == 0) {
            self.is_over = true;
            return Ok(None);
        }
        Header(&block).check()?;
        Ok(Some(block))
    }

    fn extended(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LARGEST_EXTENDED_BYTES {
            return malformed("has an extended header that is too large");
        }
        self.extended_bytes += size;
        if self.extended_bytes > LARGEST_EXTENDED_SUM_BYTES {
            return malformed("has more extended headers than any root needs");
        }
        let mut bytes = vec![0; size as usize];
        if self.fill(&mut bytes)? < bytes.len() {
            return malformed("ends within an extended header");
        }
        self.skip(padding(size) as u64)?;
        Ok(bytes)
    }

    /// Reads until the buffer is full or the input ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn skip(&mut self, mut bytes: u64) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        while bytes > 0 {
            let most = buffer
                .len()
                .min(usize::try_from(bytes).unwrap_or(usize::MAX));
            match self.read_some(&mut buffer[..most])? {
                0 => return malformed("ends within a file"),
                count => bytes -= count as u64,
            }
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
            }
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Skips the content of the current member by seeking; only a read would see a cut archive. Fails if the input cannot seek.
    pub(crate) fn seek_past_content(&mut self) -> Result<()> {
        self.input
            .seek(SeekFrom::Current(self.content_left.cast_signed()))?; // at most i64::MAX
        self.position += self.content_left;
        self.content_left = 0;
        Ok(())
    }
}

fn named(error: TarError, path: Vec<u8>) -> TarError {
    match error {
        TarError::Malformed { what, path: known } if known.is_empty() => {
            TarError::Malformed { what, path }
        }
        error => error,
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// The extended headers before a member.
#[derive(Default)]
struct Extended {
    records: Records,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extended {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.long_path.is_none() && self.long_link.is_none()
    }

    /// Returns the length in a record, or else `size` of the header.
    fn content_bytes(&self, size: u64) -> Result<u64> {
        let size = match self.records.get(b"size") {
            Some(value) => decimal(value)?,
            None => size,
        };
        if i64::try_from(size).is_err() {
            return malformed("has a length that is too large");
        }
        Ok(size)
    }
}

/// A header block.
struct Header<'b>(&'b [u8; BLOCK_BYTES]);

impl Header<'_> {
    fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// Compares the checksum; some tools sum signed bytes.
    fn check(&self) -> Result<()> {
        let byte = |(at, byte): (usize, &u8)| {
            if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            }
        };
        let bytes = || self.0.iter().enumerate().map(byte);
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        let stated = octal(&self.0[148..156]).map(u64::cast_signed);
        match stated {
            Some(sum) if sum == unsigned || sum == signed => Ok(()),
            _ => malformed("is no tar archive, or a header in it is damaged"),
        }
    }

    fn text(&self, range: std::ops::Range<usize>) -> &[u8] {
        let field = &self.0[range];
        &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
    }

    /// Octal digits, or base 256 where the first bit is set (GNU tar's manual, "Extensions to the archive format").
    fn signed_number(&self, range: std::ops::Range<usize>) -> Result<i64> {
        let field = &self.0[range];
        if field[0] & 0x80 == 0 {
            let value = octal(field).and_then(|value| i64::try_from(value).ok());
            return value.map_or_else(|| malformed("has a number that is none"), Ok);
        }
        // Two's complement, big-endian, without the marking bit.
        let is_negative = field[0] & 0x40 != 0;
        let mut value: i128 = if is_negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !is_negative {
                byte & 0x7f
            } else {
                *byte
            };
            value = value << 8 | i128::from(byte);
        }
        i64::try_from(value).or_else(|_| malformed("has a number that is too large"))
    }

    fn number(&self, range: std::ops::Range<usize>) -> Result<u64> {
        let value = self.signed_number(range)?;
        u64::try_from(value).or_else(|_| malformed("has a length or a number that is negative"))
    }

    fn id(&self, range: std::ops::Range<usize>) -> Result<u32> {
        u32::try_from(self.number(range)?).or_else(|_| malformed("has an owner that is too large"))
    }

    /// Returns the plain name, with the prefix of ustar.
    fn path(&self) -> Vec<u8> {
        let (name, prefix) = (self.text(0..100), self.text(345..500));
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }

    /// Returns the member and the length of the content.
    fn found(&self, size: u64, mut extended: Extended) -> Result<(Found, u64)> {
        let path = self.member_path(&mut extended)?;
        if extended.records.has_prefix(b"GNU.sparse.") {
            return malformed("is sparse, which layers must not be");
        }
        let size = extended.content_bytes(size)?;
        let kind = self.kind(&path, size, &mut extended)?;
        let records = &extended.records;
        let found = Found {
            mode: (self.number(100..108)? & 0o7777) as u16,
            uid: self.owner(records.get(b"uid"), 108..116)?,
            gid: self.owner(records.get(b"gid"), 116..124)?,
            mtime_s: match records.get(b"mtime") {
                Some(value) => seconds(value)?,
                None => self.signed_number(136..148)?,
            },
            xattrs: records.xattrs(),
            path,
            kind,
        };
        // Some tools write the length of the target of a link, without content.
        let size = if matches!(found.kind, FoundKind::File(_)) {
            size
        } else {
            self.content_of(size)
        };
        Ok((found, size))
    }

    /// Returns the path of a record, of a long name, or of the header, in this order.
    fn member_path(&self, extended: &mut Extended) -> Result<Vec<u8>> {
        let recorded = extended.records.get(b"path").map(<[u8]>::to_vec);
        let path = recorded
            .or_else(|| extended.long_path.take())
            .unwrap_or_else(|| self.path());
        if path.is_empty() || path.contains(&0) {
            return malformed("has a member without a name");
        }
        Ok(path)
    }

    fn kind(&self, path: &[u8], size: u64, extended: &mut Extended) -> Result<FoundKind> {
        Ok(match self.type_flag() {
            0 | b'0' | b'7' if path.ends_with(b"/") => FoundKind::Directory, // as before POSIX
            0 | b'0' | b'7' => FoundKind::File(size),
            b'1' => FoundKind::Link(self.target(extended)?),
            b'2' => FoundKind::Symlink(self.target(extended)?),
            b'3' => FoundKind::CharDevice(self.id(329..337)?, self.id(337..345)?),
            b'4' => FoundKind::BlockDevice(self.id(329..337)?, self.id(337..345)?),
            b'5' => FoundKind::Directory,
            b'6' => FoundKind::Fifo,
            b'S' => return malformed("is sparse, which layers must not be"),
            _ => return malformed("is of a type that no layer has"),
        })
    }

    /// Returns the target of a link: of a record, of a long name, or of the header, in this order.
    fn target(&self, extended: &mut Extended) -> Result<Vec<u8>> {
        let recorded = extended.records.get(b"linkpath").map(<[u8]>::to_vec);
        let target = recorded
            .or_else(|| extended.long_link.take())
            .unwrap_or_else(|| self.text(157..257).to_vec());
        if target.is_empty() || target.contains(&0) {
            return malformed("is a link to nothing");
        }
        Ok(target)
    }

    /// Returns an owner or a group: `recorded`, or else the field at `range`.
    fn owner(&self, recorded: Option<&[u8]>, range: std::ops::Range<usize>) -> Result<u32> {
        let Some(recorded) = recorded else {
            return self.id(range);
        };
        u32::try_from(decimal(recorded)?).or_else(|_| malformed("has an owner that is too large"))
    }

    /// Returns the length of the content of a member that is no file: 0, except for a directory of GNU's, to be skipped.
    fn content_of(&self, size: u64) -> u64 {
        if matches!(self.type_flag(), b'5' | 0 | b'0' | b'7') {
            size
        } else {
            0
        }
    }
}

/// Octal digits with spaces in front and a space or NUL behind; nothing is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|b| *b != b' ').unwrap_or(field.len());
    let rest = &field[start..];
    let end = rest
        .iter()
        .position(|b| matches!(b, b' ' | 0))
        .unwrap_or(rest.len());
    let digit = |value: u64, digit: &u8| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    };
    rest[..end].iter().try_fold(0, digit)
}

/// Seconds with a fraction, rounded down.
fn seconds(text: &[u8]) -> Result<i64> {
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let point = digits
        .iter()
        .position(|b| *b == b'.')
        .unwrap_or(digits.len());
    let fraction = digits.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) || point == 0 {
        return malformed("has a time that is none");
    }
    let whole = i128::from(decimal(&digits[..point])?);
    let is_cut = fraction.iter().any(|digit| *digit != b'0');
    let seconds = if is_negative {
        -whole - i128::from(is_cut)
    } else {
        whole
    };
    i64::try_from(seconds).or_else(|_| malformed("has a time that is none"))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
