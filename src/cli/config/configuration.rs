//! The settings of all configuration files.

use crate::cli::config::files::{FilePlace, read};
use crate::cli::config::held::Held;
use crate::cli::config::series::{SeriesDefaults, Table, defaults_of};
use crate::error::{Error, Result};
use std::path::PathBuf;

/// The variable that names the file to read in the place of the usual ones; empty for no file.
pub(crate) const FILE_VARIABLE: &str = "ROOTSTRATA_CONFIG";
const STORE_VARIABLE: &str = "ROOTSTRATA_STORE";

/// The settings of the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    /// The files in their order, and whether each is there.
    pub files: Vec<(PathBuf, bool)>,
    store: Option<Held<PathBuf>>,
    /// Defaults of series; of several that match, the last one says.
    tables: Vec<Table>,
}

impl Configuration {
    /// Reads the files. Fails with [`crate::error::Error::BadConfiguration`] if one is there and cannot be used.
    pub(crate) fn read() -> Result<Self> {
        let mut all = Self::default();
        for (path, place) in places() {
            let file = read(&path, place)?;
            all.files.push((path, file.is_some()));
            if let Some(file) = file {
                all.store = file.store.or(all.store);
                all.tables.extend(file.tables);
            }
        }
        Ok(all)
    }

    /// Returns the store: as the option says, else the environment, else the files, else the system's place for root, and for other users
    /// their own (XDG Base Directory Specification). Fails with [`Error::NoHome`] for a user without one.
    pub(crate) fn store(&self, option: Option<&PathBuf>) -> Result<Held<PathBuf>> {
        if let Some(store) = option {
            return Ok(held(store.clone(), "--store"));
        }
        if let Some(store) = variable(STORE_VARIABLE) {
            return Ok(held(store, &format!("${STORE_VARIABLE}")));
        }
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        if rustix::process::geteuid().is_root() {
            let store = PathBuf::from("/var/lib/rootstrata");
            return Ok(held(store, DEFAULT_OF_ROOT));
        }
        let state = absolute("XDG_STATE_HOME").or_else(|| under_home(".local/state"));
        let state = state.ok_or(Error::NoHome)?;
        Ok(held(state.join("rootstrata"), "default"))
    }

    /// Returns the defaults of a series: of each key, what the last table says that matches.
    pub(crate) fn defaults(&self, series: &str) -> SeriesDefaults {
        let mut held: Vec<(String, Held<String>)> = Vec::new();
        for table in self
            .tables
            .iter()
            .filter(|table| table.names.matches(series))
        {
            held.retain(|(key, _)| !table.keys.contains(key));
            held.extend(table.values.iter().map(|(key, value)| {
                let origin = table.origin.clone();
                let value = value.clone();
                (key.clone(), Held { value, origin })
            }));
        }
        let values: Vec<(String, String)> = held
            .iter()
            .map(|(key, held)| (key.clone(), held.value.clone()))
            .collect();
        // Each table was read when it was made, and keys do not depend on each other.
        let defaults = defaults_of(&values).unwrap_or_default();
        SeriesDefaults { held, ..defaults }
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }
}

/// The origin of root's store where nobody names one.
pub(crate) const DEFAULT_OF_ROOT: &str = "default of root";

fn held(value: PathBuf, origin: &str) -> Held<PathBuf> {
    let origin = origin.to_owned();
    Held { value, origin }
}

/// Returns the files that may say something, the weakest first.
fn places() -> Vec<(PathBuf, FilePlace)> {
    if let Some(named) = std::env::var_os(FILE_VARIABLE) {
        let named = (!named.is_empty()).then(|| (PathBuf::from(named), FilePlace::Named));
        return named.into_iter().collect();
    }
    let own = absolute("XDG_CONFIG_HOME").or_else(|| under_home(".config"));
    let own = own.map(|directory| (directory.join("rootstrata.toml"), FilePlace::OfUser));
    let system = (PathBuf::from("/etc/rootstrata.toml"), FilePlace::OfSystem);
    let all = [Some(system), own];
    all.into_iter().flatten().collect()
}

fn under_home(rest: &str) -> Option<PathBuf> {
    absolute("HOME").map(|home| home.join(rest))
}

fn variable(name: &str) -> Option<PathBuf> {
    let value = std::env::var_os(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// Returns the absolute path that an environment variable holds.
fn absolute(name: &str) -> Option<PathBuf> {
    variable(name).filter(|path| path.is_absolute())
}
