//! One registry, asked until there is an answer: which scheme, which credentials, how often.

use crate::error::Error;
use crate::error::Result;
use crate::model::repository::Repository;
use crate::registry::access::Access;
use crate::registry::access::Right;
use crate::registry::challenge::Challenge;
use crate::registry::credentials::Credentials;
use crate::registry::fault::Fault;
use crate::registry::reply::CLOSED;
use crate::registry::reply::Reply;
use crate::registry::retry;
use crate::registry::tokens::Tokens;
use crate::registry::transport::NO_TLS;
use crate::registry::transport::Query;
use crate::registry::transport::Transport;
use crate::registry::url;
use crate::registry::url::Url;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const TRIES: u32 = 5;

/// A repository of a registry, with all that asking needs.
pub(super) struct Wire {
    pub(super) repository: Repository,
    pub(super) transport: Transport,
    authority: String,
    right: Right,
    tokens: Tokens,
    tries: u32,
    pause: fn(Duration),
    /// Schemes that may do, the first to be tried first: HTTPS or not.
    schemes: &'static [bool],
    /// The scheme that does.
    scheme: Mutex<Option<bool>>,
}

impl Wire {
    /// Prepares to ask. Fails as [`Transport::open`].
    pub(super) fn open(
        repository: &Repository,
        access: &Access,
        right: Right,
        credentials: Option<Credentials>,
    ) -> Result<Self> {
        let authority = api_host(repository.host());
        let is_loopback = url::is_loopback(authority);
        let may_be_plain = match access.tls_verify {
            None => is_loopback,
            Some(verify) => !verify,
        };
        Ok(Self {
            transport: Transport::open(authority, access, repository.host())?,
            tokens: Tokens::new(credentials, access.tls_verify == Some(false)),
            authority: authority.to_owned(),
            repository: repository.clone(),
            right,
            tries: access.tries.unwrap_or(TRIES).max(1),
            pause: access.pause.unwrap_or(thread::sleep),
            schemes: if may_be_plain {
                &[true, false]
            } else {
                &[true]
            },
            scheme: Mutex::default(),
        })
    }

    /// Tries until `ask` gives something or another try would not help. Fails with an error that names the registry and
    /// `action`, a phrase after "to".
    pub(super) fn tries<T>(
        &self,
        action: &str,
        mut ask: impl FnMut() -> Result<T, Fault>,
    ) -> Result<T> {
        let mut tried = 1;
        loop {
            let fault = match ask() {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            let after = match &fault {
                Fault::Again { after, .. } if tried < self.tries => *after,
                _ => return Err(self.error(fault, action)),
            };
            self.wait(tried, after);
            tried += 1;
        }
    }

    /// Waits before the next try.
    pub(super) fn wait(&self, tried: u32, after: Option<Duration>) {
        let counters = &self.transport.counters;
        counters.retries.fetch_add(1, Ordering::Relaxed);
        let usual = retry::backoff(tried, retry::chance());
        (self.pause)(after.unwrap_or(usual));
    }

    /// Returns how often a request is tried.
    pub(super) fn most_tries(&self) -> u32 {
        self.tries
    }

    /// Returns the error of a fault, with no secret in its text.
    pub(super) fn error(&self, fault: Fault, action: &str) -> Error {
        let fault = match fault {
            Fault::Again { why, after } => Fault::Again {
                why: self.tokens.without_secrets(why),
                after,
            },
            Fault::Refused { status, text } => Fault::Refused {
                status,
                text: self.tokens.without_secrets(text),
            },
            Fault::Failed(what) => Fault::Failed(self.tokens.without_secrets(what)),
            other => other,
        };
        fault.into_error(self.repository.host(), action)
    }

    /// Asks for a path below `/v2/NAME/`. Fails where the answer asks for patience or for other credentials.
    pub(super) fn ask(&self, below: &str, query: &Query) -> Result<Reply, Fault> {
        let url = self.address(below)?;
        self.ask_at(&url, query, None)
    }

    /// Returns the address of a path below `/v2/NAME/`. Fails where the registry does not show whether it has TLS.
    pub(super) fn address(&self, below: &str) -> Result<Url, Fault> {
        let name = self.repository.name();
        let path = format!("/v2/{name}/{below}");
        Ok(Url::new(self.scheme()?, &self.authority, &path))
    }

    /// Asks for an address, with credentials where this registry is asked; `from` is a repository to be read as well.
    /// Fails as [`Wire::ask`], and for redirects that lead nowhere.
    pub(super) fn ask_at(
        &self,
        url: &Url,
        query: &Query,
        from: Option<&Repository>,
    ) -> Result<Reply, Fault> {
        let own = Url::new(self.scheme()?, &self.authority, "/");
        if !own.is_same_origin(url) {
            return self.transport.ask(url, query, None)?.judged();
        }
        let scopes = self.scopes(from);
        let mut is_last = false;
        loop {
            let given = self.tokens.authorization(&scopes, &self.transport)?;
            let reply = self.transport.ask(url, query, given.as_deref())?;
            let is_done = reply.status != 401 || is_last || !reply.url.is_same_origin(&own);
            if is_done {
                return reply.judged();
            }
            let offers = reply.all("www-authenticate");
            let Some(challenge) = Challenge::of(&offers, url) else {
                return reply.judged();
            };
            if !self.tokens.learn(challenge, given.as_deref()) {
                return reply.judged();
            }
            // The first question may be one without proof.
            is_last = given.is_some();
        }
    }

    /// Returns the scopes of a token (distribution, "Token Scope Documentation").
    fn scopes(&self, from: Option<&Repository>) -> Vec<String> {
        let actions = match self.right {
            Right::Pull => "pull",
            Right::Push => "pull,push",
            Right::Delete => "pull,push,delete",
        };
        let name = self.repository.name();
        let mut scopes = vec![format!("repository:{name}:{actions}")];
        let other = from.filter(|from| from.name() != name);
        scopes.extend(other.map(|from| format!("repository:{}:pull", from.name())));
        scopes
    }

    /// Returns whether the registry is asked by HTTPS; asks it the first time if either may be. Fails where neither does.
    fn scheme(&self) -> Result<bool, Fault> {
        if let [only] = self.schemes {
            return Ok(*only);
        }
        let mut scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *scheme {
            return Ok(known);
        }
        let found = self.probe()?;
        *scheme = Some(found);
        Ok(found)
    }

    fn probe(&self) -> Result<bool, Fault> {
        let query = Query::new("GET");
        let secure = Url::new(true, &self.authority, "/v2/");
        let fault = match self.transport.ask(&secure, &query, None) {
            Ok(_) => return Ok(true),
            Err(fault) => fault,
        };
        // A certificate that is not trusted is TLS, and no reason to go without.
        if !matches!(&fault, Fault::Again { why, .. } if is_without_tls(why)) {
            return Err(fault);
        }
        let plain = Url::new(false, &self.authority, "/v2/");
        match self.transport.ask(&plain, &query, None)? {
            // What a server with TLS says to a client without.
            reply if reply.status == 400 => Err(reply.unexpected()),
            _ => Ok(false),
        }
    }
}

fn is_without_tls(why: &str) -> bool {
    why == NO_TLS || why == CLOSED
}

/// The host that has the API of a registry: that of docker.io is another.
fn api_host(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    }
}
