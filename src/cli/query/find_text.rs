//! The results of a search as text for people.

use crate::cli::query::text::path_and_target;
use crate::cli::text::table;
use crate::model::time::rfc3339;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::query::find::{Found, Things};
use crate::ops::query::visible::Occurrence;
use crate::printable::printable;
use crate::store::Snapshot;
use std::collections::BTreeMap;
use std::fmt::Display;

/// A found thing as it is shown.
struct Line {
    /// What tells it from others of the same name; empty where the name tells all.
    content: String,
    name: String,
    /// The places of the snapshots, the newest first.
    snapshots: Vec<usize>,
}

/// Returns a line for each content of a path, each package or each tree, with the range of snapshots that have it.
pub(crate) fn ranges(found: &Found) -> String {
    let lines = lines(found);
    if lines.is_empty() {
        return String::new();
    }
    let has_contents = lines.iter().any(|line| !line.content.is_empty());
    let content = if has_contents { "CONTENT" } else { "" };
    let head = ["SNAPSHOTS", "COUNT", "FROM", "TO", content, title(found)];
    let mut rows = vec![head.map(str::to_owned)];
    for line in lines {
        let [first, last] = [line.snapshots.last(), line.snapshots.first()]
            .map(|place| place.map(|place| &found.snapshots[*place]));
        let (Some(first), Some(last)) = (first, last) else {
            continue;
        };
        let range = match (first.id, last.id) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}..{last}"),
        };
        let count = line.snapshots.len().to_string();
        let [from, to] = [first, last].map(|one| rfc3339(one.created_s)[..10].to_owned());
        rows.push([range, count, from, to, line.content, line.name]);
    }
    if has_contents {
        return table(&rows);
    }
    let rows = rows
        .into_iter()
        .map(|[range, count, from, to, _, name]| [range, count, from, to, name]);
    table(&rows.collect::<Vec<_>>())
}

/// Returns a line for each snapshot with each thing, the newest snapshot first.
pub(crate) fn each(found: &Found) -> String {
    let mut of_snapshot: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in lines(found) {
        for place in line.snapshots {
            of_snapshot
                .entry(place)
                .or_default()
                .push(line.name.clone());
        }
    }
    if of_snapshot.is_empty() {
        return String::new();
    }
    let head = ["ID", "SNAPSHOT", "TIME", title(found)];
    let mut rows = vec![head.map(str::to_owned)];
    for (place, names) in of_snapshot {
        let snapshot = &found.snapshots[place];
        rows.extend(names.into_iter().map(|name| row(snapshot, name)));
    }
    table(&rows)
}

/// Returns the names of what was found alone, each on a line.
pub(crate) fn names(found: &Found) -> String {
    let lines = lines(found).into_iter();
    lines.map(|line| line.name + "\n").collect()
}

fn row(snapshot: &Snapshot, last: String) -> [String; 4] {
    [
        snapshot.id.to_string(),
        format!("{}@{}", snapshot.series, snapshot.stage),
        rfc3339(snapshot.created_s),
        last,
    ]
}

fn title(found: &Found) -> &'static str {
    match found.things {
        Things::Entries(_) => "PATH",
        Things::Packages(_) => "PACKAGE",
        Things::Trees(_) => "TREE",
    }
}

fn lines(found: &Found) -> Vec<Line> {
    match &found.things {
        Things::Entries(entries) => lines_of_entries(entries),
        Things::Packages(packages) => lines_of(packages),
        Things::Trees(trees) => lines_of(trees),
    }
}

fn lines_of<T: Display>(all: &[Occurrence<T>]) -> Vec<Line> {
    let line = |one: &Occurrence<T>| Line {
        content: String::new(),
        name: printable(one.thing.to_string().as_bytes()),
        snapshots: one.snapshots.clone(),
    };
    all.iter().map(line).collect()
}

/// States of a path that differ in other things than the content are one line.
fn lines_of_entries(entries: &[Occurrence<Entry>]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for of_path in entries.chunk_by(|a, b| a.thing.path == b.thing.path) {
        let first = lines.len();
        for one in of_path {
            let (content, name) = (content(&one.thing), path_and_target(&one.thing));
            let mut known = lines[first..].iter_mut();
            match known.find(|line| line.content == content && line.name == name) {
                Some(line) => {
                    line.snapshots.extend(&one.snapshots);
                    line.snapshots.sort_unstable();
                }
                None => lines.push(Line {
                    content,
                    name,
                    snapshots: one.snapshots.clone(),
                }),
            }
        }
        lines[first..].sort_by(|a, b| a.snapshots.cmp(&b.snapshots));
    }
    lines
}

/// Returns the beginning of a file's BLAKE3, and the kind of any other entry.
fn content(entry: &Entry) -> String {
    match &entry.kind {
        Kind::File { content, .. } => content.to_string()[..12].to_owned(),
        Kind::Directory => "directory".to_owned(),
        Kind::Symlink(_) => "symlink".to_owned(),
        Kind::Fifo => "fifo".to_owned(),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => "device".to_owned(),
    }
}
