//! A comparison as text for people.

use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{counted, size};
use crate::model::packages::attribution::Ownership;
use crate::model::packages::package::Package;
use crate::model::packages::upgrade::Fate;
use crate::model::text::{ContentDifference, Hunk, Sign};
use crate::model::time::rfc3339;
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::compare::diff::{
    Compared, Difference, FileContents, FileDifference, PackageDifference,
};
use crate::ops::compare::side::Side;
use crate::printable::{printable, printable_line};
use crate::store::Snapshot;
use std::collections::HashSet;
use std::fmt::Write as _;

/// How it is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Whether each file is listed, instead of the packages.
    pub(crate) lists_every_file: bool,
    /// Whether what differs within files is shown, instead of all else.
    pub(crate) shows_contents: bool,
    pub(crate) paint: Paint,
}

/// The longest column of what differs that others are aligned to.
const WIDEST: usize = 24;

pub(crate) fn diff(difference: &Difference, layout: Layout) -> String {
    let mut text = String::new();
    if difference.is_empty() {
        return text;
    }
    let Layout { paint, .. } = layout;
    let [a, b] = &difference.sides;
    let widest = [a, b]
        .map(|side| side.source.to_string().chars().count())
        .into_iter()
        .max()
        .unwrap_or(0);
    for (sign, colour, side) in [("---", Colour::Red, a), ("+++", Colour::Green, b)] {
        let name = format!("{:<widest$}", side.source.to_string());
        let line = format!("{sign} {name}  {}", about(side));
        let _ = writeln!(text, "{}", paint.text(colour, line.trim_end()));
    }
    let compared = &difference.compared();
    if layout.shows_contents {
        push_contents(&mut text, difference, paint);
        return text;
    }
    if layout.lists_every_file {
        push_files(&mut text, FILES, compared, paint, |_| true);
        return text;
    }
    push_packages(&mut text, compared, paint);
    let is_left = |file: &FileDifference| file.account.package_change.is_none();
    let title = if difference.packages.is_some() {
        LEFT
    } else {
        FILES
    };
    push_files(&mut text, title, compared, paint, |file| {
        is_left(file) && !file.is_volatile
    });
    push_files(&mut text, VOLATILE, compared, paint, |file| {
        is_left(file) && file.is_volatile
    });
    text
}

fn about(side: &Side) -> String {
    let mut parts = Vec::new();
    if let Some(Snapshot {
        id,
        series,
        stage,
        created_s,
        ..
    }) = &side.snapshot
    {
        parts.push(format!(
            "snapshot {id}, {series}@{stage} of {}",
            rfc3339(*created_s)
        ));
    }
    match &side.packages {
        Some(packages) => parts.push(counted(packages.all.len() as u64, "package", "packages")),
        None => parts.push("packages unknown".to_owned()),
    }
    match (&side.snapshot, side.tree.entries().len()) {
        (Some(snapshot), _) => parts.push(counted(snapshot.entries, "entry", "entries")),
        (None, 0) => {}
        (None, entries) => parts.push(counted(entries as u64, "entry", "entries")),
    }
    parts.join(", ")
}

/// Packages by fate, one a line.
pub(crate) fn push_packages(text: &mut String, compared: &Compared, paint: Paint) {
    for fate in Fate::ALL {
        let of_fate = |package: &&PackageDifference| package.change.fate == fate;
        let all: Vec<&PackageDifference> = compared.packages.iter().filter(of_fate).collect();
        if all.is_empty() {
            continue;
        }
        let colour = match fate {
            Fate::Added => Colour::Green,
            Fate::Removed => Colour::Red,
            Fate::Upgraded => Colour::Cyan,
            Fate::Downgraded => Colour::Yellow,
            Fate::Rebuilt => Colour::Magenta,
        };
        let title = format!(
            "{} {}",
            counted(all.len() as u64, "package", "packages"),
            fate.name()
        );
        let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &title));
        let rows: Vec<[String; 5]> = all
            .iter()
            .map(|package| package_row(compared, package))
            .collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..5).map(width).collect();
        for [name, versions, files, bytes, source] in rows {
            let name = paint.text(colour, &format!("{name:<0$}", widths[0]));
            let (versions, files) = (
                format!("{versions:<0$}", widths[1]),
                format!("{files:>0$}", widths[2]),
            );
            let bytes = format!("{bytes:>0$}", widths[3]);
            let parts = [
                name,
                versions,
                files,
                bytes,
                paint.text(Colour::Dim, &source),
            ];
            let parts = parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>();
            let _ = writeln!(text, "  {}", parts.join("  ").trim_end());
        }
    }
}

/// Name, versions, number of files, bytes, source package.
fn package_row(compared: &Compared, of: &PackageDifference) -> [String; 5] {
    let [old, new] = compared.packages_of(of);
    let show = |text: &str| printable(text.as_bytes());
    let arch = |package: &Package| match package.arch.as_str() {
        "" => String::new(),
        arch => format!(".{}", show(arch)),
    };
    let current = new.or(old).expect("a change has a side");
    let versions = match (old, new) {
        (Some(old), Some(new)) if old.evr() == new.evr() => show(&new.evr()),
        (Some(old), Some(new)) => format!("{} → {}", show(&old.evr()), show(&new.evr())),
        _ => show(&current.evr()),
    };
    let name = match (old, new) {
        (Some(old), Some(new)) if old.arch != new.arch => {
            format!(
                "{}{} → {}",
                show(&new.name),
                arch(old),
                arch(new).trim_start_matches('.')
            )
        }
        _ => format!("{}{}", show(&current.name), arch(current)),
    };
    let files = if of.files() == 0 {
        String::new()
    } else {
        counted(of.files(), "file", "files")
    };
    let bytes = match of.change.fate {
        _ if of.files() == 0 => String::new(),
        Fate::Removed => size(of.old_bytes),
        _ => size(of.new_bytes),
    };
    [name, versions, files, bytes, show(&current.source_rpm)]
}

/// Files one a line: how, what differs, where, and whose it is.
pub(crate) fn push_files(
    text: &mut String,
    title: Title,
    difference: &Compared,
    paint: Paint,
    is_wanted: impl Fn(&FileDifference) -> bool,
) {
    let files: Vec<&FileDifference> = difference
        .files
        .iter()
        .filter(|file| is_wanted(file))
        .collect();
    if files.is_empty() {
        return;
    }
    let title = counted(files.len() as u64, title.0, title.1);
    let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &title));
    let names = |file: &FileDifference| file.change.what.names().collect::<Vec<_>>().join(",");
    let width = files
        .iter()
        .map(|file| names(file).len())
        .max()
        .unwrap_or(0)
        .min(WIDEST);
    for file in files {
        let (letter, colour) = match (file.change.old, file.change.new) {
            (None, _) => ('A', Colour::Green),
            (_, None) => ('D', Colour::Red),
            _ => ('M', Colour::Cyan),
        };
        let path = difference.path(file).to_string();
        let of_package = owner(difference, file);
        let (mark, colour) = if of_package.deviates {
            ('!', Colour::Red)
        } else {
            (' ', colour)
        };
        let head = paint.text(
            colour,
            &format!("{letter}{mark} {:<width$}  {path}", names(file)),
        );
        let mut line = format!("  {head}");
        for part in [details(difference, file), of_package.text]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            let _ = write!(line, "  {}", paint.text(Colour::Dim, &part));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// The values that differ, as far as they are short.
fn details(difference: &Compared, file: &FileDifference) -> String {
    let (old, new) = (difference.old_entry(file), difference.new_entry(file));
    let (Some(old), Some(new)) = (old, new) else {
        return old.or(new).map(value).unwrap_or_default();
    };
    let what = file.change.what;
    let mut parts = Vec::new();
    let mut pair = |was: String, is: String| parts.push(format!("{was} → {is}"));
    if what.has(Aspects::TYPE) {
        pair(kind(old), kind(new));
    } else if what.has(Aspects::TARGET) || what.has(Aspects::DEVICE) {
        pair(value(old), value(new));
    } else if what.has(Aspects::CONTENT) && old.size_bytes() == new.size_bytes() {
        parts.push(size(new.size_bytes()));
    } else if what.has(Aspects::CONTENT) {
        pair(size(old.size_bytes()), size(new.size_bytes()));
    }
    let mut pair = |was: String, is: String| parts.push(format!("{was} → {is}"));
    if what.has(Aspects::MODE) && !what.has(Aspects::TYPE) {
        pair(format!("{:04o}", old.mode), format!("{:04o}", new.mode));
    }
    if what.has(Aspects::OWNER) {
        pair(
            format!("{}/{}", old.uid, old.gid),
            format!("{}/{}", new.uid, new.gid),
        );
    }
    if what == Aspects::MTIME {
        pair(rfc3339(old.mtime_s), rfc3339(new.mtime_s));
    }
    parts.join(", ")
}

fn value(entry: &Entry) -> String {
    match &entry.kind {
        Kind::File { size_bytes, .. } => size(*size_bytes),
        Kind::Symlink(target) => format!("-> {}", printable(target)),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            format!("{} {},{}", kind(entry), device.major, device.minor)
        }
        _ => kind(entry),
    }
}

fn kind(entry: &Entry) -> String {
    crate::cli::json::kind(entry).to_owned()
}

/// The title of a list of files: for one, and for several.
pub(crate) type Title = (&'static str, &'static str);

pub(crate) const FILES: Title = ("file", "files");

pub(crate) const LEFT: Title = (
    "file that no package accounts for",
    "files that no package accounts for",
);

const VOLATILE: Title = (
    "volatile file, which no two installations have alike",
    "volatile files, which no two installations have alike",
);

const OTHERWISE: Title = ("file differs in other ways", "files differ in other ways");

fn push_contents(text: &mut String, difference: &Difference, paint: Paint) {
    let compared = &difference.compared();
    for (at, contents) in &difference.contents {
        let file = &difference.files[*at];
        let path = compared.path(file).to_string();
        let side = |letter: char, there: bool| {
            if there {
                format!("{letter}{path}")
            } else {
                "/dev/null".to_owned()
            }
        };
        let (old, new) = (
            side('a', file.change.old.is_some()),
            side('b', file.change.new.is_some()),
        );
        let of_package = owner(compared, file);
        let mut head = format!("diff {path}");
        for part in [details(compared, file), of_package.text]
            .into_iter()
            .filter(|part| !part.is_empty())
        {
            let _ = write!(head, "  {part}");
        }
        let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &head));
        match contents {
            FileContents::TooLarge => {
                let _ = writeln!(
                    text,
                    "{old} and {new} differ, and are too large to be shown"
                );
            }
            FileContents::Compared(ContentDifference::Binary { first_difference }) => {
                let _ = writeln!(
                    text,
                    "binary {old} and {new} differ from byte {first_difference} on"
                );
            }
            FileContents::Compared(ContentDifference::Text(hunks)) => {
                let _ = writeln!(text, "{}", paint.text(Colour::Bold, &format!("--- {old}")));
                let _ = writeln!(text, "{}", paint.text(Colour::Bold, &format!("+++ {new}")));
                hunks.iter().for_each(|hunk| push_hunk(text, hunk, paint));
            }
        }
    }
    // What differs in other ways is told as it is without contents.
    let shown: HashSet<usize> = difference.contents.iter().map(|(at, _)| *at).collect();
    let others: Vec<FileDifference> = difference
        .files
        .iter()
        .enumerate()
        .filter(|(at, _)| !shown.contains(at))
        .map(|(_, f)| *f)
        .collect();
    let others = Compared {
        files: &others,
        ..*compared
    };
    push_files(text, OTHERWISE, &others, paint, |_| true);
}

fn push_hunk(text: &mut String, hunk: &Hunk, paint: Paint) {
    let range = |(start, lines): (usize, usize)| {
        if lines == 1 {
            start.to_string()
        } else {
            format!("{start},{lines}")
        }
    };
    let head = format!("@@ -{} +{} @@", range(hunk.old), range(hunk.new));
    let _ = writeln!(text, "{}", paint.text(Colour::Cyan, &head));
    for line in &hunk.lines {
        let shown = printable_line(&line.bytes);
        let _ = match line.sign {
            Sign::Kept => writeln!(text, " {shown}"),
            Sign::Removed => writeln!(text, "{}", paint.text(Colour::Red, &format!("-{shown}"))),
            Sign::Added => writeln!(text, "{}", paint.text(Colour::Green, &format!("+{shown}"))),
        };
        if line.is_unended {
            text.push_str("\\ No newline at end of file\n");
        }
    }
}

struct OfPackage {
    text: String,
    deviates: bool,
}

/// Whose it is, and whether it is as its package has it.
fn owner(difference: &Compared, file: &FileDifference) -> OfPackage {
    let (side, ownership) = match (&file.account.old, &file.account.new) {
        (_, Some(new)) => (1, new),
        (Some(old), None) => (0, old),
        (None, None) => {
            return OfPackage {
                text: String::new(),
                deviates: false,
            };
        }
    };
    let package = &difference.installed[side][ownership.package].package;
    let mut text = printable(package.name.as_bytes());
    let Ownership {
        is_config,
        is_ghost,
        deviations,
        is_missing,
        has_digest,
        ..
    } = *ownership;
    if is_config {
        text.push_str(" %config");
    }
    if is_ghost {
        text.push_str(" %ghost");
    }
    let deviates = side == 1 && ownership.deviates();
    let mut names: Vec<_> = deviations.without(Aspects::MTIME).names().collect();
    if has_digest == Some(false) && !names.contains(&"content") {
        names.insert(0, "content");
    }
    if is_missing {
        text.push_str(", which brings it");
    } else if deviates {
        let _ = write!(text, ", not its {}", names.join(", "));
    } else if has_digest == Some(true) {
        text.push_str(", as packaged");
    } else if deviations.has(Aspects::MTIME) {
        text.push_str(", touched since");
    }
    OfPackage { text, deviates }
}
