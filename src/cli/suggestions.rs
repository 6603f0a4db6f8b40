//! Words of other tools for commands of ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words, and the tip for somebody who types such a word.
const WORDS: [(&[&str], &str); 23] = [
    (
        &["forget"],
        "`rootstrata prune` removes snapshots by rule, `rootstrata rm` by name",
    ),
    (
        &["snapshots", "list", "images"],
        "`rootstrata log` lists the snapshots",
    ),
    (
        &["check", "fsck", "scrub"],
        "`rootstrata verify` checks the store",
    ),
    (
        &["repair", "rebuild-index"],
        "`rootstrata verify --repair` puts the store right",
    ),
    (&["umount", "unmount"], "umount(8) ends a mount"),
    (
        &["backup", "create", "commit", "record"],
        "`rootstrata snapshot` records a root",
    ),
    (
        &["inspect", "info", "history"],
        "`rootstrata show` shows a snapshot with its layers",
    ),
    (
        &["save"],
        "`rootstrata export` writes a snapshot as an archive",
    ),
    (
        &["cp"],
        "`rootstrata cat` writes a file of a snapshot, `rootstrata restore` a part of it",
    ),
    (
        &["status"],
        "`rootstrata diff SERIES dir:ROOT` tells what has changed, `rootstrata log` what is recorded",
    ),
    (
        &["gc", "compact", "clean", "cleanup"],
        "`rootstrata prune` without a rule removes what no snapshot needs",
    ),
    (
        &["delete", "remove", "rmi", "purge"],
        "`rootstrata rm` removes snapshots by name, `rootstrata prune` by rule",
    ),
    (
        &["tag", "lock", "protect"],
        "`rootstrata pin` keeps a snapshot, and `snapshot --label` labels one",
    ),
    (
        &["untag", "unprotect"],
        "`rootstrata unpin` lets a snapshot go",
    ),
    (
        &["unlock", "break-lock"],
        "a lock ends with its process: there is nothing to unlock",
    ),
    (
        &["init", "init-store"],
        "the first `rootstrata snapshot` makes the store",
    ),
    (
        &["stats", "usage", "df", "size"],
        "`rootstrata du` tells what takes the space, `rootstrata log --stats` how it grew",
    ),
    (
        &["blame", "owner", "whatprovides"],
        "`rootstrata which` tells whose a path is, and since when it is so",
    ),
    (
        &["grep", "search", "locate"],
        "`rootstrata find` finds contents, paths and packages",
    ),
    (
        &["dump", "extract", "checkout", "unpack"],
        "`rootstrata restore` makes a directory hold a snapshot, `rootstrata cat` writes one file",
    ),
    (
        &["load"],
        "`rootstrata import` takes the images of an archive",
    ),
    (
        &["copy", "sync"],
        "`rootstrata push` and `pull` carry snapshots through a registry, `export` and `import` through an archive",
    ),
    (
        &["mv", "rename-series"],
        "`rootstrata rename` gives a series another name",
    ),
];

/// Returns the tip for a word of another tool.
fn suggestion(word: &str) -> Option<&'static str> {
    let mut words = WORDS.iter();
    let found = words.find(|(words, _)| words.contains(&word));
    found.map(|(_, text)| *text)
}

/// Adds a tip to the error of an unknown command.
pub(super) fn with_tip(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(tip) = suggestion(word)
    {
        error.remove(ContextKind::SuggestedSubcommand);
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn a_word_of_another_tool_gets_a_tip_and_no_command_of_ours_is_such_a_word() {
        for word in ["forget", "snapshots", "check", "umount", "gc"] {
            let error = Cli::try_parse_from(["rootstrata", word]).expect_err(word);
            let text = with_tip(error).to_string();
            let tip = suggestion(word).expect(word);
            assert!(text.contains(tip), "{text}");
            assert_eq!(text.matches("tip:").count(), 1, "{text}");
        }
        for command in Cli::command().get_subcommands() {
            assert_eq!(suggestion(command.get_name()), None);
        }
        let error = Cli::try_parse_from(["rootstrata", "snapshto"]).expect_err("no command");
        assert!(with_tip(error).to_string().contains("'snapshot'"));
    }
}
