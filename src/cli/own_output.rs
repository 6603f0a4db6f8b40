//! Finds out whether an output is the command's own stdout, so that nothing else goes there.

use std::fs::File;
use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Tells whether `path` is `-`, or the file that stdout is, under whatever name.
pub(crate) fn is_named_by(path: &Path) -> bool {
    if path == Path::new("-") {
        return true;
    }
    let (Ok(there), Some(own)) = (std::fs::metadata(path), file()) else {
        return false;
    };
    let Ok(here) = own.metadata() else {
        return false;
    };
    let is_same = there.dev() == here.dev() && there.ino() == here.ino();
    // A character device such as /dev/null takes any number of outputs.
    let is_device = there.file_type().is_char_device();
    is_same && (!is_device || own.is_terminal())
}

/// Returns stdout as an open file, which shares the position and `O_APPEND` of stdout.
pub(crate) fn file() -> Option<File> {
    stdout().as_fd().try_clone_to_owned().ok().map(File::from)
}
