//! The arguments of `log`, as clap reads them.

use crate::cli::parse::{EntryPathArg, EntryPathParser};
use crate::cli::query::args::parse_count;
use crate::model::labels::LabelPattern;
use crate::model::moment::Moment;
use crate::ops::query::filter::Filter;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only snapshots of SERIES, or of series that match a glob
    series: Option<String>,
    /// Only snapshots in which this path changed
    #[arg(value_parser = EntryPathParser, conflicts_with = "package")]
    pub path: Option<EntryPathArg>,
    /// Only snapshots in which this package changed, by name or glob
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Only the newest N
    #[arg(short = 'n', long = "max-count", value_name = "N", value_parser = parse_count)]
    most: Option<NonZeroUsize>,
    /// Only snapshots of a stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Only snapshots recorded from DAY on
    #[arg(long, value_name = "DAY", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Only snapshots of a run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Only snapshots with this label, KEY or KEY=VALUE
    #[arg(long = "label", value_name = "LABEL", value_parser = LabelPattern::parse)]
    labels: Vec<LabelPattern>,
    /// Also write FILE, a page for a browser: growth, layers, what changed when;
    /// - for stdout, instead of the text
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "package"])]
    pub html: Option<PathBuf>,
}

impl LogArgs {
    /// Returns the filter of the snapshots. A history counts changes, not snapshots.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            series: self.series.clone(),
            stage: self.stage.clone(),
            run: self.run.clone(),
            since: self.since.clone(),
            labels: self.labels.clone(),
            most: self.most.filter(|_| !self.is_history()),
        }
    }

    /// Returns how many changes are wanted.
    pub(crate) fn most_turns(&self) -> usize {
        self.most.map_or(usize::MAX, NonZeroUsize::get)
    }

    /// Tells whether changes of a path or a package are asked for.
    pub(crate) fn is_history(&self) -> bool {
        self.path.is_some() || self.package.is_some()
    }
}
