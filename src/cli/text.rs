//! Text that several commands print: tables, sizes, shares, layers, modes.

use crate::model::plan::layer::Role;
use crate::model::time::rfc3339;
use crate::model::tree::entry::{Entry, Kind};
use crate::printable::printable;
use crate::registry::Traffic;
use crate::store::{LayerUse, Snapshot};
use std::fmt::Write as _;

/// Appends a line for each layer. Package layers that were there before are one line, unless all details are wanted.
pub(crate) fn push_layers(text: &mut String, layers: &[LayerUse], verbose: bool) {
    let is_folded = |layer: &&LayerUse| layer.role == Role::Package && layer.reused && !verbose;
    for run in layers.chunk_by(|a, b| is_folded(&a) && is_folded(&b)) {
        if run.len() > 1 {
            push_packages(text, &run.iter().collect::<Vec<_>>());
        } else {
            push_layer(text, &run[0], verbose);
        }
    }
}

/// Appends a line about layers that only a registry has, if there are any.
pub(crate) fn push_remote(text: &mut String, (count, bytes): (u64, u64)) {
    if count > 0 {
        let layers = counted(count, "layer", "layers");
        let are = if count == 1 { "is" } else { "are" };
        let _ = writeln!(
            text,
            "{layers} of {} {are} in a registry alone",
            size(bytes)
        );
    }
}

fn push_layer(text: &mut String, used: &LayerUse, verbose: bool) {
    let LayerUse {
        role,
        layer,
        blob,
        reused,
        ..
    } = used;
    let state = if *reused { "reused" } else { "new" };
    let digest = blob.digest.to_string();
    let shown = if verbose {
        digest.as_str()
    } else {
        &digest[..19]
    };
    let whiteouts = if layer.whiteouts > 0 {
        format!(", {}", counted(layer.whiteouts, "whiteout", "whiteouts"))
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "  {:<7} {state:<6}  {shown}  {:>9}  {}{whiteouts}{}",
        role.name(),
        size(blob.size_bytes),
        counted(layer.entries, "entry", "entries"),
        label_text(used),
    );
    if verbose {
        let _ = writeln!(
            text,
            "                  diff_id {}  key {}",
            layer.diff_id, layer.key
        );
    }
}

/// Appends a line for each layer that is no package's. The package layers in between are a line for those that were there
/// before, and for the others a line and some with their names.
pub(crate) fn push_layers_briefly(text: &mut String, layers: &[LayerUse]) {
    let is_package = |layer: &LayerUse| layer.role == Role::Package;
    for run in layers.chunk_by(|a, b| is_package(a) && is_package(b)) {
        if !is_package(&run[0]) {
            push_layer(text, &run[0], false);
            continue;
        }
        let (reused, new): (Vec<_>, Vec<_>) = run.iter().partition(|layer| layer.reused);
        push_packages(text, &reused);
        push_packages(text, &new);
        push_names(text, new.into_iter().filter_map(package_of));
    }
}

/// Appends a line for package layers that are all new or all reused.
fn push_packages(text: &mut String, layers: &[&LayerUse]) {
    let Some(first) = layers.first() else {
        return;
    };
    let state = if first.reused { "reused" } else { "new" };
    let bytes = layers.iter().map(|layer| layer.blob.size_bytes).sum();
    let count = counted(layers.len() as u64, "layer", "layers");
    let _ = writeln!(
        text,
        "  package {state:<6}  {count:<19}  {:>9}",
        size(bytes)
    );
}

/// A line has so many columns.
pub(crate) const COLUMNS: usize = 80;

/// Names take so many lines.
const MOST_NAME_LINES: usize = 3;

/// Appends lines of names, and the number of those that have no room. A name that leaves no room for this number is cut.
fn push_names(text: &mut String, names: impl Iterator<Item = String>) {
    const INDENT: usize = 10;
    const ROOM: usize = COLUMNS - INDENT;
    const NARROW: usize = ROOM - " and 100 more".len();
    let mut lines: Vec<String> = Vec::new();
    let mut left = 0;
    for name in names {
        let name = cut(&name, NARROW);
        let is_last = lines.len() == MOST_NAME_LINES;
        let room = if is_last { NARROW } else { ROOM - 1 };
        match lines.last_mut() {
            Some(_) if left > 0 => left += 1,
            Some(line) if line.chars().count() + 2 + name.chars().count() <= room => {
                line.push_str(", ");
                line.push_str(&name);
            }
            Some(_) if is_last => left = 1,
            _ => lines.push(name),
        }
    }
    let mut lines = lines.into_iter().peekable();
    while let Some(line) = lines.next() {
        let end = match left {
            _ if lines.peek().is_some() => ",".to_owned(),
            0 => String::new(),
            left => format!(" and {left} more"),
        };
        let _ = writeln!(text, "{:INDENT$}{line}{end}", "");
    }
}

/// Returns at most so many characters; the last stands for all that are cut.
pub(crate) fn cut(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let kept = name.chars().take(most.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Returns the name of a package for the end of a line; empty for any other layer.
pub(crate) fn label_text(layer: &LayerUse) -> String {
    package_of(layer).map_or(String::new(), |package| format!("  {package}"))
}

/// Returns the name of a layer's package; `None` for any other layer, and where the name is unknown.
pub(crate) fn package_of(layer: &LayerUse) -> Option<String> {
    let label = layer.label.as_ref();
    let label = label.filter(|_| layer.role == Role::Package)?;
    Some(printable(label.as_bytes()))
}

/// Returns number, name, time and run of a snapshot.
pub(crate) fn about(snapshot: &Snapshot) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        created_s,
        ..
    } = snapshot;
    let time = rfc3339(*created_s);
    format!("snapshot {id}, {series}@{stage} of {time} (run {run})")
}

/// Returns rows in columns as wide as the longest cell, without spaces at the end of a line.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns a time in the largest unit of which there are two, or in minutes.
pub(crate) fn age(seconds: i64) -> String {
    let units = [
        (31_536_000, "years"),
        (2_678_400, "months"),
        (604_800, "weeks"),
        (86_400, "days"),
        (3_600, "hours"),
    ];
    for (unit, name) in units {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{} min", seconds.max(0) / 60)
}

/// Returns a mode such as `drwxr-xr-x`, with setuid, setgid and sticky as ls(1) does, and `+` for extended attributes.
pub(crate) fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::Directory => 'd',
        Kind::File { .. } => '-',
        Kind::Symlink(_) => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice(_) => 'c',
        Kind::BlockDevice(_) => 'b',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text.push(if entry.xattrs.is_empty() { ' ' } else { '+' });
    text
}

/// Returns a share with one decimal; a share of nothing is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    };
    format!("{share:.1} %")
}

/// Returns bytes in decimal units, as disks and registries count.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Returns what went over the wire, in a line.
pub(crate) fn traffic(traffic: &Traffic) -> String {
    let Traffic {
        requests,
        retries,
        bytes_sent,
        bytes_received,
    } = traffic;
    let mut text = counted(*requests, "request", "requests");
    if *retries > 0 {
        let _ = write!(text, " ({} again)", retries);
    }
    let _ = write!(
        text,
        ", {} sent, {} received",
        size(*bytes_sent),
        size(*bytes_received)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::{push_names, size};

    #[test]
    fn many_names_are_few_lines_of_eighty_columns() {
        for (count, length) in [
            (0, 1),
            (1, 5),
            (3, 30),
            (90, 22),
            (90, 57),
            (90, 300),
            (100, 1),
        ] {
            let names = std::iter::repeat_n(format!("@{}", "x".repeat(length)), count);
            let mut text = String::new();
            push_names(&mut text, names);
            let mut lines = text.lines();
            assert!(lines.all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.lines().count() <= 3, "{text}");
            let left = text.rsplit_once(" and ");
            let left = left.map_or("0", |(_, left)| left.split(' ').next().unwrap());
            let shown = text.matches('@').count();
            assert_eq!(shown + left.parse::<usize>().unwrap(), count, "{text}");
        }
    }

    #[test]
    fn sizes_have_three_or_four_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
