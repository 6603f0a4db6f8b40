//! policy.json of containers-policy.json(5): whether images of a repository may be used unsigned.
//!
//! Signatures are never checked here, so whatever wants some is a refusal.

use crate::error::Error;
use crate::error::Result;
use crate::model::repository::Repository;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

const LARGEST: u64 = 4 << 20;

#[derive(Deserialize)]
struct Policy {
    default: Vec<Value>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
}

/// Reads the policy at `path`. Fails where it wants signatures or refuses the repository, and where it is malformed; a
/// missing file wants nothing.
pub(super) fn check(path: &Path, repository: &Repository) -> Result<()> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|f| f.take(LARGEST).read_to_end(&mut text));
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(Error::io::<io::Error>("read", path))?,
    };
    match takes_unsigned(&text, repository) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::SignaturesWanted {
            path: path.to_owned(),
            repository: repository.to_string(),
        }),
        Err(e) => Err(Error::BadRegistryFile {
            path: path.to_owned(),
            what: format!("it is malformed: {e}"),
        }),
    }
}

fn takes_unsigned(text: &[u8], repository: &Repository) -> Result<bool, serde_json::Error> {
    let policy: Policy = serde_json::from_slice(text)?;
    let Some(docker) = policy.transports.get("docker") else {
        return Ok(is_open(&policy.default));
    };
    // An entry of one image of the repository: any may be asked for.
    let name = repository.to_string();
    let is_image = |key: &str| {
        let rest = key.strip_prefix(&name);
        rest.is_some_and(|rest| rest.starts_with([':', '@']))
    };
    let mut of_images = docker.iter().filter(|(key, _)| is_image(key));
    if !of_images.all(|(_, wants)| is_open(wants)) {
        return Ok(false);
    }
    let scopes = scopes(&name, repository.host());
    let mut found = scopes.iter().filter_map(|scope| docker.get(scope));
    Ok(is_open(found.next().unwrap_or(&policy.default)))
}

fn is_open(wants: &[Value]) -> bool {
    let is_any =
        |want: &Value| want.get("type").and_then(Value::as_str) == Some("insecureAcceptAnything");
    !wants.is_empty() && wants.iter().all(is_any)
}

/// Returns the scopes of a repository, the narrowest first: itself, its parents, the host, domains with a star, all.
fn scopes(name: &str, host: &str) -> Vec<String> {
    let mut scopes = vec![name.to_owned()];
    let mut rest = name;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        scopes.push(parent.to_owned());
        rest = parent;
    }
    let mut domain = host.split(':').next().unwrap_or_default();
    while let Some((_, parent)) = domain.split_once('.') {
        scopes.push(format!("*.{parent}"));
        domain = parent;
    }
    scopes.push(String::new());
    scopes
}

#[cfg(test)]
mod tests {
    use super::takes_unsigned;
    use crate::model::repository::Repository;

    #[test]
    fn the_narrowest_scope_of_a_policy_decides() {
        let policy = r#"{"default":[{"type":"reject"}],"transports":{"docker":{
            "h.x":[{"type":"insecureAcceptAnything"}],
            "h.x/a":[{"type":"signedBy","keyPath":"/k"}],
            "h.x/a/b":[{"type":"insecureAcceptAnything"}],
            "h.x/c:t":[{"type":"sigstoreSigned"}],
            "*.y":[{"type":"insecureAcceptAnything"}],
            "z.y":[]},
            "atomic":{"":[{"type":"insecureAcceptAnything"}]}}}"#;
        for (repository, expected) in [
            ("h.x/d", true),
            ("h.x/a", false),
            ("h.x/a/c", false),
            ("h.x/a/b", true),
            ("h.x/a/b/c", true),
            ("h.x/c", false),
            ("w.y:5/a", true),
            ("v.w.y/a", true),
            ("z.y/a", false),
            ("other.x/a", false),
            ("h.x:5/a", false),
        ] {
            let name = Repository::parse(repository).unwrap();
            let found = takes_unsigned(policy.as_bytes(), &name).unwrap();
            assert_eq!(found, expected, "{repository}");
        }
    }

    #[test]
    fn the_default_of_a_policy_counts_where_nothing_else_does() {
        let name = Repository::parse("h.x/a").unwrap();
        let open = br#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        assert!(takes_unsigned(open, &name).unwrap());
        let all = br#"{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"insecureAcceptAnything"}]}}}"#;
        assert!(takes_unsigned(all, &name).unwrap());
        for odd in [
            "",
            "{}",
            r#"{"default":{}}"#,
            r#"{"default":[],"transports":[]}"#,
        ] {
            assert!(takes_unsigned(odd.as_bytes(), &name).is_err());
        }
    }
}
