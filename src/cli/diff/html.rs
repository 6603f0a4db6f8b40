//! Differences as one page for a browser, which loads nothing and holds all that `--json` tells.
//!
//! Invariant: what strangers chose, such as a path, never becomes markup or script. The data is base64; the text for
//! browsers that run no scripts is escaped; the page's own script makes text nodes alone, and its policy (CSP) allows no
//! other script, no other style, and no request.

use crate::cli::diff::json as json_diff;
use crate::cli::diff::text::{self as text_diff, Layout};
use crate::cli::page::{base64, escaped, fill, policy};
use crate::cli::paint::{Paint, When};
use crate::layer::codec;
use crate::ops::compare::diff::Difference;
use serde_json::{Value, json};
use std::collections::HashSet;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = concat!(
    include_str!("html/words.js"),
    include_str!("html/table.js"),
    include_str!("html/files.js"),
    include_str!("html/treemap.js"),
    include_str!("html/map.js"),
    include_str!("html/layers.js"),
    include_str!("html/page.js"),
);

/// Returns the page. `scope` says what was left out of the comparison, as sentences.
pub(crate) fn page(difference: &Difference, scope: &[String]) -> String {
    let [a, b] = &difference.sides;
    let data = data(difference, scope).to_string();
    let data = codec::gzip(data.as_bytes());
    fill(
        PAGE,
        &[
            ("policy", &policy(Some(SCRIPT), STYLE)),
            ("title", &escaped(&format!("{} → {}", a.source, b.source))),
            ("style", STYLE),
            ("text", &escaped(&text(difference, scope))),
            ("data", &base64(&data)),
            ("script", SCRIPT),
        ],
    )
}

/// Returns the object of `--json`. A file also has `accounted_by`, the position among `packages` of the package that accounts
/// for the file, and `bytes`, the length of the content that differs: of the new side, or of the old side for a removed file;
/// an inode once.
fn data(difference: &Difference, scope: &[String]) -> Value {
    let mut data = json_diff::diff(difference);
    let compared = difference.compared();
    let mut inodes = HashSet::new();
    for (at, file) in compared.files.iter().enumerate() {
        let old = compared.old_entry(file);
        let new = compared.new_entry(file);
        let entry = new.or(old);
        let is_first = entry
            .and_then(|entry| entry.group)
            .is_none_or(|g| inodes.insert((new.is_some(), g)));
        let bytes = entry
            .filter(|_| is_first)
            .map_or(0, |entry| entry.size_bytes());
        data["files"][at]["bytes"] = json!(bytes);
        data["files"][at]["accounted_by"] = json!(file.account.package_change);
    }
    let notes = difference.notes.iter().chain(scope);
    data["notes"] = notes.map(|note| json!(note)).collect();
    data
}

/// Returns the answer that a terminal shows, for a browser that runs no scripts.
fn text(difference: &Difference, scope: &[String]) -> String {
    let paint = Paint::new(When::Never);
    let layout = Layout {
        lists_every_file: false,
        shows_contents: !difference.contents.is_empty(),
        lists_every_package: false,
        paint,
    };
    let answer = text_diff::diff(difference, layout);
    let answer = if answer.is_empty() {
        "Nothing differs.\n"
    } else {
        &answer
    };
    scope
        .iter()
        .map(|note| format!("note: {note}\n"))
        .collect::<String>()
        + answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script and the style are in their elements as they are.
    #[test]
    fn script_and_style_do_not_end_their_elements() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.contains("</style"));
        let names: Vec<&str> = PAGE
            .split("{{")
            .skip(1)
            .filter_map(|part| Some(part.split_once("}}")?.0))
            .collect();
        assert_eq!(
            names,
            ["policy", "title", "style", "text", "data", "script"]
        );
    }
}
