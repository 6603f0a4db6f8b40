//! The long help of each command, also a part of the man page: notes, examples, exit codes. `help/` has a text for each
//! command.

use clap::Command;
use std::fmt::Write as _;

/// The commands as grouped by the short help.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Record and use",
        &["snapshot", "export", "restore", "mount", "sbom"],
    ),
    (
        "Ask",
        &[
            "log", "show", "diff", "explain", "which", "find", "ls", "cat",
        ],
    ),
    (
        "Keep the store",
        &[
            "du", "prune", "rm", "pin", "unpin", "rename", "squash", "verify", "config",
        ],
    ),
    ("Share", &["push", "pull", "import"]),
];

/// A command, and the text after the options.
const TEXTS: [(&str, &str); 25] = [
    ("cat", include_str!("help/cat.txt")),
    ("config", include_str!("help/config.txt")),
    ("diff", include_str!("help/diff.txt")),
    ("du", include_str!("help/du.txt")),
    ("explain", include_str!("help/explain.txt")),
    ("export", include_str!("help/export.txt")),
    ("find", include_str!("help/find.txt")),
    ("import", include_str!("help/import.txt")),
    ("log", include_str!("help/log.txt")),
    ("ls", include_str!("help/ls.txt")),
    ("mount", include_str!("help/mount.txt")),
    ("pin", include_str!("help/pin.txt")),
    ("prune", include_str!("help/prune.txt")),
    ("pull", include_str!("help/pull.txt")),
    ("push", include_str!("help/push.txt")),
    ("rename", include_str!("help/rename.txt")),
    ("restore", include_str!("help/restore.txt")),
    ("rm", include_str!("help/rm.txt")),
    ("sbom", include_str!("help/sbom.txt")),
    ("show", include_str!("help/show.txt")),
    ("snapshot", include_str!("help/snapshot.txt")),
    ("squash", include_str!("help/squash.txt")),
    ("unpin", include_str!("help/unpin.txt")),
    ("verify", include_str!("help/verify.txt")),
    ("which", include_str!("help/which.txt")),
];

const TOP: &str = include_str!("help/top.txt");

/// Adds the texts to the commands.
pub(super) fn with_texts(command: Command) -> Command {
    let groups = groups(&command);
    let command = command
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\nOptions:\n{{options}}{{after-help}}"
        ))
        .after_help("`rootstrata --help` says how snapshots are named, and has examples.")
        .after_long_help(TOP.trim_end());
    TEXTS.iter().fold(command, |command, (name, text)| {
        command.mut_subcommand(name, |sub| {
            sub.after_help(format!(
                "`rootstrata {name} --help` says more, and has examples."
            ))
            .after_long_help(text.trim_end())
        })
    })
}

/// Returns the list of all commands with their purpose.
fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "\n{heading}:");
        for name in names {
            let sub = command.find_subcommand(name);
            let about = sub.and_then(Command::get_about).unwrap_or_default();
            let _ = writeln!(text, "  {name:<9} {about}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, FromArgMatches};
    use std::collections::BTreeSet;

    fn names(command: &Command) -> BTreeSet<&str> {
        command.get_subcommands().map(Command::get_name).collect()
    }

    #[test]
    fn each_command_is_in_one_group_and_has_a_text() {
        let command = Cli::command();
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let texts: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).collect();
        for listed in [grouped, texts] {
            let set: BTreeSet<&str> = listed.iter().copied().collect();
            assert_eq!(set.len(), listed.len());
            assert_eq!(set, names(&command));
        }
    }

    /// The commands under "Examples:" of a text, each in a line.
    fn examples(text: &str) -> Vec<String> {
        let joined = text.replace(" \\\n", " ");
        let (_, rest) = joined
            .split_once("Examples:\n")
            .expect("a text has examples");
        let lines = rest.lines().take_while(|line| line.starts_with("  "));
        let commands = lines.filter(|line| !line.starts_with("  #"));
        commands.map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn each_example_is_of_its_command_and_the_command_line_takes_it() {
        for (name, text) in TEXTS.iter().copied().chain([("", TOP)]) {
            let examples = examples(text);
            assert!(!examples.is_empty(), "{name}");
            for example in examples {
                assert!(
                    example.starts_with(&format!("rootstrata {name}")),
                    "{example}"
                );
                let words = example
                    .split_whitespace()
                    .map(|word| word.trim_matches('\''));
                let matches = with_texts(Cli::command()).try_get_matches_from(words);
                let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
                assert!(cli.and_then(|cli| cli.check()).is_ok(), "{example}");
            }
        }
    }

    #[test]
    fn help_short_and_long_fits_eighty_columns() {
        let mut command = with_texts(Cli::command());
        command.build();
        let mut all = vec![command.render_help(), command.render_long_help()];
        let own = command.get_subcommands_mut();
        for sub in own.filter(|sub| sub.get_name() != "help") {
            all.extend([sub.render_help(), sub.render_long_help()]);
        }
        for help in all {
            let help = help.to_string();
            let longest = help.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{longest:?}\n{help}");
            assert!(
                help.contains("Exit status:") || help.contains("--help` says"),
                "{help}"
            );
        }
    }
}
