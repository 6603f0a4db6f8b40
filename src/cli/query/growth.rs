//! The growth of a store: a table, JSON, and a page for a browser with the layers and the changes of each snapshot.

use crate::cli::json::VERSION;
use crate::cli::page::{escaped, fill, policy};
use crate::cli::text::{age, counted, size, table};
use crate::model::plan::layer::Role;
use crate::model::time::rfc3339;
use crate::ops::query::growth::{DayOfSeries, growth};
use crate::ops::query::log::Logged;
use crate::printable::printable;
use crate::store::LayerUse;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const PAGE: &str = include_str!("growth/page.html");
const STYLE: &str = include_str!("growth/page.css");

/// Returns a line for each series of a day, and a line for all.
pub(crate) fn text(logged: &[Logged]) -> String {
    let days = growth(logged);
    let head = ["DAY", "SERIES", "SNAPSHOTS", "NEW"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(days.iter().map(|one| row(&date(one.day), &one.series, one)));
    let all = total(&days);
    let series: BTreeSet<&str> = days.iter().map(|one| one.series.as_str()).collect();
    rows.push(row(
        "(all)",
        &counted(series.len() as u64, "series", "series"),
        &all,
    ));
    table(&rows)
}

fn row(day: &str, series: &str, sums: &DayOfSeries) -> [String; 4] {
    [
        day.to_owned(),
        series.to_owned(),
        sums.snapshots.to_string(),
        size(sums.new_bytes),
    ]
}

/// Returns the sums of all days.
fn total(days: &[DayOfSeries]) -> DayOfSeries {
    DayOfSeries {
        day: 0,
        series: String::new(),
        snapshots: days.iter().map(|one| one.snapshots).sum(),
        new_bytes: days.iter().map(|one| one.new_bytes).sum(),
    }
}

/// Returns YYYY-MM-DD of a day, counted from 1970-01-01.
fn date(day: i64) -> String {
    let mut text = rfc3339(day * 86_400);
    text.truncate("YYYY-MM-DD".len());
    text
}

/// Returns the days with their sums, as in the table.
pub(crate) fn json(logged: &[Logged]) -> Value {
    let days = growth(logged);
    let all = total(&days);
    let days = days.iter().map(|one| {
        json!({
            "day": date(one.day),
            "series": one.series,
            "snapshots": one.snapshots,
            "new_bytes": one.new_bytes,
        })
    });
    json!({
        "version": VERSION,
        "days": days.collect::<Vec<_>>(),
        "snapshots": all.snapshots,
        "new_bytes": all.new_bytes,
    })
}

/// Returns the page.
pub(crate) fn page(store: &Path, logged: &[Logged]) -> String {
    let days = growth(logged);
    let store = printable(store.as_os_str().as_bytes());
    let series = by_series(&days);
    fill(
        PAGE,
        &[
            ("policy", &policy(None, STYLE)),
            ("style", STYLE),
            ("store", &escaped(&store)),
            ("sum", &escaped(&sum(&days, series.len()))),
            ("chart", &chart(&days, &series)),
            ("legend", &legend(&series)),
            ("days", &day_rows(&days)),
            ("series", &series_rows(&series, logged)),
            ("snapshots", &snapshot_rows(logged)),
        ],
    )
}

fn sum(days: &[DayOfSeries], series: usize) -> String {
    let (Some(last), Some(first)) = (days.first(), days.last()) else {
        return "No snapshot.".to_owned();
    };
    let all = total(days);
    let snapshots = counted(all.snapshots, "snapshot", "snapshots");
    let (first, last) = (date(first.day), date(last.day));
    let when = if first == last {
        format!("on {last}")
    } else {
        format!("from {first} to {last}")
    };
    format!(
        "{snapshots} of {series} series, recorded {when}, wrote {} of layers. What was removed since is not counted.",
        size(all.new_bytes)
    )
}

/// Returns the series with the bytes written for each, the largest first.
fn by_series(days: &[DayOfSeries]) -> Vec<(&str, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for one in days {
        *sums.entry(&one.series).or_default() += one.new_bytes;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
    sums
}

/// The number of series with a colour.
const COLOURS: usize = 6;

/// Returns the class of the colour of a series.
fn colour(series: &[(&str, u64)], name: &str) -> String {
    let at = series.iter().position(|(known, _)| *known == name);
    let at = at.filter(|at| *at < COLOURS);
    at.map_or("others".to_owned(), |at| format!("s{at}"))
}

/// Returns a bar for each day from the first to the last, or, over many days, for each day with snapshots.
fn chart(days: &[DayOfSeries], series: &[(&str, u64)]) -> String {
    const MOST_DAYS: i64 = 400;
    const FEWEST_DAYS: i64 = 14;
    const HEIGHT: f64 = 100.0;
    let (Some(last), Some(first)) = (days.first(), days.last()) else {
        return String::new();
    };
    let mut bars: BTreeMap<i64, Vec<&DayOfSeries>> = BTreeMap::new();
    if last.day - first.day < MOST_DAYS {
        let first = first.day.min(last.day - FEWEST_DAYS + 1);
        bars.extend((first..=last.day).map(|day| (day, Vec::new())));
    }
    for one in days {
        bars.entry(one.day).or_default().push(one);
    }
    let height = |ones: &Vec<&DayOfSeries>| ones.iter().map(|one| one.new_bytes).sum::<u64>();
    let most = bars.values().map(height).max().unwrap_or(0).max(1);
    let mut text = format!(
        "<p class=\"axis\">{}</p>\n<svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"Bytes written each day\">\n",
        escaped(&size(most)),
        bars.len() * 10
    );
    for (at, ones) in bars.values().enumerate() {
        let mut top = HEIGHT;
        for one in ones {
            let share = one.new_bytes as f64 / most as f64 * HEIGHT;
            top -= share;
            let title = format!("{} {} {}", date(one.day), one.series, size(one.new_bytes));
            let _ = writeln!(
                text,
                "<rect class=\"{}\" x=\"{}\" y=\"{top:.3}\" width=\"8\" height=\"{share:.3}\"><title>{}</title></rect>",
                colour(series, &one.series),
                at * 10 + 1,
                escaped(&title)
            );
        }
    }
    let (first, last) = (bars.keys().min().copied().unwrap_or(0), last.day);
    let _ = writeln!(
        text,
        "</svg>\n<p class=\"ends\"><span>{}</span><span>{}</span></p>",
        date(first),
        date(last)
    );
    text
}

fn legend(series: &[(&str, u64)]) -> String {
    let mut text = String::new();
    for (name, _) in series.iter().take(COLOURS) {
        let class = colour(series, name);
        let name = escaped(name);
        let _ = writeln!(
            text,
            "<li><span class=\"swatch {class}\"></span>{name}</li>"
        );
    }
    if series.len() > COLOURS {
        text += "<li><span class=\"swatch others\"></span>others</li>\n";
    }
    text
}

fn day_rows(days: &[DayOfSeries]) -> String {
    let rows = days.iter().map(|one| row(&date(one.day), &one.series, one));
    rows.map(|cells| cells_row(&cells)).collect()
}

fn cells_row(cells: &[String]) -> String {
    let cells = cells
        .iter()
        .map(|cell| format!("<td>{}</td>", escaped(cell)));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

fn series_rows(series: &[(&str, u64)], logged: &[Logged]) -> String {
    let rows = series.iter().map(|(name, bytes)| {
        let of: Vec<&Logged> = logged
            .iter()
            .filter(|one| one.snapshot.series == *name)
            .collect();
        let stages: BTreeSet<&str> = of.iter().map(|one| one.snapshot.stage.as_str()).collect();
        let newest = of.iter().map(|one| one.age_s).min().unwrap_or(0);
        cells_row(&[
            (*name).to_owned(),
            stages.into_iter().collect::<Vec<_>>().join(", "),
            of.len().to_string(),
            size(*bytes),
            format!("{} ago", age(newest)),
        ])
    });
    rows.collect()
}

fn snapshot_rows(logged: &[Logged]) -> String {
    let mut text = String::new();
    for one in logged {
        let snapshot = &one.snapshot;
        let name = format!("{}@{}", snapshot.series, snapshot.stage);
        let packages = one
            .packages
            .map_or("unknown".to_owned(), |count| count.to_string());
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{packages}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            snapshot.id,
            escaped(&name),
            rfc3339(snapshot.created_s)
                .replace('T', " ")
                .trim_end_matches('Z'),
            changes(one),
            size(one.new_bytes()),
            bar(&one.layers),
        );
    }
    text
}

/// Returns the number of changed packages, with the names behind.
fn changes(one: &Logged) -> String {
    let Some(changes) = &one.package_changes else {
        return String::new();
    };
    let parts = [
        ("+", &changes.added),
        ("−", &changes.removed),
        ("~", &changes.changed),
    ];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let counts: Vec<String> = parts
        .clone()
        .map(|(sign, names)| format!("{sign}{}", names.len()))
        .collect();
    if counts.is_empty() {
        return "none".to_owned();
    }
    let names = parts.flat_map(|(sign, names)| {
        names
            .iter()
            .map(move |name| format!("<li>{sign} {}</li>", escaped(name)))
    });
    format!(
        "<details><summary>{}</summary><ul>{}</ul></details>",
        counts.join(" "),
        names.collect::<String>()
    )
}

/// Returns the layers as a bar, the lowest first: as wide as large, hollow where reused.
fn bar(layers: &[LayerUse]) -> String {
    const WIDTH: f64 = 200.0;
    let bytes = |layers: &[LayerUse]| layers.iter().map(|one| one.blob.size_bytes).sum::<u64>();
    let all = bytes(layers).max(1) as f64;
    let is_like = |a: &LayerUse, b: &LayerUse| a.role == b.role && a.reused == b.reused;
    let mut text = format!(
        "<svg class=\"layers\" viewBox=\"0 0 {WIDTH} 12\" role=\"img\" aria-label=\"{}\">",
        counted(layers.len() as u64, "layer", "layers")
    );
    let mut left = 0.0;
    for run in layers.chunk_by(is_like) {
        let width = bytes(run) as f64 / all * WIDTH;
        let state = if run[0].reused { "reused" } else { "new" };
        let title = format!(
            "{} {}, {state}, {}",
            run.len(),
            run[0].role.name(),
            size(bytes(run))
        );
        let _ = write!(
            text,
            "<rect class=\"{} {state}\" x=\"{left:.2}\" y=\"0.5\" width=\"{width:.2}\" height=\"11\"><title>{title}</title></rect>",
            class(run[0].role),
        );
        left += width;
    }
    text + "</svg>"
}

fn class(role: Role) -> &'static str {
    match role {
        Role::Base => "base",
        Role::Package => "package",
        Role::State => "state",
        _ => "delta",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_does_not_end_its_element_and_each_place_of_the_page_is_filled() {
        assert!(!STYLE.contains("</style"));
        let page = page(Path::new("/a<b"), &[]);
        assert!(!page.contains("{{") && page.contains("/a&lt;b"), "{page}");
        assert!(page.contains("No snapshot."), "{page}");
    }

    #[test]
    fn a_series_beyond_those_with_colours_is_among_the_others() {
        let series: Vec<(&str, u64)> = vec![("x", 1); COLOURS];
        assert_eq!(colour(&series, "x"), "s0");
        assert_eq!(colour(&series, "y"), "others");
    }
}
