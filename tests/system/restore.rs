//! What is recorded comes back: into an empty directory, over one that holds something, in part, and never beside it.

use crate::common::PLAIN_S;
use crate::common::tree::walked;
use crate::common::{Bench, layers, sh, succeeds};
use crate::shared::restore::{Case, assert_same, counts};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that a layer can hold.
const TREE: &str = "
    mkdir -m 2775 d; mkdir -m 0700 d/private; mkdir -m 1777 tmp; mkdir -p deep/a/b/c
    echo one > d/one; echo two > d/private/two; : > empty; : > d/kept_empty; ln d/kept_empty d/hollow2
    head -c 3000000 /dev/urandom > large; truncate -s 9M holes; printf end >> holes
    ln d/one d/uno; ln d/one deep/a/eins; ln -s ../etc/passwd d/link; ln -s /nowhere 'dangling link'; ln d/link d/link2
    mkfifo -m 0640 fifo; mknod -m 0666 null c 1 3; mknod disk b 7 9; ln null null2
    cp /bin/true suid; chown 12:34 suid; chmod 6755 suid; chown -h 56:78 d/link; chown 9:9 deep/a
    cp /bin/true capable; setcap cap_net_raw+ep capable; setfattr -n user.note -v 'a b' d/one; setfattr -n user.empty d
    setfacl -m u:12:rwx,d:u:13:rx d; setfacl -m g:14:r d/one
    printf x > \"$(printf 'new\\nline')\"; printf x > \"$(printf '\\377\\376')\"; printf x > -rf; printf x > ' '
    touch -h -d @-5 d/link; touch -d @0 empty; touch -d @4000000000.7 large; touch -d @1000000000 deep/a/b d d/private
    chmod 0444 deep/a/eins; chmod 0555 deep/a; chmod 0 d/private/two";

// ---- Into an empty directory

#[test]
fn an_empty_or_missing_directory_becomes_the_recorded_tree_and_recording_it_reads_and_writes_nothing()
 {
    let case = Case::new(TREE);
    for name in ["empty", "missing/below"] {
        let to = case.bench.path(name);
        if name == "empty" {
            std::fs::create_dir(&to).unwrap();
        }
        let restored = case.restore(&to, "");
        assert_eq!(restored["complete"], true);
        assert_same(&walked(&to), &case.expected());
        let again = case.bench.snapshot(&to, PLAIN_S);
        let reused: Vec<String> = layers(&again);
        assert!(
            reused.iter().all(|layer| layer.ends_with("reused")),
            "{reused:?}"
        );
    }
}

/// The files that a command opens below `root`, directories aside.
fn files_opened(bench: &Bench, root: &Path, arguments: &[&str]) -> Vec<String> {
    let trace = bench.path("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-e", "trace=open,openat,openat2", "-o"])
        .arg(&trace);
    let inner = bench.command(arguments);
    command.arg(inner.get_program()).args(inner.get_args());
    succeeds(&mut command);
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("openat2("), "nothing was traced");
    let opened = trace
        .lines()
        .filter_map(|line| line.rsplit_once("= ")?.1.split(['<', '>']).nth(1));
    let inside =
        opened.filter(|path| Path::new(path).starts_with(root) && !Path::new(path).is_dir());
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
    let arguments = [
        "snapshot",
        to.to_str().unwrap(),
        "--series",
        "s",
        "--profile",
        "plain",
        "--stage",
        "s",
    ];
    assert_eq!(files_opened(&case.bench, &to, &arguments), [""; 0]);
    // What is written right after it is seen all the same.
    case.restore(&to, "");
    let before = std::fs::metadata(to.join("a/1")).unwrap();
    std::fs::write(to.join("a/1"), "2\n").unwrap();
    sh(&to, &format!("touch -d @{} a/1", before.mtime()));
    let after = case.bench.snapshot(&to, PLAIN_S);
    assert_eq!(after["files_read"], 2, "{after}"); // hashed and packed, under one of its names
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
        assert_eq!(
            std::fs::metadata(to.join(name)).unwrap().ino(),
            inode,
            "{name}"
        );
    }
    sh(&to, "[ -e extra ]; [ -d d/more ]");
    case.restore(&to, "--exact");
    assert_same(&walked(&to), &case.expected());
    let [made, adjusted, removed, unchanged] = counts(&case.restore(&to, "--exact"));
    assert_eq!(
        [made, adjusted, removed, unchanged],
        [0, 0, 0, case.expected().len() as u64]
    );
    let again = case.bench.snapshot(&to, PLAIN_S);
    assert!(layers(&again).iter().all(|layer| layer.ends_with("reused")));
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
        let case = Case {
            bench: Bench::new(),
            root: root.clone(),
        };
        case.record(&format!("{PLAIN_S} --compression {compression}"));
        let to = case.bench.path("to");
        case.restore(&to, "");
        sh(
            &to,
            "for i in d/3 d/7 d/40 d/0* across z; do echo x >> $i; done; rm d/9",
        );
        let restored = case.restore(&to, "");
        assert_same(&walked(&to), &case.expected());
        let written = 4 * 700_001 + 6_000_000 + 5 + 4;
        assert_eq!(
            (
                restored["bytes_written"].as_u64(),
                restored["layers_read"].as_u64()
            ),
            (Some(written), Some(1))
        );
    }
}

#[test]
fn a_layer_whose_frames_say_nothing_of_their_length_is_read_from_its_beginning() {
    let case = Case {
        bench: Bench::new(),
        root: PathBuf::new(),
    };
    let case = Case {
        root: case.bench.make("root"),
        ..case
    };
    sh(
        &case.root,
        "mkdir d; for i in $(seq 9); do head -c 700001 /dev/urandom > d/$i; done; ln d/7 linked",
    );
    case.record(&format!("{PLAIN_S} --compression gzip"));
    // Compressed anew by others, as one stream.
    let copy = "TMPDIR=$PWD skopeo copy -q --dest-compress-format zstd oci:store:s:s oci:there:x";
    sh(&case.bench.path(""), copy);
    let other = Case {
        bench: Bench::new(),
        root: case.root.clone(),
    };
    let source = format!("oci:{}:x", case.bench.path("there").display());
    other
        .bench
        .json(["import", &source, "--series", "s", "--stage", "s"]);
    let blobs = std::fs::read_dir(other.bench.store().join("blobs/sha256")).unwrap();
    let blobs: Vec<Vec<u8>> = blobs
        .map(|blob| std::fs::read(blob.unwrap().path()).unwrap())
        .collect();
    let frame = blobs
        .iter()
        .find(|blob| blob.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]))
        .unwrap();
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
    let chosen: [&[u8]; 7] = [
        b"", b"d", b"d\0one", b"deep", b"deep\0a", b"large", b"d\0link",
    ];
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
    assert_eq!(
        (now[&b"d"[..]].mode, now.contains_key(&b"more"[..])),
        (0o2700, true)
    );
    assert!(now.contains_key(&b"deep\0a\0b"[..]));
    let error = case
        .bench
        .fails(2, ["restore", "s", to.to_str().unwrap(), "/none"]);
    assert_eq!(error, "/none is not in snapshot 1");
    // A link where a directory was asked for is neither followed nor replaced.
    sh(&to, "rm -r d; ln -s /tmp d");
    let error = case
        .bench
        .fails(2, ["restore", "s", to.to_str().unwrap(), "/d/one"]);
    assert!(error.ends_with("/to/d is not a directory"), "{error}");
}

// ---- Where the directory hands something on, or cannot hold all

/// Runs a script in a mount namespace of its own, beside the store; `$BINARY` is the command, and `listed` lists a tree with
/// all that gives rights.
fn in_namespace(bench: &Bench, script: &str) -> String {
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; BINARY={}; rs() {{ \"$BINARY\" --store store -q \"$@\" > said; }}
         image() {{ rm -f image; truncate -s $1 image; shift; \"$@\" image > /dev/null; mount -o loop image fs; }}
         listed() {{ (cd $1; find . -printf '%y %m %U %G %n %l %p\n' | sort; getfattr -Rhd -m '^(system|user|btrfs)|capability' .); }}
         same() {{ listed $2 > found; diff expected found > differs || {{ echo \"$FS, $1:\"; cat differs; exit 1; }}; }}
         mkdir fs; {script}",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "bash", "-euc", &script])
        .current_dir(bench.path(""));
    succeeds(&mut command)
}

/// A tree in which some have a list of their own, and most have none.
const LISTS: &str = "mkdir fs/r; cd fs/r; chmod 755 .
    mkdir -p sub/deep own; echo x > sub/f; head -c 900000 /dev/urandom > sub/large; : > sub/empty
    mkfifo sub/p; mknod sub/c c 1 3; ln sub/f sub/f2; ln -s f sub/l; cp /bin/true sub/suid; chown 12:34 sub/suid
    chmod 4755 sub/suid; chmod 664 sub/f; chmod 600 sub/p; chmod 640 sub/large; chown 5:6 sub/empty; chmod 444 sub/empty
    setfacl -m u:7:rx,d:u:8:rwx own; echo x > own/f; setfacl -b own/f; echo x > own/mine; setfacl -b -m g:9:r own/mine
    find . -exec touch -h -d @1000000000 {} +; cd ../..; rs snapshot fs/r --series s --profile plain; listed fs/r > expected";

const FILESYSTEMS: [(&str, &str); 4] = [
    ("ext4", "image 64M mkfs.ext4 -q"),
    ("xfs", "image 320M mkfs.xfs -q"),
    ("btrfs", "image 128M mkfs.btrfs -q"),
    ("tmpfs", "mount -t tmpfs tmpfs fs"),
];

#[test]
fn restored_inodes_have_what_was_recorded_and_nothing_that_a_directory_hands_on() {
    for (filesystem, mount) in FILESYSTEMS {
        let bench = Bench::new();
        let script = format!(
            "FS={filesystem}; {mount}; {LISTS}; cd fs; lists=d:u:33:rwx,d:g:44:rwx,u:33:rwx
            for mask in 0 077; do
                umask $mask
                mkdir t; setfacl -m $lists t; (cd ..; rs restore s fs/t; same 'a default list' fs/t)
                mkdir p; setfacl -m $lists p; (cd ..; rs restore s fs/p/a/b; same 'the same above' fs/p/a/b)
                mkdir g; chgrp 77 g; chmod 2777 g; (cd ..; rs restore s fs/g/a; same 'a setgid directory' fs/g/a)
                chmod g+s g; mkdir g/b; (cd ..; rs restore s fs/g/b; same 'a group of its own' fs/g/b)
                # Over what is there, with lists all over, and what they were handed on to.
                rm -r t; mkdir t; setfacl -m $lists t; cp -r r/. t/; rm t/sub/suid; echo y > t/sub/f; mkdir t/sub/more
                chmod -R g+s t; (cd ..; rs restore s fs/t --exact; same 'over others' fs/t)
                # A part, whose directory was not asked for and keeps its own.
                rm -r t; mkdir t; setfacl -m $lists t; getfacl -cn t > ../kept; (cd ..; rs restore s fs/t /sub)
                getfacl -cn t | cmp - ../kept; cp -a r whole; rm -r whole/own t/../whole/sub; cp -a t/sub whole/
                cp -a r/own whole/; (cd ..; listed fs/whole > part; diff expected part)
                chmod -R u+rwX .; rm -r t p g whole
            done",
        );
        in_namespace(&bench, &script);
    }
}

#[test]
fn a_property_that_btrfs_hands_on_is_not_in_what_is_restored() {
    let bench = Bench::new();
    let script = format!(
        "FS=btrfs; image 128M mkfs.btrfs -q; {LISTS}; mkdir fs/t; setfattr -n btrfs.compression -v zstd fs/t
        rs restore s fs/t; same 'a property' fs/t"
    );
    in_namespace(&bench, &script);
}

#[test]
fn nobody_else_may_open_what_is_not_finished() {
    let bench = Bench::new();
    let script = format!(
        "FS=tmpfs; mount -t tmpfs tmpfs fs; {LISTS}; umask 0; mkdir fs/t; setfacl -m d:u:33:rwx,d:o::rwx fs/t
        cp fs/r/sub/large fs/r/large; for n in 1 2 3; do echo $n > fs/r/$n; done; rs snapshot fs/r --series s --profile plain
        strace -f -qq -y -e trace=/^mk,openat,chmod,fchmod,/xattr,pwrite64,/chown -o trace \
            \"$BINARY\" --store store -q restore s fs/t --threads 1 > /dev/null; cat trace"
    );
    let trace = in_namespace(&bench, &script);
    let made: Vec<&str> = trace
        .lines()
        .filter(|line| {
            line.contains("fs/t")
                && ["O_CREAT", "O_TMPFILE", "mkdirat(", "mknodat("]
                    .iter()
                    .any(|call| line.contains(call))
        })
        .collect();
    assert!(made.len() > 10, "{trace}");
    // In a directory that hands on a list, with no rights for others; and within those, which are closed.
    let in_top = made.iter().filter(|line| line.contains("fs/t>, "));
    assert!(in_top.clone().count() >= 6, "{made:?}");
    for call in in_top {
        assert!(call.contains("0700") || call.contains("0600"), "{call}");
    }
    let lists = trace
        .lines()
        .filter(|line| line.contains("removexattr("))
        .count();
    assert!(lists > 0 && lists < 10, "{lists} calls");
}

/// Restores into `to` while the system calls `injected` fail, each as `NAME:error=ERRNO`; `paths` are those that count, all
/// without any.
fn restore_with(
    bench: &Bench,
    to: &Path,
    injected: &[&str],
    paths: &[&Path],
) -> std::process::Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(bench.path("trace"));
    for call in injected {
        command.args(["-e", &format!("inject={call}")]);
    }
    command.args(paths.iter().flat_map(|path| [Path::new("-P"), path]));
    let inner = bench.command(["restore", "s", to.to_str().unwrap(), "-q", "--threads", "1"]);
    command
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .unwrap()
}

/// Wants it to end well but for what it says, and returns that and the names that are there.
fn lacking(output: std::process::Output, to: &Path) -> (String, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said
        .strip_prefix("rootstrata: warning: could not be restored: ")
        .unwrap()
        .trim_end()
        .to_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    (
        said,
        sh(
            to,
            "find . ! -name . -printf '%P ' | tr ' ' '\n' | sort | tr '\n' ' '",
        )
        .trim()
        .to_owned(),
    )
}

#[test]
fn what_the_filesystem_cannot_hold_is_told_at_the_end_and_the_rest_is_there() {
    let case = Case::new(
        "mkdir -p d/e z; echo x > a; echo x > h1; ln h1 h2; ln h1 z/h3; ln -s a link; mkfifo p; mknod c c 1 3
        head -c 700000 /dev/urandom > large; : > empty; ln empty empty2; echo x > d/e/f; ln -s a d/e/l; echo x > z/last
        find . -exec touch -h -d @1000000000 {} +",
    );
    let to = case.bench.path("to");
    let lack = |injected: &[&str], paths: &[&Path]| {
        sh(&case.bench.path(""), "rm -rf to");
        lacking(restore_with(&case.bench, &to, injected, paths), &to)
    };
    let calls = ["symlinkat:error=EPERM", "mknodat:error=EPERM"];
    let (said, names) = lack(&calls, &[]);
    assert_eq!(said, "device of 1 (/c), all of 3 (/d/e/l, …)");
    assert_eq!(
        names,
        "a d d/e d/e/f empty empty2 h1 h2 large z z/h3 z/last"
    );
    // Without links a file that is to get its name at the end has none; and no further names.
    let (said, names) = lack(&["linkat:error=EPERM"], &[]);
    assert_eq!(said, "all of 1 (/large), further names of 2 (/empty, …)");
    assert_eq!(names, "a c d d/e d/e/f d/e/l empty h1 link p z z/last");
    // A directory that cannot be, with all that was to be in it.
    let (said, names) = lack(&["mkdirat:error=EINVAL:when=2"], &[]);
    assert_eq!(said, "all of 4 (/d, …)");
    assert_eq!(names, "a c empty empty2 h1 h2 large link p z z/h3 z/last");
    let (said, names) = lack(&["pwrite64:error=EFBIG"], &[&to.join("a")]);
    assert_eq!((&*said, names.contains("a c d")), ("all of 1 (/a)", false));
    // The next run makes good what it can.
    case.restore(&to, "");
    assert_same(&walked(&to), &case.expected());
}

#[test]
fn names_that_no_filesystem_has_are_told_and_the_rest_is_there() {
    let bench = Bench::new();
    let long = "n".repeat(300);
    let script = format!(
        "mkdir image; cd image; python3 - <<'END'
import tarfile, io
with tarfile.open('layer', 'w', format=tarfile.PAX_FORMAT) as tar:
    def add(name, type, data=b'', link=''):
        member = tarfile.TarInfo(name); member.type = type; member.size = len(data); member.linkname = link
        member.mode = 0o755; tar.addfile(member, io.BytesIO(data))
    add('a', tarfile.REGTYPE, b'x'); add('{long}', tarfile.REGTYPE, b'y'); add('d{long}', tarfile.DIRTYPE)
    add('d{long}/in', tarfile.REGTYPE, b'z'); add('l{long}', tarfile.SYMTYPE, link='a'); add('z{long}', tarfile.LNKTYPE, link='a')
END
        umoci init --layout l; umoci new --image l:x; umoci raw add-layer --image l:x layer"
    );
    sh(&bench.path(""), &script);
    let source = format!("oci:{}:x", bench.path("image/l").display());
    bench.json(["import", &source, "--series", "s", "--stage", "s"]);
    let to = bench.path("to");
    let output = bench
        .command(["restore", "s", to.to_str().unwrap(), "-q"])
        .output()
        .unwrap();
    let (said, names) = lacking(output, &to);
    assert!(
        said.starts_with("all of 4 (/dnnn") && said.contains("further names of 1 (/a)"),
        "{said}"
    );
    assert_eq!(names, "a");
}

#[test]
fn a_filesystem_without_unnamed_files_gets_large_ones_all_the_same() {
    let case = Case::new("for n in $(seq 9); do head -c 700000 /dev/urandom > large$n; done");
    let to = case.bench.path("to");
    // Calls count by thread; the thread that makes no files opens the directory a few times, which then fails.
    let is_refused = |call: usize| {
        sh(&case.bench.path(""), "rm -rf to; mkdir to");
        let refusal = format!("openat:error=EOPNOTSUPP:when={call}");
        let output = restore_with(&case.bench, &to, &[&refusal], &[&to]);
        let trace = std::fs::read_to_string(case.bench.path("trace")).unwrap();
        let refused = trace
            .lines()
            .any(|line| line.contains("O_TMPFILE") && line.contains("INJECTED"));
        refused && output.status.success()
    };
    assert!((1..9).any(is_refused), "nothing was refused");
    assert_same(&walked(&to), &case.expected());
}

#[test]
fn an_attribute_that_is_too_large_for_the_filesystem_is_told_and_the_rest_is_there() {
    let bench = Bench::new();
    let said = in_namespace(
        &bench,
        "image 320M mkfs.xfs -q; mkdir -p fs/r/z; echo x > fs/r/a; echo x > fs/r/z/last; mkdir fs/r/d
        for path in a d; do python3 -c 'import os, sys; os.setxattr(sys.argv[1], \"user.big\", b\"x\" * 9000)' fs/r/$path; done
        rs snapshot fs/r --series s --profile plain; umount fs; image 64M mkfs.ext4 -q
        for round in made adjusted; do
            code=0; rs restore s fs/t 2> error || code=$?; cat error; echo $code; (cd fs/t; find . | sort | tr '\n' ' ')
        done",
    );
    let line = "rootstrata: warning: could not be restored: extended attributes of 2 (/a, …)\n1\n. ./a ./d ./z ./z/last ";
    assert_eq!(said, line.repeat(2));
}

#[test]
fn a_file_that_is_written_in_parts_is_whole_or_not_there() {
    let case = Case::new("head -c 3000000 /dev/urandom > large; echo 1 > small");
    let to = case.bench.path("to");
    let mut kills = 0;
    for call in 1..60 {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64"]);
        command.args(["-e", &format!("inject=pwrite64:signal=KILL:when={call}")]);
        let inner =
            case.bench
                .command(["restore", "s", to.to_str().unwrap(), "-q", "--threads", "1"]);
        let output = command
            .arg(inner.get_program())
            .args(inner.get_args())
            .output()
            .unwrap();
        if output.status.success() {
            break;
        }
        kills += 1;
        let found = std::fs::metadata(to.join("large"));
        assert!(
            found.is_err() || found.unwrap().len() == 3_000_000,
            "cut at call {call}"
        );
        let names = std::fs::read_dir(&to)
            .map(|names| names.map(|name| name.unwrap().file_name()).collect());
        let names: Vec<_> = names.unwrap_or_default(); // it may not be there yet
        assert!(
            names.iter().all(|name| name == "large" || name == "small"),
            "{names:?}"
        );
        sh(&case.bench.path(""), "rm -rf to");
    }
    assert!(kills > 5, "{kills}");
    case.restore(&to, "");
    assert_same(&walked(&to), &case.expected());
}
