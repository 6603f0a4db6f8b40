//! Who gets which credentials.

use super::{
    Bytes, NAME, TYPE, access, client, digest_of, fill, manifest, noise, repository, tag, told,
};
use crate::common::registry::{Auth, FaultyRegistry, What};
use rootstrata::error::Error;
use rootstrata::registry::{Access, Client, Put, Right};
use std::path::PathBuf;
use tempfile::TempDir;

/// base64 of `builder:hunter2`.
const PAIR: &str = "YnVpbGRlcjpodW50ZXIy";
const PASSWORD: &str = "hunter2";
const REFRESH: &str = "refresh-me-not";

fn token() -> Auth {
    Auth::Token {
        basic: PAIR.into(),
        refresh: REFRESH.into(),
        realm: None,
    }
}

/// Access with an entry for the registry.
fn with(registry: &FaultyRegistry, entry: &str) -> (TempDir, Access) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("auth.json");
    let text = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, registry.host());
    std::fs::write(&path, text).unwrap();
    let mut access = access();
    access.authfile = Some(path);
    (directory, access)
}

fn password() -> String {
    format!(r#"{{"auth":"{PAIR}"}}"#)
}

fn identity() -> String {
    format!(r#"{{"auth":"PHRva2VuPjo=","identitytoken":"{REFRESH}"}}"#)
}

/// Pushes a blob and its manifest, mounts, lists, deletes.
fn use_all(registry: &FaultyRegistry, client: &Client) {
    let blob = noise(10_000);
    let digest = digest_of(&blob);
    client.push_blob(&digest, 10_000, &Bytes(&blob)).unwrap();
    let put = client
        .put_manifest(&tag("t"), TYPE, &manifest(&blob))
        .unwrap();
    assert_eq!(put, Put::Done);
    let other = noise(10_001);
    registry.state().put_blob("farm/other", &other);
    let from = repository(registry, "farm/other");
    assert!(client.mount(&digest_of(&other), &from).unwrap());
    assert_eq!(client.tags().unwrap(), ["t"]);
    assert!(
        client
            .delete_manifest(&digest_of(&manifest(&blob)))
            .unwrap()
    );
}

#[test]
fn basic_tokens_and_identity_tokens_open_a_registry() {
    for (auth, entry) in [
        (Auth::Basic(PAIR.into()), password()),
        (token(), password()),
        (token(), identity()),
    ] {
        let registry = FaultyRegistry::with(auth);
        let (_directory, access) = with(&registry, &entry);
        use_all(&registry, &client(&registry, &access));
    }
}

#[test]
fn a_token_serves_many_requests_and_one_that_expires_is_renewed_at_any_of_them() {
    let registry = FaultyRegistry::with(token());
    let (_directory, access) = with(&registry, &password());
    use_all(&registry, &client(&registry, &access));
    let requests = registry.requests().len();
    let tokens = registry
        .log()
        .iter()
        .filter(|r| r.path.starts_with("/token"))
        .count();
    assert_eq!(tokens, 2, "one, and one for the mount");
    for nth in 0..requests {
        let registry = FaultyRegistry::with(token());
        let (_directory, access) = with(&registry, &password());
        registry.nth(nth, What::ExpireToken);
        use_all(&registry, &client(&registry, &access));
    }
    // Tokens that are over when they come.
    let registry = FaultyRegistry::with(token());
    registry.state().token_seconds = 0;
    let (_directory, access) = with(&registry, &password());
    use_all(&registry, &client(&registry, &access));
}

#[test]
fn a_token_server_that_is_away_for_a_moment_is_asked_again() {
    for what in [
        What::Status(503, None),
        What::CutAfter(0),
        What::Stall,
        What::CutBody(3),
    ] {
        let registry = FaultyRegistry::with(token());
        registry.when(|r| r.path.starts_with("/token"), 2, what);
        let (_directory, access) = with(&registry, &password());
        use_all(&registry, &client(&registry, &access));
    }
}

#[test]
fn a_token_server_that_talks_nonsense_is_one_clear_error() {
    for what in [
        What::Says(200, "{}".into()),
        What::Says(200, r#"{"token":"a\r\nHost: b"}"#.into()),
        What::Says(404, String::new()),
        What::HugeBody,
        What::HugeHeader,
    ] {
        let registry = FaultyRegistry::with(token());
        registry.when(|r| r.path.starts_with("/token"), 99, what);
        let (_directory, access) = with(&registry, &password());
        let error = client(&registry, &access).tags().unwrap_err();
        assert!(matches!(error, Error::Registry { .. }), "{error}");
    }
}

#[test]
fn an_unnamed_client_may_pull_and_is_refused_with_what_to_do_where_it_pushes() {
    let registry = FaultyRegistry::with(token());
    fill(&registry, &noise(10));
    let anybody = client(&registry, &access());
    assert!(anybody.manifest(&tag("t")).unwrap().is_some());
    let blob = noise(20);
    let error = anybody
        .push_blob(&digest_of(&blob), 20, &Bytes(&blob))
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::RegistryRefused { .. }), "{text}");
    for word in [&registry.host(), "401", "podman login", "--authfile"] {
        assert!(text.contains(word), "{text}");
    }
    // Nobody gets in with a wrong password, and no try is worth another.
    let wrong = Auth::Basic("eDp5".into());
    for auth in [
        wrong,
        Auth::Token {
            basic: "eDp5".into(),
            refresh: String::new(),
            realm: None,
        },
    ] {
        let registry = FaultyRegistry::with(auth);
        let (_directory, access) = with(&registry, &password());
        let client = client(&registry, &access);
        let error = client.manifest(&tag("t")).unwrap_err();
        assert!(matches!(error, Error::RegistryRefused { .. }), "{error}");
        assert_eq!(client.traffic().retries, 0);
    }
}

/// Whether a secret, or a token of `registry`, has come to `other`.
fn has_come_to(other: &FaultyRegistry) -> bool {
    other.log().iter().any(|r| r.authorization.is_some())
}

#[test]
fn credentials_reach_no_other_host() {
    for (auth, entry) in [
        (Auth::Basic(PAIR.into()), password()),
        (token(), password()),
        (token(), identity()),
    ] {
        let other = FaultyRegistry::start();
        let server = format!("http://{}", other.host());
        let blob = noise(1_000);
        fill(&other, &blob);
        let registry = FaultyRegistry::with(auth);
        fill(&registry, &blob);
        let (_directory, access) = with(&registry, &entry);
        let client = client(&registry, &access);
        client.tags().unwrap();
        let digest = digest_of(&blob);
        let is_read = |r: &crate::common::registry::Request| {
            matches!(r.method.as_str(), "GET" | "HEAD") && r.is_of_repository()
        };
        registry.when(is_read, usize::MAX, What::RedirectTo(server.clone()));
        assert_eq!(
            client.read_blob(&digest, 1_000).unwrap(),
            Some(blob.clone())
        );
        assert_eq!(client.has_blob(&digest).unwrap(), Some(1_000));
        assert_eq!(client.read_range(&digest, 1..9).unwrap(), blob[1..9]);
        assert!(client.manifest(&tag("t")).unwrap().is_some());
        client.tags().unwrap();
        registry.mend();
        // An upload that goes elsewhere: the other server knows of none.
        registry.when(
            |r| r.method == "POST",
            usize::MAX,
            What::UploadTo(server.clone()),
        );
        let new = noise(500);
        assert!(
            client
                .push_blob(&digest_of(&new), 500, &Bytes(&new))
                .is_err()
        );
        assert!(other.requests().len() >= 6);
        assert!(!has_come_to(&other), "{:?}", other.log());
        // A server that is led to and wants credentials of its own does not get these.
        registry.mend();
        let asking = FaultyRegistry::with(Auth::Basic(PAIR.into()));
        let server = format!("http://{}", asking.host());
        registry.when(is_read, usize::MAX, What::RedirectTo(server));
        let error = client.read_blob(&digest, 1_000).unwrap_err();
        assert!(matches!(error, Error::RegistryRefused { .. }), "{error}");
        assert!(!has_come_to(&asking));
    }
}

#[test]
fn a_realm_that_leads_elsewhere_takes_no_credentials_along() {
    let other = FaultyRegistry::with(token());
    for entry in [password(), identity()] {
        let registry = FaultyRegistry::with(token());
        let server = format!("http://{}", other.host());
        registry.when(
            |r| r.path.starts_with("/token"),
            99,
            What::RedirectTo(server),
        );
        let (_directory, access) = with(&registry, &entry);
        assert!(client(&registry, &access).tags().is_err());
        assert!(!has_come_to(&other), "{:?}", other.log());
        assert!(other.log().iter().all(|r| r.body_bytes == 0));
    }
    // The realm that the registry names itself, on this machine, may have them.
    let Auth::Token { basic, refresh, .. } = token() else {
        unreachable!();
    };
    let realm = Some(format!("http://{}", other.host()));
    let registry = FaultyRegistry::with(Auth::Token {
        basic,
        refresh,
        realm,
    });
    let (_directory, access) = with(&registry, &password());
    // The other's tokens are none of this registry's.
    assert!(client(&registry, &access).tags().is_err());
    assert!(has_come_to(&other));
    // One without TLS on another machine may not.
    let realm = Some("http://tokens.invalid".to_owned());
    registry.state().auth = Auth::Token {
        basic: PAIR.into(),
        refresh: REFRESH.into(),
        realm,
    };
    let error = client(&registry, &access).tags().unwrap_err();
    assert!(
        told(&error).contains("tokens.invalid has no TLS"),
        "{error}"
    );
}

#[test]
fn no_error_and_no_debug_form_has_a_secret() {
    let blob = noise(10);
    for (auth, entry) in [
        (Auth::Basic(PAIR.into()), password()),
        (token(), password()),
        (token(), identity()),
    ] {
        let registry = FaultyRegistry::with(auth);
        fill(&registry, &blob);
        let (_directory, access) = with(&registry, &entry);
        let repository = repository(&registry, NAME);
        let client = Client::open(&repository, &access, Right::Pull).unwrap();
        client.tags().unwrap();
        // The server says what it was told, in whole or cut.
        let expected = registry.log().into_iter().rev();
        let given = expected.filter_map(|r| r.authorization).next().unwrap();
        let (_, given) = given.split_once(' ').unwrap();
        registry.when(|r| r.header("authorization").is_some(), 1, What::Echo(0));
        registry.when(|r| r.header("authorization").is_some(), 1, What::Echo(282));
        for _ in 0..2 {
            let error = client.manifest(&tag("t")).unwrap_err();
            let text = format!("{error} {error:?} {client:?} {access:?}");
            assert!(text.contains("***"), "{text}");
            for secret in [PASSWORD, PAIR, REFRESH, given, &given[..6]] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        assert!(!registry.has_faults());
    }
}
