//! Names and passwords from files, as of containers-auth.json(5) and docker's config.json.
//!
//! A key may be `HOST[:PORT]` or a namespace of it; the longest that the repository has counts. A file without an entry leaves
//! the matter to the next file.

use crate::error::Error;
use crate::error::Result;
use crate::model::repository::Repository;
use crate::registry::access::Access;
use crate::registry::helper;
use crate::registry::secret::Secret;
use crate::registry::secret::from_base64;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

const LARGEST: u64 = 4 << 20;
/// The key of docker.io in docker's config.json.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A name with its password.
    Password { user: String, password: Secret },
    /// A token that tokens are had for.
    Identity(Secret),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: BTreeMap<String, Option<Entry>>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

impl Credentials {
    /// Finds the credentials for a repository; `None` where no file has any. Fails for a malformed file, a file that cannot
    /// be read, and a helper that gives no answer.
    pub(super) fn find(access: &Access, repository: &Repository) -> Result<Option<Self>> {
        if let Some(only) = &access.authfile {
            // A file named must be there.
            let text = read(only).map_err(Error::io("read", only))?;
            return in_file(only, &text, repository);
        }
        for path in &access.authfiles {
            let text = match read(path) {
                Ok(text) => text,
                Err(e) if is_absent(&e) => continue,
                Err(e) => return Err(Error::io("read", path)(e)),
            };
            if let Some(found) = in_file(path, &text, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Another user's files are none of this user's.
fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn bad(path: &Path, what: impl Into<String>) -> Error {
    Error::BadRegistryFile {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// Finds the credentials of a file: of the helper for the host, of the longest key, of the helper for all.
fn in_file(path: &Path, text: &[u8], repository: &Repository) -> Result<Option<Credentials>> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let file = parsed(path, text)?;
    let host = repository.host();
    if let Some(name) = file.cred_helpers.get(host)
        && let Some(found) = helper(path, name, host)?
    {
        return Ok(Some(found));
    }
    for key in keys(repository) {
        let mut entries = file.auths.iter().filter(|(k, _)| is_key(k, &key));
        if let Some(found) = entries.find_map(|(_, entry)| entry.as_ref()?.credentials()) {
            let odd = || bad(path, format!("the entry of {key} is malformed"));
            return found.ok_or_else(odd).map(Some);
        }
    }
    match &file.creds_store {
        Some(name) if !name.is_empty() => helper(path, name, host),
        _ => Ok(None),
    }
}

fn parsed(path: &Path, text: &[u8]) -> Result<AuthFile> {
    // The library would take a list for an object.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(bad(path, "it is no JSON object"));
    }
    serde_json::from_slice(text).map_err(|e| {
        // The text of the library's error may hold a value of the file.
        let (line, column) = (e.line(), e.column());
        let what = format!("it is malformed at line {line}, column {column}");
        bad(path, what)
    })
}

/// Returns `HOST/NAME`, its parents, and `HOST`.
fn keys(repository: &Repository) -> Vec<String> {
    let mut key = repository.to_string();
    let mut keys = vec![key.clone()];
    while let Some(slash) = key.rfind('/') {
        key.truncate(slash);
        keys.push(key.clone());
    }
    keys
}

/// Tells whether a key of a file is `wanted`. Old files have addresses for hosts, and several names for docker.io.
fn is_key(key: &str, wanted: &str) -> bool {
    if key == wanted {
        return true;
    }
    let scheme = key.strip_prefix("https://").or(key.strip_prefix("http://"));
    let is_host = !wanted.contains('/');
    let bare = scheme.unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    let is_hub = matches!(host, "index.docker.io" | "registry-1.docker.io");
    let host = if is_hub { "docker.io" } else { host };
    is_host && host == wanted && (scheme.is_some() || is_hub)
}

impl Entry {
    /// Returns the credentials; the inner `None` for malformed ones, the outer one for an empty entry.
    fn credentials(&self) -> Option<Option<Credentials>> {
        let given = |secret: &Option<Secret>| secret.clone().filter(|s| !s.0.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Some(Some(Credentials::Identity(token)));
        }
        if let Some(auth) = given(&self.auth) {
            return Some(of_auth(&auth));
        }
        let user = self.username.clone().filter(|user| !user.is_empty())?;
        let password = self.password.clone()?;
        Some(Some(Credentials::Password { user, password }))
    }
}

/// Reads base64 of `USER:PASSWORD`. Old files end in zero bytes.
fn of_auth(auth: &Secret) -> Option<Credentials> {
    let text = String::from_utf8(from_base64(&auth.0)?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials::Password {
        user: user.to_owned(),
        password: Secret(password.trim_end_matches('\0').to_owned()),
    })
}

fn helper(path: &Path, name: &str, host: &str) -> Result<Option<Credentials>> {
    let server = match host {
        "docker.io" => HUB_KEY,
        other => other,
    };
    let found = helper::get(name, server);
    let found = found.map_err(|what| bad(path, format!("docker-credential-{name} {what}")))?;
    Ok(found.map(|found| match found.user.as_str() {
        "<token>" => Credentials::Identity(found.secret),
        _ => Credentials::Password {
            user: found.user,
            password: found.secret,
        },
    }))
}

#[cfg(test)]
mod tests;
