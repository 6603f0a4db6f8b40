//! What is recorded is taken by every reader, also where it is as large as it may be; what is larger is refused when it is
//! recorded, with its path. A root that lies of its lengths, or has holes of exabytes, holds nobody up.

use crate::common::{Bench, succeeds};
use std::process::Command;

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
        # PriorLayers the limit: data at the beginning, within and at the end.
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
    // Several threads read; any of the files may be the first that is named.
    for root in [
        "/proc/sys/fs/inotify",
        "/sys/kernel/mm/transparent_hugepage",
    ] {
        let error = bench.fails(2, ["snapshot", root, "--series", "s", "--profile", "plain"]);
        let rest = ": it does not hold as many bytes as its length says";
        let file = error
            .strip_prefix(&format!("cannot read {root}/"))
            .and_then(|error| error.strip_suffix(rest));
        assert!(
            file.is_some_and(|file| std::path::Path::new(root).join(file).is_file()),
            "{error}"
        );
    }
    assert!(bench.ids().is_empty());
}
