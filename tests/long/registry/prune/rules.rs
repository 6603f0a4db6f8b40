//! What stays and what goes, where nobody else is about.

use super::*;
use crate::common::one_error;
use crate::common::registry::{Request as Asked, What};
use crate::registry::images::{assert_whole, at};
use crate::registry::told;
use rootstrata::model::digest::LayerKey;

fn count(tags: &BTreeSet<String>, kind: &str) -> usize {
    tags.iter().filter(|tag| tag.starts_with(kind)).count()
}

#[test]
fn what_kept_tags_need_stays_and_the_rest_is_gone() {
    let farm = Farm::new();
    let blobs = || {
        let mut state = farm.registry.state();
        let blobs = state.repo(FARM).blobs.values();
        blobs.map(Vec::len).sum::<usize>()
    };
    let before = blobs();
    let outcome = farm.prune().unwrap();
    assert_eq!((outcome.kept.len(), outcome.removed.len()), (2, 2));
    assert_eq!((outcome.others, outcome.odd), (0, 0));
    assert_eq!(outcome.removed_tags(), 2);
    for number in [2, 3] {
        farm.assert_gone(number);
    }
    farm.collect();
    // The layer of a package that only the removed images have.
    assert!(blobs() < before - 150_000, "{before} {}", blobs());
    for number in [1, 4] {
        farm.assert_complete(number, "pruned");
    }
    assert_whole(&farm.registry, "pruned");
    let tags = farm.tags();
    assert_eq!([count(&tags, "image-"), count(&tags, "run-")], [2, 2]);
    let left = outcome.kept_records as usize;
    assert_eq!(count(&tags, "layer-") + 4, left, "{tags:#?}");
    // Nothing is left for the next one, and a builder goes on.
    farm.registry.clear_log();
    let again = farm.prune().unwrap();
    assert_eq!((again.removed.len(), again.records), (0, [0; 3]));
    let asked = farm.registry.requests();
    assert!(asked.iter().all(|one| !one.starts_with("DELETE")));
    push_one(&farm.bench.store(), &farm.registry, 5).unwrap();
    farm.assert_complete(5, "pushed");
}

#[test]
fn what_goes_costs_a_few_requests_each() {
    let farm = Farm::new();
    let outcome = farm.prune().unwrap();
    let tags = farm.full.tags.len() as u64;
    let deleted = outcome.removed.len() as u64 + outcome.records.iter().sum::<u64>();
    let requests = outcome.traffic.requests;
    assert!(
        requests <= tags + 2 * deleted + 20,
        "{requests} {tags} {deleted}"
    );
}

#[test]
fn a_dry_run_says_what_would_go_and_deletes_nothing() {
    let farm = Farm::new();
    let before = farm.tags();
    let mut dry = request(&farm.registry);
    dry.dry_run = true;
    let would = prune(&dry, &Silent).unwrap();
    assert_eq!(farm.tags(), before);
    let asked = farm.registry.requests();
    assert!(asked.iter().all(|one| !one.starts_with("DELETE")));
    let did = farm.prune().unwrap();
    assert_eq!(would.removed, did.removed);
    assert_eq!(would.records, did.records);
}

#[test]
fn rules_keep_images_and_without_a_rule_all_stay() {
    let farm = Farm::new();
    let kept = |change: &dyn Fn(&mut prune::Request)| {
        let mut request = request(&farm.registry);
        request.rules = Rules::default();
        request.dry_run = true;
        change(&mut request);
        prune(&request, &Silent).unwrap().kept.len()
    };
    assert_eq!(kept(&|_| {}), 4);
    assert_eq!(kept(&|r| r.rules.last = NonZeroUsize::new(2)), 3);
    assert_eq!(kept(&|r| r.rules.within_s = Some(10 * DAY_S + 60)), 3);
    let second = farm.digest(2);
    let glob = format!("*-{}", &second[7..19]);
    assert_eq!(kept(&|r| r.keep_tags = vec![glob.clone()]), 3);
    assert_eq!(kept(&|r| r.grace_s = 25 * DAY_S), 4);
    let other = |r: &mut prune::Request| {
        r.rules.last = NonZeroUsize::new(1);
        r.series = Some("other".to_owned());
    };
    assert_eq!(kept(&other), 4);
    // Dead records go without a rule.
    farm.registry
        .state()
        .repo(FARM)
        .tags
        .retain(|tag, _| !tag.contains(&second[7..19]) || tag.starts_with("image-"));
    farm.registry.state().repo(FARM).manifests.remove(&second);
    let mut request = request(&farm.registry);
    request.rules = Rules::default();
    let outcome = prune(&request, &Silent).unwrap();
    assert_eq!((outcome.removed.len(), outcome.records[0]), (0, 1));
    farm.assert_complete(3, "no rule");
}

#[test]
fn the_moving_tag_keeps_its_image_whatever_times_say() {
    let farm = Farm::new();
    let second = farm.digest(2);
    let moving = "fedora.deps-installed".to_owned();
    farm.registry.state().repo(FARM).tags.insert(moving, second);
    farm.prune().unwrap();
    farm.assert_complete(2, "moved");
    farm.assert_gone(4);
}

#[test]
fn what_others_have_pushed_stays_with_what_their_indexes_name() {
    let farm = Farm::new();
    let others = super::super::manifest(b"foreign");
    farm.registry.state().put_blob(FARM, b"foreign");
    put(&farm.registry, "v1", others.clone());
    put(&farm.registry, "layer-of-cake", others.clone());
    let inner = json!({"manifests": [{"digest": farm.digest(2)}]}).to_string();
    let inner = put(&farm.registry, "inner", inner.into_bytes());
    farm.registry.state().repo(FARM).tags.remove("inner");
    let outer = json!({"manifests": [{"digest": inner}]}).to_string();
    put(&farm.registry, "multi", outer.into_bytes());
    let outcome = farm.prune().unwrap();
    assert_eq!((outcome.others, outcome.odd), (2, 0));
    let tags = farm.tags();
    for tag in ["v1", "layer-of-cake", "multi"] {
        assert!(tags.contains(tag), "{tags:#?}");
    }
    farm.assert_complete(2, "in an index");
    farm.assert_gone(3);
}

#[test]
fn an_index_that_a_registry_does_not_find_is_asked_for_again_and_then_an_error() {
    let farm = Farm::new();
    let index = json!({"manifests": [{"digest": farm.digest(2)}]}).to_string();
    let index = put(&farm.registry, "multi", index.into_bytes());
    let is_read = move |r: &Asked| r.method == "GET" && r.path.ends_with(&index);
    farm.registry.when(is_read.clone(), usize::MAX, What::Gone);
    let text = told(&farm.prune().unwrap_err());
    assert!(text.contains("a tag leads to it"), "{text}");
    farm.registry.mend();
    farm.registry.when(is_read, 1, What::Gone);
    farm.prune().unwrap();
    farm.assert_complete(2, "in an index");
}

#[test]
fn layers_that_a_push_within_the_grace_names_stay_though_its_image_is_not_there_yet() {
    let farm = Farm::new();
    let keys = farm.shown(5)["layers"].as_array().unwrap().iter();
    let keys = keys.map(|layer| LayerKey::parse(layer["key"].as_str().unwrap()).unwrap());
    let keys: Vec<LayerKey> = keys.collect();
    let mut push = PushRecord {
        image: super::super::digest(&farm.digest(5)),
        series: "fedora".to_owned(),
        stage: "deps-installed".to_owned(),
        tag: None,
        pushed_s: i64::MAX / 2,
        layers: keys.clone(),
    };
    let mut left = |pushed_s| {
        farm.refill();
        push.pushed_s = pushed_s;
        let tag = rootstrata::model::registry_tags::run_tag(pushed_s, &push.image);
        put(&farm.registry, &tag, push.to_bytes().unwrap());
        farm.prune().unwrap();
        let tags = farm.tags();
        let is_there = |key: &&LayerKey| tags.contains(&format!("layer-{key}-zstd"));
        (tags.contains(&tag), keys.iter().filter(is_there).count())
    };
    let (going_on, of_going_on) = left(i64::MAX / 2);
    let (over, of_over) = left(1);
    assert!(going_on && !over);
    assert!(of_going_on > of_over, "{of_going_on} {of_over}");
}

#[test]
fn records_that_lie_are_left_alone_and_break_nothing() {
    let farm = Farm::new();
    let full = farm.full.clone();
    let run = full.tags.iter().find(|(tag, _)| tag.starts_with("run-"));
    let run = &full.manifests[run.unwrap().1].1;
    let push = PushRecord::of_bytes(run).unwrap();
    let layer = &full.tags[&format!("layer-{}-zstd", push.layers[0])];
    let layer = full.manifests[layer].1.clone();
    let mut lies = vec![
        ("run-1".to_owned(), run.clone()),
        (
            "run-20261128T180000Z-aaaaaaaaaaaa".to_owned(),
            b"{".to_vec(),
        ),
        (format!("layer-{}-zstd", "a".repeat(64)), layer),
        (format!("layer-{}-zstd", "b".repeat(64)), b"7".to_vec()),
        (format!("image-{}", "c".repeat(64)), run.clone()),
        ("layer-".to_owned(), b"[]".to_vec()),
    ];
    for series in ["é".repeat(200), "../x".to_owned(), "\u{1b}[2J".to_owned()] {
        let mut lie = push.clone();
        lie.series = series;
        lie.pushed_s = -5 - lies.len() as i64;
        let tag = rootstrata::model::registry_tags::run_tag(lie.pushed_s, &lie.image);
        lies.push((tag, lie.to_bytes().unwrap()));
    }
    for (tag, bytes) in &lies {
        put(&farm.registry, tag, bytes.clone());
    }
    // An image of a record that names a time to come, or before all times.
    for pushed_s in [i64::MAX, i64::MIN] {
        let mut lie = push.clone();
        lie.pushed_s = pushed_s;
        lie.image = super::super::digest(&farm.digest(3));
        lie.layers = vec![LayerKey([7; 32]); 20_000];
        let tag = rootstrata::model::registry_tags::run_tag(pushed_s, &lie.image);
        put(&farm.registry, &tag, lie.to_bytes().unwrap());
    }
    let outcome = farm.prune().unwrap();
    // "layer-" is in no form of a record's: it is of others.
    assert_eq!((outcome.odd as usize, outcome.others), (lies.len() - 1, 1));
    let tags = farm.tags();
    for (tag, _) in &lies {
        assert!(tags.contains(tag), "{tag}");
    }
    // The push of a time to come is one that goes on.
    for number in [1, 3, 4] {
        farm.assert_complete(number, "lies");
    }
    farm.assert_gone(2);
}

#[test]
fn a_list_that_does_not_end_is_one_error() {
    let farm = Farm::new();
    farm.registry
        .when(|r| r.path.contains("/tags/"), usize::MAX, What::Circle);
    let text = told(&farm.prune().unwrap_err());
    assert!(text.contains("the list does not end"), "{text}");
}

#[test]
fn a_registry_that_does_not_delete_says_what_to_set() {
    let farm = Farm::new();
    farm.registry.when(
        |r| r.method == "DELETE",
        usize::MAX,
        What::Status(405, None),
    );
    let before = farm.tags();
    let target = at(&farm.registry, "");
    let line = rootstrata(
        &["prune", "--registry", &target, "--keep-last", "1", "-q"],
        2,
    );
    assert!(line.contains("storage.delete.enabled"), "{line}");
    assert_eq!(farm.tags(), before);
}

/// Runs the command without any store, and returns its one error.
fn rootstrata(arguments: &[&str], code: i32) -> String {
    let bench = Bench::new();
    let output = bench.command(arguments).output().unwrap();
    assert!(!bench.store().exists());
    one_error(output, code)
}

#[test]
fn the_command_needs_no_store_and_says_in_text_and_json_what_it_did() {
    let farm = Farm::new();
    let target = at(&farm.registry, "");
    let bench = Bench::new();
    let arguments = ["prune", "--registry", &target, "--keep-last", "1"];
    let text = bench.prints(0, arguments.iter().chain(&["--dry-run"]));
    assert!(text.contains("would remove 2 of 4 images"), "{text}");
    assert!(text.contains("collects its garbage"), "{text}");
    let json: Value = bench.json(arguments);
    assert_eq!(json["version"], 1);
    assert_eq!(json["removed"].as_array().unwrap().len(), 2);
    assert_eq!(json["removed_tags"], 2);
    assert_eq!(json["removed_records"]["images"], 2);
    assert!(
        json["removed_records"]["layers"].as_u64().unwrap() >= 2,
        "{json}"
    );
    assert_eq!(json["removed_records"]["pushes"], 2);
    assert_eq!(json["kept"][0]["reasons"][0], "last");
    assert!(json["traffic"]["requests"].as_u64().unwrap() > 20);
    assert!(!bench.store().exists());
    let text = bench.prints(0, ["prune", "--registry", &target]);
    assert!(text.contains("removed 0 of 2 images"), "{text}");
    assert!(text.contains("no rule was given"), "{text}");
    for wrong in [
        vec!["--no-wait"],
        vec!["--grace", "1"],
        vec!["--registry", "docker://x"],
        vec!["--registry", "docker://localhost:1/a:t"],
    ] {
        let output = bench
            .command(arguments.iter().chain(&wrong))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    for alone in ["--keep-tag=x", "--grace=1d"] {
        let output = bench.command(["prune", alone]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{alone}");
    }
    let line = rootstrata(
        &["prune", "--registry", &target, "--keep-tag", "[", "-q"],
        2,
    );
    assert!(line.contains('['), "{line}");
}
