//! Kills, full disks and failing ones at every system call that writes, one after another: the store holds all that it
//! held, and the run can be repeated. docs/reliability.md has the figures.
//!
//! By default each kind of call is met, first, last and in between, by a kill and one other fault; with
//! `ROOTSTRATA_FAULTS=all`, every single call by every fault.

use crate::common::faults::{Call, Fault, run_with};
use crate::common::layers::{Layout, images_of, layers_of};
use crate::common::{rootstrata, settle, sh, store, succeeds, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Of the calls between the first and the last of a kind, one in this many is met by default.
const STRIDE: usize = 9;

/// A run that is repeated, each time from the same beginning.
struct Ground {
    directory: TempDir,
    /// The run, in a directory that has what `before` had.
    arguments: Vec<String>,
    /// What it prints where nothing fails, without what differs from time to time.
    control: Value,
    /// The files that it writes beside the store then.
    written: BTreeMap<PathBuf, Vec<u8>>,
    /// The archive of each snapshot that there was.
    archives: BTreeMap<i64, Vec<u8>>,
    /// The archive of the one that is recorded.
    recorded: Option<Vec<u8>>,
}

/// The command on the store in `directory`, for which `WORK` stands in the arguments.
fn command(directory: &Path, arguments: &[String]) -> Command {
    let mut command = rootstrata();
    command
        .arg("--store")
        .arg(directory.join("store"))
        .args(["--json", "-q"]);
    command.args(
        arguments
            .iter()
            .map(|argument| argument.replace("WORK", directory.to_str().unwrap())),
    );
    command
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The archive of each snapshot of the store in `directory`; none where there is no store.
fn archives(directory: &Path) -> BTreeMap<i64, Vec<u8>> {
    let output = command(directory, &words("log")).output().unwrap();
    if text(&output.stderr).contains("no store at") {
        return BTreeMap::new();
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids = log["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["id"].as_i64().unwrap());
    ids.map(|id| (id, archive(directory, id))).collect()
}

fn archive(directory: &Path, id: i64) -> Vec<u8> {
    let path = directory.join("check.tar");
    succeeds(&mut command(
        directory,
        &words(&format!("export {id} -o WORK/check.tar")),
    ));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

/// All files below `directory` but for the store.
fn files_beside(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path != directory.join("store") {
                left.push(path);
            } else if path.is_file() {
                files.insert(
                    path.strip_prefix(directory).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    files
}

impl Ground {
    /// Makes a root and what the run begins with, by `script`, and sees what `arguments` does where nothing fails. The
    /// script runs where `before` is, with `rootstrata` on the store in it; `ROOT` is the root.
    fn new(script: &str, arguments: &str) -> Self {
        // Thousands of runs that sync each file: in memory, where there is room.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::tempdir_in(place).unwrap();
        let root = directory.path().join("root");
        sh(directory.path(), "mkdir root before");
        sh(&root, ROOT);
        settle(&root);
        let prelude = format!(
            "ROOT={}; FIXTURES={}/fixtures
             rootstrata() {{ '{}' --store store -q \"$@\"; }}
             record() {{ rootstrata snapshot $ROOT --series s \"$@\"; }}",
            root.display(),
            crate::common::REPOSITORY,
            env!("CARGO_BIN_EXE_rootstrata")
        );
        sh(
            &directory.path().join("before"),
            &format!("{prelude}\n{script}"),
        );
        settle(&root);
        let arguments = words(&arguments.replace("ROOT", root.to_str().unwrap()));
        let mut ground = Self {
            directory,
            arguments,
            control: Value::Null,
            written: BTreeMap::new(),
            archives: BTreeMap::new(),
            recorded: None,
        };
        ground.archives = archives(&ground.begin());
        let work = ground.begin();
        ground.control = ground.run(&work);
        ground.written = files_beside(&work);
        ground.recorded = ground
            .records()
            .then(|| archive(&work, ground.control["id"].as_i64().unwrap()));
        ground
    }

    fn records(&self) -> bool {
        self.arguments[0] == "snapshot"
    }

    /// A directory in which nothing has happened yet.
    fn begin(&self) -> PathBuf {
        let work = self.directory.path().join("work");
        sh(self.directory.path(), "rm -rf work; cp -a before work");
        work
    }

    /// The run, without a fault.
    fn run(&self, work: &Path) -> Value {
        serde_json::from_str(&succeeds(&mut command(work, &self.arguments))).unwrap()
    }

    /// The run with a fault. Returns the calls until then, and what it printed where it did not fail.
    fn run_with(&self, work: &Path, fault: Fault, at: usize) -> (Vec<Call>, Option<Value>) {
        let whole = command(work, &self.arguments);
        let mut words = vec![whole.get_program().to_str().unwrap().to_owned()];
        words.extend(
            whole
                .get_args()
                .map(|argument| argument.to_str().unwrap().to_owned()),
        );
        let (output, calls) = run_with(fault, at, &words, &self.directory.path().join("log"));
        let stderr = text(&output.stderr);
        let killed = fault.is_death() && calls.len() == at;
        match output.status.code() {
            Some(0) if !killed => (calls, Some(serde_json::from_slice(&output.stdout).unwrap())),
            Some(137) if killed => (calls, None),
            Some(2) if !fault.is_death() => {
                // One line, which says what could not be done with what.
                let errors: Vec<&str> = stderr
                    .lines()
                    .filter(|line| !line.starts_with("rootstrata: warning: "))
                    .collect();
                assert!(
                    errors.len() == 1 && errors[0].starts_with("rootstrata: error: "),
                    "{stderr}"
                );
                let place = self.directory.path().to_str().unwrap();
                assert!(errors[0].contains(place), "{stderr}");
                (calls, None)
            }
            code => panic!("{code:?}: {stderr}"),
        }
    }

    /// Makes one fault and looks at what it has left. Returns whether the run came that far.
    fn survives(&self, fault: Fault, at: usize) -> bool {
        let work = self.begin();
        let (calls, printed) = self.run_with(&work, fault, at);
        if calls.len() < at {
            return false;
        }
        let at_store = work.join("store");
        // It opens, it is whole, and every earlier snapshot is what it was.
        let now = archives(&work);
        let ids = if at_store.join("rootstrata.sqlite").exists() {
            store::check(&at_store)
        } else {
            Vec::new()
        };
        assert!(now.keys().eq(ids.iter()));
        for (id, bytes) in &self.archives {
            assert!(now.get(id) == Some(bytes), "snapshot {id} is another");
        }
        let new: Vec<&Vec<u8>> = now
            .iter()
            .filter(|(id, _)| !self.archives.contains_key(id))
            .map(|(_, b)| b)
            .collect();
        assert!(
            new.len() <= 1
                && new
                    .iter()
                    .all(|bytes| Some(*bytes) == self.recorded.as_ref())
        );
        if printed.is_some() {
            assert_eq!(
                new.len(),
                usize::from(self.records()),
                "it said that it had recorded"
            );
            assert!(self.is_complete(&work));
        }
        self.check_outputs(&work);
        // It can be repeated.
        let repeated = self.run(&work);
        assert_eq!(repeated["manifest_digest"], self.control["manifest_digest"]);
        store::check(&at_store);
        if self.records() {
            assert!(Some(archive(&work, repeated["id"].as_i64().unwrap())) == self.recorded);
            assert_eq!(
                std::fs::read_dir(at_store.join("tmp")).unwrap().count(),
                0,
                "tmp"
            );
        }
        assert!(self.is_complete(&work));
        let left: Vec<PathBuf> = files_beside(&work)
            .into_keys()
            .filter(|path| is_unfinished(path))
            .collect();
        assert!(left.is_empty(), "{left:?} is left for ever");
        true
    }

    /// Tells whether all that the run writes beside the store is there as it must be.
    fn is_complete(&self, work: &Path) -> bool {
        let there = files_beside(work);
        self.written
            .iter()
            .all(|(path, bytes)| there.get(path) == Some(bytes))
    }

    /// Wants each output to be what it was or what it is to be, and a layout to name nothing that it does not have.
    fn check_outputs(&self, work: &Path) {
        let (before, now) = (
            files_beside(&self.directory.path().join("before")),
            files_beside(work),
        );
        for (path, bytes) in &now {
            let is_known = before.get(path) == Some(bytes) || self.written.get(path) == Some(bytes);
            assert!(is_unfinished(path) || is_known, "{}", path.display());
        }
        assert!(before.keys().all(|path| now.contains_key(path)));
        for path in now
            .keys()
            .filter(|path| path.ends_with("index.json") && !is_unfinished(path))
        {
            let layout = work.join(path.parent().unwrap());
            for digest in images_of(&now[path]).values() {
                layers_of(digest, &Layout(&layout));
            }
        }
    }

    /// The calls at which there is to be a fault.
    fn points(&self) -> Vec<usize> {
        let (calls, _) = self.run_with(&self.begin(), Fault::Kill, 0);
        if does_all() {
            return (1..=calls.len()).collect();
        }
        let mut of_kind: BTreeMap<Call, Vec<usize>> = BTreeMap::new();
        for (at, call) in calls.into_iter().enumerate() {
            // Temporary files and blobs have a new name each time.
            let path = call
                .path
                .rsplit_once('/')
                .map_or("", |(directory, _)| directory)
                .to_owned();
            let path = if call.path.contains("sqlite") {
                call.path
            } else {
                path
            };
            of_kind
                .entry(Call { path, ..call })
                .or_default()
                .push(at + 1);
        }
        let chosen = of_kind.into_values().flat_map(|places| {
            let last = places.len() - 1;
            let is_met = move |at: usize| at == last || at.is_multiple_of(STRIDE);
            places
                .into_iter()
                .enumerate()
                .filter(move |(at, _)| is_met(*at))
                .map(|(_, place)| place)
        });
        chosen.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    /// Makes faults at every point.
    fn survives_all(&self) {
        let points = self.points();
        assert!(points.len() > 10, "{points:?}");
        let (mut wanted, mut made) = (0, 0);
        for (nth, at) in points.iter().enumerate() {
            // A kill everywhere, and the others in turns.
            let is_due = |(kind, fault): &(usize, Fault)| {
                does_all() || *fault == Fault::Kill || nth % 4 + 1 == *kind
            };
            for (_, fault) in Fault::ALL.into_iter().enumerate().filter(is_due) {
                let survived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    self.survives(fault, *at)
                }));
                wanted += 1;
                match survived {
                    Ok(reached) => made += usize::from(reached),
                    Err(panic) => {
                        eprintln!("{fault:?} at call {at} of {:?}", self.arguments);
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        println!("{made} faults at {} calls", points.len());
        // Threads may take turns in another way, so that a run is a call shorter.
        assert!(made + 10 >= wanted, "{made} of {wanted}");
    }
}

/// Tells whether a file, or a directory that it is in, has the name of what is not whole yet.
fn is_unfinished(path: &Path) -> bool {
    path.components().any(|part| {
        part.as_os_str()
            .to_string_lossy()
            .starts_with(".rootstrata-")
    })
}

fn does_all() -> bool {
    std::env::var("ROOTSTRATA_FAULTS").is_ok_and(|value| value == "all")
}

/// What the root holds at first: an rpm database, which is copied; a file of several blocks; and one that is volatile.
const ROOT: &str = "mkdir -p d/e usr/lib/sysimage/rpm var/log etc
    python3 -c \"import sqlite3; sqlite3.connect('usr/lib/sysimage/rpm/rpmdb.sqlite').execute(
        'CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)')\"
    head -c 300000 /dev/urandom > d/large; for i in 1 2 3 4 5 6; do echo $i > d/e/$i; done
    ln d/e/1 d/linked; ln -s e d/link; echo first > var/log/a; echo root:x:0:0::/:/bin/sh > etc/passwd";

/// Two stages of a run; then the root changes once more.
const TWO_STAGES: &str = "record --run r --stage bootstrap
    echo more > $ROOT/d/more; rm $ROOT/d/e/6; record --run r --stage deps-installed
    echo other > $ROOT/d/e/2; rm -r $ROOT/d/link; head -c 200000 /dev/urandom > $ROOT/d/new; echo b > $ROOT/var/log/b";

#[test]
fn the_first_snapshot_of_a_store_can_fail_anywhere() {
    Ground::new("true", "snapshot ROOT --series s --stage bootstrap").survives_all();
}

#[test]
fn a_snapshot_of_new_layers_can_fail_anywhere() {
    Ground::new(TWO_STAGES, "snapshot ROOT --series s --run r --stage built").survives_all();
}

#[test]
fn a_blob_is_durable_before_its_name_and_that_before_the_row_and_the_index() {
    let ground = Ground::new(TWO_STAGES, "snapshot ROOT --series s --run r --stage built");
    let (calls, _) = ground.run_with(&ground.begin(), Fault::Kill, 0);
    let is =
        |at: usize, name: &str, part: &str| calls[at].name == name && calls[at].path.contains(part);
    let renamed: Vec<usize> = (0..calls.len())
        .filter(|at| calls[*at].name.starts_with("rename") && calls[*at].path.contains("/blobs/"))
        .collect();
    assert_eq!(
        renamed.len(),
        4,
        "delta, state, configuration, manifest: {calls:#?}"
    );
    for at in &renamed {
        assert!(
            is(at - 1, "fsync", "/tmp/blob-") && is(at + 1, "fsync", "/blobs/sha256"),
            "{calls:#?}"
        );
    }
    let after = |from: usize, name: &str, part: &str| {
        (from..calls.len()).find(|at| is(*at, name, part)).unwrap()
    };
    let row = after(renamed[3], "fsync", "sqlite-wal");
    let index = (row..calls.len())
        .find(|at| calls[*at].path.ends_with("/index.json"))
        .unwrap();
    assert!(
        row < index && is(index - 1, "fsync", "/tmp/blob-"),
        "{calls:#?}"
    );
}

#[test]
fn a_snapshot_of_what_is_known_can_fail_anywhere() {
    let script = "record --stage bootstrap";
    Ground::new(script, "snapshot ROOT --series s --stage bootstrap").survives_all();
}

#[test]
fn a_snapshot_in_another_compression_can_fail_anywhere() {
    let script = "record --stage bootstrap";
    Ground::new(
        script,
        "snapshot ROOT --series s --stage bootstrap --compression gzip",
    )
    .survives_all();
}

#[test]
fn a_snapshot_after_a_kill_can_fail_anywhere() {
    // The database has a live log, and tmp has what was left there.
    let script = format!(
        "{TWO_STAGES}
         python3 -c \"import os, sqlite3
database = sqlite3.connect('store/rootstrata.sqlite')
database.execute('DELETE FROM stamp'); database.commit(); os._exit(0)\"
         echo half > store/tmp/blob-half; mkdir store/tmp/scratch-half; echo x > store/tmp/scratch-half/rpmdb.sqlite
         [ -s store/rootstrata.sqlite-wal ]"
    );
    Ground::new(&script, "snapshot ROOT --series s --run r --stage built").survives_all();
}

#[test]
fn a_store_of_the_oldest_format_can_fail_anywhere_on_its_way_to_the_newest() {
    let script = "tar -xzf $FIXTURES/stores/format-2.tar.gz";
    Ground::new(script, "snapshot ROOT --series s --stage bootstrap").survives_all();
}

#[test]
fn an_archive_that_is_replaced_can_fail_anywhere() {
    let script = format!("{TWO_STAGES}\n rootstrata export s@bootstrap -o out.tar");
    Ground::new(&script, "export s -o WORK/out.tar --all-stages").survives_all();
}

#[test]
fn a_new_layout_can_fail_anywhere() {
    Ground::new(TWO_STAGES, "export s -o WORK/out --format oci-dir").survives_all();
}

#[test]
fn a_layout_that_is_added_to_can_fail_anywhere() {
    let script = format!("{TWO_STAGES}\n rootstrata export s@bootstrap -o out --format oci-dir");
    Ground::new(&script, "export s -o WORK/out --format oci-dir").survives_all();
}
