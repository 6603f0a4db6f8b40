//! An answer of a server, whose parts are read with limits.

use crate::printable::printable;
use crate::registry::fault::Fault;
use crate::registry::pace::Pace;
use crate::registry::retry;
use crate::registry::url::Url;
use serde_json::Value;
use std::io;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

/// Bytes of a server's text looked at.
const MOST_TEXT: u64 = 4 << 10;
/// Letters of a server's text shown.
const MOST_SHOWN: usize = 300;

/// What a server has sent: status, headers, and a body that is yet to be read.
pub(super) struct Reply {
    pub(super) status: u16,
    /// Where the answer is from, after redirects.
    pub(super) url: Url,
    headers: ureq::http::HeaderMap,
    body: ureq::Body,
    received: Arc<AtomicU64>,
    pace: Pace,
}

impl Reply {
    /// Takes an answer; bytes of its body are counted in `received`, and come at the pace.
    pub(super) fn new(
        answer: ureq::http::Response<ureq::Body>,
        url: Url,
        (received, pace): (Arc<AtomicU64>, Pace),
    ) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            status: parts.status.as_u16(),
            url,
            headers: parts.headers,
            body,
            received,
            pace,
        }
    }

    /// Returns the first header of this name, if its letters are ASCII.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns all headers of this name whose letters are ASCII.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let all = self.headers.get_all(name).iter();
        all.filter_map(|value| value.to_str().ok()).collect()
    }

    /// Returns the length that the headers tell.
    pub(super) fn length(&self) -> Option<u64> {
        let text = self.header("content-length")?;
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    }

    /// Returns the address that a header names.
    pub(super) fn target(&self, name: &str) -> Option<Url> {
        self.url.join(self.header(name)?)
    }

    /// Starts reading the body.
    pub(super) fn reader(self) -> Counted {
        Counted {
            body: self.body.into_reader(),
            received: self.received,
            pace: self.pace,
        }
    }

    /// Reads the whole body. Fails where the body is cut, and where it has more than `most` bytes.
    pub(super) fn bytes(self, most: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut reader = self.reader().take(most.saturating_add(1));
        if let Err(e) = reader.read_to_end(&mut bytes) {
            return Err(Fault::again(format!("the answer was cut: {}", plain(&e))));
        }
        if bytes.len() as u64 > most {
            return Err(Fault::failed(format!(
                "the answer has more than {most} bytes"
            )));
        }
        Ok(bytes)
    }

    /// Returns the answer. Fails for one that asks for patience or for credentials.
    pub(super) fn judged(self) -> Result<Self, Fault> {
        let status = self.status;
        if retry::is_passing(status) {
            let text = self.header("retry-after");
            let after = text.and_then(|text| retry::retry_after(text, SystemTime::now()));
            let why = self.told();
            return Err(Fault::Again { why, after });
        }
        if matches!(status, 401 | 403) {
            let text = prefixed(&self.text());
            return Err(Fault::Refused { status, text });
        }
        Ok(self)
    }

    /// Returns the fault of an answer that nobody has asked for.
    pub(super) fn unexpected(self) -> Fault {
        Fault::failed(self.told())
    }

    /// Returns status and text of the answer.
    fn told(self) -> String {
        let status = self.status;
        format!("status {status}{}", prefixed(&self.text()))
    }

    fn text(self) -> Vec<u8> {
        let mut text = Vec::new();
        // A cut text is better than none.
        let _ = self.reader().take(MOST_TEXT).read_to_end(&mut text);
        text
    }
}

/// Returns a server's text for an error: that of its errors in JSON, or all; printable, and cut.
pub(super) fn prefixed(body: &[u8]) -> String {
    let said = errors(body)
        .into_iter()
        .map(|error| format!("{} {}", error.code, error.message));
    let said = said.collect::<Vec<_>>().join("; ");
    let text = printable(if said.is_empty() {
        body.trim_ascii()
    } else {
        said.trim().as_bytes()
    });
    let shown: String = text.chars().take(MOST_SHOWN).collect();
    let gap = if shown.is_empty() { "" } else { ": " };
    let end = if shown.len() < text.len() { CUT } else { "" };
    format!("{gap}{shown}{end}")
}

/// An error of a server (distribution-spec, "Error Codes").
pub(super) struct ServerError {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) detail: Value,
}

/// Returns the errors of an answer in JSON; none for any other.
pub(super) fn errors(body: &[u8]) -> Vec<ServerError> {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let Some(Value::Array(list)) = answer.remove("errors") else {
        return Vec::new();
    };
    list.into_iter().map(server_error).collect()
}

fn server_error(mut error: Value) -> ServerError {
    let text = |name: &str| {
        let text = error.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    ServerError {
        code: text("code"),
        message: text("message"),
        detail: error.get_mut("detail").map(Value::take).unwrap_or_default(),
    }
}

/// What ends a text of which the rest is left out.
pub(super) const CUT: &str = "…";

/// What is told of a connection that ends before its answer does.
pub(super) const CLOSED: &str = "the connection was closed";

/// Returns the text of an error of reading, without addresses.
pub(super) fn plain(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => CLOSED.to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timeout".to_owned(),
        _ => printable(e.to_string().as_bytes()),
    }
}

/// A body that is read, with its bytes counted.
pub(super) struct Counted {
    body: ureq::BodyReader<'static>,
    received: Arc<AtomicU64>,
    pace: Pace,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let asked = Instant::now();
        let read = self.body.read(out)?;
        self.received.fetch_add(read as u64, Ordering::Relaxed);
        self.pace.count(asked.elapsed(), read)?;
        Ok(read)
    }
}

/// Fails for a part that begins elsewhere than asked for (RFC 9110, "Content-Range").
pub(super) fn check_start(reply: &Reply, start: u64) -> Result<(), Fault> {
    let told = reply.header("content-range").unwrap_or_default();
    let begin = told.strip_prefix("bytes ").unwrap_or_default();
    let begin = begin.split('-').next().unwrap_or_default();
    if begin.trim().parse() != Ok(start) {
        return Err(Fault::failed("it gives another part than it was asked for"));
    }
    Ok(())
}

/// Passes over bytes of an answer. Fails where the answer is cut or has fewer.
pub(super) fn skip(reader: &mut impl Read, size_bytes: u64) -> Result<(), Fault> {
    let skipped = io::copy(&mut reader.take(size_bytes), &mut io::sink());
    match skipped.map_err(|e| Fault::again(plain(&e)))? {
        n if n == size_bytes => Ok(()),
        _ => Err(Fault::again("the answer is shorter than the part")),
    }
}

#[cfg(test)]
mod tests {
    use super::prefixed;

    #[test]
    fn the_text_of_a_server_is_printable_and_cut() {
        let body =
            br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":1},{"code":"X"}]}"#;
        assert_eq!(prefixed(body), ": DENIED no\\x1b[2J; X");
        assert_eq!(prefixed(b" "), "");
        assert_eq!(prefixed(b"{\"errors\":3}"), ": {\"errors\":3}");
        assert_eq!(prefixed(&[b'a'; 4000]).chars().count(), 303);
    }
}
