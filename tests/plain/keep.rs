//! What keeps a store in order: verify, prune and du.

use crate::common::{Bench, settle, sh, store};
use crate::shared::keep::{blobs, exported, wrong};
use serde_json::Value;

#[test]
fn a_store_with_damaged_rows_is_not_pruned() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo a > a");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(&root, "echo b > b");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    database
        .execute(
            "DELETE FROM snapshot_layer WHERE snapshot_id = 1 AND position = 0",
            [],
        )
        .unwrap();
    drop(database); // prune has it alone
    let count = blobs(&bench).len();
    let said = bench.fails(2, ["prune", "--keep-last", "1"]);
    assert!(
        said.contains("the rows of snapshot 1 are not those that were recorded"),
        "{said}"
    );
    assert_eq!(blobs(&bench).len(), count);
}

#[test]
fn pruning_gives_the_space_of_the_database_back_and_forgets_roots_that_are_gone() {
    let bench = Bench::new();
    let root = bench.make("large");
    sh(
        &root,
        "for d in $(seq 40); do mkdir $d; for i in $(seq 250); do : > $d/some-longer-name-$i; done; done",
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(&root, "rm -r [1-9]*; echo a > a");
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    std::fs::remove_dir_all(&root).unwrap();
    let database = bench.store().join("rootstrata.sqlite");
    let before = database.metadata().unwrap().len();
    let done = bench.json(["prune", "--keep-last", "1"]);
    assert_eq!(done["roots"], 1);
    let after = database.metadata().unwrap().len();
    assert!(after * 3 < before, "{before} {after}");
    store::check(&bench.store());
}

#[test]
fn du_tells_what_the_removal_of_a_series_frees() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "head -c 300000 /dev/urandom > a");
    for (series, stage) in [
        ("a", "bootstrap"),
        ("a", "deps-installed"),
        ("b", "bootstrap"),
        ("c", "bootstrap"),
    ] {
        if series == "c" {
            sh(&root, "head -c 50000 /dev/urandom > a");
        }
        bench.snapshot(
            &root,
            &format!("--profile plain --series {series} --stage {stage} --run r"),
        );
        sh(
            &root,
            &format!("head -c 1000 /dev/urandom > {series}-{stage}"),
        );
    }
    let used = bench.json(["du"]);
    let number = |value: &Value| value.as_u64().unwrap();
    let of = |name: &str| {
        let series = used["series"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["series"] == name)
            .unwrap()
            .clone();
        assert_eq!(
            number(&series["size_bytes"]),
            number(&series["unique_bytes"]) + number(&series["shared_bytes"])
        );
        series
    };
    // The stages of `a` share the base, which nobody else has: it is unique to the series, and to neither stage.
    assert_eq!(
        (number(&of("a")["stages"]), number(&of("a")["snapshots"])),
        (2, 2)
    );
    assert!(number(&of("a")["unique_bytes"]) >= 300_000);
    let stages: u64 = used["stages"].as_array().unwrap()[..2]
        .iter()
        .map(|one| number(&one["unique_bytes"]))
        .sum();
    assert!(stages < 10_000, "{used}");
    assert!(
        (50_000..60_000).contains(&number(&of("c")["unique_bytes"])),
        "{used}"
    );
    let sum: u64 = ["a", "b", "c"]
        .iter()
        .map(|name| number(&of(name)["unique_bytes"]))
        .sum();
    assert!(sum <= number(&used["blob_bytes"]));
    let shown = bench.prints(0, ["du"]);
    assert_eq!(shown.matches("(all of it)").count(), 1, "{shown}");
}

#[test]
fn verify_names_rows_that_are_not_what_was_recorded() {
    for (change, what) in [
        (
            "UPDATE snapshot SET created_s = created_s + 1 WHERE id = 2",
            "snapshot 2 is not what was recorded",
        ),
        (
            "UPDATE layer SET tar_bytes = tar_bytes + 1 WHERE id = 1",
            "the rows of snapshot",
        ),
        (
            "UPDATE entry SET mode = mode + 1 WHERE layer_id = 1 AND path = x'61'",
            "the entries of layer",
        ),
        ("DELETE FROM policy", "policy"),
    ] {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, "echo a > a; mkdir b");
        bench.snapshot(&root, "--profile plain --stage bootstrap");
        sh(&root, "echo b > b/b");
        bench.snapshot(&root, "--profile plain --stage bootstrap");
        let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        database
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {change}"))
            .unwrap();
        drop(database); // a repair has it alone
        let found = wrong(&bench, "verify");
        assert!(
            found
                .iter()
                .any(|(part, said, _)| part == "database" && said.contains(what)),
            "{change}: {found:?}"
        );
        let left = wrong(&bench, "verify --repair");
        assert!(
            !left.is_empty(),
            "{change}: it cannot be known what the row was"
        );
    }
}

#[test]
fn repair_makes_a_lost_layer_from_another_form_of_it() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "seq 100000 > a; mkdir b; seq 9 > b/c");
    settle(&root);
    bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression zstd",
    );
    bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression gzip:9",
    );
    bench.snapshot(
        &root,
        "--profile plain --stage bootstrap --compression none",
    );
    let before: Vec<Vec<u8>> = ["1", "2", "3"].map(|id| exported(&bench, id)).into();
    let blob = |id: &str| {
        let digest = bench.json(["show", id])["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "");
        bench.store().join("blobs/sha256").join(digest)
    };
    for lost in [blob("1"), blob("2"), blob("3")] {
        for damage in ["rm -f $BLOB", "echo other > $BLOB"] {
            sh(&root, &format!("BLOB={}; {damage}", lost.display()));
            assert_eq!(wrong(&bench, "verify").len(), 1);
            assert_eq!(wrong(&bench, "verify --repair --deep"), []);
        }
    }
    let after: Vec<Vec<u8>> = ["1", "2", "3"].map(|id| exported(&bench, id)).into();
    assert!(before == after);
}

#[test]
fn whatever_reads_a_layer_takes_another_form_of_it_where_the_own_is_lost() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo one > a; seq 1000 > b");
    settle(&root);
    let record = |kind: &str, more: &str| {
        bench.snapshot(
            &root,
            &format!("--profile plain --compression {kind} {more}"),
        )
    };
    let first = record("zstd", "--stage s");
    record("none", "--stage s");
    let digest = first["layers"][0]["digest"].as_str().unwrap();
    let blob = bench.store().join("blobs/sha256").join(&digest[7..]);
    std::fs::remove_file(blob).unwrap();
    let sha256 = sh(&root, "sha256sum < b");
    let found = bench.json(["find", "--sha256", &sha256[..64], "--read-layers"]);
    assert_eq!(found["found"][0]["entry"]["path"], "/b");
    assert_eq!(bench.prints(0, ["cat", "1", "a"]), "one\n");
    sh(&root, "echo two > a; echo 0 > b");
    record("none", "--stage t");
    bench.prints(1, ["diff", "1", "s@t", "--content", "b"]);
    let to = bench.path("to");
    bench.json(["restore", "1", to.to_str().unwrap()]);
    bench.json(["squash", "1"]);
}
