//! The house rules of docs/design.md, held by reading the source: who may name whom, how long files are, and that the
//! documents speak of what is there.

use crate::common::REPOSITORY;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules of the library from the top down. A module names those of later lines alone; the rooms of one line do not
/// know each other.
const HOUSE: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["ops"],
    &[
        "fs", "layer", "store", "oci", "rpm", "dnf", "shadow", "dpkg", "apk", "registry",
    ],
    &["tarball", "output", "blob", "sqlite"],
    &["model"],
    &["lock"],
    &["error"],
    &["printable"],
    &["threads"],
];

/// Words of code, and the places under src/ that alone may say them.
const RESERVED: &[(&[&str], &[&str])] = &[
    (
        &["rusqlite::"],
        &["store/", "rpm/", "dnf/", "sqlite.rs", "error.rs"],
    ),
    (&["tar::"], &["tarball.rs"]),
    (&["flate2::", "zstd::", "lzma_rust2::"], &["layer/"]),
    (&["indicatif::"], &["cli/progress.rs"]),
    (&["clap::"], &["cli/"]),
    (&["oci_spec::"], &["oci/"]),
    (&["fuser::", "nix::"], &["ops/mount/"]),
    (&["globset::"], &["model/policy/globs.rs"]),
    (&["similar::"], &["model/text.rs"]),
    (
        &["toml::"],
        &[
            "dnf/sorted.rs",
            "cli/config/files.rs",
            "cli/config/series.rs",
        ],
    ),
    (&["base64::"], &["apk.rs", "rpm/header.rs", "cli/page.rs"]),
    (&["SystemTime", "Instant"], &["ops/", "registry/"]),
    (&["ureq::", "rustls::"], &["registry/"]),
    (&["clock_gettime"], &["fs/root.rs"]),
    (
        &["stdout", "stderr"],
        &["cli/", "main.rs", "registry/helper.rs"],
    ),
    (&["print!", "println!", "eprint!", "eprintln!"], &[]),
    (
        &["env::var", "env::var_os", "env::vars", "env::vars_os"],
        &["cli/"],
    ),
    (
        &[
            "std::net",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "UnixStream",
            "UnixListener",
            "UnixDatagram",
        ],
        &[],
    ),
    (&["rustix::net"], &[]),
    (
        &["std::process", "process::Command"],
        &["cli/pager.rs", "main.rs", "registry/helper.rs"],
    ),
    (&["thread::sleep"], &["registry/"]),
];

const MOST_LINES: usize = 500;

/// A text file of the repository.
struct Text {
    path: PathBuf,
    text: String,
}

impl Text {
    fn read(relative: impl AsRef<Path>) -> Self {
        let path = relative.as_ref().to_owned();
        let text = std::fs::read_to_string(Path::new(REPOSITORY).join(&path));
        Self {
            text: text.unwrap_or_else(|e| panic!("{}: {e}", path.display())),
            path,
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The lines that are code, without comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .map(|(at, line)| (at + 1, line.split("// ").next().unwrap_or_default()))
            .filter(|(_, line)| {
                let line = line.trim_start();
                !line.starts_with("//")
            })
    }
}

/// All files with this ending below a directory, in order.
fn files(below: &str, ending: &str) -> Vec<Text> {
    let mut directories = vec![PathBuf::from(below)];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(Path::new(REPOSITORY).join(&directory)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(Text::read(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn sources() -> Vec<Text> {
    let all = files("src", ".rs");
    assert!(all.len() > 40, "the source is not where it is looked for");
    all
}

/// Path below src/.
fn below_src(source: &Text) -> &str {
    source.path.strip_prefix("src").unwrap().to_str().unwrap()
}

fn module(source: &Text) -> &str {
    below_src(source).split(['/', '.']).next().unwrap()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Tells whether `word` stands in `line` with no letter on either side; one that ends in `::` or `!` may be followed by
/// anything.
fn says(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_start = !line[..at].ends_with(is_word);
        let is_end = !word.ends_with(is_word) || !line[at + word.len()..].starts_with(is_word);
        is_start && is_end
    })
}

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The modules that follow `crate::` in code, each with its line.
fn named_modules(source: &Text) -> Vec<(usize, String)> {
    let library = if module(source) == "main" {
        "rootstrata::"
    } else {
        "crate::"
    };
    let mut named = Vec::new();
    for (number, line) in source.code() {
        for (at, _) in line
            .match_indices(library)
            .filter(|(at, _)| !line[..*at].ends_with(is_word))
        {
            named.push((
                number,
                line[at + library.len()..]
                    .chars()
                    .take_while(|c| is_word(*c))
                    .collect(),
            ));
        }
    }
    named
}

#[test]
fn modules_name_only_those_below_them() {
    let floor = |module: &str| HOUSE.iter().position(|rooms| rooms.contains(&module));
    let mut wrong = Vec::new();
    for source in sources() {
        let own = module(&source);
        if own == "lib" {
            continue;
        }
        let Some(own_floor) = floor(own) else {
            wrong.push(format!(
                "{}: the module {own} is not in HOUSE",
                source.name()
            ));
            continue;
        };
        for (number, other) in named_modules(&source)
            .iter()
            .filter(|(_, other)| other != own)
        {
            match floor(other) {
                Some(floor) if floor > own_floor => {}
                _ if other.is_empty() => {
                    wrong.push(format!(
                        "{}:{number}: name one module after crate::, no group",
                        source.name()
                    ));
                }
                _ => wrong.push(format!(
                    "{}:{number}: {own} may not name {other}",
                    source.name()
                )),
            }
        }
        // Out of the module by the back door; inner modules, which are indented, have further to go.
        let back_door = if below_src(&source).contains('/') {
            "super::super::"
        } else {
            "super::"
        };
        for (number, line) in source
            .code()
            .filter(|(_, line)| !line.starts_with(' ') && says(line, back_door))
        {
            wrong.push(format!(
                "{}:{number}: {line}: name the module after crate::",
                source.name()
            ));
        }
    }
    assert_none(wrong);
}

#[test]
fn what_one_place_owns_is_named_there_alone() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (words, places) in RESERVED {
            if places
                .iter()
                .any(|place| below_src(&source).starts_with(place))
            {
                continue;
            }
            for (number, line) in source.code() {
                // `use rusqlite;` and `extern crate` would go round the colons.
                let is_used = |word: &&&str| {
                    let name = word.strip_suffix("::");
                    says(line, word) || name.is_some_and(|name| says(line, &format!("use {name}")))
                };
                for word in words.iter().filter(is_used) {
                    wrong.push(format!(
                        "{}:{number}: only {places:?} may say {word}",
                        source.name()
                    ));
                }
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn no_source_file_is_too_long() {
    let too_long = sources()
        .into_iter()
        .chain(files("benches", ".rs"))
        .chain(files("src/cli/diff/html", ""))
        .map(|s| (s.name(), s.text.lines().count()));
    // The cases of the benchmark are a table: each by itself is short.
    let is_too_long =
        |(name, lines): &(String, usize)| *lines > MOST_LINES && name != "benches/compare/cases.rs";
    let too_long = too_long.filter(is_too_long);
    assert_none(
        too_long
            .map(|(name, lines)| format!("{name}: {lines} lines, more than {MOST_LINES}"))
            .collect(),
    );
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let all = sources()
        .into_iter()
        .chain(files("tests", ".rs"))
        .chain(files("benches", ".rs"));
    let silent = all.filter(|file| !file.text.starts_with("//! "));
    assert_none(
        silent
            .map(|file| format!("{}: does not open with //!", file.name()))
            .collect(),
    );
}

#[test]
fn nothing_is_left_to_be_done() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut all: Vec<Text> = [
        "src",
        "tests",
        "benches",
        "migrations",
        "scripts",
        "fixtures",
        "mock",
        "docs",
    ]
    .into_iter()
    .flat_map(|directory| {
        [
            "rs",
            "sql",
            "py",
            "md",
            "/test",
            "/make",
            "/run",
            "/quickstart",
            "/bench",
        ]
        .map(|e| (directory, e))
    })
    .flat_map(|(directory, ending)| files(directory, ending))
    .collect();
    all.extend(["README.md", "CHANGELOG.md", "Cargo.toml"].map(Text::read));
    let mut wrong = Vec::new();
    for file in &all {
        for (at, line) in file.text.lines().enumerate() {
            // Whole words: mktemp's templates are not meant.
            for mark in marks.iter().filter(|mark| says(line, mark)) {
                wrong.push(format!("{}:{}: {mark}", file.name(), at + 1));
            }
        }
    }
    assert_none(wrong);
}

/// A table of a migration.
struct Table {
    name: String,
    /// Lines right before it.
    before: String,
    columns: Vec<String>,
    /// The line that ends it.
    end: String,
}

fn tables(migration: &Text) -> Vec<Table> {
    let mut all = Vec::new();
    let mut before = String::new();
    let mut lines = migration.text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            let name = rest.split([' ', '(']).next().unwrap_or_default().to_owned();
            let mut body: Vec<String> = lines
                .by_ref()
                .take_while(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            let end = body.pop().unwrap_or_default();
            all.push(Table {
                name,
                before: std::mem::take(&mut before),
                columns: body,
                end,
            });
        } else if line.is_empty() {
            before.clear();
        } else {
            before.push_str(line);
        }
    }
    all
}

#[test]
fn migrations_are_numbered_listed_and_explained() {
    let migrations = files("migrations", "");
    let list = Text::read("src/store/migrations.rs");
    let mut wrong = Vec::new();
    let mut listed_at = 0;
    for (at, migration) in migrations.iter().enumerate() {
        let name = migration.path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".sql").unwrap_or_default();
        if !stem.starts_with(&format!("{:04}_", at + 1)) || stem.split('_').count() < 3 {
            wrong.push(format!(
                "{}: is not {:04}_verb_noun.sql",
                migration.name(),
                at + 1
            ));
        }
        match list.text[listed_at..].find(&format!("migrations/{name}")) {
            Some(found) => listed_at += found,
            None => wrong.push(format!(
                "{}: is not in the list of src/store/migrations.rs, or out of order",
                migration.name()
            )),
        }
        if !["-- Records:", "-- Cache:"]
            .iter()
            .any(|kind| migration.text.starts_with(kind))
        {
            wrong.push(format!(
                "{}: does not say whether its tables are records or cache",
                migration.name()
            ));
        }
        for Table {
            name: table,
            before,
            columns,
            end,
        } in tables(migration)
        {
            // One that joins two others says so by its references.
            let is_explained = before.starts_with("--")
                || columns.iter().any(|line| line.contains("--"))
                || columns
                    .iter()
                    .all(|line| line.contains("REFERENCES") || line.contains("PRIMARY KEY"));
            if !is_explained {
                wrong.push(format!(
                    "{}: no comment explains the table {table}",
                    migration.name()
                ));
            }
            if !(end.starts_with(") STRICT") && end.ends_with(';')) {
                wrong.push(format!(
                    "{}: the table {table} is not STRICT",
                    migration.name()
                ));
            }
        }
    }
    assert!(!migrations.is_empty());
    assert_none(wrong);
}

#[test]
fn the_format_document_has_every_table_and_column() {
    let document = Text::read("docs/format.md");
    let mut wrong = Vec::new();
    let migrations = files("migrations", ".sql");
    // A table that was made anew is as the last one says.
    let made: BTreeMap<_, _> = migrations
        .iter()
        .flat_map(tables)
        .map(|table| (table.name.clone(), table))
        .collect();
    for Table {
        name: table,
        columns,
        ..
    } in made.into_values()
    {
        let Some(row) = document
            .text
            .lines()
            .find(|line| line.starts_with(&format!("| `{table}` |")))
        else {
            wrong.push(format!("docs/format.md: has no row for the table {table}"));
            continue;
        };
        let columns = columns
            .iter()
            .filter_map(|line| line.trim_start().split(' ').next());
        let columns =
            columns.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        for column in columns.filter(|column| !row.contains(&format!("`{column}`"))) {
            wrong.push(format!("docs/format.md: does not name {table}.{column}"));
        }
    }
    assert_none(wrong);
}

/// The words between backticks, in lines outside of fenced blocks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    let prose = text.lines().filter(move |line| {
        is_fenced ^= line.starts_with("```");
        !is_fenced
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn tests_that_documents_name_exist() {
    let tests: Vec<Text> = sources().into_iter().chain(files("tests", ".rs")).collect();
    let is_test = |name: &str| {
        let head = format!("fn {name}(");
        tests.iter().any(|file| {
            file.text
                .lines()
                .any(|line| line.trim_start().starts_with(&head))
        })
    };
    for (document, least) in [
        ("docs/design.md", 16),
        ("docs/reliability.md", 16),
        ("CONTRIBUTING.md", 1),
    ] {
        let text = Text::read(document);
        let named: Vec<&str> = code_spans(&text.text)
            .filter(|span| {
                span.matches('_').count() >= 3
                    && span
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            })
            .collect();
        assert!(named.len() >= least, "{document}: {named:?}");
        let gone = named.into_iter().filter(|name| !is_test(name));
        assert_none(
            gone.map(|name| format!("{document}: there is no test {name}"))
                .collect(),
        );
    }
}

#[test]
fn functions_that_contributing_names_exist() {
    let document = Text::read("CONTRIBUTING.md");
    let named: Vec<&str> = code_spans(&document.text)
        .filter(|span| !span.contains(' ') && !span.ends_with("::"))
        .filter_map(|span| span.rsplit_once("::"))
        .map(|(_, function)| function)
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let is_there = |name: &str| {
        let heads = ["fn", "mod"].map(|kind| format!("{kind} {name}"));
        sources().iter().any(|source| {
            heads
                .iter()
                .any(|head| source.code().any(|(_, line)| says(line, head)))
        })
    };
    let gone = named.into_iter().filter(|name| !is_there(name));
    assert_none(gone.map(|name| format!("there is no {name}")).collect());
}

#[test]
fn sources_that_documents_name_exist() {
    let mut documents: Vec<Text> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "mock/README.md",
        "benches/README.md",
    ]
    .map(Text::read)
    .into();
    documents.extend(files("docs", ".md"));
    let mut wrong = Vec::new();
    for document in &documents {
        for span in code_spans(&document.text)
            .filter(|span| span.starts_with("src/") || span.starts_with("tests/"))
        {
            if !Path::new(REPOSITORY).join(span).exists() {
                wrong.push(format!("{}: {span} does not exist", document.name()));
            }
        }
    }
    assert_none(wrong);
}

fn help(of: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rootstrata"))
        .args(of)
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{of:?} has no help");
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands() -> Vec<String> {
    let help = help(&[]);
    let (list, _) = help.split_once("\nOptions:\n").unwrap();
    let list = list.lines().filter(|line| line.starts_with("  "));
    let names = list.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn commands_and_options_of_the_documents_are_in_the_help() {
    let mut documents = files("docs", ".md");
    // In one, what is hashed begins with such words; in the other, other tools have options.
    let others = ["docs/format.md", "docs/compared.md"];
    documents.retain(|document| !others.contains(&document.name().as_str()));
    documents.push(Text::read("README.md"));
    let subcommands = subcommands();
    assert!(subcommands.len() >= 5, "{subcommands:?}");
    let helps: BTreeMap<&str, String> = subcommands
        .iter()
        .map(|name| (name.as_str(), help(&[name])))
        .collect();
    let all_help: String = helps.values().map(String::as_str).collect();
    let mut wrong = Vec::new();
    let mut shown = BTreeSet::new();
    for document in &documents {
        let joined = document.text.replace("\\\n", " ");
        let lines = joined
            .lines()
            .filter_map(|line| line.strip_prefix("# ").or(line.strip_prefix("$ ")));
        for line in lines
            .chain(code_spans(&document.text))
            .filter(|line| line.starts_with("rootstrata "))
        {
            let words: Vec<&str> = line
                .split(" | ")
                .next()
                .unwrap()
                .split_whitespace()
                .skip(1)
                .collect();
            let Some(subcommand) = words.iter().find(|word| !word.starts_with('-')) else {
                continue;
            };
            let Some(help) = helps.get(subcommand) else {
                wrong.push(format!(
                    "{}: {line}: no command {subcommand}",
                    document.name()
                ));
                continue;
            };
            shown.insert((*subcommand).to_owned());
            for option in words
                .iter()
                .filter(|word| word.starts_with('-') && !says(help, word))
            {
                wrong.push(format!("{}: {line}: no option {option}", document.name()));
            }
        }
        for span in
            code_spans(&document.text).filter(|span| span.starts_with("--") && span.len() > 2)
        {
            let option = span.split([' ', '=']).next().unwrap();
            if !says(&all_help, option) {
                wrong.push(format!("{}: `{span}`: no option {option}", document.name()));
            }
        }
    }
    let missing = subcommands.into_iter().filter(|name| !shown.contains(name));
    wrong.extend(missing.map(|name| format!("no document shows rootstrata {name}")));
    assert_none(wrong);
}

#[test]
fn the_documents_name_every_environment_variable_and_exit_code() {
    let environment = Text::read("docs/environment.md");
    let exit_status = Text::read("docs/json.md");
    let cli: String = files("src/cli", ".rs")
        .into_iter()
        .map(|file| file.text)
        .collect();
    let variables = cli.split('"').filter(|part| {
        part.len() > 6
            && part.contains('_')
            && part.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    let missing = variables.filter(|name| !environment.text.contains(&format!("`{name}`")));
    let mut wrong: Vec<String> = missing
        .map(|name| format!("{}: does not name {name}", environment.name()))
        .collect();
    let sources = ["src/main.rs", "src/cli/failure.rs"].map(|path| Text::read(path).text);
    let sources = sources.concat();
    let codes = sources.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("const ")?
            .split(": u8 = ")
            .nth(1)?
            .strip_suffix(';')
    });
    for code in codes {
        if !exit_status.text.contains(&format!("| {code} |")) {
            wrong.push(format!(
                "{}: does not name exit code {code}",
                exit_status.name()
            ));
        }
    }
    assert_none(wrong);
}

/// `scripts/fuzz` builds with `--locked`, and nothing else builds the fuzz targets.
#[test]
fn the_lock_file_of_the_fuzz_targets_knows_every_dependency() {
    let manifest = Text::read("Cargo.toml").text;
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (dependencies, _) = dependencies.split_once("\n\n").unwrap();
    let lock = Text::read("fuzz/Cargo.lock").text;
    let mut packages = lock.split("[[package]]");
    let own = packages
        .find(|package| package.contains("\nname = \"rootstrata\"\n"))
        .unwrap();
    let missing = dependencies.lines().filter(|line| {
        let name = line.split(' ').next().unwrap_or_default();
        !own.contains(&format!("\n \"{name}\",\n")) && !own.contains(&format!("\n \"{name} "))
    });
    assert_none(missing.map(str::to_owned).collect());
}

/// `cargo test` is for who has nothing but Rust.
#[test]
fn tests_of_an_ordinary_user_need_no_python() {
    let mut read = 0;
    for directory in ["tests/plain", "tests/writers"] {
        for entry in std::fs::read_dir(Path::new(REPOSITORY).join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["rpmdb.py", "list_tree.py", "python3", "install_with_python"] {
                let has_none = path.ends_with("tidy.rs") || !text.contains(word);
                assert!(has_none, "{}: {word}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 30, "{read} files");
}
