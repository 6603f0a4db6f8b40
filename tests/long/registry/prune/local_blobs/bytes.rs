//! What wants the bytes of a layer afterwards.

use super::*;
use crate::common::listed;
use crate::registry::told;
use std::fs;

fn export(bench: &Bench, number: &str) -> Vec<u8> {
    let archive = bench.path(format!("{number}.oci"));
    bench.json(["export", number, "-o", archive.to_str().unwrap()]);
    let bytes = fs::read(&archive).unwrap();
    fs::remove_file(archive).unwrap();
    bytes
}

#[test]
fn what_wants_bytes_fetches_them_and_the_rest_does_without() {
    let shelf = Shelf::new();
    let bench = &shelf.bench;
    let archives = ["1", "2", "3"].map(|number| export(bench, number));
    let directory = bench.path("out");
    let restored = || {
        let _ = fs::remove_dir_all(&directory);
        bench.prints(0, ["restore", "1", directory.to_str().unwrap()]);
        listed(&directory)
    };
    let before = restored();
    shelf.release().unwrap();
    shelf.registry.clear_log();
    for arguments in [
        vec!["ls", "1"],
        vec!["which", "1", "large"],
        vec!["explain", "2"],
    ] {
        bench.prints(0, arguments);
    }
    bench.prints(1, ["diff", "1", "2"]);
    let again = bench.snapshot(&bench.path("root"), OPTIONS);
    assert_eq!(
        (&again["files_read"], &again["remote_layers"]),
        (&0.into(), &0.into())
    );
    assert_eq!(shelf.registry.requests(), [""; 0]);
    // The layers of the first snapshot are planned over as if they were here.
    let back = record(bench, 1, "");
    assert_eq!(back["manifest_digest"], shelf.manifest(1));
    assert_eq!(shelf.registry.requests(), [""; 0]);
    assert_eq!(bench.prints(0, ["cat", "1", "log/number"]), "1\n");
    shelf.release().unwrap();
    assert_eq!(restored(), before);
    shelf.release().unwrap();
    bench.json(["squash", "2"]);
    shelf.release().unwrap();
    for (number, archive) in ["1", "2", "3"].iter().zip(archives) {
        assert!(export(bench, number) == archive, "{number}");
    }
    shelf.assert_sound("fetched");
    assert!(index(bench).contains(shelf.manifest(1)));
}

#[test]
fn a_push_goes_by_reference_and_another_repository_gets_the_bytes() {
    let shelf = Shelf::new();
    shelf.release().unwrap();
    shelf.registry.clear_log();
    shelf.push(&[1, 2, 3]);
    let sent = |one: &String| one.starts_with("POST") || one.contains("PUT /v2/farm/roots/blobs");
    let requests = shelf.registry.requests();
    assert!(!requests.iter().any(sent), "{requests:#?}");
    let mut request = push_request(&shelf.registry, &access());
    request.snapshots = vec![snapshot(1)];
    request.target.repository = repository(&shelf.registry, "other/roots");
    push(&shelf.bench.store(), &request, &Silent).unwrap();
    assert_eq!(shelf.registry.state().lacking("other/roots"), [""; 0]);
    shelf.assert_sound("pushed");
}

#[test]
fn a_blob_that_the_registry_loses_after_its_answer_is_a_lost_layer_and_named() {
    let shelf = Shelf::new();
    let old: Vec<String> = shelf.old().into_iter().collect();
    let lost = old[0].clone();
    let path = format!("blobs/{lost}");
    // Between the answer on the first blob and the removal.
    let nth = {
        let mut dry = shelf.request();
        dry.dry_run = true;
        release(&shelf.bench.store(), &dry, &Silent).unwrap();
        let requests = shelf.registry.requests();
        requests.iter().position(|one| one.contains(&path)).unwrap() + 1
    };
    let shelf = std::sync::Arc::new(shelf);
    let of = std::sync::Arc::clone(&shelf);
    let gone = lost.clone();
    shelf.registry.before(nth, move || {
        of.registry.state().repo(FARM).blobs.remove(&gone);
    });
    let done = shelf.release().unwrap();
    assert!(!shelf.registry.forget_before());
    assert_eq!(done.released.0, old.len() as u64);
    let bench = &shelf.bench;
    let number = if shelf.layers(1).contains(&lost) {
        "1"
    } else {
        "2"
    };
    let archive = bench.path("out.oci");
    let said = bench.fails(2, ["export", number, "-o", archive.to_str().unwrap()]);
    assert!(said.contains(&lost) && !archive.exists(), "{said}");
    let mut request = push_request(&shelf.registry, &access());
    request.snapshots = vec![snapshot(number.parse().unwrap())];
    let error = push(&bench.store(), &request, &Silent).unwrap_err();
    assert!(told(&error).contains(&lost), "{}", told(&error));
    // The rest of the store is as it was.
    export(bench, "3");
    sound(&bench.store());
}
