//! What counts as a change, where layered snapshots are known to miss one or to see one that is none.

use crate::common::PLAIN;
use crate::common::case::{Case, sh_mounting};
use crate::common::layers::{Layout, layers_of, members};
use crate::common::{Bench, sh};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

#[test]
fn a_write_in_the_second_of_the_snapshot_is_seen_where_times_are_whole_seconds() {
    let bench = Bench::new();
    bench.make("root");
    // Inodes of 128 bytes have no room for nanoseconds. Each write is in the second of the snapshot before it, or else the
    // round does not count.
    let script = "image 8M mkfs.ext4 -q -I 128; mount -o loop image root; echo 0000 > root/f
        counted=0
        for round in $(seq 1000 1200); do
            rootstrata -q snapshot root --series s --profile plain
            before=$(stat -c '%Z %s' root/f); printf '%s\\n' $round > root/f
            rootstrata -q snapshot root --series s --profile plain
            [ \"$before\" = \"$(stat -c '%Z %s' root/f)\" ] || continue
            rootstrata ls s f --json >> listed; echo $round >> rounds
            counted=$((counted + 1)); [ $counted -lt 20 ] || break
        done; umount root; [ $counted = 20 ]";
    sh_mounting(&bench, script);
    let read = |name: &str| std::fs::read_to_string(bench.path(name)).unwrap();
    for (round, listed) in read("rounds").lines().zip(read("listed").lines()) {
        let listed: Value = serde_json::from_str(listed).unwrap();
        let hash = blake3::hash(format!("{round}\n").as_bytes()).to_string();
        assert_eq!(listed["entries"][0]["blake3"], *hash, "{round}");
    }
}

#[test]
fn a_file_with_times_in_the_future_is_read_each_time() {
    let bench = Bench::new();
    bench.make("root");
    // debugfs sets what no system call can: the content changes, and the ctime does not.
    let set = "at() { umount root; for t in ctime mtime; do debugfs -w -R \"set_inode_field f $t @2100000000\" image 2>&1
                 debugfs -w -R \"set_inode_field f ${t}_extra 0\" image 2>&1; done; mount -o loop image root; }";
    let script = format!(
        "{set}
         image 8M mkfs.ext4 -q -I 256; mount -o loop image root; echo one > root/f; at > log; stat -c '%Z %Y' root/f > times
         rootstrata -q snapshot root --series s --profile plain
         echo two > root/f; at >> log; stat -c '%Z %Y' root/f >> times
         rootstrata -q snapshot root --series s --profile plain; umount root"
    );
    sh_mounting(&bench, &script);
    let times = std::fs::read_to_string(bench.path("times")).unwrap();
    assert_eq!(times, "2100000000 2100000000\n".repeat(2));
    let hash = |snapshot: &str| bench.json(["ls", snapshot, "f"])["entries"][0]["blake3"].clone();
    assert_eq!(
        [hash("1"), hash("2")],
        ["one\n", "two\n"].map(|t| blake3::hash(t.as_bytes()).to_string())
    );
}

#[test]
fn files_that_differ_by_inode_alone_are_told_apart() {
    let bench = Bench::new();
    bench.make("root");
    // In whole seconds, two files soon have all times in common; and directories may be swapped above them.
    let script = "image 8M mkfs.ext4 -q -I 128; mount -o loop image root; mkdir root/p root/q
        while :; do
            echo one > root/p/f; echo two > root/q/f; touch -d @5 root/p/f root/q/f root/p root/q
            [ $(stat -c %Z root/p/f) != $(stat -c %Z root/q/f) ] || break
        done
        then=$(stat -c %Z root/p/f); while [ $(date +%s) = $then ]; do :; done
        rootstrata -q snapshot root --series s --profile plain; rootstrata snapshot root --series s --profile plain --json
        mv root/p root/x; mv root/q root/p; mv root/x root/q
        rootstrata -q snapshot root --series s --profile plain; umount root";
    let again: Value = serde_json::from_str(&sh_mounting(&bench, script)).unwrap();
    assert_eq!(again["files_read"], 0);
    for (path, content) in [("p/f", "two\n"), ("q/f", "one\n")] {
        let hash = blake3::hash(content.as_bytes()).to_string();
        assert_eq!(
            bench.json(["ls", "s", path])["entries"][0]["blake3"],
            *hash,
            "{path}"
        );
    }
}

#[test]
fn a_root_on_another_device_number_gives_the_same_delta() {
    let bench = Bench::new();
    bench.make("root");
    let script = "image 16M mkfs.ext4 -q; loop1=$(losetup -f --show image); mount $loop1 root
         for i in $(seq 20); do echo $i > root/f$i; done; stat -c %d root > devices
         rootstrata -q snapshot root --series s --profile plain --stage bootstrap
         umount root; loop2=$(losetup -f --show image); losetup -d $loop1; trap 'losetup -d $loop2' EXIT
         mount $loop2 root; stat -c %d root >> devices
         touch -r root/f7 ref; echo x > root/f7; touch -r ref root/f7; touch -r ref root
         rootstrata snapshot root --series s --profile plain --stage next --json; umount root";
    let snapshot: Value = serde_json::from_str(&sh_mounting(&bench, script)).unwrap();
    let devices = std::fs::read_to_string(bench.path("devices")).unwrap();
    let devices: Vec<&str> = devices.lines().collect();
    assert_ne!(devices[0], devices[1]);
    let manifest = snapshot["manifest_digest"].as_str().unwrap();
    let top = members(layers_of(manifest, &Layout(&bench.store())).last().unwrap());
    let names: Vec<&[u8]> = top.iter().map(|member| member.name.as_slice()).collect();
    assert_eq!(names, [&b"./"[..], b"f7"]);
}

#[test]
fn whatever_call_fails_on_the_root_is_an_error_and_no_deletion() {
    let case = Case::new("mkdir d; echo one > d/f; ln -s f d/l; setfattr -n user.a -v b d d/f");
    case.after("", PLAIN);
    sh(
        &case.root,
        "echo two > d/f; ln -sfn g d/l; mv d/l d/m; mv d/m d/l",
    );
    let log = case.bench.ids();
    for (call, path) in [
        ("openat2", "d"),
        ("openat2", "d/f"),
        ("getdents64", "d"),
        ("statx", "d"),
        ("statx", "d/f"),
        ("open,openat", "d/f"),
        ("pread64", "d/f"),
        ("readlinkat", "d/l"),
        ("flistxattr", "d/f"),
        ("fgetxattr", "d/f"),
        ("listxattr", "d"),
        ("getxattr", "d"),
    ] {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("inject={call}:error=EIO"),
        ]);
        // A path is named as it is, from the root, or by the link that stands for a handle; a name in a directory is asked
        // for by the directory's handle.
        let mut named = vec![case.root.join(path), path.into()];
        named.extend((3..40).flat_map(|handle| {
            [
                format!("/proc/self/fd/{handle}").into(),
                handle.to_string().into(),
            ]
        }));
        named.extend((call == "statx").then(|| case.root.join("d")));
        command.args(named.iter().flat_map(|name| [Path::new("-P"), name]));
        command
            .arg(env!("CARGO_BIN_EXE_rootstrata"))
            .arg("--store")
            .arg(case.bench.store());
        command
            .args(["-q", "snapshot", "--series", "s", "--profile", "plain"])
            .arg(&case.root);
        let output = command.output().unwrap();
        let stderr = crate::common::text(&output.stderr);
        let error = stderr.lines().last().unwrap_or_default(); // before it strace tells what it takes the paths for
        assert_eq!(output.status.code(), Some(2), "{call} {path}: {stderr}");
        assert!(
            error.contains(case.root.join("d").to_str().unwrap()),
            "{call} {path}: {error}"
        );
        assert!(
            error.contains("Input/output error"),
            "{call} {path}: {error}"
        );
        assert_eq!(case.bench.ids(), log, "{call} {path}");
    }
    case.after("", PLAIN);
}
