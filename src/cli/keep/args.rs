//! The arguments of the commands that keep a store, as clap reads them.

use crate::cli::context::Context;
use crate::cli::parse::{parse_repository, parse_snapshot};
use crate::cli::query::args::parse_count;
use crate::layer::codec::Compression;
use crate::model::keep::{Rules, parse_duration};
use crate::model::labels::LabelPattern;
use crate::model::names::SnapshotRef;
use crate::model::repository::Repository;
use crate::ops::keep::prune::{self, Selection};
use crate::ops::keep::squash;
use crate::ops::keep::verify;
use crate::ops::record::Options;
use crate::ops::remote::local_blobs;
use crate::ops::remote::prune as prune_registry;
use clap::Args;
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Series or snapshot to verify [default: the whole store]
    #[arg(value_name = "SERIES|SNAPSHOT", value_parser = parse_snapshot)]
    of: Option<SnapshotRef>,
    /// Read every blob, and compare what it holds
    #[arg(long)]
    deep: bool,
    /// Put right what the rest of the store tells, and remove dead blobs
    #[arg(long, conflicts_with = "of")]
    repair: bool,
}

impl VerifyArgs {
    pub(crate) fn request(&self) -> verify::Request {
        verify::Request {
            of: self.of.clone(),
            deep: self.deep,
            repair: self.repair,
        }
    }
}

/// A push that takes longer than a day is none that goes on.
const GRACE_S: i64 = 86_400;

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Keep the newest N snapshots
    #[arg(long, value_name = "N", value_parser = parse_count)]
    keep_last: Option<NonZeroUsize>,
    /// Keep the last snapshot of each of the newest N days that have one
    #[arg(long, value_name = "N", value_parser = parse_count)]
    keep_daily: Option<NonZeroUsize>,
    /// Keep the last snapshot of each of the newest N weeks that have one
    #[arg(long, value_name = "N", value_parser = parse_count)]
    keep_weekly: Option<NonZeroUsize>,
    /// Keep the last snapshot of each of the newest N months that have one
    #[arg(long, value_name = "N", value_parser = parse_count)]
    keep_monthly: Option<NonZeroUsize>,
    /// Keep the last snapshot of each of the newest N years that have one
    #[arg(long, value_name = "N", value_parser = parse_count)]
    keep_yearly: Option<NonZeroUsize>,
    /// Keep the snapshots of this time before the newest
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    keep_within: Option<i64>,
    /// Keep the snapshots with this label, KEY or KEY=VALUE
    #[arg(long, value_name = "LABEL", value_parser = LabelPattern::parse, conflicts_with = "registry")]
    keep_label: Vec<LabelPattern>,
    /// Leave the snapshots of all other series alone
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// Prune the repository docker://HOST/REPO, and not the store
    #[arg(long, value_name = "REPO", value_parser = parse_repository, conflicts_with = "no_wait")]
    registry: Option<Repository>,
    /// Remove files of layers that docker://HOST/REPO has, and no snapshot
    #[arg(long, value_name = "REPO", value_parser = parse_repository, conflicts_with = "registry")]
    local_blobs: Option<Repository>,
    /// Keep images with a tag that matches GLOB
    #[arg(
        long,
        value_name = "GLOB",
        requires = "registry",
        conflicts_with = "local_blobs"
    )]
    keep_tag: Vec<String>,
    /// Leave alone what pushes of this time before now name, or 0 [default: 1d]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = parse_grace,
        requires = "registry",
        conflicts_with = "local_blobs"
    )]
    grace: Option<i64>,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not wait for others who use the store
    #[arg(long)]
    no_wait: bool,
}

fn parse_grace(text: &str) -> Result<i64, String> {
    match text {
        "0" | "0s" | "0h" | "0d" => Ok(0),
        _ => parse_duration(text),
    }
}

impl PruneArgs {
    fn rules(&self) -> Rules {
        Rules {
            last: self.keep_last,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within_s: self.keep_within,
            labels: self.keep_label.clone(),
        }
    }

    /// Returns the prune of a repository, if one is asked for.
    pub(crate) fn of_registry(&self, context: &Context) -> Option<prune_registry::Request> {
        Some(prune_registry::Request {
            repository: self.registry.clone()?,
            rules: self.rules(),
            keep_tags: self.keep_tag.clone(),
            series: self.series.clone(),
            grace_s: self.grace.unwrap_or(GRACE_S),
            dry_run: self.dry_run,
            access: context.access.clone(),
            jobs: context.jobs,
        })
    }

    /// Returns the release of blobs to a repository, if one is asked for.
    pub(crate) fn of_local_blobs(&self, context: &Context) -> Option<local_blobs::Request> {
        Some(local_blobs::Request {
            repository: self.local_blobs.clone()?,
            rules: self.rules(),
            series: self.series.clone(),
            dry_run: self.dry_run,
            no_wait: self.no_wait,
            access: context.access.clone(),
            jobs: context.jobs,
        })
    }

    pub(crate) fn request(&self) -> prune::Request {
        prune::Request {
            selection: Selection::ByRules(self.rules(), self.series.clone()),
            dry_run: self.dry_run,
            patience: patience(self.no_wait),
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

pub(crate) const RM_USAGE: &str = concat!(
    "rootstrata rm [OPTIONS] <SNAPSHOT>...\n",
    "       rootstrata rm [OPTIONS] --series <NAME> [--stage <NAME>]",
);

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Snapshots to remove
    #[arg(value_parser = parse_snapshot, required_unless_present = "series", conflicts_with = "series")]
    snapshots: Vec<SnapshotRef>,
    /// Remove all snapshots of a series
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// With --series: remove those of a stage alone
    #[arg(
        long,
        value_name = "NAME",
        requires = "series",
        conflicts_with = "snapshots"
    )]
    stage: Option<String>,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not wait for others who use the store
    #[arg(long)]
    no_wait: bool,
}

impl RmArgs {
    pub(crate) fn request(&self) -> prune::Request {
        prune::Request {
            selection: match &self.series {
                Some(series) => Selection::OfSeries(series.clone(), self.stage.clone()),
                None => Selection::Named(self.snapshots.clone()),
            },
            dry_run: self.dry_run,
            patience: patience(self.no_wait),
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

fn patience(no_wait: bool) -> prune::Patience {
    if no_wait {
        prune::Patience::None
    } else {
        prune::Patience::Usual
    }
}

#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// Snapshots to pin, or to take the pin from
    #[arg(value_parser = parse_snapshot, required = true)]
    pub snapshots: Vec<SnapshotRef>,
}

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    /// Series to rename
    pub series: String,
    /// Name that no series has
    #[arg(value_name = "NEW")]
    pub new: String,
}

#[derive(Debug, Args)]
pub(crate) struct SquashArgs {
    /// Snapshot to squash; it stays, and the new one is of the same stage
    #[arg(value_parser = parse_snapshot)]
    snapshot: SnapshotRef,
    /// Compress the layer with zstd[:LEVEL], gzip[:LEVEL] or none [default:
    /// zstd:3]
    #[arg(long, value_name = "KIND", value_parser = Compression::parse)]
    compression: Option<Compression>,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl SquashArgs {
    pub(crate) fn request(&self) -> squash::Request {
        squash::Request {
            snapshot: self.snapshot.clone(),
            compression: self.compression.unwrap_or_default(),
            threads: self.threads.unwrap_or(Options::default().threads),
        }
    }
}
