//! Images of others: hardlinks in any order, stores that have held such layers for long, and what else stands beside an image.

use crate::shared::images::old_store;
use serde_json::{Value, json};

#[test]
fn damage_to_a_layer_of_others_is_named_and_nothing_else_is() {
    let bench = old_store();
    let base = bench.json(["show", "1"])["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let blob = bench.store().join("blobs/sha256").join(&base);
    let mut bytes = std::fs::read(&blob).unwrap();
    let at = bytes.windows(4).position(|four| four == b"deep").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let output = bench
        .command(["verify", "--deep", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["findings"].as_array().unwrap().len(), 1, "{found}");
    assert!(found["findings"][0].to_string().contains(&base), "{found}");
    assert_eq!(found["findings"][0]["snapshots"], json!([1]));
}
