//! Defaults of the series under a glob. Most keys are options of `snapshot`, and are read by the parsers of the options.

use crate::cli::config::held::Held;
use crate::cli::record::args::RecordArgs;
use crate::error::show;
use crate::model::policy::globs::NameGlob;
use crate::model::repository::Repository;
use std::path::Path;
use toml::Value;

/// The keys of options of `snapshot`.
pub(crate) const OPTIONS: [&str; 10] = [
    "profile",
    "mtime",
    "layers",
    "state",
    "compression",
    "exclude",
    "volatile",
    "from",
    "to",
    "registry-optional",
];
/// The key of the repository to push to.
pub(crate) const REGISTRY: &str = "registry";

/// A table `[[series]]`.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub names: NameGlob,
    /// The file and the glob, for people.
    pub origin: String,
    /// The keys that the table has.
    pub keys: Vec<String>,
    /// Pairs of key and value, sorted by key; a list gives a pair for each value.
    pub values: Vec<(String, String)>,
}

/// The defaults of a series.
#[derive(Debug, Default)]
pub(crate) struct SeriesDefaults {
    pub record: RecordArgs,
    pub registry: Option<Repository>,
    /// Keys and values, each with the origin.
    pub held: Vec<(String, Held<String>)>,
}

impl Table {
    /// Reads a table. Fails with the fault.
    pub(crate) fn new(path: &Path, value: &Value) -> Result<Self, String> {
        let Value::Table(table) = value else {
            return Err("a series is no table: write [[series]]".to_owned());
        };
        let name = table.get("name").and_then(Value::as_str);
        let glob = name.ok_or_else(|| "a series has no name in quotes".to_owned())?;
        let names = NameGlob::new(glob).map_err(|e| e.in_one_line())?;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (key, value) in table.iter().filter(|(key, _)| *key != "name") {
            let texts = texts(key, value).map_err(|what| format!("series {glob:?}: {what}"))?;
            keys.push(key.clone());
            values.extend(texts.into_iter().map(|text| (key.clone(), text)));
        }
        let table = Self {
            names,
            origin: format!("{}, {glob:?}", show(path)),
            keys,
            values,
        };
        let parsed = defaults_of(&table.values);
        parsed.map_err(|what| format!("series {glob:?}: {what}"))?;
        Ok(table)
    }
}

/// Returns the value of a key, or the values of a list, as texts.
fn texts(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let is_list = ["exclude", "volatile"].contains(&key);
    match value {
        _ if !OPTIONS.contains(&key) && key != REGISTRY => {
            let known = OPTIONS.join(", ");
            Err(format!("{key:?} is none of name, {known} and {REGISTRY}"))
        }
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Boolean(flag) if key == "registry-optional" => Ok(vec![flag.to_string()]),
        Value::Array(list) if is_list => {
            let all = list.iter().map(|one| one.as_str().map(str::to_owned));
            let all: Option<Vec<String>> = all.collect();
            all.ok_or_else(|| format!("{key} is no list of texts in quotes"))
        }
        _ => Err(format!("{key} is no text in quotes")),
    }
}

/// Reads values as options. Fails with the first unfit value.
pub(super) fn defaults_of(values: &[(String, String)]) -> Result<SeriesDefaults, String> {
    let mut words = Vec::new();
    let mut registry = None;
    for (key, value) in values {
        match (key.as_str(), value.as_str()) {
            (REGISTRY, value) => registry = Some(repository(value)?),
            ("registry-optional", "true") => words.push(format!("--{key}")),
            ("registry-optional", "false") => {}
            ("registry-optional", _) => return Err(format!("{key} is neither true nor false")),
            _ => words.push(format!("--{key}={value}")),
        }
    }
    let record = RecordArgs::from_words(&words)?;
    Ok(SeriesDefaults {
        record,
        registry,
        held: Vec::new(),
    })
}

fn repository(text: &str) -> Result<Repository, String> {
    crate::cli::parse::parse_repository(text).map_err(|what| format!("{REGISTRY}: {what}"))
}
