//! The client of registries, against a registry that misbehaves.

mod auth;
mod faults;
mod files;
mod images;
mod prune;
mod well;

use crate::common::registry::{FaultyRegistry, sha256};
use rootstrata::model::digest::Digest;
use rootstrata::model::repository::{Reference, Repository};
use rootstrata::registry::{Access, Client, Right, Source};
use std::io::{self, Read};
use std::time::Duration;

const NAME: &str = "farm/layers";
const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Access that never waits between tries, and for no answer for long.
fn access() -> Access {
    Access {
        timeout: Some(Duration::from_millis(500)),
        pause: Some(|_| {}),
        ..Access::default()
    }
}

fn repository(registry: &FaultyRegistry, name: &str) -> Repository {
    Repository::parse(&format!("{}/{name}", registry.host())).unwrap()
}

fn client(registry: &FaultyRegistry, access: &Access) -> Client {
    Client::open(&repository(registry, NAME), access, Right::Delete).unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::parse(text).unwrap()
}

fn digest_of(bytes: &[u8]) -> Digest {
    digest(&sha256(bytes))
}

fn tag(text: &str) -> Reference {
    Reference::tag(text).unwrap()
}

/// Bytes without a pattern.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

/// A manifest of a blob.
fn manifest(blob: &[u8]) -> Vec<u8> {
    let digest = sha256(blob);
    let text = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}},"layers":[{{"digest":"{digest}"}}]}}"#
    );
    text.into_bytes()
}

/// Puts the blob, and its manifest as `t`.
fn fill(registry: &FaultyRegistry, blob: &[u8]) {
    let mut state = registry.state();
    state.put_blob(NAME, blob);
    let repo = state.repo(NAME);
    let bytes = manifest(blob);
    let digest = sha256(&bytes);
    repo.manifests
        .insert(digest.clone(), (TYPE.to_owned(), bytes));
    repo.tags.insert("t".to_owned(), digest);
}

struct Bytes<'b>(&'b [u8]);

impl Source for Bytes<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0))
    }
}

/// An error and its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
