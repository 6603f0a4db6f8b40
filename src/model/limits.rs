//! What a tree and a layer may hold at most: the same for whoever records them and whoever reads them.
//!
//! What is recorded is compared with these first, and refused with its path; so no reader refuses what was recorded.
//! Readers need them, since what they read may be anybody's. Pure.

/// The longest path and the longest target of a link, in bytes: four times what a system call takes (`PATH_MAX`), for trees
/// that were made by handles. The memory of a tree is bounded by [`LARGEST_ENTRIES_BYTES`], however long its paths are.
pub(crate) const LONGEST_PATH_BYTES: usize = 16 << 10;

/// The largest extended header of a tar member, which holds its path, its target and its attributes: what Go's archive/tar
/// takes, and so most engines.
pub(crate) const LARGEST_EXTENDED_BYTES: u64 = 1 << 20;

/// All extended headers of a layer together.
pub(crate) const LARGEST_EXTENDED_SUM_BYTES: u64 = 1 << 30;

/// The memory that the entries of a tree or a layer take (`Entry::memory_bytes`): those of some 2.5 million files.
pub(crate) const LARGEST_ENTRIES_BYTES: usize = 1 << 30;

/// What a whiteout takes of it, or a link to a layer below, beside its names.
pub(crate) const NAME_BYTES: usize = 256;

/// The longest file.
pub(crate) const LONGEST_FILE_BYTES: u64 = 1 << 40;

/// The holes of a file, which cost a hostile root nothing, and whoever reads them as much time as data.
pub(crate) const LARGEST_HOLES_BYTES: u64 = 64 << 30;

/// All holes that are read of a root.
pub(crate) const LARGEST_HOLES_SUM_BYTES: u64 = 256 << 30;

/// What a layer may unpack to in any case: more than any has.
pub(crate) const LEAST_UNPACKED_BYTES: u64 = 256 << 30;

/// What it may unpack to beyond that, as a multiple of the blob: deflate comes to 1,032 at most, zstd to thirty times that.
pub(crate) const LARGEST_RATIO: u64 = 1100;
