//! Snapshots one after the other, and histories, as text for people.

use crate::cli::text::{COLUMNS, age, cut, push_layers_briefly, size, table};
use crate::model::packages::package::Package;
use crate::model::time::rfc3339;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::query::history::{Turn, what_differs};
use crate::ops::query::log::{Logged, PackageChanges};
use crate::printable::printable;
use crate::store::Snapshot;
use std::fmt::Write as _;

/// A column of names is not cut below this.
const NARROWEST: usize = 12;

/// Returns a line for each snapshot, in at most 80 columns.
pub(crate) fn log(logged: &[Logged]) -> String {
    let head = ["ID", "SNAPSHOT", "AGE", "PACKAGES", "CHANGED", "NEW"];
    let mut rows = vec![head.map(str::to_owned)];
    for one in logged {
        let snapshot = &one.snapshot;
        let packages = one.packages.map(|count| count.to_string());
        rows.push([
            snapshot.id.to_string(),
            name(snapshot),
            age(one.age_s),
            packages.unwrap_or_else(|| "unknown".to_owned()),
            one.package_changes.as_ref().map_or(String::new(), changes),
            size(one.new_bytes()),
        ]);
    }
    fit(&mut rows, 1);
    table(&rows)
}

/// Cuts a column, so that lines have at most 80 columns.
fn fit<const N: usize>(rows: &mut [[String; N]], column: usize) {
    let widest = |of: usize| {
        let widths = rows.iter().map(|row| row[of].chars().count());
        widths.max().unwrap_or(0)
    };
    let others = (0..N).filter(|of| *of != column).map(|of| widest(of) + 2);
    let room = COLUMNS.saturating_sub(others.sum()).max(NARROWEST);
    for row in rows {
        row[column] = cut(&row[column], room);
    }
}

/// Returns series and stage, with a star for a pinned snapshot.
fn name(snapshot: &Snapshot) -> String {
    let pin = if snapshot.is_pinned { "*" } else { "" };
    format!("{}@{}{pin}", snapshot.series, snapshot.stage)
}

fn changes(changes: &PackageChanges) -> String {
    let PackageChanges {
        added,
        removed,
        changed,
    } = changes;
    let parts = [('+', added), ('-', removed), ('~', changed)];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts
        .map(|(sign, names)| format!("{sign}{}", names.len()))
        .collect();
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(" ")
}

/// Returns lines for each snapshot: times, run, entries and labels, the digest of the tree, and the layers.
pub(crate) fn log_in_detail(logged: &[Logged]) -> String {
    let titles = ["ID", "SNAPSHOT", "RUN", "TIME", "ENTRIES", "SIZE", "LAYERS"];
    let mut rows = vec![titles.map(str::to_owned)];
    for Logged {
        snapshot, layers, ..
    } in logged
    {
        let reused = layers.iter().filter(|layer| layer.reused).count();
        rows.push([
            snapshot.id.to_string(),
            name(snapshot),
            snapshot.run.clone(),
            rfc3339(snapshot.created_s),
            snapshot.entries.to_string(),
            size(snapshot.content_bytes),
            format!("{} new, {reused} reused", layers.len() - reused),
        ]);
    }
    let mut text = String::new();
    let logged = std::iter::once(None).chain(logged.iter().map(Some));
    for (line, logged) in table(&rows).lines().zip(logged) {
        let _ = writeln!(text, "{line}");
        let Some(logged) = logged else { continue };
        let labels = &logged.snapshot.labels;
        if !labels.is_empty() {
            let labels = printable(labels.to_string().as_bytes());
            let _ = writeln!(text, "  labels {labels}");
        }
        if let Some(digest) = &logged.tree_digest {
            let _ = writeln!(text, "  tree {digest}");
        }
        push_layers_briefly(&mut text, &logged.layers);
    }
    text
}

/// Returns a line for each change of a path.
pub(crate) fn path_turns(turns: &[Turn<Option<Entry>>]) -> String {
    let line = |turn: &Turn<Option<Entry>>| match (&turn.was, &turn.is) {
        (None, Some(is)) => format!("added, {}", state(is)),
        (Some(was), Some(is)) => {
            let what = what_differs(turn).map(|what| what.names().collect::<Vec<_>>().join(","));
            let (was, is) = (state(was), state(is));
            let states = if was == is {
                is
            } else {
                format!("{was} → {is}")
            };
            format!("{}: {states}", what.unwrap_or_default())
        }
        (_, None) => "removed".to_owned(),
    };
    turn_lines(turns, line)
}

/// Returns a line for each change of packages.
pub(crate) fn package_turns(turns: &[Turn<Vec<Package>>]) -> String {
    let names = |packages: &[Package]| {
        let names = packages
            .iter()
            .map(|one| printable(one.to_string().as_bytes()));
        names.collect::<Vec<_>>().join(", ")
    };
    let line = |turn: &Turn<Vec<Package>>| {
        let gone = turn
            .was
            .iter()
            .filter(|one| !turn.is.contains(one))
            .cloned();
        let come = turn
            .is
            .iter()
            .filter(|one| !turn.was.contains(one))
            .cloned();
        let (gone, come): (Vec<_>, Vec<_>) = (gone.collect(), come.collect());
        match (gone.is_empty(), come.is_empty()) {
            (true, _) => format!("added {}", names(&come)),
            (_, true) => format!("removed {}", names(&gone)),
            _ => format!("{} → {}", names(&gone), names(&come)),
        }
    };
    turn_lines(turns, line)
}

fn turn_lines<T>(turns: &[Turn<T>], line: impl Fn(&Turn<T>) -> String) -> String {
    if turns.is_empty() {
        return String::new();
    }
    let mut rows = vec![["ID", "SNAPSHOT", "TIME", "CHANGE"].map(str::to_owned)];
    for turn in turns {
        let snapshot = &turn.snapshot;
        rows.push([
            snapshot.id.to_string(),
            name(snapshot),
            rfc3339(snapshot.created_s),
            line(turn),
        ]);
    }
    table(&rows)
}

fn state(entry: &Entry) -> String {
    match &entry.kind {
        Kind::File {
            size_bytes,
            content,
        } => format!("{} {}", size(*size_bytes), &content.to_string()[..12]),
        Kind::Directory => "a directory".to_owned(),
        Kind::Symlink(target) => format!("-> {}", printable(target)),
        Kind::Fifo => "a FIFO".to_owned(),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => "a device".to_owned(),
    }
}
