//! What keeps a store in order: verify, prune and du.

use crate::common::{Bench, sh, store, text};
use crate::shared::keep::{blobs, exported, ids, wrong};
use serde_json::Value;
use std::path::PathBuf;

/// Days of two stages; each changes a file of the first stage, and what the second adds. Times are set back, a day each.
fn days(bench: &Bench, count: i64) -> PathBuf {
    let root = bench.make("root");
    sh(
        &root,
        "mkdir d; for i in $(seq 40); do head -c 5000 /dev/urandom > d/$i; done",
    );
    for day in 1..=count {
        sh(
            &root,
            &format!(
                "rm -rf deps; head -c 5000 /dev/urandom > d/{}",
                day % 40 + 1
            ),
        );
        bench.snapshot(
            &root,
            &format!("--profile plain --stage bootstrap --run day{day}"),
        );
        sh(&root, "mkdir deps; head -c 3000 /dev/urandom > deps/a");
        bench.snapshot(
            &root,
            &format!("--profile plain --stage deps-installed --run day{day}"),
        );
    }
    age(bench);
    root
}

/// Gives each run a day of its own, the newest the one of 2026-11-23, with the seals that they then have: a store that was kept
/// for as long.
fn age(bench: &Bench) {
    let script = format!(
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE snapshot SET seal = NULL, sum = NULL')
for n, (run,) in enumerate(c.execute('SELECT run FROM snapshot GROUP BY run ORDER BY max(id) DESC').fetchall()):
    c.execute('UPDATE snapshot SET created_s = ? WHERE run = ?', ({} - 86400 * n, run))
c.commit()",
        1_795_392_000 + 3600
    );
    let database = bench.store().join("rootstrata.sqlite");
    crate::common::succeeds(
        std::process::Command::new("python3")
            .arg("-c")
            .arg(script)
            .arg(database),
    );
    // index.json has the times as well.
    let index = bench.store().join("index.json");
    std::fs::remove_file(index).unwrap();
    bench.json(["verify", "--repair"]);
}

#[test]
fn prune_keeps_what_any_rule_keeps_of_each_stage_and_the_blobs_of_that() {
    let bench = Bench::new();
    days(&bench, 6);
    let before: Vec<Vec<u8>> = ["9", "10", "11", "12"]
        .map(|id| exported(&bench, id))
        .into();
    let planned = bench.json(["prune", "--keep-last", "2", "--dry-run"]);
    assert_eq!(ids(&planned["removed"]), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bench.ids().len(), 12, "a dry run removes nothing");
    let done = bench.json(["prune", "--keep-last", "2"]);
    assert_eq!(
        (&done["removed"], &done["blobs"]),
        (&planned["removed"], &planned["blobs"])
    );
    assert!(done["blobs"].as_u64().unwrap() > 8);
    assert_eq!(bench.ids(), [12, 11, 10, 9]);
    assert_eq!(store::check(&bench.store()), [9, 10, 11, 12]);
    let after: Vec<Vec<u8>> = ["9", "10", "11", "12"]
        .map(|id| exported(&bench, id))
        .into();
    assert!(before == after, "an image is another");
    assert_eq!(bench.json(["verify", "--deep"])["sound"], true);
    let used = bench.json(["du"]);
    assert_eq!(
        (&used["dead_blobs"], &used["dead_bytes"]),
        (&Value::from(0), &Value::from(0))
    );
    let again = bench.json(["prune", "--keep-last", "2"]);
    assert_eq!(
        (ids(&again["removed"]).len(), &again["blobs"]),
        (0, &Value::from(0))
    );
}

#[test]
fn days_and_ages_count_from_the_newest_snapshot_of_a_stage() {
    let bench = Bench::new();
    days(&bench, 5);
    let kept = |rules: &str| {
        let words: Vec<&str> = ["prune", "-n"]
            .into_iter()
            .chain(rules.split(' '))
            .collect();
        let pruned = bench.json(words);
        let mut kept = ids(&pruned["kept"]);
        kept.sort_unstable();
        kept
    };
    assert_eq!(kept("--keep-daily 3"), [5, 6, 7, 8, 9, 10]);
    assert_eq!(kept("--keep-within 1d"), [7, 8, 9, 10]);
    assert_eq!(kept("--keep-within 12h"), [9, 10]);
    assert_eq!(kept("--keep-within 12h --keep-last 2"), [7, 8, 9, 10]);
    assert_eq!(kept("--keep-within 1y"), (1..=10).collect::<Vec<_>>());
}

#[test]
fn prune_without_a_rule_removes_only_what_killed_runs_left() {
    let bench = Bench::new();
    days(&bench, 2);
    let orphan = bench
        .store()
        .join(format!("blobs/sha256/{}", "ab".repeat(32)));
    std::fs::write(&orphan, "x").unwrap();
    std::fs::write(bench.store().join("blobs/sha256/notes"), "mine").unwrap();
    sh(&bench.store(), "echo half > tmp/blob-x");
    assert_eq!(bench.json(["verify"])["dead_blobs"], 1);
    let done = bench.json(["prune"]);
    assert_eq!(
        (
            ids(&done["removed"]).len(),
            ids(&done["kept"]).len(),
            &done["blobs"]
        ),
        (0, 4, &Value::from(1))
    );
    assert!(!orphan.exists() && bench.store().join("blobs/sha256/notes").exists());
    assert_eq!(
        std::fs::read_dir(bench.store().join("tmp"))
            .unwrap()
            .count(),
        0
    );
    assert!(
        bench
            .prints(0, ["prune"])
            .contains("no rule was given, so all snapshots stay")
    );
}

#[test]
fn rules_of_one_series_leave_the_others_alone() {
    let bench = Bench::new();
    let root = days(&bench, 3);
    bench.snapshot(&root, "--profile plain --series t --stage bootstrap");
    sh(&root, "echo > more");
    bench.snapshot(&root, "--profile plain --series t --stage bootstrap");
    bench.json(["prune", "--series", "s", "--keep-last", "1"]);
    assert_eq!(bench.ids(), [8, 7, 6, 5]);
    assert!(
        bench
            .fails(2, ["prune", "--series", "u", "--keep-last", "1"])
            .starts_with("no series u")
    );
    store::check(&bench.store());
}

#[test]
fn what_follows_a_prune_builds_on_what_is_left() {
    let bench = Bench::new();
    let root = days(&bench, 4);
    bench.json(["prune", "--keep-last", "1"]);
    sh(&root, "rm -r deps; touch -d @5 .");
    let next = bench.snapshot(&root, "--profile plain --stage bootstrap --run next");
    assert_eq!(crate::common::layers(&next), ["base reused", "update new"]);
    assert_eq!(next["id"], 9, "a number is never given twice");
    bench.prints(0, ["explain", "9"]);
    bench.prints(0, ["explain", "8"]);
    store::check(&bench.store());
}

#[test]
fn nothing_is_removed_while_a_snapshot_or_an_export_uses_the_store() {
    let bench = Bench::new();
    days(&bench, 2);
    let lock = std::fs::File::open(bench.store().join("tmp.lock")).unwrap();
    lock.lock_shared().unwrap(); // as everyone has it who has the store open
    let count = blobs(&bench).len();
    let mut prune = bench
        .command(["prune", "--keep-last", "1", "-q"])
        .spawn()
        .unwrap();
    // It waits: a dry run, which takes the same way but for the lock, is done long before.
    bench.json(["prune", "--keep-last", "1", "-n"]);
    bench.json(["log"]);
    assert!(prune.try_wait().unwrap().is_none(), "it did not wait");
    assert_eq!((bench.ids().len(), blobs(&bench).len()), (4, count));
    drop(lock);
    assert!(prune.wait().unwrap().success());
    assert_eq!(bench.ids(), [4, 3]);
}

#[test]
fn an_image_that_somebody_has_put_into_the_layout_is_not_pruned() {
    let bench = Bench::new();
    days(&bench, 1);
    let (at, blob) = (bench.store(), "ab".repeat(32));
    std::fs::write(at.join("blobs/sha256").join(&blob), "{}").unwrap();
    let mut index: Value =
        serde_json::from_slice(&std::fs::read(at.join("index.json")).unwrap()).unwrap();
    let foreign =
        serde_json::json!({"digest": format!("sha256:{blob}"), "mediaType": "x", "size": 2});
    index["manifests"].as_array_mut().unwrap().push(foreign);
    std::fs::write(at.join("index.json"), index.to_string()).unwrap();
    let said = bench.fails(2, ["prune", "--keep-last", "1"]);
    assert!(
        said.contains("it lists what is not recorded; rootstrata verify --repair"),
        "{said}"
    );
    assert!(at.join("blobs/sha256").join(&blob).exists());
}

#[test]
fn du_tells_shared_from_unique_and_dead() {
    let bench = Bench::new();
    days(&bench, 2);
    std::fs::write(
        bench
            .store()
            .join(format!("blobs/sha256/{}", "cd".repeat(32))),
        "12345",
    )
    .unwrap();
    let used = bench.json(["du"]);
    let stages = used["stages"].as_array().unwrap();
    let names: Vec<&str> = stages
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bootstrap", "deps-installed"]);
    let number = |value: &Value| value.as_u64().unwrap();
    for stage in stages {
        assert_eq!(
            number(&stage["size_bytes"]),
            number(&stage["unique_bytes"]) + number(&stage["shared_bytes"])
        );
    }
    // The base and the update are shared, manifests and deltas are not.
    assert_eq!(stages[0]["shared_bytes"], stages[1]["shared_bytes"]);
    let sum: u64 = stages
        .iter()
        .map(|stage| number(&stage["unique_bytes"]))
        .sum::<u64>();
    let files: u64 = blobs(&bench)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(sum + number(&stages[0]["shared_bytes"]) + 5, files);
    assert_eq!(
        (number(&used["blob_bytes"]), number(&used["dead_bytes"])),
        (files, 5)
    );
    assert_eq!(stages[0]["weight"]["base_bytes"], 200_000);
    assert_eq!(stages[0]["weight"]["update_bytes"], 5_000);
    assert_eq!(
        used["limits"],
        serde_json::json!({"update_percent": 30, "dead_percent": 25, "layers": 100})
    );
    assert!(bench.prints(0, ["du", "-v", "s"]).contains("update"));
    assert!(bench.fails(2, ["du", "t"]).starts_with("no series t"));
}

/// The blob of a layer of snapshot 4, by role.
fn blob_of(bench: &Bench, role: &str) -> PathBuf {
    let shown = bench.json(["show", "4"]);
    let digest = crate::common::layer(&shown, role)["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    bench.store().join("blobs/sha256").join(digest)
}

#[test]
fn verify_names_each_lost_or_changed_blob_and_the_snapshots_that_have_it() {
    let bench = Bench::new();
    days(&bench, 2);
    assert_eq!(wrong(&bench, "verify"), []);
    assert_eq!(wrong(&bench, "verify --deep"), []);
    let base = blob_of(&bench, "base");
    let delta = blob_of(&bench, "delta");
    let bytes = std::fs::read(&delta).unwrap();
    // One bit, with its time put back: only the bytes tell.
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    sh(
        bench.store().as_path(),
        &format!("touch -r {0} stamp; chmod u+w {0}", delta.display()),
    );
    std::fs::write(&delta, other).unwrap();
    sh(
        bench.store().as_path(),
        &format!("touch -r stamp {}; rm stamp", delta.display()),
    );
    assert_eq!(wrong(&bench, "verify"), []);
    let found = wrong(&bench, "verify --deep");
    assert_eq!(
        (found.len(), found[0].0.as_str(), &found[0].2),
        (1, "blob", &vec![4])
    );
    assert!(found[0].1.contains(delta.to_str().unwrap()), "{found:?}");
    assert_eq!(
        wrong(&bench, "verify --deep 3"),
        [],
        "another snapshot is sound"
    );
    assert_eq!(wrong(&bench, "verify --deep s").len(), 1);
    std::fs::remove_file(&base).unwrap();
    let found = wrong(&bench, "verify");
    assert_eq!(
        (
            found.len(),
            found[0].1.contains("the blob is missing"),
            &found[0].2
        ),
        (1, true, &vec![1, 2, 3, 4])
    );
    // Cut, and nothing to repair it with: it stays wrong, and nothing else is lost.
    std::fs::write(&base, "short").unwrap();
    let count = blobs(&bench).len();
    let left = wrong(&bench, "verify --repair");
    assert!(
        left.len() == 1 && left[0].1.contains("expected"),
        "{left:?}"
    );
    assert_eq!(blobs(&bench).len(), count);
}

#[test]
fn repair_makes_derived_files_and_images_again() {
    let bench = Bench::new();
    days(&bench, 2);
    let before: Vec<Vec<u8>> = ["1", "2", "3", "4"].map(|id| exported(&bench, id)).into();
    let index = std::fs::read(bench.store().join("index.json")).unwrap();
    let orphan = bench
        .store()
        .join(format!("blobs/sha256/{}", "ab".repeat(32)));
    std::fs::write(&orphan, "x").unwrap();
    std::fs::write(bench.store().join("oci-layout"), "{}").unwrap();
    std::fs::write(bench.store().join("index.json"), "{}").unwrap();
    for blob in blobs(&bench)
        .iter()
        .filter(|blob| std::fs::read(blob).unwrap().starts_with(b"{"))
    {
        std::fs::write(blob, "{}").unwrap(); // each manifest and configuration
    }
    let found = wrong(&bench, "verify");
    let parts: Vec<&str> = found.iter().map(|(part, ..)| part.as_str()).collect();
    assert!(
        ["layout", "index", "image"]
            .iter()
            .all(|part| parts.contains(part)),
        "{found:?}"
    );
    let output = bench
        .command(["verify", "--repair", "--json", "-q"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        json["repaired"].as_array().unwrap().len(),
        found.len(),
        "{json}"
    );
    assert_eq!(
        std::fs::read(bench.store().join("index.json")).unwrap(),
        index
    );
    assert!(
        orphan.exists(),
        "an index that was another might have listed it"
    );
    assert_eq!(wrong(&bench, "verify --repair"), []);
    assert!(!orphan.exists());
    store::check(&bench.store());
    let after: Vec<Vec<u8>> = ["1", "2", "3", "4"].map(|id| exported(&bench, id)).into();
    assert!(before == after);
}

#[test]
fn what_is_no_store_is_trouble_and_a_lost_database_is_told() {
    let bench = Bench::new();
    for command in ["verify", "prune", "du"] {
        assert!(
            bench.fails(2, [command]).starts_with("no store at"),
            "{command}"
        );
    }
    assert!(!bench.store().exists());
    days(&bench, 1);
    assert!(bench.fails(2, ["verify", "t"]).starts_with("no series t"));
    assert!(bench.fails(2, ["verify", "9"]).starts_with("no snapshot 9"));
    sh(&bench.store(), "rm rootstrata.sqlite*");
    let found = wrong(&bench, "verify");
    assert!(
        found.len() == 1 && found[0].1.contains("rootstrata import oci:"),
        "{found:?}"
    );
    let refused = bench
        .command(["prune", "--keep-last", "0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let refused = bench
        .command(["prune", "--keep-within", "2 weeks"])
        .output()
        .unwrap();
    assert!(
        text(&refused.stderr).contains("expected such as 12h, 14d"),
        "{}",
        text(&refused.stderr)
    );
}

/// Kills a prune at each of its calls that write, one after another.
#[test]
fn a_prune_that_is_killed_loses_nothing_and_can_be_repeated() {
    let bench = Bench::new();
    days(&bench, 3);
    let kept: Vec<Vec<u8>> = ["5", "6"].map(|id| exported(&bench, id)).into();
    sh(&bench.path(""), "cp -a store before");
    let command = bench.command(["prune", "--keep-last", "1", "-q"]);
    let mut words = vec![command.get_program().to_str().unwrap().to_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_str().unwrap().to_owned()),
    );
    let log = bench.path("log");
    let (_, calls) =
        crate::common::faults::run_with(crate::common::faults::Fault::Kill, 0, &words, &log);
    assert!(calls.len() > 20, "{calls:?}");
    // In this order: what the index names is recorded, what is recorded is there.
    let place = |name: &str, path: &str| {
        calls
            .iter()
            .position(|call| call.name.starts_with(name) && call.path.contains(path))
            .unwrap()
    };
    let (index, rows) = (place("rename", "/index.json"), place("fsync", "sqlite-wal"));
    assert!(
        index < rows && rows < place("unlink", "blobs/sha256/"),
        "{calls:#?}"
    );
    for fault in [
        crate::common::faults::Fault::Kill,
        crate::common::faults::Fault::Torn,
        crate::common::faults::Fault::Eio,
    ] {
        // A kill everywhere, the others here and there.
        let stride = if fault == crate::common::faults::Fault::Kill {
            1
        } else {
            5
        };
        for at in (1..=calls.len()).step_by(stride) {
            sh(&bench.path(""), "rm -rf store; cp -a before store");
            let (_, reached) = crate::common::faults::run_with(fault, at, &words, &log);
            if reached.len() < at {
                continue;
            }
            let ids = store::check(&bench.store());
            assert!(
                [vec![1, 2, 3, 4, 5, 6], vec![5, 6]].contains(&ids),
                "{fault:?} at {at}: {ids:?}"
            );
            let output = bench.command(["verify", "--deep"]).output().unwrap();
            assert!(
                output.status.success(),
                "{fault:?} at {at}: {}",
                text(&output.stdout)
            );
            bench.json(["prune", "--keep-last", "1"]);
            assert_eq!(store::check(&bench.store()), [5, 6]);
            assert_eq!(bench.json(["verify"])["dead_blobs"], 0);
        }
    }
    let after: Vec<Vec<u8>> = ["5", "6"].map(|id| exported(&bench, id)).into();
    assert!(kept == after);
}
