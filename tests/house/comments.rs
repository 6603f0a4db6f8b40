//! What comments consist of, and how much is on a line of code.

use super::Source;

/// Words that stand for another word, which the reader has to find.
const PRONOUNS: &[&str] = &[
    "it", "its", "that", "this", "those", "these", "they", "them", "their", "what", "which", "who",
    "whoever", "whose", "whatever", "one", "ones", "none", "whom",
];

/// How many of the words of comments are pronouns.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pronouns {
    /// Words of comments.
    pub(crate) words: usize,
    /// Pronouns among them.
    pub(crate) pronouns: usize,
}

impl Pronouns {
    /// Returns the share of pronouns in percent.
    pub(crate) fn percent(self) -> f64 {
        100.0 * self.pronouns as f64 / self.words.max(1) as f64
    }
}

/// Counts the pronouns of a file's `//` comments, those of documentation included.
pub(crate) fn pronouns(source: &Source) -> Pronouns {
    let mut counted = Pronouns::default();
    for (_, line) in source.lines() {
        let Some((_, comment)) = split_comment(line) else {
            continue;
        };
        let comment = without_code(comment);
        let words = comment
            .split(|c: char| !c.is_alphabetic() && c != '\'')
            .map(str::to_lowercase);
        for word in words.filter(|word| !word.is_empty()) {
            counted.words += 1;
            counted.pronouns += usize::from(PRONOUNS.contains(&word.as_str()));
        }
    }
    counted
}

/// Returns a line's code and comment; `None` for one without a comment.
fn split_comment(line: &str) -> Option<(&str, &str)> {
    let mut is_in_string = false;
    let mut previous = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if previous != '\\' && previous != '\'' => is_in_string = !is_in_string,
            '/' if !is_in_string && line[at..].starts_with("//") => {
                return Some((&line[..at], &line[at..]));
            }
            _ => {}
        }
        previous = if previous == '\\' && c == '\\' {
            ' '
        } else {
            c
        };
    }
    None
}

/// Leaves out what stands between backticks.
fn without_code(comment: &str) -> String {
    comment.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Returns the non-blank characters of a file's code and the number of lines that have some: comments and the
/// insides of strings aside.
pub(crate) fn code(source: &Source) -> (usize, usize) {
    let (mut characters, mut lines) = (0, 0);
    for (_, line) in source.lines() {
        let code = split_comment(line).map_or(line, |(code, _)| code);
        let count = without_strings(code)
            .chars()
            .filter(|c| !c.is_whitespace())
            .count();
        characters += count;
        lines += usize::from(count > 0);
    }
    (characters, lines)
}

/// Counts the non-blank characters of a line's code: its comment and the insides of strings aside.
pub(crate) fn characters(line: &str) -> usize {
    let code = split_comment(line).map_or(line, |(code, _)| code);
    without_strings(code)
        .chars()
        .filter(|c| !c.is_whitespace())
        .count()
}

fn without_strings(code: &str) -> String {
    let mut left = String::new();
    let mut is_in_string = false;
    let mut previous = ' ';
    for c in code.chars() {
        let is_quote = c == '"' && previous != '\\' && previous != '\'';
        if is_quote {
            is_in_string = !is_in_string;
        }
        if is_quote || !is_in_string {
            left.push(c);
        }
        previous = if previous == '\\' && c == '\\' {
            ' '
        } else {
            c
        };
    }
    left
}
