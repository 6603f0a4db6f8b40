//! A normalised state of real rpm chroots: one set of packages, one tree, however it came to be; and what rpm and dnf make of it.

use crate::common::{Bench, settle, succeeds};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const NORMALIZED: &str = "--stage bootstrap --state normalized";

fn chroots() -> PathBuf {
    let all = std::env::var_os("ROOTSTRATA_CHROOTS")
        .expect("ROOTSTRATA_CHROOTS is not set: scripts/test sets it to what fixtures/chroots/make has made");
    Path::new(&all).canonicalize().unwrap()
}

/// What a root was recorded as.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    tree: String,
    manifest: String,
}

fn recorded(snapshot: &Value) -> Recorded {
    let of = |field: &str| snapshot[field].as_str().unwrap().to_owned();
    Recorded {
        tree: of("tree_digest"),
        manifest: of("manifest_digest"),
    }
}

/// Records a root in an empty store.
fn record(root: &Path, more: &str) -> Recorded {
    let bench = Bench::new();
    recorded(&bench.snapshot(root, &format!("{NORMALIZED} {more}")))
}

/// Records a root in a store that has seen others, as an empty store would.
fn record_fresh(bench: &Bench, root: &Path) -> Recorded {
    recorded(&bench.snapshot(root, &format!("{NORMALIZED} --fresh")))
}

fn run(program: &str, arguments: &[&str]) -> String {
    succeeds(Command::new(program).args(arguments))
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

/// Runs dnf over a root with the repository of a day, as the chroots were made.
fn dnf(root: &Path, day: u8, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let repository = chroots().join(format!("repo{day}"));
    assert!(
        repository.is_dir(),
        "{} is missing: fixtures/chroots/make keeps it",
        repository.display()
    );
    let configuration = home.path().join("dnf.conf");
    let text = format!(
        "[main]\nreposdir=/dev/null\ngpgcheck=0\ninstall_weak_deps=0\nbest=1\nmetadata_expire=0\n\
         cachedir=/var/cache/dnf\nlogdir=/var/log\nplugins=0\n\
         [local]\nname=local\nbaseurl=file://{}\n",
        repository.display()
    );
    std::fs::write(&configuration, text).unwrap();
    std::fs::write(home.path().join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
    let mut command = Command::new("dnf");
    command
        .args(["-y", "-q", "--releasever=12", "--setopt=tsflags=", "-c"])
        .arg(&configuration)
        .arg(format!("--installroot={}", root.display()))
        .args(arguments)
        .env("HOME", home.path());
    succeeds(&mut command)
}

fn rpm(root: &Path, arguments: &[&str]) -> String {
    let root = root.to_str().unwrap();
    let common = ["--root", root, "--dbpath", "/var/lib/rpm"];
    let output = Command::new("rpm")
        .args(common)
        .args(arguments)
        .output()
        .unwrap();
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn two_installations_have_one_tree_and_one_image_with_any_number_of_threads() {
    for stage in ["boot", "deps"] {
        let root = |suffix: &str| chroots().join(format!("{stage}-{suffix}"));
        let first = record(&root("day0"), "--threads 1");
        assert_eq!(first, record(&root("day0b"), "--threads 8"), "{stage}");
        assert_ne!(first.tree, record(&root("day1"), "").tree);
    }
}

#[test]
fn the_filesystem_and_a_log_of_the_database_make_no_difference() {
    let bench = Bench::new();
    let original = chroots().join("boot-day0b");
    let expected = record(&original, "");
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; mkdir -p root
         image() {{ rm -f image; truncate -s 800M image; \"$@\" image > /dev/null; mount -o loop image root; }}
         for make in 'image mkfs.ext4 -q' 'image mkfs.xfs -q' 'image mkfs.btrfs -q' 'mount -t tmpfs tmpfs root'; do
             $make; rm -rf root/lost+found; cp -a {}/. root; stat -f -c %T root >> kinds
             {} --store store snapshot root --series s {NORMALIZED} --fresh --json -q
             umount root
         done",
        original.display(),
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "bash", "-euc", &script])
        .current_dir(bench.path(""));
    let printed = succeeds(&mut command);
    let all: Vec<Recorded> = printed
        .lines()
        .map(|line| recorded(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(all.len(), 4, "{printed}");
    assert!(all.iter().all(|one| *one == expected), "{all:#?}");
    let kinds = std::fs::read_to_string(bench.path("kinds")).unwrap();
    assert_eq!(kinds.lines().count(), 4, "{kinds}");

    // A writer that has not put its log into the database.
    let root = bench.path("live");
    copy(&original, &root);
    let database = root.join("var/lib/rpm/rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             UPDATE Packages SET hnum = hnum + 10000; UPDATE Name SET hnum = hnum + 10000;
             UPDATE Packages SET hnum = hnum - 10000; UPDATE Name SET hnum = hnum - 10000;",
        )
        .unwrap();
    assert!(
        root.join("var/lib/rpm/rpmdb.sqlite-wal")
            .metadata()
            .unwrap()
            .len()
            > 100_000
    );
    settle(&root);
    assert_eq!(record_fresh(&bench, &root), expected);
}

#[test]
fn an_updated_root_is_one_that_was_installed_anew() {
    let bench = Bench::new();
    let root = bench.path("root");
    copy(&chroots().join("boot-day0"), &root);
    dnf(&root, 1, &["upgrade"]);
    let installed = chroots().join("boot-day1");
    let expected = record(&installed, "");
    assert_eq!(record(&root, ""), expected);
    // Also in a store that has seen the days before.
    let grown = Bench::new();
    let options = NORMALIZED;
    grown.snapshot(&chroots().join("boot-day0"), options);
    let over = recorded(&grown.snapshot(&root, options));
    assert_eq!(over.tree, expected.tree);
    assert_ne!(over.manifest, expected.manifest);
    let fresh = grown.snapshot(&root, &format!("{options} --fresh"));
    assert_eq!(recorded(&fresh), expected);
    let layers = fresh["layers"].as_array().unwrap();
    let packages = layers.iter().filter(|layer| layer["role"] == "package");
    assert!(packages.clone().count() > 9);
    assert!(
        packages.into_iter().all(|layer| layer["reused"] == true),
        "{fresh}"
    );
}

/// The packages of the first day's repository that need no other, and stand in files of their own.
fn packages() -> Vec<String> {
    let all = std::fs::read_dir(chroots().join("repo0")).unwrap();
    let mut names: Vec<String> = all
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".rpm"))
        .collect();
    names.sort_unstable();
    names.truncate(40);
    names
}

#[test]
fn the_order_of_installation_and_the_number_of_transactions_make_no_difference() {
    let bench = Bench::new();
    let packages = packages();
    let install = |name: &str, order: &dyn Fn(&mut Vec<String>), transactions: usize| {
        let root = bench.make(name);
        let mut packages = packages.clone();
        order(&mut packages);
        for part in packages.chunks(packages.len().div_ceil(transactions)) {
            let mut arguments = vec!["--root", root.to_str().unwrap(), "--dbpath", "/var/lib/rpm"];
            arguments.extend(["-i", "--nodeps", "--noscripts", "--nosignature"]);
            arguments.extend(part.iter().map(String::as_str));
            run("rpm", &arguments);
        }
        settle(&root);
        record_fresh(&bench, &root)
    };
    let first = install("one", &|_| {}, 1);
    assert_eq!(install("reversed", &|all| all.reverse(), 5), first);
    assert_eq!(install("rotated", &|all| all.rotate_left(17), 5), first);
    assert_eq!(install("turned", &|all| all.rotate_right(9), 1), first);
    let fewer = install("fewer", &|all| all.truncate(39), 1);
    assert_ne!(fewer.tree, first.tree);
}

#[test]
fn rpm_and_dnf_work_in_a_restored_root_as_in_the_root() {
    let bench = Bench::new();
    let root = bench.path("root");
    copy(&chroots().join("deps-day0"), &root);
    settle(&root);
    bench.snapshot(&root, NORMALIZED);
    let restored = bench.path("restored");
    bench.prints(0, ["-q", "restore", "s", restored.to_str().unwrap()]);

    let verified = Command::new("rpmdb")
        .args([
            "--root",
            restored.to_str().unwrap(),
            "--dbpath",
            "/var/lib/rpm",
            "--verifydb",
        ])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let identity = "%{NEVRA} %{SIGMD5} %{SHA1HEADER} %{SHA256HEADER} %{RSAHEADER:pgpsig} %{DSAHEADER:pgpsig}\n";
    for query in [
        &["-qa", "--qf", identity][..],
        &["-qa", "-l"],
        &["-q", "--whatprovides", "/bin/sh"],
        &["-qf", "/usr/bin/gcc"],
        &["-qa", "--requires"],
        &["-q", "deb-gcc"],
    ] {
        let expected = rpm(&root, query);
        assert!(!expected.is_empty(), "{query:?}");
        assert_eq!(rpm(&restored, query), expected, "{query:?}");
    }
    let times = rpm(
        &restored,
        &["-qa", "--qf", "%{INSTALLTIME} %{INSTALLTID}\n"],
    );
    assert!(
        times.lines().all(|line| line == "315619200 315619200"),
        "{times}"
    );
    // What is emptied or left out is what rpm finds changed.
    let wrong = rpm(&restored, &["-Va"]);
    let before = rpm(&root, &["-Va"]);
    let new: Vec<&str> = wrong
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .collect();
    let expected = |line: &&str| line.ends_with(" /etc/shadow"); // which this distribution's package has with days
    assert!(new.iter().all(expected), "{new:#?}");

    for question in [
        &["list", "--installed"][..],
        &["repoquery", "--userinstalled"],
        &["repoquery", "--unneeded"],
    ] {
        assert_eq!(
            dnf(&restored, 0, question),
            dnf(&root, 0, question),
            "{question:?}"
        );
    }
    for root in [&root, &restored] {
        dnf(root, 0, &["install", "deb-dnf"]);
        dnf(
            root,
            0,
            &[
                "remove",
                "--setopt=clean_requirements_on_remove=0",
                "deb-dnf",
            ],
        );
    }
    let unneeded = dnf(&root, 0, &["repoquery", "--unneeded"]);
    assert!(!unneeded.is_empty());
    assert_eq!(dnf(&restored, 0, &["repoquery", "--unneeded"]), unneeded);
    for root in [&root, &restored] {
        dnf(root, 0, &["autoremove"]);
    }
    assert_eq!(rpm(&restored, &["-qa"]), rpm(&root, &["-qa"]));
    // And they are one again.
    settle(&root);
    settle(&restored);
    let [one, other] = [&restored, &root].map(|root| record_fresh(&bench, root));
    assert_eq!(one, other);
}

#[test]
fn a_difference_that_is_none_of_the_installation_has_another_digest_and_a_name() {
    let bench = Bench::new();
    let root = bench.path("root");
    copy(&chroots().join("boot-day0"), &root);
    settle(&root);
    let first = recorded(&bench.snapshot(&root, NORMALIZED));
    let changed = |what: &str, script: &str, named: &str| {
        let copied = bench.path("copied");
        copy(&root, &copied);
        succeeds(
            Command::new("sh")
                .args(["-euc", script])
                .current_dir(&copied),
        );
        let directory = format!("dir:{}", copied.display());
        let told = bench.prints(1, ["diff", "1", &directory]);
        assert!(told.contains(named), "{what}: {told}");
        settle(&copied);
        assert_ne!(record_fresh(&bench, &copied).tree, first.tree, "{what}");
        std::fs::remove_dir_all(&copied).unwrap();
    };
    changed("edited", "echo >> usr/bin/ldd", "/usr/bin/ldd");
    changed(
        "configuration",
        "echo >> etc/debian_version",
        "/etc/debian_version",
    );
    changed("signed again", RESIGN, "/var/lib/rpm/rpmdb.sqlite");
    changed(
        "another password",
        "echo 'x:$6$y:1:0:9:7:::' >> etc/shadow",
        "/etc/shadow",
    );
}

/// Changes a byte of the checksum that a signature covers (tag 261, SIGMD5), outside the region that stands for the package.
const RESIGN: &str = r#"python3 - << 'END'
import sqlite3, struct
database = sqlite3.connect("var/lib/rpm/rpmdb.sqlite")
number, blob = database.execute("SELECT hnum, blob FROM Packages LIMIT 1").fetchone()
count, = struct.unpack(">I", blob[:4])
entries = [struct.unpack(">IIII", blob[8 + 16 * at:24 + 16 * at]) for at in range(count)]
at = 8 + 16 * count + next(offset for tag, _, offset, _ in entries if tag == 261)
blob = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1:]
database.execute("UPDATE Packages SET blob = ? WHERE hnum = ?", (blob, number))
database.commit()
END"#;
