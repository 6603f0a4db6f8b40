//! Every script of the repository tells how it is called, and does nothing where it is called wrongly.

use crate::common::{REPOSITORY, text};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// All files of these directories that may be run.
fn scripts() -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![]);
    directories
        .extend(["scripts", "fixtures", "packaging"].map(|name| Path::new(REPOSITORY).join(name)));
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let (path, metadata) = entry
                .map(|entry| (entry.path(), entry.metadata().unwrap()))
                .unwrap();
            if metadata.is_dir() {
                directories.push(path);
            } else if metadata.permissions().mode() & 0o100 != 0 {
                found.push(path);
            }
        }
    }
    found
}

/// Runs it where it can make nothing.
fn run(script: &Path, argument: &str) -> Output {
    Command::new(script)
        .arg(argument)
        .current_dir("/proc/self")
        .output()
        .unwrap()
}

#[test]
fn a_script_that_is_asked_for_help_says_how_it_is_called() {
    let all = scripts();
    assert!(all.len() >= 8, "{all:?}");
    for script in &all {
        let output = run(script, "--help");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            (output.status.code(), stderr.as_str()),
            (Some(0), ""),
            "{}",
            script.display()
        );
        let name = script.file_name().unwrap().to_str().unwrap();
        let is_call =
            |line: &str| line.contains(&format!("{name} ")) || line.trim_end().ends_with(name);
        assert!(
            stdout.lines().any(is_call),
            "{}: {stdout}",
            script.display()
        );
    }
}

#[test]
fn a_script_that_is_called_wrongly_says_so_and_how_it_is_called() {
    // The benchmark has options of its own, which it reads once it is built.
    for script in scripts()
        .iter()
        .filter(|script| !script.ends_with("scripts/bench"))
    {
        let output = run(script, "--no-such-option");
        let code = if script.ends_with("engines/run") {
            125
        } else {
            2
        }; // any other is the command's
        let stderr = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}: {stderr}",
            script.display()
        );
        assert!(output.stdout.is_empty(), "{}", script.display());
        assert!(
            stderr.contains("usage: ") && stderr.lines().count() <= 2,
            "{}: {stderr}",
            script.display()
        );
    }
}
