//! Records as rows: snapshots, layers, entries, and packages.

mod change;
pub(crate) mod checks;
pub(crate) mod entries;
pub(crate) mod joined;
pub(crate) mod lookups;
pub(crate) mod matches;
pub(crate) mod packages;
pub(crate) mod read;
pub(crate) mod remote;
pub(crate) mod rows;
pub(crate) mod seal;
mod shared_blobs;
pub(crate) mod snapshots;
pub(crate) mod trees;
pub(crate) mod values;
pub(crate) mod write;
