//! `push`, `pull`, and images of registries in `diff` and `import`, as a user runs them.

use super::{FARM, MOVING, OPTIONS, assert_whole, at, recorded};
use crate::common::registry::{FaultyRegistry, What};
use crate::common::{Bench, one_error, rootstrata, sh};
use serde_json::Value;

/// The kinds of tags, with the number of tags of each kind.
fn kinds(registry: &FaultyRegistry) -> [usize; 4] {
    let mut state = registry.state();
    let tags: Vec<String> = state.repo(FARM).tags.keys().cloned().collect();
    let of = |kind: &str| tags.iter().filter(|tag| tag.starts_with(kind)).count();
    ["layer-", "image-", "run-", "fedora."].map(of)
}

#[test]
fn what_is_pushed_is_pulled_with_all_that_its_store_knows() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    let pushed = bench.json(["push", &at(&registry, "")]);
    let images = pushed["images"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{pushed}");
    assert_whole(&registry, "pushed");
    let layers = pushed["pushed"]["layers"].as_u64().unwrap() as usize;
    assert!(layers >= 4, "{pushed}");
    let [of_layers, of_images, of_pushes, of_snapshots] = kinds(&registry);
    assert_eq!([of_layers, of_images, of_pushes], [layers, 2, 2]);
    assert_eq!(of_snapshots, 4);
    let other = Bench::new();
    for (image, moving) in images.iter().zip(MOVING) {
        assert_eq!(image["tags"][0], moving);
        assert_eq!(image["was_there"], false);
        let pulled = other.json(["pull", &at(&registry, &format!(":{moving}"))]);
        let pulled = &pulled["images"][0];
        for field in ["manifest_digest", "series", "stage"] {
            assert_eq!(pulled[field], image[field], "{pulled}");
        }
    }
    other.prints(0, ["verify", "--deep"]);
    for (id, stage) in [(1, MOVING[0]), (2, MOVING[1])] {
        let told = |bench: &Bench| {
            let shown = bench.json(["show", &id.to_string()]);
            let layers = shown["layers"].as_array().unwrap().iter();
            let fields = ["role", "label", "key", "diff_id", "digest"];
            let layers = layers.map(|layer| fields.map(|field| layer[field].clone()));
            let explained = bench.json(["explain", &id.to_string()]);
            (layers.collect::<Vec<_>>(), explained["planner"].clone())
        };
        assert_eq!(told(&bench), told(&other), "{stage}");
    }
}

#[test]
fn a_push_of_what_is_there_takes_six_requests_an_image_and_sends_manifests_alone() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    bench.json(["push", &at(&registry, "")]);
    registry.clear_log();
    let again = bench.json(["push", &at(&registry, "")]);
    let requests = registry.requests();
    assert!(requests.len() <= 12, "{requests:#?}");
    let sent = registry.log().into_iter().filter(|r| r.body_bytes > 0);
    let others: Vec<_> = sent.filter(|r| !r.path.contains("/manifests/")).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(again["pushed"]["layers"], 0);
    assert!(again["reused"]["layers"].as_u64().unwrap() >= 4, "{again}");
    for image in again["images"].as_array().unwrap() {
        assert_eq!(image["was_there"], true, "{again}");
    }
}

#[test]
fn an_image_of_a_registry_is_compared_and_imported_like_any() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    let image = at(&registry, ":tip");
    bench.prints(0, ["push", "fedora@deps-installed", &image]);
    bench.prints(0, ["diff", "fedora@deps-installed", &image]);
    let compared = bench.compared(["fedora@bootstrap", &image]);
    assert_eq!(compared["different"], true);
    let other = Bench::new();
    let imported = other.json(["import", &image, "--series", "mine", "--stage", "last"]);
    assert_eq!(imported["images"][0]["series"], "mine");
    assert_eq!(imported["images"][0]["stage"], "last");
    other.prints(0, ["verify", "--deep"]);
    other.prints(0, ["diff", "mine@last", &image]);
    // What is there is not fetched again.
    registry.clear_log();
    other.prints(0, ["pull", &image, "--series", "again"]);
    let blobs = registry.log().into_iter();
    let fetched: Vec<_> = blobs
        .filter(|r| r.path.contains("/blobs/") && r.body_bytes > 5_000)
        .collect();
    assert!(fetched.is_empty(), "{fetched:?}");
}

#[test]
fn a_later_snapshot_sends_what_is_new_and_moves_the_tag() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    bench.json(["push", &at(&registry, "")]);
    let before = registry.state().repo(FARM).tags[MOVING[1]].clone();
    sh(&bench.path("root"), "echo later > etc/later");
    let root = bench.path("root");
    let later = bench.snapshot(&root, &format!("{OPTIONS} --stage deps-installed"));
    let pushed = bench.json(["push", "fedora@deps-installed", &at(&registry, "")]);
    assert!(
        pushed["pushed"]["layers"].as_u64().unwrap() <= 2,
        "{pushed}"
    );
    assert!(
        pushed["reused"]["layers"].as_u64().unwrap() >= 2,
        "{pushed}"
    );
    assert_whole(&registry, "later");
    let mut state = registry.state();
    let tags = &state.repo(FARM).tags;
    assert_eq!(
        Value::from(tags[MOVING[1]].clone()),
        later["manifest_digest"]
    );
    // The image before keeps the tag that stays.
    assert!(
        tags.iter()
            .any(|(tag, of)| tag.starts_with("fedora.") && *of == before)
    );
}

#[test]
fn mistakes_are_one_line_and_send_nothing() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    let digest = format!("@sha256:{}", "a".repeat(64));
    for (arguments, said) in [
        (vec!["pull", &at(&registry, ":none")], "has no none there"),
        (
            vec!["diff", "1", &at(&registry, ":none")],
            "has no none there",
        ),
        (vec!["import", &at(&registry, &digest)], "there"),
        (
            vec!["push", "1", &at(&registry, &digest)],
            "give a tag, or none",
        ),
        (vec!["push", "1", "2", &at(&registry, ":t")], "give none"),
        (vec!["push", "1"], "the last argument"),
        (
            vec!["push", &at(&registry, ":a"), &at(&registry, ":b")],
            "the last argument",
        ),
        (vec!["push", "9", &at(&registry, "")], "no snapshot 9"),
    ] {
        let line = bench.fails(2, &arguments);
        assert!(line.contains(said), "{arguments:?}: {line}");
    }
    let requests = registry.requests();
    assert!(
        requests.iter().all(|one| one.starts_with("GET ")),
        "{requests:?}"
    );
    assert_eq!(bench.ids(), [2, 1]);
}

#[test]
fn a_registry_that_is_away_is_exit_code_75() {
    let bench = recorded();
    let registry = FaultyRegistry::start();
    // Five tries, each when the server says.
    registry.when(
        |r| r.is_of_repository(),
        usize::MAX,
        crate::common::registry::What::Status(503, Some("0")),
    );
    for arguments in [
        vec!["push", "1", &at(&registry, ":t")],
        vec!["pull", &at(&registry, ":t")],
    ] {
        let line = bench.fails(75, &arguments);
        assert!(line.contains("cannot be reached"), "{line}");
    }
    assert_eq!(bench.ids(), [2, 1]);
}

#[test]
fn a_push_whose_moving_tag_is_not_taken_fails_and_says_which() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    let unknown = r#"{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "gone"}]}"#;
    registry.when(
        |request| request.method == "PUT" && request.path.ends_with(MOVING[0]),
        9,
        What::Says(400, unknown.to_owned()),
    );
    let mut command = bench.command(["-q", "push", "1", &at(&registry, "")]);
    let said = one_error(command.output().unwrap(), 2);
    assert!(said.contains(MOVING[0]), "{said}");
    registry.mend();
    bench.json(["push", "1", &at(&registry, "")]);
    assert_whole(&registry, "pushed again");
}

#[test]
fn a_tag_for_several_images_and_one_of_records_are_refused() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    for arguments in [
        vec!["push".to_owned(), at(&registry, ":release-1")],
        vec!["push".to_owned(), "1".to_owned(), at(&registry, ":layer-1")],
        vec!["push".to_owned(), "1".to_owned(), at(&registry, ":run-1")],
    ] {
        let line = bench.fails(2, &arguments);
        assert!(line.contains("give"), "{line}");
    }
    assert!(registry.requests().is_empty());
}

#[test]
fn a_prune_says_what_it_has_no_use_for() {
    let (bench, registry) = (recorded(), FaultyRegistry::start());
    for rest in [["--keep-tag", "x"], ["--grace", "0"]] {
        let mut arguments = vec!["prune".to_owned(), "--local-blobs".to_owned()];
        arguments.push(at(&registry, ""));
        arguments.extend(rest.map(str::to_owned));
        let output = rootstrata().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let line = bench.fails(
        2,
        [
            "prune",
            "--registry",
            &at(&registry, "s"),
            "--keep-last",
            "1",
        ],
    );
    assert!(line.contains("no such repository"), "{line}");
}
