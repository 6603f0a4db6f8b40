//! A snapshot of a root in which little has changed is planned from that alone, and is the one that a look at all of the root
//! gives: what could tell them apart, case by case.

use crate::common::{Bench, assert_same_tree, listed, settle, sh};
use rootstrata::layer::codec::Compression;
use rootstrata::model::policy::{MtimeRule, Profile};
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::record::{Options, Outcome, snapshot};
use std::path::{Path, PathBuf};

/// 200 files that do not compress, of 8 kB, and a few small ones in a directory.
const TREE: &str = "for d in a b c d; do mkdir $d; for n in $(seq 50); do head -c 8000 /dev/urandom > $d/$n; done; done; \
    mkdir e e/log; echo x > e/x; echo y > e/y; echo log > e/log/1";

/// A root, a store that knows what it saw there last, and one that does not.
struct Twice {
    bench: Bench,
    root: PathBuf,
    options: Options,
}

impl Twice {
    fn new() -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, TREE);
        let name = |name: &str| Some(name.to_owned());
        let options = Options {
            series: name("s"),
            stage: name("bootstrap"),
            profile: Some(Profile::Plain),
            volatile: vec!["/e/log/*".to_owned()],
            compression: Compression::Gzip(1),
            ..Options::default()
        };
        let twice = Self {
            bench,
            root,
            options,
        };
        twice.record(&twice.root);
        twice
    }

    /// Records the root in both stores, and compares what they say with each other and with what is there.
    fn record(&self, root: &Path) -> Outcome {
        let known = self.recorded(root);
        if self.options.mtime.is_none() {
            assert_same_tree(
                &self.bench.unpacked(&known.snapshot.id.to_string()),
                &listed(root),
            );
        }
        known
    }

    fn recorded(&self, root: &Path) -> Outcome {
        settle(root);
        let unknowing = self.bench.path("unknowing");
        let database = unknowing.join("rootstrata.sqlite");
        if database.exists() {
            let connection = rusqlite::Connection::open(&database).unwrap();
            connection
                .execute("UPDATE root SET snapshot_id = NULL", [])
                .unwrap();
        }
        let record = |store: &Path| snapshot(store, root, &self.options, &Silent).unwrap();
        let (known, whole) = (record(&self.bench.store()), record(&unknowing));
        assert_eq!(known.snapshot.manifest, whole.snapshot.manifest);
        let totals = |outcome: &Outcome| (outcome.snapshot.entries, outcome.snapshot.content_bytes);
        assert_eq!(totals(&known), totals(&whole));
        known
    }

    /// Changes the root and records it, from a part of it.
    #[track_caller]
    fn of_a_part(&self, script: &str) {
        sh(&self.root, script);
        let outcome = self.record(&self.root);
        assert!(
            (1..outcome.snapshot.entries).contains(&outcome.paths_planned),
            "{}",
            outcome.paths_planned
        );
    }

    /// Changes the root and records it, from all of it.
    #[track_caller]
    fn of_all(&self, script: &str) {
        sh(&self.root, script);
        let outcome = self.record(&self.root);
        assert_eq!(outcome.paths_planned, outcome.snapshot.entries);
    }
}

#[test]
fn what_has_changed_is_planned_with_the_directories_above_it_and_what_is_volatile() {
    let twice = Twice::new();
    sh(&twice.root, "echo more >> a/1");
    // The root, a, a/1; e, e/log and e/log/1.
    assert_eq!(twice.record(&twice.root).paths_planned, 6);
    twice.of_a_part("echo more >> e/log/1");
    twice.of_a_part("rm a/2; mkdir a/new; echo x > a/new/x; ln -s x a/new/l; echo x > e/log/2");
    // Put back as it was, of which the update has nothing any more.
    twice.of_a_part("rm -r a/new e/log/2; truncate -s 8000 a/1");
    twice.of_a_part("chmod 600 b/1; chown 3:4 b/2; setfattr -n user.note -v 1 b/3; touch b");
}

#[test]
fn hardlinks_come_whole_also_where_an_update_has_parted_them() {
    let twice = Twice::new();
    twice.of_a_part("ln a/1 a/one; ln a/1 b/one");
    twice.of_a_part("echo more >> a/one");
    twice.of_a_part("rm a/one");
    twice.of_a_part("cp -a b/one b/1.new; mv b/1.new b/one");
    let twice = Twice::new();
    twice
        .of_all("for n in $(seq 50); do ln -f a/$n b/$n; done; rm -r e/x; head -c 900000 /dev/urandom > c/1");
    twice.of_a_part("cp -a a/1 b/1.new; mv b/1.new b/1");
    // Without the update, what is below would be linked again, and all of its names have to be known.
    twice.of_all("touch c/2");
}

#[test]
fn what_a_removed_directory_had_does_not_come_back_with_another_of_its_name() {
    let twice = Twice::new();
    twice.of_a_part("rm -r e");
    twice.of_all("mkdir -p e; echo new > e/y; echo new > e/z");
    let twice = Twice::new();
    twice.of_a_part("rm -r e; echo file > e");
    twice.of_a_part("echo more >> e");
    twice.of_all("rm e; mkdir -p e/log; echo z > e/z");
}

#[test]
fn another_root_of_the_series_has_updates_of_its_own() {
    let twice = Twice::new();
    let twin = twice.bench.path("twin");
    sh(&twice.root, &format!("cp -a . {}", twin.display()));
    twice.record(&twin);
    let changes = [
        (
            "rm a/9; echo twin >> a/1",
            "echo root >> a/1; echo root >> b/2",
        ),
        ("echo again >> a/1; echo z > z", "echo again >> b/2; rm b/3"),
    ];
    for (of_twin, of_root) in changes {
        sh(&twin, of_twin);
        let outcome = twice.record(&twin);
        assert!(outcome.paths_planned < outcome.snapshot.entries);
        twice.of_a_part(of_root);
    }
    // What the other has removed is beneath a directory here, of which no part is known.
    sh(&twin, "rm -r e");
    twice.record(&twin);
    twice.of_all("echo root >> a/1");
}

#[test]
fn a_base_that_is_made_anew_is_one_of_all() {
    let twice = Twice::new();
    twice.of_all("for n in $(seq 35); do head -c 20000 /dev/urandom > a/$n; done");
    twice.of_a_part("echo more >> a/1");
}

#[test]
fn a_link_in_the_paths_of_packages_and_their_database_count_for_all() {
    let twice = Twice {
        options: Options {
            mtime: Some(MtimeRule::Package),
            ..Twice::new().options
        },
        ..Twice::new()
    };
    twice.of_all("ln -s a link");
    twice.of_a_part("echo more >> a/1");
    twice.of_all("rm link");
    twice.of_a_part("echo more >> a/2");
    twice.of_all("ln -s a link");
    twice.of_all("rm link; echo file > link");
    // One that an update has, and that has not changed since, is no reason.
    twice.of_all("ln -s a a/link");
    twice.of_a_part("echo more >> a/3");
    twice.of_all("mkdir -p var/lib/rpm; echo none > var/lib/rpm/rpmdb.sqlite");
    twice.of_a_part("echo more >> a/1");
}

#[test]
fn what_was_just_written_is_not_taken_for_known() {
    let twice = Twice::new();
    // Times in the future are never trusted, so that nobody knows of it when it is gone.
    twice.of_a_part("echo x > a/new; touch -d 2100-01-01 a/new");
    twice.of_all("echo more >> b/1");
    twice.of_all("rm a/new");
    twice.of_a_part("echo more >> b/1");
}

#[test]
fn what_a_mount_hid_is_looked_for_in_all() {
    let twice = Twice::new();
    let mount = || sh(&twice.root, "mount -t tmpfs none e");
    let unmount = || sh(&twice.root, "umount e");
    mount();
    let hidden = twice.recorded(&twice.root);
    unmount();
    assert!(hidden.paths_planned < hidden.snapshot.entries); // what is beneath e counts as unchanged
    // What was beneath the mount when it was recorded has no stamps.
    twice.of_all("rm e/x; echo more >> a/1");
    twice.of_a_part("echo more >> a/2");
}

#[test]
fn what_the_database_has_lost_is_looked_for_in_all() {
    let twice = Twice::new();
    twice.of_a_part("echo more >> a/1");
    let connection =
        rusqlite::Connection::open(twice.bench.store().join("rootstrata.sqlite")).unwrap();
    let changed = connection
        .execute("UPDATE root SET dead_bytes = dead_bytes + 1", [])
        .unwrap();
    assert_eq!(changed, 1);
    twice.of_all("echo more >> a/1");
    // A row that is not what was recorded contradicts the stamps, and the look at all of the layer names it.
    let key = b"a\x001".as_slice();
    connection
        .execute("UPDATE entry SET path = X'FF' WHERE path = ?", [key])
        .unwrap();
    sh(&twice.root, "echo more >> a/1");
    settle(&twice.root);
    let error = snapshot(&twice.bench.store(), &twice.root, &twice.options, &Silent).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("are not those that were recorded"),
        "{error}"
    );
}
