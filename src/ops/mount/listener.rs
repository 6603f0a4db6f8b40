//! Who hears of a mount while the mount is there.

use std::path::Path;

/// Listens to a mount. Any thread may speak.
pub(crate) trait Listener: Send + Sync {
    /// Hears that everything is there, below a directory.
    fn mounted(&self, directory: &Path);

    /// Hears why a reader got an error.
    fn trouble(&self, text: &str);
}
