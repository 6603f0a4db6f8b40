//! Contents out of the frames of a layer.
//!
//! A content of more than a piece is read to its end once, to compare the hash. Bytes of a frame that took part, and is still held,
//! need no second look; of a frame decompressed again, each piece is compared.

use crate::error::{Error, Result};
use crate::layer::seek::Frames;
use crate::model::digest::ContentHash;
use crate::ops::mount::ahead::Ahead;
use crate::ops::mount::cache::Cache;
use crate::ops::mount::frames::{Frame, Memory};
use crate::ops::mount::library::Layer;
use crate::ops::mount::pieces::{PIECE_BYTES, PieceHash, hash_piece, whole_hash};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// The hashes of 128 GiB.
const MOST_PIECE_BYTES: u64 = 32 << 20;

/// Contents that are as recorded.
pub(super) struct Proofs(Cache<ContentHash, Arc<Proven>>);

impl Default for Proofs {
    fn default() -> Self {
        Self(Cache::new(MOST_PIECE_BYTES))
    }
}

/// A content that is as recorded.
struct Proven {
    pieces: Vec<PieceHash>,
    /// The numbers of the frames that gave the content.
    frames: HashSet<u64>,
}

/// Bytes of a frame.
struct Part {
    frame: Arc<Frame>,
    bytes: Range<usize>,
}

impl Part {
    fn bytes(&self) -> &[u8] {
        self.frame.bytes.get(self.bytes.clone()).unwrap_or_default()
    }
}

/// A content that somebody reads.
pub(super) struct Framed<'a> {
    pub memory: &'a Memory,
    pub ahead: &'a Ahead,
    pub proofs: &'a Proofs,
    pub layer: &'a Arc<Layer>,
    pub frames: &'a Frames,
    pub content: &'a ContentHash,
    /// The place in the uncompressed layer.
    pub bytes: Range<u64>,
}

impl Framed<'_> {
    /// Reads bytes of the content, counted from its start. Fails with [`Error::Damaged`] if the frames do not give what was recorded.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if self.bytes.end - self.bytes.start <= PIECE_BYTES {
            return self.read_small(range);
        }
        let prove = || {
            let proven = self.prove()?;
            let bytes = size_of_val(proven.pieces.as_slice()) as u64;
            Ok((Arc::new(proven), bytes))
        };
        let proven = self.proofs.0.get(*self.content, prove)?;
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        for number in range.start / PIECE_BYTES..range.end.div_ceil(PIECE_BYTES) {
            let piece = self.piece(number);
            let parts = self.parts(piece.clone())?;
            let is_known = |part: &Part| proven.frames.contains(&part.frame.number);
            if !parts.iter().all(is_known) {
                let known = usize::try_from(number).ok();
                let known = known.and_then(|number| proven.pieces.get(number));
                let found = hash_piece(number, parts.iter().map(Part::bytes));
                if known != Some(&found) {
                    return Err(self.damaged());
                }
            }
            let wanted = self.bytes.start + range.start..self.bytes.start + range.end;
            let mut at = piece.start;
            for part in &parts {
                let part = part.bytes();
                let from = wanted.start.clamp(at, at + part.len() as u64) - at;
                let to = wanted.end.clamp(at, at + part.len() as u64) - at;
                bytes.extend_from_slice(&part[from as usize..to as usize]);
                at += part.len() as u64;
            }
        }
        Ok(bytes)
    }

    /// Reads a content of a single piece, for which the kernel asks once.
    fn read_small(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let parts = self.parts(self.bytes.clone())?;
        let parts: Vec<&[u8]> = parts.iter().map(Part::bytes).collect();
        let mut bytes = parts.concat();
        if ContentHash(*blake3::hash(&bytes).as_bytes()) != *self.content {
            return Err(self.damaged());
        }
        bytes.truncate(range.end as usize);
        bytes.drain(..range.start as usize);
        Ok(bytes)
    }

    /// Returns where a piece is in the layer.
    fn piece(&self, number: u64) -> Range<u64> {
        let start = self.bytes.start + number * PIECE_BYTES;
        start..self.bytes.end.min(start + PIECE_BYTES)
    }

    /// Compares the hash of a content of several pieces.
    fn prove(&self) -> Result<Proven> {
        let count = (self.bytes.end - self.bytes.start).div_ceil(PIECE_BYTES);
        let mut proven = Proven {
            pieces: Vec::new(),
            frames: HashSet::new(),
        };
        (0..count).try_for_each(|number| self.hash(number, &mut proven))?;
        if whole_hash(&proven.pieces).as_ref() == Some(self.content) {
            Ok(proven)
        } else {
            Err(self.damaged())
        }
    }

    fn hash(&self, number: u64, proven: &mut Proven) -> Result<()> {
        let parts = self.parts(self.piece(number))?;
        let bytes = parts.iter().map(Part::bytes);
        proven.pieces.push(hash_piece(number, bytes));
        let frames = parts.iter().map(|part| part.frame.number);
        proven.frames.extend(frames);
        Ok(())
    }

    /// Takes bytes of the layer out of frames.
    fn parts(&self, bytes: Range<u64>) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut at = bytes.start;
        while at < bytes.end {
            let extent = self.frames.extent_of(at)?;
            let frame = self.memory.frame(self.layer, self.frames, extent.start)?;
            self.ahead.note(self.layer, self.frames, extent.start);
            let until = bytes.end.min(extent.end);
            let bytes = (at - extent.start) as usize..(until - extent.start) as usize;
            if bytes.end > frame.bytes.len() {
                return Err(self.damaged());
            }
            parts.push(Part { frame, bytes });
            at = until;
        }
        Ok(parts)
    }

    fn damaged(&self) -> Error {
        let what = "a content is not what was recorded";
        Error::damaged(self.layer.blob.path(), what)
    }
}
