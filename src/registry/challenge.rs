//! What a server wants to be given: `WWW-Authenticate` (RFC 9110, section 11.6.1; distribution, "Token Authentication").
//!
//! Pure.

use crate::registry::url::Url;

/// How a registry wants its clients to prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By name and password.
    Basic,
    /// By a token.
    Bearer(Realm),
}

/// Where tokens are had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Realm {
    pub(super) url: Url,
    pub(super) service: Option<String>,
    /// What the server wants the token to be for; several scopes are separated by blanks.
    pub(super) scope: Option<String>,
    /// Who has named the realm.
    pub(super) registry: Url,
}

impl Challenge {
    /// Returns what the headers of an answer from `registry` want: a token rather than a password; `None` where they want
    /// neither.
    pub(super) fn of(headers: &[&str], registry: &Url) -> Option<Self> {
        let offers: Vec<Offer> = headers.iter().flat_map(|text| offers(text)).collect();
        let bearer = offers.iter().filter(|offer| offer.is("bearer"));
        let realm = bearer.filter_map(|offer| offer.realm(registry)).next();
        let is_basic = offers.iter().any(|offer| offer.is("basic"));
        let basic = is_basic.then_some(Self::Basic);
        realm.map(Self::Bearer).or(basic)
    }
}

/// One challenge of a header.
#[derive(Debug, Default)]
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    fn get(&self, name: &str) -> Option<String> {
        let mut all = self.parameters.iter();
        let found = all.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(found.1.clone())
    }

    fn realm(&self, registry: &Url) -> Option<Realm> {
        Some(Realm {
            url: Url::parse(&self.get("realm")?)?,
            service: self.get("service"),
            scope: self.get("scope"),
            registry: registry.clone(),
        })
    }
}

/// Returns the challenges of a header. Malformed text gives fewer of them.
fn offers(text: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=', '"']);
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        if let (Some(value), Some(offer)) = (value, offers.last_mut()) {
            let value = value.trim_start_matches([' ', '\t']);
            let (value, after) = value_of(value);
            offer.parameters.push((word.to_owned(), value));
            rest = after;
        } else if word.is_empty() {
            return offers;
        } else {
            offers.push(Offer {
                scheme: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = after;
        }
    }
}

/// Splits off a token or a quoted string.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::Challenge;
    use crate::registry::url::Url;

    fn of(headers: &[&str]) -> Option<Challenge> {
        Challenge::of(headers, &Url::parse("https://r/").unwrap())
    }

    #[test]
    fn a_challenge_is_read_in_each_of_its_spellings() {
        for text in [
            r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
            r#"bearer  Realm = "https://a/t" , SERVICE=s ,, scope="repository:x:pull\,push",error="invalid_token""#,
            r#"Negotiate abc==, Basic realm="x, y", Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#,
        ] {
            let Some(Challenge::Bearer(realm)) = of(&[text]) else {
                panic!("{text}");
            };
            assert_eq!(realm.url.to_string(), "https://a/t");
            assert_eq!(realm.service.as_deref(), Some("s"), "{text}");
            assert_eq!(realm.scope.as_deref(), Some("repository:x:pull,push"));
        }
        assert_eq!(
            of(&["Digest x=y", "BASIC realm=\"a"]),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn malformed_challenges_want_nothing() {
        for text in [
            "",
            "=",
            "\"",
            ",,,",
            "=\"Bearer\"",
            "Bearer",
            "Bearer realm",
            "Bearer realm=",
            "Bearer realm=\"\\",
            "Bearer realm=\"ftp://a/\"",
            "Bearer realm=\"https://u:p@a/\"",
            "Digest =,=,=",
        ] {
            assert_eq!(of(&[text]), None, "{text}");
        }
    }
}
