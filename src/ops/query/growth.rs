//! The bytes added by snapshots, by day and series.

use crate::ops::query::log::Logged;
use std::collections::BTreeMap;

const DAY_S: i64 = 86_400;

/// The snapshots of a series on a day of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DayOfSeries {
    /// The day, counted from 1970-01-01.
    pub day: i64,
    /// The series.
    pub series: String,
    /// The number of snapshots.
    pub snapshots: u64,
    /// The bytes of the layers written for them.
    pub new_bytes: u64,
}

/// Sums snapshots up: the newest day first, in a day by the name of the series. Removed snapshots are not counted.
pub(crate) fn growth(logged: &[Logged]) -> Vec<DayOfSeries> {
    let mut days: BTreeMap<(i64, &str), (u64, u64)> = BTreeMap::new();
    for one in logged {
        let day = one.snapshot.created_s.div_euclid(DAY_S);
        let sums = days.entry((-day, &one.snapshot.series)).or_default();
        sums.0 += 1;
        sums.1 += one.new_bytes();
    }
    let days = days.into_iter();
    days.map(|((day, series), (snapshots, new_bytes))| DayOfSeries {
        day: -day,
        series: series.to_owned(),
        snapshots,
        new_bytes,
    })
    .collect()
}
