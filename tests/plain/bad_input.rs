//! Bad input: one clear line with the path, an exit code, and a store that is as it was.

use crate::common::{Bench, one_error, rootstrata, sh, succeeds, text};
use crate::shared::bad_input::{recorded, refuses, snapshot};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_root_that_is_missing_or_no_directory_is_named_and_makes_no_store() {
    let bench = Bench::new();
    std::fs::write(bench.path("file"), "").unwrap();
    for name in ["missing", "file"] {
        let path = bench.path(name);
        refuses(
            &bench,
            &snapshot(path.to_str().unwrap(), &[]),
            path.to_str().unwrap(),
        );
    }
    assert!(!bench.store().exists());
}

#[test]
fn an_unknown_snapshot_series_or_path_is_named() {
    let bench = recorded();
    for (arguments, part) in [
        (vec!["show", "99"], "99"),
        (vec!["show", "nothere"], "nothere"),
        (vec!["show", "s@nostage"], "s@nostage"),
        (vec!["show", "s~1"], "s~1"),
        (vec!["log", "nothere"], "nothere"),
        (vec!["ls", "s", "/not/here"], "/not/here"),
        (vec!["export", "nothere", "-o", "/dev/null/x"], "nothere"),
    ] {
        refuses(&bench, &arguments, part);
    }
    let root = bench.path("root");
    refuses(
        &bench,
        &snapshot(
            root.to_str().unwrap(),
            &["--stage", "next", "--parent", "77"],
        ),
        "77",
    );
}

#[test]
fn a_number_is_always_an_id_so_no_series_may_be_one() {
    let bench = recorded();
    let root = bench.path("root");
    let error = refuses(
        &bench,
        &["snapshot", root.to_str().unwrap(), "--series", "12"],
        "12",
    );
    assert!(error.contains("id"), "{error}");
    for name in ["a/b", "a b", "a@b", "", "a\u{1b}[2J"] {
        let error = refuses(
            &bench,
            &["snapshot", root.to_str().unwrap(), "--series", name],
            "series",
        );
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn usage_is_an_error_of_two() {
    let bench = recorded();
    for arguments in [
        vec!["snapshot"],
        vec!["frobnicate"],
        vec!["show", "a@b@c"],
        vec!["snapshot", "/", "--mtime", "never"],
        vec!["snapshot", "/", "--compression", "zstd:99"],
        vec!["snapshot", "/", "--threads", "0"],
        vec!["snapshot", "/", "--epoch", "yesterday"],
        vec!["ls", "s", "../etc/passwd"],
    ] {
        let output = bench.command(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    let root = bench.path("root");
    let with_epoch = |value: &str, arguments: &[&str]| {
        let code = bench
            .command(arguments)
            .arg("-q")
            .env("SOURCE_DATE_EPOCH", value)
            .status()
            .unwrap()
            .code();
        code.unwrap()
    };
    let record = snapshot(root.to_str().unwrap(), &[]);
    assert_eq!(with_epoch("now", &record), 2);
    assert_eq!(with_epoch("now", &["log"]), 0);
    assert_eq!(
        (
            with_epoch("", &record),
            with_epoch("now", &[record, vec!["--epoch", "5"]].concat())
        ),
        (0, 0)
    );
}

#[test]
fn a_glob_that_does_not_parse_is_named_and_makes_no_store() {
    let bench = Bench::new();
    let root = bench.make("root");
    for option in ["--exclude", "--volatile"] {
        refuses(
            &bench,
            &snapshot(root.to_str().unwrap(), &[option, "a[b"]),
            "a[b",
        );
    }
    assert!(!bench.store().exists());
}

#[test]
fn a_name_that_is_a_whiteout_is_refused_with_its_path() {
    for name in [".wh.x", ".wh.", ".wh..wh..opq"] {
        let bench = recorded();
        let root = bench.path("root");
        sh(&root, &format!("mkdir -p sub; echo x > sub/{name}"));
        refuses(
            &bench,
            &snapshot(root.to_str().unwrap(), &[]),
            root.join("sub").join(name).to_str().unwrap(),
        );
    }
}

#[test]
fn the_whiteout_device_of_overlayfs_is_refused_with_its_path() {
    let bench = recorded();
    let root = bench.path("root");
    sh(&root, "mknod gone c 0 0");
    refuses(
        &bench,
        &snapshot(root.to_str().unwrap(), &[]),
        root.join("gone").to_str().unwrap(),
    );
}

#[test]
fn a_root_that_changes_while_it_is_read_is_refused_with_the_path() {
    let bench = recorded();
    let root = bench.path("root");
    // So long that whoever writes to it gets a turn while it is read, however busy the machine.
    std::fs::File::create(root.join("busy"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let stop = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut busy = std::fs::OpenOptions::new()
                .append(true)
                .open(root.join("busy"))
                .unwrap();
            while !stop.load(Ordering::Relaxed) {
                busy.write_all(b"x").unwrap();
            }
        });
        let output = bench
            .command(snapshot(root.to_str().unwrap(), &[]))
            .arg("-q")
            .output()
            .unwrap();
        stop.store(true, Ordering::Relaxed);
        one_error(output, 2)
    });
    assert!(
        error.contains(root.join("busy").to_str().unwrap()),
        "{error}"
    );
    assert_eq!(bench.ids(), [1]);
    assert!(error.contains("changed"), "{error}");
    // When it holds still, the same command succeeds.
    bench.snapshot(&root, "--profile plain");
}

#[test]
fn a_corrupt_rpm_database_leaves_packages_unknown_and_the_snapshot_goes_on() {
    for (place, file, content) in [
        (
            "var/lib/rpm",
            "rpmdb.sqlite",
            "not a database at all, and longer than a header of one hundred bytes would have to be, really",
        ),
        ("usr/lib/sysimage/rpm", "rpmdb.sqlite", ""),
        ("usr/lib/sysimage/rpm", "Packages.db", "RpmP"),
        ("var/lib/rpm", "Packages", "bdb"),
    ] {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(
            &root,
            &format!("mkdir -p {place}; printf '%s' '{content}' > {place}/{file}"),
        );
        let output = bench
            .command([
                "snapshot",
                root.to_str().unwrap(),
                "--series",
                "s",
                "--json",
                "-q",
            ])
            .output()
            .unwrap();
        let stderr = crate::common::text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let path = root.join(place).join(file);
        assert!(
            stderr.starts_with("rootstrata: warning: ") && stderr.contains(path.to_str().unwrap()),
            "{stderr}"
        );
        assert!(stderr.contains("packages are unknown"), "{stderr}");
        let snapshot: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(snapshot["packages"].is_null());
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named_and_left_alone() {
    let bench = recorded();
    let directory = bench.make("directory");
    std::fs::write(bench.path("file"), "x").unwrap();
    let full = bench.make("full");
    std::fs::write(full.join("other"), "mine").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    let in_missing = bench.path("missing/out.tar");
    let below_file = bench.path("file/out.tar");
    for (path, more) in [
        (&directory, vec![]),
        (&in_missing, vec![]),
        (&below_file, vec![]),
        (&bench.path("socket"), vec![]),
        (&bench.path("file"), vec!["--format", "oci-dir"]),
        (&full, vec!["--format", "oci-dir"]),
        (&bench.path("missing/dir"), vec!["--format", "oci-dir"]),
    ] {
        let arguments = [vec!["export", "s", "-o", path.to_str().unwrap()], more].concat();
        let named = if path.starts_with(bench.path("missing")) {
            bench.path("missing")
        } else {
            path.clone()
        };
        let named = if path == &below_file {
            bench.path("file")
        } else {
            named
        };
        refuses(&bench, &arguments, named.to_str().unwrap());
    }
    assert_eq!(std::fs::read_to_string(full.join("other")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    assert!(
        std::fs::symlink_metadata(bench.path("socket"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    let names: Vec<_> = std::fs::read_dir(bench.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
}

#[test]
fn an_export_that_cannot_succeed_records_nothing_first() {
    let bench = recorded();
    let root = bench.path("root");
    let directory = bench.make("directory");
    let out = bench.path("out.tar");
    let broken = bench.make("broken");
    sh(
        &broken,
        "echo '{\"imageLayoutVersion\":\"1.0.0\"}' > oci-layout; echo '{]' > index.json",
    );
    let one_step = |path: &Path, more: &[&str]| -> Vec<String> {
        let all = [
            &[
                "export",
                "--root",
                root.to_str().unwrap(),
                "-o",
                path.to_str().unwrap(),
                "--series",
                "s",
            ],
            more,
        ]
        .concat();
        all.into_iter().map(str::to_owned).collect()
    };
    for (arguments, part) in [
        (one_step(&directory, &[]), "directory"),
        (one_step(&bench.path("missing/x.tar"), &[]), "missing"),
        (one_step(&out, &["--since", "s@nothere"]), "s@nothere"),
        (one_step(&root, &["--format", "oci-dir"]), "root"),
        (
            one_step(&root.join("f"), &["--format", "oci-dir"]),
            "root/f",
        ),
        (one_step(&broken, &["--format", "oci-dir"]), "index.json"),
        (one_step(&bench.path("new/"), &[]), "new/"),
    ] {
        refuses(
            &bench,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            part,
        );
    }
}

#[test]
fn a_store_inside_its_root_is_refused_unless_it_is_left_out() {
    let bench = Bench::new();
    let root = bench.make("root");
    let inside = root.join("var/store");
    let run = |more: &[&str]| {
        let mut command = rootstrata();
        command.arg("--store").arg(&inside).args([
            "snapshot",
            root.to_str().unwrap(),
            "--series",
            "s",
            "-q",
        ]);
        command.args(more).output().unwrap()
    };
    assert!(one_error(run(&[]), 2).contains(inside.to_str().unwrap()));
    assert!(!root.join("var").exists());
    assert!(run(&["--exclude", "/var/store"]).status.success());
}

#[test]
fn more_threads_than_the_machine_has_are_no_error() {
    let bench = recorded();
    sh(&bench.path("root"), "echo more > more");
    bench.snapshot(&bench.path("root"), "--profile plain --threads 200000");
}

#[test]
fn a_path_and_a_cause_are_said_once() {
    let bench = recorded();
    let missing = bench.path("missing");
    let error = bench.fails(2, snapshot(missing.to_str().unwrap(), &[]));
    assert_eq!(
        error,
        format!(
            "cannot open {}: No such file or directory (os error 2)",
            missing.display()
        )
    );
    let error = bench.fails(
        2,
        ["export", "s", "-o", missing.join("x").to_str().unwrap()],
    );
    assert_eq!(
        error,
        format!(
            "cannot write in {}: No such file or directory (os error 2)",
            missing.display()
        )
    );
    let database = bench.store().join("rootstrata.sqlite");
    std::fs::write(&database, vec![b'x'; 10_000]).unwrap();
    let error = bench.fails(2, ["log"]);
    assert_eq!(error.matches("not a database").count(), 1, "{error}");
}

#[test]
fn a_directory_that_holds_other_things_is_no_store() {
    let bench = Bench::new();
    let root = bench.make("root");
    std::fs::create_dir(bench.store()).unwrap();
    std::fs::write(bench.store().join("thesis.tex"), "").unwrap();
    let error = bench.fails(2, snapshot(root.to_str().unwrap(), &[]));
    assert!(error.contains(bench.store().to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_dir(bench.store()).unwrap().count(), 1);
    let missing = bench.path("nowhere");
    let output = rootstrata()
        .arg("--store")
        .arg(&missing)
        .arg("log")
        .output()
        .unwrap();
    assert!(one_error(output, 2).contains(missing.to_str().unwrap()));
    assert!(!missing.exists());
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let bench = recorded();
    let database = bench.store().join("rootstrata.sqlite");
    rusqlite::Connection::open(&database)
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let before = std::fs::read(&database).unwrap();
    for arguments in [
        vec!["log"],
        snapshot(bench.path("root").to_str().unwrap(), &[]),
    ] {
        let error = bench.fails(2, &arguments);
        assert!(
            error.contains("newer") && error.contains(bench.store().to_str().unwrap()),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

#[test]
fn a_store_that_stays_locked_is_a_temporary_failure() {
    let bench = recorded();
    let holder = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    sh(&bench.path("root"), "echo changed > f");
    let error = bench.fails(75, snapshot(bench.path("root").to_str().unwrap(), &[]));
    assert!(
        error.contains(bench.store().to_str().unwrap()) && error.contains("locked"),
        "{error}"
    );
    // Who has it, on this host, and since when.
    let host = sh(&bench.path("root"), "uname -n");
    let holder_is = format!(
        "another process: {} on {} (",
        std::process::id(),
        host.trim()
    );
    assert!(
        error.contains(&holder_is) && error.ends_with(" ago"),
        "{error}"
    );
    // Readers are not kept out.
    assert_eq!(bench.ids(), [1]);
    drop(holder);
    bench.snapshot(&bench.path("root"), "--profile plain");
}

#[test]
fn a_store_is_for_its_owner_alone() {
    let bench = recorded();
    assert_eq!(
        std::fs::metadata(bench.store())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}

#[test]
fn names_from_the_root_cannot_drive_the_terminal() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        r#"echo x > $'\e[31mred\nline'; ln -s $'\e]0;title\a' link"#,
    );
    bench.snapshot(&root, "--profile plain");
    let text = succeeds(&mut bench.command(["ls", "s"]));
    assert!(
        !text.contains('\u{1b}')
            && text.contains(r"\x1b[31mred\nline")
            && text.lines().count() == 3,
        "{text}"
    );
    sh(&root, r#"echo x > $'.wh.\e[2J'"#);
    let error = bench.fails(2, snapshot(root.to_str().unwrap(), &[]));
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "for i in $(seq 3000); do : > file-with-a-long-name-$i; done",
    );
    bench.snapshot(&root, "--profile plain");
    let script = format!(
        "{} --store {} ls s | head -n 1",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display()
    );
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        crate::common::text(&output.stderr)
    );
}

#[test]
fn an_empty_variable_counts_as_unset_and_an_empty_or_long_name_is_called_so() {
    let bench = Bench::new();
    let root = bench.make("root");
    bench.snapshot(&root, "--profile plain");
    let log = bench
        .command(["log"])
        .env("ROOTSTRATA_STORE", "")
        .output()
        .unwrap();
    assert!(log.status.success(), "{}", text(&log.stderr));
    let store = bench.store();
    let named = rootstrata()
        .args(["log", "--json"])
        .env("ROOTSTRATA_STORE", &store)
        .output()
        .unwrap();
    assert!(named.status.success() && text(&named.stdout).contains("\"id\":1"));
    let state = rootstrata()
        .args(["log"])
        .env("ROOTSTRATA_STORE", "")
        .env("HOME", bench.path(""))
        .output()
        .unwrap();
    assert!(
        !text(&state.stderr).contains("a value is required"),
        "{}",
        text(&state.stderr)
    );
    let long = "x".repeat(129);
    for option in ["--series", "--stage", "--run"] {
        let said = |value: &str| {
            bench.fails(
                2,
                [
                    "snapshot",
                    root.to_str().unwrap(),
                    &format!("{option}={value}"),
                ],
            )
        };
        assert!(said("").ends_with("it is empty"), "{option}: {}", said(""));
        assert!(said(&long).contains("too long"), "{option}");
        assert!(said("a b").contains("use letters, digits"), "{option}");
    }
}
