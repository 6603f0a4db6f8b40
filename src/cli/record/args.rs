//! How a root is recorded, as clap reads the options.

use crate::cli::parse::{parse_repository, parse_snapshot};
use crate::layer::codec::Compression;
use crate::model::labels::{self, Labels, parse_label};
use crate::model::names::SnapshotRef;
use crate::model::plan::{LayerRule, MOST_LAYERS, OpenLimits};
use crate::model::policy::state::StateRule;
use crate::model::policy::{MtimeRule, Profile};
use crate::model::repository::Repository;
use crate::ops::record::Options;
use crate::ops::remote::known_layers::LayersFrom;
use crate::registry::Access;
use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches, ValueEnum};
use std::num::NonZeroUsize;

const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// How a root is recorded.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct RecordArgs {
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
    /// Plan the layers as an empty store would: equal trees give equal images
    #[arg(long, conflicts_with = "parent")]
    fresh: bool,
    /// Build that the snapshot is of [default: a new one for bootstrap, else
    /// the newest of the series if that lacks the stage]
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Say of the snapshot what log --label finds; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// What to leave out and to normalise: mock or plain [default: mock where
    /// ROOT has an rpm database]
    #[arg(long, value_name = "PROFILE", value_enum, hide_possible_values = true)]
    profile: Option<Profile>,
    /// Leave out what matches GLOB, and what is beneath it
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Put what matches GLOB into the state layer
    #[arg(long, value_name = "GLOB")]
    volatile: Vec<String>,
    /// Keep modification times of package files, of none (fixed), or all
    /// (keep) [default: package, and keep under plain]
    #[arg(
        long,
        value_name = "package|fixed|keep",
        value_enum,
        hide_possible_values = true
    )]
    mtime: Option<MtimeRule>,
    /// Time for files without one of their own, in seconds since 1970
    /// [default: $SOURCE_DATE_EPOCH, else 315619200]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    epoch: Option<i64>,
    /// Record volatile files as they are (recorded), or as they follow from the
    /// packages alone (normalized) [default: recorded]
    #[arg(
        long,
        value_name = "recorded|normalized",
        value_enum,
        hide_possible_values = true
    )]
    state: Option<StateRule>,
    /// Cut the tree into layers by stages or by packages[:N], with a layer of
    /// its own for each of the N largest packages [default: as the stage or
    /// series was before; at first packages where the mock profile finds an rpm
    /// database and --mtime is not keep, else stages; N: 60]
    #[arg(long, value_name = "RULE", value_parser = parse_rule)]
    layers: Option<LayerRule>,
    /// Compress new layers with zstd[:LEVEL], gzip[:LEVEL] or none [default:
    /// zstd:3]
    #[arg(long, value_name = "KIND", value_parser = Compression::parse)]
    compression: Option<Compression>,
    /// Make a base or delta anew when its updates would be more than PERCENT of it
    /// [default: 30; 100 with layers by package]
    #[arg(long, value_name = "PERCENT")]
    rebase_update: Option<u64>,
    /// Make a base or delta anew when more than PERCENT of it is no longer used
    /// [default: 25]
    #[arg(long, value_name = "PERCENT")]
    rebase_dead: Option<u64>,
    /// Take layers that docker://HOST/REPO has from there, unpacked and unfetched
    #[arg(long, value_name = "REPO", value_parser = parse_repository)]
    from: Option<Repository>,
    /// Push the snapshot to docker://HOST/REPO
    #[arg(long, value_name = "REPO", value_parser = parse_repository)]
    pub to: Option<Repository>,
    /// Go on without the registry where it is in trouble
    #[arg(long)]
    pub registry_optional: bool,
    /// Work on N threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// How a root is recorded by itself: an export has a limit of its own for the layers of the image.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    record: RecordArgs,
    /// Make a base or delta anew when the image would have more than N layers
    /// [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_layers)]
    max_layers: Option<usize>,
}

impl SnapshotArgs {
    /// Returns the fault of the environment for these options, if any.
    pub(crate) fn conflict(&self) -> Option<(ErrorKind, &'static str)> {
        self.record.conflict()
    }

    /// Returns the options that a recording by itself shares with an export.
    pub(crate) fn record(&self) -> &RecordArgs {
        &self.record
    }

    /// Returns the wishes of `record`, the options with the defaults of the series.
    pub(crate) fn options(
        &self,
        record: &RecordArgs,
        access: &Access,
        jobs: NonZeroUsize,
    ) -> Options {
        let mut options = record.options(access, jobs);
        if let Some(most) = self.max_layers {
            options.limits.most_layers = Some(most);
        }
        options
    }
}

/// Reads a limit of layers, at least four: base, update, delta and state.
fn parse_layers(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (4..=MOST_LAYERS).contains(number));
    number.ok_or_else(|| format!("expected a number from 4 to {MOST_LAYERS}"))
}

impl RecordArgs {
    /// Returns the fault of the environment for these options, if any.
    pub(crate) fn conflict(&self) -> Option<(ErrorKind, &'static str)> {
        if self.labels.len() > labels::MOST {
            let text = "a snapshot has at most 64 labels";
            return Some((ErrorKind::TooManyValues, text));
        }
        let is_unfit = self.epoch.is_none() && epoch_of_environment() == Some(None);
        let text = "SOURCE_DATE_EPOCH is not a number of seconds";
        is_unfit.then_some((ErrorKind::InvalidValue, text))
    }

    /// Reads words as options. Fails with the fault of a word.
    pub(crate) fn from_words(words: &[String]) -> Result<Self, String> {
        let command = clap::Command::new("rootstrata").no_binary_name(true);
        let matches = Self::augment_args(command).try_get_matches_from(words);
        let read = matches.and_then(|matches| Self::from_arg_matches(&matches));
        read.map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })
    }

    /// Returns the named series.
    pub(crate) fn series(&self) -> Option<&str> {
        self.series.as_deref()
    }

    /// Returns the options, with defaults in the place of missing options. Globs of both count.
    pub(crate) fn with_defaults(self, defaults: Self) -> Self {
        let both = |first: Vec<String>, then: Vec<String>| [first, then].concat();
        Self {
            profile: self.profile.or(defaults.profile),
            mtime: self.mtime.or(defaults.mtime),
            layers: self.layers.or(defaults.layers),
            state: self.state.or(defaults.state),
            compression: self.compression.or(defaults.compression),
            exclude: both(defaults.exclude, self.exclude),
            volatile: both(defaults.volatile, self.volatile),
            from: self.from.or(defaults.from),
            to: self.to.or(defaults.to),
            registry_optional: self.registry_optional || defaults.registry_optional,
            ..self
        }
    }

    /// Returns how many threads work.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads.unwrap_or(Options::default().threads)
    }

    fn limits(&self) -> OpenLimits {
        OpenLimits {
            update_percent: self.rebase_update,
            dead_percent: self.rebase_dead,
            most_layers: None,
        }
    }

    pub(crate) fn options(&self, access: &Access, jobs: NonZeroUsize) -> Options {
        let from = self.from.clone().map(|repository| LayersFrom {
            repository,
            access: access.clone(),
            jobs,
            is_optional: self.registry_optional,
        });
        let defaults = Options::default();
        Options {
            series: self.series.clone(),
            stage: self.stage.clone(),
            parent: self.parent.clone(),
            fresh: self.fresh,
            run: self.run.clone(),
            labels: Labels::new(self.labels.iter().cloned()).unwrap_or_default(),
            profile: self.profile,
            exclude: self.exclude.clone(),
            volatile: self.volatile.clone(),
            mtime: self.mtime,
            epoch_s: self.epoch.or_else(|| epoch_of_environment().flatten()),
            state: self.state.unwrap_or_default(),
            rule: self.layers,
            limits: self.limits(),
            from,
            compression: self.compression.unwrap_or(defaults.compression),
            threads: self.threads(),
        }
    }
}

/// Returns the number in the environment: `None` without the variable, `Some(None)` for a text that is no number.
fn epoch_of_environment() -> Option<Option<i64>> {
    let value = std::env::var_os(EPOCH_VARIABLE)?;
    if value.is_empty() {
        return None;
    }
    let Some(text) = value.to_str() else {
        return Some(None);
    };
    Some(text.trim().parse().ok())
}

/// Reads a repository without a tag.
fn parse_rule(text: &str) -> Result<LayerRule, String> {
    let rule = LayerRule::parse(text);
    rule.ok_or_else(|| "expected stages, packages or packages:N, with N from 1 to 90".to_owned())
}

impl ValueEnum for Profile {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Mock, Self::Plain]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for MtimeRule {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Package, Self::Fixed, Self::Keep]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for StateRule {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Recorded, Self::Normalized]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}
