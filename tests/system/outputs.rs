//! What an output may be: a file, a link, a stream, a layout that others write too; and what is left when an export is cut off.

use crate::common::layers::{Layout, images_of, layers_of};
use crate::common::{Bench, one_error, sh, text};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A store with an image of some megabytes, `s`, and its archive, `whole.tar`.
fn recorded() -> Bench {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "head -c 3000000 /dev/urandom > f; echo 1 > g");
    bench.snapshot(&root, "--profile plain --compression none");
    bench.json([
        "export",
        "s",
        "-o",
        bench.path("whole.tar").to_str().unwrap(),
    ]);
    bench
}

/// Runs a script with errexit beside the store, where `rs ...` is the command and `same FILE` compares with the archive.
fn script(bench: &Bench, script: &str) -> Output {
    let prelude = format!(
        "rs={}; rs() {{ \"$rs\" --store \"$store\" \"$@\"; }}; store={}
         same() {{ cmp \"$1\" {}; }}
         fails() {{ code=0; \"$@\" || code=$?; [ $code = 2 ]; }}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        bench.path("whole.tar").display(),
    );
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", &format!("{prelude}\n{script}")])
        .current_dir(bench.path(""));
    command.env_remove("ROOTSTRATA_STORE").output().unwrap()
}

/// Runs a script that must succeed and returns what it says on stderr.
fn runs(bench: &Bench, lines: &str) -> String {
    let output = script(bench, lines);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stderr)
}

fn unfinished(below: &Path) -> Vec<PathBuf> {
    let names = sh(
        below,
        "find . -path ./store -prune -o -name '.rootstrata*' -print",
    );
    names.lines().map(PathBuf::from).collect()
}

// ---- Streams

#[test]
fn an_archive_is_streamed_to_whatever_stdout_is() {
    let bench = recorded();
    runs(
        &bench,
        "ln -s /proc/self/fd fd; ln -s fd/1 link; ln -s link chain
         for to in - fd/1 /proc/self/fd/1 link chain; do
             rs -q export s -o $to > file; same file
             rs -q export s -o $to | cat > piped; same piped
             echo before > appended; rs -q export s -o $to >> appended; tail -c +8 appended > rest; same rest
             { echo before; rs -q export s -o $to; echo after; } > between
             head -n 1 between | grep -qx before; tail -n 1 between | grep -qx after
             tail -c +8 between | head -c -6 > middle; same middle
         done
         rs -q export s -o fd/7 7> seventh; same seventh
         { echo before >&7; rs -q export s -o fd/7; echo after >&7; } 7> seventh
         tail -c +8 seventh | head -c -6 > middle; same middle
         [ -L link ]; [ -L chain ]; [ ! -e ./- ]",
    );
    assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_is_stdout_is_written_to_and_not_replaced() {
    let bench = recorded();
    runs(
        &bench,
        "exec 5> out.tar; inode=$(stat -c %i out.tar)
         ln -s /proc/self/fd/1 link; rs -q export s -o link >&5; [ $(stat -c %i out.tar) = $inode ]; same out.tar
         rs -q export s -o named.tar > named.tar; same named.tar
         echo '<!DOCTYPE html>' > first
         exec 6> page.html; inode=$(stat -c %i page.html)
         code=0; rs -q diff s dir:root --html link >&6 || code=$?
         [ $code -le 1 ]; [ $(stat -c %i page.html) = $inode ]; head -n 1 page.html | cmp - first",
    );
}

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

// ---- Links

#[test]
fn an_output_that_is_a_link_is_followed() {
    let bench = recorded();
    runs(
        &bench,
        "mkdir -p disk/deep links; echo old > disk/there.tar
         ln -s ../disk/there.tar links/there; ln -s there links/chain; ln -s \"$PWD/disk/deep/new.tar\" links/new
         for link in there chain new; do rs -q export s -o links/$link; [ -L links/$link ]; same links/$link; done
         [ -f disk/there.tar ] && [ ! -L disk/there.tar ]; same disk/there.tar; same disk/deep/new.tar
         rs export s -o links/chain | grep -q 'nothing written'
         ln -s ../disk/page.html links/page
         rs -q diff s s --html links/page; [ -L links/page ]; grep -q '</html>' disk/page.html
         ln -s ../disk/layout links/layout
         for time in 1 2; do
             rs -q export s --format oci-dir -o links/layout; [ -L links/layout ]; [ -s disk/layout/index.json ]
         done
         ln -s loop links/loop; fails rs -q export s -o links/loop 2> said; grep -q 'links/loop: Too many' said
         ln -s missing/x links/lost; fails rs -q export s -o links/lost 2> said; grep -q 'No such file' said
         ln -s ../disk links/directory; fails rs -q export s -o links/directory 2> said; grep -q 'is a directory' said",
    );
    assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_is_replaced_is_no_more_open_than_it_was() {
    let bench = recorded();
    runs(
        &bench,
        "umask 022
         for mode in 600 640 644 666 400; do
             echo old > out.tar; chmod $mode out.tar; echo old > page; chmod $mode page
             rs -q export s -o out.tar; rs -q diff s s --html page
             stat -c %a out.tar page >> modes
         done
         printf '%s\\n' 600 600 640 640 644 644 644 644 400 400 | cmp - modes",
    );
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

#[test]
fn an_unfinished_file_is_removed_only_when_its_writer_has_ended() {
    let bench = recorded();
    let out = bench.make("out");
    std::fs::write(out.join(".rootstrata-a.tar"), "of one who writes").unwrap();
    std::fs::write(out.join(".rootstrata-a.tar.2"), "of one who has ended").unwrap();
    let writer = std::fs::File::open(out.join(".rootstrata-a.tar")).unwrap();
    writer.lock().unwrap();
    let left = "[ \"$(ls -A out)\" = \"$(printf '.rootstrata-a.tar\\na.tar')\" ]";
    for old in ["", "echo old > out/a.tar; "] {
        runs(
            &bench,
            &format!("{old}rs -q export s -o out/a.tar; same out/a.tar; {left}"),
        );
    }
    drop(writer);
    runs(
        &bench,
        "rs -q export s -o out/a.tar; [ \"$(ls -A out)\" = a.tar ]",
    );
    // What is no file of ours stays.
    runs(
        &bench,
        "ln -s ../whole.tar out/.rootstrata-a.tar; mkdir out/.rootstrata-a.tar.2; echo old > out/a.tar
         rs -q export s -o out/a.tar; same out/a.tar; same whole.tar; [ -L out/.rootstrata-a.tar ]; [ -d out/.rootstrata-a.tar.2 ]",
    );
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

// ---- Layouts

/// The names of the images of a layout, each of which has all of its blobs.
fn images(layout: &Path) -> BTreeMap<String, String> {
    let images = images_of(&std::fs::read(layout.join("index.json")).unwrap());
    images
        .values()
        .for_each(|digest| drop(layers_of(digest, &Layout(layout))));
    images.into_iter().collect()
}

#[test]
fn many_exports_into_one_layout_lose_nothing_and_none_fails() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, "head -c 2000000 /dev/urandom > shared");
    for series in 0..8 {
        std::fs::write(root.join("own"), format!("{series}")).unwrap();
        bench.snapshot(&root, &format!("--profile plain --series s{series}"));
    }
    for (round, beforehand) in [
        "rm -rf l",
        "rm -rf l; mkdir l",
        "rm -rf l; rs -q export s0 --format oci-dir -o l",
    ]
    .iter()
    .cycle()
    .take(12)
    .enumerate()
    {
        let lines = format!(
            "{beforehand}; for n in 0 1 2 3 4 5 6 7; do rs -q export s$n --format oci-dir -o l & pids[n]=$!; done
             for n in 0 1 2 3 4 5 6 7; do wait ${{pids[n]}}; done"
        );
        assert_eq!(runs(&bench, &lines), "");
        assert_eq!(
            images(&bench.path("l")).len(),
            8,
            "round {round}: {beforehand}"
        );
        assert_eq!(unfinished(&bench.path("")), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_index_of_a_layout_changes_under_the_lock_of_its_directory() {
    let bench = recorded();
    let layout = bench.path("l");
    bench.json([
        "export",
        "s",
        "--format",
        "oci-dir",
        "-o",
        layout.to_str().unwrap(),
    ]);
    let index = std::fs::read(layout.join("index.json")).unwrap();
    sh(&bench.path("root"), "echo 2 > g");
    bench.snapshot(&bench.path("root"), "--profile plain --series t");
    let lock = std::fs::File::open(&layout).unwrap();
    lock.lock().unwrap();
    let mut child = bench
        .command(["-q", "export", "t", "--format", "oci-dir", "-o"])
        .arg(&layout)
        .spawn()
        .unwrap();
    // It has all but the index when it waits: /proc/locks has a line for who does.
    let waits = |id: u32| {
        std::fs::read_to_string("/proc/locks")
            .unwrap()
            .lines()
            .any(|line| line.contains("-> FLOCK") && line.contains(&format!(" {id} ")))
    };
    while !waits(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it does not wait");
    }
    assert_eq!(std::fs::read(layout.join("index.json")).unwrap(), index);
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(images(&layout).len(), 2);
}

#[test]
fn what_a_power_cut_took_of_a_layout_is_put_back_by_the_next_export() {
    let bench = recorded();
    let damages = [
        ": > l/index.json",
        "truncate -s 40 l/index.json",
        "size=$(stat -c %s l/index.json); : > l/index.json; truncate -s $size l/index.json",
        ": > l/oci-layout",
        "truncate -s 0 l/oci-layout; truncate -s 30 l/oci-layout",
        "rm l/index.json",
        "rm l/oci-layout l/index.json",
        "for blob in l/blobs/sha256/*; do : > $blob; done",
        "for blob in l/blobs/sha256/*; do truncate -s -1 $blob; done",
        "for blob in l/blobs/sha256/*; do size=$(stat -c %s $blob); : > $blob; truncate -s $size $blob; done",
        ": > l/index.json; for blob in l/blobs/sha256/*; do printf X | dd of=$blob conv=notrunc status=none; done",
        ": > l/index.json; : > l/oci-layout; for blob in l/blobs/sha256/*; do : > $blob; done",
    ];
    for damage in damages {
        let said = runs(
            &bench,
            &format!(
                "rm -rf l good; rs -q export s --format oci-dir -o l; cp -r l good; {damage}; rs -q export s --format oci-dir -o l; diff -r l good"
            ),
        );
        let is_told = said.contains("was cut short and is made anew");
        assert_eq!(
            is_told,
            damage.contains("index.json") && !damage.starts_with("rm"),
            "{damage}: {said}"
        );
    }
    // An index that is another thing is not thrown away.
    runs(
        &bench,
        "echo '{]' > l/index.json; fails rs -q export s --format oci-dir -o l 2> said; grep -q 'l/index.json is damaged' said",
    );
}

#[test]
fn an_archive_whose_content_never_came_to_the_disk_is_written_anew() {
    let bench = recorded();
    runs(
        &bench,
        // All headers are there; the middle of the largest blob is not.
        "cp whole.tar a.tar; rs export s -o a.tar | grep -q 'nothing written'
         fallocate -p -o 1000000 -l 1000000 a.tar; [ $(stat -c %s a.tar) = $(stat -c %s whole.tar) ]
         rs -q export s -o a.tar; same a.tar
         : > a.tar; rs -q export s -o a.tar; same a.tar",
    );
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
