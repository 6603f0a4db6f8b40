//! Packages that differ, as text for people.

use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{counted, size};
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::Fate;
use crate::ops::compare::diff::{Compared, PackageDifference};
use crate::printable::printable;
use std::fmt::Write as _;

/// Appends packages by fate, each on a line.
pub(crate) fn push_packages(text: &mut String, compared: &Compared, paint: Paint) {
    for fate in Fate::ALL {
        let mut rows = Vec::new();
        for package in compared.packages {
            if package.change.fate == fate {
                rows.push(Row::of(compared, package));
            }
        }
        if rows.is_empty() {
            continue;
        }
        let count = counted(rows.len() as u64, "package", "packages");
        let title = format!("{count} {}", fate.name());
        let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &title));
        push_rows(text, &rows, paint, colour(fate));
    }
}

fn colour(fate: Fate) -> Colour {
    match fate {
        Fate::Added => Colour::Green,
        Fate::Removed => Colour::Red,
        Fate::Upgraded => Colour::Cyan,
        Fate::Downgraded => Colour::Yellow,
        Fate::Rebuilt => Colour::Magenta,
    }
}

/// The cells of a package, some of which may be empty.
struct Row {
    name: String,
    versions: String,
    files: String,
    bytes: String,
    source: String,
}

impl Row {
    fn of(compared: &Compared, difference: &PackageDifference) -> Self {
        let [old, new] = compared.packages_of(difference);
        let current = new.or(old).expect("a change has a side");
        let (name, versions) = match (old, new) {
            (Some(old), Some(new)) => {
                let name = changed_name(old, new);
                (name, changed_version(old, new))
            }
            _ => {
                let version = shown(&current.evr());
                (full_name(current), version)
            }
        };
        Self {
            name,
            versions,
            files: files(difference),
            bytes: bytes(difference),
            source: shown(&current.source_rpm),
        }
    }
}

fn shown(text: &str) -> String {
    printable(text.as_bytes())
}

fn full_name(package: &Package) -> String {
    format!("{}{}", shown(&package.name), arch_suffix(package))
}

fn arch_suffix(package: &Package) -> String {
    if package.arch.is_empty() {
        String::new()
    } else {
        format!(".{}", shown(&package.arch))
    }
}

fn changed_name(old: &Package, new: &Package) -> String {
    if old.arch == new.arch {
        return full_name(new);
    }
    let name = shown(&new.name);
    let new_arch = arch_suffix(new);
    let new_arch = new_arch.trim_start_matches('.');
    format!("{name}{} → {new_arch}", arch_suffix(old))
}

fn changed_version(old: &Package, new: &Package) -> String {
    let (old, new) = (old.evr(), new.evr());
    if old == new {
        shown(&new)
    } else {
        format!("{} → {}", shown(&old), shown(&new))
    }
}

fn files(difference: &PackageDifference) -> String {
    match difference.files() {
        0 => String::new(),
        count => counted(count, "file", "files"),
    }
}

fn bytes(difference: &PackageDifference) -> String {
    match difference.change.fate {
        _ if difference.files() == 0 => String::new(),
        Fate::Removed => size(difference.old_bytes),
        _ => size(difference.new_bytes),
    }
}

fn push_rows(text: &mut String, rows: &[Row], paint: Paint, colour: Colour) {
    let name_width = width(rows, |row| &row.name);
    let versions_width = width(rows, |row| &row.versions);
    let files_width = width(rows, |row| &row.files);
    let bytes_width = width(rows, |row| &row.bytes);
    for row in rows {
        let name = format!("{:<name_width$}", row.name);
        let parts = [
            paint.text(colour, &name),
            format!("{:<versions_width$}", row.versions),
            format!("{:>files_width$}", row.files),
            format!("{:>bytes_width$}", row.bytes),
            paint.text(Colour::Dim, &row.source),
        ];
        let shown: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let _ = writeln!(text, "  {}", shown.join("  ").trim_end());
    }
}

fn width(rows: &[Row], cell: fn(&Row) -> &String) -> usize {
    let widths = rows.iter().map(|row| cell(row).chars().count());
    widths.max().unwrap_or(0)
}
