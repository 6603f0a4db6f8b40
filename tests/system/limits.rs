//! What is recorded is taken by every reader, also where it is as large as it may be; what is larger is refused when it is
//! recorded, with its path. A root that lies of its lengths, or has holes of exabytes, holds nobody up.

use crate::common::{Bench, sh, succeeds};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

const PLAIN: &str = "--profile plain --stage s";

/// As `src/model/limits.rs` has it.
const LONGEST_PATH: usize = 16 << 10;

fn open(directory: &impl std::os::fd::AsFd, name: &str) -> OwnedFd {
    openat(
        directory,
        name,
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .unwrap()
}

/// Makes directories in one another, by handles, and returns that of the innermost.
fn make_deep<'n>(root: &Path, names: impl Iterator<Item = &'n str>) -> OwnedFd {
    let mut at: OwnedFd = std::fs::File::open(root).unwrap().into();
    for name in names {
        mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
        at = open(&at, name);
    }
    at
}

fn make_file(directory: &OwnedFd, name: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o640)).unwrap();
    rustix::io::write(file, b"deep\n").unwrap();
}

/// Runs a script in a mount namespace of its own, beside the store; `$BINARY` is the command.
fn in_namespace(bench: &Bench, script: &str) -> String {
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; BINARY={}; rs() {{ \"$BINARY\" --store store -q \"$@\"; }}
         image() {{ truncate -s $1 $2.image; mkdir $2; shift 2; \"$@\" > /dev/null; }}
         {script}",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "bash", "-euc", &script])
        .current_dir(bench.path(""));
    succeeds(&mut command)
}

/// Wants every reader to take snapshot `s` of `root`: the check of its blobs, a restore, a comparison with that and with
/// the image, and an import of the image into another store.
fn assert_read_by_all(bench: &Bench, root: &Path) {
    bench.prints(0, ["-q", "verify", "--deep"]);
    let to = bench.path("to");
    bench.json(["restore", "s", to.to_str().unwrap()]);
    for directory in [root, &to] {
        let source = format!("dir:{}", directory.display());
        assert_eq!(bench.compared(["s", &source])["different"], false);
    }
    let archive = bench.path("s.oci");
    bench.json(["export", "s", "-o", archive.to_str().unwrap()]);
    let source = format!("oci-archive:{}", archive.display());
    assert_eq!(bench.compared(["s", &source])["different"], false);
    let other = Bench::new();
    other.json(["import", &source]);
    other.prints(0, ["-q", "verify", "--deep"]);
    sh(&bench.path(""), "rm -rf to s.oci");
}

// ---- Paths

#[test]
fn paths_longer_than_a_system_call_takes_are_recorded_compared_changed_and_restored() {
    let bench = Bench::new();
    let root = bench.make("root");
    let deep = make_deep(&root, std::iter::repeat_n("confdir3", 600));
    make_file(&deep, "f");
    rustix::fs::linkat(&deep, "f", &deep, "linked", AtFlags::empty()).unwrap();
    rustix::fs::symlinkat("f", &deep, "link").unwrap();
    rustix::fs::mknodat(
        &deep,
        "p",
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    bench.snapshot(&root, PLAIN);
    assert_read_by_all(&bench, &root);
    let path = format!("{}/f", "confdir3/".repeat(600));
    assert_eq!(bench.prints(0, ["cat", "s", &path]), "deep\n");

    // Over what is there: something changed, something more, something gone, and a directory in the place of a file.
    let to = bench.path("to");
    let restored = |more: &[&str]| {
        let arguments = [&["restore", "s", to.to_str().unwrap()], more].concat();
        let json = bench.json(arguments);
        ["made", "adjusted", "removed"].map(|what| json[what].as_u64().unwrap())
    };
    restored(&[]);
    let mut there: OwnedFd = std::fs::File::open(&to).unwrap().into();
    for _ in 0..600 {
        there = open(&there, "confdir3");
    }
    rustix::fs::chmodat(&there, "p", Mode::from_raw_mode(0o644), AtFlags::empty()).unwrap();
    unlinkat(&there, "link", AtFlags::empty()).unwrap();
    mkdirat(&there, "link", Mode::RWXU).unwrap();
    make_file(&open(&there, "link"), "in");
    make_file(&there, "more");
    assert_eq!(restored(&["--exact"]), [1, 2, 2]);
    let source = format!("dir:{}", to.display());
    assert_eq!(bench.compared(["s", &source])["different"], false);

    // What is gone is a whiteout below as long a path.
    unlinkat(&deep, "f", AtFlags::empty()).unwrap();
    bench.snapshot(&root, PLAIN);
    bench.prints(0, ["-q", "verify", "--deep"]);
    sh(&bench.path(""), "rm -rf to");
    restored(&[]);
    assert_eq!(bench.compared(["s", &source])["different"], false);
}

#[test]
fn a_tree_may_be_as_deep_as_its_paths_are_long_and_nothing_overflows() {
    let bench = Bench::new();
    let root = bench.make("root");
    make_file(&make_deep(&root, std::iter::repeat_n("d", 2500)), "f");
    bench.snapshot(&root, PLAIN);
    let to = bench.path("to");
    bench.json(["restore", "s", to.to_str().unwrap()]);
    let source = format!("dir:{}", to.display());
    assert_eq!(bench.compared(["s", &source])["different"], false);
    // And goes again as a whole.
    sh(&bench.path(""), "rm -r root; mkdir root");
    bench.snapshot(&root, PLAIN);
    let restored = bench.json(["restore", "s", to.to_str().unwrap(), "--exact"]);
    assert_eq!(restored["removed"], 1);
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
}

#[test]
fn the_longest_path_is_read_by_all_and_a_longer_one_refused_when_it_is_recorded() {
    let bench = Bench::new();
    let root = bench.make("root");
    let name = "n".repeat(254);
    let deep = make_deep(
        &root,
        std::iter::repeat_n(name.as_str(), LONGEST_PATH / 255),
    );
    let left = LONGEST_PATH % 255;
    sh(&root, "head -c 3000000 /dev/urandom > large");
    let last = "f".repeat(left);
    make_file(&deep, &last);
    bench.snapshot(&root, PLAIN);
    assert_read_by_all(&bench, &root);
    make_file(&deep, &format!("{last}f"));
    let error = bench.fails(
        2,
        [
            "snapshot",
            root.to_str().unwrap(),
            "--series",
            "s",
            "--profile",
            "plain",
        ],
    );
    assert!(
        error.contains("/nnn")
            && error.ends_with("fff cannot be recorded: its path is longer than 16 KiB")
    );
    unlinkat(&deep, format!("{last}f"), AtFlags::empty()).unwrap();
    // The whiteout of the longest path is longer by four bytes.
    unlinkat(&deep, last, AtFlags::empty()).unwrap();
    let json = bench.snapshot(&root, PLAIN);
    assert_eq!(json["layers"].as_array().unwrap().len(), 2, "{json}");
    bench.prints(0, ["-q", "verify", "--deep"]);
}

// ---- Attributes

/// Gives a file attributes of which the extended header has this many bytes: "LENGTH SCHILY.xattr.user.NN=VALUE\n" each.
const ATTRIBUTES: &str = r#"python3 -c '
import os, sys
path, left = sys.argv[1], int(sys.argv[2])
def record(length):
    rest = len(" SCHILY.xattr.user.00=\n") + length
    total = rest + len(str(rest))
    return total if len(str(total)) == len(str(rest)) else total + 1
number = 0
while left:
    length = 65000 if left > 130000 else left // 2 if left > 65000 else left
    while record(length) > left: length -= 1
    os.setxattr(path, "user.%02d" % number, b"v" * length)
    left, number = left - record(length), number + 1
'"#;

#[test]
fn the_most_attributes_of_a_file_are_read_by_all_and_more_refused_when_they_are_recorded() {
    let bench = Bench::new();
    let script = format!(
        "image 400M x mkfs.xfs -q x.image; mount -o loop x.image x; mkdir x/r; echo 1 > x/r/late; cd x
        BINARY=$BINARY; rs() {{ \"$BINARY\" --store store -q \"$@\"; }}
        for kind in file directory link; do
            case $kind in file) echo x > r/a;; directory) mkdir r/a;; link) echo x > r/a; ln r/a r/b;; esac
            {ATTRIBUTES} r/a 1048576
            rs snapshot r --series s --profile plain > /dev/null
            rs verify --deep; rs restore s to > /dev/null; rs diff s dir:to; rs export s -o s.oci > /dev/null
            rs diff s oci-archive:s.oci; \"$BINARY\" --store other -q import oci-archive:s.oci > /dev/null
            \"$BINARY\" --store other -q verify --deep
            setfattr -n user.00 -v \"$(getfattr --only-values -n user.00 r/a)v\" r/a
            if rs snapshot r --series s --profile plain 2> error; then echo \"$kind: recorded\"; exit 1; fi
            cat error; rm -rf to s.oci other r/a r/b store
        done"
    );
    let errors = in_namespace(&bench, &script);
    let reason = "its attributes and names are larger than 1 MiB, which no engine reads";
    let expected = format!(
        "rootstrata: error: {} cannot be put into a layer: {reason}",
        bench.path("x/r/a").display()
    );
    let lines: Vec<&str> = errors.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, [&*expected; 3]);
}

// ---- Lengths

#[test]
fn holes_are_not_read_and_have_a_limit_that_is_told_with_the_path() {
    let bench = Bench::new();
    let said = in_namespace(
        &bench,
        "image 400M x mkfs.xfs -q x.image; mount -o loop x.image x; mkdir x/r x/empty
        refused() { if timeout 20 \"$BINARY\" --store store -q $1 2> error > out; then cat out; else cat error; fi; }
        for length in 7E 1025G 65G; do
            truncate -s $length x/r/holey; touch -d @5 x/r/holey
            refused 'snapshot x/r --series s --profile plain'
        done
        rm x/r/holey; rs snapshot x/empty --series e --profile plain > /dev/null; truncate -s 7E x/r/holey
        refused 'diff e dir:x/r'; refused 'restore e x/r'
        # Below the limit: data at the beginning, within and at the end.
        rm x/r/holey; truncate -s 300M x/r/holey
        for at in 0 150000000 314572799; do printf x | dd of=x/r/holey bs=1 seek=$at conv=notrunc status=none; done
        strace -f -qq -e trace=pread64 -o calls \"$BINARY\" --store store -q snapshot x/r --series s --profile plain > /dev/null
        rs verify --deep; rs restore s x/to > /dev/null; cmp x/r/holey x/to/holey
        [ $(stat -c %b x/to/holey) -lt 1000 ] && echo sparse
        [ $(wc -l < calls) -lt 200 ] && echo unread",
    );
    let at = bench.path("x/r/holey").display().to_string();
    let limit = format!(
        "rootstrata: error: cannot read {}: its holes are longer than 64 GiB",
        at
    );
    let length = format!(
        "rootstrata: error: {} cannot be recorded: it is longer than 1 TiB",
        at
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        [
            &*length, &*length, &*limit, &*length, &*length, "sparse", "unread"
        ],
        "{said}"
    );
}

#[test]
fn a_file_that_does_not_have_its_length_is_an_error_and_never_cut() {
    // In procfs files have a length of 0, in sysfs one of a page, whatever they hold.
    let bench = Bench::new();
    for (root, file) in [
        ("/proc/sys/fs/inotify", "max_queued_events"),
        ("/sys/kernel/mm/transparent_hugepage", "defrag"),
    ] {
        let error = bench.fails(2, ["snapshot", root, "--series", "s", "--profile", "plain"]);
        let rest = "it does not hold as many bytes as its length says";
        assert_eq!(error, format!("cannot read {root}/{file}: {rest}"));
    }
    assert!(bench.ids().is_empty());
}
