//! The choice of snapshots for a question.

use crate::error::{Error, Result};
use crate::model::labels::LabelPattern;
use crate::model::moment::Moment;
use crate::model::policy::globs::NameGlob;
use crate::store::{Snapshot, Store};
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wanted snapshots; all, where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The name of the series, or a glob.
    pub series: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// The earliest moment of recording.
    pub since: Option<Moment>,
    /// The labels, all of them wanted.
    pub labels: Vec<LabelPattern>,
    /// The number of the newest among these snapshots.
    pub most: Option<NonZeroUsize>,
}

impl Filter {
    /// Returns those of all snapshots of a store that are left, in their order, the newest first. Fails with [`Error::UnknownSeries`] if none is
    /// of the series asked for, and with [`Error::BadGlob`] for a bad glob.
    pub(super) fn of(&self, store: &Store, all: &[Snapshot]) -> Result<Vec<Snapshot>> {
        let mut snapshots: Vec<&Snapshot> = all.iter().collect();
        if let Some(series) = &self.series {
            let glob = NameGlob::new(series)?;
            snapshots.retain(|one| glob.matches(&one.series));
            if snapshots.is_empty() {
                return Err(Error::UnknownSeries {
                    series: series.clone(),
                    store: store.path().to_owned(),
                });
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.unwrap_or_default().as_secs() as i64;
        let since_s = self.since.as_ref().map(|since| since.first_second(now_s));
        snapshots.retain(|one| {
            self.stage.as_ref().is_none_or(|stage| *stage == one.stage)
                && self.run.as_ref().is_none_or(|run| *run == one.run)
                && since_s.is_none_or(|since_s| one.created_s >= since_s)
                && self.labels.iter().all(|label| one.labels.has(label))
        });
        if let Some(most) = self.most {
            snapshots.truncate(most.get());
        }
        Ok(snapshots.into_iter().cloned().collect())
    }
}
