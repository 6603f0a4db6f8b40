//! Tests of what stands where in files with credentials.

use super::{Credentials, in_file};
use crate::model::repository::Repository;
use crate::registry::access::Access;
use crate::registry::secret::Secret;
use crate::registry::secret::base64;
use std::path::Path;

fn find(text: &str, repository: &str) -> Option<String> {
    let repository = Repository::parse(repository).unwrap();
    let found = in_file(Path::new("/f"), text.as_bytes(), &repository).unwrap();
    found.map(|found| match found {
        Credentials::Password { user, password } => format!("{user}:{}", password.0),
        Credentials::Identity(token) => format!("identity {}", token.0),
    })
}

fn auth(pair: &str) -> String {
    format!(r#"{{"auth":"{}"}}"#, base64(pair.as_bytes()))
}

#[test]
fn the_longest_key_of_a_repository_counts() {
    let file = format!(
        r#"{{"auths":{{"h.x":{},"h.x/a":{},"h.x/a/b":{},"h.x:5":{},"https://old.x/v1/":{},"e.x":{{}},"n.x":null}}}}"#,
        auth("host:1"),
        auth("space:2"),
        auth("repo:3:4"),
        auth("port:5"),
        auth("old:6\0\0"),
    );
    for (repository, expected) in [
        ("h.x/c", Some("host:1")),
        ("h.x/a", Some("space:2")),
        ("h.x/a/c", Some("space:2")),
        ("h.x/a/b", Some("repo:3:4")),
        ("h.x/a/b/c", Some("repo:3:4")),
        ("h.x/ab", Some("host:1")),
        ("h.x:5/a", Some("port:5")),
        ("h.x:6/a", None),
        ("old.x/a/b", Some("old:6")),
        ("e.x/a", None),
        ("n.x/a", None),
        ("x.h.x/a", None),
    ] {
        assert_eq!(find(&file, repository).as_deref(), expected, "{repository}");
    }
}

#[test]
fn the_forms_of_docker_are_read() {
    let hub = format!(
        r#"{{"auths":{{"https://index.docker.io/v1/":{}}}}}"#,
        auth("u:p")
    );
    assert_eq!(find(&hub, "docker.io/debian").as_deref(), Some("u:p"));
    assert_eq!(find(&hub, "quay.io/debian"), None);
    let identity = r#"{"auths":{"h.x":{"auth":"eDo=","identitytoken":"tok"}}}"#;
    assert_eq!(find(identity, "h.x/a").as_deref(), Some("identity tok"));
    let plain = r#"{"auths":{"h.x":{"username":"u","password":"p"}},"HttpHeaders":{"a":"b"}}"#;
    assert_eq!(find(plain, "h.x/a").as_deref(), Some("u:p"));
    for empty in ["", "\n", "{}", r#"{"auths":{}}"#] {
        assert_eq!(find(empty, "h.x/a"), None);
    }
}

#[test]
fn a_malformed_file_is_named_in_one_line_without_its_secrets() {
    for text in [
        "{",
        "[]",
        r#"{"auths":{"h.x":{"auth":"hunter2!"}}}"#,
        r#"{"auths":{"h.x":{"auth":"aHVudGVyMg=="}}}"#,
        r#"{"auths":{"h.x":{"auth":3}}}"#,
        r#"{"auths":{"h.x":"hunter2"}}"#,
    ] {
        let repository = Repository::parse("h.x/a").unwrap();
        let error = in_file(Path::new("/a/auth.json"), text.as_bytes(), &repository).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("/a/auth.json"), "{told}");
        assert!(!told.contains("hunter2") && !told.contains('\n'), "{told}");
    }
}

#[test]
fn a_file_without_an_entry_leaves_the_matter_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let other = write("1", &format!(r#"{{"auths":{{"o.x":{}}}}}"#, auth("no:1")));
    let own = write("2", &format!(r#"{{"auths":{{"h.x":{}}}}}"#, auth("u:p")));
    let missing = directory.path().join("3");
    let repository = Repository::parse("h.x/a").unwrap();
    let mut access = Access {
        authfiles: vec![missing.clone(), other.clone(), own],
        ..Access::default()
    };
    let expected = Credentials::Password {
        user: "u".into(),
        password: Secret("p".into()),
    };
    let found = Credentials::find(&access, &repository).unwrap();
    assert_eq!(found, Some(expected));
    access.authfile = Some(other);
    assert_eq!(Credentials::find(&access, &repository).unwrap(), None);
    access.authfile = Some(missing);
    assert!(Credentials::find(&access, &repository).is_err());
}
