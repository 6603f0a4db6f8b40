//! The answer of `config`.

use crate::cli::config::configuration::Configuration;
use crate::cli::config::held::Held;
use crate::cli::config::series::{OPTIONS, REGISTRY};
use crate::cli::context::{Answer, Context};
use crate::cli::json::VERSION;
use crate::cli::text::table;
use crate::error::{Result, show};
use crate::model::names::check_series;
use crate::printable::printable;
use serde_json::{Value, json};

/// The defaults without a file and an option, for each key of a series.
const DEFAULTS: [(&str, &str); 11] = [
    (
        "profile",
        "mock where the root has an rpm database, else plain",
    ),
    ("mtime", "package, and keep under plain"),
    (
        "layers",
        "as the series was before; at first packages:60, or stages",
    ),
    ("state", "recorded"),
    ("compression", "zstd:3"),
    ("exclude", "nothing more than the profile"),
    ("volatile", "nothing more than the profile"),
    ("from", "none"),
    ("to", "none"),
    ("registry-optional", "false"),
    (REGISTRY, "none"),
];

/// A setting with value and origin.
type Row = (String, Held<String>);

/// Shows the files, and the settings with their origin; of a series, the settings of a snapshot. Fails with [`crate::error::Error::BadName`] for a malformed
/// name.
pub(crate) fn run(context: &Context, series: Option<&str>) -> Result<Answer> {
    if let Some(series) = series {
        check_series(series)?;
    }
    let configuration = &context.configuration;
    let mut rows = vec![store(context), epoch()];
    match series {
        Some(series) => rows.extend(of_series(configuration, series)),
        None => rows.extend(of_tables(configuration)),
    }
    let text = context.show(
        || as_json(configuration, series, &rows),
        || as_text(configuration, &rows),
    );
    Ok(text.into())
}

fn store(context: &Context) -> Row {
    let value = show(&context.store);
    let origin = context.store_origin.clone();
    ("store".to_owned(), Held { value, origin })
}

fn epoch() -> Row {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let held = match variable {
        Some(value) => Held {
            value,
            origin: format!("${VARIABLE}"),
        },
        None => by_default("315619200"),
    };
    ("epoch".to_owned(), held)
}

fn by_default(value: &str) -> Held<String> {
    Held {
        value: value.to_owned(),
        origin: "default".to_owned(),
    }
}

fn of_series(configuration: &Configuration, series: &str) -> Vec<Row> {
    let held = configuration.defaults(series).held;
    let mut rows = Vec::new();
    for key in OPTIONS.into_iter().chain([REGISTRY]) {
        let said = held.iter().filter(|(of, _)| of == key).cloned();
        let before = rows.len();
        rows.extend(said);
        if rows.len() == before {
            let default = DEFAULTS.iter().find(|(of, _)| *of == key);
            let value = default.map_or("none", |(_, value)| value);
            rows.push((key.to_owned(), by_default(value)));
        }
    }
    rows
}

fn of_tables(configuration: &Configuration) -> Vec<Row> {
    let tables = configuration.tables().iter();
    let rows = tables.flat_map(|table| {
        table.values.iter().map(|(key, value)| {
            let value = value.clone();
            let origin = table.origin.clone();
            (key.clone(), Held { value, origin })
        })
    });
    rows.collect()
}

fn as_text(configuration: &Configuration, rows: &[Row]) -> String {
    let mut text = String::new();
    for (path, is_there) in &configuration.files {
        let state = if *is_there { "read" } else { "not there" };
        text += &format!("{}: {state}\n", show(path));
    }
    let mut lines = vec![["SETTING", "VALUE", "FROM"].map(str::to_owned)];
    lines.extend(rows.iter().map(|(key, held)| {
        let value = printable(held.value.as_bytes());
        [key.clone(), value, held.origin.clone()]
    }));
    text + &table(&lines)
}

fn as_json(configuration: &Configuration, series: Option<&str>, rows: &[Row]) -> Value {
    let files = configuration.files.iter();
    let files = files.map(|(path, is_there)| json!({ "path": show(path), "read": is_there }));
    let settings = rows.iter();
    let settings = settings
        .map(|(key, held)| json!({ "name": key, "value": held.value, "from": held.origin }));
    json!({
        "version": VERSION,
        "series": series,
        "files": files.collect::<Vec<_>>(),
        "settings": settings.collect::<Vec<_>>(),
    })
}
