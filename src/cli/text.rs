//! Results as text for people.

use crate::model::time::rfc3339;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::monitor::Phase;
use crate::ops::query::inspect::{Logged, Shown};
use crate::ops::record;
use crate::ops::transfer::export;
use crate::printable::printable;
use crate::store::LayerUse;
use crate::store::Snapshot;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

pub(super) fn snapshot(outcome: &record::Outcome, verbose: bool) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        entries,
        ..
    } = &outcome.snapshot;
    let packages = outcome
        .packages
        .map_or("packages unknown".to_owned(), |count| {
            format!("{count} packages")
        });
    let read = match outcome.files_read {
        0 => "no file read".to_owned(),
        files => format!("{files} files read ({})", size(outcome.bytes_read)),
    };
    let mut text = format!(
        "{series}@{stage} is snapshot {id} (run {run}): {entries} entries, {packages}, {read}\n"
    );
    outcome
        .layers
        .iter()
        .for_each(|layer| push_layer(&mut text, layer, verbose));
    text
}

pub(super) fn push_layer(text: &mut String, layer: &LayerUse, verbose: bool) {
    let LayerUse {
        role,
        layer,
        blob,
        reused,
    } = layer;
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
        "  {:<6}  {state:<6}  {shown}  {:>9}  {} entries{whiteouts}",
        role.name(),
        size(blob.size_bytes),
        layer.entries,
    );
    if verbose {
        let _ = writeln!(
            text,
            "                  diff_id {}  key {}",
            layer.diff_id, layer.key
        );
    }
}

pub(super) fn export(outcome: &export::Outcome) -> String {
    let path = printable(outcome.path.as_os_str().as_encoded_bytes());
    match outcome.bytes_written {
        0 => format!(
            "{path} is up to date: {}, nothing written\n",
            outcome.manifest_digest
        ),
        bytes => format!(
            "{path} is {}, {} written\n",
            outcome.manifest_digest,
            size(bytes)
        ),
    }
}

pub(super) fn log(logged: &[Logged]) -> String {
    let mut rows =
        vec![["ID", "SNAPSHOT", "RUN", "TIME", "ENTRIES", "SIZE", "LAYERS"].map(str::to_owned)];
    for Logged { snapshot, layers } in logged {
        let reused = layers.iter().filter(|layer| layer.reused).count();
        rows.push([
            snapshot.id.to_string(),
            format!("{}@{}", snapshot.series, snapshot.stage),
            snapshot.run.clone(),
            rfc3339(snapshot.created_s),
            snapshot.entries.to_string(),
            size(snapshot.content_bytes),
            format!("{} new, {reused} reused", layers.len() - reused),
        ]);
    }
    table(&rows)
}

/// Columns as wide as their longest cell; the last one ends where its text does.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
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

pub(super) fn show(shown: &Shown, store: &Path) -> String {
    let Snapshot {
        id,
        series,
        stage,
        run,
        entries,
        content_bytes,
        ..
    } = &shown.snapshot;
    let mut text = format!("snapshot {id}: {series}@{stage}\n");
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    field("run", run.clone());
    field("time", rfc3339(shown.snapshot.created_s));
    if let Some(parent) = shown.snapshot.parent_id {
        field("parent", parent.to_string());
    }
    field("entries", format!("{entries} ({})", size(*content_bytes)));
    if let Some(name) = &shown.image_name {
        field(
            "image",
            format!(
                "oci:{}:{name}",
                printable(store.as_os_str().as_encoded_bytes())
            ),
        );
    }
    field("manifest", shown.snapshot.manifest.digest.to_string());
    field("policy", shown.policy.clone());
    text.push_str("layers\n");
    shown
        .layers
        .iter()
        .for_each(|layer| push_layer(&mut text, layer, true));
    match &shown.packages {
        None => text.push_str("packages are unknown\n"),
        Some(packages) => {
            let _ = writeln!(text, "{} packages", packages.len());
            for package in packages {
                let _ = writeln!(text, "  {}", printable(package.to_string().as_bytes()));
            }
        }
    }
    text
}

/// One line an entry, as `tar -tv` has it.
pub(super) fn ls(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let length = match &entry.kind {
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                format!("{},{}", device.major, device.minor)
            }
            _ => entry.size_bytes().to_string(),
        };
        let owner = format!("{}/{}", entry.uid, entry.gid);
        let _ = write!(
            text,
            "{} {owner:<11} {length:>10} {} {}",
            mode(entry),
            rfc3339(entry.mtime_s),
            entry.path
        );
        if let Kind::Symlink(target) = &entry.kind {
            let _ = write!(text, " -> {}", printable(target));
        }
        text.push('\n');
    }
    text
}

/// `drwxr-xr-x`, with setuid, setgid and sticky as ls(1) shows them, and `+` for extended attributes.
pub(super) fn mode(entry: &Entry) -> String {
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

pub(super) fn stats(
    phases: &[&Vec<(Phase, Duration)>],
    recorded: Option<&record::Outcome>,
) -> String {
    let mut text = String::new();
    for (phase, time) in phases.iter().copied().flatten() {
        let _ = writeln!(text, "{:<9} {:>8.3} s", phase.name(), time.as_secs_f64());
    }
    if let Some(outcome) = recorded {
        let _ = writeln!(
            text,
            "{:<9} {} files, {} bytes",
            "read", outcome.files_read, outcome.bytes_read
        );
        let new = outcome.layers.iter().filter(|layer| !layer.reused);
        let _ = writeln!(
            text,
            "{:<9} {} bytes",
            "new",
            new.map(|layer| layer.blob.size_bytes).sum::<u64>()
        );
    }
    text
}

/// A share with one decimal; of nothing, none.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    };
    format!("{share:.1} %")
}

/// Bytes in decimal units, as disks and registries count.
pub(super) fn size(bytes: u64) -> String {
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
