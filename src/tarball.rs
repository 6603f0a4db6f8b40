//! Tar members, written as bytes: the only place that names the tar crate. Reading is in [`read`].
//!
//! POSIX ustar headers (pax(1), "ustar Interchange Format"), with a PAX extended header for values beyond the plain
//! fields: never a GNU extension. Of the tar crate the header block alone is used; the builder rewrites paths, writes GNU
//! records and does not compare lengths.
//!
//! Invariant: the bytes are a function of the member alone.

pub(crate) mod defect;
pub mod read;
mod records;

use crate::error::{Error, Result};
use crate::model::limits::LARGEST_EXTENDED_BYTES;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use tar::{EntryType, Header};

/// Headers and padding come in blocks of this many bytes.
pub(crate) const BLOCK_BYTES: usize = 512;

/// The end of an archive.
pub const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

const LONGEST_NAME: usize = 100;
const LARGEST_ID: u64 = 0o7_777_777;
const LARGEST_SIZE: u64 = 0o77_777_777_777;

/// A member's header.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Path with slashes; a directory ends in a slash.
    pub path: &'a [u8],
    /// The type, with target, size or device.
    pub kind: MemberKind<'a>,
    /// Permission bits, 0 to 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds; may be negative.
    pub mtime_s: i64,
    /// Further PAX records: key and value, sorted by key.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind<'a> {
    /// A file with bytes of content, which follow the header and are padded to a block.
    File(u64),
    /// Another name of the member with a path.
    Link(&'a [u8]),
    /// A symlink to a target.
    Symlink(&'a [u8]),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

impl<'a> Member<'a> {
    /// Returns a regular file of root's with mode 0644 and time 0.
    pub fn file(path: &'a [u8], size_bytes: u64) -> Self {
        let kind = MemberKind::File(size_bytes);
        Self {
            path,
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            records: Vec::new(),
        }
    }

    /// Appends the header to `out`, after an extended header if needed. Fails if a device number is too large for tar, or the
    /// extended header for readers.
    pub(crate) fn write_header(&self, out: &mut Vec<u8>) -> Result<()> {
        let mut header = self.plain_header()?;
        let mut records = self.records.clone();
        records.extend(self.needed_records());
        records.sort();
        if !records.is_empty() && write_extended(&records, out) > LARGEST_EXTENDED_BYTES {
            let reason = "its attributes and names are larger than 1 MiB, which no engine reads";
            return Err(Error::Unpackable {
                path: shown(self.path),
                reason,
            });
        }
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        Ok(())
    }

    /// Fills the plain fields; a value that does not fit is cut or zero, and a record has the true value.
    fn plain_header(&self) -> Result<Header> {
        let mut header = Header::new_ustar();
        let block = header.as_mut_bytes();
        copy_cut(&mut block[..LONGEST_NAME], self.path);
        copy_cut(&mut block[157..157 + LONGEST_NAME], self.kind.target());
        header.set_entry_type(self.kind.entry_type());
        let (major, minor) = self.kind.device();
        if u64::from(major.max(minor)) > LARGEST_ID {
            let reason = "tar has no field for a device number this large";
            return Err(Error::Unpackable {
                path: shown(self.path),
                reason,
            });
        }
        let block = header.as_mut_bytes();
        self.put_numbers(block);
        put_octal(&mut block[329..337], u64::from(major));
        put_octal(&mut block[337..345], u64::from(minor));
        Ok(header)
    }

    /// Fills the fields of mode, owner, size and time.
    fn put_numbers(&self, block: &mut [u8]) {
        let uid = fitting(u64::from(self.uid), LARGEST_ID);
        let gid = fitting(u64::from(self.gid), LARGEST_ID);
        let size = fitting(self.kind.size_bytes(), LARGEST_SIZE);
        let mtime = u64::try_from(self.mtime_s).map_or(0, |time| fitting(time, LARGEST_SIZE));
        put_octal(&mut block[100..108], u64::from(self.mode));
        put_octal(&mut block[108..116], uid);
        put_octal(&mut block[116..124], gid);
        put_octal(&mut block[124..136], size);
        put_octal(&mut block[136..148], mtime);
    }

    fn needed_records(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |key: &str, value: Vec<u8>| records.push((key.into(), value));
        if self.path.len() > LONGEST_NAME {
            add("path", self.path.to_vec());
        }
        match self.kind {
            MemberKind::Link(target) | MemberKind::Symlink(target)
                if target.len() > LONGEST_NAME =>
            {
                add("linkpath", target.to_vec());
            }
            MemberKind::File(size) if size > LARGEST_SIZE => add("size", size.to_string().into()),
            _ => {}
        }
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if u64::from(id) > LARGEST_ID {
                add(key, id.to_string().into());
            }
        }
        if u64::try_from(self.mtime_s).map_or(true, |time| time > LARGEST_SIZE) {
            add("mtime", self.mtime_s.to_string().into());
        }
        records
    }
}

impl<'a> MemberKind<'a> {
    fn entry_type(self) -> EntryType {
        match self {
            Self::File(_) => EntryType::Regular,
            Self::Link(_) => EntryType::Link,
            Self::Symlink(_) => EntryType::Symlink,
            Self::Directory => EntryType::Directory,
            Self::Fifo => EntryType::Fifo,
            Self::CharDevice(..) => EntryType::Char,
            Self::BlockDevice(..) => EntryType::Block,
        }
    }

    fn size_bytes(self) -> u64 {
        match self {
            Self::File(size_bytes) => size_bytes,
            _ => 0,
        }
    }

    /// Returns the target of a link or symlink; empty for other kinds.
    fn target(self) -> &'a [u8] {
        match self {
            Self::Link(target) | Self::Symlink(target) => target,
            _ => b"",
        }
    }

    /// Returns the major and the minor number of a device; 0 for other kinds.
    fn device(self) -> (u32, u32) {
        match self {
            Self::CharDevice(major, minor) | Self::BlockDevice(major, minor) => (major, minor),
            _ => (0, 0),
        }
    }
}

/// Fills a field with octal digits and a NUL; the crate would format a string first.
fn put_octal(field: &mut [u8], mut value: u64) {
    let Some((end, digits)) = field.split_last_mut() else {
        return;
    };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

fn fitting(value: u64, largest: u64) -> u64 {
    if value > largest { 0 } else { value }
}

fn copy_cut(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

/// Returns the path for errors: absolute inside the root.
fn shown(path: &[u8]) -> PathBuf {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    PathBuf::from(OsString::from_vec([b"/", path].concat()))
}

/// Returns the number of zero bytes after a content.
pub fn padding(size_bytes: u64) -> usize {
    (BLOCK_BYTES - (size_bytes % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES
}

/// Returns the length of the records, without the header.
fn write_extended(records: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) -> u64 {
    let mut body = Vec::new();
    for (key, value) in records {
        push_record(&mut body, key, value);
    }
    let mut header = Header::new_ustar();
    copy_cut(&mut header.as_mut_bytes()[..LONGEST_NAME], b"PaxHeaders/x");
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let length = body.len() as u64;
    header.set_size(length);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    body.resize(body.len() + padding(length), 0);
    out.extend_from_slice(&body);
    length
}

/// Writes `LENGTH KEY=VALUE\n`; the length includes the digits of the length (pax(1), "pax Extended Header").
fn push_record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

/// Returns a `comment` record that lets the content begin at a multiple of `alignment`, a multiple of the block, if the
/// header begins at `offset`; `None` if the content is aligned already.
pub(crate) fn aligning_record(offset: u64, alignment: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    let block = BLOCK_BYTES as u64;
    if (offset + block).is_multiple_of(alignment) {
        return None;
    }
    // The extended header is a block with a body, before the plain header.
    let body = (alignment - (offset + 2 * block) % alignment) as usize;
    let key = b"comment".to_vec();
    let mut record = Vec::new();
    let mut length = body;
    loop {
        record.clear();
        let value = vec![b' '; length.saturating_sub(key.len() + 3)];
        push_record(&mut record, &key, &value);
        if record.len() <= body {
            return Some((key, value));
        }
        length -= record.len() - body;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(member: &Member) -> Vec<u8> {
        let mut out = Vec::new();
        member.write_header(&mut out).unwrap();
        out
    }

    /// The records of the extended header that `bytes` begins with.
    fn records(bytes: &[u8]) -> String {
        assert_eq!(bytes[156], b'x');
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[124..135]).unwrap(), 8).unwrap();
        String::from_utf8(bytes[512..512 + size].to_vec()).unwrap()
    }

    #[test]
    fn what_fits_needs_no_extended_header() {
        let name = [b'n'; 100];
        let mut member = Member::file(&name, LARGEST_SIZE);
        (member.uid, member.mtime_s) = (LARGEST_ID as u32, LARGEST_SIZE as i64);
        let bytes = header(&member);
        assert_eq!((bytes.len(), bytes[156]), (512, b'0'));
        assert_eq!(&bytes[..100], &name);
        assert_eq!(&bytes[257..265], b"ustar\x0000");
    }

    #[test]
    fn what_does_not_fit_stands_in_pax_records_sorted_by_key() {
        let name = [b'n'; 101];
        let mut member = Member::file(&name, LARGEST_SIZE + 1);
        (member.uid, member.gid, member.mtime_s) = (u32::MAX, 2_097_152, -1);
        member
            .records
            .push((b"SCHILY.xattr.user.a".to_vec(), b"v".to_vec()));
        let expected = format!(
            "25 SCHILY.xattr.user.a=v\n15 gid=2097152\n12 mtime=-1\n111 path={}\n19 size=8589934592\n18 uid=4294967295\n",
            "n".repeat(101)
        );
        assert_eq!(records(&header(&member)), expected);
    }

    #[test]
    fn a_record_counts_the_digits_of_its_own_length() {
        for value in 80..120 {
            let mut body = Vec::new();
            push_record(&mut body, b"k", &vec![b'v'; value]);
            let digits = body.iter().position(|b| *b == b' ').unwrap();
            assert_eq!(
                std::str::from_utf8(&body[..digits])
                    .unwrap()
                    .parse::<usize>()
                    .unwrap(),
                body.len()
            );
        }
    }

    #[test]
    fn content_is_aligned_wherever_the_header_begins() {
        for offset in (0..16384).step_by(512) {
            let mut member = Member::file(b"blob", 1);
            member.records.extend(aligning_record(offset, 4096));
            let end = offset + header(&member).len() as u64;
            assert!(end.is_multiple_of(4096), "{offset}");
            assert!(end - offset <= 4096 + 1024, "{offset}");
        }
    }
}
