//! What is recorded is taken by every reader, also where it is as large as it may be; what is larger is refused when it is
//! recorded, with its path. A root that lies of its lengths, or has holes of exabytes, holds nobody up.

use crate::common::PLAIN_S;
use crate::common::{Bench, sh};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use std::os::fd::OwnedFd;
use std::path::Path;

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
    // Long ago, so that any later change shows in whole seconds.
    let long_ago = rustix::fs::Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: long_ago,
        last_modification: long_ago,
    };
    rustix::fs::utimensat(&deep, ".", &times, AtFlags::empty()).unwrap();
    bench.snapshot(&root, PLAIN_S);
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
    bench.snapshot(&root, PLAIN_S);
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
    bench.snapshot(&root, PLAIN_S);
    let to = bench.path("to");
    bench.json(["restore", "s", to.to_str().unwrap()]);
    let source = format!("dir:{}", to.display());
    assert_eq!(bench.compared(["s", &source])["different"], false);
    // And goes again as a whole.
    sh(&bench.path(""), "rm -r root; mkdir root");
    bench.snapshot(&root, PLAIN_S);
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
    bench.snapshot(&root, PLAIN_S);
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
    let json = bench.snapshot(&root, PLAIN_S);
    assert_eq!(json["layers"].as_array().unwrap().len(), 2, "{json}");
    bench.prints(0, ["-q", "verify", "--deep"]);
}
