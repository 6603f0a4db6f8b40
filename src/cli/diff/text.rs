//! A comparison as text for people.

use crate::cli::diff::content_text::push_contents;
use crate::cli::diff::file_text::{FILES, LEFT, Title, push_files};
use crate::cli::diff::package_text::push_packages;
use crate::cli::paint::{Colour, Paint};
use crate::cli::text::counted;
use crate::model::time::rfc3339;
use crate::ops::compare::diff::{Compared, Difference, FileDifference};
use crate::ops::compare::side::Side;
use crate::store::Snapshot;
use std::fmt::Write as _;

/// The layout of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Whether each file is listed, instead of the packages.
    pub lists_every_file: bool,
    /// Whether the differences within files are shown, instead of all else.
    pub shows_contents: bool,
    pub paint: Paint,
}

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
    push_sides(&mut text, &difference.sides, paint);
    if layout.shows_contents {
        push_contents(&mut text, difference, paint);
    } else if layout.lists_every_file {
        push_files(&mut text, FILES, compared, paint, |_| true);
    } else {
        push_packages(&mut text, compared, paint);
        let title = if difference.packages.is_some() {
            LEFT
        } else {
            FILES
        };
        push_left(&mut text, title, compared, paint);
    }
    text
}

/// Appends the files that no package accounts for, the volatile files last.
fn push_left(text: &mut String, title: Title, compared: &Compared, paint: Paint) {
    push_files(text, title, compared, paint, |file| {
        is_left(file) && !file.is_volatile
    });
    push_files(text, VOLATILE, compared, paint, |file| {
        is_left(file) && file.is_volatile
    });
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
