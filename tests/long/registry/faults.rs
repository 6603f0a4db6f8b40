//! Each fault at each request of each operation: done in the end, or one clear error; never a hang, never a wrong byte.

use super::{
    Bytes, NAME, TYPE, access, client, digest_of, fill, manifest, noise, repository, tag, told,
};
use crate::common::registry::{FaultyRegistry, What};
use rootstrata::error::Error;
use rootstrata::model::repository::Reference;
use rootstrata::registry::{Client, Put};
use std::cell::RefCell;
use std::io::Read;
use std::time::Duration;

type Outcome = Result<(), String>;

/// An operation on a registry that [`fill`] has filled; panics for a wrong result.
struct Operation {
    name: &'static str,
    run: fn(&Client, &FaultyRegistry) -> Outcome,
}

fn blob() -> Vec<u8> {
    noise(200_000)
}

fn new_blob() -> Vec<u8> {
    noise(150_001)
}

fn text(error: Error) -> String {
    told(&error)
}

fn get_tag(client: &Client, _: &FaultyRegistry) -> Outcome {
    match client.manifest(&tag("t")).map_err(text)? {
        Some(found) => assert_eq!(found.bytes, manifest(&blob())),
        None => return Err("none".into()),
    }
    Ok(())
}

fn get_digest(client: &Client, _: &FaultyRegistry) -> Outcome {
    let digest = digest_of(&manifest(&blob()));
    match client.manifest(&Reference::Digest(digest)).map_err(text)? {
        Some(found) => assert_eq!(found.bytes, manifest(&blob())),
        None => return Err("none".into()),
    }
    Ok(())
}

fn head_tag(client: &Client, _: &FaultyRegistry) -> Outcome {
    match client.manifest_digest(&tag("t")).map_err(text)? {
        Some(found) => assert_eq!(found, digest_of(&manifest(&blob()))),
        None => return Err("none".into()),
    }
    Ok(())
}

fn put(client: &Client, registry: &FaultyRegistry) -> Outcome {
    let bytes = manifest(&blob());
    let put = client
        .put_manifest(&tag("new"), TYPE, &bytes)
        .map_err(text)?;
    // As for one that has lost all blobs.
    if put == Put::Unknown(Vec::new()) {
        return Err("none".into());
    }
    assert_eq!(put, Put::Done);
    let digest = digest_of(&bytes).to_string();
    assert_eq!(registry.state().repo(NAME).tags.get("new"), Some(&digest));
    Ok(())
}

fn push(client: &Client, registry: &FaultyRegistry) -> Outcome {
    let bytes = new_blob();
    let size = bytes.len() as u64;
    let digest = digest_of(&bytes);
    client
        .push_blob(&digest, size, &Bytes(&bytes))
        .map_err(text)?;
    let found = registry
        .state()
        .repo(NAME)
        .blobs
        .get(&digest.to_string())
        .cloned();
    assert!(found == Some(bytes));
    Ok(())
}

fn read(client: &Client, _: &FaultyRegistry) -> Outcome {
    let bytes = blob();
    let opened = client.open_blob(&digest_of(&bytes), bytes.len() as u64);
    let mut found = Vec::new();
    let read = opened.map_err(text)?.read_to_end(&mut found);
    read.map_err(|e| told(&e))?;
    assert!(found == bytes);
    Ok(())
}

fn read_all(client: &Client, _: &FaultyRegistry) -> Outcome {
    match client
        .read_blob(&digest_of(&blob()), 1 << 20)
        .map_err(text)?
    {
        Some(found) => assert!(found == blob()),
        None => return Err("none".into()),
    }
    Ok(())
}

fn range(client: &Client, _: &FaultyRegistry) -> Outcome {
    let found = client.read_range(&digest_of(&blob()), 70_000..140_000);
    assert!(found.map_err(text)? == blob()[70_000..140_000]);
    Ok(())
}

fn head_blob(client: &Client, _: &FaultyRegistry) -> Outcome {
    match client.has_blob(&digest_of(&blob())).map_err(text)? {
        Some(found) => assert_eq!(found, 200_000),
        None => return Err("none".into()),
    }
    Ok(())
}

fn list(client: &Client, _: &FaultyRegistry) -> Outcome {
    match client.tags().map_err(text)?.as_slice() {
        [one] => assert_eq!(one, "t"),
        [] => return Err("none".into()),
        more => panic!("{more:?}"),
    }
    Ok(())
}

fn delete(client: &Client, registry: &FaultyRegistry) -> Outcome {
    let digest = digest_of(&manifest(&blob()));
    client.delete_manifest(&digest).map_err(text)?;
    assert!(registry.state().repo(NAME).manifests.is_empty());
    Ok(())
}

fn mount(client: &Client, registry: &FaultyRegistry) -> Outcome {
    let bytes = new_blob();
    registry.state().put_blob("farm/other", &bytes);
    let from = repository(registry, "farm/other");
    let is_done = client.mount(&digest_of(&bytes), &from).map_err(text)?;
    let digest = digest_of(&bytes).to_string();
    let is_there = registry.state().repo(NAME).blobs.contains_key(&digest);
    assert!(is_there || !is_done);
    Ok(())
}

const fn operation(name: &'static str, run: fn(&Client, &FaultyRegistry) -> Outcome) -> Operation {
    Operation { name, run }
}

const OPERATIONS: &[Operation] = &[
    operation("get_tag", get_tag),
    operation("get_digest", get_digest),
    operation("head_tag", head_tag),
    operation("put", put),
    operation("push", push),
    operation("read", read),
    operation("read_all", read_all),
    operation("range", range),
    operation("head_blob", head_blob),
    operation("list", list),
    operation("delete", delete),
    operation("mount", mount),
];

/// How many requests an operation takes where nothing goes wrong.
fn requests_of(operation: &Operation) -> usize {
    let registry = FaultyRegistry::start();
    fill(&registry, &blob());
    (operation.run)(&client(&registry, &access()), &registry).unwrap();
    registry.requests().len()
}

#[test]
fn each_passing_fault_at_each_request_is_got_over() {
    let passing = [
        What::Status(429, Some("1")),
        What::Status(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        What::Status(502, None),
        What::Status(500, None),
        What::Status(408, None),
        What::Stall,
        What::StallAfter(10),
        What::Trickle,
        What::CutAfter(0),
        What::CutAfter(30),
        What::CutBody(0),
        What::CutBody(50),
        What::CutBody(100_000),
        What::CutUpload(0),
        What::CutUpload(1_000),
        What::LoseAnswer,
        What::Garbage,
    ];
    for operation in OPERATIONS {
        for nth in 0..requests_of(operation) {
            for what in &passing {
                let registry = FaultyRegistry::start();
                fill(&registry, &blob());
                registry.nth(nth, what.clone());
                let done = (operation.run)(&client(&registry, &access()), &registry);
                assert_eq!(done, Ok(()), "{} {nth} {what:?}", operation.name);
                assert!(!registry.has_faults(), "{} {nth} {what:?}", operation.name);
            }
        }
    }
}

#[test]
fn each_lasting_fault_of_an_answer_does_no_harm_or_is_one_clear_error() {
    let lasting = [
        What::Status(404, None),
        What::Status(400, None),
        What::Status(418, None),
        What::Says(
            405,
            r#"{"errors":[{"code":"UNSUPPORTED","message":"a\u001b[2J\nb"}]}"#.into(),
        ),
        What::Says(200, "{}".into()),
        What::Says(301, String::new()),
        What::Gone,
        What::WrongBody,
        What::ShortBody,
        What::HugeBody,
        What::HugeHeader,
        What::NoRange,
        What::NoDigest,
        What::Echo(9),
        What::RedirectTo("http://127.0.0.1:1".into()),
        What::UploadTo("http://127.0.0.1:1".into()),
        What::UploadTo("gopher:".into()),
    ];
    for operation in OPERATIONS {
        for nth in 0..requests_of(operation) {
            for what in &lasting {
                if is_beyond_proof(operation.name, what) {
                    continue;
                }
                let registry = FaultyRegistry::start();
                fill(&registry, &blob());
                registry.when_after(|r| r.is_of_repository(), nth, usize::MAX, what.clone());
                let done = (operation.run)(&client(&registry, &access()), &registry);
                let label = format!("{} {nth} {what:?}: {done:?}", operation.name);
                if let Err(text) = done {
                    let is_clear = text == "none" || is_clear(&text, &registry);
                    assert!(is_clear, "{label}");
                }
            }
        }
    }
}

fn is_clear(text: &str, registry: &FaultyRegistry) -> bool {
    let names_it = text.contains(&registry.host()) || text.contains("sha256:");
    names_it && text.len() < 1_200 && !text.contains(char::is_control)
}

/// What only a digest could prove wrong, where there is none.
fn is_beyond_proof(operation: &str, what: &What) -> bool {
    match operation {
        "get_tag" | "head_tag" => matches!(what, What::Says(200, _)),
        "range" => matches!(what, What::WrongBody | What::HugeBody),
        // Whoever reads compares the digest.
        "read" => matches!(what, What::WrongBody | What::HugeBody),
        "head_blob" => matches!(what, What::ShortBody | What::HugeBody | What::Says(200, _)),
        "delete" => matches!(
            what,
            What::HugeBody | What::Says(200, _) | What::Status(404, _) | What::Gone
        ),
        _ => false,
    }
}

#[test]
fn a_registry_that_is_away_is_asked_five_times_and_told_as_unreachable() {
    for what in [
        What::Status(503, None),
        What::Status(429, Some("3600")),
        What::CutAfter(0),
        What::Stall,
    ] {
        for operation in OPERATIONS {
            let registry = FaultyRegistry::start();
            fill(&registry, &blob());
            registry.when(|r| r.is_of_repository(), usize::MAX, what.clone());
            let mut access = access();
            access.timeout = Some(Duration::from_millis(100));
            let client = client(&registry, &access);
            let text = (operation.run)(&client, &registry).unwrap_err();
            assert!(text.contains("cannot be reached"), "{text}");
            assert_eq!(client.traffic().retries, 4, "{}", operation.name);
        }
    }
    let registry = FaultyRegistry::start();
    let gone = registry.host();
    drop(registry);
    let name = format!("{gone}/a");
    let repository = rootstrata::model::repository::Repository::parse(&name).unwrap();
    let right = rootstrata::registry::Right::Pull;
    let client = Client::open(&repository, &access(), right).unwrap();
    let error = client.manifest(&tag("t")).unwrap_err();
    assert!(
        matches!(error, Error::RegistryUnreachable { .. }),
        "{error}"
    );
}

thread_local! {
    static WAITS: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn the_wait_is_what_the_server_asks_for_or_doubles() {
    let mut access = access();
    access.pause = Some(|wait| WAITS.with_borrow_mut(|waits| waits.push(wait)));
    access.tries = Some(7);
    let registry = FaultyRegistry::start();
    fill(&registry, &blob());
    registry.nth(0, What::Status(429, Some("7")));
    registry.nth(0, What::Status(503, Some("86400")));
    registry.nth(0, What::Status(503, Some("nonsense")));
    registry.when_after(|r| r.is_of_repository(), 3, 3, What::Status(500, None));
    get_tag(&client(&registry, &access), &registry).unwrap();
    let waits = WAITS.with_borrow(|waits| waits.clone());
    assert_eq!(waits[..2], [7, 60].map(Duration::from_secs));
    for (wait, most) in waits[2..].iter().zip([4, 8, 8, 8]) {
        let most = Duration::from_secs(most);
        assert!(*wait <= most && *wait >= most * 3 / 4, "{waits:?}");
    }
    assert_eq!(waits.len(), 6);
}

#[test]
fn a_stream_that_is_cut_goes_on_where_it_was() {
    let registry = FaultyRegistry::start();
    fill(&registry, &blob());
    registry.when(|r| r.is_of_repository(), 3, What::CutBody(40_000));
    let client = client(&registry, &access());
    read(&client, &registry).unwrap();
    let ranges: Vec<_> = registry.log().into_iter().filter_map(|r| r.range).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(
        client.traffic().bytes_received < 201_000,
        "{:?}",
        client.traffic()
    );
    // The same from a server without ranges.
    registry.when(|r| r.is_of_repository(), 1, What::CutBody(40_000));
    registry.when(|r| r.is_of_repository(), 1, What::NoRange);
    read(&client, &registry).unwrap();
}

#[test]
fn a_stream_gives_as_many_bytes_as_the_blob_is_said_to_have_or_an_error() {
    let bytes = blob();
    let registry = FaultyRegistry::start();
    fill(&registry, &bytes);
    let client = client(&registry, &access());
    let read = |size| {
        let mut found = Vec::new();
        let mut stream = client.open_blob(&digest_of(&bytes), size).unwrap();
        stream.read_to_end(&mut found).map(|_| found)
    };
    let size = bytes.len();
    assert!(read(size as u64).unwrap() == bytes);
    assert!(read(size as u64 - 1).unwrap() == bytes[..size - 1]);
    assert!(read(size as u64 + 1).is_err());
}

#[test]
fn a_blob_whose_answer_was_lost_is_not_sent_twice() {
    let registry = FaultyRegistry::start();
    registry.when(|r| r.method == "PUT", 1, What::LoseAnswer);
    let client = client(&registry, &access());
    push(&client, &registry).unwrap();
    assert_eq!(client.traffic().bytes_sent, 150_001);
}
