//! Hashes of the pieces of a content, which together give the hash of the content: BLAKE3 is a tree (BLAKE3 specification, 2.1), of
//! which each piece is a branch. So a content is hashed once, and a piece that is read again can be compared by itself.

use crate::model::digest::ContentHash;
use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// The length of each piece but the last: a power of two, and as much as the kernel asks for at once.
pub(super) const PIECE_BYTES: u64 = 128 << 10;

/// The hash of a piece.
pub(super) type PieceHash = ChainingValue;

/// Hashes a piece, counted from 0, whose bytes are `parts`, of which there are some.
pub(super) fn hash_piece<'a>(number: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> PieceHash {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(number * PIECE_BYTES);
    parts.into_iter().for_each(|part| {
        hasher.update(part);
    });
    hasher.finalize_non_root()
}

/// Returns the hash of a content of several pieces; `None` for less than two.
pub(super) fn whole_hash(pieces: &[PieceHash]) -> Option<ContentHash> {
    let (left, right) = halves(pieces)?;
    let hash = merge_subtrees_root(&branch(left), &branch(right), Mode::Hash);
    Some(ContentHash(*hash.as_bytes()))
}

fn branch(pieces: &[PieceHash]) -> PieceHash {
    match halves(pieces) {
        Some((left, right)) => merge_subtrees_non_root(&branch(left), &branch(right), Mode::Hash),
        None => pieces.first().copied().unwrap_or_default(),
    }
}

/// Splits two or more pieces: on the left is the largest power of two that leaves something on the right.
fn halves(pieces: &[PieceHash]) -> Option<(&[PieceHash], &[PieceHash])> {
    let left = pieces.len().div_ceil(2).next_power_of_two();
    (pieces.len() > 1).then(|| pieces.split_at(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_hash_of_the_content() {
        let piece = PIECE_BYTES as usize;
        let bytes: Vec<u8> = (0..9 * piece).map(|at| (at / 7 % 251) as u8).collect();
        for count in 2..=9 {
            for length in [(count - 1) * piece + 1, count * piece - 1, count * piece] {
                let content = &bytes[..length];
                let pieces: Vec<PieceHash> = (0..)
                    .zip(content.chunks(piece))
                    .map(|(number, piece)| hash_piece(number, piece.chunks(70_000)))
                    .collect();
                let whole = ContentHash(*blake3::hash(content).as_bytes());
                assert_eq!(whole_hash(&pieces), Some(whole), "{length}");
            }
        }
        assert_eq!(whole_hash(&[[0; 32]]), None);
    }
}
