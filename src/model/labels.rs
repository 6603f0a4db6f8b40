//! Labels: words of users about a snapshot beyond series and stage, as pairs of a key and a value.
//!
//! Pure.

use std::collections::BTreeMap;
use std::fmt;

/// A snapshot has so many labels at most.
pub(crate) const MOST: usize = 64;
/// A key has so many bytes at most.
const LONGEST_KEY: usize = 64;
/// A value has so many bytes at most.
const LONGEST_VALUE: usize = 1024;

/// The labels of a snapshot, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

/// A key, perhaps with a value, as `KEY` or `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPattern {
    key: String,
    value: Option<String>,
}

impl Labels {
    /// Takes pairs; a later value of a key replaces an earlier one. Fails at a pair that no label is, and at too many.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (key, value) in pairs {
            check(&key, &value)?;
            all.insert(key, value);
        }
        if all.len() > MOST {
            return Err(format!("a snapshot has at most {MOST} labels"));
        }
        Ok(Self(all))
    }

    /// Reads what [`Labels::to_json`] wrote; `None` for any other text.
    pub(crate) fn of_json(text: &str) -> Option<Self> {
        let all: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
        let labels = Self::new(all).ok()?;
        (labels.to_json().as_deref() == Some(text)).then_some(labels)
    }

    /// Returns a JSON object with the keys in order; `None` without labels.
    pub(crate) fn to_json(&self) -> Option<String> {
        (!self.is_empty()).then(|| serde_json::json!(self.0).to_string())
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns keys and values, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Tells whether a label is as the pattern wants it.
    pub fn has(&self, pattern: &LabelPattern) -> bool {
        let found = self.0.get(&pattern.key);
        found.is_some_and(|value| pattern.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

impl fmt::Display for Labels {
    /// Writes the labels as they are given, with a comma between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (key, value)) in self.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

impl LabelPattern {
    /// Reads `KEY` or `KEY=VALUE`. Fails if key or value are malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        check(key, value.unwrap_or_default())?;
        Ok(Self {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        })
    }
}

/// Reads `KEY=VALUE`. Fails if the text has another form, or key or value are malformed.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (key, value) = pair.ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    check(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks a label. Fails for a key of other characters than letters, digits, `.`, `_`, `-` and `/`, for a value with control characters,
/// and for either that is too long.
fn check(key: &str, value: &str) -> Result<(), String> {
    let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if key.is_empty() || key.len() > LONGEST_KEY || !key.bytes().all(is_of_key) {
        return Err(format!(
            "a label's key has 1 to {LONGEST_KEY} letters, digits, and . _ - /"
        ));
    }
    if value.len() > LONGEST_VALUE || value.contains(char::is_control) {
        return Err(format!(
            "a label's value has at most {LONGEST_VALUE} bytes, and no control characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Labels {
        Labels::new(texts.iter().map(|text| parse_label(text).unwrap())).unwrap()
    }

    #[test]
    fn labels_read_back_as_they_are_written() {
        let all = labels(&["task=7", "package=a \"b\"", "empty=", "task=8"]);
        assert_eq!(all.to_string(), "empty=, package=a \"b\", task=8");
        let json = all.to_json().unwrap();
        assert_eq!(json, r#"{"empty":"","package":"a \"b\"","task":"8"}"#);
        assert_eq!(Labels::of_json(&json), Some(all));
        assert_eq!(labels(&[]).to_json(), None);
        for other in [
            "",
            "{}",
            "[]",
            r#"{"b":"","a":""}"#,
            r#"{"a":1}"#,
            r#"{"a b":""}"#,
            "{\"a\":\"\"} ",
        ] {
            assert_eq!(Labels::of_json(other), None, "{other}");
        }
    }

    #[test]
    fn a_pattern_wants_a_key_or_a_key_with_a_value() {
        let all = labels(&["task=7", "empty="]);
        for (pattern, is_there) in [
            ("task", true),
            ("task=7", true),
            ("task=8", false),
            ("task=", false),
            ("empty=", true),
            ("tas", false),
        ] {
            let pattern = LabelPattern::parse(pattern).unwrap();
            assert_eq!(all.has(&pattern), is_there, "{pattern:?}");
        }
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let long = format!("a={}", "x".repeat(LONGEST_VALUE + 1));
        let long_key = format!("{}=a", "x".repeat(LONGEST_KEY + 1));
        for text in [
            "", "a", "=a", "a b=c", "a=b\nc", "a=\u{1b}", "ä=b", &long, &long_key,
        ] {
            assert!(parse_label(text).is_err(), "{text:?}");
        }
        let many = (0..=MOST).map(|number| (number.to_string(), String::new()));
        assert!(Labels::new(many).is_err());
    }
}
