//! The lengths of the frames that a blob consists of, so a part of a layer is found without a look at the blob. Pure.

use std::fmt;
use std::ops::Range;

/// A blob of more frames, of 4 MiB and more of content each, is none.
const MOST_FRAMES: usize = 1 << 20;

/// The frames of a blob, from first to last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTable {
    /// The length of the content of each frame but the last.
    content_bytes: u64,
    /// The length of each frame.
    lengths: Vec<u64>,
}

impl FrameTable {
    /// Takes the length of the content of each frame but the last, and the length of each frame.
    pub(crate) fn new(content_bytes: u64, lengths: Vec<u64>) -> Self {
        Self {
            content_bytes,
            lengths,
        }
    }

    /// Returns the number of frames.
    pub(crate) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Tells whether the frames can hold a tar of so many bytes.
    pub(crate) fn fits(&self, tar_bytes: u64) -> bool {
        let count = self.lengths.len() as u64;
        let most = self.content_bytes.saturating_mul(count);
        let least = self.content_bytes.saturating_mul(count.saturating_sub(1));
        least < tar_bytes && tar_bytes <= most
    }

    /// Returns the frames with these bytes of the tar, which are some.
    pub(crate) fn holding(&self, bytes: &Range<u64>) -> Range<usize> {
        let frame = |at: u64| usize::try_from(at / self.content_bytes).unwrap_or(usize::MAX);
        frame(bytes.start)..frame(bytes.end.saturating_sub(1)).saturating_add(1)
    }

    /// Returns the offset in the blob, and the offset of the content in the tar, of each frame, and last of the end.
    pub(crate) fn offsets(&self) -> Vec<(u64, u64)> {
        let mut offsets = vec![(0, 0)];
        let (mut position, mut start) = (0, 0);
        for length in &self.lengths {
            position += length;
            start += self.content_bytes;
            offsets.push((position, start));
        }
        offsets
    }

    /// Reads the printed form of the table of a blob of this length; `None` where the lengths are not those of such a blob.
    pub fn parse(text: &str, blob_bytes: u64) -> Option<Self> {
        let (content_bytes, lengths) = text.split_once(':')?;
        let content_bytes = content_bytes.parse().ok().filter(|bytes| *bytes > 0)?;
        let lengths = lengths.split(',').take(MOST_FRAMES + 1);
        let lengths: Option<Vec<u64>> = lengths.map(|one| one.parse().ok()).collect();
        let lengths = lengths.filter(|lengths| lengths.len() <= MOST_FRAMES)?;
        let add = |sum: u64, length: &u64| sum.checked_add(*length);
        let sum = lengths.iter().try_fold(0, add)?;
        (sum == blob_bytes && !lengths.contains(&0)).then_some(Self {
            content_bytes,
            lengths,
        })
    }
}

impl fmt::Display for FrameTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.content_bytes)?;
        for (at, length) in self.lengths.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{length}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_by_the_bytes_that_they_hold() {
        let table = FrameTable::new(10, vec![5, 7, 2]);
        assert_eq!(table.offsets(), [(0, 0), (5, 10), (12, 20), (14, 30)]);
        assert_eq!(table.holding(&(0..1)), 0..1);
        assert_eq!(table.holding(&(9..10)), 0..1);
        assert_eq!(table.holding(&(9..11)), 0..2);
        assert_eq!(table.holding(&(20..25)), 2..3);
        let fitting: Vec<u64> = (0..40).filter(|bytes| table.fits(*bytes)).collect();
        assert_eq!(fitting, (21..=30).collect::<Vec<_>>());
    }

    #[test]
    fn tables_are_read_as_they_are_printed() {
        let table = FrameTable::new(10, vec![5, 7, 2]);
        let text = table.to_string();
        assert_eq!(text, "10:5,7,2");
        assert_eq!(FrameTable::parse(&text, 14), Some(table));
        for (other, bytes) in [
            ("10:5,7,2", 15),
            ("0:5", 5),
            ("10:", 0),
            ("10:0,5", 5),
            ("10:5,x", 5),
            ("10:18446744073709551615,1", 0),
        ] {
            assert_eq!(FrameTable::parse(other, bytes), None, "{other}");
        }
    }
}
