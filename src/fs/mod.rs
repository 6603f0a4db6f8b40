//! The only place that touches a root, through directory handles: finding what is there, reading it, and writing
//! it.
//!
//! The root is hostile: whoever runs in it may rename, replace and remount while we look. So every path is opened
//! by `openat2` from the root's own handle with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and `RESOLVE_NO_XDEV`, first
//! with `O_PATH`, which opens no device and waits for no FIFO, and read only when that handle is a regular file.

pub mod attributes;
pub mod content;
pub mod facts;
pub mod new_file;
mod remove;
pub mod root;
pub mod scan;
pub mod sync;
pub mod write;
