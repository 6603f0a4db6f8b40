//! Addresses of registries, with as much of RFC 3986 as their answers need.
//!
//! Pure. An address never has user and password in it, and its letters are visible ASCII.

use core::net::IpAddr;
use std::fmt;

/// An address of HTTP or HTTPS.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// HTTPS rather than HTTP.
    pub(super) is_tls: bool,
    /// HOST[:PORT], in lower case.
    pub(super) authority: String,
    /// Path and query; starts with a slash.
    pub(super) path: String,
}

const LONGEST: usize = 16 << 10;

impl Url {
    /// Makes the address of a path that starts with a slash.
    pub(super) fn new(is_tls: bool, authority: &str, path: &str) -> Self {
        Self {
            is_tls,
            authority: authority.to_ascii_lowercase(),
            path: path.to_owned(),
        }
    }

    /// Reads an absolute address; `None` for other schemes, for users in it, and for malformed text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = checked(text)?;
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Self::of_rest(is_tls, rest)
    }

    fn of_rest(is_tls: bool, rest: &str) -> Option<Self> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = host(authority);
        let port = authority[host.len()..].strip_prefix(':');
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"-._:[]".contains(c);
        let is_port_odd = port.is_some_and(|port| port.parse::<u16>().is_err());
        if host.is_empty() || authority.contains(is_odd) || is_port_odd {
            return None;
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self::new(is_tls, authority, &format!("{slash}{path}")))
    }

    /// Returns the address that a `Location` or a `Link` names, seen from this address; `None` as for [`Url::parse`].
    pub(super) fn join(&self, text: &str) -> Option<Self> {
        let text = checked(text)?;
        let scheme = text.split(['/', '?']).next().unwrap_or_default();
        if scheme.contains(':') {
            return Self::parse(text);
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Self::of_rest(self.is_tls, rest);
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let path = if text.starts_with('/') {
            text.to_owned()
        } else if text.is_empty() || text.starts_with('?') {
            format!("{own}{text}")
        } else {
            let directory = own.rfind('/').map_or("/", |at| &own[..=at]);
            format!("{directory}{text}")
        };
        Some(Self::new(self.is_tls, &self.authority, &path))
    }

    /// Returns the address with one more parameter, whose value needs no escaping or is escaped.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}{name}={value}", self.path);
        Self {
            path,
            ..self.clone()
        }
    }

    /// Tells whether both are of one server: scheme, host and port.
    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    fn origin(&self) -> (bool, &str, u16) {
        let host = host(&self.authority);
        let port = self.authority[host.len()..].strip_prefix(':');
        let usual = if self.is_tls { 443 } else { 80 };
        let port = port.and_then(|port| port.parse().ok());
        (self.is_tls, host, port.unwrap_or(usual))
    }

    /// Tells whether the host is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.authority)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Paths and queries may hold secrets.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// Returns the text without its fragment, if all of its letters may stand in an address.
fn checked(text: &str) -> Option<&str> {
    let is_right = text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
    let text = text.split('#').next().unwrap_or_default();
    is_right.then_some(text)
}

/// The host of an authority, without its port.
fn host(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.find(']').map_or("", |end| &authority[..=end]);
    }
    authority.split(':').next().unwrap_or_default()
}

/// Tells whether HOST[:PORT] is this machine: localhost, 127.0.0.0/8, or ::1.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = host(authority);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost")
}

/// Returns text in which all but letters, digits and `-._~` is escaped, as for a value of a query or of a form.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Url, escaped, is_loopback};

    #[test]
    fn a_location_is_relative_or_absolute_and_keeps_its_query() {
        let base = Url::parse("https://A.example:5000/v2/x/uploads/?y=1").unwrap();
        for (location, expected) in [
            (
                "/v2/u?_state=a%2Fb==",
                "https://a.example:5000/v2/u?_state=a%2Fb==",
            ),
            ("u?s=1#f", "https://a.example:5000/v2/x/uploads/u?s=1"),
            ("?s=1", "https://a.example:5000/v2/x/uploads/?s=1"),
            ("//b/c", "https://b/c"),
            ("HTTP://b:80", "http://b:80/"),
            ("https://b?x", "https://b/?x"),
            ("/u?to=http://c/", "https://a.example:5000/u?to=http://c/"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected);
        }
        for odd in [
            "ftp://a/",
            "https://u:p@a/",
            "https://",
            "/a b",
            "/a\r\nX: y",
            "https://a:x/",
            "javascript:x",
        ] {
            assert!(base.join(odd).is_none(), "{odd}");
        }
        let with = base.with("digest", &escaped("sha256:a"));
        assert_eq!(with.path, "/v2/x/uploads/?y=1&digest=sha256%3Aa");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://a/x").is_same_origin(&url("https://A:443/y")));
        for other in ["http://a/", "https://a:444/", "https://b/", "https://a.b/"] {
            assert!(!url("https://a/").is_same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for host in ["localhost:5", "LocalHost", "127.3.2.1:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "128.0.0.1",
            "127.0.0.1.example",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
