//! Text that several commands print: tables, sizes, shares, layers, modes.

use crate::model::plan::layer::Role;
use crate::model::time::rfc3339;
use crate::model::tree::entry::{Entry, Kind};
use crate::printable::printable;
use crate::store::{LayerUse, Snapshot};
use std::fmt::Write as _;

/// Appends a line for each layer. Package layers that were there before are one line, unless all details are wanted.
pub(crate) fn push_layers(text: &mut String, layers: &[LayerUse], verbose: bool) {
    let is_folded = |layer: &&LayerUse| layer.role == Role::Package && layer.reused && !verbose;
    for run in layers.chunk_by(|a, b| is_folded(&a) && is_folded(&b)) {
        if run.len() > 1 {
            let bytes = run.iter().map(|layer| layer.blob.size_bytes).sum();
            let count = counted(run.len() as u64, "layer", "layers");
            let _ = writeln!(text, "  package reused  {count:<19}  {:>9}", size(bytes));
        } else {
            push_layer(text, &run[0], verbose);
        }
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
        format!(", {} whiteouts", layer.whiteouts)
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "  {:<7} {state:<6}  {shown}  {:>9}  {} entries{whiteouts}{}",
        role.name(),
        size(blob.size_bytes),
        layer.entries,
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

/// Returns the name of a package for the end of a line; empty for any other layer.
pub(crate) fn label_text(layer: &LayerUse) -> String {
    match &layer.label {
        Some(label) if layer.role == Role::Package => {
            format!("  {}", printable(label.as_bytes()))
        }
        _ => String::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::size;

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
