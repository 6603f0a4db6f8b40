//! How the source is shaped: limits of length, imports in one direction, sentences, visibility. `scripts/figures` prints
//! the same figures with their places.

use crate::common::REPOSITORY;
use crate::house::comments::{self, Pronouns};
use crate::house::functions::{self, Function};
use crate::house::{Source, imports, names, sources};
use std::path::Path;

/// Lines of the longest function.
const MOST_LINES: usize = 70;
/// Nine of ten functions have fewer non-blank characters.
const P90_CHARACTERS: usize = 700;
/// Share of pronouns in the words of comments, in percent.
const MOST_PRONOUNS: f64 = 5.0;
/// Non-blank characters on a line of code, on average.
const MOST_CHARACTERS: f64 = 24.75;

/// Closures bound to a name, of 100 functions: a function has types and no surroundings.
const NAMED_CLOSURES: usize = 11;

fn all() -> Vec<Source> {
    let sources = sources(Path::new(REPOSITORY));
    assert!(
        sources.len() > 100,
        "the source is not where it is looked for"
    );
    sources
}

fn all_functions() -> Vec<Function> {
    all().iter().flat_map(functions::functions).collect()
}

fn named(functions: Vec<&Function>) -> String {
    let lines = functions
        .into_iter()
        .map(|f| format!("src/{}:{} {}\n", f.file, f.line, f.name));
    lines.collect()
}

#[test]
fn functions_are_short() {
    let all = all_functions();
    let long: Vec<&Function> = all.iter().filter(|f| f.lines > MOST_LINES).collect();
    assert!(
        long.is_empty(),
        "more than {MOST_LINES} lines:\n{}",
        named(long)
    );
    let mut characters: Vec<usize> = all.iter().map(|f| f.characters).collect();
    characters.sort_unstable();
    let p90 = characters[characters.len() * 9 / 10];
    assert!(
        p90 < P90_CHARACTERS,
        "nine of ten functions have up to {p90} characters"
    );
}

#[test]
fn an_if_is_no_match_and_a_function_no_closure() {
    let all = all_functions();
    let matches = all
        .iter()
        .filter(|f| f.bool_matches > 0)
        .collect::<Vec<_>>();
    assert!(
        matches.is_empty(),
        "matches over true and false:\n{}",
        named(matches)
    );
    let closures: usize = all.iter().map(|f| f.named_closures).sum();
    assert!(
        closures * 100 <= NAMED_CLOSURES * all.len(),
        "{closures} closures have a name"
    );
}

#[test]
fn functions_that_can_fail_say_when() {
    let all = all_functions();
    let silent = functions::silent(&all);
    assert!(silent.is_empty(), "{}", named(silent));
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let circles = imports::circles(&imports::needs(&all()));
    let lines: Vec<String> = circles.iter().map(|circle| circle.join(" ")).collect();
    assert!(circles.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn lines_of_code_are_short() {
    let counts: Vec<(usize, usize)> = all().iter().map(comments::code).collect();
    let characters: usize = counts.iter().map(|(characters, _)| characters).sum();
    let lines: usize = counts.iter().map(|(_, lines)| lines).sum();
    let mean = characters as f64 / lines as f64;
    assert!(
        mean < MOST_CHARACTERS,
        "{mean:.2} non-blank characters on a line of code"
    );
}

#[test]
fn comments_name_what_they_speak_of() {
    let mut sum = Pronouns::default();
    for source in all() {
        let of = comments::pronouns(&source);
        sum.words += of.words;
        sum.pronouns += of.pronouns;
    }
    let percent = sum.percent();
    assert!(
        percent < MOST_PRONOUNS,
        "{percent:.1} % of the words of comments are pronouns"
    );
}

#[test]
fn what_nobody_uses_outside_is_not_public() {
    let public = names::public(&all());
    let met = names::words_met(&all(), Path::new(REPOSITORY));
    let unused: Vec<String> = public
        .iter()
        .filter(|(_, name)| !met.contains(name))
        .map(|(file, name)| format!("src/{file} {name}"))
        .collect();
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}
