//! Damage to a store: whatever is deleted, cut, flipped or swapped, it is noticed and named, and nothing wrong is exported.
//! docs/reliability.md has the table. `ROOTSTRATA_FLIPS` is the number of single bits of the database that are tried.

use crate::common::layers::{Layout, tree_of};
use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, rootstrata, settle, sh, text};
use rootstrata::model::policy::Profile;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::record::{Options, snapshot};
use rusqlite::Connection;
use rusqlite::types::Value as Column;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A store with some snapshots, and what it must give.
struct Kept {
    bench: Bench,
    /// A root that is recorded last: its stamps are in the store.
    root: PathBuf,
    /// What each of the commands that only read prints.
    printed: BTreeMap<Vec<String>, Vec<u8>>,
    /// The archive of each snapshot.
    archives: BTreeMap<i64, Vec<u8>>,
    /// The tree of the root.
    tree: Tree,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn command(store: &Path, arguments: &[String]) -> Output {
    rootstrata()
        .arg("--store")
        .arg(store)
        .args(["--json", "-q"])
        .args(arguments)
        .output()
        .unwrap()
}

impl Kept {
    fn new() -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(
            &root,
            "mkdir -p d/e log usr/lib/sysimage/rpm; for i in 1 2 3 4; do echo $i > d/$i; ln -s ../$i d/e/l$i; done; ln d/1 d/e/h
             echo note > d/n; setfattr -n user.note -v value d/n; mkfifo p; mknod n c 5 1; echo a > log/a
             head -c 50000 /dev/urandom > large
             mkdir many; for i in $(seq 150); do echo $i > many/$i; done", // so that changed stamps stay beside the others
        );
        let options = "--profile plain --volatile /log --run r --stage";
        bench.snapshot(&root, &format!("{options} bootstrap"));
        sh(&root, "rm d/4; echo more > d/more; echo b > log/b");
        bench.snapshot(
            &root,
            &format!("{options} deps-installed --compression gzip"),
        );
        sh(
            &root,
            "echo most > d/most; rm d/2; head -c 50000 /dev/urandom > d/built",
        );
        settle(&root);
        bench.snapshot(&root, &format!("{options} built"));
        // What has changed since is planned from rows that are looked up one by one.
        sh(
            &root,
            "echo changed > many/1; chmod 600 many/2; rm many/3; touch many/4; echo new > d/new; echo c > log/b",
        );
        settle(&root);
        let mut kept = Self {
            tree: walked(&root),
            bench,
            root,
            printed: BTreeMap::new(),
            archives: BTreeMap::new(),
        };
        kept.keep();
        assert!(kept.is_planned_from_a_part());
        kept
    }

    /// Keeps what the commands print, and the archive of each snapshot.
    fn keep(&mut self) {
        for arguments in [
            "log", "log s", "show s", "show 1", "ls s", "ls 1", "ls s d/e",
        ] {
            let output = command(&self.bench.store(), &words(arguments));
            assert!(output.status.success());
            self.printed.insert(words(arguments), output.stdout);
        }
        for id in self.bench.ids() {
            let archive = self.bench.path("whole.tar");
            self.bench
                .json(["export", &id.to_string(), "-o", archive.to_str().unwrap()]);
            self.archives.insert(id, std::fs::read(archive).unwrap());
        }
    }

    fn is_planned_from_a_part(&self) -> bool {
        let name = |name: &str| Some(name.to_owned());
        let options = Options {
            series: name("s"),
            stage: name("built"),
            run: name("r"),
            profile: Some(Profile::Plain),
            volatile: vec!["/log".to_owned()],
            ..Options::default()
        };
        let outcome = snapshot(&self.copy(), &self.root, &options, &Silent).unwrap();
        (1..outcome.snapshot.entries).contains(&outcome.paths_planned)
    }

    /// A copy of the store that may be damaged.
    fn copy(&self) -> PathBuf {
        let copy = self.bench.path("copy");
        sh(&self.bench.path(""), "rm -rf copy; cp -a store copy");
        copy
    }

    /// Runs every command on a damaged store. Wants none to panic and none to print or write anything wrong. Returns what they
    /// said on stderr.
    fn said_of(&self, store: &Path) -> String {
        let mut said = String::new();
        let mut says = |output: &Output, what: &[String]| -> bool {
            let stderr = text(&output.stderr);
            let code = output.status.code();
            assert!(
                code == Some(0) || code == Some(2),
                "{what:?}: {code:?} {stderr}"
            );
            assert!(!stderr.contains("panicked"), "{what:?}: {stderr}");
            said.push_str(&stderr);
            code == Some(0)
        };
        for (arguments, printed) in &self.printed {
            let output = command(store, arguments);
            if says(&output, arguments) {
                assert!(
                    output.stdout == *printed,
                    "{arguments:?} prints\n{}",
                    text(&output.stdout)
                );
            }
        }
        let archive = self.bench.path("out.tar");
        for (id, expected) in &self.archives {
            let arguments = words(&format!("export {id} -o {}", archive.display()));
            if says(&command(store, &arguments), &arguments) {
                assert!(
                    std::fs::read(&archive).unwrap() == *expected,
                    "the archive of {id}"
                );
            }
            std::fs::remove_file(&archive).unwrap_or_default();
        }
        // The same stage with a few changes, the same again, then a new stage; each is the tree, or an error.
        for (stage, more) in [
            ("built", ""),
            ("built", ""),
            ("after", "--compression gzip"),
            ("after", ""),
        ] {
            let root = self.root.display();
            let arguments = words(&format!(
                "snapshot {root} --series s --profile plain --volatile /log --run r --stage {stage} {more}"
            ));
            let output = command(store, &arguments);
            if says(&output, &arguments) {
                let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
                self.check_image(store, &snapshot, &arguments);
            }
        }
        said
    }

    fn check_image(&self, store: &Path, snapshot: &Value, arguments: &[String]) {
        let tree = tree_of(
            snapshot["manifest_digest"].as_str().unwrap(),
            &Layout(store),
        );
        let wrong = differences(&tree, &self.tree);
        assert!(wrong.is_empty(), "{arguments:?}\n{}", wrong.join("\n"));
    }
}

/// The value with one bit changed.
fn flipped(value: &Column) -> Option<Column> {
    match value {
        Column::Null => None,
        Column::Integer(number) => Some(Column::Integer(number ^ 1)),
        Column::Real(number) => Some(Column::Real(-number)),
        Column::Text(text) => {
            let mut bytes = text.clone().into_bytes();
            *bytes.last_mut()? ^= 1;
            Some(Column::Text(String::from_utf8(bytes).unwrap()))
        }
        Column::Blob(bytes) => {
            let mut bytes = bytes.clone();
            let middle = bytes.len() / 2;
            *bytes.get_mut(middle)? ^= 1;
            Some(Column::Blob(bytes))
        }
    }
}

/// What is shown and decides nothing: the number of the parent goes when the parent goes, so the seal leaves it out.
const UNSEALED: [(&str, &str); 1] = [("snapshot", "parent_id")];

#[test]
fn no_column_of_the_database_can_change_without_being_noticed_or_without_harm() {
    let kept = Kept::new();
    let database = "rootstrata.sqlite";
    let tables: Vec<String> = {
        let connection = Connection::open(kept.bench.store().join(database)).unwrap();
        let rows = |table| {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get(0)
            })
        };
        assert_ne!(rows("newer_stamp"), Ok(0), "there is nothing to change");
        let mut query = connection
            .prepare(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            )
            .unwrap();
        query
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    };
    let mut changed = 0;
    for table in tables {
        let columns: Vec<String> = {
            let connection = Connection::open(kept.bench.store().join(database)).unwrap();
            let mut query = connection
                .prepare("SELECT name FROM pragma_table_info(?)")
                .unwrap();
            query
                .query_map([&table], |row| row.get(0))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap()
        };
        for column in &columns {
            // The first row and the last, as far as they have a value.
            for order in ["ASC", "DESC"] {
                let store = kept.copy();
                let connection = Connection::open(store.join(database)).unwrap();
                connection
                    .pragma_update(None, "foreign_keys", false)
                    .unwrap();
                let all = columns.join("\", \"");
                let query = format!(
                    "SELECT \"{column}\", \"{all}\" FROM \"{table}\" WHERE \"{column}\" IS NOT NULL ORDER BY \"{all}\" {order} LIMIT 1"
                );
                let Ok(row) = connection.query_row(&query, [], |row| {
                    (0..=columns.len())
                        .map(|at| row.get::<_, Column>(at))
                        .collect::<rusqlite::Result<Vec<_>>>()
                }) else {
                    continue;
                };
                let Some(value) = flipped(&row[0]) else {
                    continue;
                };
                let is_row: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(at, name)| format!("\"{name}\" IS ?{}", at + 2))
                    .collect();
                let update = format!(
                    "UPDATE OR IGNORE \"{table}\" SET \"{column}\" = ?1 WHERE {}",
                    is_row.join(" AND ")
                );
                let mut values = vec![value.clone()];
                values.extend_from_slice(&row[1..]);
                let count = connection
                    .execute(&update, rusqlite::params_from_iter(values))
                    .unwrap();
                drop(connection);
                changed += count;
                let result =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kept.said_of(&store)));
                match result {
                    Ok(said) => println!(
                        "{table}.{column}: {}",
                        said.lines().next().unwrap_or("no harm")
                    ),
                    Err(_) if UNSEALED.contains(&(table.as_str(), column.as_str())) => {}
                    Err(panic) => {
                        eprintln!("{table}.{column}: {:?} became {value:?}", row[0]);
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }
    assert!(changed > 100, "{changed}");
}

// ---- Files

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Delete,
    /// Half of it is left.
    Cut,
    /// Nothing of it is left.
    Empty,
    /// One bit is another, at this many hundredths of its length.
    Flip(usize),
    /// Another file of the same kind is in its place.
    Swap,
}

const DAMAGES: [Damage; 6] = [
    Damage::Delete,
    Damage::Cut,
    Damage::Empty,
    Damage::Flip(0),
    Damage::Flip(50),
    Damage::Swap,
];

impl Damage {
    fn make(self, file: &Path, other: &Path) {
        let mut bytes = std::fs::read(file).unwrap();
        match self {
            Self::Delete => return std::fs::remove_file(file).unwrap(),
            Self::Cut => bytes.truncate(bytes.len() / 2),
            Self::Empty => bytes.clear(),
            Self::Flip(hundredths) => {
                let at = bytes.len() * hundredths / 100;
                bytes[at] ^= 0x10;
            }
            Self::Swap => bytes = std::fs::read(other).unwrap(),
        }
        // In its place, as a disk would: the inode and the time of the last write stay.
        let before = file.metadata().unwrap().modified().unwrap();
        std::fs::write(file, bytes).unwrap();
        std::fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_modified(before)
            .unwrap();
    }
}

/// The digest of a blob of a snapshot.
fn digest_of(kept: &Kept, what: &str) -> String {
    let connection = Connection::open(kept.bench.store().join("rootstrata.sqlite")).unwrap();
    let query = match what {
        "manifest" | "config" => {
            format!("SELECT lower(hex({what}_digest)) FROM snapshot WHERE id = 3")
        }
        role => format!(
            "SELECT lower(hex(blob_digest)) FROM snapshot_layer WHERE snapshot_id = 3 AND role = '{role}' ORDER BY position DESC"
        ),
    };
    connection.query_row(&query, [], |row| row.get(0)).unwrap()
}

#[test]
fn every_blob_that_is_deleted_cut_flipped_or_swapped_is_named_and_never_exported() {
    let kept = Kept::new();
    for (what, other) in [
        ("base", "delta"),
        ("delta", "state"),
        ("state", "base"),
        ("manifest", "config"),
        ("config", "manifest"),
    ] {
        let (digest, other) = (digest_of(&kept, what), digest_of(&kept, other));
        for damage in DAMAGES {
            let store = kept.copy();
            let blobs = store.join("blobs/sha256");
            damage.make(&blobs.join(&digest), &blobs.join(&other));
            let said = kept.said_of(&store);
            assert!(said.contains(&digest), "{what} {damage:?}: {said}");
        }
    }
}

#[test]
fn blobs_that_swap_their_places_are_both_named() {
    let mut kept = Kept::new();
    // Of one length, so that nothing but the content tells them apart.
    for name in ["p", "q"] {
        let root = kept.bench.make(name);
        sh(&root, &format!("echo {name} > f"));
        let options = [
            "--series",
            name,
            "--profile",
            "plain",
            "--compression",
            "none",
        ];
        kept.bench.json(
            ["snapshot", root.to_str().unwrap()]
                .into_iter()
                .chain(options),
        );
    }
    kept.keep();
    let sizes = || {
        let blobs = std::fs::read_dir(kept.bench.store().join("blobs/sha256")).unwrap();
        let mut of_size: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
        for blob in blobs.map(Result::unwrap) {
            of_size
                .entry(blob.metadata().unwrap().len())
                .or_default()
                .push(blob.path());
        }
        of_size
    };
    let two = sizes()
        .into_values()
        .find(|blobs| blobs.len() > 1)
        .expect("two blobs of one length");
    let store = kept.copy();
    let [one, other] = [0, 1].map(|at| {
        store
            .join("blobs/sha256")
            .join(two[at].file_name().unwrap())
    });
    sh(
        &store,
        &format!(
            "mv {0} x; mv {1} {0}; mv x {1}",
            one.display(),
            other.display()
        ),
    );
    let said = kept.said_of(&store);
    for blob in [one, other] {
        assert!(
            said.contains(blob.file_name().unwrap().to_str().unwrap()),
            "{said}"
        );
    }
}

#[test]
fn a_database_that_is_deleted_cut_flipped_or_swapped_is_named() {
    let (kept, others) = (Kept::new(), Kept::new());
    // In the middle there may be nothing; for single bits, see below.
    for damage in DAMAGES
        .into_iter()
        .filter(|damage| *damage != Damage::Flip(50))
    {
        let store = kept.copy();
        let database = store.join("rootstrata.sqlite");
        damage.make(&database, &others.bench.store().join("rootstrata.sqlite"));
        let said = kept.said_of(&store);
        assert!(
            said.contains(database.to_str().unwrap()),
            "{damage:?}: {said}"
        );
    }
}

#[test]
fn no_bit_of_the_database_leads_to_anything_wrong() {
    let kept = Kept::new();
    let length = kept
        .bench
        .store()
        .join("rootstrata.sqlite")
        .metadata()
        .unwrap()
        .len() as usize;
    let mut noticed = 0;
    let steps = std::env::var("ROOTSTRATA_FLIPS").map_or(60, |number| number.parse().unwrap());
    for step in 0..steps {
        let store = kept.copy();
        let database = store.join("rootstrata.sqlite");
        let mut bytes = std::fs::read(&database).unwrap();
        // Places and bits that have nothing in common with pages.
        let at = (step * 7919 + step * step * 31) % length;
        bytes[at] ^= 1 << (step % 8);
        std::fs::write(&database, bytes).unwrap();
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kept.said_of(&store)));
        match said {
            Ok(said) => noticed += usize::from(said.contains(database.to_str().unwrap())),
            Err(panic) => {
                eprintln!("byte {at}, bit {}", step % 8);
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{noticed} of {steps} were noticed, the others did no harm");
    assert!(noticed * 20 > steps, "{noticed} of {steps}");
}

#[test]
fn a_log_that_is_deleted_cut_flipped_or_swapped_costs_what_it_held_and_that_is_named() {
    let kept = Kept::new();
    let others = kept.bench.path("others");
    for damage in DAMAGES {
        let store = kept.copy();
        // A run that is killed after it recorded leaves its rows in the log alone; index.json names them.
        let script = "import os, signal, sqlite3, sys
holder = sqlite3.connect(sys.argv[1] + '/rootstrata.sqlite')
holder.execute('SELECT count(*) FROM snapshot').fetchone()
os.system(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)";
        sh(&kept.root, "echo last > d/last");
        let run = format!(
            "{} --store {} -q snapshot {} --series s --profile plain --volatile /log --run r --stage last",
            env!("CARGO_BIN_EXE_rootstrata"),
            store.display(),
            kept.root.display()
        );
        let killed = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&store)
            .arg(&run)
            .status()
            .unwrap();
        assert!(!killed.success());
        let log = store.join("rootstrata.sqlite-wal");
        assert!(log.metadata().unwrap().len() > 10_000);
        sh(
            &store,
            &format!(
                "[ -e {0} ] || cp rootstrata.sqlite-wal {0}",
                others.display()
            ),
        );
        sh(&kept.root, "rm d/last");
        damage.make(&log, &others);
        let output = command(&store, &words("log"));
        let said = text(&output.stderr);
        if output.status.success() {
            // The log of a store of the same past may fit.
            let log: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(log["snapshots"][0]["stage"], "last", "{damage:?}");
        } else {
            assert!(
                said.contains(store.join("rootstrata.sqlite").to_str().unwrap()),
                "{damage:?}: {said}"
            );
            assert!(said.contains("s:last"), "{damage:?}: {said}");
        }
    }
}

#[test]
fn an_index_or_a_layout_file_that_is_damaged_is_named_and_made_anew() {
    let mut kept = Kept::new();
    // Nothing has changed since, so that the next snapshot would leave both files as they are.
    kept.bench.snapshot(
        &kept.root,
        "--series s --profile plain --volatile /log --run r --stage built",
    );
    kept.keep();
    for name in ["index.json", "oci-layout"] {
        let whole = std::fs::read(kept.bench.store().join(name)).unwrap();
        let other = kept.bench.path("other");
        std::fs::write(&other, whole.to_ascii_uppercase()).unwrap();
        for damage in [&DAMAGES[..], &[10, 20, 30, 70, 90, 99].map(Damage::Flip)].concat() {
            // What reads the database alone is none the worse.
            let store = kept.copy();
            damage.make(&store.join(name), &other);
            kept.said_of(&store);
            let store = kept.copy();
            damage.make(&store.join(name), &other);
            let output = command(
                &store,
                &words(&format!(
                    "snapshot {} --series s --profile plain --volatile /log --run r --stage built",
                    kept.root.display()
                )),
            );
            let said = text(&output.stderr);
            assert!(output.status.success(), "{name} {damage:?}: {said}");
            assert!(
                said.starts_with("rootstrata: warning: ") && said.contains(name),
                "{name} {damage:?}: {said}"
            );
            assert!(
                std::fs::read(store.join(name)).unwrap() == whole,
                "{name} {damage:?}"
            );
        }
    }
}
