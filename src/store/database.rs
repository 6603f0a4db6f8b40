//! How the database of a store is opened.
//!
//! SQLite makes files beside a database, also for reading, and maps a file of them into memory. Where the store cannot
//! be written to, or no room is left, the database is read without such files. Without a log (`-wal`), the database is
//! a file that nobody changes: meanwhile `lock` is held shared, and a writer takes `lock` alone after opening the
//! database. With a log, a private copy of both files is read. A process that has the store alone keeps the index of
//! the log in its own memory.

use crate::error::{Error, Result};
use crate::store::directory::Directory;
use crate::store::files::DATABASE;
use crate::store::files::LOCK;
use crate::store::files::PATIENCE;
use crate::store::locks::{self, Hold, Patience};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use tempfile::TempDir;

const LOG: &str = "rootstrata.sqlite-wal";
const LOG_INDEX: &str = "rootstrata.sqlite-shm";

/// The purpose of opening the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// To be read, and written to where possible.
    Reading,
    /// To be written to, beside others. `create` says whether a missing database is made.
    Writing { create: bool },
    /// To be written to by a process that has the store alone.
    Alone { create: bool },
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    pub connection: Connection,
    /// The reason for which nothing can be written.
    pub still: Option<Still>,
}

/// Keeps a database readable without writing.
#[derive(Debug)]
pub(crate) enum Still {
    /// Nobody changes the database while the lock is held; a store that nobody ever locked has no lock.
    Locked { _lock: Option<File> },
    /// A copy is read.
    Copied { _copy: TempDir },
}

impl Database {
    /// Opens the database for a purpose. Fails with [`Error::Locked`] if another process holds `lock` or the database
    /// for too long, and with [`Error::Database`] if the file is missing and not to be made, or is no database.
    pub(crate) fn open(directory: &Directory, purpose: For) -> Result<Self> {
        match purpose {
            For::Reading if directory.check_writable().is_err() => {
                Self::open_still(directory, false)
            }
            For::Reading if directory.is_full() => Self::open_still(directory, true),
            For::Reading => match Self::connect(directory, OpenFlags::empty(), false) {
                Err(error) if needs_room(&error) => Self::open_still(directory, true),
                Ok(opened) if is_read_still(directory)? => Ok(Self {
                    still: Some(Still::Locked { _lock: None }),
                    ..opened
                }),
                opened => opened,
            },
            For::Writing { create } => {
                let opened = Self::connect(directory, flags(create), false)?;
                wait_for_still_readers(directory)?;
                Ok(opened)
            }
            For::Alone { create } => Self::connect(directory, flags(create), true),
        }
    }

    /// Copies the database and its log, and opens the copy for reading and writing. Fails with [`Error::Locked`] if
    /// somebody writes meanwhile.
    pub(crate) fn open_copy(directory: &Directory) -> Result<Self> {
        let copy = tempfile::Builder::new().prefix("rootstrata-").tempdir();
        let copy = copy.map_err(Error::io("write in", std::env::temp_dir()))?;
        copy_files(directory, copy.path())?;
        let path = std::fs::canonicalize(copy.path()).map_err(Error::io("open", copy.path()))?;
        let connection = connect(
            &path.join(DATABASE),
            OpenFlags::SQLITE_OPEN_READ_WRITE,
            true,
        );
        let connection = connection.map_err(|source| failed_at(directory, source))?;
        Ok(Self {
            connection,
            still: Some(Still::Copied { _copy: copy }),
        })
    }

    fn connect(directory: &Directory, create: OpenFlags, alone: bool) -> Result<Self> {
        let path = directory.path().join(DATABASE);
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | create, alone);
        let connection = connection.map_err(|source| failed_at(directory, source))?;
        Ok(Self {
            connection,
            still: None,
        })
    }

    /// Opens the database without writing anything beside the database.
    fn open_still(directory: &Directory, is_writable: bool) -> Result<Self> {
        // Somebody has the database open: the files beside it are there already.
        if directory.length(LOG_INDEX) > 0
            && let Some(opened) = Self::open_beside_others(directory, is_writable)
        {
            return Ok(opened);
        }
        if is_writable && directory.length(LOG) > 0 {
            // The content of the log may fit into the database as the database is; closing removes the log then.
            drop(Self::connect(directory, OpenFlags::empty(), true));
        }
        let lock = directory.file(LOCK)?;
        let shared = |lock| locks::wait(directory.path(), lock, Hold::Shared, Patience::Usual);
        let lock = lock.map(shared).transpose()?;
        if directory.length(LOG) > 0 {
            return if is_writable {
                Self::connect(directory, OpenFlags::empty(), true)
            } else {
                Self::open_copy(directory)
            };
        }
        Self::open_immutable(directory, lock)
    }

    /// Opens the database as a file that nobody changes while `lock` is held.
    fn open_immutable(directory: &Directory, lock: Option<File>) -> Result<Self> {
        let uri = immutable_uri(&directory.path().join(DATABASE));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = connect(Path::new(&uri), flags, false);
        let connection = connection.map_err(|source| failed_at(directory, source))?;
        Ok(Self {
            connection,
            still: Some(Still::Locked { _lock: lock }),
        })
    }

    /// Opens the database with the files that another process has beside it; `None` where SQLite cannot.
    fn open_beside_others(directory: &Directory, is_writable: bool) -> Option<Self> {
        let flags = if is_writable {
            OpenFlags::SQLITE_OPEN_READ_WRITE
        } else {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        };
        let connection = connect(&directory.path().join(DATABASE), flags, false).ok()?;
        Some(Self {
            connection,
            still: Some(Still::Locked { _lock: None }),
        })
    }
}

/// Returns the URI of a database that nobody changes meanwhile (sqlite.org/uri.html, "immutable").
fn immutable_uri(database: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for byte in database.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(*byte),
            byte => uri.extend(format!("%{byte:02X}").as_bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}

/// Copies the database and its log. Fails if a length changes meanwhile.
fn copy_files(directory: &Directory, to: &Path) -> Result<()> {
    let lengths = || (directory.length(DATABASE), directory.length(LOG));
    let before = lengths();
    for name in [LOG, DATABASE] {
        if let Some(mut from) = directory.file(name)? {
            let copied = File::create(to.join(name))
                .and_then(|mut copy| std::io::copy(&mut from, &mut copy));
            copied.map_err(Error::io("copy", directory.path().join(DATABASE)))?;
        }
    }
    if lengths() != before {
        return Err(Error::Locked(directory.path().to_owned()));
    }
    Ok(())
}

fn flags(create: bool) -> OpenFlags {
    if create {
        OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::empty()
    }
}

/// Opens the database and reads its header; SQLite makes its files beside the database by reading.
fn connect(path: &Path, flags: OpenFlags, alone: bool) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    if alone {
        connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

fn failed_at(directory: &Directory, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Locked(directory.path().to_owned())
        }
        _ => Error::Database {
            path: directory.path().join(DATABASE),
            source,
        },
    }
}

/// Waits until nobody reads the database as a file that nobody changes.
fn wait_for_still_readers(directory: &Directory) -> Result<()> {
    if directory.has(LOCK) {
        let lock = directory.lock_file(LOCK)?;
        locks::wait(directory.path(), lock, Hold::Alone, Patience::Usual)?;
    }
    Ok(())
}

/// Tells whether somebody reads the database as a file that nobody changes.
fn is_read_still(directory: &Directory) -> Result<bool> {
    Ok(directory
        .file(LOCK)?
        .is_some_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))))
}

/// Tells whether SQLite could not make its files beside the database.
fn needs_room(error: &Error) -> bool {
    let Error::Database { source, .. } = error else {
        return false;
    };
    matches!(
        source.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::ReadOnly
        )
    )
}
