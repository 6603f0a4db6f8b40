//! Reads a root again that has changed while it was read.

use crate::error::{Error, Result};

/// How often a root is read until it holds still.
const MOST_ATTEMPTS: usize = 3;

/// Repeats `attempt` as long as a path changes under it, a few times. Returns the first other error, or the last
/// [`Error::Changed`].
pub(crate) fn until_unchanged<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut result = attempt();
    for _ in 1..MOST_ATTEMPTS {
        if !matches!(result, Err(Error::Changed(_))) {
            break;
        }
        result = attempt();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    type End = Result<(), fn() -> Error>;

    /// Runs attempts that end as `ends` say, and returns how many were made and whether the last has succeeded.
    fn attempts(ends: &[End]) -> (usize, bool) {
        let mut made = 0;
        let result = until_unchanged(|| {
            made += 1;
            ends[made - 1].map_err(|error| error())
        });
        (made, result.is_ok())
    }

    const CHANGED: End = Err(|| Error::Changed("x".into()));
    const OTHER: End = Err(|| Error::NoStore("x".into()));

    #[test]
    fn a_change_is_followed_by_another_attempt_and_other_errors_by_none() {
        assert_eq!(attempts(&[Ok(())]), (1, true));
        assert_eq!(attempts(&[CHANGED, Ok(())]), (2, true));
        assert_eq!(attempts(&[CHANGED, OTHER]), (2, false));
        assert_eq!(attempts(&[OTHER]), (1, false));
        assert_eq!(attempts(&[CHANGED, CHANGED, CHANGED]), (3, false));
    }
}
