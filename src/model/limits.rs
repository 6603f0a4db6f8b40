//! The limits of trees, layers and packages, the same for recording and for reading.
//!
//! A recording refuses a path past a limit, so no reader refuses a recorded layer. Readers need the limits too, since a layer
//! may come from anybody. Pure.

/// The longest path and the longest target of a link, in bytes: four times the limit of a system call (`PATH_MAX`), for trees
/// made by handles. The memory of a tree is bounded by [`LARGEST_ENTRIES_BYTES`], also with the longest paths.
pub(crate) const LONGEST_PATH_BYTES: usize = 16 << 10;

/// The largest extended header of a tar member, with path, target and attributes: the limit of Go's archive/tar, and
/// so of most engines.
pub(crate) const LARGEST_EXTENDED_BYTES: u64 = 1 << 20;

/// All extended headers of a layer together.
pub(crate) const LARGEST_EXTENDED_SUM_BYTES: u64 = 1 << 30;

/// The memory that the entries of a tree or a layer take (`Entry::memory_bytes`): of some 2.5 million files.
pub(crate) const LARGEST_ENTRIES_BYTES: usize = 1 << 30;

/// The share of a whiteout in that memory, or of a link to a layer below, beside the names.
pub(crate) const NAME_BYTES: usize = 256;

/// The longest file.
pub(crate) const LONGEST_FILE_BYTES: u64 = 1 << 40;

/// The holes of a file, which cost a hostile root nothing, and a reader as much time as data.
pub(crate) const LARGEST_HOLES_BYTES: u64 = 64 << 30;

/// All holes that are read of a root.
pub(crate) const LARGEST_HOLES_SUM_BYTES: u64 = 256 << 30;

/// The length to which any layer may unpack: more than any layer has.
pub(crate) const LEAST_UNPACKED_BYTES: u64 = 256 << 30;

/// The length to which a layer may unpack beyond, as a multiple of the blob: deflate comes to 1,032 at most, zstd to thirty
/// times as much.
pub(crate) const LARGEST_RATIO: u64 = 1100;

/// More packages than any root has.
pub(crate) const MOST_PACKAGES: usize = 1 << 16;
