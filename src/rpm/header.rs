//! One package's header, as the database keeps it: `il:u32be dl:u32be il×(tag, type, offset, count) data`
//! (rpm's docs/manual/format.md, "Header structure").
//!
//! Every number in it is checked against the blob's own length, and the number of names against a limit.

use crate::model::package::Package;

const ENTRY_BYTES: usize = 16;
/// More names than any package has; more are no header.
const MOST_NAMES: usize = 1 << 20;
/// Longer than any name, version or architecture; a longer one is cut.
const LONGEST_TEXT: usize = 512;

mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILE_MTIMES: u32 = 1034;
    pub(super) const SOURCE_RPM: u32 = 1044;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
}

mod kind {
    pub(super) const INT32: u32 = 4;
    pub(super) const STRING: u32 = 6;
    pub(super) const STRING_ARRAY: u32 = 8;
    pub(super) const I18N_STRING: u32 = 9;
}

/// A package and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The package.
    pub package: Package,
    /// Its directories, absolute and with a slash at the end.
    pub directories: Vec<Vec<u8>>,
    /// Its files.
    pub files: Vec<OwnedFile>,
}

/// A file that a package owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFile {
    /// Which of the header's directories it is in.
    pub directory: usize,
    /// Its name in there.
    pub name: Vec<u8>,
    /// Its modification time in seconds since 1970.
    pub mtime_s: i64,
}

impl Header {
    /// Reads a blob of the `Packages` table; `None` where it is no header or lacks what every package has.
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let fields = Fields::new(blob)?;
        let text = |tag| fields.strings(tag).and_then(|mut all| all.next()).map(text);
        let number = |tag| fields.numbers(tag).and_then(|mut all| all.next());
        let package = Package {
            name: text(tag::NAME)?,
            epoch: number(tag::EPOCH),
            version: text(tag::VERSION)?,
            release: text(tag::RELEASE)?,
            arch: text(tag::ARCH).unwrap_or_default(),
            source_rpm: text(tag::SOURCE_RPM).unwrap_or_default(),
            build_time_s: number(tag::BUILD_TIME).map_or(0, i64::from),
        };
        let directories: Vec<Vec<u8>> =
            fields.strings(tag::DIR_NAMES).into_iter().flatten().map(<[u8]>::to_vec).collect();
        let files = match (
            fields.strings(tag::BASE_NAMES),
            fields.numbers(tag::DIR_INDEXES),
            fields.numbers(tag::FILE_MTIMES),
        ) {
            (Some(names), Some(indexes), Some(mtimes)) => names
                .zip(indexes)
                .zip(mtimes)
                .map(|((name, index), mtime)| OwnedFile {
                    directory: index as usize,
                    name: name.to_vec(),
                    mtime_s: i64::from(mtime),
                })
                .filter(|file| file.directory < directories.len())
                .collect(),
            _ => Vec::new(),
        };
        Some(Self { package, directories, files })
    }
}

/// rpm keeps UTF-8 now and whatever a packager had before; what is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_TEXT)]).into_owned()
}

struct Fields<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(blob: &'a [u8]) -> Option<Self> {
        let (entries, length) = (be32(blob, 0)? as usize, be32(blob, 4)? as usize);
        let (index, data) = blob.get(8..)?.split_at_checked(entries.checked_mul(ENTRY_BYTES)?)?;
        Some(Self { index, data: data.get(..length)? })
    }

    /// Type, count, and the data from the field's offset on.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self.index.chunks_exact(ENTRY_BYTES).find(|entry| be32(entry, 0) == Some(tag))?;
        Some((be32(entry, 4)?, be32(entry, 12)? as usize, self.data.get(be32(entry, 8)? as usize..)?))
    }

    fn strings(&self, tag: u32) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let (kind, count, data) = self.find(tag).filter(|(_, count, _)| *count <= MOST_NAMES)?;
        let is_text = matches!(kind, kind::STRING | kind::STRING_ARRAY | kind::I18N_STRING);
        // The last part of a split has no NUL at its end, and so is no string.
        let ends = data.iter().rposition(|b| *b == 0)?;
        is_text.then(|| data[..ends].split(|b| *b == 0).take(count))
    }

    fn numbers(&self, tag: u32) -> Option<impl Iterator<Item = u32> + use<'a>> {
        let (kind, count, data) = self.find(tag)?;
        let values = data.chunks_exact(4).take(count).filter_map(|bytes| be32(bytes, 0));
        (kind == kind::INT32 && data.len() / 4 >= count).then_some(values)
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header of these fields: tag, type, count, data.
    pub(crate) fn blob(fields: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, count, bytes) in fields {
            for number in [*tag, *kind, data.len() as u32, *count] {
                index.extend_from_slice(&number.to_be_bytes());
            }
            data.extend_from_slice(bytes);
        }
        let mut blob = Vec::new();
        blob.extend_from_slice(&(fields.len() as u32).to_be_bytes());
        blob.extend_from_slice(&(data.len() as u32).to_be_bytes());
        [blob, index, data].concat()
    }

    fn bash() -> Vec<u8> {
        blob(&[
            (tag::NAME, kind::STRING, 1, b"bash\0"),
            (tag::VERSION, kind::STRING, 1, b"5.3\0"),
            (tag::RELEASE, kind::STRING, 1, b"1.fc44\0"),
            (tag::EPOCH, kind::INT32, 1, &[0, 0, 0, 2]),
            (tag::ARCH, kind::STRING, 1, b"x86_64\0"),
            (tag::DIR_INDEXES, kind::INT32, 2, &[0, 0, 0, 0, 0, 0, 0, 7]),
            (tag::BASE_NAMES, kind::STRING_ARRAY, 2, b"bash\0sh\0"),
            (tag::DIR_NAMES, kind::STRING_ARRAY, 1, b"/usr/bin/\0"),
            (tag::FILE_MTIMES, kind::INT32, 2, &[0, 0, 1, 0, 0xff, 0, 0, 0]),
        ])
    }

    #[test]
    fn a_header_gives_the_package_and_its_files() {
        let header = Header::parse(&bash()).unwrap();
        assert_eq!(header.package.to_string(), "bash-2:5.3-1.fc44.x86_64");
        let file = OwnedFile { directory: 0, name: b"bash".to_vec(), mtime_s: 256 };
        assert_eq!((header.directories, header.files), (vec![b"/usr/bin/".to_vec()], vec![file]));
    }

    #[test]
    fn a_cut_or_lying_header_is_no_package() {
        let whole = bash();
        for length in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Header::parse(&[0xff; 64]), None);
        assert_eq!(Header::parse(&blob(&[(tag::NAME, kind::STRING, 1, b"no end")])), None);
    }
}
