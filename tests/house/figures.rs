//! Prints the figures of a checkout; see `scripts/figures`.

#[path = "mod.rs"]
mod house;

use house::comments::Pronouns;
use house::functions::Function;
use house::{Source, comments, functions, imports, names, sources};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

macro_rules! say {
    ($out:expr, $($text:tt)*) => {
        let _ = writeln!($out, $($text)*);
    };
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_verbose = arguments.next_if(|first| first == "-v").is_some();
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let mut out = String::new();
    let sources = sources(Path::new(&directory));
    print_functions(&mut out, &sources, is_verbose);
    print_lines(&mut out, &sources, is_verbose);
    print_circles(&mut out, &sources, is_verbose);
    print_names(&mut out, &sources, Path::new(&directory), is_verbose);
    // A reader that has seen enough may be gone.
    let _ = std::io::stdout().write_all(out.as_bytes());
}

fn print_functions(out: &mut String, sources: &[Source], is_verbose: bool) {
    let all: Vec<Function> = sources.iter().flat_map(functions::functions).collect();
    let mut characters: Vec<usize> = all.iter().map(|function| function.characters).collect();
    characters.sort_unstable();
    let count = all.len();
    say!(out, "functions: {count}");
    say!(
        out,
        "  p90 of their non-blank characters: {}",
        characters[count * 9 / 10]
    );
    let long: Vec<&Function> = all.iter().filter(|function| function.lines > 70).collect();
    say!(out, "  of more than 70 lines: {}", long.len());
    list(out, is_verbose, long, |function| {
        format!("{} lines", function.lines)
    });
    if is_verbose {
        let limit = characters[count * 9 / 10];
        let large = all
            .iter()
            .filter(|function| function.characters > limit.max(700))
            .collect();
        say!(out, "  of more than 700 characters:");
        list(out, true, large, |function| {
            format!("{} characters", function.characters)
        });
    }
    let closures: usize = all.iter().map(|function| function.named_closures).sum();
    say!(
        out,
        "  closures bound to a name, per 100: {:.1}",
        100.0 * closures as f64 / count as f64
    );
    let matches: usize = all.iter().map(|function| function.bool_matches).sum();
    say!(out, "  matches over true and false: {matches}");
    list(
        out,
        is_verbose,
        all.iter().filter(|f| f.bool_matches > 0).collect(),
        |_| String::new(),
    );
    let fallible = all
        .iter()
        .filter(|function| function.fallible_doc.is_some())
        .count();
    let silent = functions::silent(&all);
    let percent = 100 - 100 * silent.len() / fallible.max(1);
    say!(
        out,
        "  fallible and visible: {fallible}, whose doc says when they fail: {percent} %"
    );
    list(out, is_verbose, silent, |_| String::new());
}

fn list(
    out: &mut String,
    is_verbose: bool,
    functions: Vec<&Function>,
    what: impl Fn(&Function) -> String,
) {
    for function in functions.into_iter().filter(|_| is_verbose) {
        say!(
            out,
            "    src/{}:{} {} {}",
            function.file,
            function.line,
            function.name,
            what(function)
        );
    }
}

fn print_lines(out: &mut String, sources: &[Source], is_verbose: bool) {
    let (characters, lines) = sources
        .iter()
        .map(comments::code)
        .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let mean = characters as f64 / lines as f64;
    say!(
        out,
        "non-blank characters on a line of code: {mean:.1} ({lines} lines)"
    );
    let mut sum = Pronouns::default();
    let mut by_file = Vec::new();
    for source in sources {
        let of = comments::pronouns(source);
        sum.words += of.words;
        sum.pronouns += of.pronouns;
        by_file.push((of, source));
    }
    say!(
        out,
        "pronouns among the words of comments: {:.1} % of {}",
        sum.percent(),
        sum.words
    );
    by_file.sort_by_key(|(of, _)| std::cmp::Reverse(of.pronouns));
    for (of, source) in by_file.iter().filter(|_| is_verbose) {
        say!(
            out,
            "    src/{} {:.1} % of {}",
            source.name,
            of.percent(),
            of.words
        );
    }
    let mut lengths: Vec<_> = sources
        .iter()
        .map(|s| (s.text.lines().count(), &s.name))
        .collect();
    lengths.sort();
    say!(out, "longest files:");
    for (lines, name) in lengths.iter().rev().take(if is_verbose { 25 } else { 3 }) {
        say!(out, "    src/{name} {lines}");
    }
}

fn print_circles(out: &mut String, sources: &[Source], is_verbose: bool) {
    let needs = imports::needs(sources);
    let circles = imports::circles(&needs);
    say!(out, "import cycles between files: {}", circles.len());
    for circle in circles.iter() {
        say!(out, "    {}", circle.join(" "));
        for file in circle.iter().filter(|_| is_verbose) {
            let within: Vec<_> = needs[file]
                .iter()
                .filter(|other| circle.contains(other))
                .collect();
            say!(out, "        {file} needs {within:?}");
        }
    }
    let ops: Vec<&str> = sources
        .iter()
        .filter_map(|s| s.name.strip_prefix("ops/"))
        .collect();
    let mut folders: Vec<&str> = ops
        .iter()
        .filter_map(|name| Some(name.split_once('/')?.0))
        .collect();
    folders.dedup();
    say!(out, "ops: {} files in {} folders", ops.len(), folders.len());
}

fn print_names(out: &mut String, sources: &[Source], checkout: &Path, is_verbose: bool) {
    let public = names::public(sources);
    let outside = names::words_outside(checkout);
    let met = names::words_met(sources, checkout);
    let unnamed = public.iter().filter(|(_, name)| !outside.contains(name));
    let unused: Vec<_> = public
        .iter()
        .filter(|(_, name)| !met.contains(name))
        .collect();
    say!(
        out,
        "public names: {}, named nowhere outside src: {}, of those in no signature of what is: {}",
        public.len(),
        unnamed.count(),
        unused.len()
    );
    for (file, name) in unused.iter().filter(|_| is_verbose) {
        say!(out, "    src/{file} {name}");
    }
}
