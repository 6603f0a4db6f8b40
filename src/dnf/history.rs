//! dnf 4's history (`/var/lib/dnf/history.sqlite`, libdnf's libdnf/transaction), from which dnf knows why a package is installed and
//! from which repository: made anew as one transaction that installs what is installed.
//!
//! Kept are what dnf asks for later: of each package the reason and the repository, and the installed groups and environments.
//! Transactions, command lines and output are not.

mod installed;
mod read;
mod write;

use crate::error::{Error, Result};
use crate::model::packages::package::Package;
use std::io::Write;
use std::path::Path;

/// Writes the history in `directory`, a private copy with the write-ahead log, anew, for a root with these packages. `epoch_s` is the
/// time of the transaction, in seconds since 1970. Returns `false` for a history of another version, or with what is no
/// history. Fails if `out`, for the file `shown`, cannot be written.
pub(crate) fn normalised<'p>(
    directory: &Path,
    packages: impl Iterator<Item = &'p Package>,
    epoch_s: i64,
    (out, shown): (&mut impl Write, &Path),
) -> Result<bool> {
    let made = read::installed(directory, packages).and_then(|installed| match installed {
        Some(installed) => write::database(&installed, epoch_s).map(Some),
        None => Ok(None),
    });
    let Ok(Some(database)) = made else {
        return Ok(false);
    };
    out.write_all(&database)
        .map_err(Error::io("write a copy of", shown))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
