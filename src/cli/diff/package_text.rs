//! Packages that differ, as text for people.

use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{COLUMNS, counted, cut, size};
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::Fate;
use crate::ops::compare::diff::{Compared, PackageDifference};
use crate::printable::printable;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Appends packages by fate, those of a source package on a line, or each on a line if `lists_each`.
pub(crate) fn push_packages(
    text: &mut String,
    compared: &Compared,
    paint: Paint,
    lists_each: bool,
) {
    for fate in Fate::ALL {
        let packages = compared.packages.iter();
        let packages: Vec<&PackageDifference> = packages
            .filter(|package| package.change.fate == fate)
            .collect();
        if packages.is_empty() {
            continue;
        }
        let count = counted(packages.len() as u64, "package", "packages");
        let title = format!("{count} {}", fate.name());
        let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &title));
        let mut rows: Vec<Row> = if lists_each {
            packages.iter().map(|one| Row::of(compared, one)).collect()
        } else {
            rows_by_source(compared, &packages)
        };
        if !lists_each {
            fit(&mut rows);
        }
        push_rows(text, &rows, paint, colour(fate));
    }
}

/// Returns a row for all packages of a source package that have changed alike, in the order of the first of each.
fn rows_by_source(compared: &Compared, packages: &[&PackageDifference]) -> Vec<Row> {
    let mut groups: Vec<(Key, Vec<&PackageDifference>)> = Vec::new();
    let mut places: HashMap<Key, usize> = HashMap::new();
    for package in packages {
        let key = Key::of(compared, package);
        let place = key.source.is_some().then(|| places.get(&key)).flatten();
        match place {
            Some(place) => groups[*place].1.push(package),
            None => {
                places.insert(key.clone(), groups.len());
                groups.push((key, vec![package]));
            }
        }
    }
    let rows = groups
        .iter()
        .map(|(key, group)| match (group.as_slice(), &key.source) {
            ([one], _) | ([one, ..], None) => Row {
                source: String::new(),
                ..Row::of(compared, one)
            },
            (several, Some(source)) => Row::of_source(compared, source, several),
            ([], None) => Row::default(),
        });
    rows.collect()
}

/// What packages of a row have alike.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The name of the source package; `None` where it is unknown.
    source: Option<String>,
    versions: String,
}

impl Key {
    fn of(compared: &Compared, difference: &PackageDifference) -> Self {
        let [old, new] = compared.packages_of(difference);
        let source = new
            .or(old)
            .and_then(|package| source_name(&package.source_rpm));
        Self {
            source: source.map(str::to_owned),
            versions: Row::of(compared, difference).versions,
        }
    }
}

/// Returns the name in `NAME-VERSION-RELEASE.src.rpm`.
fn source_name(source_rpm: &str) -> Option<&str> {
    let nvr = source_rpm.strip_suffix(".rpm")?;
    let (nv, _) = nvr.rsplit_once('-')?;
    nv.rsplit_once('-').map(|(name, _)| name)
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

/// The cells of a package, or of packages of a source package; some may be empty.
#[derive(Default)]
struct Row {
    name: String,
    versions: String,
    files: String,
    bytes: String,
    source: String,
}

impl Row {
    /// Returns the row of several packages that have changed alike.
    fn of_source(compared: &Compared, source: &str, several: &[&PackageDifference]) -> Self {
        let all = several.iter();
        let files = all.clone().map(|one| one.files()).sum();
        let bytes = all.map(|one| bytes_of(one)).sum();
        let count = several.len();
        Self {
            name: format!("{} ({count} packages)", shown(source)),
            files: files_text(files),
            bytes: bytes_text(files, bytes),
            source: String::new(),
            ..Self::of(compared, several[0])
        }
    }

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
            files: files_text(difference.files()),
            bytes: bytes_text(difference.files(), bytes_of(difference)),
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
        format!("{}{ARROW}{}", shown(&old), shown(&new))
    }
}

/// Stands between an old version and a new one.
const ARROW: &str = " → ";

fn files_text(count: u64) -> String {
    match count {
        0 => String::new(),
        count => counted(count, "file", "files"),
    }
}

fn bytes_text(files: u64, bytes: u64) -> String {
    if files == 0 {
        return String::new();
    }
    size(bytes)
}

fn bytes_of(difference: &PackageDifference) -> u64 {
    match difference.change.fate {
        Fate::Removed => difference.old_bytes,
        _ => difference.new_bytes,
    }
}

/// A name takes at most so many columns, where lines are to fit.
const WIDEST_NAME: usize = 32;

/// Cuts names, then versions, so that lines have at most 80 columns. The source of a package comes after them.
fn fit(rows: &mut [Row]) {
    let rest = width(rows, |row| &row.files) + width(rows, |row| &row.bytes) + 8;
    let widest = width(rows, |row| &row.name) + width(rows, |row| &row.versions);
    if widest + rest <= COLUMNS {
        return;
    }
    for row in rows.iter_mut() {
        row.name = cut(&row.name, WIDEST_NAME);
    }
    let room = COLUMNS.saturating_sub(rest + width(rows, |row| &row.name));
    for row in rows {
        if row.versions.chars().count() > room {
            row.versions = cut(&shorter(&row.versions), room);
        }
    }
}

/// Leaves out of a new version how it begins as the old one does.
fn shorter(versions: &str) -> String {
    let Some((old, new)) = versions.split_once(ARROW) else {
        return versions.to_owned();
    };
    let pairs = old.char_indices().zip(new.chars());
    let differs = pairs.take_while(|((_, one), other)| one == other).count();
    let alike: String = new.chars().take(differs).collect();
    match alike.rfind(['.', '-', '+', '~', ':']) {
        Some(at) => format!("{old}{ARROW}…{}", &new[at..]),
        None => versions.to_owned(),
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
