//! Names of repositories and images of registries, by the grammar of the distribution-spec ("Pulling manifests") and of
//! distribution's reference package for hosts.
//!
//! Pure. A host is always named: nothing is searched for, so a name means the same on every machine.

use crate::error::Error;
use crate::error::Result;
use crate::model::digest::Digest;
use std::fmt;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    name: String,
}

/// What is asked for in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A tag, which may move.
    Tag(String),
    /// The digest of a manifest.
    Digest(Digest),
}

/// An image of a registry, or a repository where no reference is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    /// The repository.
    pub repository: Repository,
    /// Tag or digest; `None` where the text has neither.
    pub reference: Option<Reference>,
}

/// Longest name of a repository, in bytes.
const LONGEST_NAME: usize = 255;
const LONGEST_HOST: usize = 255;
const LONGEST_TAG: usize = 128;
/// Where names without a namespace are short for those below `library/`.
const DOCKER_HUB: &str = "docker.io";

impl Repository {
    /// Reads `HOST[:PORT]/NAME`. Fails where no host is named or where a letter is not allowed.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((host, name)) = text.split_once('/') else {
            return Err(bad(text, NO_HOST));
        };
        if !names_host(host) {
            return Err(bad(text, NO_HOST));
        }
        if !is_host(host) {
            return Err(bad(text, "the host is malformed"));
        }
        if !is_name(name) {
            return Err(bad(
                text,
                "expected parts of a-z, 0-9, and single . _ or any - between, 255 bytes at most",
            ));
        }
        let is_short = host == DOCKER_HUB && !name.contains('/');
        let space = if is_short { "library/" } else { "" };
        Ok(Self {
            host: host.to_owned(),
            name: format!("{space}{name}"),
        })
    }

    /// Returns the host with its port, as given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name within the registry.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

impl Reference {
    /// Reads a tag. Fails where the text does not have the letters or the length of a tag.
    pub fn tag(text: &str) -> Result<Self> {
        if !is_tag(text) {
            let rule = "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and does not start with . or -";
            return Err(bad(text, rule));
        }
        Ok(Self::Tag(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl ImageName {
    /// Reads `HOST/NAME[:TAG|@DIGEST]`. Fails as [`Repository::parse`], for tag and digest together, and for digests other
    /// than SHA-256.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let name_at = rest.find('/').unwrap_or(rest.len());
        let (name, tag) = match rest[name_at..].split_once(':') {
            Some((name, tag)) => (&rest[..name_at + name.len()], Some(tag)),
            None => (rest, None),
        };
        let reference = match (tag, digest) {
            (Some(_), Some(_)) => return Err(bad(text, "give a tag or a digest, not both")),
            (Some(tag), None) => Some(Reference::tag(tag)?),
            (None, Some(digest)) => match Digest::parse(digest) {
                Some(digest) => Some(Reference::Digest(digest)),
                None => return Err(bad(text, "expected sha256: and 64 hex digits after @")),
            },
            (None, None) => None,
        };
        Ok(Self {
            repository: Repository::parse(name)?,
            reference,
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        match &self.reference {
            Some(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Some(Reference::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

const NO_HOST: &str = "name the host of the registry: HOST[:PORT]/NAME";

fn bad(name: &str, rule: &'static str) -> Error {
    Error::BadName {
        what: "image",
        name: name.to_owned(),
        rule,
    }
}

/// Tells a host from the first part of a name: by a dot, a port, or `localhost`.
fn names_host(text: &str) -> bool {
    text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost")
}

fn is_host(text: &str) -> bool {
    if text.len() > LONGEST_HOST {
        return false;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let is_address = address.parse::<core::net::Ipv6Addr>().is_ok();
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    port.is_none_or(is_port) && host.split('.').all(is_host_part)
}

fn is_port(text: &str) -> bool {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    is_number && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host_part(text: &str) -> bool {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && text.bytes().all(is_right) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.split('/').all(is_name_part)
}

/// Letters and digits, with `.`, `_`, `__` or any number of `-` between.
fn is_name_part(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_ended = |end: Option<&u8>| end.is_some_and(|b| is_letter(*b));
    if !is_ended(bytes.first()) || !is_ended(bytes.last()) {
        return false;
    }
    bytes.split(|b| is_letter(*b)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-')
    })
}

/// Tells whether `text` is a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let is_right = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=LONGEST_TAG).contains(&text.len())
        && text.bytes().all(is_right)
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::{ImageName, Reference, Repository};

    #[test]
    fn registry_names_read_back() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for text in [
            "registry.example.org/a",
            "localhost/a/b-c/d__e.f",
            "LOCALHOST:5000/a---b",
            "[::1]:5000/a",
            "127.0.0.1:1/x:T.a-g_",
            &format!("h.example:443/a/b@{digest}"),
        ] {
            let name = ImageName::parse(text).unwrap();
            assert_eq!(name.to_string(), text);
        }
        let hub = Repository::parse("docker.io/debian").unwrap();
        assert_eq!(hub.name(), "library/debian");
        assert_eq!(
            ImageName::parse("a.b:5/c:t").unwrap().reference,
            Some(Reference::Tag("t".into()))
        );
    }

    #[test]
    fn other_registry_names_are_refused() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for text in [
            "",
            "debian",
            "library/debian",
            "a.b/",
            "a.b//c",
            "a.b/C",
            "a.b/c/",
            "a.b/-c",
            "a.b/c..d",
            "a.b/c___d",
            "a.b/c.-d",
            "a.b/../c",
            "a.b:/c",
            "a.b:0/c",
            "a.b:99999/c",
            "a.b:+5/c",
            "-a.b/c",
            "a..b/c",
            "user@a.b/c",
            "[::1/c",
            "[x]:1/c",
            "a.b/c:",
            "a.b/c:.t",
            "a.b/c:t/u",
            "a.b/c@sha256:1",
            "a.b/c?x=y",
            "a.b/c\nd",
            &format!("a.b/c:t@{digest}"),
            &format!("a.b/{}", "c".repeat(256)),
            &format!("a.b/c:{}", "t".repeat(129)),
        ] {
            assert!(ImageName::parse(text).is_err(), "{text}");
        }
    }
}
