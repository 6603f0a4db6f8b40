//! The rpm database of a root, read only: which packages are installed, and which files they own.
//!
//! The database is hostile like the rest of the root: the caller copies it to a private place first, and nothing in
//! it is trusted with more than an error.

mod header;
mod sqlite;

pub use header::Header;
pub use sqlite::read;

/// Where a root may have its database, the newer place first. Relative to the root.
pub(crate) const PLACES: &[&str] = &["usr/lib/sysimage/rpm", "var/lib/rpm"];

/// The file of the SQLite backend.
pub const SQLITE: &str = "rpmdb.sqlite";
/// What of SQLite's log belongs to it; missing where the last writer closed it.
pub(crate) const SQLITE_WAL: &str = "rpmdb.sqlite-wal";

/// Files of other backends, whose packages are not read: ndb and Berkeley DB.
pub(crate) const OTHER_BACKENDS: &[&str] = &["Packages.db", "Packages"];
