//! The stage of a new snapshot: series, stage and run, as asked for or as the store suggests.

use crate::error::{Error, Result};
use crate::fs::root::Root;
use crate::model::digest::PolicyKey;
use crate::model::names::{BOOTSTRAP, STAGES, check_name, check_series, series_from};
use crate::ops::record::options::Options;
use crate::store::{Snapshot, Store};
use std::path::Path;

/// The place of a new snapshot among the others.
#[derive(Debug)]
pub(super) struct StageSlot {
    pub series: String,
    pub stage: String,
    /// `None` for a new run.
    pub run: Option<String>,
}

impl StageSlot {
    /// Finds the stage and the run. Fails with [`Error::NoStageName`] if no stage was asked for and the run has all of the
    /// usual stages, and if the store cannot be read.
    pub(super) fn find(store: &Store, series: &str, options: &Options) -> Result<Self> {
        let series = series.to_owned();
        let run = options.run.clone();
        let of_run = match &run {
            Some(run) => store.snapshots_of_run(&series, run)?,
            None => Vec::new(),
        };
        let stage = match &options.stage {
            Some(stage) => stage.clone(),
            None => next_stage(&series, run.as_deref(), &of_run)?,
        };
        let run = match run {
            None if stage != BOOTSTRAP => open_run(store, &series, &stage)?,
            run => run,
        };
        Ok(Self { series, stage, run })
    }

    /// Tells whether `snapshot` is of the stage, recorded under `policy`.
    pub(super) fn holds(&self, snapshot: &Snapshot, policy: &PolicyKey) -> bool {
        snapshot.policy_key == *policy
            && snapshot.series == self.series
            && snapshot.stage == self.stage
    }
}

/// Checks the names in `options` before anything is opened. Fails with the first malformed name.
pub(super) fn check_names(options: &Options) -> Result<()> {
    if let Some(series) = &options.series {
        check_series(series)?;
    }
    if let Some(stage) = &options.stage {
        check_name("stage", stage)?;
    }
    if let Some(run) = &options.run {
        check_name("run", run)?;
    }
    Ok(())
}

/// Returns the series asked for, or the name of the root: Mock's chroots are at `…/CONFIGURATION/root`. Fails with
/// [`Error::NoSeriesName`] if the path gives no name.
pub(super) fn series_of(root: &Root, options: &Options) -> Result<String> {
    if let Some(series) = &options.series {
        return Ok(series.clone());
    }
    series_at(root.path())
}

/// Returns the default series of a root. Fails with [`Error::NoSeriesName`] if the path gives no name, and if
/// there is no such path.
pub(crate) fn name_of_series(root: &Path) -> Result<String> {
    let path = std::fs::canonicalize(root).map_err(Error::io("open", root))?;
    series_at(&path)
}

fn series_at(path: &Path) -> Result<String> {
    let named = if path.file_name().is_some_and(|name| name == "root") {
        path.parent()
    } else {
        Some(path)
    };
    let name = named
        .and_then(|path| path.file_name())
        .and_then(|name| series_from(&name.to_string_lossy()));
    name.ok_or_else(|| Error::NoSeriesName(path.to_owned()))
}

/// The first of the usual stages missing from the run.
fn next_stage(series: &str, run: Option<&str>, of_run: &[Snapshot]) -> Result<String> {
    let is_new = |stage: &&&str| !of_run.iter().any(|snapshot| snapshot.stage == ***stage);
    STAGES
        .iter()
        .find(is_new)
        .map(|stage| (*stage).to_owned())
        .ok_or_else(|| Error::NoStageName {
            series: series.to_owned(),
            run: run.unwrap_or_default().to_owned(),
        })
}

/// The newest run of the series, if without `stage`.
fn open_run(store: &Store, series: &str, stage: &str) -> Result<Option<String>> {
    let Some(newest) = store.latest(series)? else {
        return Ok(None);
    };
    let of_run = store.snapshots_of_run(series, &newest.run)?;
    let has_stage = of_run.iter().any(|snapshot| snapshot.stage == stage);
    Ok((!has_stage).then_some(newest.run))
}
