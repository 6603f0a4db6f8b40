//! A normalised state: two installations of one set of packages give one tree, and what is derived is known wherever a root is
//! compared with it.

use crate::common::rpmdb::{GHOST, RpmFile, files, install};
use crate::common::{Bench, settle, sh};
use serde_json::Value;
use std::path::PathBuf;

/// Files of packages, alike in all roots.
const PACKAGED: &str = "mkdir -p usr/bin etc var/log/a var/lib/systemd usr/lib/sysimage/libdnf5 var/cache/ldconfig
    yes a | head -c 300000 > usr/bin/a; echo b > usr/bin/b; touch -d @700 usr/bin/a usr/bin/b; : > var/log/a/log
    echo conf > etc/a.conf; touch -d @700 etc/a.conf var/log/a/log var/log/a";

/// What installations of one set have differently.
const FIRST: &str = "echo 1 > var/log/a/log; echo x > var/log/dnf.log; echo h > etc/hosts; echo 11 > etc/machine-id
    echo ns > etc/resolv.conf; echo 1 > var/lib/systemd/random-seed; echo 1 > var/cache/ldconfig/aux-cache
    printf 'root:$6$a:1:0:99999:7:::\\nbin:*:19000:0:99999:7:::\\n' > etc/shadow; chmod 600 etc/shadow
    printf '[packages]\\n\"b.x86_64\" = {reason=\"User\"}\\n\"a.x86_64\" = {reason=\"User\"}\\n' \
        > usr/lib/sysimage/libdnf5/packages.toml
    echo old > etc/shadow-; echo 1 > etc/.updated";
const SECOND: &str = "mkdir var/log/journal; echo y > var/log/journal/x; echo other > etc/hosts; echo 22 > etc/machine-id
    : > etc/resolv.conf; printf 'root:$6$a:1:0:99999:7:::\\nbin:*:20000:0:99999:7:::\\n' > etc/shadow; chmod 600 etc/shadow
    printf '[packages]\\n\"a.x86_64\" = {reason=\"User\"}\\n\"b.x86_64\" = {reason=\"User\"}\\n' \
        > usr/lib/sysimage/libdnf5/packages.toml
    echo shm > usr/lib/sysimage/rpm/rpmdb.sqlite-shm; echo l > usr/lib/sysimage/rpm/.rpm.lock";

const NORMALIZED: &str = "--profile mock --state normalized --layers packages:9";

fn packages() -> Vec<(&'static str, Vec<RpmFile<'static>>)> {
    let mut b = files(&["/usr/bin/b", "/var/log/ghost"]);
    b[1].flags = GHOST;
    vec![
        (
            "a-1",
            files(&["/usr/bin/a", "/etc/a.conf", "/var/log/a", "/var/log/a/log"]),
        ),
        ("b-1", b),
    ]
}

/// A store and a root.
struct Case {
    bench: Bench,
    root: PathBuf,
}

impl Case {
    fn new(installation: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, PACKAGED);
        let mut packages = packages();
        if installation == SECOND {
            packages.reverse();
        }
        install(&root, &packages);
        sh(&root, installation);
        Self { bench, root }
    }

    fn record(&self, script: &str, options: &str) -> Value {
        sh(&self.root, script);
        settle(&self.root);
        self.bench.snapshot(&self.root, options)
    }

    /// The content of a recorded file.
    fn cat(&self, path: &str) -> String {
        self.bench.prints(0, ["cat", "s", path])
    }
}

fn of<'v>(snapshot: &'v Value, field: &str) -> &'v str {
    snapshot[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {snapshot}"))
}

fn keys(snapshot: &Value) -> Vec<(String, String)> {
    let layers = snapshot["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| (of(layer, "role").to_owned(), of(layer, "key").to_owned()))
        .collect()
}

/// A restore of all but the root directory itself, which is root's: an ordinary user runs these tests.
fn restoring(to: &str) -> Vec<&str> {
    vec!["-q", "restore", "s", to, "/etc", "/usr", "/var"]
}

fn state_of(case: &Case) -> Vec<String> {
    let listed = case.bench.json(["ls", "s"]);
    let entries = listed["entries"].as_array().unwrap().iter();
    let paths = entries.map(|entry| of(entry, "path").to_owned());
    paths
        .filter(|path| {
            path.starts_with("/var/") || path.starts_with("/etc/") || path.contains("sysimage")
        })
        .collect()
}

#[test]
fn two_installations_of_one_set_have_one_tree_and_one_image() {
    let (one, two) = (Case::new(FIRST), Case::new(SECOND));
    let first = one.record(":", NORMALIZED);
    let second = two.record(":", NORMALIZED);
    assert_eq!(state_of(&one), state_of(&two));
    assert_eq!(of(&first, "tree_digest"), of(&second, "tree_digest"));
    assert_eq!(
        of(&first, "manifest_digest"),
        of(&second, "manifest_digest")
    );
    // As they are, they are two.
    let recorded = "--profile mock --layers packages:9 --stage found";
    let (first, second) = (one.record(":", recorded), two.record(":", recorded));
    assert_ne!(
        of(&first, "manifest_digest"),
        of(&second, "manifest_digest")
    );
}

#[test]
fn whoever_runs_mock_makes_no_difference_to_the_tree() {
    let account = |uid: u32, gid: u32| {
        format!(
            "mkdir -p builddir; echo '%x 1' > builddir/.rpmmacros; echo root:x:0:0::/root:/bin/sh > etc/passwd
             echo mockbuild:x:{uid}:{gid}::/builddir:/bin/sh >> etc/passwd; cp etc/passwd etc/passwd-
             echo mock:x:{gid}: > etc/group; head -c 20000000 /dev/zero > builddir/large"
        )
    };
    let digests = [(1000, 135), (1001, 995)].map(|(uid, gid)| {
        let case = Case::new(FIRST);
        let first = case.record(&account(uid, gid), NORMALIZED);
        assert!(case.cat("/etc/passwd").contains("mockbuild:x:1000:135:"));
        assert_eq!(case.cat("/etc/group"), "mock:x:135:\n");
        let listed = case.bench.json(["ls", "s", "/builddir/.rpmmacros"]);
        assert_eq!(
            (&listed["entries"][0]["uid"], &listed["entries"][0]["gid"]),
            (&1000.into(), &135.into())
        );
        case.record("for i in $(seq 60); do echo $i > usr/$i; done", NORMALIZED);
        let few = case.record("echo more > builddir/more; rm usr/7", NORMALIZED);
        case.bench.prints(0, ["-q", "verify", "--deep"]);
        let directory = format!("dir:{}", case.root.display());
        assert_eq!(case.bench.compared(["s", &directory])["different"], false);
        [first, few].map(|snapshot| of(&snapshot, "tree_digest").to_owned())
    });
    assert_eq!(digests[0], digests[1]);
    // The number of somebody else is not given away.
    let case = Case::new(FIRST);
    case.record(
        &format!(
            "{}; echo a:x:1000:1::/:/x >> etc/passwd",
            account(1001, 995)
        ),
        NORMALIZED,
    );
    assert!(case.cat("/etc/passwd").contains("mockbuild:x:1001:995:"));
}

/// The build user of somebody with other numbers than the first user of a machine.
const USER: &str =
    "mkdir -p builddir; echo root:x:0:0::/root:/bin/sh > etc/passwd; echo mock:x:995: > etc/group
    echo mockbuild:x:1001:995::/builddir:/bin/sh >> etc/passwd";

#[test]
fn links_in_the_home_and_in_the_state_stay_apart() {
    let case = Case::new(FIRST);
    let script = format!(
        "{USER}; echo AAA > builddir/h1; ln builddir/h1 builddir/h2
         mkdir -p var/lib/dnf; echo BBBBB > var/lib/dnf/x1; ln var/lib/dnf/x1 var/lib/dnf/x2"
    );
    case.record(&script, NORMALIZED);
    case.bench.prints(0, ["-q", "verify", "--deep"]);
    assert_eq!(case.cat("/var/lib/dnf/x2"), "BBBBB\n");
    assert_eq!(case.cat("/builddir/h2"), "AAA\n");
}

#[test]
fn numbers_change_together_or_not_at_all() {
    let owner = |case: &Case| {
        let listed = case.bench.json(["ls", "s", "/builddir"]);
        listed["entries"][0]["uid"].as_i64().unwrap()
    };
    let without_group = format!("{USER}; : > etc/group");
    for (script, options) in [
        (USER, "--volatile /etc/passwd"),
        (USER, "--volatile /builddir"),
        (without_group.as_str(), ""),
    ] {
        let case = Case::new(FIRST);
        case.record(script, &format!("{NORMALIZED} {options}"));
        assert!(
            case.cat("/etc/passwd").contains("mockbuild:x:1001:995:"),
            "{options}"
        );
        assert_eq!(owner(&case), 1001, "{options}");
    }
    // What was before decides too, also where few paths are planned.
    let case = Case::new(FIRST);
    let script = format!(
        "{USER}; echo joe:x:1000:1::/:/x > etc/passwd-; for i in $(seq 60); do echo $i > usr/$i; done"
    );
    case.record(&script, NORMALIZED);
    let few = case.record("echo more > usr/7", NORMALIZED);
    assert_eq!(owner(&case), 1001);
    let whole = case.record(":", &format!("{NORMALIZED} --series other"));
    assert_eq!(of(&few, "tree_digest"), of(&whole, "tree_digest"));
}

#[test]
fn what_is_beneath_a_path_that_is_left_out_is_left_out() {
    let case = Case::new(FIRST);
    let script = "rm etc/.updated; mkdir etc/.updated usr/lib/sysimage/rpm/rpmdb.sqlite-x
        echo x > etc/.updated/x; echo y > usr/lib/sysimage/rpm/rpmdb.sqlite-x/y";
    case.record(script, NORMALIZED);
    let state = state_of(&case);
    assert!(
        !state
            .iter()
            .any(|path| path.contains(".updated") || path.contains("sqlite-x"))
    );
    let to = case.bench.make("restored");
    case.bench.prints(0, restoring(to.to_str().unwrap()));
}

#[test]
fn a_restored_database_has_no_log_of_another() {
    let case = Case::new(FIRST);
    case.record(":", NORMALIZED);
    let directory = case.root.join("usr/lib/sysimage/rpm");
    for end in ["-wal", "-shm", "-journal"] {
        std::fs::write(directory.join(format!("rpmdb.sqlite{end}")), "old").unwrap();
    }
    std::fs::write(directory.join("rpmdb.sqlite"), "other").unwrap();
    std::fs::write(directory.join("mine"), "stays").unwrap();
    let root = case.root.to_str().unwrap();
    let one = "/usr/lib/sysimage/rpm/rpmdb.sqlite";
    case.bench.prints(0, ["-q", "restore", "s", root, one]);
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["mine", "rpmdb.sqlite"]);
}

#[test]
fn a_normalised_state_has_what_follows_from_the_packages() {
    let case = Case::new(FIRST);
    case.record(":", NORMALIZED);
    for empty in [
        "/etc/hosts",
        "/etc/machine-id",
        "/etc/resolv.conf",
        "/var/log/a/log",
    ] {
        assert_eq!(case.cat(empty), "", "{empty}");
    }
    assert_eq!(
        case.cat("/etc/shadow"),
        "root:$6$a:1:0:99999:7:::\nbin:*::0:99999:7:::\n"
    );
    let reasons = case.cat("/usr/lib/sysimage/libdnf5/packages.toml");
    assert!(
        reasons.find("a.x86_64") < reasons.find("b.x86_64"),
        "{reasons}"
    );
    let state = state_of(&case);
    for gone in ["dnf.log", "random-seed", "aux-cache", "shadow-", ".updated"] {
        assert!(!state.iter().any(|path| path.ends_with(gone)), "{gone}");
    }
    case.bench.prints(0, ["-q", "verify", "--deep"]);
}

#[test]
fn all_layers_but_the_state_are_shared_with_a_state_as_found() {
    let case = Case::new(FIRST);
    let as_found = keys(&case.record(":", "--profile mock --layers packages:9"));
    let normalized = case.record(":", NORMALIZED);
    let (layers, read) = (
        keys(&normalized),
        normalized["files_read"].as_u64().unwrap(),
    );
    assert_eq!(layers.len(), as_found.len());
    for (one, other) in as_found.iter().zip(&layers) {
        assert_eq!(one == other, one.0 != "state", "{one:?} {other:?}");
    }
    assert!(read < 8, "{normalized}");
    let told = case.bench.compared(["1", "2"])["notes"].to_string();
    assert!(told.contains("2 alone has a normalised state"), "{told}");
    let same = case.bench.compared(["1", "1"]);
    assert_eq!(same["notes"], serde_json::json!([]));
    let policy = |snapshot: &str| case.bench.json(["show", snapshot])["policy"]["state"].clone();
    assert_eq!(policy("1"), Value::Null);
    assert_eq!(policy("2"), "normalized-1");
}

#[test]
fn nothing_changed_reads_nothing_and_few_changes_are_planned_alone() {
    let case = Case::new(FIRST);
    let whole = case.record("for i in $(seq 60); do echo $i > usr/$i; done", NORMALIZED);
    let again = case.record(":", NORMALIZED);
    assert_eq!(
        (&again["files_read"], of(&again, "tree_digest")),
        (&Value::from(0), of(&whole, "tree_digest"))
    );
    // A log is no difference, and neither is a line of hosts.
    let logged = case.record(
        "echo 2 >> var/log/dnf.log; echo 3 > var/log/new; echo 4 >> etc/hosts",
        NORMALIZED,
    );
    assert_eq!(of(&logged, "tree_digest"), of(&whole, "tree_digest"));
    let changed = case.record("echo mine > usr/7; rm var/log/new", NORMALIZED);
    assert_ne!(of(&changed, "tree_digest"), of(&whole, "tree_digest"));
    let other = Case::new(SECOND);
    let fresh = other.record(
        "for i in $(seq 60); do echo $i > usr/$i; done; echo mine > usr/7",
        NORMALIZED,
    );
    assert_eq!(of(&changed, "tree_digest"), of(&fresh, "tree_digest"));
    case.bench.prints(0, ["-q", "verify", "--deep"]);
}

#[test]
fn a_fresh_plan_gives_the_image_of_an_empty_store_out_of_the_layers_that_are_there() {
    for layers in ["packages:9", "stages"] {
        let options = format!("--profile mock --state normalized --layers {layers}");
        let (one, two) = (Case::new(FIRST), Case::new(SECOND));
        let alone = one.record(":", &options);
        two.record("echo other > usr/bin/b", &options);
        two.record(
            "echo b > usr/bin/b; touch -d @700 usr/bin/b; echo more > usr/more",
            &options,
        );
        let grown = two.record("rm usr/more", &options);
        let fresh = two.record(":", &format!("{options} --fresh"));
        assert_eq!(
            of(&grown, "tree_digest"),
            of(&alone, "tree_digest"),
            "{layers}"
        );
        assert_eq!(
            of(&fresh, "tree_digest"),
            of(&alone, "tree_digest"),
            "{layers}"
        );
        assert_eq!(
            of(&fresh, "manifest_digest"),
            of(&alone, "manifest_digest"),
            "{layers}"
        );
        let again = two.record(":", &format!("{options} --fresh"));
        let reused = |layer: &Value| layer["reused"].as_bool().unwrap();
        assert!(
            again["layers"].as_array().unwrap().iter().all(reused),
            "{again}"
        );
        assert_eq!(again["files_read"], 0);
        let explained = two.bench.json(["explain", "s"]);
        let reasons = explained["layers"].as_array().unwrap().iter();
        let base = reasons.filter(|layer| layer["role"] == "base");
        assert!(
            base.clone().count() == 1 && base.into_iter().all(|layer| layer["reason"] == "fresh"),
            "{explained}"
        );
        two.bench.prints(0, ["-q", "verify", "--deep"]);
    }
    let case = Case::new(FIRST);
    let error = case
        .bench
        .command(["snapshot", "root", "--fresh", "--parent", "1"])
        .output()
        .unwrap();
    assert_eq!(error.status.code(), Some(2));
}

#[test]
fn a_directory_is_compared_as_it_would_be_recorded() {
    let case = Case::new(FIRST);
    case.record(":", NORMALIZED);
    let directory = format!("dir:{}", case.root.display());
    let other = Case::new(SECOND);
    let other_directory = format!("dir:{}", other.root.display());
    for directory in [&directory, &other_directory] {
        let same = case.bench.compared(["s", directory]);
        assert_eq!(same["different"], false, "{same}");
    }
    sh(
        &case.root,
        "echo 5 > etc/hosts; echo 5 > var/log/dnf.log; echo 5 > var/log/a/log",
    );
    assert_eq!(case.bench.compared(["s", &directory])["different"], false);
    sh(
        &other.root,
        "printf 'root:$6$b:1:0:99999:7:::\\nbin:*:1:0:99999:7:::\\n' > etc/shadow",
    );
    let text = case.bench.prints(
        1,
        ["diff", "--content", "/etc/shadow", "s", &other_directory],
    );
    assert!(
        text.contains("/etc/shadow") && text.contains("$6$b"),
        "{text}"
    );
    assert!(!text.contains("bin:*:1"), "{text}");
}

#[test]
fn an_image_is_compared_as_its_root_would_be_recorded() {
    let (one, two) = (Case::new(FIRST), Case::new(SECOND));
    one.record(":", NORMALIZED);
    two.record(":", "--profile mock");
    let archive = one.bench.path("two.tar");
    two.bench
        .prints(0, ["-q", "export", "s", "-o", archive.to_str().unwrap()]);
    let image = format!("oci-archive:{}", archive.display());
    let same = one.bench.compared(["s", &image]);
    assert_eq!(same["different"], false, "{same}");
}

#[test]
fn a_restored_root_has_the_derived_files_and_recording_it_reads_nothing() {
    let case = Case::new(FIRST);
    let recorded = case.record(":", NORMALIZED);
    let target = case.bench.make("restored");
    let to = target.to_str().unwrap();
    case.bench.prints(0, restoring(to));
    assert_eq!(
        std::fs::read_to_string(target.join("etc/hosts")).unwrap(),
        ""
    );
    assert!(!target.join("var/log/dnf.log").exists());
    case.bench.prints(0, restoring(to));
    settle(&target);
    let again = case.bench.snapshot(&target, NORMALIZED);
    assert_eq!(of(&again, "tree_digest"), of(&recorded, "tree_digest"));
    assert_eq!(again["files_read"], 0, "{again}");
    // Into the root itself: what is there is not what was recorded.
    case.bench.prints(
        0,
        restoring(case.root.to_str().unwrap())
            .into_iter()
            .chain(["--exact"]),
    );
    assert_eq!(
        std::fs::read_to_string(case.root.join("etc/hosts")).unwrap(),
        ""
    );
    assert!(!case.root.join("var/log/dnf.log").exists());
}

#[test]
fn an_image_keeps_its_keys_in_another_store() {
    let (case, other) = (Case::new(FIRST), Bench::new());
    let recorded = case.record(":", NORMALIZED);
    let archive = case.bench.path("image.tar");
    case.bench
        .prints(0, ["-q", "export", "s", "-o", archive.to_str().unwrap()]);
    let source = format!("oci-archive:{}", archive.display());
    other.prints(0, ["-q", "import", &source]);
    let imported = other.json(["show", "s"]);
    assert_eq!(keys(&imported), keys(&recorded));
    assert_eq!(of(&imported, "tree_digest"), of(&recorded, "tree_digest"));
    other.prints(0, ["-q", "verify", "--deep"]);
}

#[test]
fn a_tree_is_found_by_its_digest() {
    let (one, two) = (Case::new(FIRST), Case::new(SECOND));
    let digest = of(&one.record(":", NORMALIZED), "tree_digest").to_owned();
    assert_eq!(digest.strip_prefix("blake3:").unwrap().len(), 64);
    two.record(":", "--profile mock --stage found");
    two.record(":", NORMALIZED);
    let shown = two.bench.prints(0, ["show", "2"]);
    assert!(shown.contains(&format!("tree      {digest}\n")), "{shown}");
    let logged = two.bench.prints(0, ["log", "-v"]);
    assert!(logged.contains(&format!("  tree {digest}\n")), "{logged}");
    let found = two.bench.json(["find", "--tree", &digest]);
    let ids: Vec<_> = found["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&Value::from(2)]);
    let found = two
        .bench
        .prints(0, ["find", "--tree", &digest[7..19].to_uppercase()]);
    assert!(found.contains(&digest), "{found}");
    assert_eq!(two.bench.prints(1, ["find", "--tree", &"0".repeat(64)]), "");
    let error = two
        .bench
        .command(["find", "--tree", "abc"])
        .output()
        .unwrap();
    assert_eq!(error.status.code(), Some(2));
}

#[test]
fn a_remembered_digest_that_is_wrong_is_found_and_made_again() {
    let case = Case::new(FIRST);
    let digest = of(&case.record(":", NORMALIZED), "tree_digest").to_owned();
    let database =
        rusqlite::Connection::open(case.bench.store().join("rootstrata.sqlite")).unwrap();
    // Without the sum of its row it counts for nothing.
    database
        .execute("UPDATE tree SET digest = zeroblob(32)", ())
        .unwrap();
    assert_eq!(of(&case.bench.json(["show", "s"]), "tree_digest"), digest);
    let row = "SELECT CAST(manifest || policy AS BLOB) FROM tree";
    let ids: Vec<u8> = database.query_row(row, (), |row| row.get(0)).unwrap();
    let mut hasher = blake3::Hasher::new();
    for part in [&ids[..32], &ids[32..64], &[0; 32]] {
        hasher.update(&32_u64.to_le_bytes()).update(part);
    }
    let sum = i64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap());
    database
        .execute("UPDATE tree SET digest = zeroblob(32), sum = ?", [sum])
        .unwrap();
    assert_eq!(
        of(&case.bench.json(["show", "s"]), "tree_digest"),
        format!("blake3:{}", "0".repeat(64))
    );
    drop(database);
    let verified = case.bench.command(["verify"]).output().unwrap();
    assert_eq!(verified.status.code(), Some(1));
    case.bench.command(["verify", "--repair"]).output().unwrap();
    case.bench.prints(0, ["-q", "verify"]);
    assert_eq!(of(&case.bench.json(["show", "s"]), "tree_digest"), digest);
}

#[test]
fn what_has_no_packages_to_follow_from_is_refused_in_one_line() {
    let case = Case::new(FIRST);
    let root = case.root.to_str().unwrap();
    let refused = |options: &[&str]| {
        let arguments = ["snapshot", root, "--series", "s", "--state", "normalized"];
        case.bench.fails(2, arguments.iter().chain(options))
    };
    let plain = refused(&["--profile", "plain"]);
    assert!(plain.contains("--profile mock"), "{plain}");
    let database = case.root.join("usr/lib/sysimage/rpm/rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch("CREATE VIEW v AS SELECT 1")
        .unwrap();
    drop(connection);
    let view = refused(&["--profile", "mock"]);
    assert!(
        view.contains("usr/lib/sysimage/rpm/rpmdb.sqlite") && view.contains("rpm does not make"),
        "{view}"
    );
    std::fs::remove_file(&database).unwrap();
    let without = refused(&["--profile", "mock"]);
    assert!(without.contains("no packages are known"), "{without}");
    std::fs::write(case.root.join("usr/lib/sysimage/rpm/Packages.db"), "x").unwrap();
    let other = case.bench.command([
        "snapshot",
        root,
        "--series",
        "s",
        "--state",
        "normalized",
        "--profile",
        "mock",
    ]);
    let other = { other }.output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(case.bench.ids().is_empty());
}

#[test]
fn what_no_rule_knows_is_a_difference_that_explain_names() {
    let case = Case::new(FIRST);
    case.record(":", NORMALIZED);
    let changed = case.record(
        "echo x > etc/localtime; echo y > usr/lib/sysimage/libdnf5/other",
        NORMALIZED,
    );
    assert_eq!(changed["id"], 2);
    let explained = case.bench.prints(0, ["-v", "explain", "s"]);
    assert!(explained.contains("/etc/localtime"), "{explained}");
    assert!(
        explained.contains("/usr/lib/sysimage/libdnf5/other"),
        "{explained}"
    );
}
