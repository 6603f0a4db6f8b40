//! Pages for a browser, without requests: where pages are written, and how text gets into a page.
//!
//! Invariant: what strangers chose, such as a path, never becomes markup or script. Text is escaped, and the policy of a page (CSP)
//! allows the page's own script and style, and no request.

use crate::cli::own_output;
use crate::error::{Error, Result};
use crate::ops::transfer::export;
use crate::output::{self, Out, Place, Stream};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::path::Path;

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

/// Returns the policy of a page: a browser may run this script, take this style, and nothing else (CSP Level 3).
pub(crate) fn policy(script: Option<&str>, style: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text)));
    let script = script.map_or("'none'".to_owned(), hash);
    format!(
        "default-src 'none'; script-src {script}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'",
        hash(style)
    )
}

/// Returns bytes as text (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Puts values into the places `{{name}}`; a `{{name}}` within a value stays.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
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
pub(crate) fn escaped(text: &str) -> String {
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
}
