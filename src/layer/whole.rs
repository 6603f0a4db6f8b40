//! Archives compressed as a whole, as skopeo reads: put aside uncompressed, since members are read by offset.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const BUFFER_BYTES: usize = 256 * 1024;
/// Any archive may unpack to as many bytes.
const LEAST_LIMIT_BYTES: u64 = 4 << 30;
/// A larger archive may unpack to a multiple of the packed length. Layers, most of an archive, are seldom a single byte
/// repeated.
const LARGEST_RATIO: u64 = 100;
/// The memory for xz: `xz -9` takes half.
const XZ_MEMORY_KIB: u32 = 128 << 10;

/// Returns the archive uncompressed: `file` itself, or a file without a name. Fails with [`Error::BadImage`] if the
/// compression is bzip2, damaged, or unpacks to more than any image has, and if the temporary directory has no room.
/// `path` is for errors.
pub fn uncompressed(file: File, path: &Path) -> Result<File> {
    uncompressed_within(LEAST_LIMIT_BYTES, file, path)
}

fn uncompressed_within(limit_bytes: u64, mut file: File, path: &Path) -> Result<File> {
    let mut start = Vec::new();
    (&file)
        .take(6)
        .read_to_end(&mut start)
        .map_err(Error::io("read", path))?;
    file.rewind().map_err(Error::io("read", path))?;
    let taken = AtomicU64::new(0);
    let counted = BufReader::with_capacity(
        BUFFER_BYTES,
        Counted {
            file: &file,
            taken: &taken,
        },
    );
    let bad = |what: String| Error::BadImage {
        path: path.to_owned(),
        what,
    };
    let (name, mut decoder): (&str, Box<dyn Read + '_>) = match start.as_slice() {
        [0x1f, 0x8b, ..] => ("gzip", Box::new(MultiGzDecoder::new(counted))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder =
                zstd::Decoder::with_buffer(counted).map_err(Error::io("decompress", path))?;
            ("zstd", Box::new(decoder))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => (
            "xz",
            Box::new(XzReader::new_mem_limit(counted, true, XZ_MEMORY_KIB)),
        ),
        [b'B', b'Z', b'h', ..] => {
            return Err(bad(
                "it is compressed with bzip2: unpack it with bzip2 -d first".to_owned(),
            ));
        }
        _ => {
            drop(counted);
            return Ok(file);
        }
    };
    let scratch = |e| Error::io("write in", std::env::temp_dir())(e);
    let mut out = tempfile::tempfile().map_err(scratch)?;
    let (mut buffer, mut given) = (vec![0; BUFFER_BYTES], 0);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                given += count as u64;
                if given > limit_bytes.max(LARGEST_RATIO.saturating_mul(taken.load(Relaxed))) {
                    return Err(bad(format!(
                        "its {name} unpacks to more than any image has"
                    )));
                }
                out.write_all(&buffer[..count]).map_err(scratch)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(bad(format!("its {name} is cut or damaged: {e}"))),
        }
    }
    out.rewind().map_err(scratch)?;
    Ok(out)
}

/// Counts the bytes read.
struct Counted<'f> {
    file: &'f File,
    taken: &'f AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.taken.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(limit_bytes: u64, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut out = Vec::new();
        uncompressed_within(limit_bytes, file, Path::new("image.tar"))?
            .read_to_end(&mut out)
            .unwrap();
        Ok(out)
    }

    #[test]
    fn what_is_not_compressed_stays_as_it_is() {
        for bytes in [&b""[..], b"x", b"index.json and more"] {
            assert_eq!(unpacked(0, bytes).unwrap(), bytes);
        }
        assert!(
            unpacked(0, b"BZh91AY")
                .unwrap_err()
                .to_string()
                .contains("bzip2 -d first")
        );
    }

    #[test]
    fn an_archive_that_unpacks_to_far_more_than_it_has_is_refused_past_a_limit() {
        let zeros = vec![0; 8 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        gzip.write_all(&zeros).unwrap();
        for bytes in [
            gzip.finish().unwrap(),
            zstd::encode_all(&zeros[..], 3).unwrap(),
        ] {
            assert_eq!(unpacked(8 << 20, &bytes).unwrap().len(), zeros.len());
            let error = unpacked(1 << 20, &bytes).unwrap_err().to_string();
            assert!(
                error.contains("image.tar") && error.contains("more than any image has"),
                "{error}"
            );
        }
    }
}
