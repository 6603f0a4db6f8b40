//! The command line as a whole: global options and the list of commands, as clap reads them.

use crate::cli::asked::{Subject, parse_subject};
use crate::cli::diff::args::DiffArgs;
use crate::cli::keep::args::{
    PinArgs, PruneArgs, RM_USAGE, RenameArgs, RmArgs, SquashArgs, VerifyArgs,
};
use crate::cli::mount::{MOUNT_USAGE, MountArgs};
use crate::cli::paint::When;
use crate::cli::parse::{EntryPathArg, EntryPathParser, parse_snapshot};
use crate::cli::query::args::{FIND_USAGE, FindArgs, SbomFormat};
use crate::cli::query::log_args::LogArgs;
use crate::cli::record::args::SnapshotArgs;
use crate::cli::registry_access::RegistryArgs;
use crate::cli::remote::args::{PUSH_USAGE, PushArgs};
use crate::cli::restore::RestoreArgs;
use crate::cli::transfer::args::{ExportArgs, ImportArgs, PullArgs};
use crate::cli::{failure, help};
use crate::error::Error;
use crate::model::names::SnapshotRef;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;

const GLOBAL: &str = "Global options";

/// Record Mock chroots stage by stage, and export them as OCI base and delta layers
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, propagate_version = true)]
pub struct Cli {
    /// Keep snapshots in DIR [default: as the configuration says, else
    /// /var/lib/rootstrata for root, $XDG_STATE_HOME/rootstrata for others]
    /// [env: ROOTSTRATA_STORE]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(crate) store: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Print on stderr what the work took
    #[arg(long, global = true, help_heading = GLOBAL, hide_short_help = true)]
    pub(crate) stats: bool,
    /// Print neither progress nor results; JSON, warnings and errors stay
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Print more of each layer
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = GLOBAL)]
    pub(crate) verbose: bool,
    /// Use colours: auto, always or never [default: auto, on a terminal]
    #[arg(long, global = true, value_name = "WHEN", value_enum, hide_possible_values = true, help_heading = GLOBAL, hide_short_help = true)]
    pub(crate) color: Option<When>,
    /// Do not run a pager on a terminal
    #[arg(long, global = true, help_heading = GLOBAL, hide_short_help = true)]
    pub(crate) no_pager: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record a root directory as a snapshot
    Snapshot {
        /// Root directory, such as /var/lib/mock/fedora-rawhide-x86_64/root
        root: PathBuf,
        #[command(flatten)]
        record: Box<SnapshotArgs>,
    },
    /// Write a snapshot as an OCI image
    Export(Box<ExportArgs>),
    /// List snapshots, the newest first
    Log(LogArgs),
    /// Show a snapshot's layers, packages and policy
    Show {
        /// Snapshot to show, or docker://HOST/REPO[:TAG]
        #[arg(value_parser = parse_subject)]
        snapshot: Subject,
        /// Show the packages alone, with source, build time, size, signature key
        /// and checksum of each
        #[arg(long)]
        packages: bool,
    },
    /// Write a snapshot's packages as a bill of materials to stdout
    Sbom {
        /// Snapshot to list, or docker://HOST/REPO[:TAG]
        #[arg(value_parser = parse_subject)]
        snapshot: Subject,
        /// Form of the document: spdx (2.3) or cyclonedx (1.5), both JSON
        #[arg(long, value_enum, default_value_t = SbomFormat::Spdx, value_name = "FORMAT", hide_possible_values = true)]
        format: SbomFormat,
    },
    /// Show what differs between two snapshots, directories or images
    Diff(DiffArgs),
    /// Show why each layer of a snapshot was written or reused
    Explain {
        /// Snapshot to explain
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
    },
    /// Show whose a path is, which layer gives it, and since when it is so
    Which {
        /// Snapshot to look into, or docker://HOST/REPO[:TAG]
        #[arg(value_parser = parse_subject)]
        snapshot: Subject,
        /// Path in it
        #[arg(value_parser = EntryPathParser)]
        path: EntryPathArg,
    },
    /// List the snapshots that hold a content, a path or a package
    #[command(override_usage = FIND_USAGE)]
    Find(FindArgs),
    /// Write a file's content to stdout, out of its layer
    Cat {
        /// Snapshot to look into, or docker://HOST/REPO[:TAG]
        #[arg(value_parser = parse_subject)]
        snapshot: Subject,
        /// Path of a file in it
        #[arg(value_parser = EntryPathParser)]
        path: EntryPathArg,
    },
    /// Make a directory hold what a snapshot does
    Restore(RestoreArgs),
    /// Show a snapshot, or all, as files that can only be read
    #[command(override_usage = MOUNT_USAGE)]
    Mount(MountArgs),
    /// List a snapshot's entries as recorded
    Ls {
        /// Snapshot to list, or docker://HOST/REPO[:TAG]
        #[arg(value_parser = parse_subject)]
        snapshot: Subject,
        /// Only this path and what is beneath it
        #[arg(value_parser = EntryPathParser)]
        path: Option<EntryPathArg>,
    },
    /// Check that the store holds what was recorded
    Verify(VerifyArgs),
    /// Remove snapshots by rule, and what no snapshot needs
    Prune(PruneArgs),
    /// Remove snapshots, and what no other snapshot needs
    #[command(override_usage = RM_USAGE)]
    Rm(RmArgs),
    /// Keep snapshots from being removed by rm and prune
    Pin(PinArgs),
    /// Let rm and prune remove snapshots again
    Unpin(PinArgs),
    /// Give a series another name
    Rename(RenameArgs),
    /// Show what takes the space of the store
    Du {
        /// Only the stages and layers of SERIES; -v lists the layers
        series: Option<String>,
    },
    /// Take the images of an archive or a layout into the store
    Import(ImportArgs),
    /// Fetch an image of a registry into the store
    Pull(PullArgs),
    /// Send snapshots to a registry, with the layers that it lacks
    #[command(override_usage = PUSH_USAGE)]
    Push(PushArgs),
    /// Make one layer of all layers of a snapshot
    Squash(SquashArgs),
    /// Show what holds without options, and why
    Config {
        /// Series whose defaults to show
        series: Option<String>,
    },
}

impl Cli {
    /// Reads the command line. Prints the help or the fault of a wrong command line, and exits, instead of returning.
    pub fn read() -> Self {
        let command = Self::described();
        let read = command.try_get_matches().and_then(|matches| {
            let cli = Self::from_arg_matches(&matches)?;
            cli.check().map(|()| cli)
        });
        read.unwrap_or_else(|error| failure::exit_of_usage(error))
    }

    /// Tells of an error on stderr, with `--json` on stdout too, and returns the exit code.
    pub fn tell(&self, error: &Error) -> u8 {
        // The output of cat is no JSON.
        let is_json = self.json && !matches!(self.command, Command::Cat { .. });
        failure::tell(error, is_json)
    }

    /// Returns the definition of the command line, with all texts of the help.
    pub fn described() -> clap::Command {
        help::with_texts(Self::command())
    }

    /// Compares options with each other, as far as clap cannot. Fails with the first conflict.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        let conflict = match &self.command {
            Command::Snapshot { record, .. } => record.conflict(),
            Command::Export(args) => args.conflict(self.json),
            Command::Diff(args) => args.conflict(self.json),
            _ => None,
        };
        conflict.map_or(
            Ok(()),
            |(kind, text)| Err(Self::command().error(kind, text)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        cli.check().map(|()| cli)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_export_takes_a_snapshot_or_a_root_and_options_only_with_a_root() {
        assert!(parse("rootstrata export a@b -o x").is_ok());
        assert!(parse("rootstrata export --root /r -o x --series a --mtime fixed").is_ok());
        for line in [
            "export -o x",
            "export a",
            "export a --root /r -o x",
            "export a -o x --series b",
        ] {
            assert!(parse(&format!("rootstrata {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn stdout_takes_a_page_an_archive_or_json() {
        for line in ["diff a b --html - -q", "diff a b --html x --json"] {
            assert!(parse(&format!("rootstrata {line}")).is_ok(), "{line}");
        }
        assert!(parse("rootstrata diff a b --html - --json").is_err());
        for line in [
            "export a -o -",
            "export a -o - -q --stats",
            "export a -o x --json",
        ] {
            assert!(parse(&format!("rootstrata {line}")).is_ok(), "{line}");
        }
        for line in ["export a -o - --json", "export a -o - --format oci-dir"] {
            assert!(parse(&format!("rootstrata {line}")).is_err(), "{line}");
        }
    }
}
