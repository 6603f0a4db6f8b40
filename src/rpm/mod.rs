//! The rpm database of a root, read only: installed packages and owned files.
//!
//! The database is hostile like the rest of the root: the caller makes a private copy first, and malformed content is
//! at most an error.

mod header;
mod normal;
mod sqlite;

pub use header::Header;
pub use normal::normalised;
pub use sqlite::read;

/// Directories of the database, the newer first, relative to the root.
pub(crate) const PLACES: &[&str] = &["usr/lib/sysimage/rpm", "var/lib/rpm"];

/// The file of the SQLite backend.
pub const SQLITE: &str = "rpmdb.sqlite";
/// The write-ahead log of SQLite; missing after the last writer has closed the database.
pub(crate) const SQLITE_WAL: &str = "rpmdb.sqlite-wal";

/// Files of other backends, whose packages are not read: ndb and Berkeley DB.
pub(crate) const OTHER_BACKENDS: &[&str] = &["Packages.db", "Packages"];
