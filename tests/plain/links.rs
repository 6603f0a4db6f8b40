//! Links between the documents lead to something that is there: a file, and a heading of it by the anchor that GitHub and mdBook
//! both make. The pages of docs/ are a book as well, so their links stay among them.

use crate::common::REPOSITORY;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// The documents outside of docs/, relative to the repository.
const OUTSIDE: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "mock/README.md",
    "benches/README.md",
];

const BOOK: &str = "docs";

fn read(name: &Path) -> String {
    let text = std::fs::read_to_string(Path::new(REPOSITORY).join(name));
    text.unwrap_or_else(|e| panic!("{}: {e}", name.display()))
}

fn pages_of_the_book() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(Path::new(REPOSITORY).join(BOOK)).unwrap();
    let names = entries.map(|entry| Path::new(BOOK).join(entry.unwrap().file_name()));
    names
        .filter(|name| name.extension().is_some_and(|ending| ending == "md"))
        .collect()
}

/// The lines of a document that are no code, with those of the files that it includes as mdBook does.
fn prose(name: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut is_code = false;
    for line in read(name).lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if let Some(included) = line.strip_prefix("{{#include ") {
            let file = included.trim_end_matches('}').trim();
            lines.extend(prose(&beside(name, file)));
        } else if !is_code && !line.starts_with("    ") {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The file that a link names, as seen from the document that has it.
fn beside(document: &Path, target: &str) -> PathBuf {
    let mut path = document.parent().unwrap().to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// A line without its code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

fn links(name: &Path) -> Vec<String> {
    // A link may go over the end of a line.
    let prose = prose(name).join("\n");
    let text = without_code(&prose);
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(str::to_owned)
        .collect()
}

/// The anchor of a heading: its text in lowercase, without punctuation, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link, the text alone.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let kept = text.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The anchors of a document; of headings that are alike, the later ones get a number.
fn anchors(name: &Path) -> BTreeSet<String> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut all = BTreeSet::new();
    for line in prose(name) {
        let text = line.trim_start_matches('#');
        if line.starts_with('#') && text.starts_with(' ') {
            let anchor = anchor(text);
            let count = times.entry(anchor.clone()).or_default();
            all.insert(match *count {
                0 => anchor,
                more => format!("{anchor}-{more}"),
            });
            *count += 1;
        }
    }
    all
}

/// Says what is wrong with a link of a document, or nothing.
fn fault(document: &Path, target: &str) -> Option<&'static str> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => document.to_owned(),
        file => beside(document, file),
    };
    if !Path::new(REPOSITORY).join(&path).exists() {
        return Some("there is no such file");
    }
    if document.starts_with(BOOK) && !path.starts_with(BOOK) {
        return Some("it leads out of the book");
    }
    (!anchor.is_empty() && !anchors(&path).contains(anchor)).then_some("there is no such heading")
}

#[test]
fn links_between_documents_lead_to_files_and_headings_that_are_there() {
    let outside = OUTSIDE.iter().map(PathBuf::from);
    let mut count = 0;
    let mut wrong = Vec::new();
    for document in outside.chain(pages_of_the_book()) {
        for target in links(&document) {
            count += 1;
            if let Some(fault) = fault(&document, &target) {
                wrong.push(format!("{}: {target}: {fault}", document.display()));
            }
        }
    }
    assert!(count > 40, "{count} links alone");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_summary_of_the_book_lists_every_page_once() {
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let mut listed: Vec<PathBuf> = links(&summary)
        .iter()
        .map(|target| beside(&summary, target))
        .collect();
    listed.sort();
    let mut pages = pages_of_the_book();
    pages.remove(&summary);
    assert_eq!(listed, pages.into_iter().collect::<Vec<_>>());
}

#[test]
fn anchors_are_those_of_github_and_mdbook() {
    for (heading, expected) in [
        ("What is recorded", "what-is-recorded"),
        (" JSON, and `--json`", "json-and---json"),
        ("Whose, since when, and where", "whose-since-when-and-where"),
        ("See [format.md](format.md) first", "see-formatmd-first"),
        ("snake_case", "snake_case"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}
