//! Why an rpm database is not read, or not made anew.

use std::io;

/// Why a database is refused.
pub(super) enum Fault {
    /// SQLite cannot read the database.
    Sqlite(rusqlite::Error),
    /// A private copy cannot be read.
    Io(io::Error),
    /// The content is not as rpm makes databases.
    Content(String),
}

impl Fault {
    /// Returns the reason in one line.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Sqlite(error) => error.to_string(),
            Self::Io(error) => error.to_string(),
            Self::Content(reason) => reason,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Fails for a reason found in the content.
pub(super) fn fault<T>(reason: impl Into<String>) -> std::result::Result<T, Fault> {
    Err(Fault::Content(reason.into()))
}
