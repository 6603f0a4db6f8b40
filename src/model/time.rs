//! Times as text.

/// Returns seconds since 1970 as `YYYY-MM-DDTHH:MM:SSZ` (RFC 3339); times before the year 0 or after
/// 9999 become the nearest time in these years.
pub(crate) fn rfc3339(seconds: i64) -> String {
    const FIRST: i64 = -62_167_219_200; // 0000-01-01
    const LAST: i64 = 253_402_300_799; // 9999-12-31T23:59:59
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day_of_month) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month from 1 and day from 1 of a day, counted from 1970-01-01.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    // Days count from 0000-03-01 in eras of 400 years, so a leap day ends its year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (
        year + era * 400 + i64::from(month <= 2),
        month,
        day_of_month,
    )
}

/// Returns the day of a date, counted from 1970-01-01; `None` for a date that is none.
pub(crate) fn day(year: i64, month: i64, day_of_month: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // As in `date`, years begin in March.
    let years = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day_of_month - 1;
    let (era, year_of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (date(days) == (year, month, day_of_month)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::{date, day, rfc3339};

    #[test]
    fn dates_are_days_and_days_dates() {
        for days in [-719_528, -1, 0, 59, 60, 11_016, 47_540, 2_932_896] {
            let (year, month, of_month) = date(days);
            assert_eq!(day(year, month, of_month), Some(days));
        }
        for (year, month, of_month) in [
            (2026, 2, 29),
            (2026, 0, 1),
            (2026, 13, 1),
            (2026, 4, 31),
            (2026, 4, 0),
            (10_000, 1, 1),
        ] {
            assert_eq!(day(year, month, of_month), None);
        }
    }

    #[test]
    fn known_times_are_said_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_619_200, "1980-01-02T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
