//! Everything that can go wrong, as one type.
//!
//! A variant exists where a caller or a user would act differently. The text names the path, once and escaped;
//! the cause is in `source()` alone, and whoever prints walks that chain.

use crate::printable::printable;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the texts say it
pub enum Error {
    /// A system call failed. `path` is as the user knows it.
    #[error("cannot {action} {}", show(path))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("{} is not a directory", show(.0))]
    NotADirectory(PathBuf),
    #[error("{} is a directory", show(.0))]
    IsADirectory(PathBuf),
    /// Something in the root was not the same for long enough to be read whole.
    #[error("{} changed while it was read", show(.0))]
    Changed(PathBuf),
    #[error("{} cannot be replaced or removed: something is mounted on it", show(.0))]
    MountPoint(PathBuf),
    #[error("{}: names that start with .wh. are whiteouts in a layer and cannot be recorded", show(.0))]
    ReservedName(PathBuf),
    #[error("{}: the character device 0:0 is a whiteout of overlayfs and cannot be recorded", show(.0))]
    WhiteoutDevice(PathBuf),
    #[error("{} cannot be put into a layer: {reason}", show(path))]
    Unpackable { path: PathBuf, reason: &'static str },
    /// It is larger than what readers take; `path` is as the user knows it.
    #[error("{} cannot be recorded: {reason}", show(path))]
    Unrecordable { path: PathBuf, reason: &'static str },
    /// The kernel lacks what keeps reading inside the root safe.
    #[error("{what} is missing: Linux {since} or newer is needed")]
    OldKernel {
        what: &'static str,
        since: &'static str,
    },

    #[error("bad glob {glob:?}: {reason}")]
    BadGlob { glob: String, reason: String },
    #[error("bad {what} name {name:?}: {rule}")]
    BadName {
        what: &'static str,
        name: String,
        rule: &'static str,
    },
    #[error("no name for a series in {}: give --series", show(.0))]
    NoSeriesName(PathBuf),
    #[error("run {run} of {series} has all of the usual stages: give --stage")]
    NoStageName { series: String, run: String },
    #[error("bad snapshot {text:?}: expected a number or SERIES[@STAGE][~N]")]
    BadReference { text: String },
    #[error(
        "bad source {text:?}: expected a snapshot, dir:PATH, oci:PATH[:REF], oci-archive:PATH[:REF] or docker-archive:PATH[:REF]"
    )]
    BadSource { text: String },
    #[error("no snapshot {reference} in {}", show(store))]
    UnknownSnapshot { reference: String, store: PathBuf },
    #[error("no series {series} in {}", show(store))]
    UnknownSeries { series: String, store: PathBuf },
    #[error("the packages of {of} are unknown")]
    UnknownPackages { of: String },
    #[error("{path} is not in snapshot {snapshot}")]
    UnknownPath { path: String, snapshot: i64 },
    #[error("{path} has no content: it is {what}")]
    NoContent { path: String, what: String },
    /// Where results go could not be written to.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("{path} is in neither {a} nor {b}")]
    InNeither { path: String, a: String, b: String },
    #[error("snapshot {parent} cannot be the parent: {reason}")]
    UnfitParent { parent: i64, reason: &'static str },

    #[error(
        "the store {} is inside the root {}: exclude it, or keep it elsewhere",
        show(store),
        show(root)
    )]
    StoreInside { store: PathBuf, root: PathBuf },
    #[error("{} is inside a store", show(.0))]
    InsideStore(PathBuf),
    #[error("no store at {}", show(.0))]
    NoStore(PathBuf),
    #[error("{} holds other things and is no store", show(.0))]
    NotAStore(PathBuf),
    #[error(
        "{} was written by a newer rootstrata (format {found}, this one knows {known})",
        show(path)
    )]
    NewerStore {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    /// Whoever may write there may have put anything there.
    #[error(
        "{} can be written to by {who}, so it is not trusted: chmod {mode} {}",
        show(path),
        show(path)
    )]
    OpenToOthers {
        path: PathBuf,
        who: &'static str,
        mode: &'static str,
    },
    /// Likewise: its owner is neither this user nor root.
    #[error(
        "{} belongs to user {owner}, so it is not trusted: run as that user, or chown -R root {}",
        show(path),
        show(path)
    )]
    OwnedByOther { path: PathBuf, owner: u32 },
    #[error("{} is locked by another process", show(.0))]
    Locked(PathBuf),
    #[error("database {} failed", show(path))]
    Database {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// A record or a blob is not what it was when it was written.
    #[error("{} is damaged: {what}", show(path))]
    Damaged { path: PathBuf, what: String },

    /// A layer that somebody else wrote holds what none may.
    #[error(
        "the layer {} is malformed: {}{what}",
        show(path),
        member_prefix(member)
    )]
    BadLayer {
        path: PathBuf,
        member: PathBuf,
        what: String,
    },
    /// What was named as an image is none that can be read.
    #[error("{} is no image that can be read: {what}", show(path))]
    BadImage { path: PathBuf, what: String },

    #[error("the rpm database {} cannot be read: {reason}", show(path))]
    RpmDatabase { path: PathBuf, reason: String },
    #[error("{} exists and is not an OCI image layout", show(.0))]
    NotALayout(PathBuf),
    #[error("the image cannot be described: {0}")]
    Image(String),
    #[error("{} exists and is no regular file", show(.0))]
    NotAFile(PathBuf),
    #[error("{} is a terminal: an archive goes to a file or a pipe", show(.0))]
    Terminal(PathBuf),
}

/// Some libraries put a path of their own, such as that of a temporary file, into an error; what the kernel said is
/// beneath it.
fn without_path(error: io::Error) -> io::Error {
    let mut cause = error
        .get_ref()
        .map(|wrapped| wrapped as &(dyn std::error::Error + 'static));
    while let Some(next) = cause {
        if let Some(code) = next
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        cause = next.source();
    }
    error
}

/// Returns a path as text that is safe to print.
pub(crate) fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

fn member_prefix(member: &Path) -> String {
    if member.as_os_str().is_empty() {
        "it ".to_owned()
    } else {
        format!("{}: ", show(member))
    }
}

impl Error {
    /// Returns a function for `map_err` that says what was being done with which path.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source: without_path(source.into()),
        }
    }

    /// Tells whether something in the store is not what it was.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::BadLayer { .. } | Self::BadImage { .. } => true,
            Self::Database { .. } => !self.is_of_machine(),
            _ => false,
        }
    }

    /// Returns the error and its causes in one line.
    pub(crate) fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        text
    }

    /// Tells whether the database could not be looked at: the disk, its room or somebody's rights are in the way, whatever
    /// it holds.
    pub(crate) fn is_of_machine(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DiskFull, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let Self::Database { source, .. } = self else {
            return false;
        };
        let Some(error) = source.sqlite_error() else {
            return false;
        };
        let codes = [
            CannotOpen,
            DiskFull,
            OutOfMemory,
            PermissionDenied,
            ReadOnly,
            SystemIoFailure,
        ];
        // What is too short is damaged.
        codes.contains(&error.code) && error.extended_code != rusqlite::ffi::SQLITE_IOERR_SHORT_READ
    }

    /// Says that a record of the store at `path` does not hold what it must.
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }
}
