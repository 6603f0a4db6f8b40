//! What README.md shows is what happens: every command of its `console` blocks is run, in order and in one shell, and what
//! it prints is compared with what README says it prints.
//!
//! The shell is in a mount namespace of its own, where /var/lib is an empty directory, so that paths are those that a
//! user types. The chroot under /var/lib/mock is one of ROOTSTRATA_CHROOTS: the one of the stage that a command names,
//! made anew with each `bootstrap`; installed_pkgs.log is that of the first build. Numbers and digests may differ, since another machine has other packages; a line
//! `...` stands for any lines. The registry at localhost:5000 is Debian's. What needs Mock, another registry or a terminal is
//! in `sh` blocks and listed below.

use crate::common::registry::DebianRegistry;
use crate::common::{REPOSITORY, text};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands of README that are not run here. A new one must be added, and somebody must have run it.
const NOT_RUN: &[&str] = &[
    "cargo install --path .",
    "mock -r fedora-rawhide-x86_64 --init",
    "mock -r fedora-rawhide-x86_64 --installdeps hello-1-1.src.rpm",
    "mock -r fedora-rawhide-x86_64 --enable-plugin rootstrata --rebuild hello-1-1.src.rpm",
    "mock -r fedora-rawhide-x86_64 --disable-plugin root_cache --buildroot-image buildroot-oci.tar --rebuild hello-1-1.src.rpm",
    "podman run --rm -ti -v ./hello-1-1.src.rpm:/hello.src.rpm:z oci-archive:buildroot-oci.tar rpmbuild --rebuild /hello.src.rpm",
    "rootstrata mount fedora-rawhide-x86_64@deps-installed /mnt",
    "skopeo copy oci:/var/lib/rootstrata:fedora-rawhide-x86_64:deps-installed docker://registry.example.org/buildroot:latest",
    "scripts/quickstart",
    "scripts/test",
];

const CHROOT: &str = "/var/lib/mock/fedora-rawhide-x86_64/root";

/// The registry of README, in whose place Debian's is run on a port that is free.
const REGISTRY: &str = "localhost:5000";

/// Which installation of the chroots each `--stage bootstrap` of README begins; README's first output is of a second
/// build, so one of day0 is recorded before it.
const INSTALLATIONS: [&str; 2] = ["day0b", "day1"];

/// A command of a `console` block, with the output that README gives it.
#[derive(Debug)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap()
}

/// The fenced blocks: language and lines.
fn blocks(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in readme.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, lines)), None) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of README.md does not end");
    blocks
}

/// Joins lines that end in a backslash with the next.
fn whole_lines(lines: &[String]) -> Vec<String> {
    let joined = lines.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn console(readme: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for (_, lines) in blocks(readme)
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
                    panic!("a console block of README.md begins with output: {line}")
                }
                None => all.last_mut().unwrap().output.push(line),
            }
        }
    }
    all
}

/// Runs the commands and returns, for each, its exit code and what it printed: stdout, or stderr where it failed. 1 is no
/// failure, but a difference.
fn run(shown: &[Shown], work: &Path, registry: &str) -> Vec<(i32, String)> {
    let chroots = std::env::var("ROOTSTRATA_CHROOTS").unwrap_or_else(|_| {
        panic!("ROOTSTRATA_CHROOTS is not set: give the chroots of `fixtures/chroots/make OUT small`, or run scripts/test")
    });
    let chroots = std::fs::canonicalize(&chroots)
        .unwrap_or_else(|e| panic!("ROOTSTRATA_CHROOTS={chroots}: {e}"));
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_rootstrata"));
    for directory in ["lib", "here", "out"] {
        std::fs::create_dir(work.join(directory)).unwrap();
    }
    let mut script = format!(
        r#"set -u
W='{work}' C='{chroots}' PATH='{bin}':"$PATH"
export PATH ENGINES_DIR=$W/engines
unset ROOTSTRATA_STORE SOURCE_DATE_EPOCH
for tool in podman skopeo umoci; do eval "$tool() {{ '{REPOSITORY}/fixtures/engines/run' $tool \"\$@\"; }}"; done
chroot_is() {{ ! mountpoint -q {CHROOT} || umount {CHROOT}; mount --bind "$C/$1" {CHROOT} && mount -o remount,bind,ro {CHROOT}; }}
mount --bind "$W/lib" /var/lib && mkdir -p {CHROOT} && cd "$W/here" || exit 99
chroot_is boot-day0 && rootstrata -q snapshot {CHROOT} --stage bootstrap || exit 98
chroot_is deps-day0 && rootstrata -q export --root {CHROOT} --stage deps-installed --format oci-dir -o buildroot || exit 97
cp -a "$C/deps-day0/var/lib/rpm" "$W/rpm" && rpm -qa --dbpath "$W/rpm" --qf '%{{nevra}} %{{buildtime}} %{{size}} installed\n' > installed_pkgs.log || exit 96
last=0
"#,
        work = work.display(),
        chroots = chroots.display(),
        bin = binary.parent().unwrap().display(),
    );
    let mut installations = INSTALLATIONS.into_iter();
    let mut installation = "day0";
    for (at, Shown { command, .. }) in shown.iter().enumerate() {
        if command.contains("--stage bootstrap") {
            installation = installations
                .next()
                .expect("README.md has more builds than INSTALLATIONS");
            let _ = writeln!(script, "chroot_is boot-{installation}");
        } else if command.contains("--stage deps-installed") {
            let _ = writeln!(script, "chroot_is deps-{installation}");
        }
        let quoted = command.replace(REGISTRY, registry).replace('\'', r"'\''");
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

/// A word without the digest that follows `algorithm`.
fn without_digest(word: &str, algorithm: &str) -> String {
    match word.split_once(algorithm) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            format!("{before}{algorithm}{rest}")
        }
        None => word.to_owned(),
    }
}

/// A line without what differs from machine to machine: digests, numbers and units of size, the versions of packages, the
/// width of columns.
fn normalised(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        if word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            return "hash".to_owned();
        }
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
        let word = without_digest(&without_digest(word, "sha256:"), "blake3:");
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

#[test]
fn every_command_of_the_readme_runs_and_prints_what_it_shows() {
    let shown = console(&readme());
    assert!(shown.len() > 10, "{shown:?}");
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let registry = DebianRegistry::start(&work.path().join("registry"), &[]);
    let results = run(
        &shown,
        work.path(),
        &format!("localhost:{}", registry.port()),
    );
    let mut wrong = String::new();
    for (at, (Shown { command, output }, (code, printed))) in shown.iter().zip(&results).enumerate()
    {
        // One that fails is shown with its code.
        let may_fail = shown
            .get(at + 1)
            .is_some_and(|next| next.command == "echo $?");
        let is_updated = shown[..=at]
            .iter()
            .filter(|one| one.command.contains("--stage bootstrap"))
            .count()
            > 1;
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
        "README.md shows something else for\n{wrong}"
    );
}

#[test]
fn commands_that_are_not_run_are_listed_here() {
    let blocks = blocks(&readme());
    let of = |language: &str| -> BTreeSet<String> {
        blocks
            .iter()
            .filter(|(l, _)| l == language)
            .flat_map(|(_, lines)| whole_lines(lines))
            .collect()
    };
    assert_eq!(
        of("sh"),
        NOT_RUN
            .iter()
            .map(|command| (*command).to_owned())
            .collect()
    );
    let languages: BTreeSet<&str> = blocks
        .iter()
        .map(|(language, _)| language.as_str())
        .collect();
    assert!(
        languages.is_subset(&BTreeSet::from(["console", "sh", "text"])),
        "{languages:?}"
    );
}

#[test]
fn every_field_of_the_json_is_in_the_readme() {
    let bench = crate::common::Bench::new();
    let root = bench.make("root");
    std::fs::write(root.join("file"), "x").unwrap();
    let out = bench.path("out.tar");
    let out = out.to_str().unwrap();
    let arguments = [
        "export",
        "--root",
        root.to_str().unwrap(),
        "--series",
        "s",
        "-o",
        out,
    ];
    let exported = bench.json(arguments);
    let readme = readme();
    let objects = [&exported, &exported["layers"][0]];
    for key in objects
        .into_iter()
        .flat_map(|object| object.as_object().unwrap().keys())
    {
        assert!(
            readme.contains(&format!("`{key}`")),
            "README.md does not say what `{key}` is"
        );
    }
}
