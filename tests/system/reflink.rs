//! Exports on filesystems of their own: blocks that can be shared are, where space runs out nothing is left behind, and what was
//! exported survives a power cut.
//!
//! They are mounted in a mount namespace, and go with the last process in there.

use crate::common::{Bench, text};
use std::process::{Command, Output};

/// Runs a script with errexit, where `rootstrata STORE ...` is the command.
fn in_namespace(bench: &Bench, script: &str) -> Output {
    let function = format!(
        "rootstrata() {{ '{}' -q --store \"$@\"; }}",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "bash", "-euc", &format!("{function}\n{script}")])
        .current_dir(bench.path(""));
    command.env_remove("SOURCE_DATE_EPOCH").output().unwrap()
}

/// Two layers that no compression makes smaller and that end within a block, recorded and exported in the image of a
/// filesystem and elsewhere. Prints the bytes in use there before and after each export, then those that each export
/// shares with other files.
const EXPORT: &str = r#"
mkdir root elsewhere mounted
truncate -s 600M image
$make image > made
mount -o loop image mounted

record() {
    for place in elsewhere mounted; do
        rootstrata $place/store snapshot root --series s --run r --profile plain --stage $1
    done
}
head -c 20000001 /dev/urandom > root/a
record first
head -c 10000003 /dev/urandom > root/b
record second

used() { sync -f mounted; df -B1 --output=used mounted | tail -n 1; }
shared() { filefrag -b4096 -v "$@" | awk -F: '/shared/ { blocks += $4 } END { print blocks * 4096 }'; }
used
rootstrata mounted/store export s --all-stages -o mounted/out.tar
used
rootstrata mounted/store export s --all-stages -o mounted/layout --format oci-dir
used
shared mounted/out.tar
shared mounted/layout/blobs/sha256/*

{
    rootstrata elsewhere/store export s --all-stages -o elsewhere/out.tar
    rootstrata mounted/store export s --all-stages -o across.tar
    for other in elsewhere/out.tar across.tar; do
        [ "$(sha256sum < $other)" = "$(sha256sum < mounted/out.tar)" ]
    done
    tar -tf mounted/out.tar
    mkdir unpacked
    tar -xf mounted/out.tar -C unpacked
    for place in unpacked mounted/layout; do
        for blob in $place/blobs/sha256/*; do echo "${blob##*/}  $blob"; done | sha256sum -c
        skopeo inspect oci:$place:s:first
    done
    skopeo inspect oci-archive:mounted/out.tar:s:first
    skopeo inspect oci-archive:mounted/out.tar:s:second
    umount mounted
} >&2
"#;

fn assert_shares(make: &str) {
    const CONTENT_BYTES: u64 = 20_000_001 + 10_000_003;
    const FEW_BYTES: u64 = 1_000_000; // headers, small blobs, ends of blobs, metadata
    let bench = Bench::new();
    let output = in_namespace(&bench, &format!("make='{make}'\n{EXPORT}"));
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let numbers: Vec<u64> = stdout
        .lines()
        .map(|line| line.trim().parse().unwrap())
        .collect();
    let [
        before,
        with_archive,
        with_layout,
        shared_of_archive,
        shared_of_layout,
    ] = numbers[..]
    else {
        panic!("{stdout}{stderr}");
    };
    for (form, grown, shared) in [
        (
            "archive",
            with_archive.saturating_sub(before),
            shared_of_archive,
        ),
        (
            "layout",
            with_layout.saturating_sub(with_archive),
            shared_of_layout,
        ),
    ] {
        assert!(
            grown < FEW_BYTES,
            "{make}: the {form} takes {grown} bytes of its own"
        );
        assert!(
            shared > CONTENT_BYTES - FEW_BYTES,
            "{make}: the {form} shares {shared} bytes"
        );
    }
}

#[test]
fn on_btrfs_an_export_shares_its_blocks_with_the_store() {
    assert_shares("mkfs.btrfs -q");
}

#[test]
fn on_xfs_an_export_shares_its_blocks_with_the_store() {
    assert_shares("mkfs.xfs -q -m reflink=1");
}

#[test]
fn an_export_without_space_is_an_error_and_leaves_the_target_as_it_was() {
    let bench = Bench::new();
    let script = r#"
        mkdir root small
        mount -t tmpfs -o size=32m none small
        record() { rootstrata small/store snapshot root --series s --profile plain; }
        fails() { code=0; "$@" || code=$?; [ $code = 2 ]; }
        targets() {
            stat -c '%n %i %s %y' small/out.tar small/layout/index.json
            ls -AR --ignore=store small | grep -v '^[0-9a-f]\{64\}$' # blobs are added before the index names them
        }
        head -c 1000000 /dev/urandom > root/a
        record
        rootstrata small/store export s -o small/out.tar
        rootstrata small/store export s -o small/layout --format oci-dir
        before=$(targets)
        head -c 20000000 /dev/urandom > root/b
        record
        fails rootstrata small/store export s -o small/out.tar
        fails rootstrata small/store export s -o small/layout --format oci-dir
        fails rootstrata small/store export s -o small/other --format oci-dir
        [ "$(targets)" = "$before" ]"#;
    let output = in_namespace(&bench, script);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    for (line, target) in lines
        .iter()
        .zip(["small/out.tar", "small/layout", "small/.rootstrata"])
    {
        assert!(
            line.starts_with("rootstrata: error: ") && line.contains("No space"),
            "{line}"
        );
        assert!(line.contains(target), "{line}");
    }
}

/// Exports of two images after each other, to an archive, two layouts and a page; then the filesystem is shut down as by a power cut, with nothing
/// of it written that was not synced.
const CUT: &str = r#"
mkdir root mounted good
truncate -s 400M image
$make image > made
mount -o loop image mounted
head -c 3000000 /dev/urandom > root/a
rootstrata store snapshot root --series s --run r --profile plain --stage first
rootstrata store export s -o mounted/out.tar
rootstrata store export s -o mounted/layout --format oci-dir
sync
head -c 2000000 /dev/urandom > root/b
rootstrata store snapshot root --series s --run r --profile plain --stage second
mkdir mounted/empty
rootstrata store export s -o mounted/out.tar
rootstrata store export s -o mounted/new.tar
rootstrata store export s -o - > mounted/streamed.tar
for layout in layout empty other; do rootstrata store export s -o mounted/$layout --format oci-dir; done
rootstrata store diff s@first s --html mounted/page.html > differs || [ $? = 1 ]
cp -r mounted/* good
xfs_io -x -c 'shutdown' mounted
umount mounted
mount -o loop image mounted
diff -r -x lost+found good mounted
for layout in layout empty other; do rootstrata store export s -o mounted/$layout --format oci-dir; done
rootstrata store export s -o mounted/out.tar
diff -r -x lost+found good mounted
umount mounted
"#;

fn assert_survives_cut(make: &str) {
    let bench = Bench::new();
    let output = in_namespace(&bench, &format!("make='{make}'\n{CUT}"));
    assert!(
        output.status.success(),
        "{make}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn on_ext4_what_was_exported_is_there_after_a_power_cut() {
    assert_survives_cut("mkfs.ext4 -q");
}

#[test]
fn on_xfs_what_was_exported_is_there_after_a_power_cut() {
    assert_survives_cut("mkfs.xfs -q");
}

/// An export of a version that did not sync what it wrote, cut off; the next one makes all of it good.
#[test]
fn what_was_not_synced_before_a_power_cut_is_made_good_by_the_next_export() {
    let script = r#"
mkdir root mounted
truncate -s 400M image
mkfs.xfs -q image
mount -o loop image mounted
head -c 3000000 /dev/urandom > root/a
rootstrata store snapshot root --series s --profile plain
rootstrata store export s -o good.tar
rootstrata store export s -o good --format oci-dir
mkdir mounted/layout mounted/begun
sync
cp good.tar mounted/out.tar
cp -r good/* mounted/layout
cp -r good/blobs mounted/begun
# The names come to the disk, the content does not.
xfs_io -x -c 'shutdown -f' mounted
umount mounted
mount -o loop image mounted
! cmp good.tar mounted/out.tar 2> said
! diff -r good mounted/layout > said
rootstrata store export s -o mounted/out.tar 2> said
for layout in layout begun; do rootstrata store export s -o mounted/$layout --format oci-dir 2>> said; done
cmp good.tar mounted/out.tar
for layout in layout begun; do diff -r good mounted/$layout; done
umount mounted
"#;
    let bench = Bench::new();
    let output = in_namespace(&bench, script);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
