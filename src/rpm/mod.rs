//! The rpm database of a root, read only: installed packages and owned files.
//!
//! The database is hostile like the rest of the root: the caller makes a private copy first, and malformed content is
//! at most an error.

mod backend;
mod berkeley_db;
mod byte_order;
mod database_file;
mod fault;
mod header;
mod headers;
mod macros;
mod ndb;
mod normal;
mod signature;
mod sqlite;

pub(crate) use backend::PLACES;
pub use backend::{Backend, SQLITE};
pub use header::Header;
pub(crate) use macros::MACRO_FILES;
pub use macros::{Configured, configured};
pub use normal::normalised;

use crate::error::{Error, Result};
use database_file::DatabaseFile;
use fault::Fault;
use headers::Headers;
use std::fs::File;
use std::path::Path;

/// Gives `each` the packages of a database in `directory`, a private copy with the write-ahead log where SQLite has one. `shown` is the
/// path in errors. Fails with [`Error::RpmDatabase`] if the database or a header is damaged; some packages may have been
/// given by then.
pub fn read(
    backend: Backend,
    directory: &Path,
    shown: &Path,
    mut each: impl FnMut(Header),
) -> Result<()> {
    read_headers(backend, directory, &mut each).map_err(|fault| Error::RpmDatabase {
        path: shown.to_owned(),
        reason: fault.reason(),
    })
}

fn read_headers(
    backend: Backend,
    directory: &Path,
    each: &mut dyn FnMut(Header),
) -> std::result::Result<(), Fault> {
    if backend == Backend::Sqlite {
        return sqlite::read(directory, each);
    }
    let database = DatabaseFile::new(File::open(directory.join(backend.file_name()))?)?;
    let mut headers = Headers::of(database.size_bytes(), each);
    match backend {
        Backend::Ndb => ndb::read(&database, &mut headers),
        _ => berkeley_db::read(&database, &mut headers),
    }
}
