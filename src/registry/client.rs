//! A client of one repository: its manifests and its tags.

use crate::error::Error;
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::repository;
use crate::model::repository::Reference;
use crate::model::repository::Repository;
use crate::registry::access::Access;
use crate::registry::access::Right;
use crate::registry::credentials::Credentials;
use crate::registry::fault::Fault;
use crate::registry::link;
use crate::registry::policy;
use crate::registry::reply;
use crate::registry::reply::Reply;
use crate::registry::traffic::Traffic;
use crate::registry::transport::Content;
use crate::registry::transport::Query;
use crate::registry::url::Url;
use crate::registry::wire::Wire;
use serde::Deserialize;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// Limit of manifests (distribution-spec, "Pushing Manifests") and of other JSON.
const MOST_JSON: u64 = 4 << 20;
const MOST_TAGS: usize = 1_000_000;
const MOST_TAG_BYTES: u64 = 64 << 20;
const MOST_PAGES: u32 = 100_000;
const LONGEST_TYPE: usize = 255;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
const DIGEST: &str = "docker-content-digest";

/// A client of one repository, to be shared by threads. Its connections, its tokens and its counters are shared too.
pub struct Client {
    pub(super) wire: Arc<Wire>,
}

/// A manifest, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Media type, as the registry tells; empty if it does not.
    pub media_type: String,
    /// The SHA-256 of `bytes`.
    pub digest: Digest,
    /// The content.
    pub bytes: Vec<u8>,
}

/// What became of a manifest that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The registry has the manifest under its reference.
    Done,
    /// The registry lacks blobs or manifests that the manifest names: these, where the registry tells, or else some.
    Unknown(Vec<Digest>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.repository())
    }
}

impl Client {
    /// Reads credentials, certificates and the policy; asks nobody. Fails where one of these files is malformed, and where
    /// signatures are wanted.
    pub fn open(repository: &Repository, access: &Access, right: Right) -> Result<Self> {
        if let Some(path) = &access.policy {
            policy::check(path, repository)?;
        }
        let credentials = Credentials::find(access, repository)?;
        let wire = Wire::open(repository, access, right, credentials)?;
        Ok(Self {
            wire: Arc::new(wire),
        })
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.wire.repository
    }

    /// Returns what all clients of the same access have sent and received so far.
    pub fn traffic(&self) -> Traffic {
        self.wire.transport.counters.traffic()
    }

    /// Reads a manifest of at most 4 MiB; `None` if there is none. Fails where the content does not have the digest that it
    /// was asked for by, or that the registry tells.
    pub fn manifest(&self, reference: &Reference) -> Result<Option<Manifest>> {
        let action = format!("give the manifest {reference}");
        let query = Query::new("GET").header("accept", MANIFEST_TYPES);
        self.wire.tries(&action, || {
            let reply = self.wire.ask(&at(reference), &query)?;
            match reply.status {
                200 => manifest(reply, reference).map(Some),
                404 => Ok(None),
                _ => Err(reply.unexpected()),
            }
        })
    }

    /// Asks for the digest of a manifest without reading it, where the registry tells; `None` if there is no manifest. Fails
    /// where a manifest that is read instead has another digest.
    pub fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>> {
        let action = format!("tell the digest of {reference}");
        let query = Query::new("HEAD").header("accept", MANIFEST_TYPES);
        let told = self.wire.tries(&action, || {
            let reply = self.wire.ask(&at(reference), &query)?;
            match (reply.status, told_digest(&reply)) {
                (200, digest) => Ok(Some(digest)),
                (404, _) => Ok(None),
                // A registry without HEAD.
                (405, _) => Ok(Some(None)),
                _ => Err(reply.unexpected()),
            }
        })?;
        match (told, reference) {
            (None, _) => Ok(None),
            (Some(Some(digest)), Reference::Digest(asked)) if digest != *asked => {
                Err(self.wire.error(Fault::failed(other(&digest)), &action))
            }
            (Some(Some(digest)), _) => Ok(Some(digest)),
            (Some(None), _) => {
                let manifest = self.manifest(reference)?;
                Ok(manifest.map(|manifest| manifest.digest))
            }
        }
    }

    /// Puts a manifest; an immutable tag that has this manifest already will do. Fails where `reference` is the digest of
    /// other bytes, and where the registry takes the manifest to be malformed.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Put> {
        let digest = sha256(bytes);
        let action = format!("take the manifest {reference}");
        if matches!(reference, Reference::Digest(named) if *named != digest) {
            return Err(self.wire.error(Fault::failed(other(&digest)), &action));
        }
        let query = Query::new("PUT")
            .header("content-type", media_type)
            .content(Content::Bytes(bytes));
        let put = self.wire.tries(&action, || {
            let reply = self.wire.ask(&at(reference), &query)?;
            if reply.status == 201 {
                return taken(&reply, &digest);
            }
            unknown(reply)
        });
        match put {
            Err(Error::Registry { .. } | Error::RegistryRefused { .. })
                if self.is_there(reference, &digest) =>
            {
                Ok(Put::Done)
            }
            put => put,
        }
    }

    /// Tells whether a tag has the manifest that it could not be given.
    fn is_there(&self, reference: &Reference, digest: &Digest) -> bool {
        let is_tag = matches!(reference, Reference::Tag(_));
        is_tag && matches!(self.manifest_digest(reference), Ok(Some(found)) if found == *digest)
    }

    /// Deletes a manifest with all of its tags. Tells whether there was one; after a cut connection, an earlier try may have
    /// deleted it. Fails with [`Error::NoDeletion`] where the registry deletes nothing.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<bool> {
        let action = format!("delete the manifest {digest}");
        let query = Query::new("DELETE");
        self.wire.tries(&action, || {
            let reply = self.wire.ask(&format!("manifests/{digest}"), &query)?;
            match reply.status {
                200 | 202 | 204 => Ok(true),
                404 => Ok(false),
                405 => Err(Fault::Other(Error::NoDeletion {
                    registry: self.repository().host().to_owned(),
                })),
                _ => Err(reply.unexpected()),
            }
        })
    }

    /// Lists all tags, sorted; none for an unknown repository. What is no tag by its letters is passed over. Fails for more than
    /// a million tags or 64 MiB, and where a page leads to another host.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut left = MOST_TAG_BYTES;
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .wire
                .tries("list tags", || self.page(next.as_ref(), left))?;
            left -= page.size_bytes;
            tags.extend(page.tags);
            let is_end = page.next.is_none();
            if is_end && tags.len() <= MOST_TAGS {
                tags.sort_unstable();
                tags.dedup();
                return Ok(tags);
            }
            if page.next == next || tags.len() > MOST_TAGS {
                break;
            }
            next = page.next;
        }
        let fault = Fault::failed("the list does not end");
        Err(self.wire.error(fault, "list tags"))
    }

    fn page(&self, url: Option<&Url>, most: u64) -> Result<Page, Fault> {
        let first = self.wire.address("tags/list?n=1000")?;
        let url = url.unwrap_or(&first);
        let reply = self.wire.ask_at(url, &Query::new("GET"), None)?;
        match reply.status {
            200 => page(reply, url, most),
            404 => Ok(Page::default()),
            _ => Err(reply.unexpected()),
        }
    }
}

#[derive(Default)]
struct Page {
    tags: Vec<String>,
    size_bytes: u64,
    next: Option<Url>,
}

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

fn page(reply: Reply, url: &Url, most: u64) -> Result<Page, Fault> {
    let next = match link::next(&reply.all("link")) {
        None => None,
        Some(target) => match url.join(target) {
            Some(next) if next.is_same_origin(url) => Some(next),
            _ => return Err(Fault::failed("the next page is of another host")),
        },
    };
    let bytes = reply.bytes(most.min(MOST_JSON))?;
    let list: TagList =
        serde_json::from_slice(&bytes).map_err(|_| Fault::failed("the list is malformed"))?;
    let mut tags = list.tags.unwrap_or_default();
    tags.retain(|tag| repository::is_tag(tag));
    Ok(Page {
        tags,
        size_bytes: bytes.len() as u64,
        next,
    })
}

fn at(reference: &Reference) -> String {
    format!("manifests/{reference}")
}

/// Returns the SHA-256 of bytes.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn other(digest: &Digest) -> String {
    format!("the content has the digest {digest}")
}

fn told_digest(reply: &Reply) -> Option<Digest> {
    Digest::parse(reply.header(DIGEST)?)
}

fn manifest(reply: Reply, reference: &Reference) -> Result<Manifest, Fault> {
    let media_type = reply.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let media_type: String = media_type.trim().chars().take(LONGEST_TYPE).collect();
    let told = told_digest(&reply);
    let bytes = reply.bytes(MOST_JSON)?;
    let digest = sha256(&bytes);
    let expected = match reference {
        Reference::Digest(asked) => Some(*asked),
        Reference::Tag(_) => told,
    };
    if expected.is_some_and(|expected| expected != digest) {
        return Err(Fault::failed(other(&digest)));
    }
    Ok(Manifest {
        media_type,
        digest,
        bytes,
    })
}

fn taken(reply: &Reply, digest: &Digest) -> Result<Put, Fault> {
    match told_digest(reply) {
        Some(told) if told != *digest => Err(Fault::failed(other(&told))),
        _ => Ok(Put::Done),
    }
}

/// Reads which blobs a registry lacks. Any other answer is a fault.
fn unknown(reply: Reply) -> Result<Put, Fault> {
    let status = reply.status;
    let text = reply.bytes(MOST_JSON)?;
    let errors = reply::errors(&text);
    let is_unknown = |code: &str| {
        matches!(
            code,
            "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN"
        )
    };
    let mut digests = Vec::new();
    for error in errors.iter().filter(|error| is_unknown(&error.code)) {
        collect_digests(&error.detail, &mut digests);
    }
    if errors.iter().any(|error| is_unknown(&error.code)) {
        digests.sort_unstable();
        digests.dedup();
        return Ok(Put::Unknown(digests));
    }
    let text = reply::prefixed(&text);
    Err(Fault::failed(format!("status {status}{text}")))
}

/// Details differ among registries: a digest, or a digest somewhere in an object.
fn collect_digests(detail: &Value, digests: &mut Vec<Digest>) {
    match detail {
        Value::String(text) => digests.extend(Digest::parse(text)),
        Value::Array(list) => list.iter().for_each(|part| collect_digests(part, digests)),
        Value::Object(map) => map.values().for_each(|part| collect_digests(part, digests)),
        _ => {}
    }
}
