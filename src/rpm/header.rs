//! The header of a package in the database: `il:u32be dl:u32be il×(tag, type, offset, count) data`
//! (rpm's docs/manual/format.md, "Header structure").
//!
//! Every number is checked against the length of the blob, and the number of names against a limit.

use super::signature::issuer;
use crate::model::packages::details::Details;
use crate::model::packages::file_list::{DigestAlgorithm, FileList, OwnedFile, flags_of};
use crate::model::packages::package::Package;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The length of an entry of the index.
pub(super) const ENTRY_BYTES: usize = 16;
/// The most names of a package; a blob with more is no header.
const MOST_NAMES: usize = 1 << 20;
/// The longest name, version or architecture; longer text is cut.
const LONGEST_TEXT: usize = 512;

/// The source package in the headers of keys.
const NO_SOURCE_RPM: &str = "(none)";

mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const SIGNATURE_PGP: u32 = 259;
    pub(super) const SIGNATURE_MD5: u32 = 261;
    pub(super) const SIGNATURE_GPG: u32 = 262;
    pub(super) const DSA_HEADER: u32 = 267;
    pub(super) const RSA_HEADER: u32 = 268;
    pub(super) const SHA1_HEADER: u32 = 269;
    pub(super) const SHA256_HEADER: u32 = 273;
    pub(super) const OPENPGP: u32 = 278;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const SIZE: u32 = 1009;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const LICENSE: u32 = 1014;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const FILE_SIZES: u32 = 1028;
    pub(super) const FILE_STATES: u32 = 1029;
    pub(super) const FILE_MODES: u32 = 1030;
    pub(super) const FILE_MTIMES: u32 = 1034;
    pub(super) const FILE_DIGESTS: u32 = 1035;
    pub(super) const FILE_TARGETS: u32 = 1036;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const SOURCE_RPM: u32 = 1044;
    pub(super) const FILE_VERIFY_FLAGS: u32 = 1045;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const LONG_FILE_SIZES: u32 = 5008;
    pub(super) const LONG_SIZE: u32 = 5009;
    pub(super) const FILE_DIGEST_ALGORITHM: u32 = 5011;
}

mod kind {
    pub(super) const CHAR: u32 = 1;
    pub(super) const INT16: u32 = 3;
    pub(super) const INT32: u32 = 4;
    pub(super) const INT64: u32 = 5;
    pub(super) const STRING: u32 = 6;
    pub(super) const BIN: u32 = 7;
    pub(super) const STRING_ARRAY: u32 = 8;
    pub(super) const I18N_STRING: u32 = 9;
}

/// The longest licence or vendor; longer text counts as none.
const LONGEST_DETAIL: usize = 64 << 10;
const MD5_BYTES: usize = 16;
/// More signatures than any package has.
const MOST_SIGNATURES: usize = 16;

/// The longest digest of a file, SHA-512's.
const LONGEST_DIGEST: usize = 64;

/// A package and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The package.
    pub package: Package,
    /// The files; directories are absolute and end in a slash.
    pub files: FileList,
    /// The details.
    pub details: Details,
}

impl Header {
    /// Reads a blob of the `Packages` table; `None` for no header, or a header without name or version.
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let fields = Fields::new(blob)?;
        let text = |tag| fields.strings(tag).and_then(|mut all| all.next()).map(text);
        let number = |tag| fields.numbers(tag).and_then(|mut all| all.next());
        let package = Package {
            name: text(tag::NAME).filter(|name| !name.is_empty())?,
            epoch: number(tag::EPOCH),
            version: text(tag::VERSION).filter(|version| !version.is_empty())?,
            release: text(tag::RELEASE)?,
            arch: text(tag::ARCH).unwrap_or_default(),
            source_rpm: text(tag::SOURCE_RPM)
                .filter(|name| name != NO_SOURCE_RPM)
                .unwrap_or_default(),
            build_time_s: number(tag::BUILD_TIME).map_or(0, i64::from),
        };
        Some(Self {
            package,
            files: fields.files(),
            details: fields.details(),
        })
    }
}

impl Fields<'_> {
    /// Returns the details; missing values are empty.
    fn details(&self) -> Details {
        // Shortened, a licence would be another.
        let text = |tag| {
            let whole = self.strings(tag)?.next()?;
            if whole.len() > LONGEST_DETAIL {
                return None;
            }
            Some(String::from_utf8_lossy(whole).into_owned())
        };
        let long = self.values(tag::LONG_SIZE, kind::INT64);
        let short = self.values(tag::SIZE, kind::INT32);
        let mut sizes = long
            .into_iter()
            .flatten()
            .chain(short.into_iter().flatten());
        let checksum = |tag, name: &str, digits: usize| {
            let is_whole = |text: &String| text.len() == digits && is_hexadecimal(text);
            text(tag)
                .filter(is_whole)
                .map(|text| format!("{name}:{text}"))
        };
        let header_checksum = checksum(tag::SHA256_HEADER, "sha256", 64);
        Details {
            size_bytes: sizes.next().unwrap_or_default().min(i64::MAX as u64),
            license: text(tag::LICENSE).unwrap_or_default(),
            vendor: text(tag::VENDOR).unwrap_or_default(),
            signature_key: self.signature_key().map(|id| hex(&id)).unwrap_or_default(),
            header_checksum: header_checksum
                .or_else(|| checksum(tag::SHA1_HEADER, "sha1", 40))
                .unwrap_or_default(),
            md5: self
                .bytes(tag::SIGNATURE_MD5)
                .filter(|md5| md5.len() == MD5_BYTES)
                .map(hex)
                .unwrap_or_default(),
        }
    }

    /// Returns the key ID of the first signature that names its key: of the header, and of header and payload.
    fn signature_key(&self) -> Option<[u8; 8]> {
        let binary = [
            tag::RSA_HEADER,
            tag::DSA_HEADER,
            tag::SIGNATURE_PGP,
            tag::SIGNATURE_GPG,
        ];
        let mut binary = binary.into_iter().filter_map(|tag| self.bytes(tag));
        binary.find_map(issuer).or_else(|| {
            let mut texts = self.strings(tag::OPENPGP)?.take(MOST_SIGNATURES);
            texts.find_map(|text| issuer(&BASE64.decode(text).ok()?))
        })
    }

    /// Returns the files; missing values, as digests in old packages, are empty or 0.
    fn files(&self) -> FileList {
        let algorithm = self.digest_algorithm();
        let directories: Vec<&[u8]> = self.strings(tag::DIR_NAMES).into_iter().flatten().collect();
        let Some(files) = self.files_in_hexadecimal() else {
            return FileList::builder(algorithm, &[]).finish();
        };
        let mut digest = [0; LONGEST_DIGEST];
        let mut list = FileList::builder(algorithm, &directories);
        for file in files.filter(|file| file.directory < directories.len()) {
            let digest = unhex(file.digest, &mut digest);
            list.push(&OwnedFile { digest, ..file });
        }
        list.finish()
    }

    fn digest_algorithm(&self) -> DigestAlgorithm {
        let number = self
            .numbers(tag::FILE_DIGEST_ALGORITHM)
            .and_then(|mut all| all.next());
        number.map_or(DigestAlgorithm::MD5, |number| DigestAlgorithm(number as u8))
    }
}

impl<'a> Fields<'a> {
    /// Returns the files with digests as hexadecimal digits; `None` without names, directories or times.
    fn files_in_hexadecimal(&self) -> Option<impl Iterator<Item = OwnedFile<'a>> + use<'a>> {
        let names = self.strings(tag::BASE_NAMES)?;
        let indexes = self.numbers(tag::DIR_INDEXES)?;
        let mtimes = self.numbers(tag::FILE_MTIMES)?;
        let modes = self.values(tag::FILE_MODES, kind::INT16);
        let mut modes = modes.into_iter().flatten();
        let mut sizes = self.sizes();
        let mut flags = self.numbers(tag::FILE_FLAGS).into_iter().flatten();
        let states = self.values(tag::FILE_STATES, kind::CHAR);
        let mut states = states.into_iter().flatten();
        let verified = self.numbers(tag::FILE_VERIFY_FLAGS);
        let mut verified = verified.into_iter().flatten();
        let mut digests = self.strings(tag::FILE_DIGESTS).into_iter().flatten();
        let mut targets = self.strings(tag::FILE_TARGETS).into_iter().flatten();
        let places = names.zip(indexes).zip(mtimes);
        Some(places.map(move |((name, index), mtime_s)| OwnedFile {
            directory: index as usize,
            name,
            mode: modes.next().unwrap_or_default() as u16,
            flags: flags_of(
                flags.next().unwrap_or_default(),
                is_installed(states.next().unwrap_or_default()),
                verified.next().unwrap_or(u32::MAX),
            ),
            mtime_s,
            size_bytes: sizes.next().unwrap_or_default(),
            digest: digests.next().unwrap_or_default(),
            target: targets.next().unwrap_or_default(),
        }))
    }

    /// Returns the lengths of the files: those of 64 bits, where the package has such lengths, and then those of 32 bits.
    fn sizes(&self) -> impl Iterator<Item = u64> + use<'a> {
        let long = self.values(tag::LONG_FILE_SIZES, kind::INT64);
        let short = self.values(tag::FILE_SIZES, kind::INT32);
        long.into_iter()
            .flatten()
            .chain(short.into_iter().flatten())
    }
}

/// Tells whether a file in a state (`RPMFILE_STATE_…`) is there as its package brings it: 0 is the usual one, 1 to 4 are replaced, not
/// installed, on a shared filesystem, and of the wrong colour.
fn is_installed(state: u64) -> bool {
    !matches!(state, 1..=4)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes hexadecimal digits; empty for other characters or too many digits.
fn unhex<'b>(digits: &[u8], bytes: &'b mut [u8; LONGEST_DIGEST]) -> &'b [u8] {
    let value = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    let length = digits.len() / 2;
    if !digits.len().is_multiple_of(2) || length > bytes.len() {
        return &[];
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (value(pair[0]), value(pair[1])) else {
            return &[];
        };
        *byte = high << 4 | low;
    }
    &bytes[..length]
}

/// Text of new packages is UTF-8, of old packages any encoding; bytes that are not UTF-8 are replaced.
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
        let (index, data) = blob
            .get(8..)?
            .split_at_checked(entries.checked_mul(ENTRY_BYTES)?)?;
        Some(Self {
            index,
            data: data.get(..length)?,
        })
    }

    /// Returns type, count, and the data from the offset of the field.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self
            .index
            .chunks_exact(ENTRY_BYTES)
            .find(|entry| be32(entry, 0) == Some(tag))?;
        Some((
            be32(entry, 4)?,
            be32(entry, 12)? as usize,
            self.data.get(be32(entry, 8)? as usize..)?,
        ))
    }

    fn strings(&self, tag: u32) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let (kind, count, data) = self
            .find(tag)
            .filter(|(_, count, _)| *count <= MOST_NAMES)?;
        let is_text = matches!(kind, kind::STRING | kind::STRING_ARRAY | kind::I18N_STRING);
        // The last part of a split has no final NUL, and so is no string.
        let ends = data.iter().rposition(|b| *b == 0)?;
        is_text.then(|| data[..ends].split(|b| *b == 0).take(count))
    }

    /// Returns the bytes of a field of bytes.
    fn bytes(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, count, data) = self.find(tag)?;
        data.get(..count).filter(|_| kind == kind::BIN)
    }

    fn numbers(&self, tag: u32) -> Option<impl Iterator<Item = u32> + use<'a>> {
        self.values(tag, kind::INT32)
            .map(|values| values.map(|value| value as u32))
    }

    /// Numbers of one kind of integer.
    fn values(&self, tag: u32, wanted: u32) -> Option<impl Iterator<Item = u64> + use<'a>> {
        let (kind, count, data) = self.find(tag)?;
        let width = match wanted {
            kind::CHAR => 1,
            kind::INT16 => 2,
            kind::INT32 => 4,
            _ => 8,
        };
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        let values = data.chunks_exact(width).take(count).map(number);
        (kind == wanted && data.len() / width >= count).then_some(values)
    }
}

/// Reads a number of the header.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|four| u32::from_be_bytes(*four))
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
            (
                tag::FILE_MTIMES,
                kind::INT32,
                2,
                &[0, 0, 1, 0, 0xff, 0, 0, 0],
            ),
            (tag::FILE_MODES, kind::INT16, 2, &[0x81, 0xed, 0, 0]),
            (tag::FILE_FLAGS, kind::INT32, 2, &[0, 0, 0, 1, 0, 0, 0, 0]),
            (
                tag::LONG_FILE_SIZES,
                kind::INT64,
                2,
                &[[0, 0, 0, 2, 0, 0, 0, 0], [0; 8]].concat(),
            ),
            (tag::FILE_DIGESTS, kind::STRING_ARRAY, 2, b"abCD\0\0"),
            (tag::FILE_DIGEST_ALGORITHM, kind::INT32, 1, &[0, 0, 0, 8]),
        ])
    }

    #[test]
    fn a_header_gives_the_package_and_its_files() {
        let header = Header::parse(&bash()).unwrap();
        assert_eq!(header.package.to_string(), "bash-2:5.3-1.fc44.x86_64");
        assert_eq!(
            header.files.directories().collect::<Vec<_>>(),
            [b"/usr/bin/"]
        );
        let files: Vec<_> = header.files.files().collect();
        let file = OwnedFile {
            directory: 0,
            name: b"bash",
            mode: 0o100_755,
            flags: 1,
            mtime_s: 256,
            size_bytes: 1 << 33,
            digest: &[0xab, 0xcd],
            target: b"",
        };
        assert_eq!(
            (files, header.files.algorithm()),
            (vec![file], DigestAlgorithm::SHA256)
        ); // the other has no directory
    }

    #[test]
    fn what_an_old_header_lacks_is_empty() {
        let header = Header::parse(&blob(&[
            (tag::NAME, kind::STRING, 1, b"a\0"),
            (tag::VERSION, kind::STRING, 1, b"1\0"),
            (tag::RELEASE, kind::STRING, 1, b"1\0"),
            (tag::DIR_INDEXES, kind::INT32, 2, &[0; 8]),
            (tag::BASE_NAMES, kind::STRING_ARRAY, 2, b"x\0y\0"),
            (tag::DIR_NAMES, kind::STRING_ARRAY, 1, b"/\0"),
            (tag::FILE_MTIMES, kind::INT32, 2, &[0; 8]),
            (tag::FILE_SIZES, kind::INT32, 2, &[0, 0, 0, 5, 0, 0, 0, 6]),
            (tag::FILE_DIGESTS, kind::STRING_ARRAY, 2, b"no digits\0\0"),
        ]))
        .unwrap();
        let files: Vec<_> = header
            .files
            .files()
            .map(|f| (f.size_bytes, f.mode, f.digest.len()))
            .collect();
        assert_eq!(
            (files, header.files.algorithm()),
            (vec![(5, 0, 0), (6, 0, 0)], DigestAlgorithm::MD5)
        );
    }

    #[test]
    fn a_cut_or_lying_header_is_no_package() {
        let whole = bash();
        for length in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(Header::parse(&[0xff; 64]), None);
        assert_eq!(
            Header::parse(&blob(&[(tag::NAME, kind::STRING, 1, b"no end")])),
            None
        );
    }
}
