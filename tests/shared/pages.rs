//! What README.md and the pages of docs/ show is what happens: every command of their `console` blocks is run, page by page,
//! in order and in one shell, and what it prints is compared with what the page says it prints.
//!
//! The shell is in a mount namespace of its own, where /var/lib and /var/cache are empty directories, so that paths are those that a
//! user types. Before a page begins, the store has the builds that the page names, by the commands of docs/recording.md: each is
//! a bootstrap and a deps-installed snapshot, so three builds are snapshots 1 to 6. The chroot under /var/lib/mock is one of ROOTSTRATA_CHROOTS: the one
//! of the stage that a command names, of the next build with each `bootstrap`; installed_pkgs.log is that of the first build. Numbers
//! and digests may differ, since another machine has other packages; a line `...` stands for any lines. The registry at localhost:5000
//! is Debian's, for the pages that name it. What needs Mock, another registry or a terminal is in `sh` blocks.

use crate::common::registry::DebianRegistry;
use crate::common::{REPOSITORY, text};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A document with `console` blocks, and what is there when its first command runs.
struct Page {
    /// The file, relative to the repository.
    name: &'static str,
    /// How many of [`INSTALLATIONS`] are recorded already.
    builds: usize,
    /// The store that has them.
    store: &'static str,
}

/// The store of a page that does not name one.
const STORE: &str = "/var/lib/rootstrata";

const fn page(name: &'static str, builds: usize, store: &'static str) -> Page {
    Page {
        name,
        builds,
        store,
    }
}

/// All documents with commands.
const PAGES: &[Page] = &[
    page("README.md", 2, "/var/cache/mock/rootstrata"),
    page("docs/recording.md", 1, STORE),
    page("docs/comparing.md", 3, STORE),
    page("docs/exporting.md", 3, STORE),
    page("docs/registries.md", 3, STORE),
    page("docs/store.md", 3, STORE),
    page("docs/policy.md", 0, STORE),
    page("docs/environment.md", 0, STORE),
    page("docs/json.md", 1, STORE),
];

const CHROOT: &str = "/var/lib/mock/fedora-rawhide-x86_64/root";

/// The registry of the pages, in whose place Debian's is run on a port that is free.
const REGISTRY: &str = "localhost:5000";

/// The installation of the chroots that each build records: the same packages again, then newer ones.
const INSTALLATIONS: [&str; 3] = ["day0", "day0b", "day1"];

/// A command of a `console` block, with the output that README gives it.
#[derive(Debug)]
pub(crate) struct Shown {
    command: String,
    output: Vec<String>,
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(REPOSITORY).join(name)).unwrap()
}

/// README.md and the pages of docs/, by name.
pub(crate) fn documents() -> BTreeSet<String> {
    let docs = std::fs::read_dir(Path::new(REPOSITORY).join("docs")).unwrap();
    let names = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .chain(["README.md".to_owned()])
        .collect()
}

/// The fenced blocks: language and lines.
pub(crate) fn blocks(document: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, lines)), None) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// Joins lines that end in a backslash with the next.
pub(crate) fn whole_lines(lines: &[String]) -> Vec<String> {
    let joined = lines.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

pub(crate) fn console(document: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for (_, lines) in blocks(document)
        .into_iter()
        .filter(|(language, _)| language == "console")
    {
        for (at, line) in whole_lines(&lines).into_iter().enumerate() {
            match line.strip_prefix("# ").or(line.strip_prefix("$ ")) {
                Some(command) => all.push(Shown {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None if at == 0 => {
                    panic!("a console block begins with output: {line}")
                }
                None => all.last_mut().unwrap().output.push(line),
            }
        }
    }
    all
}

/// The installation whose chroot is there when each command runs: `builds` are recorded before the first.
fn installations(shown: &[Shown], builds: usize) -> Vec<&'static str> {
    let mut build = builds;
    let of = |Shown { command, .. }: &Shown| {
        build += usize::from(command.contains("--stage bootstrap"));
        assert!(
            build <= INSTALLATIONS.len(),
            "more builds than INSTALLATIONS"
        );
        INSTALLATIONS[build.saturating_sub(1)]
    };
    shown.iter().map(of).collect()
}

/// The beginning of the script: where things are, and the builds of the page.
fn prepared(page: &Page, work: &Path) -> String {
    let chroots = std::env::var("ROOTSTRATA_CHROOTS").unwrap_or_else(|_| {
        panic!("ROOTSTRATA_CHROOTS is not set: give the chroots of `fixtures/chroots/make OUT small`, or run scripts/test")
    });
    let chroots = std::fs::canonicalize(&chroots)
        .unwrap_or_else(|e| panic!("ROOTSTRATA_CHROOTS={chroots}: {e}"));
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_rootstrata"));
    let mut script = format!(
        r#"set -u
W='{work}' C='{chroots}' PATH='{bin}':"$PATH"
export PATH ENGINES_DIR=$W/engines ROOTSTRATA_STORE={store}
unset SOURCE_DATE_EPOCH
for tool in podman skopeo umoci; do eval "$tool() {{ '{REPOSITORY}/fixtures/engines/run' $tool \"\$@\"; }}"; done
chroot_is() {{ ! mountpoint -q {CHROOT} || umount {CHROOT}; mount --bind "$C/$1" {CHROOT} && mount -o remount,bind,ro {CHROOT}; }}
mount --bind "$W/lib" /var/lib && mount --bind "$W/cache" /var/cache && mkdir -p {CHROOT} /var/cache/mock && cd "$W/here" || exit 99
cp -a "$C/deps-day0/var/lib/rpm" "$W/rpm" && rpm -qa --dbpath "$W/rpm" --qf '%{{nevra}} %{{buildtime}} %{{size}} installed\n' > installed_pkgs.log || exit 98
chroot_is deps-day0 || exit 97
"#,
        work = work.display(),
        chroots = chroots.display(),
        bin = binary.parent().unwrap().display(),
        store = page.store,
    );
    for installation in &INSTALLATIONS[..page.builds] {
        // docs/recording.md exports the first two.
        let deps = match *installation {
            "day1" => format!("snapshot {CHROOT}"),
            _ => format!("export --root {CHROOT} --format oci-dir -o buildroot"),
        };
        let _ = writeln!(
            script,
            "chroot_is boot-{installation} && rootstrata -q snapshot {CHROOT} --stage bootstrap || exit 96
chroot_is deps-{installation} && rootstrata -q {deps} --stage deps-installed || exit 95"
        );
    }
    script + "unset ROOTSTRATA_STORE\nlast=0\n"
}

/// Runs the commands of a page and returns, for each, its exit code and what it printed: stdout, or stderr where it failed. 1 is no
/// failure, but a difference.
fn run(page: &Page, shown: &[Shown], work: &Path) -> Vec<(i32, String)> {
    for directory in ["lib", "cache", "here", "out"] {
        std::fs::create_dir(work.join(directory)).unwrap();
    }
    let registry = shown
        .iter()
        .any(|one| one.command.contains(REGISTRY))
        .then(|| DebianRegistry::start(&work.join("registry"), &[]));
    let host = registry
        .as_ref()
        .map_or_else(String::new, |it| format!("localhost:{}", it.port()));
    let mut script = prepared(page, work);
    let installations = installations(shown, page.builds);
    for (at, (Shown { command, .. }, installation)) in shown.iter().zip(installations).enumerate() {
        if command.contains("--stage bootstrap") {
            let _ = writeln!(script, "chroot_is boot-{installation}");
        } else if command.contains("--stage deps-installed") {
            let _ = writeln!(script, "chroot_is deps-{installation}");
        }
        let quoted = command.replace(REGISTRY, &host).replace('\'', r"'\''");
        let _ = writeln!(
            script,
            "(exit $last); eval '{quoted}' > $W/out/{at}.out 2> $W/out/{at}.err; last=$?; echo $last > $W/out/{at}.code"
        );
    }
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "bash", "-c", &script])
        .output()
        .unwrap_or_else(|e| panic!("unshare: {e}"));
    let read = |at: usize, what: &str| {
        std::fs::read(work.join(format!("out/{at}.{what}"))).unwrap_or_default()
    };
    (0..shown.len())
        .map(|at| {
            let code = text(&read(at, "code")).trim().parse();
            let code = code.unwrap_or_else(|_| {
                panic!("{:?}: not run: {}", shown[at].command, text(&output.stderr))
            });
            (code, text(&read(at, if code <= 1 { "out" } else { "err" })))
        })
        .collect()
}

/// A word with `hash` in the place of each digest, whole or its first twelve characters.
fn without_digest(word: &str) -> String {
    let is_digest =
        |part: &str| [12, 64].contains(&part.len()) && part.chars().all(|c| c.is_ascii_hexdigit());
    let parts = word.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    parts
        .map(|part| {
            let text = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            match is_digest(text) {
                true => part.replace(text, "hash"),
                false => part.to_owned(),
            }
        })
        .collect()
}

/// A line without what differs from machine to machine: digests, numbers and units of size, the versions of packages, the
/// width of columns.
pub(crate) fn normalised(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let mut text = String::new();
        let is_package = [".x86_64", ".aarch64", ".src.rpm"]
            .iter()
            .any(|end| word.ends_with(end));
        let version = word
            .match_indices('-')
            .find(|(at, _)| word[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        let word = version
            .filter(|_| is_package)
            .map_or(word, |(at, _)| &word[..at]);
        let word = without_digest(word);
        for c in word.chars() {
            match c.is_ascii_digit() {
                true if text.ends_with('0') => {}
                true => text.push('0'),
                false => text.push(c),
            }
        }
        text.replace("0.0", "0")
    });
    let mut all = words.collect::<Vec<_>>().join(" ");
    for unit in ["B", "kB", "MB", "GB"] {
        for end in ["", ")", ",", " "] {
            let with_unit = format!(" {unit}{end}");
            if end.is_empty() {
                all = all
                    .strip_suffix(&with_unit)
                    .map(str::to_owned)
                    .unwrap_or(all);
            } else {
                all = all.replace(&with_unit, end);
            }
        }
    }
    all
}

/// Tells whether a line is of a package that was upgraded, or sums up what was: each distribution names them in its own way.
fn is_upgrade(line: &str) -> bool {
    line.contains(" → ")
        || line.contains(" in time alone")
        || line.trim_start().starts_with("upgraded from ")
}

/// Which layers the packages of another day bring depends on how many of them are new, and which packages have layers on how
/// large they are.
fn is_layer(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default();
    let (first, second) = (word(), word());
    let is_role = ["base", "update", "delta", "package", "state"].contains(&first);
    is_role && ["new", "reused"].contains(&second) || first == "layer"
}

/// Tells whether `found` is what `expected` says; `...` stands for any lines.
fn is_as_shown(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=found.len()).any(|skip| is_as_shown(rest, &found[skip..]))
        }
        Some((first, rest)) => found.first() == Some(first) && is_as_shown(rest, &found[1..]),
    }
}

/// Runs the commands of a document, and fails where one of them prints something else.
pub(crate) fn shows_what_happens(name: &str) {
    let page = PAGES.iter().find(|page| page.name == name);
    page.unwrap_or_else(|| panic!("{name} is not in PAGES"))
        .shows_what_happens();
}

/// Names of all documents whose commands are run.
pub(crate) fn names_of_pages() -> BTreeSet<String> {
    PAGES.iter().map(|page| page.name.to_owned()).collect()
}

impl Page {
    fn shows_what_happens(&self) {
        let shown = console(&read(self.name));
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let results = run(self, &shown, work.path());
        let installations = installations(&shown, self.builds);
        let mut wrong = String::new();
        for (at, (Shown { command, output }, (code, printed))) in
            shown.iter().zip(&results).enumerate()
        {
            // One that fails is shown with its code.
            let may_fail = shown
                .get(at + 1)
                .is_some_and(|next| next.command == "echo $?");
            let is_updated = installations[at] == "day1";
            let lines = |text: &mut dyn Iterator<Item = &str>| {
                text.filter(|line| !(is_updated && (is_layer(line) || is_upgrade(line))))
                    .map(normalised)
                    .collect::<Vec<_>>()
            };
            let expected = lines(&mut output.iter().map(String::as_str));
            let found = lines(&mut printed.lines());
            let finds_difference = *code == 1 && command.starts_with("rootstrata diff ");
            let is_right = (*code == 0 || finds_difference || may_fail)
                && (output.is_empty() || is_as_shown(&expected, &found));
            let is_right = is_right && (command != "echo $?" || *output == [printed.trim()]);
            if !is_right {
                let _ = writeln!(wrong, "# {command}\nexit code {code}, printed:\n{printed}");
            }
        }
        assert!(
            wrong.is_empty(),
            "{} shows something else for\n{wrong}",
            self.name
        );
    }
}
