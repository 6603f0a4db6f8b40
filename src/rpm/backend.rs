//! How rpm keeps a database, and where.

/// Directories of the database, the newer first, relative to the root. `/usr/share/rpm` is rpm-ostree's, with links from the others.
pub(crate) const PLACES: &[&str] = &["usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpm"];

/// The file of the SQLite backend.
pub const SQLITE: &str = "rpmdb.sqlite";
/// The write-ahead log of SQLite; missing after the last writer has closed the database.
pub(super) const SQLITE_WAL: &str = "rpmdb.sqlite-wal";

/// How rpm keeps a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite: rpm 4.16 and later.
    Sqlite,
    /// rpm's own: SUSE and openEuler.
    Ndb,
    /// A hash of Berkeley DB: rpm 4.14 and before, and EL8.
    BerkeleyDb,
}

impl Backend {
    /// All backends, in the order in which rpm looks for them.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Ndb, Self::BerkeleyDb];

    /// Returns the name of the file with the packages.
    pub fn file_name(self) -> &'static str {
        self.file_names()[0]
    }

    /// Returns the names of all files of a database, the file with the packages first.
    pub(crate) fn file_names(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[SQLITE, SQLITE_WAL],
            Self::Ndb => &["Packages.db"],
            Self::BerkeleyDb => &["Packages"],
        }
    }

    /// Returns the backend that the macro `%_db_backend` names.
    pub(super) fn of_macro(name: &str) -> Option<Self> {
        match name {
            "sqlite" => Some(Self::Sqlite),
            "ndb" => Some(Self::Ndb),
            "bdb" | "bdb_ro" => Some(Self::BerkeleyDb),
            _ => None,
        }
    }
}
