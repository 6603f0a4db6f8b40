//! Reads a few files of a layer of ours without decompressing the rest.
//!
//! A layer's bytes follow from its entries, so the place of each content is known beforehand; and a blob in zstd is frames
//! that know nothing of each other. Only frames that hold something wanted are decompressed, as far as needed. What is
//! found at a place is for the caller to compare with its hash.

use super::members::{Members, write_whiteout};
use crate::error::{Error, Result};
use crate::model::overlay::Laid;
use crate::model::path::EntryPath;
use crate::tarball::{END, padding};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 128 * 1024;

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name that has it.
    pub name: EntryPath,
    /// Where it begins in the uncompressed layer.
    pub start: u64,
    /// Its length.
    pub size_bytes: u64,
}

/// Returns the places of the contents that are wanted, in order, and the length of the whole layer, which is another if the
/// layer is not one of ours.
pub fn places(items: &[Laid], is_wanted: impl Fn(&EntryPath) -> bool) -> Result<(Vec<Place>, u64)> {
    let mut members = Members::default();
    let mut header = Vec::new();
    let mut at = 0;
    let mut places = Vec::new();
    for item in items {
        header.clear();
        match item {
            Laid::Whiteout(path) => write_whiteout(path, &mut header)?,
            Laid::Opaque(_) => {}
            Laid::Entry(entry) => {
                let size_bytes = if members.has_content(entry) { entry.size_bytes() } else { 0 };
                members.write_entry(entry, &entry.xattrs, &mut header)?;
                let start = at + header.len() as u64;
                if size_bytes > 0 && is_wanted(&entry.path) {
                    places.push(Place { name: entry.path.clone(), start, size_bytes });
                }
                at += size_bytes + padding(size_bytes) as u64;
            }
        }
        at += header.len() as u64;
    }
    Ok((places, at + END.len() as u64))
}

/// Gives `take` the contents at `places`, which are in order, until it returns `false`. `blob` is in zstd.
pub fn read_places(
    blob: &File,
    path: &Path,
    places: &[Place],
    mut take: impl FnMut(&Place, &mut dyn Read) -> Result<bool>,
) -> Result<()> {
    let failed = |e: io::Error| Error::damaged(path, e.to_string());
    let frames = frames(blob).map_err(failed)?;
    let mut open: Option<(Box<dyn Read + '_>, u64)> = None; // a decoder, and where in the layer it is
    for place in places {
        let frame = frames.partition_point(|frame| frame.start <= place.start).checked_sub(1);
        let frame =
            frame.and_then(|at| frames.get(at)).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let (mut decoder, at) = match open.take() {
            Some((decoder, at)) if at >= frame.start && at <= place.start => (decoder, at),
            _ => {
                let input = At { file: blob, position: frame.position };
                let decoder = zstd::Decoder::new(input).map_err(failed)?;
                (Box::new(decoder) as Box<dyn Read + '_>, frame.start)
            }
        };
        let ahead = place.start - at;
        if io::copy(&mut decoder.by_ref().take(ahead), &mut io::sink()).map_err(failed)? < ahead {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut content = decoder.by_ref().take(place.size_bytes);
        if !take(place, &mut content)? {
            return Ok(());
        }
        let left = content.limit();
        open = Some((decoder, place.start + place.size_bytes - left));
    }
    Ok(())
}

/// A frame of a blob.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    /// Where it begins in the blob.
    position: u64,
    /// Where its content begins in the layer.
    start: u64,
}

/// Finds the frames by their headers and those of their blocks (RFC 8878, "Zstandard Frames").
fn frames(blob: &File) -> io::Result<Vec<Frame>> {
    let length = blob.metadata()?.len();
    let (mut position, mut start) = (0, 0);
    let mut frames = Vec::new();
    while position < length {
        frames.push(Frame { position, start });
        let mut header = [0; 14];
        let known = (length - position).min(14) as usize;
        blob.read_exact_at(&mut header[..known], position)?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        if header[..4] != FRAME_MAGIC {
            return Err(invalid());
        }
        let descriptor = header[4];
        let is_single = descriptor >> 5 & 1 == 1;
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let at = 5 + usize::from(!is_single) + dictionary;
        let (bytes, more) = match descriptor >> 6 {
            0 if is_single => (1, 0),
            1 => (2, 256),
            2 => (4, 0),
            3 => (8, 0),
            _ => return Err(invalid()), // it does not say how long its content is
        };
        let mut size = [0; 8];
        size[..bytes].copy_from_slice(header.get(at..at + bytes).ok_or_else(invalid)?);
        start += u64::from_le_bytes(size) + more;
        position += (at + bytes) as u64;
        loop {
            let mut block = [0; 4];
            blob.read_exact_at(&mut block[..3], position)?;
            let block = u32::from_le_bytes(block);
            position += 3 + if block >> 1 & 3 == 1 { 1 } else { u64::from(block >> 3) };
            if block & 1 == 1 {
                break;
            }
        }
        position += u64::from(descriptor >> 2 & 1) * 4;
    }
    Ok(frames)
}

/// A file from a position on.
struct At<'f> {
    file: &'f File,
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(BUFFER_BYTES);
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
