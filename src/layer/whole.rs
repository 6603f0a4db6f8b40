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
    let start = first_bytes(&mut file).map_err(Error::io("read", path))?;
    let taken = AtomicU64::new(0);
    let counted = Counted {
        file: &file,
        taken: &taken,
    };
    let Some(mut unpacking) = Unpacking::begin(&start, counted, path)? else {
        return Ok(file);
    };
    let mut out = tempfile::tempfile().map_err(scratch)?;
    let (mut buffer, mut given) = (vec![0; BUFFER_BYTES], 0);
    loop {
        let count = unpacking.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        given += count as u64;
        if given > limit_bytes.max(LARGEST_RATIO.saturating_mul(taken.load(Relaxed))) {
            return Err(unpacking.bad("unpacks to more than any image has"));
        }
        out.write_all(&buffer[..count]).map_err(scratch)?;
    }
    out.rewind().map_err(scratch)?;
    Ok(out)
}

/// Returns the first bytes of a file, as many as tell the compression.
fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    (&*file).take(6).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start)
}

fn scratch(error: io::Error) -> Error {
    Error::io("write in", std::env::temp_dir())(error)
}

fn bad(path: &Path, what: String) -> Error {
    Error::BadImage {
        path: path.to_owned(),
        what,
    }
}

/// An archive that is being unpacked.
struct Unpacking<'f> {
    /// The compression, for errors.
    name: &'static str,
    decoder: Box<dyn Read + 'f>,
    path: &'f Path,
}

impl<'f> Unpacking<'f> {
    /// Recognises the compression by the first bytes; `None` for a plain archive.
    fn begin(start: &[u8], input: Counted<'f>, path: &'f Path) -> Result<Option<Self>> {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let (name, decoder): (_, Box<dyn Read + 'f>) = match start {
            [0x1f, 0x8b, ..] => ("gzip", Box::new(MultiGzDecoder::new(input))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let decoder = zstd::Decoder::with_buffer(input);
                let decoder = decoder.map_err(Error::io("decompress", path))?;
                ("zstd", Box::new(decoder))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0] => {
                let decoder = XzReader::new_mem_limit(input, true, XZ_MEMORY_KIB);
                ("xz", Box::new(decoder))
            }
            [b'B', b'Z', b'h', ..] => {
                let what = "it is compressed with bzip2: unpack it with bzip2 -d first";
                return Err(bad(path, what.to_owned()));
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            name,
            decoder,
            path,
        }))
    }

    /// Reads some bytes; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.decoder.read(buffer) {
                Ok(count) => return Ok(count),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.bad(&format!("is cut or damaged: {e}"))),
            }
        }
    }

    fn bad(&self, what: &str) -> Error {
        bad(self.path, format!("its {} {what}", self.name))
    }
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
