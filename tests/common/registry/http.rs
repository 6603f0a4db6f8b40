//! Requests and answers of HTTP/1.1, as much of it as a registry needs.

use std::fmt::Write as _;
use std::io::{BufRead, Read, Result};

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// All lines before the body.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Reads the lines before the body; `None` at the end and for what is no HTTP.
    pub fn read_head(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut head = String::new();
        loop {
            let mut line = Vec::new();
            reader.take(16 << 10).read_until(b'\n', &mut line)?;
            let Ok(line) = String::from_utf8(line) else {
                return Ok(None);
            };
            if line == "\r\n" {
                break;
            }
            if !line.ends_with("\r\n") || head.len() > 64 << 10 {
                return Ok(None);
            }
            head.push_str(&line);
        }
        let mut words = head.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            head: head.clone(),
            body: Vec::new(),
        }))
    }

    /// Reads the body, or `most` bytes of it.
    pub fn read_body(&mut self, reader: &mut impl Read, most: usize) -> Result<()> {
        let length = self
            .header("content-length")
            .map_or(0, |n| n.parse().unwrap());
        self.body = vec![0; std::cmp::min(length, most)];
        reader.read_exact(&mut self.body)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The request without a header.
    pub fn without(&self, name: &str) -> Self {
        let prefix = format!("{name}:").to_lowercase();
        let lines = self.head.lines();
        let kept = lines.filter(|line| !line.to_lowercase().starts_with(&prefix));
        Self {
            head: kept.map(|line| format!("{line}\r\n")).collect(),
            ..self.clone()
        }
    }

    /// Whether the request is of a repository, rather than for the scheme or for a token.
    pub fn is_of_repository(&self) -> bool {
        self.path.starts_with("/v2/") && self.path != "/v2/"
    }

    /// The path without the query.
    pub fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap()
    }

    /// The values of a parameter.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let body = String::from_utf8_lossy(&self.body);
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').chain(body.split('&'));
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(n, _)| *n == name)
            .map(|(_, value)| unescaped(value))
            .collect()
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).pop()
    }

    /// `NAME` of `/v2/NAME/WHAT/...`.
    pub fn repository(&self) -> &str {
        self.split().map_or("", |(name, _, _)| name)
    }

    /// Repository, `blobs`, `manifests` or `tags`, and what follows.
    pub fn split(&self) -> Option<(&str, &str, &str)> {
        let path = self.bare_path().strip_prefix("/v2/")?;
        ["blobs", "manifests", "tags"].into_iter().find_map(|kind| {
            let (name, rest) = path.split_once(&format!("/{kind}/"))?;
            Some((name, kind, rest))
        })
    }
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).unwrap()
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// An error of the distribution-spec.
    pub fn error(status: u16, code: &str, detail: &serde_json::Value) -> Self {
        let error = serde_json::json!({"code": code, "message": "told so", "detail": detail});
        let body = serde_json::json!({"errors": [error]});
        Self::new(status).body(body.to_string())
    }

    pub fn map_header(mut self, name: &str, with: impl Fn(&str) -> String) -> Self {
        for (_, value) in self.headers.iter_mut().filter(|(n, _)| n == name) {
            *value = with(value);
        }
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Answer\r\n", self.status);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| name == "Content-Length")
        {
            write!(head, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        head.push_str("\r\n");
        head
    }

    pub fn head_bytes(&self) -> usize {
        self.head().len()
    }

    /// All that is sent.
    pub fn bytes(&self, is_for_head: bool) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        if !is_for_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}
