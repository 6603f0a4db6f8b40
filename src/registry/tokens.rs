//! What is given to a registry as proof: a token for what is asked, or name and password.
//!
//! Invariant: credentials go to the registry, and to the realm that it has named over TLS or on this machine. Guarded by
//! `credentials_reach_no_other_host`.

use crate::printable::printable;
use crate::registry::challenge::Challenge;
use crate::registry::challenge::Realm;
use crate::registry::credentials::Credentials;
use crate::registry::fault::Fault;
use crate::registry::reply::CUT;
use crate::registry::reply::Reply;
use crate::registry::secret::Secret;
use crate::registry::secret::base64;
use crate::registry::transport::Content;
use crate::registry::transport::Query;
use crate::registry::transport::Transport;
use crate::registry::transport::check_step;
use crate::registry::url::Url;
use crate::registry::url::escaped;
use serde_json::Value;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

const LARGEST_TOKEN: u64 = 64 << 10;
/// How long a token is good where its server does not say (distribution, "Token Response Fields").
const USUAL_SECONDS: u64 = 60;
/// A token that is still good for less is not begun with.
const MARGIN: Duration = Duration::from_secs(5);
/// In the place of a secret.
const MARK: &str = "***";
const MOST_HELD: usize = 64;

/// The credentials of a registry, and the tokens that are had for them.
pub(super) struct Tokens {
    credentials: Option<Credentials>,
    /// TLS is not insisted on.
    is_lax: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    held: Vec<Token>,
    /// All that has been a token, for the texts of errors.
    seen: Vec<Secret>,
}

struct Token {
    scopes: Vec<String>,
    header: String,
    until: Instant,
}

impl Tokens {
    /// Takes the credentials, `None` for an unnamed client. `is_lax`: TLS is not insisted on.
    pub(super) fn new(credentials: Option<Credentials>, is_lax: bool) -> Self {
        Self {
            credentials,
            is_lax,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the header `Authorization` for these scopes; `None` before the registry has wanted one. Fails where the realm
    /// gives no token.
    pub(super) fn authorization(
        &self,
        scopes: &[String],
        transport: &Transport,
    ) -> Result<Option<String>, Fault> {
        let mut state = self.state();
        let realm = match &state.challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => return Ok(self.basic()),
            Some(Challenge::Bearer(realm)) => realm.clone(),
        };
        let now = Instant::now();
        state.held.retain(|token| token.until > now);
        let known = state.held.iter().find(|token| token.scopes == scopes);
        if let Some(token) = known {
            return Ok(Some(token.header.clone()));
        }
        // Others wait here: one token does for all.
        let token = self.fetch(&realm, scopes, transport)?;
        let header = token.header.clone();
        let secret = header.trim_start_matches("Bearer ").to_owned();
        state.seen.push(Secret(secret));
        if state.seen.len() > MOST_HELD {
            state.seen.remove(0);
        }
        state.held.push(token);
        Ok(Some(header))
    }

    /// Takes what the registry wants after it was `given` something. Tells whether there is something else to give.
    pub(super) fn learn(&self, challenge: Challenge, given: Option<&str>) -> bool {
        let mut state = self.state();
        if let Some(given) = given {
            state.held.retain(|token| token.header != given);
        }
        let basic = self.basic();
        let can_go_on = match &challenge {
            Challenge::Basic => basic.is_some() && basic.as_deref() != given,
            Challenge::Bearer(_) => true,
        };
        state.challenge = Some(challenge);
        can_go_on
    }

    /// Returns `text` without passwords and tokens: a server may say what it was told.
    pub(super) fn without_secrets(&self, text: String) -> String {
        let basic = self.basic().unwrap_or_default();
        let encoded = basic.trim_start_matches("Basic ").to_owned();
        let mut secrets = vec![Secret(encoded)];
        match &self.credentials {
            Some(Credentials::Password { password, .. }) => secrets.push(password.clone()),
            Some(Credentials::Identity(token)) => secrets.push(token.clone()),
            None => {}
        }
        secrets.extend(self.state().seen.iter().cloned());
        let secrets = secrets.iter().filter(|secret| !secret.0.is_empty());
        secrets.fold(text, |text, secret| hidden(&text, &secret.0))
    }

    fn basic(&self) -> Option<String> {
        match self.credentials.as_ref()? {
            Credentials::Password { user, password } => {
                let pair = format!("{user}:{}", password.0);
                Some(format!("Basic {}", base64(pair.as_bytes())))
            }
            Credentials::Identity(_) => None,
        }
    }

    /// Asks the realm for a token.
    fn fetch(
        &self,
        realm: &Realm,
        scopes: &[String],
        transport: &Transport,
    ) -> Result<Token, Fault> {
        check_step(&realm.registry, &realm.url).or_else(|fault| {
            let is_here = realm.url.is_loopback() && realm.registry.is_loopback();
            if is_here { Ok(()) } else { Err(fault) }
        })?;
        let wanted = wanted(realm, scopes);
        if self.credentials.is_some() && !self.may_have(realm) {
            let host = &realm.url.authority;
            return Err(Fault::failed(format!(
                "its token server {host} has no TLS, and gets no credentials"
            )));
        }
        let reply = match &self.credentials {
            Some(Credentials::Identity(token)) => exchange(realm, &wanted, token, transport)?,
            _ => ask(realm, &wanted, self.basic(), transport)?,
        };
        let reply = reply.judged()?;
        if reply.status != 200 {
            return Err(reply.unexpected());
        }
        token(&reply.bytes(LARGEST_TOKEN)?, scopes)
    }

    /// Tells whether the credentials may go to the realm.
    fn may_have(&self, realm: &Realm) -> bool {
        let is_safe = |url: &Url| url.is_tls || url.is_loopback();
        if is_safe(&realm.registry) && is_safe(&realm.url) {
            return true;
        }
        self.is_lax && realm.registry.authority == realm.url.authority
    }
}

/// Returns `text` with a mark for each spelling of a secret, and for the beginning of one where the text is cut.
fn hidden(text: &str, secret: &str) -> String {
    let mut text = text.to_owned();
    let printed = printable(secret.as_bytes());
    for form in [secret, &escaped(secret), &printed] {
        text = text.replace(form, MARK);
        let Some(cut) = text.strip_suffix(CUT) else {
            continue;
        };
        let ends = form.char_indices().map(|(at, _)| at).rev();
        let mut beginnings = ends.filter(|at| *at > 0).map(|at| &form[..at]);
        if let Some(kept) = beginnings.find_map(|beginning| cut.strip_suffix(beginning)) {
            text = format!("{kept}{MARK}{CUT}");
        }
    }
    text
}

/// Returns the scopes, and what the registry has named beyond.
fn wanted(realm: &Realm, scopes: &[String]) -> Vec<String> {
    let mut all = scopes.to_vec();
    let named = realm.scope.as_deref().unwrap_or_default();
    for scope in named.split_ascii_whitespace() {
        if !scopes.iter().any(|own| has(own, scope)) {
            all.push(scope.to_owned());
        }
    }
    all
}

/// Tells whether a scope has all the actions of another.
fn has(own: &str, other: &str) -> bool {
    let (Some((name, actions)), Some((other_name, other_actions))) =
        (own.rsplit_once(':'), other.rsplit_once(':'))
    else {
        return false;
    };
    let mut actions_of_other = other_actions.split(',');
    name == other_name && actions_of_other.all(|action| actions.split(',').any(|a| a == action))
}

/// Asks by GET, with name and password if there are any (distribution, "Requesting a Token").
fn ask(
    realm: &Realm,
    scopes: &[String],
    authorization: Option<String>,
    transport: &Transport,
) -> Result<Reply, Fault> {
    let mut url = realm.url.clone();
    if let Some(service) = &realm.service {
        url = url.with("service", &escaped(service));
    }
    for scope in scopes {
        url = url.with("scope", &escaped(scope));
    }
    transport.ask(&url, &Query::new("GET"), authorization.as_deref())
}

/// Asks by POST with an identity token (distribution, "Docker Registry v2 authentication using OAuth2").
fn exchange(
    realm: &Realm,
    scopes: &[String],
    token: &Secret,
    transport: &Transport,
) -> Result<Reply, Fault> {
    let service = realm.service.as_deref().unwrap_or_default();
    let pairs = [
        ("grant_type", "refresh_token"),
        ("service", service),
        ("client_id", "rootstrata"),
        ("scope", &scopes.join(" ")),
        ("refresh_token", &token.0),
    ];
    let pairs = pairs.map(|(name, value)| format!("{name}={}", escaped(value)));
    let form = pairs.join("&");
    let query = Query::new("POST")
        .header("content-type", "application/x-www-form-urlencoded")
        .content(Content::Bytes(form.as_bytes()));
    transport.ask(&realm.url, &query, None)
}

/// Reads the answer of a realm.
fn token(answer: &[u8], scopes: &[String]) -> Result<Token, Fault> {
    let odd = || Fault::failed("its token server gives no token");
    let answer: Value = serde_json::from_slice(answer).map_err(|_| odd())?;
    let named = ["token", "access_token"].into_iter();
    let mut texts = named.filter_map(|name| answer.get(name)?.as_str());
    let text = texts.find(|text| !text.is_empty()).ok_or_else(odd)?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(odd());
    }
    let seconds = answer.get("expires_in").and_then(Value::as_u64);
    let seconds = seconds.unwrap_or(USUAL_SECONDS).min(86_400);
    let good = Duration::from_secs(seconds);
    let good = good.saturating_sub(MARGIN.min(good / 2));
    Ok(Token {
        scopes: scopes.to_vec(),
        header: format!("Bearer {text}"),
        until: Instant::now() + good,
    })
}

#[cfg(test)]
mod tests {
    use super::{has, token};

    #[test]
    fn a_scope_has_the_actions_that_it_names() {
        assert!(has("repository:a/b:pull,push", "repository:a/b:push"));
        assert!(!has("repository:a/b:pull", "repository:a/b:pull,push"));
        assert!(!has("repository:a/b:pull", "repository:a/c:pull"));
        assert!(!has("x", "x"));
    }

    #[test]
    fn a_token_is_read_under_both_names_and_nothing_else_is_one() {
        for answer in [
            r#"{"token":"t","expires_in":300}"#,
            r#"{"access_token":"t","token":""}"#,
        ] {
            let token = token(answer.as_bytes(), &[]).unwrap();
            assert_eq!(token.header, "Bearer t");
        }
        for odd in ["", "[]", "{}", r#"{"token":3}"#, r#"{"token":"a\r\nX: y"}"#] {
            assert!(token(odd.as_bytes(), &[]).is_err(), "{odd}");
        }
    }
}
