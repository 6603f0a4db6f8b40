//! Everything that can go wrong, as one type.
//!
//! A variant exists where a caller or a user would act differently. The text names the path, once and escaped; the cause
//! is in `source()` alone, so printing walks the chain.

use crate::printable::printable;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The result of the library's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the texts explain
pub enum Error {
    /// A system call failed. `path` is in the user's terms.
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
    /// A path of the root keeps changing while being read.
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
    /// An entry exceeds the limits of readers; `path` is in the user's terms.
    #[error("{} cannot be recorded: {reason}", show(path))]
    Unrecordable { path: PathBuf, reason: &'static str },
    /// The kernel lacks a call that keeps reading inside the root safe.
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
    /// A directory of Mock's was named in the place of the root.
    #[error(
        "{} holds chroots of Mock and is no root: record {}, or give --profile plain",
        show(path),
        show(root)
    )]
    MockDirectory { path: PathBuf, root: PathBuf },
    #[error("run {run} of {series} has all of the usual stages: give --stage")]
    NoStageName { series: String, run: String },
    #[error("bad snapshot {text:?}: expected a number or SERIES[@STAGE][@{{DAY}}][~N]")]
    BadReference { text: String },
    #[error(
        "bad source {text:?}: expected a snapshot, dir:PATH, oci:PATH[:REF], oci-archive:PATH[:REF], docker-archive:PATH[:REF], packages:FILE or docker://HOST/REPO[:TAG]"
    )]
    BadSource { text: String },
    /// No snapshot has such a name; `stages` are those of the series, if the named one is not among them.
    #[error("no snapshot {reference} in {}{}", show(store), of_series(stages))]
    UnknownSnapshot {
        reference: String,
        store: PathBuf,
        stages: Vec<String>,
    },
    #[error("no series {series} in {}{}", show(store), as_an_option(series))]
    UnknownSeries { series: String, store: PathBuf },
    /// A list of packages cannot be read as one.
    #[error("{}{} is no list of packages: {reason}", show(path), line.map_or(String::new(), |line| format!(", line {line},")))]
    BadPackageList {
        path: PathBuf,
        line: Option<usize>,
        reason: String,
    },
    /// A list was to be compared with packages of dpkg or apk.
    #[error("the packages of {of} are not of rpm, as those of a list are")]
    NotOfRpm { of: String },
    #[error("stdin holds one list of packages, and is named twice")]
    TwoLists,
    /// Files of a list were asked for.
    #[error("a list of packages has no files to compare: give no path beside it")]
    NoFilesInList,
    #[error("the packages of {of} are unknown")]
    UnknownPackages { of: String },
    #[error("{path} is not in snapshot {snapshot}")]
    UnknownPath { path: String, snapshot: i64 },
    #[error(
        "snapshot {snapshot} is the first of its stage, {stage}: name another side to compare it with"
    )]
    FirstOfStage { snapshot: i64, stage: String },
    #[error("{side} is compared with nothing: name another side")]
    OneSide { side: String },
    #[error("snapshot {snapshot} is pinned: rootstrata unpin {snapshot} lets it go")]
    Pinned { snapshot: i64 },
    #[error("series {series} is in {} already", show(store))]
    SeriesExists { series: String, store: PathBuf },
    #[error("{path} has no content: it is {what}")]
    NoContent { path: String, what: String },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("{path} is in neither {a} nor {b}")]
    InNeither { path: String, a: String, b: String },
    #[error("snapshot {parent} cannot be the parent: {reason}")]
    UnfitParent { parent: i64, reason: &'static str },

    #[error(
        "--layers packages needs --mtime package or fixed: with the times of directories kept, each new file in a \
         directory would renew the layers of all packages there"
    )]
    UnfitRule,

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
    /// The default store is missing, and another store is known.
    #[error(
        "no store at {}: the Mock plugin has one, --store {}",
        show(store),
        show(other)
    )]
    NoStoreButOther { store: PathBuf, other: PathBuf },
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
    /// Another user may write to the store, and may have planted content.
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
    /// The owner of the store, neither this user nor root, may have planted content.
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
    /// A record or a blob has changed since writing.
    #[error("{} is damaged: {what}", show(path))]
    Damaged { path: PathBuf, what: String },

    /// A blob is wanted that a registry has, and not the store.
    #[error("blob {digest} is in docker://{repository} alone; export and restore fetch it")]
    OnlyRemote { digest: String, repository: String },

    #[error("{} is not empty", show(.0))]
    NotEmpty(PathBuf),
    #[error("cannot mount on {}: {reason}", show(path))]
    NoMount { path: PathBuf, reason: String },

    /// A foreign layer has a member that no layer may have.
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
    /// A named image cannot be read as an image.
    #[error("{} is no image that can be read: {what}", show(path))]
    BadImage { path: PathBuf, what: String },

    #[error("the rpm database {} cannot be read: {reason}", show(path))]
    RpmDatabase { path: PathBuf, reason: String },
    /// A normalised state was asked for.
    #[error("the state of {} cannot be normalised: {reason}", show(path))]
    NotNormalizable { path: PathBuf, reason: &'static str },
    #[error("{} exists and is not an OCI image layout", show(.0))]
    NotALayout(PathBuf),
    #[error("the image cannot be described: {0}")]
    Image(String),
    /// A registry cannot be reached, or says to come back later: the same may work in a while.
    #[error("registry {registry} cannot be reached to {action}: {reason}")]
    RegistryUnreachable {
        registry: String,
        action: String,
        reason: String,
    },
    /// A registry wants other credentials, or grants these no such right.
    #[error(
        "registry {registry} refuses to {action} (status {status}{text}): podman login {registry}, or --authfile, may help"
    )]
    RegistryRefused {
        registry: String,
        action: String,
        status: u16,
        text: String,
    },
    /// A registry gives an answer that ends the matter, or no sensible answer.
    #[error("registry {registry} does not {action}: {what}")]
    Registry {
        registry: String,
        action: String,
        what: String,
    },
    /// A registry deletes nothing.
    #[error(
        "registry {registry} does not allow deletion: enable it there (docker-registry: storage.delete.enabled: true)"
    )]
    NoDeletion { registry: String },
    /// A file with credentials, certificates or a policy for registries cannot be used.
    #[error("{} cannot be used: {what}", show(path))]
    BadRegistryFile { path: PathBuf, what: String },
    /// A user has no home, and no store is named.
    #[error("no store is named, and HOME is no absolute path: give --store")]
    NoHome,
    /// A configuration file cannot be used.
    #[error("{} cannot be used: {what}", show(path))]
    BadConfiguration { path: PathBuf, what: String },
    /// Signatures are wanted, and none is ever checked here.
    #[error(
        "{} wants signatures of images of {repository} or refuses them, and signatures are not checked here: copy the images with skopeo",
        show(path)
    )]
    SignaturesWanted { path: PathBuf, repository: String },

    /// An image cannot be pushed to such a place.
    #[error("{target}: {what}")]
    UnfitTarget { target: String, what: &'static str },
    #[error("{} exists and is no regular file", show(.0))]
    NotAFile(PathBuf),
    #[error("{} is a terminal: an archive goes to a file or a pipe", show(.0))]
    Terminal(PathBuf),
}

/// Some libraries add a path, such as the path of a temporary file, to an error; the error of the kernel is the source.
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

/// Returns a path as text, safe to print.
pub(crate) fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Names the stages of a series, if there are any.
fn of_series(stages: &[String]) -> String {
    match stages {
        [] => String::new(),
        stages => format!(": the series has {}", stages.join(", ")),
    }
}

/// Tells how a stage is named, where it was named with the series.
fn as_an_option(series: &str) -> &'static str {
    if series.contains('@') {
        ": --stage names a stage"
    } else {
        ""
    }
}

fn member_prefix(member: &Path) -> String {
    if member.as_os_str().is_empty() {
        "it ".to_owned()
    } else {
        format!("{}: ", show(member))
    }
}

impl Error {
    /// Returns a function for `map_err` that names the action and the path. An error of ours that a stream has handed on, as of a
    /// registry, stays what it is.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| match source.into().downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Io {
                action,
                path,
                source: without_path(source),
            },
        }
    }

    /// Tells whether the error is of damage in the store.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::BadLayer { .. } | Self::BadImage { .. } => true,
            Self::Database { .. } => !self.is_of_machine(),
            _ => false,
        }
    }

    /// Tells whether the error is of a registry, and not of this machine.
    pub(crate) fn is_of_registry(&self) -> bool {
        matches!(
            self,
            Self::RegistryUnreachable { .. }
                | Self::RegistryRefused { .. }
                | Self::Registry { .. }
                | Self::NoDeletion { .. }
        )
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

    /// Tells whether the database could not be read because of the disk, free space or permissions, rather than the content.
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
        // A short file is damaged.
        codes.contains(&error.code) && error.extended_code != rusqlite::ffi::SQLITE_IOERR_SHORT_READ
    }

    /// Makes the error of a malformed record in the store at `path`.
    pub(crate) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }
}
