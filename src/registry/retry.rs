//! When to ask again: which answers pass, and how long to wait (RFC 9110, "Retry-After").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No server has a client wait longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Tells whether a status says that the same request may do in a while.
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Returns the time that a `Retry-After` asks for, 60 s at most; `None` for malformed text.
pub(super) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let at = UNIX_EPOCH + Duration::from_secs(seconds_of(text)?);
    let wait = at.duration_since(now).unwrap_or_default();
    Some(wait.min(LONGEST))
}

/// Returns seconds since 1970 of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let mut next = || words.next();
    let day: u64 = next()?.parse().ok()?;
    let name = next()?;
    let month = (1..=12).find(|m| MONTHS.get(m * 3 - 3..m * 3) == Some(name))? as u64;
    let year: u64 = next()?.parse().ok()?;
    let mut time = next()?.split(':').map(|part| part.parse::<u64>().ok());
    let mut part = || time.next().flatten();
    let (hour, minute, second) = (part()?, part()?, part()?);
    let is_zone = next()? == "GMT";
    let is_right = day <= 31 && hour < 24 && minute < 60 && second <= 60;
    if !is_zone || !is_right || !(1970..=9999).contains(&year) {
        return None;
    }
    // Years begin in March, so a leap day ends its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400;
    let days = days + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Returns the wait before try `tried + 1`: 1, 2, 4, 8 s, of which up to a quarter is left to `chance`, in 0 to 1.
pub(super) fn backoff(tried: u32, chance: f64) -> Duration {
    let seconds = 1_u64 << tried.saturating_sub(1).min(3);
    Duration::from_secs(seconds).mul_f64(1.0 - chance / 4.0)
}

/// Returns a number in 0 to 1 that differs among processes that fail together.
pub(super) fn chance() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.unwrap_or_default().subsec_nanos();
    f64::from(nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use super::{backoff, is_passing, retry_after};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 5);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(5)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("Thu, 29 Feb 2996 08:49:30 GMT", Some(60)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("-1", None),
            ("", None),
            ("soon", None),
        ] {
            let found = retry_after(text, now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn waits_double_and_what_passes_is_known() {
        let waits = [1, 2, 3, 4, 5].map(|tried| backoff(tried, 0.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 8]);
        assert_eq!(backoff(1, 1.0), Duration::from_millis(750));
        let passing: Vec<u16> = (100..600).filter(|status| is_passing(*status)).collect();
        assert_eq!(passing[..4], [408, 425, 429, 500]);
    }
}
