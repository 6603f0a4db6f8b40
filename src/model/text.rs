//! What differs between two contents: line by line where both are text, else as a summary.
//!
//! Pure. The lines are compared by the crate `similar`; nothing else of it is used. Its time grows faster than the number of
//! lines, so texts that differ in too many are compared as wholes.

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};
use std::collections::HashMap;

/// Lines of context around what differs, as diff(1) has them.
const CONTEXT_LINES: usize = 3;
/// Past so many lines between the first and the last that differ, all of them count as changed. Half a second's work.
const MOST_LINES: usize = 100_000;
/// How far a content is looked at to tell whether it is text, as git does it.
const LOOKED_AT_BYTES: usize = 8000;

/// What differs between two contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentDifference {
    /// Line by line.
    Text(Vec<Hunk>),
    /// Bytes of something else.
    Binary {
        /// The first byte that differs, counted from 0.
        first_difference: u64,
    },
}

/// A part of a text with what differs in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Its first line and its number of lines in the old text; lines are counted from 1.
    pub old: (usize, usize),
    /// The same in the new text.
    pub new: (usize, usize),
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether it came, went or stayed.
    pub sign: Sign,
    /// Its bytes, without the newline.
    pub bytes: Vec<u8>,
    /// Whether the text ends in it, without a newline.
    pub is_unended: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sign {
    Kept,
    Removed,
    Added,
}

/// Compares two contents.
pub fn compare_contents(old: &[u8], new: &[u8]) -> ContentDifference {
    if is_binary(old) || is_binary(new) {
        let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        return ContentDifference::Binary {
            first_difference: same as u64,
        };
    }
    let (old, new) = (lines(old), lines(new));
    // Numbers are compared faster than lines.
    let mut numbers: HashMap<&[u8], u32> = HashMap::new();
    let old_numbers: Vec<u32> = old
        .iter()
        .map(|line| number_of(&mut numbers, line))
        .collect();
    let new_numbers: Vec<u32> = new
        .iter()
        .map(|line| number_of(&mut numbers, line))
        .collect();
    let operations = operations(&old_numbers, &new_numbers);
    let groups = group_diff_ops(operations, CONTEXT_LINES);
    ContentDifference::Text(
        groups
            .iter()
            .filter_map(|group| hunk(group, &old, &new))
            .collect(),
    )
}

fn operations(old: &[u32], new: &[u32]) -> Vec<DiffOp> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let end = old[start..]
        .iter()
        .rev()
        .zip(new[start..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old_len, new_len) = (old.len() - start - end, new.len() - start - end);
    if old_len + new_len <= MOST_LINES {
        return capture_diff_slices(Algorithm::Myers, old, new);
    }
    vec![
        DiffOp::Equal {
            old_index: 0,
            new_index: 0,
            len: start,
        },
        DiffOp::Replace {
            old_index: start,
            old_len,
            new_index: start,
            new_len,
        },
        DiffOp::Equal {
            old_index: start + old_len,
            new_index: start + new_len,
            len: end,
        },
    ]
}

fn number_of<'t>(numbers: &mut HashMap<&'t [u8], u32>, line: &'t [u8]) -> u32 {
    let next = numbers.len() as u32;
    *numbers.entry(line).or_insert(next)
}

fn is_binary(content: &[u8]) -> bool {
    content[..content.len().min(LOOKED_AT_BYTES)].contains(&0)
}

/// Lines with their newlines.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|b| *b == b'\n').collect()
}

fn hunk(group: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Option<Hunk> {
    let (first, last) = (group.first()?, group.last()?);
    let (old_range, new_range) = (
        first.old_range().start..last.old_range().end,
        first.new_range().start..last.new_range().end,
    );
    let mut lines = Vec::new();
    let mut push = |sign: Sign, all: &[&[u8]]| {
        lines.extend(all.iter().map(|line| {
            let bytes = line.strip_suffix(b"\n");
            Line {
                sign,
                bytes: bytes.unwrap_or(line).to_vec(),
                is_unended: bytes.is_none(),
            }
        }));
    };
    for operation in group {
        match operation {
            DiffOp::Equal { .. } => push(Sign::Kept, &new[operation.new_range()]),
            _ => {
                push(Sign::Removed, &old[operation.old_range()]);
                push(Sign::Added, &new[operation.new_range()]);
            }
        }
    }
    let shown = |range: &std::ops::Range<usize>| match range.len() {
        0 => (range.start, 0), // the line before, as diff(1) counts it
        length => (range.start + 1, length),
    };
    Some(Hunk {
        old: shown(&old_range),
        new: shown(&new_range),
        lines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        let ContentDifference::Text(hunks) = compare_contents(old.as_bytes(), new.as_bytes())
        else {
            panic!("binary")
        };
        let mut all = Vec::new();
        for hunk in hunks {
            all.push(format!(
                "@@ -{},{} +{},{} @@",
                hunk.old.0, hunk.old.1, hunk.new.0, hunk.new.1
            ));
            for line in hunk.lines {
                let sign = match line.sign {
                    Sign::Kept => ' ',
                    Sign::Removed => '-',
                    Sign::Added => '+',
                };
                let end = if line.is_unended { "\\" } else { "" };
                all.push(format!(
                    "{sign}{}{end}",
                    String::from_utf8(line.bytes).unwrap()
                ));
            }
        }
        all
    }

    #[test]
    fn hunks_have_context_and_count_lines_as_diff_does() {
        assert_eq!(
            shown("a\nb\n", "a\nc\n"),
            ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
        );
        assert_eq!(shown("", "x\n"), ["@@ -0,0 +1,1 @@", "+x"]);
        assert_eq!(shown("x\n", ""), ["@@ -1,1 +0,0 @@", "-x"]);
        assert_eq!(shown("same\n", "same\n"), [""; 0]);
        let numbers = |changed: &str| {
            (1..30)
                .map(|n| {
                    if n == 15 {
                        changed.to_owned()
                    } else {
                        n.to_string()
                    }
                })
                .collect::<Vec<_>>()
                .join("\n")
        };
        let lines = shown(&numbers("x"), &numbers("y"));
        assert_eq!((lines[0].as_str(), lines.len()), ("@@ -12,7 +12,7 @@", 9));
    }

    #[test]
    fn texts_that_differ_in_too_many_lines_are_replaced_from_the_first_to_the_last() {
        let text =
            |middle: &str| format!("a\nb\nc\nd\n{}x\ny\nz\nend\n", middle.repeat(MOST_LINES));
        let lines = shown(&text("1\n"), &text("2\n3\n"));
        let (removed, added) = (MOST_LINES + 6, 2 * MOST_LINES + 6);
        assert_eq!(lines[0], format!("@@ -2,{removed} +2,{added} @@"));
        assert_eq!(lines[1..5], [" b", " c", " d", "-1"]);
        assert_eq!(lines[lines.len() - 4..], ["+3", " x", " y", " z"]);
    }

    #[test]
    fn a_line_without_an_end_is_another_line() {
        assert_eq!(shown("a", "a\n"), ["@@ -1,1 +1,1 @@", "-a\\", "+a"]);
    }

    #[test]
    fn what_holds_a_nul_is_no_text() {
        let of = |old: &[u8], new: &[u8]| compare_contents(old, new);
        assert_eq!(
            of(b"\0ab", b"\0ac"),
            ContentDifference::Binary {
                first_difference: 2
            }
        );
        assert_eq!(
            of(b"text", b"text\0"),
            ContentDifference::Binary {
                first_difference: 4
            }
        );
    }
}
