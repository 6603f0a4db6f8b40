//! What is recorded comes back: into an empty directory, over one that holds something, in part, and never beside it.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use common::tree::{Tree, differences, walked};
use common::{Bench, layers, settle, sh, succeeds};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLAIN: &str = "--profile plain --stage s";

/// Everything that a layer can hold.
const TREE: &str = "
    mkdir -m 2775 d; mkdir -m 0700 d/private; mkdir -m 1777 tmp; mkdir -p deep/a/b/c
    echo one > d/one; echo two > d/private/two; : > empty; : > d/hollow; ln d/hollow d/hollow2
    head -c 3000000 /dev/urandom > large; truncate -s 9M holes; printf end >> holes
    ln d/one d/uno; ln d/one deep/a/eins; ln -s ../etc/passwd d/link; ln -s /nowhere 'dangling link'; ln d/link d/link2
    mkfifo -m 0640 fifo; mknod -m 0666 null c 1 3; mknod disk b 7 9; ln null null2
    cp /bin/true suid; chown 12:34 suid; chmod 6755 suid; chown -h 56:78 d/link; chown 9:9 deep/a
    cp /bin/true capable; setcap cap_net_raw+ep capable; setfattr -n user.note -v 'a b' d/one; setfattr -n user.empty d
    setfacl -m u:12:rwx,d:u:13:rx d; setfacl -m g:14:r d/one
    printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf '\\377\\376')\"; printf x > -rf; printf x > ' '
    touch -h -d @-5 d/link; touch -d @0 empty; touch -d @4000000000.7 large; touch -d @1000000000 deep/a/b d d/private
    chmod 0444 deep/a/eins; chmod 0555 deep/a; chmod 0 d/private/two";

struct Case {
    bench: Bench,
    root: PathBuf,
}

impl Case {
    /// A root that `script` has made, recorded as the snapshot `s`.
    fn new(script: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, script);
        let case = Self { bench, root };
        case.record(PLAIN);
        case
    }

    fn record(&self, options: &str) -> Value {
        settle(&self.root);
        self.bench.snapshot(&self.root, options)
    }

    /// Restores the newest snapshot into `to`; `more` is split at spaces.
    fn restore(&self, to: &Path, more: &str) -> Value {
        let mut arguments = vec!["restore", "s", to.to_str().unwrap()];
        arguments.extend(more.split_whitespace());
        self.bench.json(arguments)
    }

    fn expected(&self) -> Tree {
        walked(&self.root)
    }
}

fn assert_same(found: &Tree, expected: &Tree) {
    let wrong = differences(found, expected);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn counts(restored: &Value) -> [u64; 4] {
    ["made", "adjusted", "removed", "unchanged"].map(|count| restored[count].as_u64().unwrap())
}

// ---- Into an empty directory

#[test]
fn an_empty_or_missing_directory_becomes_the_recorded_tree_and_recording_it_reads_and_writes_nothing() {
    let case = Case::new(TREE);
    for name in ["empty", "missing/below"] {
        let to = case.bench.path(name);
        if name == "empty" {
            std::fs::create_dir(&to).unwrap();
        }
        let restored = case.restore(&to, "");
        assert_eq!(restored["complete"], true);
        assert_same(&walked(&to), &case.expected());
        let again = case.bench.snapshot(&to, PLAIN);
        let reused: Vec<String> = layers(&again);
        assert!(reused.iter().all(|layer| layer.ends_with("reused")), "{reused:?}");
    }
}

/// The files that a command opens below `root`, directories aside.
fn files_opened(bench: &Bench, root: &Path, arguments: &[&str]) -> Vec<String> {
    let trace = bench.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=open,openat,openat2", "-o"]).arg(&trace);
    let inner = bench.command(arguments);
    command.arg(inner.get_program()).args(inner.get_args());
    succeeds(&mut command);
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("openat2("), "nothing was traced");
    let opened = trace.lines().filter_map(|line| line.rsplit_once("= ")?.1.split(['<', '>']).nth(1));
    let inside = opened.filter(|path| Path::new(path).starts_with(root) && !Path::new(path).is_dir());
    inside.map(str::to_owned).collect()
}

#[test]
fn the_first_snapshot_of_what_was_restored_opens_directories_and_no_file() {
    // A time of this very second, to the second, is one that a later write could have too.
    let case = Case::new(
        "mkdir a; echo 1 > a/1; ln a/1 a/2; ln -s x l; : > e; head -c 2000000 /dev/urandom > large
        find . -exec touch -h -d @1000000000 {} +",
    );
    let to = case.bench.path("to");
    case.restore(&to, "");
    let arguments = ["snapshot", to.to_str().unwrap(), "--series", "s", "--profile", "plain", "--stage", "s"];
    assert_eq!(files_opened(&case.bench, &to, &arguments), [""; 0]);
    // What is written right after it is seen all the same.
    case.restore(&to, "");
    let before = std::fs::metadata(to.join("a/1")).unwrap();
    std::fs::write(to.join("a/1"), "2\n").unwrap();
    sh(&to, &format!("touch -d @{} a/1", before.mtime()));
    let after = case.bench.snapshot(&to, PLAIN);
    assert_eq!(after["files_read"], 3, "{after}"); // both names hashed, the inode packed
}

#[test]
fn every_layer_gives_what_no_upper_one_replaces_and_nothing_is_written_twice() {
    let case = Case::new(
        "head -c 500000 /dev/urandom > a; head -c 500000 /dev/urandom > b; ln b c; mkdir d; echo 1 > d/1",
    );
    sh(&case.root, "head -c 1000 /dev/urandom > b.new; mv b.new b; rm d/1; echo 2 > d/2");
    case.record("--profile plain --stage t --run r1");
    let to = case.bench.path("to");
    let restored = case.restore(&to, "");
    assert_same(&walked(&to), &case.expected());
    assert_eq!(
        (restored["files_written"].as_u64(), restored["bytes_written"].as_u64()),
        (Some(4), Some(1_001_002))
    );
    assert_eq!(restored["layers_read"], 2);
}

// ---- Over what is there

#[test]
fn what_is_made_anew_in_a_setgid_directory_has_its_own_group_and_its_capabilities() {
    let case = Case::new(
        "mkdir d; chown 0:77 d; chmod 2775 d; cp /bin/true d/c; chown 0:0 d/c; setcap cap_net_raw+ep d/c",
    );
    let expected = case.expected();
    sh(&case.root, "rm d/c");
    assert_eq!(counts(&case.restore(&case.root, ""))[0], 1);
    assert_same(&case.expected(), &expected);
}

#[test]
fn over_a_changed_directory_only_what_differs_is_touched() {
    let case = Case::new(TREE);
    let to = case.bench.path("to");
    case.restore(&to, "");
    let inode = |name: &str| std::fs::symlink_metadata(to.join(name)).unwrap().ino();
    let kept = ["large", "holes", "d/private", "capable", "deep"].map(|name| (name, inode(name)));
    sh(
        &to,
        "chmod 0600 deep/a/b; echo other > d/private/two; rm d/link; ln -s elsewhere d/link; rm fifo; mkdir fifo; touch fifo/x
        rm -r tmp; ln -s /etc tmp; setfattr -x user.note d/one; chown 0:0 suid; rm null; touch extra; mkdir d/more
        touch -d @77 large; setfattr -n user.more -v x holes; chmod 0 holes; setcap cap_chown+ep capable",
    );
    let restored = case.restore(&to, "");
    assert_eq!(restored["extra"], 2);
    for (name, inode) in kept {
        assert_eq!(std::fs::metadata(to.join(name)).unwrap().ino(), inode, "{name}");
    }
    sh(&to, "[ -e extra ]; [ -d d/more ]");
    case.restore(&to, "--exact");
    assert_same(&walked(&to), &case.expected());
    let [made, adjusted, removed, unchanged] = counts(&case.restore(&to, "--exact"));
    assert_eq!([made, adjusted, removed, unchanged], [0, 0, 0, case.expected().len() as u64]);
    let again = case.bench.snapshot(&to, PLAIN);
    assert!(layers(&again).iter().all(|layer| layer.ends_with("reused")));
}

#[test]
fn only_layers_that_have_something_to_give_are_read() {
    let case = Case::new("head -c 500000 /dev/urandom > a; mkdir d; echo 1 > d/1");
    sh(&case.root, "echo 2 > d/2");
    case.record("--profile plain --stage t --run r1");
    let to = case.bench.path("to");
    case.restore(&to, "");
    sh(&to, "echo 3 > d/2; chmod 0600 d/1");
    let restored = case.restore(&to, "");
    assert_eq!(counts(&restored), [1, 1, 0, 3]);
    assert_eq!((restored["layers_read"].as_u64(), restored["bytes_written"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_few_files_of_a_large_layer_come_out_of_it_alone() {
    // Frames of 4 MiB: files lie within one, across two, and at the end of a group of links.
    let script = "mkdir d; for i in $(seq 60); do head -c 700001 /dev/urandom > d/$i; done; head -c 5000000 /dev/zero > zeros
        head -c 6000000 /dev/urandom > across; ln d/7 linked; ln d/7 a-link; n=$(printf %0120d 7); echo long > d/$n
        setfattr -n user.x -v y d/9; : > d/none; echo end > z";
    let bench = Bench::new();
    let root = bench.make("root");
    sh(&root, script);
    for compression in ["zstd", "gzip", "none"] {
        let case = Case { bench: Bench::new(), root: root.clone() };
        case.record(&format!("{PLAIN} --compression {compression}"));
        let to = case.bench.path("to");
        case.restore(&to, "");
        sh(&to, "for i in d/3 d/7 d/40 d/0* across z; do echo x >> $i; done; rm d/9");
        let restored = case.restore(&to, "");
        assert_same(&walked(&to), &case.expected());
        let written = 4 * 700_001 + 6_000_000 + 5 + 4;
        assert_eq!(
            (restored["bytes_written"].as_u64(), restored["layers_read"].as_u64()),
            (Some(written), Some(1))
        );
    }
}

#[test]
fn a_layer_whose_frames_say_nothing_of_their_length_is_read_from_its_beginning() {
    let case = Case { bench: Bench::new(), root: PathBuf::new() };
    let case = Case { root: case.bench.make("root"), ..case };
    sh(&case.root, "mkdir d; for i in $(seq 9); do head -c 700001 /dev/urandom > d/$i; done; ln d/7 linked");
    case.record(&format!("{PLAIN} --compression gzip"));
    // Compressed anew by others, as one stream.
    let copy = "TMPDIR=$PWD skopeo copy -q --dest-compress-format zstd oci:store:s:s oci:there:x";
    sh(&case.bench.path(""), copy);
    let other = Case { bench: Bench::new(), root: case.root.clone() };
    let source = format!("oci:{}:x", case.bench.path("there").display());
    other.bench.json(["import", &source, "--series", "s", "--stage", "s"]);
    let blobs = std::fs::read_dir(other.bench.store().join("blobs/sha256")).unwrap();
    let blobs: Vec<Vec<u8>> = blobs.map(|blob| std::fs::read(blob.unwrap().path()).unwrap()).collect();
    let frame = blobs.iter().find(|blob| blob.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])).unwrap();
    assert_eq!(frame[4] >> 5, 0, "it says how long it is");
    let to = other.bench.path("to");
    other.restore(&to, "");
    assert_same(&walked(&to), &case.expected());
    sh(&to, "echo x > d/3");
    assert_eq!(other.restore(&to, "")["files_written"], 1);
    assert_same(&walked(&to), &case.expected());
}

#[test]
fn a_part_of_a_snapshot_is_restored_alone() {
    let case = Case::new(TREE);
    let to = case.bench.path("to");
    let restored = case.restore(&to, "/deep/a /d/one l*");
    let expected = case.expected();
    let mut part = expected.clone();
    let chosen: [&[u8]; 7] = [b"", b"d", b"d\0one", b"deep", b"deep\0a", b"large", b"d\0link"];
    part.retain(|path, _| {
        chosen.contains(&path.as_slice()) || path.starts_with(b"deep\0a\0") || path == b"d\0link2"
    });
    // Of an inode only the names that were asked for are linked, and the directory itself was not asked for.
    let mut found = walked(&to);
    for tree in [&mut found, &mut part] {
        tree.remove(&b""[..]);
        tree.values_mut().for_each(|node| node.first_name = None);
    }
    assert_same(&found, &part);
    assert_eq!(restored["complete"], true);
    assert_eq!(std::fs::metadata(to.join("d/one")).unwrap().nlink(), 2);
    // What was not asked for stays as it is, also where it is not as recorded.
    sh(&to, "chmod 0700 d; echo x > large; rm -r deep; touch more");
    case.restore(&to, "/deep --exact");
    let now = walked(&to);
    assert_eq!((now[&b"d"[..]].mode, now.contains_key(&b"more"[..])), (0o2700, true));
    assert!(now.contains_key(&b"deep\0a\0b"[..]));
    let error = case.bench.fails(2, ["restore", "s", to.to_str().unwrap(), "/none"]);
    assert_eq!(error, "/none is not in snapshot 1");
    // A link where a directory was asked for is neither followed nor replaced.
    sh(&to, "rm -r d; ln -s /tmp d");
    let error = case.bench.fails(2, ["restore", "s", to.to_str().unwrap(), "/d/one"]);
    assert!(error.ends_with("/to/d is not a directory"), "{error}");
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_would_be_done() {
    let case = Case::new("echo 1 > a; echo 2 > b; mkdir d");
    let to = case.bench.path("to");
    assert_eq!(counts(&case.restore(&to, "--dry-run")), [3, 1, 0, 0]);
    assert!(!to.exists());
    case.restore(&to, "");
    sh(&to, "echo x > a; touch more; chmod 0600 b; touch -r ../root ."); // or its time would differ, too
    let before = walked(&to);
    assert_eq!(counts(&case.restore(&to, "--exact -n")), [1, 1, 1, 2]);
    assert_same(&walked(&to), &before);
}
