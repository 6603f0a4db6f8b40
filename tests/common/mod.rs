//! What the integration tests share: a store with the command, and trees as an independent lister sees them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, unused_imports)] // each test binary uses its own part

pub mod browser;
pub mod case;
pub mod disk;
pub mod faults;
pub mod image;
pub mod layers;
pub mod page;
pub mod registry;
pub mod rpm_backends;
pub mod rpmdb;
pub mod store;
pub mod tree;
pub mod writes;

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Files that the tests need are found from here.
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Options of a snapshot without Mock's rules.
pub const PLAIN: &str = "--profile plain";
/// The same, for the stage `s`.
pub const PLAIN_S: &str = "--profile plain --stage s";

/// The command under test.
pub fn rootstrata() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootstrata"));
    for variable in [
        "SOURCE_DATE_EPOCH",
        "ROOTSTRATA_STORE",
        "ROOTSTRATA_CONFIG",
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "ROOTSTRATA_PAGER",
        "PAGER",
        "REGISTRY_AUTH_FILE",
        "DOCKER_CONFIG",
    ] {
        command.env_remove(variable);
    }
    command
}

/// A directory with a store in it and room for other things.
pub struct Bench {
    directory: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A path beside the store.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a directory beside the store.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The command with the store.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = rootstrata();
        command.arg("--store").arg(self.store()).args(arguments);
        command
    }

    /// Runs it and returns its JSON.
    pub fn json(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Value {
        let output = self
            .command(arguments)
            .args(["--json", "-q"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Records `root` as the series `s`; `more` is split at spaces.
    pub fn snapshot(&self, root: &Path, more: &str) -> Value {
        let mut arguments = vec!["snapshot", root.to_str().unwrap()];
        arguments.extend(more.split_whitespace());
        if !more.contains("--series") {
            arguments.extend(["--series", "s"]);
        }
        self.json(arguments)
    }

    /// Runs it, wants this exit code and no complaint, and returns what it prints.
    pub fn prints(
        &self,
        code: i32,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a comparison and returns its JSON, whether it found a difference or not.
    pub fn compared(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Value {
        let output = self
            .command(["diff"])
            .args(arguments)
            .args(["--json", "-q"])
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
        let code = i32::from(json["different"].as_bool().unwrap());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        json
    }

    /// Runs it, wants it to fail with `code`, and returns the one line that it says.
    pub fn fails(
        &self,
        code: i32,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> String {
        one_error(self.command(arguments).arg("-q").output().unwrap(), code)
    }

    /// The numbers of all snapshots, the newest first; none where there is no store.
    pub fn ids(&self) -> Vec<i64> {
        if !self.store().join("rootstrata.sqlite").exists() {
            return Vec::new();
        }
        let log = self.json(["log"]);
        log["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_i64().unwrap())
            .collect()
    }

    /// The tree that umoci makes of a snapshot's image, which has gzip or plain layers.
    pub fn unpacked(&self, snapshot: &str) -> BTreeMap<String, Value> {
        let layout = tempfile::tempdir_in(self.directory.path()).unwrap();
        let at = layout.path().join("layout");
        let exported = self.json([
            "export",
            snapshot,
            "--format",
            "oci-dir",
            "-o",
            at.to_str().unwrap(),
        ]);
        let name = exported["image"].as_str().unwrap();
        let root = layout.path().join("root");
        succeeds(
            Command::new("umoci")
                .args(["raw", "unpack", "--image"])
                .arg(format!("{}:{name}", at.display()))
                .arg(&root),
        );
        listed(&root)
    }
}

/// Wants a failure with this code and one line on stderr that begins as all errors do; returns the rest of it.
pub fn one_error(output: Output, code: i32) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0]
        .strip_prefix("rootstrata: error: ")
        .unwrap_or_else(|| panic!("{stderr}"))
        .to_owned()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed and returns its stdout.
pub fn succeeds(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Runs a shell script in `directory`.
pub fn sh(directory: &Path, script: &str) -> String {
    succeeds(
        Command::new("bash")
            .args(["-euc", script])
            .current_dir(directory),
    )
}

/// A tree as a lister that shares no code with the project sees it, by path; sockets aside.
pub fn listed(directory: &Path) -> BTreeMap<String, Value> {
    let lister = Path::new(REPOSITORY).join("fixtures/list_tree.py");
    let lines = succeeds(
        Command::new("python3")
            .arg(lister)
            .arg("--sha256")
            .arg(directory),
    );
    let entries = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = entries.filter(|entry| entry["type"] != "socket");
    entries.map(|entry| (name_of(&entry), entry)).collect()
}

/// Makes the rpm database of `root` from what its files are like now; see fixtures/rpmdb.py.
pub fn install_with_python(root: &Path, packages: &Value) {
    use std::io::Write;
    let script = Path::new(REPOSITORY).join("fixtures/rpmdb.py");
    let mut python = Command::new("python3");
    let mut child = python
        .arg(script)
        .arg(root)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(packages.to_string().as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// The name of a listed entry: its bytes in hexadecimal where they are no text.
pub fn name_of(entry: &Value) -> String {
    entry["path_hex"]
        .as_str()
        .or(entry["path"].as_str())
        .unwrap()
        .to_owned()
}

/// Wants two trees to be the same and names the paths that differ.
pub fn assert_same_tree(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) {
    let paths: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differing: Vec<String> = paths
        .into_iter()
        .filter(|path| found.get(*path) != expected.get(*path))
        .map(|path| {
            format!(
                "{path}\n  found    {:?}\n  expected {:?}",
                found.get(path),
                expected.get(path)
            )
        })
        .collect();
    assert!(
        differing.is_empty(),
        "{} paths differ:\n{}",
        differing.len(),
        differing[..differing.len().min(8)].join("\n")
    );
}

/// The differences of files as `SIGN PATH WHAT,WHAT`; the sign is that of diff(1), none for what only changed.
pub fn file_differences(compared: &Value) -> Vec<String> {
    let shown = |file: &Value| {
        let sign = match file["change"].as_str().unwrap() {
            "added" => "+",
            "removed" => "-",
            _ => "",
        };
        let what: Vec<&str> = file["what"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        format!("{sign}{} {}", name_of(file), what.join(","))
            .trim_end()
            .to_owned()
    };
    compared["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(shown)
        .collect()
}

/// The differences of packages as `FATE NAME OLD NEW`.
pub fn package_differences(compared: &Value) -> Vec<String> {
    let version = |package: &Value| match package {
        Value::Null => String::new(),
        package => {
            format!(
                " {}-{}",
                package["version"].as_str().unwrap(),
                package["release"].as_str().unwrap()
            )
        }
    };
    let shown = |package: &Value| {
        let (change, name) = (
            package["change"].as_str().unwrap(),
            package["name"].as_str().unwrap(),
        );
        format!(
            "{change} {name}{}{}",
            version(&package["old"]),
            version(&package["new"])
        )
    };
    compared["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(shown)
        .collect()
}

/// The layers of a snapshot as `role new` or `role reused`.
pub fn layers(snapshot: &Value) -> Vec<String> {
    let state = |layer: &Value| {
        if layer["reused"].as_bool().unwrap() {
            "reused"
        } else {
            "new"
        }
    };
    let layers = snapshot["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| format!("{} {}", layer["role"].as_str().unwrap(), state(layer)))
        .collect()
}

/// The layer of a snapshot with this role.
pub fn layer<'a>(snapshot: &'a Value, role: &str) -> &'a Value {
    snapshot["layers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|layer| layer["role"] == role)
        .unwrap()
}

/// Waits, without sleeping, until a scan begins later than all that is below `root` was written.
pub fn settle(root: &Path) {
    let mut newest = (0, 0);
    let mut below = vec![root.to_owned()];
    while let Some(path) = below.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        newest = newest.max((metadata.ctime(), metadata.ctime_nsec()));
        if metadata.is_dir() {
            below.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    // By the clock that says when a scan begins. Times of files may be finer and ahead of it.
    let now = || {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        (now.tv_sec, now.tv_nsec)
    };
    while now() <= newest {}
}
