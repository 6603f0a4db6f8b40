//! What is known of recorded snapshots: `which`, `find`, `cat` and `explain`.

use crate::common::{Bench, layers, sh};
use crate::shared::queries::explained;
use serde_json::{Value, json};

#[test]
fn a_new_base_is_explained_by_the_rule_that_asked_for_it() {
    let bench = Bench::new();
    let root = bench.make("root");
    let options = "--profile plain --stage bootstrap";
    let rule = |snapshot: &Value| {
        assert_eq!(layers(snapshot), ["base new"]);
        explained(&bench, &snapshot["id"].to_string(), "base")["rule"].clone()
    };
    sh(
        &root,
        "head -c 100000 /dev/urandom > a; head -c 100000 /dev/urandom > b",
    );
    assert_eq!(rule(&bench.snapshot(&root, options))["rule"], "first");
    sh(
        &root,
        "head -c 90000 /dev/urandom > a; head -c 90000 /dev/urandom > b",
    );
    let large = json!({ "rule": "large-update", "update_bytes": 180_000, "base_bytes": 200_000 });
    assert_eq!(rule(&bench.snapshot(&root, options)), large);
    sh(&root, "rm a; truncate -s 50000 b");
    let dead = rule(&bench.snapshot(&root, options));
    assert_eq!(
        (&dead["rule"], &dead["base_bytes"]),
        (&json!("dead-base"), &json!(180_000))
    );
    let other = rule(&bench.snapshot(&root, "--profile plain --stage bootstrap --mtime fixed"));
    assert_eq!(
        (&other["rule"], &other["snapshot"]["id"]),
        (&json!("other-policy"), &json!(3))
    );

    let last = bench.snapshot(&root, options);
    let digest = last["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    std::fs::remove_file(bench.store().join("blobs/sha256").join(digest)).unwrap();
    sh(&root, "echo c > c");
    let lost = bench.snapshot(&root, options);
    assert_eq!(rule(&lost)["rule"], "lost-blob");
    let shown = bench.prints(0, ["explain", "2"]);
    assert!(
        shown.contains(
            "a base, since an update would have had 180.0 kB, 90.0 % of the last one's 200.0 kB"
        ),
        "{shown}"
    );
}

#[test]
fn an_image_with_too_many_layers_begins_anew_and_says_so() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "--profile plain --stage s0 --run r");
    let mut last = Value::Null;
    for stage in 1..=100 {
        std::fs::write(root.join(format!("f{stage}")), "x").unwrap();
        last = bench.snapshot(&root, &format!("--profile plain --stage s{stage} --run r"));
        if layers(&last) == ["base new"] {
            break;
        }
    }
    assert_eq!(layers(&last), ["base new"]);
    let id = last["id"].to_string();
    assert_eq!(
        explained(&bench, &id, "base")["rule"]["rule"],
        "many-layers"
    );
}
