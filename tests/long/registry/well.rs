//! What the client does where nothing goes wrong.

use super::{Bytes, NAME, TYPE, access, client, digest_of, fill, manifest, noise, repository, tag};
use crate::common::registry::{FaultyRegistry, What};
use rootstrata::model::repository::{ImageName, Reference};
use rootstrata::registry::{BlobStream, Client, Manifest, Put, Right, Traffic};
use std::io::Read;

#[test]
fn what_was_pushed_is_read_in_whole_and_in_part() {
    let registry = FaultyRegistry::start();
    let client = client(&registry, &access());
    let blob = noise(300_000);
    let digest = digest_of(&blob);
    let size = blob.len() as u64;
    assert_eq!(client.has_blob(&digest).unwrap(), None);
    assert_eq!(client.read_blob(&digest, size).unwrap(), None);
    client.push_blob(&digest, size, &Bytes(&blob)).unwrap();
    assert_eq!(client.has_blob(&digest).unwrap(), Some(size));
    assert_eq!(client.read_blob(&digest, size).unwrap(), Some(blob.clone()));
    assert!(client.read_blob(&digest, size - 1).is_err());
    let part = client.read_range(&digest, 1_000..1_500).unwrap();
    assert_eq!(part, blob[1_000..1_500]);
    assert_eq!(client.read_range(&digest, 5..5).unwrap(), b"");
    assert!(client.read_range(&digest, size - 1..size + 1).is_err());
    let mut stream: BlobStream = client.open_blob(&digest, size).unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    assert!(read == blob);
    let traffic: Traffic = client.traffic();
    assert_eq!(traffic.bytes_sent, size);
    assert!(traffic.bytes_received >= 2 * size);
}

#[test]
fn a_manifest_is_put_by_tag_and_by_digest_and_says_what_it_lacks() {
    let registry = FaultyRegistry::start();
    let client = client(&registry, &access());
    let blob = noise(10);
    let bytes = manifest(&blob);
    let put = client.put_manifest(&tag("t"), TYPE, &bytes).unwrap();
    assert_eq!(put, Put::Unknown(vec![digest_of(&blob)]));
    client
        .push_blob(&digest_of(&blob), 10, &Bytes(&blob))
        .unwrap();
    let by_digest = Reference::Digest(digest_of(&bytes));
    for reference in [&tag("t"), &by_digest] {
        let put = client.put_manifest(reference, TYPE, &bytes).unwrap();
        assert_eq!(put, Put::Done);
        let found: Manifest = client.manifest(reference).unwrap().unwrap();
        assert_eq!(found.media_type, TYPE);
        assert_eq!(
            (found.digest, found.bytes),
            (digest_of(&bytes), bytes.clone())
        );
        let digest = client.manifest_digest(reference).unwrap();
        assert_eq!(digest, Some(digest_of(&bytes)));
    }
    assert!(client.put_manifest(&by_digest, TYPE, b"{}").is_err());
    assert!(client.delete_manifest(&digest_of(&bytes)).unwrap());
    assert!(!client.delete_manifest(&digest_of(&bytes)).unwrap());
    assert_eq!(client.manifest(&tag("t")).unwrap(), None);
    assert_eq!(client.manifest_digest(&tag("t")).unwrap(), None);
}

#[test]
fn an_immutable_tag_with_the_same_digest_is_done_and_another_is_an_error() {
    let registry = FaultyRegistry::start();
    let client = client(&registry, &access());
    let blob = noise(10);
    fill(&registry, &blob);
    registry.when(|r| r.method == "PUT", 99, What::ImmutableTag);
    let put = client
        .put_manifest(&tag("t"), TYPE, &manifest(&blob))
        .unwrap();
    assert_eq!(put, Put::Done);
    let error = client.put_manifest(&tag("t"), TYPE, b"{}").unwrap_err();
    assert!(error.to_string().contains("TAG_INVALID"), "{error}");
}

#[test]
fn all_pages_of_tags_are_listed_and_an_unknown_repository_has_none() {
    let registry = FaultyRegistry::start();
    let client = client(&registry, &access());
    assert!(client.tags().unwrap().is_empty());
    let tags: Vec<String> = (0..2_500).map(|n| format!("t{n:05}")).collect();
    for tag in &tags {
        let mut state = registry.state();
        state.repo(NAME).tags.insert(tag.clone(), String::new());
    }
    registry.clear_log();
    assert_eq!(client.tags().unwrap(), tags);
    assert_eq!(registry.requests().len(), 3);
}

#[test]
fn a_list_of_tags_that_goes_in_a_circle_or_elsewhere_ends() {
    let registry = FaultyRegistry::start();
    let client = client(&registry, &access());
    let mut state = registry.state();
    for n in 0..1_000 {
        state
            .repo(NAME)
            .tags
            .insert(format!("t{n:05}"), String::new());
    }
    drop(state);
    registry.when(|r| r.path.contains("last="), 9, What::Circle);
    let error = client.tags().unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
    registry.mend();
    registry.when(
        |r| r.path.contains("n=1000"),
        1,
        What::LinkTo("http://other.example/v2/x"),
    );
    let error = client.tags().unwrap_err().to_string();
    assert!(error.contains("another host"), "{error}");
}

#[test]
fn a_blob_is_mounted_or_the_upload_is_ended() {
    let registry = FaultyRegistry::start();
    let target = client(&registry, &access());
    let from = repository(&registry, "farm/other");
    let blob = noise(1_000);
    let digest = digest_of(&blob);
    assert!(!target.mount(&digest, &from).unwrap());
    let requests = registry.requests();
    assert!(
        requests.last().unwrap().starts_with("DELETE "),
        "{requests:?}"
    );
    registry.state().put_blob("farm/other", &blob);
    registry.nth(0, What::DeclineMount);
    assert!(!target.mount(&digest, &from).unwrap());
    assert!(target.mount(&digest, &from).unwrap());
    assert_eq!(target.has_blob(&digest).unwrap(), Some(1_000));
    let elsewhere = ImageName::parse("registry.example/a/b:t").unwrap();
    assert_eq!(elsewhere.repository.host(), "registry.example");
    assert_eq!(elsewhere.repository.name(), "a/b");
    assert!(!target.mount(&digest, &elsewhere.repository).unwrap());
}

#[test]
fn threads_share_a_client() {
    let registry = FaultyRegistry::start();
    let client: Client = client(&registry, &access());
    let blobs: Vec<Vec<u8>> = (0..32).map(|n| noise(10_000 + n)).collect();
    std::thread::scope(|scope| {
        for part in blobs.chunks(8) {
            let client = &client;
            scope.spawn(move || {
                for blob in part {
                    let size = blob.len() as u64;
                    client
                        .push_blob(&digest_of(blob), size, &Bytes(blob))
                        .unwrap();
                    let found = client.read_blob(&digest_of(blob), size).unwrap();
                    assert_eq!(found.as_ref(), Some(blob));
                }
            });
        }
    });
    assert_eq!(client.repository().name(), NAME);
    assert_eq!(registry.state().repo(NAME).blobs.len(), 32);
}

#[test]
fn a_source_that_fails_or_is_short_ends_the_push_at_once() {
    let registry = FaultyRegistry::start();
    let blob = noise(1_000);
    let digest = digest_of(&blob);
    let repository = repository(&registry, NAME);
    let client = Client::open(&repository, &access(), Right::Push).unwrap();
    let error = client.push_blob(&digest, 1_001, &Bytes(&blob)).unwrap_err();
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert_eq!(client.traffic().retries, 0);
    assert_eq!(client.has_blob(&digest).unwrap(), None);
    // A longer one has another digest, since its first bytes alone are sent.
    let error = client.push_blob(&digest, 999, &Bytes(&blob)).unwrap_err();
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
}
