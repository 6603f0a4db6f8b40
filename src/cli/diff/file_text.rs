//! Files that differ, as text for people.

use crate::cli::json;
use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{counted, size};
use crate::model::packages::attribution::Ownership;
use crate::model::time::rfc3339;
use crate::model::tree::compare::Aspects;
use crate::model::tree::entry::{Entry, Kind};
use crate::ops::compare::diff::{Compared, FileDifference};
use crate::printable::printable;
use std::fmt::Write as _;

/// The longest column of aspects that other columns are aligned to.
const WIDEST: usize = 24;

/// The title of a list of files: for one, and for several.
pub(crate) type Title = (&'static str, &'static str);

pub(crate) const FILES: Title = ("file", "files");

pub(crate) const LEFT: Title = (
    "file that no package accounts for",
    "files that no package accounts for",
);

/// Appends the wanted files, each on a line: the change, the aspects that differ, the path, and the package.
pub(crate) fn push_files(
    text: &mut String,
    title: Title,
    compared: &Compared,
    paint: Paint,
    is_wanted: impl Fn(&FileDifference) -> bool,
) {
    let files: Vec<&FileDifference> = compared
        .files
        .iter()
        .filter(|file| is_wanted(file))
        .collect();
    if files.is_empty() {
        return;
    }
    let title = counted(files.len() as u64, title.0, title.1);
    let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &title));
    let widths = files.iter().map(|file| aspects(file).len());
    let width = widths.max().unwrap_or(0).min(WIDEST);
    for file in files {
        push_file(text, compared, file, paint, width);
    }
}

/// Appends the line of a file; `width` is that of the aspects.
fn push_file(
    text: &mut String,
    compared: &Compared,
    file: &FileDifference,
    paint: Paint,
    width: usize,
) {
    let (letter, colour) = match (file.change.old, file.change.new) {
        (None, _) => ('A', Colour::Green),
        (_, None) => ('D', Colour::Red),
        _ => ('M', Colour::Cyan),
    };
    let owner = OwnerText::of(compared, file);
    let (mark, colour) = if owner.deviates {
        ('!', Colour::Red)
    } else {
        (' ', colour)
    };
    let aspects = aspects(file);
    let path = compared.path(file).to_string();
    let head = format!("{letter}{mark} {aspects:<width$}  {path}");
    let mut line = format!("  {}", paint.text(colour, &head));
    for part in [details(compared, file), owner.text] {
        if !part.is_empty() {
            let _ = write!(line, "  {}", paint.text(Colour::Dim, &part));
        }
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

fn aspects(file: &FileDifference) -> String {
    let names: Vec<_> = file.change.what.names().collect();
    names.join(",")
}

/// Returns details of a file for a title: the values that differ, then the package; each may be empty.
pub(super) fn title_parts(compared: &Compared, file: &FileDifference) -> [String; 2] {
    [details(compared, file), OwnerText::of(compared, file).text]
}

/// Returns the values that differ, as far as the values are short.
fn details(compared: &Compared, file: &FileDifference) -> String {
    let old = compared.old_entry(file);
    let new = compared.new_entry(file);
    let (Some(old), Some(new)) = (old, new) else {
        let only = old.or(new);
        return only.map(value).unwrap_or_default();
    };
    let what = file.change.what;
    let mut parts = Vec::new();
    parts.extend(content_detail(what, old, new));
    if what.has(Aspects::MODE) && !what.has(Aspects::TYPE) {
        parts.push(format!("{:04o} → {:04o}", old.mode, new.mode));
    }
    if what.has(Aspects::OWNER) {
        parts.push(format!("{} → {}", owner_ids(old), owner_ids(new)));
    }
    if what == Aspects::MTIME {
        let (old, new) = (rfc3339(old.mtime_s), rfc3339(new.mtime_s));
        parts.push(format!("{old} → {new}"));
    }
    parts.join(", ")
}

/// Returns the types, targets, devices or lengths.
fn content_detail(what: Aspects, old: &Entry, new: &Entry) -> Option<String> {
    if what.has(Aspects::TYPE) {
        Some(format!("{} → {}", json::kind(old), json::kind(new)))
    } else if what.has(Aspects::TARGET) || what.has(Aspects::DEVICE) {
        Some(format!("{} → {}", value(old), value(new)))
    } else if what.has(Aspects::CONTENT) {
        let (old, new) = (old.size_bytes(), new.size_bytes());
        if old == new {
            Some(size(new))
        } else {
            Some(format!("{} → {}", size(old), size(new)))
        }
    } else {
        None
    }
}

fn owner_ids(entry: &Entry) -> String {
    format!("{}/{}", entry.uid, entry.gid)
}

fn value(entry: &Entry) -> String {
    let kind = json::kind(entry);
    match &entry.kind {
        Kind::File { size_bytes, .. } => size(*size_bytes),
        Kind::Symlink(target) => format!("-> {}", printable(target)),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            format!("{kind} {},{}", device.major, device.minor)
        }
        _ => kind.to_owned(),
    }
}

/// The package of a file, and whether the file deviates from the package's.
struct OwnerText {
    text: String,
    deviates: bool,
}

impl OwnerText {
    /// Takes the owner of the new side, else of the old side; without an owner, the text is empty.
    fn of(compared: &Compared, file: &FileDifference) -> Self {
        let (side, ownership) = match (&file.account.old, &file.account.new) {
            (_, Some(new)) => (1, new),
            (Some(old), None) => (0, old),
            (None, None) => {
                return Self {
                    text: String::new(),
                    deviates: false,
                };
            }
        };
        let installed = compared.installed[side];
        let package = &installed[ownership.package].package;
        let mut text = printable(package.name.as_bytes());
        if ownership.is_config {
            text.push_str(" %config");
        }
        if ownership.is_ghost {
            text.push_str(" %ghost");
        }
        let deviates = side == 1 && ownership.deviates();
        push_state(&mut text, ownership, deviates);
        Self { text, deviates }
    }
}

/// Appends the state of a file beside the package's.
fn push_state(text: &mut String, ownership: &Ownership, deviates: bool) {
    let Ownership {
        deviations,
        is_missing,
        has_digest,
        ..
    } = *ownership;
    if is_missing {
        text.push_str(", which brings it");
    } else if deviates {
        let others = deviations.without(Aspects::MTIME);
        let mut names: Vec<_> = others.names().collect();
        if has_digest == Some(false) && !names.contains(&"content") {
            names.insert(0, "content");
        }
        let _ = write!(text, ", not its {}", names.join(", "));
    } else if has_digest == Some(true) {
        text.push_str(", as packaged");
    } else if deviations.has(Aspects::MTIME) {
        text.push_str(", touched since");
    }
}
