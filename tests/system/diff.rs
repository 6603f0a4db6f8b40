//! What `diff` says of two recorded snapshots: packages, files, contents, and how it is shown.

use crate::common::{
    Bench, file_differences, install_with_python, package_differences, sh, succeeds, text,
};
use crate::shared::diff::{file, package, root, same_package};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Another day: packages have changed, and so have files of none, and one that a package brought.
fn change(root: &Path) {
    sh(
        root,
        "rm usr/bin/gone usr/lib/gone.so; mkdir usr/share; echo new > usr/bin/new; echo data > usr/share/new
         echo 'up to a newer one' > usr/bin/up; echo again built > usr/bin/again; echo less > usr/bin/down
         find usr -newermt @1500000000 ! -type d -exec touch -d @1100000000 {} +; echo two > etc/free",
    );
    install_with_python(
        root,
        &json!([
            package("up", "1.10", &["/usr/bin/up", "/lib/up.so"]),
            package("down", "1", &["/usr/bin/down", "/lib/down.so"]),
            package("new", "1", &["/usr/bin/new", "/usr/share/new"]),
            package("again", "1", &["/usr/bin/again", "/lib/again.so"]),
            same_package(),
        ]),
    );
    sh(root, "echo local > etc/same.conf");
}

/// Two days of the series `s`.
fn two_days() -> Bench {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    change(&root);
    bench.snapshot(&root, "--stage bootstrap");
    bench
}

#[test]
fn packages_are_told_by_what_became_of_them_with_the_files_that_they_account_for() {
    let compared = two_days().compared(["s~1", "s"]);
    assert_eq!(
        package_differences(&compared),
        [
            "added new 1-1",
            "removed gone 1-1",
            "upgraded up 1.9-1 1.10-1",
            "downgraded down 2-1 1-1",
            "rebuilt again 1-1 1-1"
        ]
    );
    let counts: Vec<Value> = compared["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["files"].clone())
        .collect();
    let count =
        |added, removed, changed| json!({ "added": added, "removed": removed, "changed": changed });
    // The libraries have not changed.
    assert_eq!(
        counts,
        [
            count(2, 0, 0),
            count(0, 2, 0),
            count(0, 0, 1),
            count(0, 0, 1),
            count(0, 0, 1)
        ]
    );
    assert_eq!(
        (
            &compared["packages"][2]["old_bytes"],
            &compared["packages"][2]["new_bytes"]
        ),
        (&json!(3), &json!(18))
    );
}

#[test]
fn what_no_package_accounts_for_is_told_file_by_file() {
    let compared = two_days().compared(["s~1", "s"]);
    let left = json!({ "files": compared["files"].as_array().unwrap().iter()
        .filter(|file| file["accounted"] == false && file["volatile"] == false).cloned().collect::<Vec<_>>() });
    assert_eq!(
        file_differences(&left),
        [
            "/etc/free content",
            "/etc/same.conf content,mtime",
            "+/usr/share"
        ]
    );
    let conf = file(&compared, "/etc/same.conf");
    assert_eq!(conf["package"], "same");
    assert_eq!(conf["new_owner"]["config"], true);
    assert_eq!(conf["new_owner"]["deviations"], json!(["content", "mtime"]));
    assert_eq!(conf["old_owner"]["deviations"], json!([]));
    assert_eq!(
        (&conf["old"]["size_bytes"], &conf["new"]["size_bytes"]),
        (&json!(5), &json!(6))
    );
    assert_eq!(file(&compared, "/etc/free")["package"], Value::Null);
    assert_eq!(
        file(&compared, "/var/lib/rpm/rpmdb.sqlite")["volatile"],
        true
    );
}

#[test]
fn the_default_answer_reads_top_down() {
    let bench = two_days();
    let shown = bench.prints(1, ["diff", "s~1", "s"]);
    let lines: Vec<&str> = shown
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let expected = [
        "5 packages, ",
        "--- s~1  snapshot 1,",
        "+++ s    snapshot 2,",
        "1 package added",
        "new.x86_64  1-1  2 files  9 B",
        "1 package removed",
        "gone.x86_64  1-1  2 files  10 B",
        "1 package upgraded",
        "up.x86_64  1.9-1 → 1.10-1  1 file  18 B",
        "1 package downgraded",
        "down.x86_64  2-1 → 1-1  1 file  5 B",
        "1 package rebuilt",
        "again.x86_64  1-1  1 file  12 B",
        "3 files that no package accounts for",
        "M  content        /etc/free  4 B",
        "M! content,mtime  /etc/same.conf  5 B → 6 B  same %config, not its content",
        "A                 /usr/share  dir",
        "1 volatile file, which no two installations have alike",
        "M  content  /var/lib/rpm/rpmdb.sqlite  ",
    ];
    assert_eq!(lines.len(), expected.len(), "{shown}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected.trim()), "{line}\n{expected}");
    }
}

#[test]
fn nothing_differs_from_itself_and_nothing_is_printed() {
    let bench = two_days();
    for reference in ["s", "1"] {
        assert_eq!(bench.prints(0, ["diff", reference, reference]), "");
        let compared = bench.compared([reference, reference]);
        assert_eq!(
            (file_differences(&compared), package_differences(&compared)),
            (vec![], vec![])
        );
    }
}

#[test]
fn the_other_way_round_the_same_paths_differ() {
    let bench = two_days();
    let turned = |line: &str| match line.split_at(1) {
        ("+", rest) => format!("-{rest}"),
        ("-", rest) => format!("+{rest}"),
        _ => line.to_owned(),
    };
    let there = file_differences(&bench.compared(["1", "2"]));
    let back = file_differences(&bench.compared(["2", "1"]));
    assert_eq!(
        there,
        back.iter().map(|line| turned(line)).collect::<Vec<_>>()
    );
    assert!(there.len() > 8, "{there:?}");
}

#[test]
fn options_choose_packages_files_times_and_paths() {
    let bench = two_days();
    let packages = bench.prints(1, ["diff", "1", "2", "--packages"]);
    assert!(
        packages.contains("up.x86_64") && !packages.contains("/etc/free"),
        "{packages}"
    );
    let files = bench.prints(1, ["diff", "1", "2", "--files"]);
    assert!(
        files.contains("/usr/bin/up") && files.contains("/etc/free") && !files.contains("1.9-1"),
        "{files}"
    );

    let chosen =
        |arguments: &[&str]| file_differences(&bench.compared([&["1", "2"], arguments].concat()));
    assert_eq!(
        chosen(&["/etc"]),
        ["/etc/free content", "/etc/same.conf content,mtime"]
    );
    assert_eq!(
        chosen(&["--ignore-mtime", "*.conf"]),
        ["/etc/same.conf content"]
    );
    assert_eq!(
        chosen(&["/usr/*/new", "/etc/free"]),
        ["/etc/free content", "+/usr/bin/new", "+/usr/share/new"]
    );
    // Of the packages, those that account for a path that was chosen.
    let compared = bench.compared(["1", "2", "/usr/bin/up"]);
    assert_eq!(package_differences(&compared), ["upgraded up 1.9-1 1.10-1"]);
    bench.fails(2, ["diff", "1", "2", "a["]);
}

#[test]
fn every_way_in_which_an_entry_can_differ_is_named() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "for f in content mode owner xattrs mtime type linked other cap; do echo $f > $f; done
         ln -s a target; mknod device c 1 3; ln linked linked2; mkdir dir; echo in > dir/in
         setfattr -n user.a -v 1 xattrs; find . -exec touch -h -d @1000000000 {} +",
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(
        &root,
        "echo CONTENT > content; chmod 4755 mode; chown 7:8 owner; setfattr -n user.a -v 2 xattrs
         rm target device type; ln -s b target; mknod device c 1 5; mkdir type; echo new > new
         cp linked linked3; mv linked3 linked2; setcap cap_net_raw+ep cap; rm -r dir
         find . -exec touch -h -d @1000000000 {} +; touch -d @7 mtime",
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    assert_eq!(
        file_differences(&bench.compared(["1", "2"])),
        [
            "/cap caps",
            "/content content",
            "/device device",
            "-/dir",
            "-/dir/in",
            "/linked links",
            "/linked2 links",
            "/mode mode",
            "/mtime mtime",
            "+/new",
            "/owner owner",
            "/target target",
            "/type type,mode",
            "/xattrs xattrs",
        ]
    );
}

#[test]
fn files_that_are_not_as_their_package_has_them_stand_out() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    // Of equal length and time: only a look at the bytes tells.
    sh(
        &root,
        "echo SAME > usr/bin/same; chmod 755 usr/lib/same.so; touch -d @1000000000 usr/bin/same; rm usr/bin/up",
    );
    bench.snapshot(&root, "--stage bootstrap");
    let compared = bench.compared(["1", "2"]);
    assert_eq!(
        file_differences(&compared),
        [
            "/usr/bin/same content",
            "-/usr/bin/up",
            "/usr/lib/same.so mode"
        ]
    );
    assert_eq!(
        file(&compared, "/usr/lib/same.so")["new_owner"]["deviations"],
        json!(["mode"])
    );
    assert_eq!(file(&compared, "/usr/bin/up")["new_owner"]["missing"], true);
    let same = &file(&compared, "/usr/bin/same")["new_owner"];
    assert_eq!(
        (&same["deviations"], &same["as_packaged"]),
        (&json!([]), &Value::Null)
    );
    let compared = bench.compared(["1", "2", "--verify"]);
    let same = file(&compared, "/usr/bin/same");
    assert_eq!(
        (
            &same["old_owner"]["as_packaged"],
            &same["new_owner"]["as_packaged"]
        ),
        (&json!(true), &json!(false))
    );
    let shown = bench.prints(1, ["diff", "1", "2", "--verify"]);
    for line in [
        "M! content  /usr/bin/same  5 B  same, not its content",
        "D!          /usr/bin/up  3 B  up, which brings it",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn contents_are_shown_as_a_unified_diff_that_patch_takes() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        r"seq 30 > text; printf 'a\nb' > unended; printf '\0old' > binary; ln text hard; echo gone > gone",
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    sh(
        &root,
        r"cp text ../old; rm hard; seq 30 | sed 's/^15$/fifteen\tand/; 30d' > text; printf 'a\nB\n' > unended
          printf '\0new' > binary; rm gone; printf 'no\033[2Jway\n' > new",
    );
    bench.snapshot(&root, "--profile plain --stage bootstrap");
    let shown = bench.prints(1, ["diff", "1", "2", "--content", "/text"]);
    let patch = shown
        .split_once("--- ")
        .map(|(_, rest)| format!("--- {rest}"))
        .unwrap();
    std::fs::write(bench.path("patch"), patch).unwrap();
    sh(&bench.path(""), "patch -s old patch; cmp old root/text");

    let shown = bench.prints(1, ["diff", "1", "2", "--content", "*"]);
    for part in [
        "binary a/binary and b/binary differ from byte 1 on",
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n",
        "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+no\\x1b[2Jway\n",
        "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+B\n",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains('\x1b'));
    // As JSON, with what else is known of the file.
    let compared = bench.compared(["1", "2", "--content", "/binary"]);
    assert_eq!(
        compared["files"][0]["content"],
        json!({ "kind": "binary", "first_difference": 1 })
    );
    // A path of neither side is no answer.
    assert!(
        bench
            .fails(2, ["diff", "1", "2", "--content", "/nowhere"])
            .contains("in neither 1 nor 2")
    );
    assert_eq!(
        bench.prints(0, ["diff", "1", "1", "--content", "/text"]),
        ""
    );
}

#[test]
fn rows_that_are_not_what_was_recorded_are_named_and_nothing_is_compared() {
    let bench = Bench::new();
    let root = root(&bench);
    bench.snapshot(&root, "--stage bootstrap");
    change(&root);
    bench.snapshot(&root, "--stage bootstrap");
    let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    for (damage, undo, named) in [
        (
            "entry SET mtime_s = mtime_s + 1",
            "entry SET mtime_s = mtime_s - 1",
            "the entries of layer",
        ),
        (
            "layer SET entries = entries + 1",
            "layer SET entries = entries - 1",
            "the rows of snapshot",
        ),
        (
            "file_list SET list = (SELECT list FROM file_list AS other WHERE other.id <> file_list.id)",
            "",
            "file list",
        ),
    ] {
        database.execute_batch(&format!("UPDATE {damage}")).unwrap();
        let error = bench.fails(2, ["diff", "1", "2"]);
        assert!(error.contains(named), "{damage}: {error}");
        if !undo.is_empty() {
            database.execute_batch(&format!("UPDATE {undo}")).unwrap();
            assert_eq!(bench.compared(["1", "2"])["different"], true);
        }
    }
}

#[test]
fn trouble_is_no_difference() {
    let bench = two_days();
    for arguments in [
        vec!["diff", "1", "9"],
        vec!["diff", "nothing", "1"],
        vec!["diff", "1", "dir:/nowhere"],
        vec!["diff", "1", "oci:/nowhere"],
        vec!["diff", "1", "oci-archive:/dev/null"],
    ] {
        bench.fails(2, arguments);
    }
    for arguments in [
        vec!["diff", "1"],
        vec!["diff", "1", "docker://x"],
        vec!["diff", "1", "2", "--files", "--packages"],
    ] {
        let output = bench.command(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    // Packages that nobody knows cannot be compared.
    let root = bench.make("plain");
    bench.snapshot(&root, "--series plain");
    assert!(
        bench
            .fails(2, ["diff", "s", "plain", "--packages"])
            .contains("packages of plain are unknown")
    );
}

#[test]
fn names_and_versions_cannot_drive_the_terminal() {
    let bench = Bench::new();
    let root = bench.make("root");
    install_with_python(&root, &json!([]));
    bench.snapshot(&root, "--stage bootstrap");
    std::fs::write(root.join("\x1b[2Jgone\u{202e}"), "x").unwrap();
    std::os::unix::fs::symlink("\x1b]0;t\x07", root.join("link")).unwrap();
    let evil = json!({ "name": "e\u{1b}[31m", "version": "1\n2", "release": "\u{9b}", "arch": "a\tb",
                       "source_rpm": "s\u{7}", "files": ["/link"] });
    install_with_python(&root, &json!([evil]));
    bench.snapshot(&root, "--stage bootstrap");
    for arguments in [
        &["diff", "1", "2"][..],
        &["diff", "1", "2", "--files"],
        &["diff", "1", "2", "--content", "*"],
        &["explain", "2", "-v"],
        &["find", "--path", "*gone*"],
        &["find", "--package", "e*"],
        &["which", "2", "/link"],
    ] {
        let output = bench.command(arguments).output().unwrap();
        let shown = text(&output.stdout);
        assert!(
            shown.len() > 40,
            "{arguments:?}: {shown}{}",
            text(&output.stderr)
        );
        let is_bad = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!shown.contains(is_bad), "{arguments:?}: {shown:?}");
    }
}

#[test]
fn colours_come_where_they_are_wanted() {
    let bench = two_days();
    let is_coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = bench.command(["diff", "1", "2"]);
        let output = command
            .args(arguments)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        text(&output.stdout).contains("\x1b[")
    };
    assert!(!is_coloured(&[], &[]));
    assert!(is_coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(is_coloured(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!is_coloured(&[], &[("CLICOLOR_FORCE", "0")]));
    assert!(!is_coloured(
        &[],
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
    ));
    assert!(!is_coloured(&["--color=never"], &[("CLICOLOR_FORCE", "1")]));
}

/// Runs the command on a terminal of its own and returns what comes out of that.
fn on_a_terminal(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let script = r#"import pty, sys
sys.exit(pty.spawn(["sh", "-c", 'exec "$0" "$@" 2>/dev/null'] + sys.argv[1:]) >> 8)"#;
    let mut python = Command::new("python3");
    python
        .args(["-c", script, env!("CARGO_BIN_EXE_rootstrata"), "--store"])
        .arg(bench.store())
        .args(arguments);
    for variable in [
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "PAGER",
        "ROOTSTRATA_PAGER",
        "LESS",
    ] {
        python.env_remove(variable);
    }
    let output = python
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    text(&output.stdout)
}

#[test]
fn a_terminal_gets_colours_and_a_pager() {
    let bench = two_days();
    let pager = ("PAGER", "sed 's/^/paged: /'");
    let shown = on_a_terminal(&bench, &["diff", "1", "2"], &[pager]);
    assert!(
        shown.contains("paged: ") && shown.contains("\x1b[32m"),
        "{shown}"
    );
    let shown = on_a_terminal(
        &bench,
        &["diff", "1", "2"],
        &[pager, ("ROOTSTRATA_PAGER", "sed s/^/own:/")],
    );
    assert!(
        shown.contains("own:") && !shown.contains("paged: "),
        "{shown}"
    );
    for (arguments, variables) in [
        (&["diff", "1", "2", "--no-pager"][..], &[pager][..]),
        (&["diff", "1", "2", "--json"], &[pager]),
        (&["diff", "1", "2"], &[("PAGER", "cat")]),
        (&["diff", "1", "2"], &[("PAGER", "")]),
        (&["diff", "1", "2"], &[("PAGER", "no-such-pager")]),
    ] {
        let shown = on_a_terminal(&bench, arguments, variables);
        assert!(
            !shown.contains("paged: ") && shown.contains("up"),
            "{shown}"
        );
    }
    // less gets the options that git gives it.
    let shown = on_a_terminal(&bench, &["diff", "1", "2"], &[("PAGER", "printenv LESS")]);
    assert_eq!(shown.trim(), "FRXK");
}

#[test]
fn a_closed_pipe_ends_it_without_a_complaint() {
    let bench = two_days();
    let script = format!(
        "set -o pipefail; {0} --store {1} diff 1 2 --files | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display()
    );
    let output = succeeds(Command::new("bash").args(["-c", &script]));
    assert!(output.ends_with("\n1\n"), "{output}");
}

#[test]
fn packages_of_a_source_package_are_a_line_unless_each_is_asked_for() {
    let bench = Bench::new();
    let root = bench.make("root");
    let database = root.join("usr/lib/sysimage/rpm");
    let binary = std::path::Path::new(crate::common::REPOSITORY).join("fixtures/rpmdb.py");
    let long = "a-package-with-a-name-that-is-longer-than-any-column-would-have-room-for";
    let record = |version: &str| {
        let _ = std::fs::remove_dir_all(&database);
        let package = |name: &str, source: &str| {
            format!(
                r#"{{"name": "{name}", "version": "{version}", "release": "1", "arch": "x86_64", "build_time": 5, "source_rpm": "{source}-{version}-1.src.rpm", "files": []}}"#
            )
        };
        let all = ["glibc", "glibc-common", "glibc-langpack-en"].map(|name| package(name, "glibc"));
        let all = [all.join(","), package(long, long)].join(",");
        sh(&root, &format!("'{}' . <<< '[{all}]'", binary.display()));
        bench.snapshot(&root, "--stage bootstrap");
    };
    record("2.42");
    record("2.43.20261129.and.a.version.that.is.long");
    let shown = bench.prints(1, ["diff", "s"]);
    assert!(
        shown.contains("4 packages upgraded") && shown.contains("  glibc (3 packages)"),
        "{shown}"
    );
    assert!(
        shown
            .lines()
            .filter(|line| line.starts_with("  "))
            .all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    let each = bench.prints(1, ["diff", "s", "-v"]);
    assert!(
        each.contains("glibc-langpack-en.x86_64") && each.contains(long),
        "{each}"
    );
}
