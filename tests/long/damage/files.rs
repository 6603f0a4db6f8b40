//! Files of a store: blobs, the database and its log, index.json and oci-layout.

use super::{Kept, command, words};
use crate::common::{sh, text};
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
            let stderr = &said.stderr;
            assert!(stderr.contains(&digest), "{what} {damage:?}: {stderr}");
            // The database has all that these print.
            assert_eq!(said.read_whole, kept.printed.len(), "{what} {damage:?}");
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
    let said = kept.said_of(&store).stderr;
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
        let said = kept.said_of(&store).stderr;
        assert!(
            said.contains(database.to_str().unwrap()),
            "{damage:?}: {said}"
        );
    }
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
            let said = kept.said_of(&store);
            assert_eq!(said.refused, 0, "{name} {damage:?}: {said:?}");
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
