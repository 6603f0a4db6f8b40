//! Differences within files, as text for people.

use crate::cli::diff::file_text::{Title, push_files, title_parts};
use crate::cli::paint::{Colour, Paint};
use crate::model::text::{ContentDifference, Hunk, Sign};
use crate::ops::compare::diff::{Compared, Difference, FileContents, FileDifference};
use crate::printable::printable_line;
use std::collections::HashSet;
use std::fmt::Write as _;

const OTHERWISE: Title = ("file differs in other ways", "files differ in other ways");

/// Appends the differences within files, then the files that differ in other ways.
pub(super) fn push_contents(text: &mut String, difference: &Difference, paint: Paint) {
    let compared = &difference.compared();
    for (at, contents) in &difference.contents {
        push_file(text, compared, &difference.files[*at], contents, paint);
    }
    let shown = difference.contents.iter().map(|(at, _)| *at);
    let shown: HashSet<usize> = shown.collect();
    let mut others: Vec<FileDifference> = Vec::new();
    for (at, file) in difference.files.iter().enumerate() {
        if !shown.contains(&at) {
            others.push(*file);
        }
    }
    let others = Compared {
        files: &others,
        ..*compared
    };
    push_files(text, OTHERWISE, &others, paint, |_| true);
}

fn push_file(
    text: &mut String,
    compared: &Compared,
    file: &FileDifference,
    contents: &FileContents,
    paint: Paint,
) {
    let path = compared.path(file).to_string();
    let mut head = format!("diff {path}");
    for part in title_parts(compared, file) {
        if !part.is_empty() {
            let _ = write!(head, "  {part}");
        }
    }
    let _ = writeln!(text, "\n{}", paint.text(Colour::Bold, &head));
    let old = side_name('a', &path, file.change.old);
    let new = side_name('b', &path, file.change.new);
    let _ = match contents {
        FileContents::TooLarge => writeln!(
            text,
            "{old} and {new} differ, and are too large to be shown"
        ),
        FileContents::Compared(ContentDifference::Binary { first_difference }) => writeln!(
            text,
            "binary {old} and {new} differ from byte {first_difference} on"
        ),
        FileContents::Compared(ContentDifference::Text(hunks)) => {
            let old = paint.text(Colour::Bold, &format!("--- {old}"));
            let new = paint.text(Colour::Bold, &format!("+++ {new}"));
            let heads = writeln!(text, "{old}\n{new}");
            hunks.iter().for_each(|hunk| push_hunk(text, hunk, paint));
            heads
        }
    };
}

/// Names a side of a file as diff(1) does; without a file there, `/dev/null`.
fn side_name(letter: char, path: &str, place: Option<usize>) -> String {
    match place {
        Some(_) => format!("{letter}{path}"),
        None => "/dev/null".to_owned(),
    }
}

fn push_hunk(text: &mut String, hunk: &Hunk, paint: Paint) {
    let head = format!("@@ -{} +{} @@", range(hunk.old), range(hunk.new));
    let _ = writeln!(text, "{}", paint.text(Colour::Cyan, &head));
    for line in &hunk.lines {
        let shown = printable_line(&line.bytes);
        let line_text = match line.sign {
            Sign::Kept => format!(" {shown}"),
            Sign::Removed => {
                let removed = format!("-{shown}");
                paint.text(Colour::Red, &removed)
            }
            Sign::Added => {
                let added = format!("+{shown}");
                paint.text(Colour::Green, &added)
            }
        };
        text.push_str(&line_text);
        text.push('\n');
        if line.is_unended {
            text.push_str("\\ No newline at end of file\n");
        }
    }
}

fn range((start, lines): (usize, usize)) -> String {
    if lines == 1 {
        start.to_string()
    } else {
        format!("{start},{lines}")
    }
}
