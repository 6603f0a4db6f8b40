//! Moments that users name: a day, a time, or how long ago.
//!
//! Pure. Days are those of UTC.

use crate::model::keep::parse_duration;
use crate::model::time::day;
use std::fmt;

const DAY_S: i64 = 86_400;

/// A moment, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A day, counted from 1970-01-01.
    Day(i64),
    /// So many days before today.
    DaysAgo(i64),
    /// A second since 1970.
    Second(i64),
    /// So many seconds before now.
    SecondsAgo(i64),
}

impl Moment {
    /// Reads `today`, `yesterday`, `YYYY-MM-DD`, `YYYY-MM-DDTHH:MM[:SS][Z]` or a duration such as `12h`. Fails if the text has another form, and for a date that the calendar lacks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = match text {
            "today" => Some(Kind::DaysAgo(0)),
            "yesterday" => Some(Kind::DaysAgo(1)),
            _ => parse_time(text).or_else(|| parse_duration(text).ok().map(Kind::SecondsAgo)),
        };
        let expected = "expected today, yesterday, YYYY-MM-DD, YYYY-MM-DDTHH:MM, or a duration such as 12h or 3d";
        Ok(Self {
            text: text.to_owned(),
            kind: kind.ok_or_else(|| expected.to_owned())?,
        })
    }

    /// Returns the first second of the moment, since 1970; `now_s` is likewise.
    pub(crate) fn first_second(&self, now_s: i64) -> i64 {
        match self.kind {
            Kind::Day(day) => day * DAY_S,
            Kind::DaysAgo(days) => (now_s.div_euclid(DAY_S) - days) * DAY_S,
            Kind::Second(second) => second,
            Kind::SecondsAgo(seconds) => now_s.saturating_sub(seconds),
        }
    }

    /// Returns the last second of the moment, since 1970; `now_s` is likewise.
    pub(crate) fn last_second(&self, now_s: i64) -> i64 {
        let first = self.first_second(now_s);
        match self.kind {
            Kind::Day(_) | Kind::DaysAgo(_) => first + DAY_S - 1,
            Kind::Second(_) | Kind::SecondsAgo(_) => first,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_time(text: &str) -> Option<Kind> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time.strip_suffix('Z').unwrap_or(time))),
        None => (text, None),
    };
    let [year, month, of_month] = numbers(date, '-', [4, 2, 2])?;
    let day = day(year, month, of_month)?;
    let Some(time) = time else {
        return Some(Kind::Day(day));
    };
    let [hour, minute, second] = match numbers(time, ':', [2, 2]) {
        Some([hour, minute]) => [hour, minute, 0],
        None => numbers(time, ':', [2, 2, 2])?,
    };
    let is_time = hour < 24 && minute < 60 && second < 60;
    is_time.then_some(Kind::Second(
        day * DAY_S + hour * 3_600 + minute * 60 + second,
    ))
}

/// Reads numbers of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut all = [0; N];
    for (number, digits) in all.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_begin_and_end() {
        let now = 20_786 * DAY_S + 45_000; // 2026-11-29T12:30:00Z
        for (text, first, last) in [
            ("today", 20_786 * DAY_S, 20_787 * DAY_S - 1),
            ("yesterday", 20_785 * DAY_S, 20_786 * DAY_S - 1),
            ("2026-11-29", 20_786 * DAY_S, 20_787 * DAY_S - 1),
            ("2026-11-29T12:30", now, now),
            ("2026-11-29T12:30:01Z", now + 1, now + 1),
            ("2h", now - 7_200, now - 7_200),
            ("1d", now - DAY_S, now - DAY_S),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!(moment.first_second(now), first, "{text}");
            assert_eq!(moment.last_second(now), last, "{text}");
            assert_eq!(moment.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-30",
            "2026-1-1",
            "2026-11-29T24:00",
            "2026-11-29T1:00",
            "2026-11-29T10",
            "tomorrow",
            "-1d",
            "+026-11-29",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}
