//! The members of a layer's blob, hashed while reading, and limited.

use super::alone::unpack_alone;
use super::packed::{Found, Hashing, Limits, Packed, TarStream, Whole};
use super::side_by_side::unpack_side_by_side;
use crate::blob::BlobSource;
use crate::error::{Error, Result};
use crate::model::digest::{DiffId, Digest};
use crate::model::limits::LEAST_UNPACKED_BYTES;
use crate::tarball::defect::TarError;
use crate::tarball::read::Reader;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A blob that is read.
pub struct Blob<'a> {
    /// The compressed bytes.
    pub input: Box<dyn Read + Send + 'a>,
    /// The path of the blob, for errors.
    pub path: &'a Path,
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
}

impl<'a> From<&'a BlobSource> for Blob<'a> {
    fn from(source: &'a BlobSource) -> Self {
        Self {
            input: Box::new(source.reader()),
            path: source.path(),
            digest: source.digest(),
        }
    }
}

/// The required content of a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacked {
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// The longest tar: a few bytes may unpack to more than any disk holds.
    pub most_bytes: u64,
}

/// How many threads unpack a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// One, where others read other layers.
    One,
    /// Four: reading, decompressing, hashing and parsing, side by side.
    Several,
}

/// Gives the members of the layer to `work`, while other threads read and decompress. Fails if `work` fails, and with
/// [`Error::Damaged`] if a whole blob has another digest.
pub(super) fn with_members<T: Whole>(
    blob: Blob,
    work: impl FnOnce(&mut Reader<TarStream>) -> Result<T>,
) -> Result<T> {
    let wanted = Wanted {
        least_bytes: LEAST_UNPACKED_BYTES,
        expected: None,
        threads: Threads::Several,
    };
    with_members_within(wanted, blob, work).map(|(done, _)| done)
}

/// Gives the members of a layer to `work` as [`with_members`] does, and returns also the uncompressed bytes read. Fails also if
/// the content is not as `expected`.
pub(super) fn with_members_of<T: Whole>(
    blob: Blob,
    (expected, threads): (Option<Unpacked>, Threads),
    work: impl FnOnce(&mut Reader<TarStream>) -> Result<T>,
) -> Result<(T, u64)> {
    let wanted = Wanted {
        least_bytes: LEAST_UNPACKED_BYTES,
        expected,
        threads,
    };
    with_members_within(wanted, blob, work)
}

/// What is wanted of a blob.
struct Wanted {
    /// Any blob may unpack to as many bytes.
    least_bytes: u64,
    expected: Option<Unpacked>,
    threads: Threads,
}

fn with_members_within<T: Whole>(
    wanted: Wanted,
    blob: Blob,
    work: impl FnOnce(&mut Reader<TarStream>) -> Result<T>,
) -> Result<(T, u64)> {
    let Wanted {
        least_bytes,
        expected,
        threads,
    } = wanted;
    let Blob {
        input,
        path,
        digest,
    } = blob;
    let given_bytes = AtomicU64::new(0);
    let limits = Limits {
        least_bytes,
        most_bytes: expected.map(|expected| expected.most_bytes),
        taken_bytes: &AtomicU64::new(0),
        given_bytes: &given_bytes,
    };
    let work = |tar: TarStream| {
        let mut reader = Reader::new(tar);
        let done = work(&mut reader)?;
        if done.is_whole() {
            // Bytes behind the end of the archive belong to the layer.
            let rest = io::copy(&mut reader.into_inner(), &mut io::sink());
            rest.map_err(|e| unreadable(path, TarError::Io(e)))?;
        }
        Ok(done)
    };
    let packed = Packed {
        input,
        path,
        limits,
        with_diff_id: expected.is_some(),
    };
    let (done, found) = match threads {
        Threads::One => unpack_alone(packed, work),
        Threads::Several => unpack_side_by_side(packed, work),
    };
    let found = found?; // why it ended tells more than where
    let done = done?;
    if done.is_whole() {
        let Found {
            digest: of_blob,
            diff_id,
        } = found;
        let of_blob = of_blob.ok_or_else(|| Error::damaged(path, "it was not read to its end"))?;
        check_digest(of_blob, digest, path)?;
        check_diff_id(diff_id, expected, path)?;
    }
    Ok((done, given_bytes.load(Relaxed)))
}

/// Makes the error of a blob that cannot be read on: that of the input, if the input tells one of ours.
pub(super) fn unreadable(path: &Path, error: TarError) -> Error {
    match error {
        TarError::Io(source) => match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::damaged(path, source.to_string()),
        },
        TarError::Malformed { what, path: member } => Error::BadLayer {
            path: path.to_owned(),
            member: shown(&member),
            what: what.to_owned(),
        },
    }
}

/// Returns the path of a member, for errors.
pub(super) fn shown(member: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(member))
}

/// Hashes a blob without unpacking. Fails if the digest is another.
pub fn check(blob: Blob) -> Result<()> {
    let Blob {
        input,
        path,
        digest,
    } = blob;
    let mut hashing = Hashing {
        input,
        hasher: Sha256::new(),
    };
    io::copy(&mut hashing, &mut io::sink()).map_err(Error::io("read", path))?;
    let found = Digest(hashing.hasher.finalize().into());
    check_digest(found, digest, path)
}

fn check_digest(found: Digest, expected: Digest, path: &Path) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let what = format!("its digest is {found} and not {expected}");
    Err(Error::damaged(path, what))
}

fn check_diff_id(found: Option<DiffId>, expected: Option<Unpacked>, path: &Path) -> Result<()> {
    match (found, expected) {
        (Some(found), Some(Unpacked { diff_id, .. })) if found != diff_id => {
            let what = format!("its content is {found} and not {diff_id}");
            Err(Error::damaged(path, what))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tarball::{END, Member, padding};

    /// A layer with a file of that many zeros.
    fn zeros(count: usize) -> Vec<u8> {
        let mut tar = Vec::new();
        Member::file(b"zeros", count as u64)
            .write_header(&mut tar)
            .unwrap();
        tar.resize(tar.len() + count + padding(count as u64), 0);
        tar.extend_from_slice(&END);
        tar
    }

    /// How many members a blob has.
    fn members(least_bytes: u64, bytes: &[u8]) -> Result<usize> {
        let [one, several] =
            [Threads::One, Threads::Several].map(|threads| members_by(threads, least_bytes, bytes));
        assert_eq!(
            one.as_ref().map_err(Error::to_string),
            several.as_ref().map_err(Error::to_string)
        );
        one
    }

    fn members_by(threads: Threads, least_bytes: u64, bytes: &[u8]) -> Result<usize> {
        let path = Path::new("blob");
        let blob = Blob {
            input: Box::new(bytes),
            path,
            digest: Digest(Sha256::digest(bytes).into()),
        };
        let mut count = 0;
        let wanted = Wanted {
            least_bytes,
            expected: None,
            threads,
        };
        with_members_within(wanted, blob, |reader| {
            while reader
                .next_member()
                .map_err(|e| Error::damaged(path, e.to_string()))?
                .is_some()
            {
                count += 1;
            }
            Ok(true)
        })?;
        Ok(count)
    }

    #[test]
    fn a_blob_that_unpacks_to_far_more_than_it_has_is_refused_past_a_limit() {
        let tar = zeros(64 << 20);
        let packed = zstd::encode_all(&tar[..], 3).unwrap();
        assert!(packed.len() < 16 << 10, "{}", packed.len());
        assert_eq!(members(tar.len() as u64, &packed).unwrap(), 1);
        let error = members(32 << 20, &packed).unwrap_err().to_string();
        assert!(
            error.contains("blob") && error.contains("unpacks to more than any layer has"),
            "{error}"
        );
        // What a blob of this length can well hold passes whatever the limit is.
        assert_eq!(members(0, &tar).unwrap(), 1);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        io::Write::write_all(&mut gzip, &tar).unwrap();
        assert_eq!(members(0, &gzip.finish().unwrap()).unwrap(), 1);
    }
}
