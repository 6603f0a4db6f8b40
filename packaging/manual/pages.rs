//! Man pages, completions and the page of all commands, each out of the definition of the command line, whose long help says the
//! same.

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use rootstrata::cli::Cli;
use std::fmt::Write as _;

const NAME: &str = "rootstrata";

/// Returns all files, by their names below the directory.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let command = Cli::described().name(NAME);
    let mut files = vec![(format!("man/{NAME}.1"), man(&command, None))];
    for sub in subcommands(&command) {
        let name = format!("man/{NAME}-{}.1", sub.get_name());
        files.push((name, man(sub, Some(sub.get_name()))));
    }
    for (shell, name) in [
        (Shell::Bash, "completions/rootstrata.bash"),
        (Shell::Zsh, "completions/_rootstrata"),
        (Shell::Fish, "completions/rootstrata.fish"),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut command.clone(), NAME, &mut script);
        files.push((name.to_owned(), script));
    }
    files.push(("commands.md".to_owned(), site(&command).into_bytes()));
    files
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
}

/// What the long help has after the options: paragraphs, and sections with a heading.
struct Text {
    notes: Vec<String>,
    sections: Vec<(String, Vec<String>)>,
}

impl Text {
    fn of(command: &Command) -> Self {
        let text = command.get_after_long_help();
        let text = text.map(ToString::to_string).unwrap_or_default();
        let mut all = Self {
            notes: Vec::new(),
            sections: Vec::new(),
        };
        for line in text.lines() {
            let heading = ["Examples:", "Files:", "Environment:", "Exit status:"];
            let heading = heading.iter().find(|heading| line.starts_with(**heading));
            match (heading, all.sections.last_mut()) {
                (Some(heading), _) => {
                    let rest = line[heading.len()..].trim();
                    let lines = if rest.is_empty() {
                        vec![]
                    } else {
                        vec![rest.to_owned()]
                    };
                    let name = heading.trim_end_matches(':').to_uppercase();
                    all.sections.push((name, lines));
                }
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => all.notes.push(line.to_owned()),
            }
        }
        all
    }
}

/// Returns a man page, man-pages(7).
fn man(command: &Command, sub: Option<&str>) -> Vec<u8> {
    let title = sub.map_or(NAME.to_owned(), |sub| format!("{NAME}-{sub}"));
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH {} 1 \"{}\" \"{NAME} {version}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        title.to_uppercase().replace('-', "\\-"),
        date(),
        roff(&title),
        roff(&about)
    );
    let mut own = command.clone();
    if let Some(sub) = sub {
        own = own.bin_name(format!("{NAME} {sub}"));
    }
    let usage = own.render_usage().to_string();
    push_lines(
        &mut page,
        usage.trim_start_matches("Usage:").lines().map(str::trim),
    );
    let text = Text::of(command);
    page += ".SH DESCRIPTION\n";
    let lead = format!("{about}.");
    push_paragraphs(
        &mut page,
        std::iter::once(lead.as_str())
            .chain([""])
            .chain(text.notes.iter().map(String::as_str)),
    );
    if sub.is_none() {
        page += ".SH COMMANDS\n";
        for sub in subcommands(command) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(
                page,
                ".TP\n\\fB{NAME}\\-{}\\fR(1)\n{}",
                sub.get_name(),
                roff(&about)
            );
        }
    }
    let mut page = page.into_bytes();
    // clap_mangen has no word for an option that -h does not show, unless --help has another one than -h.
    let shown = command
        .clone()
        .mut_args(|option| option.hide_short_help(false));
    // Writing to memory does not fail.
    let _ = Man::new(shown).render_options_section(&mut page);
    let mut rest = String::new();
    if sub.is_some() {
        rest += ".PP\nThe options of \\fBrootstrata\\fR(1) hold as well.\n";
    }
    for (heading, lines) in &text.sections {
        let _ = writeln!(rest, ".SH \"{heading}\"");
        let lines = lines.iter().map(String::as_str);
        if heading == "EXIT STATUS" {
            push_paragraphs(&mut rest, lines);
        } else {
            push_lines(&mut rest, lines);
        }
    }
    rest += ".SH \"SEE ALSO\"\n";
    let also = sub.map_or(
        "\\fBmock\\fR(1), \\fBpodman\\fR(1), \\fBskopeo\\fR(1)",
        |_| "\\fBrootstrata\\fR(1)",
    );
    rest += also;
    rest.push('\n');
    page.extend(rest.into_bytes());
    page
}

/// Returns the day of the newest release.
fn date() -> &'static str {
    let changes = include_str!("../../CHANGELOG.md");
    let titles = changes.lines().filter(|line| line.starts_with("## ["));
    let mut days = titles.filter_map(|title| title.split_once("] - "));
    days.next().map_or("", |(_, day)| day)
}

/// Appends lines as they are.
fn push_lines<'t>(page: &mut String, lines: impl Iterator<Item = &'t str>) {
    page.push_str(".nf\n");
    let lines: Vec<&str> = lines.collect();
    for line in lines.join("\n").trim_end().lines() {
        let _ = writeln!(page, "{}", roff(line));
    }
    page.push_str(".fi\n");
}

/// Appends paragraphs that are filled. Lines that begin with a space are as they are.
fn push_paragraphs<'t>(page: &mut String, lines: impl Iterator<Item = &'t str>) {
    let all = lines.collect::<Vec<_>>().join("\n");
    for (at, paragraph) in all.trim().split("\n\n").enumerate() {
        if at > 0 {
            page.push_str(".PP\n");
        }
        if paragraph.starts_with("  ") {
            push_lines(page, paragraph.lines());
            continue;
        }
        for line in paragraph.lines() {
            let _ = writeln!(page, "{}", roff(line.trim()));
        }
    }
}

/// Escapes a line for roff, groff(7).
fn roff(line: &str) -> String {
    let escaped = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    let is_request = escaped.starts_with('.');
    if is_request {
        format!("\\&{escaped}")
    } else {
        escaped
    }
}

/// Returns the page of all commands, Markdown.
fn site(command: &Command) -> String {
    let mut page =
        String::from("# Commands\n\nWhat the help and the man page of each command say.\n");
    let top = command.clone();
    push_help(&mut page, NAME, top);
    for sub in subcommands(command) {
        let name = format!("{NAME} {}", sub.get_name());
        push_help(&mut page, &name, sub.clone().bin_name(&name));
    }
    page
}

fn push_help(page: &mut String, name: &str, mut command: Command) {
    command = command.term_width(80);
    let help = command.render_long_help().to_string();
    let lines = help.lines().map(str::trim_end);
    let help = lines.collect::<Vec<_>>().join("\n");
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
}
