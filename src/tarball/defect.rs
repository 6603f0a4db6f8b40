//! The ways in which an archive cannot be read.

use std::fmt;
use std::io;

/// The error of an archive.
#[derive(Debug)]
pub enum TarError {
    /// The archive cannot be read.
    Io(io::Error),
    /// The archive is cut or malformed.
    Malformed {
        /// The defect.
        what: &'static str,
        /// The path of the member; empty if unknown.
        path: Vec<u8>,
    },
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Malformed { what, path } if path.is_empty() => f.write_str(what),
            Self::Malformed { what, path } => {
                write!(f, "{}: {what}", crate::printable::printable(path))
            }
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, TarError>;

/// Fails in any case, with a defect of a member without its path.
pub(super) fn malformed<T>(what: &'static str) -> Result<T> {
    Err(TarError::Malformed {
        what,
        path: Vec::new(),
    })
}
