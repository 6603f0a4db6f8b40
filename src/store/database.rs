//! How the database of a store is opened.
//!
//! SQLite makes files beside a database that it opens, also to read it, and maps one of them into memory. Where the store
//! cannot be written to, or no room is left, it is read without: where there is no log (`-wal`), as a file that nobody
//! changes, and meanwhile `lock` is held shared, which whoever writes has alone after the database is open; where there is a
//! log, from a private copy of both. Who has the store alone keeps the index of the log in its own memory.

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

/// What the database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// To be read, and written to where that is possible.
    Reading,
    /// To be written to, beside others. `create` says whether it is made where it is missing.
    Writing { create: bool },
    /// To be written to by one who has the store alone.
    Alone { create: bool },
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    /// Why nothing can be written to it.
    pub(crate) still: Option<Still>,
}

/// What keeps a database readable that is not written to.
#[derive(Debug)]
pub(crate) enum Still {
    /// Nobody changes it while the lock is held; there is no lock where nobody has ever had one.
    Locked { _lock: Option<File> },
    /// It is read from a copy.
    Copied { _copy: TempDir },
}

impl Database {
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
                // Whoever reads it as a file that nobody changes must be through.
                if directory.has(LOCK) {
                    locks::wait(
                        directory.path(),
                        directory.lock_file(LOCK)?,
                        Hold::Alone,
                        Patience::Usual,
                    )?;
                }
                Ok(opened)
            }
            For::Alone { create } => Self::connect(directory, flags(create), true),
        }
    }

    /// Copies the database and its log, and opens the copy, which may be written to.
    pub(crate) fn open_copy(directory: &Directory) -> Result<Self> {
        let failed =
            |what: &'static str| Error::io::<std::io::Error>(what, directory.path().join(DATABASE));
        let copy = tempfile::Builder::new().prefix("rootstrata-").tempdir();
        let copy = copy.map_err(Error::io("write in", std::env::temp_dir()))?;
        let lengths = || (directory.length(DATABASE), directory.length(LOG));
        let before = lengths();
        for name in [LOG, DATABASE] {
            if let Some(mut from) = directory.file(name)? {
                let to = copy.path().join(name);
                let copied = File::create(&to).and_then(|mut to| std::io::copy(&mut from, &mut to));
                copied.map_err(failed("copy"))?;
            }
        }
        if lengths() != before {
            return Err(Error::Locked(directory.path().to_owned()));
        }
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

    /// Opens it without writing anything beside it.
    fn open_still(directory: &Directory, is_writable: bool) -> Result<Self> {
        // Somebody has it open: what is beside it is there already.
        if directory.length(LOG_INDEX) > 0 {
            let flags = match is_writable {
                true => OpenFlags::SQLITE_OPEN_READ_WRITE,
                false => OpenFlags::SQLITE_OPEN_READ_ONLY,
            };
            if let Ok(connection) = connect(&directory.path().join(DATABASE), flags, false) {
                return Ok(Self {
                    connection,
                    still: Some(Still::Locked { _lock: None }),
                });
            }
        }
        if is_writable && directory.length(LOG) > 0 {
            // What the log holds may fit into the database as it is; closing it removes the log then.
            drop(Self::connect(directory, OpenFlags::empty(), true));
        }
        let lock = directory.file(LOCK)?;
        let shared = |lock| locks::wait(directory.path(), lock, Hold::Shared, Patience::Usual);
        let lock = lock.map(shared).transpose()?;
        if directory.length(LOG) > 0 {
            return match is_writable {
                true => Self::connect(directory, OpenFlags::empty(), true),
                false => Self::open_copy(directory),
            };
        }
        let mut path = b"file:".to_vec();
        for byte in directory.path().join(DATABASE).as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                    path.push(*byte)
                }
                byte => path.extend(format!("%{byte:02X}").as_bytes()),
            }
        }
        path.extend(b"?immutable=1");
        let path = OsString::from_vec(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = connect(Path::new(&path), flags, false);
        let connection = connection.map_err(|source| failed_at(directory, source))?;
        Ok(Self {
            connection,
            still: Some(Still::Locked { _lock: lock }),
        })
    }
}

fn flags(create: bool) -> OpenFlags {
    if create {
        OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::empty()
    }
}

/// Opens the database and reads its header, which makes what SQLite needs beside it.
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

/// Tells whether somebody reads the database as a file that nobody changes.
fn is_read_still(directory: &Directory) -> Result<bool> {
    Ok(directory
        .file(LOCK)?
        .is_some_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))))
}

/// Tells whether what SQLite has beside a database could not be made.
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
