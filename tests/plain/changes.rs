//! What a change of the root does to the layers. Every tree is unpacked by umoci and compared with the root.

use crate::common::{Bench, layers, sh};
use crate::shared::changes::{FIRST, THREE};

#[test]
fn a_write_right_after_a_snapshot_is_seen_without_waiting_for_the_clock() {
    let bench = Bench::new();
    let root = bench.make("root");
    for round in 0..50 {
        std::fs::write(root.join("f"), format!("{round:04}")).unwrap();
        bench.snapshot(&root, FIRST);
        let hash = |_: ()| {
            bench.json(["ls", "s", "f"])["entries"][0]["blake3"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            hash(()),
            blake3::hash(format!("{round:04}").as_bytes()).to_string()
        );
    }
}

#[test]
fn only_a_directory_time_changed_is_no_layer_where_times_are_fixed() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, THREE);
    bench.snapshot(&root, "--stage bootstrap --mtime fixed");
    sh(&root, "touch d .; touch -d @77 d/e");
    assert_eq!(
        layers(&bench.snapshot(&root, "--stage next --mtime fixed")),
        ["base reused"]
    );
}

#[test]
fn an_epoch_clamps_later_times_and_leaves_earlier_ones() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "echo a > old; echo b > new; touch -d @100 old; touch -d @900 new .",
    );
    let mut command = bench.command([
        "snapshot",
        root.to_str().unwrap(),
        "--series",
        "s",
        "--profile",
        "plain",
    ]);
    crate::common::succeeds(command.env("SOURCE_DATE_EPOCH", "500"));
    let entries = bench.json(["ls", "s"]);
    let times: Vec<i64> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["mtime"].as_i64().unwrap())
        .collect();
    assert_eq!(times, [500, 500, 100]);
}
