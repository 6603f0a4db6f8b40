//! A comparison as text for people.

use crate::cli::diff::content_text::push_contents;
use crate::cli::diff::file_text::{FILES, LEFT, Title, push_files};
use crate::cli::diff::package_text::push_packages;
use crate::cli::paint::{Colour, Paint};
use crate::cli::text::{counted, size};
use crate::model::time::rfc3339;
use crate::model::tree::compare::Aspects;
use crate::ops::compare::diff::{Compared, Difference, FileDifference};
use crate::ops::compare::side::Side;
use crate::store::Snapshot;
use std::collections::HashSet;
use std::fmt::Write as _;

/// The layout of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Whether each file is listed, instead of the packages.
    pub lists_every_file: bool,
    /// Whether the differences within files are shown, instead of all else.
    pub shows_contents: bool,
    /// Whether each package is listed, instead of each source package.
    pub lists_every_package: bool,
    pub paint: Paint,
}

const CONFIGURATION: Title = (
    "file of the configuration of Mock or the package manager",
    "files of the configuration of Mock or the package manager",
);

const VOLATILE: Title = (
    "volatile file, which no two installations have alike",
    "volatile files, which no two installations have alike",
);

/// Returns the text of a comparison; without a difference, the text is empty.
pub(crate) fn diff(difference: &Difference, layout: Layout) -> String {
    let mut text = String::new();
    if difference.is_empty() {
        return text;
    }
    let paint = layout.paint;
    let compared = &difference.compared();
    push_sum(&mut text, compared, paint);
    push_sides(&mut text, &difference.sides, paint);
    if layout.shows_contents {
        push_contents(&mut text, difference, paint);
    } else if layout.lists_every_file {
        push_files(&mut text, FILES, compared, paint, |_| true);
    } else {
        push_packages(&mut text, compared, paint, layout.lists_every_package);
        let title = if difference.packages.is_some() {
            LEFT
        } else {
            FILES
        };
        push_left(&mut text, title, compared, paint);
    }
    text
}

/// Appends the files that no package accounts for: first the configuration, which may be the cause of the others, the volatile files
/// last.
fn push_left(text: &mut String, title: Title, compared: &Compared, paint: Paint) {
    push_files(text, CONFIGURATION, compared, paint, |file| {
        is_left(file) && file.is_configuration
    });
    push_files(text, title, compared, paint, |file| {
        is_left(file) && !file.is_volatile && !file.is_configuration
    });
    push_files(text, VOLATILE, compared, paint, |file| {
        is_left(file) && file.is_volatile && !file.is_configuration
    });
}

/// Appends a line with the number of packages, the number of files, and in what they differ.
fn push_sum(text: &mut String, compared: &Compared, paint: Paint) {
    let sum = Sum::of(compared);
    let mut parts = Vec::new();
    if !compared.packages.is_empty() {
        let packages = compared.packages.len() as u64;
        parts.push(counted(packages, "package", "packages"));
    }
    if !compared.files.is_empty() {
        let files = counted(compared.files.len() as u64, "file", "files");
        parts.push(format!("{files}: {}", sum.parts().join(", ")));
    }
    let line = parts.join(", ");
    let _ = writeln!(text, "{}", paint.text(Colour::Bold, &line));
}

/// How many files differ in what.
#[derive(Default)]
struct Sum {
    added: u64,
    removed: u64,
    content: u64,
    /// Of added files, and of those whose content differs, an inode once.
    bytes: u64,
    time_alone: u64,
    other: u64,
}

impl Sum {
    fn of(compared: &Compared) -> Self {
        let mut sum = Self::default();
        let mut inodes = HashSet::new();
        for file in compared.files {
            let what = file.change.what;
            let has_content = what.has(Aspects::CONTENT) || what.has(Aspects::TYPE);
            let new = compared.new_entry(file);
            let count = match (file.change.old, new) {
                (None, _) => &mut sum.added,
                (_, None) => &mut sum.removed,
                _ if has_content => &mut sum.content,
                _ if what == Aspects::MTIME => &mut sum.time_alone,
                _ => &mut sum.other,
            };
            *count += 1;
            let Some(new) = new.filter(|_| has_content || file.change.old.is_none()) else {
                continue;
            };
            if new.group.is_none_or(|group| inodes.insert(group)) {
                sum.bytes += new.size_bytes();
            }
        }
        sum
    }

    /// Returns how many files were added, removed and changed in content, as `log` has it of packages, and how many differ otherwise.
    fn parts(&self) -> Vec<String> {
        let signs = [('+', self.added), ('-', self.removed), ('~', self.content)];
        let signs = signs.iter().filter(|(_, count)| *count > 0);
        let signs = signs.map(|(sign, count)| format!("{sign}{count}"));
        let mut of_content = signs.collect::<Vec<_>>().join(" ");
        if self.bytes > 0 {
            let _ = write!(of_content, " ({})", size(self.bytes));
        }
        let time_alone = format!("{} in time alone", self.time_alone);
        let other = format!("{} otherwise", self.other);
        [
            (!of_content.is_empty()).then_some(of_content),
            (self.time_alone > 0).then_some(time_alone),
            (self.other > 0).then_some(other),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn is_left(file: &FileDifference) -> bool {
    file.account.package_change.is_none()
}

fn push_sides(text: &mut String, sides: &[Side; 2], paint: Paint) {
    let [a, b] = sides;
    let names = [a, b].map(|side| side.source.to_string());
    let widths = names.iter().map(|name| name.chars().count());
    let widest = widths.max().unwrap_or(0);
    let [a_name, b_name] = names;
    let old = format!("--- {a_name:<widest$}  {}", about(a));
    let new = format!("+++ {b_name:<widest$}  {}", about(b));
    let old = paint.text(Colour::Red, old.trim_end());
    let new = paint.text(Colour::Green, new.trim_end());
    let _ = writeln!(text, "{old}\n{new}");
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
        let time = rfc3339(*created_s);
        parts.push(format!("snapshot {id}, {series}@{stage} of {time}"));
    }
    parts.push(match &side.packages {
        Some(packages) => counted(packages.all.len() as u64, "package", "packages"),
        None => "packages unknown".to_owned(),
    });
    match (&side.snapshot, side.tree.entries().len()) {
        (Some(snapshot), _) => parts.push(counted(snapshot.entries, "entry", "entries")),
        (None, 0) => {}
        (None, entries) => parts.push(counted(entries as u64, "entry", "entries")),
    }
    parts.join(", ")
}
