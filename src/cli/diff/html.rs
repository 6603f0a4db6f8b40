//! Differences as one page for a browser, which loads nothing and holds all that `--json` tells.
//!
//! Invariant: what strangers chose, such as a path, never becomes markup or script. The data is base64; the text for
//! browsers that run no scripts is escaped; the page's own script makes text nodes alone, and its policy (CSP) allows no
//! other script, no other style, and no request.

use crate::cli::diff::json as json_diff;
use crate::cli::diff::text::{self as text_diff, Layout};
use crate::cli::own_output;
use crate::cli::paint::{Paint, When};
use crate::error::{Error, Result};
use crate::layer::codec;
use crate::ops::compare::diff::Difference;
use crate::ops::transfer::export;
use crate::output::{self, Out, Place, Stream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

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

/// The place for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Stdout,
    File(&'a Path),
}

impl<'a> Target<'a> {
    /// Takes the value of `--html`.
    pub(crate) fn new(path: &'a Path) -> Self {
        if own_output::is_named_by(path) {
            Self::Stdout
        } else {
            Self::File(path)
        }
    }

    /// Checks before the comparison that a page can be written. Fails if the path is a directory or lies in a store, and if
    /// the directory takes no files.
    pub(crate) fn check(self, store: &Path) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(path) => export::check_file(store, path),
        }
    }
}

/// Puts the page in the place of a file, whole or not at all, or writes the page to a pipe or a device. Fails if the file's
/// directory is missing or not to be written to, and if the disk is full.
pub(crate) fn write(path: &Path, page: &str) -> Result<()> {
    let to = |out: &mut dyn Out| {
        out.file()
            .write_all(page.as_bytes())
            .map_err(Error::io("write", path))
    };
    match output::find(path)? {
        Place::Name(target) => output::replace(&target, |file| to(file)),
        Place::Stream => {
            let mut stream = Stream(output::open(path)?);
            to(&mut stream)?;
            stream.finish().map_err(Error::io("write", path))
        }
    }
}

/// Returns the page. `scope` says what was left out of the comparison, as sentences.
pub(crate) fn page(difference: &Difference, scope: &[String]) -> String {
    let [a, b] = &difference.sides;
    let data = data(difference, scope).to_string();
    let data = codec::gzip(data.as_bytes());
    fill(
        PAGE,
        &[
            ("policy", &policy()),
            ("title", &escaped(&format!("{} → {}", a.source, b.source))),
            ("style", STYLE),
            ("text", &escaped(&text(difference, scope))),
            ("data", &BASE64.encode(&data)),
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

/// Returns the policy of the page: a browser may run this script, take this style, and nothing else (CSP Level 3).
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// Puts values into the places `{{name}}`; a `{{name}}` within a value stays.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let lengths = values.iter().map(|(_, value)| value.len());
    let values_len: usize = lengths.sum();
    let mut page = String::with_capacity(values_len + template.len());
    let mut parts = template.split("{{");
    page.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or(("", part));
        let value = values.iter().find(|(known, _)| *known == name);
        if let Some((_, value)) = value {
            page.push_str(value);
        }
        page.push_str(rest);
    }
    page
}

/// Escapes text for the content of elements and for quoted attributes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_as_they_are_and_not_looked_into() {
        let filled = fill("a{{x}}b{{y}}{{x}}", &[("x", "{{y}}"), ("y", "2")]);
        assert_eq!(filled, "a{{y}}b2{{y}}");
        assert_eq!(
            escaped("<a href=\"&\">"),
            "&lt;a href=&quot;&amp;&quot;&gt;"
        );
    }

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
