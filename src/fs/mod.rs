//! The only place that touches a root, through directory handles: finds, reads and writes paths.
//!
//! The root is hostile: a process in the root may rename, replace and remount at any moment. So every path is opened by
//! `openat2` from the root's own handle with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_XDEV`, first
//! with `O_PATH`, which opens no device and waits for no FIFO, and read only if the handle is a regular file.

pub mod attributes;
pub(crate) mod content;
pub(crate) mod facts;
pub(crate) mod new_file;
pub(crate) mod paths;
mod queue;
mod remove;
pub mod root;
pub(crate) mod scan;
pub(crate) mod sync;
pub(crate) mod write;
mod xattrs;
