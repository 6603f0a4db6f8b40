//! The rules that keep snapshots in a store.
//!
//! Pure. The rules of restic and borg: each rule names snapshots to keep, and a snapshot named by any rule stays. The rules
//! apply to each stage of each series by itself, so no stage pushes another out. Days are of UTC. Ages count from the
//! newest snapshot of the stage, not from today: a series that nobody builds any more keeps all snapshots, and the newest
//! snapshot of a stage always stays. The newest snapshot was recorded last, even if the clock had gone back; a time that
//! contradicts the order of recording does not count.

use crate::model::labels::{LabelPattern, Labels};
use crate::model::time::date;
use crate::printable::printable;
use std::collections::HashMap;
use std::num::NonZeroUsize;

const DAY_S: i64 = 86_400;

/// The snapshots to keep; without a rule, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// So many of the newest snapshots.
    pub last: Option<NonZeroUsize>,
    /// The last snapshot of each of so many of the newest days with snapshots.
    pub daily: Option<NonZeroUsize>,
    /// The same of weeks, which begin on Mondays.
    pub weekly: Option<NonZeroUsize>,
    /// The same of months.
    pub monthly: Option<NonZeroUsize>,
    /// The same of years.
    pub yearly: Option<NonZeroUsize>,
    /// The snapshots up to this age, in seconds.
    pub within_s: Option<i64>,
    /// The snapshots with a label of one of these.
    pub labels: Vec<LabelPattern>,
}

impl Rules {
    /// Tells whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The facts of a snapshot for the rules.
#[derive(Clone, Copy, Debug)]
pub struct Dated<'a> {
    /// The number; a later snapshot has a greater number.
    pub id: i64,
    /// Series and stage.
    pub of: (&'a str, &'a str),
    /// The time of the recording, in seconds since 1970.
    pub created_s: i64,
    /// What its user says of the snapshot.
    pub labels: Option<&'a Labels>,
    /// Whether the snapshot stays, whatever the rules.
    pub is_pinned: bool,
}

/// A rule that keeps a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason {
    Last,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    Within,
    Label,
    Pinned,
    /// It is the newest of its stage.
    Newest,
    /// There is no rule.
    Unasked,
}

impl Reason {
    /// Returns the name of the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Label => "label",
            Self::Pinned => "pinned",
            Self::Newest => "newest",
            Self::Unasked => "no rule",
        }
    }
}

/// Returns the rules that keep each snapshot, in the order of `snapshots`; a snapshot without a rule is to be removed. `now_s` is
/// in seconds since 1970.
pub fn kept(rules: &Rules, snapshots: &[Dated], now_s: i64) -> Vec<Vec<Reason>> {
    if rules.is_empty() {
        return vec![vec![Reason::Unasked]; snapshots.len()];
    }
    let mut stages: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (at, snapshot) in snapshots.iter().enumerate() {
        stages.entry(snapshot.of).or_default().push(at);
    }
    let mut reasons = vec![Vec::new(); snapshots.len()];
    let mut newest: Vec<usize> = Vec::new();
    for mut of_stage in stages.into_values() {
        // By number, since the clock may have gone back.
        of_stage.sort_by_key(|at| std::cmp::Reverse(snapshots[*at].id));
        newest.extend(of_stage.first());
        let claimed: Vec<i64> = of_stage.iter().map(|at| snapshots[*at].created_s).collect();
        let times = times(&claimed, now_s);
        for (at, of_one) in of_stage.into_iter().zip(kept_of_stage(rules, &times)) {
            reasons[at] = of_one;
        }
    }
    for (reasons, snapshot) in reasons.iter_mut().zip(snapshots) {
        let has = |pattern| snapshot.labels.is_some_and(|labels| labels.has(pattern));
        if rules.labels.iter().any(has) {
            reasons.push(Reason::Label);
        }
        if snapshot.is_pinned {
            reasons.push(Reason::Pinned);
        }
    }
    for at in newest {
        if reasons[at].is_empty() {
            reasons[at].push(Reason::Newest);
        }
    }
    reasons
}

/// Returns the rules that keep each snapshot of a stage. `times` are in seconds since 1970, of the newest snapshot first.
fn kept_of_stage(rules: &Rules, times: &[i64]) -> Vec<Vec<Reason>> {
    let newest = times.first().copied().unwrap_or_default();
    let most_last = rules.last.map_or(0, NonZeroUsize::get);
    let mut periods = [
        Periods::of(Reason::Daily, rules.daily, |day| day),
        // Day 0 was a Thursday.
        Periods::of(Reason::Weekly, rules.weekly, |day| (day + 3).div_euclid(7)),
        Periods::of(Reason::Monthly, rules.monthly, |day| {
            let (year, month, _) = date(day);
            year * 12 + month
        }),
        Periods::of(Reason::Yearly, rules.yearly, |day| date(day).0),
    ];
    let mut reasons = Vec::with_capacity(times.len());
    for (number, time) in times.iter().enumerate() {
        let mut of_one = Vec::new();
        if number < most_last {
            of_one.push(Reason::Last);
        }
        let day = time.div_euclid(DAY_S);
        let of_periods = periods.iter_mut().filter_map(|periods| periods.reason(day));
        of_one.extend(of_periods);
        let age_s = newest.saturating_sub(*time);
        if rules.within_s.is_some_and(|within_s| age_s <= within_s) {
            of_one.push(Reason::Within);
        }
        reasons.push(of_one);
    }
    reasons
}

/// The newest periods of a kind that have a snapshot.
struct Periods {
    reason: Reason,
    most: usize,
    /// Returns the period of a day; days count from 1970-01-01.
    period: fn(i64) -> i64,
    seen: Vec<i64>,
}

impl Periods {
    fn of(reason: Reason, most: Option<NonZeroUsize>, period: fn(i64) -> i64) -> Self {
        Self {
            reason,
            most: most.map_or(0, NonZeroUsize::get),
            period,
            seen: Vec::new(),
        }
    }

    /// Returns the reason to keep the next older snapshot, of this day.
    fn reason(&mut self, day: i64) -> Option<Reason> {
        let period = (self.period)(day);
        let is_next = self.seen.len() < self.most && !self.seen.contains(&period);
        is_next.then(|| {
            self.seen.push(period);
            self.reason
        })
    }
}

/// Returns the times that count in place of the claimed times, both of the newest snapshot first.
///
/// Times that follow the order of recording count: as many times as possible, and of several such choices the choice of later
/// recordings. A time after now does not count. In place of such a time comes the time of the next later snapshot with a time that
/// counts, or without a later snapshot of the last before.
fn times(claimed: &[i64], now_s: i64) -> Vec<i64> {
    let mut followed = in_order(claimed, |time| time <= now_s);
    if !followed.contains(&true) {
        followed = in_order(claimed, |_| true); // of a clock that is behind by now
    }
    let first = claimed
        .iter()
        .zip(&followed)
        .find(|(_, is_followed)| **is_followed);
    let mut last = first.map_or(now_s, |(time, _)| *time);
    let count = |(time, is_followed): (&i64, bool)| {
        if is_followed {
            last = *time;
        }
        last
    };
    claimed.iter().zip(followed).map(count).collect()
}

/// Finds the longest part of the `times` that count, the newest first, in which no time is later than the time before.
fn in_order(times: &[i64], counts: impl Fn(i64) -> bool) -> Vec<bool> {
    // From the oldest on: the earliest end of a part of each length, and for each time the time before in the same part.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; times.len()];
    for (at, time) in times
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, time)| counts(**time))
    {
        let length = ends.partition_point(|end| times[*end] <= *time);
        before[at] = length.checked_sub(1).map(|last| ends[last]);
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut is_in = vec![false; times.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        is_in[at] = true;
        next = before[at];
    }
    is_in
}

/// Reads a duration such as `14d`, `6m` or `1y6m`: years of 365 days, months of 31, weeks, days, hours. Returns seconds. Fails
/// with the expected form if a number or a unit is missing, or the sum is 0 or too large.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let bad = || {
        format!(
            "expected such as 12h, 14d, 2w, 6m or 1y6m, not {}",
            printable(text.as_bytes())
        )
    };
    let mut sum: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = match rest[digits..].chars().next() {
            Some('y') => 365 * DAY_S,
            Some('m') => 31 * DAY_S,
            Some('w') => 7 * DAY_S,
            Some('d') => DAY_S,
            Some('h') => 3_600,
            _ => return Err(bad()),
        };
        sum = number
            .checked_mul(unit)
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    if sum > 0 { Ok(sum) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 10_000 * 3_600;

    fn rules(last: usize, daily: usize, within_s: Option<i64>) -> Rules {
        Rules {
            last: NonZeroUsize::new(last),
            daily: NonZeroUsize::new(daily),
            within_s,
            ..Rules::default()
        }
    }

    /// The places that stay, of snapshots of one stage at these hours, the oldest first.
    fn stay(rules: Rules, hours: &[i64]) -> Vec<usize> {
        let dated = |(at, hour): (usize, &i64)| Dated {
            id: at as i64 + 1,
            of: ("s", "bootstrap"),
            created_s: hour * 3_600,
            labels: None,
            is_pinned: false,
        };
        let all: Vec<Dated> = hours.iter().enumerate().map(dated).collect();
        let kept = kept(&rules, &all, NOW_S);
        (0..all.len()).filter(|at| !kept[*at].is_empty()).collect()
    }

    #[test]
    fn without_a_rule_everything_stays() {
        assert_eq!(stay(Rules::default(), &[1, 2, 3]), [0, 1, 2]);
    }

    #[test]
    fn what_any_rule_keeps_stays() {
        let hours = [1, 25, 26, 49, 50, 51, 75];
        assert_eq!(stay(rules(2, 0, None), &hours), [5, 6]);
        assert_eq!(stay(rules(0, 3, None), &hours), [2, 5, 6]);
        assert_eq!(stay(rules(0, 0, Some(26 * 3_600)), &hours), [3, 4, 5, 6]);
        assert_eq!(stay(rules(1, 2, Some(25 * 3_600)), &hours), [4, 5, 6]);
    }

    #[test]
    fn weeks_months_and_years_keep_their_last() {
        let days: Vec<i64> = vec![0, 3, 4, 10, 30, 31, 58, 364, 365];
        let hours: Vec<i64> = days.iter().map(|day| day * 24).collect();
        let by = |set: fn(&mut Rules)| {
            let mut rules = Rules::default();
            set(&mut rules);
            let staying = stay(rules, &hours);
            staying.into_iter().map(|at| days[at]).collect::<Vec<i64>>()
        };
        // 1970-01-01 was a Thursday: days 0 to 3 are the first week; February begins on day 31, 1971 on day 365.
        assert_eq!(
            by(|rules| rules.weekly = NonZeroUsize::new(100)),
            [3, 10, 31, 58, 365]
        );
        assert_eq!(
            by(|rules| rules.monthly = NonZeroUsize::new(100)),
            [30, 58, 364, 365]
        );
        assert_eq!(
            by(|rules| rules.yearly = NonZeroUsize::new(100)),
            [364, 365]
        );
        assert_eq!(by(|rules| rules.monthly = NonZeroUsize::new(2)), [364, 365]);
    }

    #[test]
    fn pins_and_labels_keep_what_no_other_rule_does() {
        let labels = Labels::new([("task".to_owned(), "7".to_owned())]).unwrap();
        let of = |id, labelled, is_pinned| Dated {
            id,
            of: ("a", "b"),
            created_s: 0,
            labels: if labelled { Some(&labels) } else { None },
            is_pinned,
        };
        let all = [
            of(4, false, false),
            of(3, true, false),
            of(2, false, true),
            of(1, false, false),
        ];
        let mut rules = rules(1, 0, None);
        rules.labels = vec![LabelPattern::parse("task").unwrap()];
        let reasons = kept(&rules, &all, 0);
        assert_eq!(
            reasons,
            [
                vec![Reason::Last],
                vec![Reason::Label],
                vec![Reason::Pinned],
                vec![]
            ]
        );
        rules.labels = vec![LabelPattern::parse("task=8").unwrap()];
        assert_eq!(kept(&rules, &all, 0)[1], []);
        rules.last = None;
        let reasons = kept(&rules, &all, 0);
        assert_eq!((&reasons[0], &reasons[1]), (&vec![Reason::Newest], &vec![]));
        assert_eq!(kept(&Rules::default(), &all, 0)[3], [Reason::Unasked]);
    }

    #[test]
    fn the_newest_of_each_stage_stays_however_old_it_is() {
        let of = |stage, id, created_s| Dated {
            id,
            of: ("s", stage),
            created_s,
            labels: None,
            is_pinned: false,
        };
        let all = [
            of("built", 1, 0),
            of("bootstrap", 2, 9_000_000),
            of("bootstrap", 3, 9_500_000),
        ];
        let kept = kept(&rules(0, 0, Some(3_600)), &all, NOW_S);
        assert_eq!(kept, [vec![Reason::Within], vec![], vec![Reason::Within]]);
        assert_eq!(
            stay(rules(1, 0, None), &[50, 40]),
            [1],
            "by number, where the clock has gone back"
        );
    }

    #[test]
    fn a_time_that_the_order_of_recording_contradicts_does_not_count() {
        let within = |days: i64| rules(0, 0, Some(days * DAY_S));
        // A clock that was ahead once, also in the first or the last snapshot.
        assert_eq!(stay(within(2), &[0, 24, 900_000, 48, 72]), [1, 2, 3, 4]);
        assert_eq!(stay(within(1), &[900_000, 0, 24, 48]), [2, 3]);
        assert_eq!(stay(within(1), &[0, 24, 48, 900_000]), [1, 2, 3]);
        // One that was ahead, but not of now.
        assert_eq!(stay(within(2), &[0, 24, 9_000, 48, 72]), [1, 2, 3, 4]);
        // One that was behind.
        assert_eq!(
            stay(within(2), &[9_000, 9_024, -500_000, 9_048, 9_072]),
            [1, 2, 3, 4]
        );
        assert_eq!(
            stay(within(2), &[9_000, 9_024, 9_048, 9_072, -500_000]),
            [1, 2, 3, 4]
        );
        // One of two is wrong: the one recorded later is believed.
        assert_eq!(stay(within(18), &[72, 24, 480]), [2]);
    }

    #[test]
    fn a_clock_that_is_behind_by_now_makes_nothing_older() {
        let hours = [20_000, 20_024, 20_048];
        assert_eq!(stay(rules(0, 0, Some(25 * 3_600)), &hours), [1, 2]);
        assert_eq!(stay(rules(0, 2, None), &hours), [1, 2]);
    }

    #[test]
    fn days_are_those_that_count() {
        assert_eq!(
            stay(rules(0, 3, None), &[0, 24, 900_000, 48, 72]),
            [1, 3, 4]
        );
        assert_eq!(
            stay(rules(0, 9, None), &[0, 24, 900_000, 48, 72]),
            [0, 1, 3, 4]
        );
    }

    #[test]
    fn durations_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_duration("14d"), Ok(14 * DAY_S));
        assert_eq!(
            parse_duration("1y6m2w3d4h"),
            Ok((365 + 186 + 14 + 3) * DAY_S + 4 * 3_600)
        );
        for text in [
            "",
            "14",
            "d",
            "14 d",
            "-1d",
            "0d",
            "1d1",
            "999999999999999999y",
            "1x",
            "1ä",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
