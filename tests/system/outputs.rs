//! What an output may be: a file, a link, a stream, a layout that others write too; and what is left when an export is cut off.

use crate::common::{Bench, one_error, sh, text};
use crate::shared::outputs::{recorded, runs, unfinished};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn fifos_and_devices_are_written_to_and_stay() {
    let bench = recorded();
    let root = bench.path("root");
    runs(
        &bench,
        "mkfifo fifo; ln -s fifo to-fifo
         for to in fifo to-fifo; do
             timeout 30 cat fifo > read & rs -q export s -o $to; wait $!; same read
             timeout 30 cat fifo > read & rs -q export --root root --series s --profile plain --compression none -o $to; wait $!; same read
             timeout 30 cat fifo > read & rs -q diff s s --html $to; wait $!; tail -n 1 read | grep -q '</html>'
         done
         mknod null c 1 3; mknod full c 1 7
         rs -q export s -o null; rs -q diff s s --html null
         rs --json export s -o null > null
         [ -p fifo ]; [ -c null ]
         fails rs -q export s -o full 2> said; grep -q 'cannot write full: No space' said
         [ $(wc -l < said) = 1 ]; [ -c full ]
         fails rs -q export s --format oci-dir -o fifo 2> said; grep -q 'fifo is not a directory' said",
    );
    assert!(
        std::fs::symlink_metadata(bench.path("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(root.is_dir());
}

#[test]
fn stdout_has_the_archive_alone_and_what_is_said_goes_to_stderr() {
    let bench = recorded();
    let output = bench.command(["export", "s", "-o", "-"]).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == std::fs::read(bench.path("whole.tar")).unwrap());
    assert!(
        text(&output.stderr).contains("- is sha256:"),
        "{}",
        text(&output.stderr)
    );
    std::os::unix::fs::symlink("/proc/self/fd/1", bench.path("link")).unwrap();
    let link = bench.path("link");
    for arguments in [
        ["-o", "-", "--json"],
        ["-o", link.to_str().unwrap(), "--json"],
    ] {
        let output = bench
            .command(["export", "s"])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(
            text(&output.stderr).contains("the archive or the JSON, not both"),
            "{}",
            text(&output.stderr)
        );
    }
    let output = bench
        .command(["export", "s", "-o", "-", "--format", "oci-dir"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(
        text(&output.stderr).contains("an oci-dir is a directory"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        runs(
            &bench,
            "rs export s -q -o - | true; rs export s -q -o - | head -c 100 > /dev/null"
        ),
        ""
    );
    // A terminal.
    let said = runs(
        &bench,
        r#"cat > on-terminal <<'END'
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
END
        code=0; python3 on-terminal "$rs" --store "$store" -q export s -o - < /dev/null >&2 || code=$?; [ $code = 2 ]"#,
    );
    assert!(said.len() < 200 && said.contains("is a terminal"), "{said}");
}

// ---- What is cut off

/// Runs an export that dies at its first call of this kind.
fn dies_at(bench: &Bench, call: &str, arguments: &str) {
    let lines = format!(
        "mkdir -p out; code=0
         strace -f -qq -o /dev/null -e trace={call} -e inject={call}:signal=KILL \\
             {} --store \"$store\" -q export s {arguments} || code=$?
         [ $code = 137 ]",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    runs(bench, &lines);
}

#[test]
fn an_export_that_is_killed_leaves_nothing_that_the_next_does_not_remove() {
    let bench = recorded();
    let out = bench.make("out");
    std::fs::write(out.join("a.tar"), "old").unwrap();
    // While it is copied, nothing has a name.
    dies_at(&bench, "fsync", "-o out/a.tar");
    assert_eq!(unfinished(&out), Vec::<PathBuf>::new());
    assert_eq!(std::fs::read(out.join("a.tar")).unwrap(), b"old");
    // For the length of a rename it has.
    dies_at(&bench, "rename", "-o out/a.tar");
    assert_eq!(unfinished(&out), [Path::new("./.rootstrata-a.tar")]);
    runs(&bench, "rs -q export s -o out/a.tar; same out/a.tar");
    assert_eq!(unfinished(&out), Vec::<PathBuf>::new());
    // A layout is continued, or removed where another has been put there.
    for next in ["", "mkdir out/l; ", "cp -r out/m out/l; "] {
        dies_at(&bench, "rename", "--format oci-dir -o out/l");
        assert_eq!(unfinished(&out), [Path::new("./.rootstrata-l")]);
        runs(
            &bench,
            &format!("{next}rs -q export s --format oci-dir -o out/l"),
        );
        assert_eq!(unfinished(&out), Vec::<PathBuf>::new());
        runs(
            &bench,
            "[ -s out/l/index.json ]; rm -rf out/m; mv out/l out/m",
        );
    }
}

#[test]
fn a_layout_that_was_begun_for_another_image_is_as_if_it_had_not_been() {
    let bench = recorded();
    let out = bench.make("out");
    dies_at(&bench, "rename", "--format oci-dir -o out/l");
    sh(&bench.path("root"), "head -c 100000 /dev/urandom > f");
    bench.snapshot(
        &bench.path("root"),
        "--profile plain --compression none --series t",
    );
    runs(
        &bench,
        "for to in out/l out/other; do rs -q export t --format oci-dir -o $to; done; diff -r out/l out/other",
    );
    assert_eq!(unfinished(&out), Vec::<PathBuf>::new());
}

/// As on a filesystem that has no files without a name: the call that wants one is the third on the directory, after those that look
/// whether it is in a store.
#[test]
fn where_every_file_has_a_name_a_dead_one_is_removed_by_the_next() {
    let bench = recorded();
    let out = bench.make("out");
    let export = |nth: usize, more: &str| {
        format!(
            "strace -f -qq -o trace -e trace=openat,fsync -P $PWD/out -P $PWD/out/.rootstrata-a.tar \\
             -e inject=openat:error=EOPNOTSUPP:when={nth} {more} \\
             {} --store \"$store\" -q export s -o $PWD/out/a.tar",
            env!("CARGO_BIN_EXE_rootstrata")
        )
    };
    for beforehand in ["", "echo old > out/a.tar"] {
        let killed = export(3, "-e inject=fsync:signal=KILL");
        runs(
            &bench,
            &format!("{beforehand}\ncode=0; {killed} || code=$?; [ $code = 137 ]"),
        );
        assert_eq!(unfinished(&out), [Path::new("./.rootstrata-a.tar")]);
        assert!(out.join(".rootstrata-a.tar").metadata().unwrap().len() > 3_000_000);
        let next = export(4, ""); // the dead one is opened before
        runs(
            &bench,
            &format!(
                "{next}; same out/a.tar; [ \"$(ls -A out)\" = a.tar ]; grep -q 'rootstrata-a.tar.*O_CREAT' trace"
            ),
        );
    }
}

// ---- Stores

#[test]
fn a_store_is_no_output() {
    let bench = recorded();
    let state = |store: &str| {
        sh(
            &bench.path(""),
            &format!(
                "find {store} -type f ! -name '*-shm' ! -name '*-wal' | sort | xargs sha256sum"
            ),
        )
    };
    runs(
        &bench,
        "store=other rs -q snapshot root --series s; mkdir -p store/sub/deep lost; cp -r other/blobs lost; cp other/tmp.lock lost
         ln -s store link; ln -s store/new.tar to-new; ln -s ../store/rootstrata.sqlite root/database",
    );
    let before = [state("store"), state("other"), state("lost")];
    let attempts = [
        "export s --format oci-dir -o store",
        "export s --format oci-dir -o ./store/../store/",
        "export s --format oci-dir -o link",
        "export s --format oci-dir -o other",
        "export s --format oci-dir -o lost",
        "export s --format oci-dir -o store/new",
        "export s --format oci-dir -o store/sub/deep",
        "export s --format oci-dir -o mounted",
        "export s --format oci-dir -o mounted-blobs/new",
        "export s -o store/new.tar",
        "export s -o store/rootstrata.sqlite",
        "export s -o store/index.json",
        "export s -o store/blobs/sha256/x",
        "export s -o other/tmp/x",
        "export s -o link/sub/deep/x.tar",
        "export s -o to-new",
        "export s -o root/database",
        "export s -o mounted/x.tar",
        "export s -o mounted-blobs/sha256/x.tar",
        "export --root root -o other/x.tar",
        "diff s s --html store/page.html",
        "diff s s --html to-new",
        "diff s s --html root/database",
        "restore s other --exact",
        "restore s mounted-blobs --exact",
        "restore s mounted --exact",
    ];
    for attempt in attempts {
        let lines = format!(
            "mkdir -p mounted mounted-blobs; mount --bind store mounted; mount --bind store/blobs mounted-blobs
             exec {} --store store -q {attempt}",
            env!("CARGO_BIN_EXE_rootstrata")
        );
        let mut command = Command::new("unshare");
        let output = command
            .args(["-m", "bash", "-euc", &lines])
            .current_dir(bench.path(""))
            .output()
            .unwrap();
        let error = one_error(output, 2);
        assert!(error.ends_with("is inside a store"), "{attempt}: {error}");
    }
    assert_eq!(before, [state("store"), state("other"), state("lost")]);
    assert_eq!(bench.ids().len(), 1);
    // What lies beside a store, or has a store below it, is none.
    runs(
        &bench,
        "rs -q export s -o beside.tar; same beside.tar; mkdir -p up/down; mv other up/down; rs -q export s -o up/x.tar; same up/x.tar",
    );
    assert_ne!(
        bench.path("store").metadata().unwrap().ino(),
        bench.path("beside.tar").metadata().unwrap().ino()
    );
}
