//! Blobs of layers of which only the frames with wanted contents are here. The caller compares a content with the hash.

use super::seek::{Frames, Place};
use crate::blob::BlobSource;
use crate::model::digest::Digest;
use crate::model::frame_table::FrameTable;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// A blob in zstd, some frames of which are in a file at the frames' offsets.
#[derive(Clone, Debug)]
pub(crate) struct PartialBlob {
    pub(crate) blob: BlobSource,
    pub(crate) table: FrameTable,
    /// The frames in the file.
    pub(crate) frames: BTreeSet<usize>,
}

/// Blobs of which parts are here.
#[derive(Clone, Debug, Default)]
pub struct PartialBlobs(HashMap<Digest, PartialBlob>);

impl PartialBlobs {
    /// Takes blobs.
    pub(crate) fn new(blobs: impl IntoIterator<Item = PartialBlob>) -> Self {
        let blobs = blobs.into_iter();
        Self(blobs.map(|one| (one.blob.digest(), one)).collect())
    }

    /// Tells whether parts of a blob are here.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// Returns the blob and the frames, if all frames with the contents at `places` are here.
    pub(crate) fn find(&self, digest: &Digest, places: &[Place]) -> Option<(BlobSource, Frames)> {
        let PartialBlob {
            blob,
            table,
            frames,
        } = self.0.get(digest)?;
        let wanted = frames_of(table, places);
        let frames = wanted
            .is_subset(frames)
            .then(|| Frames::of_table(blob, table, u64::MAX))?;
        Some((blob.clone(), frames))
    }
}

/// Returns the frames with the contents at `places`.
pub(crate) fn frames_of(table: &FrameTable, places: &[Place]) -> BTreeSet<usize> {
    let bytes = places
        .iter()
        .map(|place| place.start..place.start + place.size_bytes);
    bytes.flat_map(|bytes| table.holding(&bytes)).collect()
}

/// Joins frames that follow one another, up to `most_bytes` of the blob in each run.
pub(crate) fn runs(
    table: &FrameTable,
    frames: &BTreeSet<usize>,
    most_bytes: u64,
) -> Vec<Range<u64>> {
    let offsets = table.offsets();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for frame in frames {
        let (start, end) = (offsets[*frame].0, offsets[frame + 1].0);
        match runs.last_mut() {
            Some(run) if run.end == start && end - run.start <= most_bytes => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_follow_one_another_are_read_together() {
        let table = FrameTable::new(10, vec![5, 7, 2, 4]);
        let frames = BTreeSet::from([0, 1, 3]);
        assert_eq!(runs(&table, &frames, 100), [0..12, 14..18]);
        assert_eq!(runs(&table, &frames, 8), [0..5, 5..12, 14..18]);
    }
}
