//! Damage to a store: whatever is deleted, cut, flipped or swapped, it is noticed and named, and nothing wrong is exported.
//! What needs no more than is left still works: a refusal of everything is no answer. docs/reliability.md has the table.

mod bits;
mod columns;
mod files;

use crate::common::layers::{Layout, tree_of};
use crate::common::tree::{Tree, differences, walked};
use crate::common::{Bench, rootstrata, settle, sh, text};
use rootstrata::model::policy::Profile;
use rootstrata::ops::monitor::Silent;
use rootstrata::ops::record::{Options, snapshot};
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
    /// The archive that each of these exports writes.
    archives: BTreeMap<String, Vec<u8>>,
    /// The tree of the root.
    tree: Tree,
}

/// What the commands said of a damaged store, and how many of them gave what they should.
#[derive(Debug, Default)]
struct Said {
    stderr: String,
    /// Commands that refused.
    refused: usize,
    /// Commands that print what the database alone has, and did.
    read_whole: usize,
}

impl Said {
    /// Takes in what a command said; returns what it printed, unless it refused.
    fn add(&mut self, output: Output, arguments: &[String]) -> Option<Vec<u8>> {
        let stderr = text(&output.stderr);
        let code = output.status.code();
        assert!(
            code == Some(0) || code == Some(2),
            "{arguments:?}: {code:?} {stderr}"
        );
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        self.stderr.push_str(&stderr);
        self.refused += usize::from(code == Some(2));
        (code == Some(0)).then_some(output.stdout)
    }

    /// Nobody would notice the damage.
    fn is_harmless(&self) -> bool {
        self.refused == 0 && self.stderr.is_empty()
    }
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
        let ids = self.bench.ids().into_iter();
        let mut exports: Vec<String> = ids.map(|id| format!("export {id}")).collect();
        exports.push("export s --max-layers 2".to_owned());
        for export in exports {
            let archive = self.bench.path("whole.tar");
            let arguments = words(&format!("{export} -o {}", archive.display()));
            self.bench.json(arguments.iter().map(String::as_str));
            self.archives
                .insert(export, std::fs::read(archive).unwrap());
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

    /// Runs every command on a damaged store. Wants none to panic and none to print or write anything wrong.
    fn said_of(&self, store: &Path) -> Said {
        let mut said = Said::default();
        for (arguments, printed) in &self.printed {
            if let Some(stdout) = said.add(command(store, arguments), arguments) {
                assert!(
                    stdout == *printed,
                    "{arguments:?} prints\n{}",
                    text(&stdout)
                );
                said.read_whole += 1;
            }
        }
        let archive = self.bench.path("out.tar");
        for (export, expected) in &self.archives {
            let arguments = words(&format!("{export} -o {}", archive.display()));
            if said.add(command(store, &arguments), &arguments).is_some() {
                assert!(
                    std::fs::read(&archive).unwrap() == *expected,
                    "the archive of {export}"
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
            if let Some(stdout) = said.add(command(store, &arguments), &arguments) {
                let snapshot: Value = serde_json::from_slice(&stdout).unwrap();
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
