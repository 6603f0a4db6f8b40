//! What keeps a store in order: verify, prune and du.

use crate::common::{Bench, settle, sh, store, text};
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

/// A store with three snapshots of `s@bootstrap`, one of `s@built` and one of `t@bootstrap`.
fn five_snapshots() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    for (number, of) in [
        "s@bootstrap",
        "s@bootstrap",
        "s@built",
        "s@bootstrap",
        "t@bootstrap",
    ]
    .iter()
    .enumerate()
    {
        sh(&root, &format!("head -c 50000 /dev/urandom > {number}"));
        settle(&root);
        let (series, stage) = of.split_once('@').unwrap();
        bench.snapshot(
            &root,
            &format!("--series {series} --stage {stage} --profile plain"),
        );
    }
    bench
}

fn ids(snapshots: &Value) -> Vec<i64> {
    let all = snapshots.as_array().unwrap().iter();
    all.map(|snapshot| snapshot["id"].as_i64().unwrap())
        .collect()
}

#[test]
fn snapshots_are_removed_by_name_and_the_others_stay_whole() {
    let bench = five_snapshots();
    let count = blobs(&bench).len();
    // A name that counts back means what it meant before anything went, and one that is given twice means one.
    let meant = bench.json(["rm", "s@bootstrap~1", "s@bootstrap~2", "2", "-n"]);
    assert_eq!(
        (ids(&meant["removed"]), &meant["dry_run"]),
        (vec![2, 1], &Value::Bool(true))
    );
    assert_eq!(blobs(&bench).len(), count);
    let done = bench.json(["rm", "s@bootstrap~1", "s@bootstrap~2", "2"]);
    assert_eq!(ids(&done["removed"]), [2, 1]);
    assert!(done["blobs"].as_u64().unwrap() > 0);
    assert_eq!(ids(&bench.json(["log"])["snapshots"]), [5, 4, 3]);
    store::check(&bench.store());
    for id in ["3", "4", "5"] {
        let out = bench.path(format!("out{id}"));
        bench.json(["restore", id, out.to_str().unwrap()]);
    }
}

#[test]
fn a_series_or_a_stage_of_it_is_removed() {
    let bench = five_snapshots();
    let done = bench.json(["rm", "--series", "s", "--stage", "bootstrap"]);
    assert_eq!(ids(&done["removed"]), [4, 2, 1]);
    let done = bench.json(["rm", "--series", "s"]);
    assert_eq!(ids(&done["removed"]), [3]);
    assert_eq!(ids(&bench.json(["log"])["snapshots"]), [5]);
    store::check(&bench.store());
    bench.json(["rm", "5"]);
    assert_eq!(blobs(&bench).len(), 0);
    assert!(bench.json(["verify", "--deep"])["sound"].as_bool().unwrap());
}

#[test]
fn what_is_not_there_is_not_removed_and_nothing_else_is() {
    let bench = five_snapshots();
    for (arguments, says) in [
        (&["rm", "1", "9"][..], "no snapshot 9"),
        (&["rm", "--series", "u"], "no series u"),
        (
            &["rm", "--series", "t", "--stage", "built"],
            "no snapshot t@built",
        ),
    ] {
        let said = bench.fails(2, arguments);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    for (arguments, says) in [
        (&["rm"][..], "<SNAPSHOT>"),
        (&["rm", "1", "--series", "s"], "cannot be used with"),
        (&["rm", "1", "--stage", "built"], "cannot be used with"),
        (&["rm", "--stage", "built"], "--series"),
    ] {
        let output = bench.command(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert_eq!(ids(&bench.json(["log"])["snapshots"]).len(), 5);
}

#[test]
fn a_pinned_snapshot_stays_whatever_is_removed() {
    let bench = five_snapshots();
    let pinned = bench.json(["pin", "1", "s@bootstrap~2", "2"]);
    assert_eq!(ids(&pinned["snapshots"]), [2, 1]);
    let said = bench.fails(2, ["rm", "1"]);
    assert!(
        said.contains("snapshot 1 is pinned: rootstrata unpin 1"),
        "{said}"
    );
    assert_eq!(bench.ids().len(), 5);
    let done = bench.json(["rm", "--series", "s"]);
    assert_eq!(ids(&done["removed"]), [4, 3]);
    assert_eq!(bench.ids(), [5, 2, 1]);
    bench.json(["unpin", "2"]);
    // The newest of its stage stays without a pin as well.
    let shown = bench.prints(0, ["prune", "--keep-last", "1", "-v"]);
    assert!(
        shown.contains("pinned") && shown.contains("last"),
        "{shown}"
    );
    assert_eq!(bench.ids(), [5, 2, 1]);
    bench.json(["unpin", "1"]);
    bench.json(["prune", "--keep-last", "1"]);
    assert_eq!(bench.ids(), [5, 2]);
    store::check(&bench.store());
    assert!(bench.json(["verify", "--deep"])["sound"].as_bool().unwrap());
    assert!(bench.fails(2, ["pin", "9"]).starts_with("no snapshot 9"));
}

#[test]
fn a_series_gets_another_name_and_all_else_stays() {
    let bench = five_snapshots();
    let before = bench.json(["log", "s"]);
    bench.json(["pin", "1"]);
    let done = bench.json(["rename", "s", "new"]);
    assert_eq!(done["snapshots"], 4);
    let after = bench.json(["log", "new"]);
    let all = |log: &Value| {
        let all = log["snapshots"].as_array().unwrap().iter();
        all.map(|one| (one["id"].clone(), one["manifest_digest"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&before), all(&after));
    let index = std::fs::read_to_string(bench.store().join("index.json")).unwrap();
    assert!(
        index.contains("new:bootstrap") && !index.contains("s:built"),
        "{index}"
    );
    store::check(&bench.store());
    assert!(bench.json(["verify", "--deep"])["sound"].as_bool().unwrap());
    for (arguments, says) in [
        (["rename", "s", "other"], "no series s in"),
        (["rename", "new", "t"], "series t is in"),
        (["rename", "new", "1"], "bad series name"),
    ] {
        let said = bench.fails(2, arguments);
        assert!(said.contains(says), "{said}");
    }
    // The old name is free, and the root goes on under the new one without a file being read.
    let root = bench.path("root");
    let next = bench.snapshot(&root, "--series t --stage bootstrap --profile plain");
    assert_eq!(next["files_read"], 0);
    let first = bench.snapshot(&root, "--series s --stage bootstrap --profile plain");
    assert_eq!(first["id"], 7);
}

#[test]
fn what_was_changed_by_others_is_neither_pinned_nor_renamed() {
    let bench = five_snapshots();
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    let sealed = "UPDATE snapshot_layer SET reused = 1 - reused WHERE snapshot_id = 1";
    database.execute(sealed, []).unwrap();
    for arguments in [&["pin", "1"][..], &["rename", "s", "new"]] {
        let said = bench.fails(2, arguments);
        assert!(
            said.contains("the rows of snapshot 1 are not those"),
            "{said}"
        );
    }
    let names = "SELECT group_concat(name) FROM series";
    let names: String = database.query_row(names, [], |row| row.get(0)).unwrap();
    assert_eq!(names, "s,t");
}

#[test]
fn labels_are_kept_found_and_told_to_others() {
    let bench = Bench::new();
    let root = bench.make("root");
    let labels = [
        "--label package=hello --label task=7",
        "--label task=8 --label task=9",
        "",
    ];
    for labels in labels {
        sh(&root, "head -c 1000 /dev/urandom > a");
        bench.snapshot(
            &root,
            &format!("--stage bootstrap --profile plain {labels}"),
        );
    }
    let shown = bench.prints(0, ["show", "1"]);
    assert!(shown.contains("labels    package=hello, task=7"), "{shown}");
    let log = bench.json(["log"]);
    assert_eq!(
        log["snapshots"][1]["labels"],
        serde_json::json!({"task": "9"})
    );
    for (label, found) in [
        ("task", vec![2, 1]),
        ("task=7", vec![1]),
        ("task=8", vec![]),
        ("other", vec![]),
    ] {
        let log = bench.json(["log", "--label", label]);
        assert_eq!(ids(&log["snapshots"]), found, "{label}");
    }
    let kept = bench.json(["prune", "--keep-label", "task=7", "-n"]);
    assert_eq!(ids(&kept["removed"]), [2]);
    // An image tells its labels, and a store that is made anew from its layout has them again, and the pins.
    let archive = bench.path("archive.tar");
    bench.json(["export", "1", "-o", archive.to_str().unwrap()]);
    let other = Bench::new();
    other.json(["import", &format!("oci-archive:{}", archive.display())]);
    assert_eq!(
        other.json(["show", "1"])["labels"],
        serde_json::json!({"package": "hello", "task": "7"})
    );
    bench.json(["pin", "2"]);
    for file in [
        "rootstrata.sqlite",
        "rootstrata.sqlite-wal",
        "rootstrata.sqlite-shm",
    ] {
        let _ = std::fs::remove_file(bench.store().join(file));
    }
    bench.json(["import", &format!("oci:{}", bench.store().display())]);
    let again = bench.json(["log"]);
    let facts = |key: &str| {
        let all = again["snapshots"].as_array().unwrap().iter();
        all.map(|one| one[key].clone()).collect::<Vec<_>>()
    };
    assert!(facts("labels").contains(&serde_json::json!({"task": "9"})));
    assert_eq!(
        facts("pinned").iter().filter(|one| **one == true).count(),
        1
    );
    let said = bench
        .command(["snapshot", root.to_str().unwrap(), "--label", "a b=c"])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(2));
}

#[test]
fn equal_roots_with_other_labels_have_one_image() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "echo a > a; touch -d @5 a .");
    let first = bench.snapshot(&root, "--stage bootstrap --profile plain --label task=1");
    let second = bench.snapshot(&root, "--stage bootstrap --profile plain --label task=2");
    assert_eq!(first["manifest_digest"], second["manifest_digest"]);
    store::check(&bench.store());
}

/// A rename that waits for another writer sees what that one has recorded: here, a row that is none of the project's.
#[test]
fn a_rename_chooses_its_snapshots_once_nobody_else_writes() {
    let bench = five_snapshots();
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let renaming = bench.command(["rename", "s", "new"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let recorded = "CREATE TEMP TABLE later AS SELECT * FROM snapshot WHERE id = 4;
        UPDATE later SET id = 99;
        INSERT INTO snapshot SELECT * FROM later;
        COMMIT";
    database.execute_batch(recorded).unwrap();
    let renamed = renaming.wait_with_output().unwrap();
    assert_eq!(renamed.status.code(), Some(2));
    let names = "SELECT group_concat(name) FROM series";
    let names: String = database.query_row(names, [], |row| row.get(0)).unwrap();
    assert_eq!(names, "s,t");
}
