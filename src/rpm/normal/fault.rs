//! Why an rpm database is not normalised.

/// Why a database is not normalised.
pub(super) enum Fault {
    /// SQLite cannot read the database.
    Sqlite(rusqlite::Error),
    /// The database has what rpm does not make.
    Content(String),
}

impl Fault {
    /// Returns the reason in one line.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Sqlite(error) => error.to_string(),
            Self::Content(reason) => reason,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Fails for a reason that is no error of SQLite's.
pub(super) fn fault<T>(reason: impl Into<String>) -> std::result::Result<T, Fault> {
    Err(Fault::Content(reason.into()))
}
