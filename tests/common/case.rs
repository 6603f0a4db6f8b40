//! A root that is recorded step by step. After each step, the layers are put together by a reader of its own, which takes
//! nothing but what docs/format.md says, and compared with the root.

use super::layers::{Layout, Member, layers_of, members, tree_of};
use super::tree::{differences, walked};
use super::{Bench, PathBuf, settle, sh, succeeds};
use serde_json::Value;
use std::process::Command;

/// A root and the store that it is recorded in.
pub struct Case {
    pub bench: Bench,
    pub root: PathBuf,
}

impl Case {
    /// A root that `script` has made.
    pub fn new(script: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, script);
        Self { bench, root }
    }

    /// Records what the root is after `script`, and wants the layers to give it.
    pub fn after(&self, script: &str, options: &str) -> Value {
        sh(&self.root, script);
        settle(&self.root);
        let snapshot = self.bench.snapshot(&self.root, options);
        let manifest = snapshot["manifest_digest"].as_str().unwrap();
        let wrong = differences(
            &tree_of(manifest, &Layout(&self.bench.store())),
            &walked(&self.root),
        );
        assert!(wrong.is_empty(), "{script}\n{}", wrong.join("\n"));
        snapshot
    }

    /// The members of the topmost layer.
    pub fn top(&self, snapshot: &Value) -> Vec<Member> {
        let manifest = snapshot["manifest_digest"].as_str().unwrap();
        members(
            layers_of(manifest, &Layout(&self.bench.store()))
                .last()
                .unwrap(),
        )
    }

    /// Their names.
    pub fn names(&self, snapshot: &Value) -> Vec<String> {
        self.top(snapshot)
            .iter()
            .map(|member| String::from_utf8_lossy(&member.name).into_owned())
            .collect()
    }
}

/// Runs a script in a mount namespace of its own, as `sh` does, with `rootstrata` on the store and `image SIZE
/// MKFS...`, which makes a filesystem in the file `image`. What it mounts is gone when it ends.
pub fn sh_mounting(bench: &Bench, script: &str) -> String {
    let script = format!(
        "rootstrata() {{ '{}' --store '{}' \"$@\"; }}
         image() {{ truncate -s \"$1\" image; shift; \"$@\" image > /dev/null; }}
         PATH=$PATH:/usr/sbin:/sbin
         {script}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display()
    );
    succeeds(
        Command::new("unshare")
            .args(["-m", "bash", "-euc", &script])
            .current_dir(bench.path("")),
    )
}
