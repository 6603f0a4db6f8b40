//! Requests over HTTP, one try each, with redirects.
//!
//! Invariants: an `Authorization` goes to the server it is meant for and to no other, whatever a redirect says; no redirect
//! leads from HTTPS to HTTP; each connection, read and write ends after a time. Guarded by
//! `credentials_reach_no_other_host`.

use crate::error::Error;
use crate::error::Result;
use crate::model::digest::Digest;
use crate::registry::access::Access;
use crate::registry::certificates::Certificates;
use crate::registry::fault::Fault;
use crate::registry::pace::Pace;
use crate::registry::reply::Reply;
use crate::registry::reply::plain;
use crate::registry::source::Fed;
use crate::registry::source::Source;
use crate::registry::traffic::Counters;
use crate::registry::url;
use crate::registry::url::Url;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use ureq::Agent;
use ureq::SendBody;
use ureq::tls::RootCerts;
use ureq::tls::TlsConfig;

const TIMEOUT: Duration = Duration::from_secs(60);
/// A server that gives or takes next to nothing gets so many times the timeout.
const SLOWEST_TRANSFERS: u32 = 2;
/// A server that sends its headers letter by letter gets so many times the timeout.
const SLOWEST_HEADERS: u32 = 5;
const MOST_REDIRECTS: usize = 5;
const MOST_HEADERS: usize = 64 << 10;
const IDLE_CONNECTIONS: usize = 16;

/// The content of a request.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    None,
    Bytes(&'a [u8]),
    /// A blob with its length.
    Blob(&'a dyn Source, u64, Digest),
}

/// A request without its address and its credentials.
#[derive(Clone)]
pub(super) struct Query<'a> {
    pub(super) method: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content<'a>,
}

impl<'a> Query<'a> {
    /// Makes a request without headers and content.
    pub(super) fn new(method: &'static str) -> Self {
        Self {
            method,
            headers: Vec::new(),
            content: Content::None,
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Gives the request a content.
    pub(super) fn content(mut self, content: Content<'a>) -> Self {
        self.content = content;
        self
    }

    /// Only what has no content and changes nothing is asked for elsewhere.
    fn may_be_redirected(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }
}

/// Connections to the registry, and to the servers that its answers name.
pub(super) struct Transport {
    /// HOST[:PORT] of the registry.
    authority: String,
    own: Agent,
    /// Without the client's certificate.
    foreign: Agent,
    /// Without a proxy.
    local: Agent,
    pub(super) counters: Counters,
    /// How long a transfer may take over next to nothing.
    slowest: Duration,
}

impl Transport {
    /// Prepares connections to `authority`. Fails where a certificate given cannot be read.
    pub(super) fn open(authority: &str, access: &Access, host: &str) -> Result<Self> {
        let certificates = Certificates::load(access, host)?;
        let is_local = url::is_loopback(authority);
        Ok(Self {
            authority: authority.to_ascii_lowercase(),
            own: agent(access, &certificates, true, is_local),
            foreign: agent(access, &certificates, false, false),
            local: agent(access, &certificates, false, true),
            counters: access.counters.clone(),
            slowest: timeout_of(access) * SLOWEST_TRANSFERS,
        })
    }

    /// Asks, and follows redirects. Fails where no answer comes, or one that leads nowhere.
    pub(super) fn ask(
        &self,
        url: &Url,
        query: &Query,
        authorization: Option<&str>,
    ) -> Result<Reply, Fault> {
        let mut url = url.clone();
        let mut authorization = authorization;
        for _ in 0..=MOST_REDIRECTS {
            let reply = self.send(&url, query, authorization)?;
            let is_redirect = matches!(reply.status, 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return Ok(reply);
            }
            if !query.may_be_redirected() {
                return Err(reply.unexpected());
            }
            let Some(next) = reply.target("location") else {
                return Err(Fault::failed("a redirect leads nowhere"));
            };
            check_step(&url, &next)?;
            if !next.is_same_origin(&url) {
                authorization = None;
            }
            url = next;
        }
        Err(Fault::failed("too many redirects"))
    }

    fn agent_for(&self, url: &Url) -> &Agent {
        if url.authority == self.authority {
            &self.own
        } else if url.is_loopback() {
            &self.local
        } else {
            &self.foreign
        }
    }

    /// Asks once.
    fn send(&self, url: &Url, query: &Query, authorization: Option<&str>) -> Result<Reply, Fault> {
        let mut request = ureq::http::Request::builder()
            .method(query.method)
            .uri(url.to_string());
        for (name, value) in &query.headers {
            request = request.header(*name, value);
        }
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let agent = self.agent_for(url);
        let answer = match query.content {
            Content::None => run(agent, request, SendBody::none()),
            Content::Bytes(bytes) => {
                let sent = bytes.len() as u64;
                self.counters.sent.fetch_add(sent, Ordering::Relaxed);
                run(agent, request, bytes)
            }
            Content::Blob(source, size_bytes, digest) => {
                let size = (source, size_bytes, digest);
                self.send_blob(agent, request, size)
            }
        };
        let received = Arc::clone(&self.counters.received);
        let pace = Pace::new(self.slowest);
        Ok(Reply::new(answer?, url.clone(), (received, pace)))
    }

    fn send_blob(
        &self,
        agent: &Agent,
        request: ureq::http::request::Builder,
        (source, size_bytes, digest): (&dyn Source, u64, Digest),
    ) -> Result<Answer, Fault> {
        let unreadable = |source| {
            Fault::Other(Error::Io {
                action: "read blob",
                path: PathBuf::from(digest.to_string()),
                source,
            })
        };
        let opened = source.open().map_err(unreadable)?;
        let pace = Pace::new(self.slowest);
        let mut fed = Fed::new(opened, size_bytes, (&self.counters.sent, pace));
        let request = request.header("content-length", size_bytes);
        let answer = run(agent, request, SendBody::from_reader(&mut fed));
        match fed.error {
            Some(error) => Err(unreadable(error)),
            None => answer,
        }
    }
}

type Answer = ureq::http::Response<ureq::Body>;

fn run(
    agent: &Agent,
    request: ureq::http::request::Builder,
    content: impl ureq::AsSendBody,
) -> Result<Answer, Fault> {
    let Ok(request) = request.body(content) else {
        return Err(Fault::failed("the request is malformed"));
    };
    agent.run(request).map_err(fault)
}

/// Fails for a step from HTTPS to HTTP.
pub(super) fn check_step(from: &Url, to: &Url) -> Result<(), Fault> {
    if from.is_tls && !to.is_tls {
        let host = &to.authority;
        return Err(Fault::failed(format!(
            "the answer leads to {host} without TLS"
        )));
    }
    Ok(())
}

fn timeout_of(access: &Access) -> Duration {
    access.timeout.unwrap_or(TIMEOUT)
}

fn agent(access: &Access, certificates: &Certificates, is_own: bool, is_local: bool) -> Agent {
    let roots = RootCerts::new_with_certs(&certificates.roots);
    let client = certificates.client.clone().filter(|_| is_own);
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .client_cert(client)
        .disable_verification(access.tls_verify == Some(false))
        .build();
    let timeout = timeout_of(access);
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MOST_HEADERS)
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .user_agent(concat!("rootstrata/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        .timeout_recv_response(Some(timeout * SLOWEST_HEADERS));
    // A proxy of the environment is not asked for this machine.
    if is_local {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// Tells what passes from what stays. Addresses are left out: their queries may hold secrets.
fn fault(error: ureq::Error) -> Fault {
    match &error {
        ureq::Error::Io(e) => match of_tls(e) {
            Some(e) => tls_fault(e),
            None => Fault::again(plain(e)),
        },
        ureq::Error::Rustls(e) => tls_fault(e),
        ureq::Error::Timeout(_) => Fault::again("timeout"),
        ureq::Error::HostNotFound => Fault::again("no such host is known"),
        ureq::Error::Protocol(_) => Fault::again("the answer is no HTTP"),
        ureq::Error::ConnectProxyFailed(_) => Fault::again("the proxy refuses"),
        ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => {
            Fault::again("the connection failed")
        }
        ureq::Error::LargeResponseHeader(..) => Fault::failed("the headers are too large"),
        ureq::Error::InvalidProxyUrl => Fault::failed("the address of the proxy is malformed"),
        _ => Fault::failed("the request cannot be made"),
    }
}

fn of_tls(e: &io::Error) -> Option<&rustls::Error> {
    e.get_ref()?.downcast_ref()
}

fn tls_fault(e: &rustls::Error) -> Fault {
    match e {
        rustls::Error::InvalidCertificate(why) => Fault::failed(format!(
            "its certificate is not trusted ({why:?}): its authority may be given by --cert-dir"
        )),
        // Such as a server without TLS.
        rustls::Error::InvalidMessage(_) => Fault::again(NO_TLS),
        rustls::Error::AlertReceived(alert) => Fault::failed(format!("TLS: {alert:?}")),
        _ => Fault::again(format!("TLS: {e}")),
    }
}

/// What a server says that speaks no TLS.
pub(super) const NO_TLS: &str = "the answer is no TLS";
