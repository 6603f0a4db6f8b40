//! A configuration file, TOML: the store, and defaults of series.

use crate::cli::config::held::Held;
use crate::cli::config::series::Table;
use crate::error::{Error, Result, show};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use toml::Value;

/// No configuration is longer.
const LARGEST_BYTES: u64 = 1 << 20;

/// The settings of a file.
pub(crate) struct ConfigurationFile {
    pub store: Option<Held<PathBuf>>,
    pub tables: Vec<Table>,
}

/// Why a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilePlace {
    /// By the environment; a missing file is an error.
    Named,
    /// For all users.
    OfSystem,
    /// In the home of whoever runs the command, who need not be able to look there.
    OfUser,
}

/// Reads a file; `None` without a file. Fails with [`Error::BadConfiguration`] if the file cannot be read, is no TOML, or has an unknown key or
/// value.
pub(crate) fn read(path: &Path, place: FilePlace) -> Result<Option<ConfigurationFile>> {
    use ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let missing: &[ErrorKind] = match place {
        FilePlace::Named => &[],
        FilePlace::OfSystem => &[NotFound],
        FilePlace::OfUser => &[NotFound, NotADirectory, PermissionDenied],
    };
    let text = match text_of(path) {
        Err(e) if missing.contains(&e.kind()) => return Ok(None),
        Err(e) => return Err(bad(path, e.to_string())),
        Ok(text) => text,
    };
    parse(path, &text).map(Some)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    file.take(LARGEST_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_BYTES {
        return Err(std::io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<ConfigurationFile> {
    let table: toml::Table = text.parse().map_err(|e| syntax(path, text, &e))?;
    let mut file = ConfigurationFile {
        store: None,
        tables: Vec::new(),
    };
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("store", Value::String(store)) if Path::new(store).is_absolute() => {
                file.store = Some(Held {
                    value: PathBuf::from(store),
                    origin: show(path),
                });
            }
            ("store", _) => return Err(bad(path, "store is no absolute path in quotes")),
            ("series", Value::Array(tables)) => {
                for table in tables {
                    let table = Table::new(path, table).map_err(|what| bad(path, what))?;
                    file.tables.push(table);
                }
            }
            ("series", _) => return Err(bad(path, "series is no list: write [[series]]")),
            _ => {
                let what = format!("it says {key:?}, and may say store and [[series]]");
                return Err(bad(path, what));
            }
        }
    }
    Ok(file)
}

/// Returns the fault of a malformed text, in a line.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let message = error.message().replace('\n', ", ");
    bad(path, format!("line {line}: {message}"))
}

fn bad(path: &Path, what: impl Into<String>) -> Error {
    Error::BadConfiguration {
        path: path.to_owned(),
        what: what.into(),
    }
}
