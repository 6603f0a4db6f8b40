//! The rpm database made anew: its bytes follow from the set of packages, and not from the way in which they were installed.
//!
//! Of the headers, the time and the transaction of the installation become the epoch, and they are put in the order of their names
//! and versions; the index tables follow. The old database is read and never run: of the schema, statements as rpm makes them
//! are taken, and any other object is refused. docs/format.md says what a normalised database is.

mod content;
mod header;
mod schema;
mod write;

use crate::error::{Error, Result};
use content::Content;
use std::io::Write;
use std::path::Path;

/// Writes the database in `directory`, a private copy with the write-ahead log, anew. `shown` is the path in errors, `epoch_s` the time
/// that counts as the installation of each package, in seconds since 1970. Fails with [`Error::RpmDatabase`] if SQLite cannot read the
/// database, if the database has what rpm does not make, or an index names a package that is not there, and if `out` cannot be
/// written.
pub fn normalised(
    directory: &Path,
    shown: &Path,
    epoch_s: u32,
    out: &mut impl Write,
) -> Result<()> {
    let bad = |reason: String| Error::RpmDatabase {
        path: shown.to_owned(),
        reason,
    };
    let content = Content::read(directory, epoch_s).map_err(|fault| bad(fault.reason()))?;
    let database = write::database(&content).map_err(|error| bad(error.to_string()))?;
    out.write_all(&database)
        .map_err(Error::io("write a copy of", shown))
}

#[cfg(test)]
mod tests;
