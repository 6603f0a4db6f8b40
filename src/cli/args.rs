//! What can be asked for, as clap reads it.

use super::args_keep::{
    IMPORT_HELP, ImportArgs, PRUNE_HELP, PruneArgs, SquashArgs, VERIFY_HELP, VerifyArgs,
};
use super::args_query::{DIFF_HELP, DiffArgs, FIND_HELP, FIND_USAGE, FindArgs};
use super::own_output;
use super::paint::When;
use super::restore::{HELP as RESTORE_HELP, RestoreArgs};
use crate::layer::codec::Compression;
use crate::model::names::SnapshotRef;
use crate::model::plan::{Limits, MOST_LAYERS};
use crate::model::policy::{MtimeRule, Profile};
use crate::model::tree::path::EntryPath;
use crate::ops::record::Options;
use crate::ops::transfer::export::{Format, Request};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

const GLOBAL: &str = "Global options";

/// Record Mock chroots stage by stage, and export them as OCI base and delta layers
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Keep snapshots in DIR [default: /var/lib/rootstrata for root, else
    /// $XDG_STATE_HOME/rootstrata] [env: ROOTSTRATA_STORE]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub(super) store: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) json: bool,
    /// Print on stderr what the work took
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) stats: bool,
    /// Print neither progress nor results; JSON, warnings and errors stay
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(super) quiet: bool,
    /// Print more of each layer
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = GLOBAL)]
    pub(super) verbose: bool,
    /// Use colours: auto, always or never [default: auto, on a terminal]
    #[arg(long, global = true, value_name = "WHEN", value_parser = When::parse, help_heading = GLOBAL)]
    pub(super) color: Option<When>,
    /// Do not run a pager on a terminal
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) no_pager: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
SNAPSHOT is SERIES, SERIES@STAGE, either with ~N for the Nth before, or a
number that `rootstrata log` shows.

Exit status: 0 done, 1 a difference was found, or nothing, 2 trouble, 75 the
store is locked.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Record a root directory as a snapshot
    Snapshot {
        /// Root directory, such as /var/lib/mock/fedora-rawhide-x86_64/root
        root: PathBuf,
        #[command(flatten)]
        record: RecordArgs,
    },
    /// Write a snapshot as an OCI image
    Export(ExportArgs),
    /// List snapshots, the newest first
    Log {
        /// Only those of SERIES
        series: Option<String>,
    },
    /// Show a snapshot's layers, packages and policy
    Show {
        /// Snapshot to show
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
    },
    /// Show what differs between two snapshots, directories or images
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Show why each layer of a snapshot was written or reused
    Explain {
        /// Snapshot to explain
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
    },
    /// Show whose a path is, which layer gives it, and since when it is so
    Which {
        /// Snapshot to look into
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
        /// Path in it
        #[arg(value_parser = EntryPathParser)]
        path: EntryPathArg,
    },
    /// List the snapshots that hold a content, a path or a package
    #[command(after_help = FIND_HELP, override_usage = FIND_USAGE)]
    Find(FindArgs),
    /// Write a file's content to stdout, out of its layer
    Cat {
        /// Snapshot to look into
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
        /// Path of a file in it
        #[arg(value_parser = EntryPathParser)]
        path: EntryPathArg,
    },
    /// Make a directory hold what a snapshot does
    #[command(after_help = RESTORE_HELP)]
    Restore(RestoreArgs),
    /// List a snapshot's entries as recorded
    Ls {
        /// Snapshot to list
        #[arg(value_parser = parse_snapshot)]
        snapshot: SnapshotRef,
        /// Only this path and what is beneath it
        #[arg(value_parser = EntryPathParser)]
        path: Option<EntryPathArg>,
    },
    /// Check that the store holds what was recorded
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Remove snapshots by rule, and what no snapshot needs
    #[command(after_help = PRUNE_HELP)]
    Prune(PruneArgs),
    /// Show what takes the space of the store
    Du {
        /// Only the stages and layers of SERIES; -v lists the layers
        series: Option<String>,
    },
    /// Take the images of an archive or a layout into the store
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Make one layer of all layers of a snapshot
    Squash(SquashArgs),
}

/// How a root is recorded.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(super) struct RecordArgs {
    /// Series that the snapshot continues [default: the name of ROOT's Mock
    /// directory]
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// Stage of the build that ROOT is at [default: bootstrap; with --run, the
    /// first of bootstrap, deps-installed and built that the run lacks]
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Plan the layers over this snapshot [default: the stage before]
    #[arg(long, value_name = "SNAPSHOT", value_parser = parse_snapshot)]
    parent: Option<SnapshotRef>,
    /// Build that the snapshot is of [default: a new one for bootstrap, else
    /// the newest of the series if that lacks the stage]
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// What to leave out and to normalise: mock or plain [default: mock where
    /// ROOT has an rpm database]
    #[arg(long, value_name = "PROFILE", value_parser = parse_profile)]
    profile: Option<Profile>,
    /// Leave out what matches GLOB, and what is beneath it
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Put what matches GLOB into the state layer
    #[arg(long, value_name = "GLOB")]
    volatile: Vec<String>,
    /// Keep modification times of package files, of none (fixed), or all
    /// (keep) [default: package, and keep under plain]
    #[arg(long, value_name = "package|fixed|keep", value_parser = parse_mtime)]
    mtime: Option<MtimeRule>,
    /// Time for files without one of their own, in seconds since 1970
    /// [default: $SOURCE_DATE_EPOCH, else 315619200]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    epoch: Option<i64>,
    /// Compress new layers with zstd[:LEVEL], gzip[:LEVEL] or none [default:
    /// zstd:3]
    #[arg(long, value_name = "KIND", value_parser = Compression::parse)]
    compression: Option<Compression>,
    /// Make a base or delta anew when its updates would be more than PERCENT of it
    /// [default: 30]
    #[arg(long, value_name = "PERCENT")]
    rebase_update: Option<u64>,
    /// Make a base or delta anew when more than PERCENT of it is no longer used
    /// [default: 25]
    #[arg(long, value_name = "PERCENT")]
    rebase_dead: Option<u64>,
    /// Make a base or delta anew when the image would have more than N layers
    /// [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_layers)]
    max_layers: Option<usize>,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Snapshot to export
    #[arg(value_parser = parse_snapshot, required_unless_present = "root")]
    snapshot: Option<SnapshotRef>,
    /// Record ROOT first, with the options of `rootstrata snapshot`
    #[arg(long, value_name = "ROOT", conflicts_with = "snapshot")]
    pub(super) root: Option<PathBuf>,
    /// File or directory to write; - for an archive on stdout
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Form of the image: oci-archive, one tar file, or oci-dir, a layout
    /// [default: oci-archive]
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    format: Option<Format>,
    /// Add an image for each other stage of the run
    #[arg(long)]
    all_stages: bool,
    /// Leave out the blobs that SNAPSHOT has, for a place that has them
    #[arg(long, value_name = "SNAPSHOT", value_parser = parse_snapshot)]
    since: Option<SnapshotRef>,
    #[command(flatten, next_help_heading = "Options with --root")]
    pub(super) record: RecordArgs,
}

/// A path as the user gave it.
#[derive(Clone, Debug)]
pub(super) struct EntryPathArg(EntryPath);

impl EntryPathArg {
    pub(super) fn path(&self) -> EntryPath {
        self.0.clone()
    }
}

impl Cli {
    /// Reads the command line; prints help or what is wrong with it, and exits, where that is all there is to do.
    pub fn read() -> Self {
        let cli = Self::parse();
        if let Err(error) = cli.check() {
            error.exit();
        }
        cli
    }

    /// What clap cannot say: the options of `snapshot` need something to record, and stdout takes one thing.
    fn check(&self) -> Result<(), clap::Error> {
        let fail = |kind, text: &str| Err(Self::command().error(kind, text));
        if let Command::Export(args) = &self.command
            && args.root.is_none()
            && args.record != RecordArgs::default()
        {
            let text = "options that say how to record need --root; a snapshot is exported as it was recorded";
            return fail(ErrorKind::ArgumentConflict, text);
        }
        if let Command::Diff(args) = &self.command
            && self.json
            && args.html.as_deref().is_some_and(own_output::is_named_by)
        {
            return fail(
                ErrorKind::ArgumentConflict,
                "stdout takes the page or the JSON, not both",
            );
        }
        if let Command::Export(args) = &self.command
            && own_output::is_named_by(&args.output)
        {
            if args.format == Some(Format::OciDir) {
                return fail(
                    ErrorKind::ArgumentConflict,
                    "stdout takes an oci-archive; an oci-dir is a directory",
                );
            }
            if self.json {
                return fail(
                    ErrorKind::ArgumentConflict,
                    "stdout takes the archive or the JSON, not both",
                );
            }
        }
        let record = match &self.command {
            Command::Snapshot { record, .. } => Some(record),
            Command::Export(args) => args.root.as_ref().map(|_| &args.record),
            _ => None,
        };
        match record {
            Some(record) if record.epoch.is_none() && epoch_of_environment() == Some(None) => fail(
                ErrorKind::InvalidValue,
                "SOURCE_DATE_EPOCH is not a number of seconds",
            ),
            _ => Ok(()),
        }
    }
}

impl RecordArgs {
    pub(super) fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            series: self.series.clone(),
            stage: self.stage.clone(),
            parent: self.parent.clone(),
            run: self.run.clone(),
            profile: self.profile,
            exclude: self.exclude.clone(),
            volatile: self.volatile.clone(),
            mtime: self.mtime,
            epoch_s: self.epoch.or_else(|| epoch_of_environment().flatten()),
            limits: Limits {
                update_percent: self.rebase_update.unwrap_or(defaults.limits.update_percent),
                dead_percent: self.rebase_dead.unwrap_or(defaults.limits.dead_percent),
                most_layers: self.max_layers.unwrap_or(defaults.limits.most_layers),
            },
            compression: self.compression.unwrap_or(defaults.compression),
            threads: self.threads.unwrap_or(defaults.threads),
        }
    }
}

impl ExportArgs {
    /// What is to be exported; with a root, the snapshot is still to be made, and has no number yet.
    pub(super) fn request(&self) -> Request {
        Request {
            snapshot: self.snapshot.clone().unwrap_or(SnapshotRef::Id(0)),
            path: self.output.clone(),
            stream: own_output::is_named_by(&self.output)
                .then(own_output::file)
                .flatten()
                .map(Arc::new),
            format: self.format.unwrap_or_default(),
            all_stages: self.all_stages,
            since: self.since.clone(),
        }
    }
}

/// `None` where the variable is not set, or empty; `Some(None)` where it is no number.
fn epoch_of_environment() -> Option<Option<i64>> {
    let value = std::env::var_os(EPOCH_VARIABLE).filter(|value| !value.is_empty())?;
    Some(value.to_str().and_then(|text| text.trim().parse().ok()))
}

pub(super) fn parse_snapshot(text: &str) -> Result<SnapshotRef, String> {
    SnapshotRef::parse(text).map_err(|_| "expected a number or SERIES[@STAGE][~N]".to_owned())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    let all = [Profile::Mock, Profile::Plain];
    all.into_iter()
        .find(|profile| profile.name() == text)
        .ok_or_else(|| "expected mock or plain".to_owned())
}

fn parse_mtime(text: &str) -> Result<MtimeRule, String> {
    let all = [MtimeRule::Package, MtimeRule::Fixed, MtimeRule::Keep];
    all.into_iter()
        .find(|rule| rule.name() == text)
        .ok_or_else(|| "expected package, fixed or keep".to_owned())
}

/// Base, update, delta and state are four.
fn parse_layers(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (4..=MOST_LAYERS).contains(number));
    number.ok_or_else(|| format!("expected a number from 4 to {MOST_LAYERS}"))
}

fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "oci-archive" => Ok(Format::OciArchive),
        "oci-dir" => Ok(Format::OciDir),
        _ => Err("expected oci-archive or oci-dir".to_owned()),
    }
}

/// Paths are bytes, which clap's own parsers for text do not take.
#[derive(Clone)]
struct EntryPathParser;

impl clap::builder::TypedValueParser for EntryPathParser {
    type Value = EntryPathArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<EntryPathArg, clap::Error> {
        let path = EntryPath::from_slashed(value.as_bytes()).map(EntryPathArg);
        path.ok_or_else(|| {
            command.clone().error(
                ErrorKind::InvalidValue,
                "a path in a snapshot has no .. in it",
            )
        })
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

    #[test]
    fn help_fits_eighty_columns() {
        let mut command = Cli::command();
        command.build();
        let subcommands: Vec<String> = command
            .get_subcommands()
            .map(|c| c.get_name().to_owned())
            .collect();
        for name in subcommands.into_iter().filter(|name| name != "help") {
            let help = command
                .find_subcommand_mut(&name)
                .unwrap()
                .render_long_help()
                .to_string();
            let longest = help.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(80), "{name}: {longest:?}\n{help}");
        }
    }
}
