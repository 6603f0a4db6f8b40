//! What a package's header says of its files, as one run of bytes.
//!
//! Pure. The same header gives the same bytes in any root: paths stand as the package spells them, and are resolved
//! through a tree's symlinks when they are looked up. So a list can be shared, and be named by its hash.
//!
//! ```text
//! algorithm u8, directories u32, each: bytes
//! files u32, each: directory u32, name bytes, mode u16, flags u32, mtime u32, size u64, digest bytes, target bytes
//! bytes = length u32 and that many bytes; all numbers are little-endian
//! ```

/// `%config` (rpm, rpmfileAttrs).
pub(crate) const CONFIG: u32 = 1;
/// `%ghost`: the package owns the path but does not bring it.
const GHOST: u32 = 1 << 6;

/// rpm has not put the file there as the package brings it (tag 1029): it is not installed, on a shared filesystem, replaced by
/// another package's, or of the wrong colour. rpm's own flags (`RPMFILE_…`) end at bit 13; the bit is of lists alone, so
/// that the list of a package in the usual state has the bytes that the header gives.
pub(crate) const NOT_INSTALLED: u32 = 1 << 31;

/// In the same way, the aspects that `rpm -V` is not to compare (tag 1045, `%verify(not …)`), as rpm's bits shifted left; 0 in lists
/// of old records.
const UNVERIFIED_SHIFT: u32 = 20;
/// rpm's bits (`rpmVerifyAttrs`): digest, length, link target, user, group, time, mode, device and capabilities.
const VERIFY_BITS: u32 = 0x1ff;
/// The bits of flags that a header cannot have.
const OWN_FLAGS: u32 = NOT_INSTALLED | VERIFY_BITS << UNVERIFIED_SHIFT;

/// An aspect of a file that `rpm -V` compares, as rpm's bit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verified {
    /// The digest of the content.
    Digest = 1,
    /// The length.
    Size = 1 << 1,
    /// The target of a symlink.
    Target = 1 << 2,
    /// The modification time.
    Mtime = 1 << 5,
    /// Type and permissions.
    Mode = 1 << 6,
}

/// Returns the flags of a file for a list: the header's, with the state of the file and the aspects that are not compared. `verified`
/// has rpm's bits; a ghost is not compared at all.
pub(crate) fn flags_of(flags: u32, is_installed: bool, verified: u32) -> u32 {
    let flags = flags & !OWN_FLAGS;
    let unverified = if flags & GHOST == 0 {
        !verified & VERIFY_BITS
    } else {
        0
    };
    let state = if is_installed { 0 } else { NOT_INSTALLED };
    flags | state | unverified << UNVERIFIED_SHIFT
}

/// How the digests of a list are made (rpm tag 5011; RFC 9580, "Hash Algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DigestAlgorithm(pub u8);

impl DigestAlgorithm {
    /// What rpm takes where the header names none.
    pub(crate) const MD5: Self = Self(1);
    /// What apk takes.
    pub(crate) const SHA1: Self = Self(2);
    /// What rpm takes now.
    pub(crate) const SHA256: Self = Self(8);

    /// Returns the name, for people.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "MD5",
            2 => "SHA-1",
            8 => "SHA-256",
            9 => "SHA-384",
            10 => "SHA-512",
            11 => "SHA-224",
            12 => "SHA3-256",
            14 => "SHA3-512",
            _ => "an unknown hash",
        }
    }
}

/// A file of a package, as its header has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedFile<'l> {
    /// Which of the list's directories it is in.
    pub directory: usize,
    /// Its name in there.
    pub name: &'l [u8],
    /// Type and permission bits (stat's `st_mode`); 0 where the header has none.
    pub mode: u16,
    /// `RPMFILE_…` bits.
    pub flags: u32,
    /// Modification time in seconds since 1970.
    pub mtime_s: u32,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Digest of a regular file; empty where there is none.
    pub digest: &'l [u8],
    /// Target of a symlink; empty for what is none.
    pub target: &'l [u8],
}

impl OwnedFile<'_> {
    /// Tells whether it is a configuration file.
    pub(crate) fn is_config(&self) -> bool {
        self.flags & CONFIG != 0
    }

    /// Tells whether rpm has put the file there, and no other package's in its place.
    pub(crate) fn is_installed(&self) -> bool {
        self.flags & NOT_INSTALLED == 0
    }

    /// Tells whether `rpm -V` compares an aspect.
    pub(crate) fn is_verified(&self, aspect: Verified) -> bool {
        self.flags >> UNVERIFIED_SHIFT & aspect as u32 == 0
    }

    /// Tells whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Tells whether the package does not bring it, but owns it where it comes to be.
    pub(crate) fn is_ghost(&self) -> bool {
        self.flags & GHOST != 0
    }
}

/// The files of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileList {
    bytes: Box<[u8]>,
    files_at: usize,
}

/// A list that is being made.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    files_at: usize,
    files: usize,
}

impl Builder {
    /// Adds a file, whose directory is a place in the list's directories.
    pub(crate) fn push(&mut self, file: &OwnedFile) {
        let bytes = &mut self.bytes;
        push_number(bytes, file.directory);
        push_bytes(bytes, file.name);
        bytes.extend_from_slice(&file.mode.to_le_bytes());
        bytes.extend_from_slice(&file.flags.to_le_bytes());
        bytes.extend_from_slice(&file.mtime_s.to_le_bytes());
        bytes.extend_from_slice(&file.size_bytes.to_le_bytes());
        push_bytes(bytes, file.digest);
        push_bytes(bytes, file.target);
        self.files += 1;
    }

    /// Returns the list.
    pub(crate) fn finish(mut self) -> FileList {
        self.bytes[self.files_at..self.files_at + 4]
            .copy_from_slice(&(self.files as u32).to_le_bytes());
        FileList {
            bytes: self.bytes.into(),
            files_at: self.files_at,
        }
    }
}

impl Default for FileList {
    /// Returns the list of a package without files.
    fn default() -> Self {
        Self::builder(DigestAlgorithm::MD5, &[]).finish()
    }
}

impl FileList {
    /// Begins a list of files in these directories.
    pub(crate) fn builder(algorithm: DigestAlgorithm, directories: &[&[u8]]) -> Builder {
        let mut bytes = vec![algorithm.0];
        push_number(&mut bytes, directories.len());
        directories
            .iter()
            .for_each(|directory| push_bytes(&mut bytes, directory));
        let files_at = bytes.len();
        push_number(&mut bytes, 0);
        Builder {
            bytes,
            files_at,
            files: 0,
        }
    }

    /// Takes a list back; `None` where the bytes are none.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut rest = bytes.get(1..)?;
        let directories = number(&mut rest)?;
        for _ in 0..directories {
            part(&mut rest)?;
        }
        let files_at = bytes.len() - rest.len();
        for _ in 0..number(&mut rest)? {
            if file(&mut rest)?.directory >= directories {
                return None;
            }
        }
        rest.is_empty().then(|| Self {
            bytes: bytes.into(),
            files_at,
        })
    }

    /// Returns the bytes that the list consists of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the hash that names the list.
    pub fn key(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }

    /// Returns how the digests are made.
    pub(crate) fn algorithm(&self) -> DigestAlgorithm {
        DigestAlgorithm(self.bytes.first().copied().unwrap_or_default())
    }

    /// Returns the directories, absolute, as the package spells them.
    pub fn directories(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.get(1..self.files_at).unwrap_or_default();
        let count = number(&mut rest).unwrap_or_default();
        (0..count).map_while(move |_| part(&mut rest))
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        number(&mut &self.bytes[self.files_at..]).unwrap_or_default()
    }

    /// Tells whether the package has no files.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the files in the order of the header.
    pub fn files(&self) -> impl Iterator<Item = OwnedFile<'_>> {
        let mut rest = &self.bytes[self.files_at..];
        let count = number(&mut rest).unwrap_or_default();
        (0..count).map_while(move |_| file(&mut rest))
    }
}

fn push_number(bytes: &mut Vec<u8>, value: usize) {
    bytes.extend_from_slice(&(value as u32).to_le_bytes());
}

fn push_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    push_number(bytes, part.len());
    bytes.extend_from_slice(part);
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    take(rest).map(|bytes| u32::from_le_bytes(bytes) as usize)
}

fn part<'l>(rest: &mut &'l [u8]) -> Option<&'l [u8]> {
    let length = number(rest)?;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn file<'l>(rest: &mut &'l [u8]) -> Option<OwnedFile<'l>> {
    Some(OwnedFile {
        directory: number(rest)?,
        name: part(rest)?,
        mode: u16::from_le_bytes(take(rest)?),
        flags: u32::from_le_bytes(take(rest)?),
        mtime_s: u32::from_le_bytes(take(rest)?),
        size_bytes: u64::from_le_bytes(take(rest)?),
        digest: part(rest)?,
        target: part(rest)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> FileList {
        let file = |directory, name| OwnedFile {
            directory,
            name,
            mode: 0o100_644,
            flags: CONFIG | GHOST,
            mtime_s: 7,
            size_bytes: 1 << 40,
            digest: &[9; 32],
            target: b"",
        };
        let mut list = FileList::builder(DigestAlgorithm::SHA256, &[b"/etc/", b"/usr/bin/"]);
        [file(1, b"a"), file(0, b"")]
            .iter()
            .for_each(|file| list.push(file));
        list.finish()
    }

    #[test]
    fn a_list_reads_back_as_it_was_made() {
        let made = list();
        let read = FileList::from_bytes(made.bytes().to_vec()).unwrap();
        assert_eq!((&read, read.key(), read.len()), (&made, made.key(), 2));
        assert_eq!(
            read.directories().collect::<Vec<_>>(),
            [&b"/etc/"[..], b"/usr/bin/"]
        );
        let files: Vec<_> = read.files().collect();
        assert_eq!(
            (files[0].directory, files[0].name, files[0].size_bytes),
            (1, &b"a"[..], 1 << 40)
        );
        assert!(files[0].is_config() && files[0].is_ghost());
        assert_eq!(
            (read.algorithm().name(), files[1].digest),
            ("SHA-256", &[9; 32][..])
        );
    }

    #[test]
    fn a_cut_or_lying_list_is_none() {
        let bytes = list().bytes().to_vec();
        for length in 0..bytes.len() {
            assert_eq!(
                FileList::from_bytes(bytes[..length].to_vec()),
                None,
                "{length}"
            );
        }
        assert_eq!(FileList::from_bytes([&bytes[..], b"x"].concat()), None);
        let mut lying = bytes.clone();
        lying[1] = 1; // one directory
        assert_eq!(FileList::from_bytes(lying), None);
        assert_eq!(FileList::from_bytes(vec![0xff; 64]), None);
    }
}
