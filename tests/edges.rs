//! Cases in which layered snapshots are known to go wrong. Each tree is put together again by a reader of its own, which
//! takes nothing but what docs/format.md says, and compared with the root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use common::layers::{Layout, Member, layers_of, members, tree_of};
use common::tree::{differences, walked};
use common::{Bench, layer, layers, settle, sh, succeeds};
use rootstrata::error::Error;
use rootstrata::layer::codec::Compression;
use rootstrata::layer::pack::{Contents, Unread, pack};
use rootstrata::model::digest::ContentHash;
use rootstrata::model::entry::{Entry, Kind, Xattrs};
use rootstrata::model::layer::LayerContent;
use rootstrata::model::path::EntryPath;
use rootstrata::model::tree::Tree;
use serde_json::Value;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLAIN: &str = "--profile plain";

/// A root and the store that it is recorded in.
struct Case {
    bench: Bench,
    root: PathBuf,
}

impl Case {
    /// A root that `script` has made.
    fn new(script: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, script);
        Self { bench, root }
    }

    /// Records what the root is after `script`, and wants the layers to give it.
    fn after(&self, script: &str, options: &str) -> Value {
        sh(&self.root, script);
        settle(&self.root);
        let snapshot = self.bench.snapshot(&self.root, options);
        let manifest = snapshot["manifest_digest"].as_str().unwrap();
        let wrong = differences(&tree_of(manifest, &Layout(&self.bench.store())), &walked(&self.root));
        assert!(wrong.is_empty(), "{script}\n{}", wrong.join("\n"));
        snapshot
    }

    /// The members of the topmost layer.
    fn top(&self, snapshot: &Value) -> Vec<Member> {
        let manifest = snapshot["manifest_digest"].as_str().unwrap();
        members(layers_of(manifest, &Layout(&self.bench.store())).last().unwrap())
    }

    /// Their names.
    fn names(&self, snapshot: &Value) -> Vec<String> {
        self.top(snapshot).iter().map(|member| String::from_utf8_lossy(&member.name).into_owned()).collect()
    }
}

/// Runs a script in a mount namespace of its own, as `common::sh` does, with `rootstrata` on the store and `image SIZE
/// MKFS...`, which makes a filesystem in the file `image`. What it mounts is gone when it ends.
fn sh_mounting(bench: &Bench, script: &str) -> String {
    let script = format!(
        "rootstrata() {{ '{}' --store '{}' \"$@\"; }}
         image() {{ truncate -s \"$1\" image; shift; \"$@\" image > /dev/null; }}
         PATH=$PATH:/usr/sbin:/sbin
         {script}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display()
    );
    succeeds(Command::new("unshare").args(["-m", "bash", "-euc", &script]).current_dir(bench.path("")))
}

// ---- Detecting change

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
fn the_newest_file_is_read_no_more_once_the_clock_has_passed_it() {
    let case = Case::new("echo x > f; truncate -s 200M huge; printf end >> huge");
    let read = |_| case.bench.snapshot(&case.root, PLAIN)["bytes_read"].as_u64().unwrap();
    assert!(read(()) > 200 << 20);
    settle(&case.root);
    read(());
    assert_eq!([read(()), read(())], [0, 0]);
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
    assert_eq!([hash("1"), hash("2")], ["one\n", "two\n"].map(|t| blake3::hash(t.as_bytes()).to_string()));
}

#[test]
fn an_inode_that_another_path_has_now_vouches_for_nothing() {
    let case = Case::new("echo aaa > a; echo bbb > b; echo ccc > c; touch -d @5 a b c");
    case.after("", PLAIN);
    // Same sizes and times all round; the number of a removed inode is soon given again.
    let change = "mv a x; mv b a; mv x b; rm c; echo ddd > d; touch -d @5 d .";
    let snapshot = case.after(change, "--stage next --profile plain");
    assert_eq!(case.names(&snapshot), ["./", "a", "b", ".wh.c", "d"]);
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
        assert_eq!(bench.json(["ls", "s", path])["entries"][0]["blake3"], *hash, "{path}");
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
    sh(&case.root, "echo two > d/f; ln -sfn g d/l; mv d/l d/m; mv d/m d/l");
    let log = case.bench.ids();
    for (call, path) in [
        ("openat2", "d"),
        ("openat2", "d/f"),
        ("getdents64", "d"),
        ("statx", "d"),
        ("statx", "d/f"),
        ("open,openat", "d/f"),
        ("read", "d/f"),
        ("readlinkat", "d/l"),
        ("flistxattr", "d/f"),
        ("fgetxattr", "d/f"),
        ("listxattr", "d"),
        ("getxattr", "d"),
    ] {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:error=EIO")]);
        // A path is named as it is, from the root, or by the link that stands for a handle; a name in a directory is asked
        // for by the directory's handle.
        let mut named = vec![case.root.join(path), path.into()];
        named.extend(
            (3..40).flat_map(|handle| [format!("/proc/self/fd/{handle}").into(), handle.to_string().into()]),
        );
        named.extend((call == "statx").then(|| case.root.join("d")));
        command.args(named.iter().flat_map(|name| [Path::new("-P"), name]));
        command.arg(env!("CARGO_BIN_EXE_rootstrata")).arg("--store").arg(case.bench.store());
        command.args(["-q", "snapshot", "--series", "s", "--profile", "plain"]).arg(&case.root);
        let output = command.output().unwrap();
        let stderr = common::text(&output.stderr);
        let error = stderr.lines().last().unwrap_or_default(); // before it strace tells what it takes the paths for
        assert_eq!(output.status.code(), Some(2), "{call} {path}: {stderr}");
        assert!(error.contains(case.root.join("d").to_str().unwrap()), "{call} {path}: {error}");
        assert!(error.contains("Input/output error"), "{call} {path}: {error}");
        assert_eq!(case.bench.ids(), log, "{call} {path}");
    }
    case.after("", PLAIN);
}

/// A file that is another when it is packed than when it was hashed.
struct Elusive(&'static [u8]);

impl Contents for Elusive {
    fn open(&self, path: &EntryPath) -> rootstrata::error::Result<Box<dyn Read + '_>> {
        if self.0.is_empty() { Err(Error::Changed(self.full_path(path))) } else { Ok(Box::new(self.0)) }
    }

    fn open_unread(&self, path: &EntryPath) -> rootstrata::error::Result<Box<dyn Unread + '_>> {
        Err(Error::Changed(self.full_path(path)))
    }

    fn full_path(&self, _: &EntryPath) -> PathBuf {
        PathBuf::from("/chroot/file")
    }

    fn was_read(&self, _: u64) {}
}

#[test]
fn a_file_that_changes_before_it_is_packed_is_never_padded_cut_or_mixed() {
    let hashed = b"the content as it was hashed";
    let file = Entry {
        path: EntryPath::from_slashed(b"file").unwrap(),
        kind: Kind::File {
            size_bytes: hashed.len() as u64,
            content: ContentHash(*blake3::hash(hashed).as_bytes()),
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        xattrs: Xattrs::default(),
        group: None,
    };
    let tree = Tree::new(vec![file]);
    let packed = |now: &'static [u8]| {
        let mut out = Vec::new();
        let content = LayerContent::whole(&tree);
        let done =
            pack(&content, &Elusive(now), Compression::None, NonZeroUsize::MIN, &mut out, Path::new("out"));
        done.map(|_| members(&out)[0].content.clone())
    };
    // What was hashed is what is packed, also of a file that has grown since.
    assert_eq!(packed(hashed).unwrap(), hashed);
    assert_eq!(packed(b"the content as it was hashed, and more").unwrap(), hashed);
    for now in [&b"the content as it was"[..], b"", b"the content as it was HASHED"] {
        let error = packed(now).unwrap_err().to_string();
        assert_eq!(error, "/chroot/file changed while it was read");
    }
}

#[test]
fn under_mock_a_directory_whose_time_alone_changed_is_no_layer() {
    let case = Case::new("mkdir -p d/e; echo x > d/e/f");
    case.bench.snapshot(&case.root, "--profile mock --stage bootstrap");
    sh(&case.root, "touch -d @77 d . d/e");
    assert_eq!(layers(&case.bench.snapshot(&case.root, "--profile mock --stage next")), ["base reused"]);
}

// ---- Deletion and change of type

#[test]
fn a_whiteout_is_an_empty_file_of_root_with_time_zero() {
    let case = Case::new("mkdir -m 2750 d; echo x > d/f; echo y > d/g; chown 7:8 d");
    case.after("", PLAIN);
    let top = case.top(&case.after("rm d/f; touch -d @5 d .", "--profile plain --stage next"));
    let gone = &top[2];
    assert_eq!(gone.name, b"d/.wh.f");
    assert_eq!((gone.flag, gone.mode, gone.uid, gone.gid, gone.mtime), (b'0', 0o644, 0, 0, 0));
    assert!(gone.content.is_empty() && gone.records.is_empty());
}

#[test]
fn a_directory_removed_in_one_stage_and_made_anew_in_the_next_has_no_old_children() {
    let case = Case::new("mkdir -p d/e; echo x > d/f; echo y > d/e/g; touch -d @5 .");
    case.after("", "--profile plain --run r --stage one");
    let two = case.after("rm -r d; touch -d @5 .", "--profile plain --run r --stage two");
    assert_eq!(case.names(&two), ["./", ".wh.d"]);
    let three = case.after("mkdir d; echo n > d/n; touch -d @5 .", "--profile plain --run r --stage three");
    assert_eq!(layers(&three), ["base reused", "delta reused", "delta new"]);
    assert_eq!(case.names(&three), ["./", "d/", "d/n"]);
}

#[test]
fn nothing_goes_beneath_or_through_a_link_that_replaces_a_directory() {
    let case = Case::new(
        "mkdir -p usr/bin usr/sbin lib; echo a > usr/bin/a; echo b > usr/sbin/b; echo c > lib/c; ln -s lib l",
    );
    case.after("", "--profile plain --run r --stage one");
    let merged = case.after(
        "mv usr/sbin/b usr/bin/b; rmdir usr/sbin; ln -s bin usr/sbin",
        "--profile plain --run r --stage two",
    );
    assert_eq!(case.names(&merged), ["./", "usr/", "usr/bin/", "usr/bin/b", "usr/sbin"]);
    let apart = case.after(
        "rm usr/sbin; mkdir usr/sbin; mv usr/bin/b usr/sbin; rm l; mkdir l; echo n > l/c",
        "--profile plain --run r --stage three",
    );
    assert_eq!(
        case.names(&apart),
        ["./", "l/", "l/c", "usr/", "usr/bin/", "usr/bin/.wh.b", "usr/sbin/", "usr/sbin/b"]
    );
}

#[test]
fn what_the_layers_below_never_had_gets_no_whiteout() {
    let case = Case::new("mkdir d; echo x > d/kept; touch -d @5 d .");
    case.after("", "--profile plain --run r --stage one");
    case.after("echo y > d/brief; mkdir e; touch -d @5 d .", "--profile plain --run r --stage two");
    let over_one = case.after(
        "rm -r d/brief e; echo z > d/new; touch -d @5 d .",
        "--profile plain --stage three --parent 1",
    );
    assert_eq!(case.names(&over_one), ["./", "d/", "d/new"]);
    assert_eq!(layer(&over_one, "delta")["whiteouts"], 0);
}

#[test]
fn files_that_two_packages_own_are_members_once() {
    let case = Case::new(
        "mkdir -p usr/bin usr/lib/sysimage/rpm; echo x > usr/bin/one; ln usr/bin/one usr/bin/two; ln -s usr/bin bin; touch -d @700 usr/bin/one",
    );
    let database = case.root.join("usr/lib/sysimage/rpm/rpmdb.sqlite");
    let database = rusqlite::Connection::open(database).unwrap();
    database.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)").unwrap();
    // The second package spells the directory through a link.
    for (name, directory) in [("first", "/usr/bin/"), ("second", "/bin/")] {
        let header = rpm_header(name, directory, &["one", "two"], 700);
        database.execute("INSERT INTO Packages (blob) VALUES (?)", [header]).unwrap();
    }
    drop(database);
    let snapshot = case.bench.snapshot(&case.root, "--profile mock");
    assert_eq!(snapshot["packages"], 2);
    let base = layers_of(snapshot["manifest_digest"].as_str().unwrap(), &Layout(&case.bench.store()));
    let members = members(&base[0]);
    let of = |flag: u8| {
        members.iter().filter(|m| m.flag == flag).map(|m| (m.name.as_slice(), m.mtime)).collect::<Vec<_>>()
    };
    assert_eq!(of(b'0'), [(&b"usr/bin/one"[..], 700)]);
    assert_eq!(of(b'1'), [(&b"usr/bin/two"[..], 700)]);
}

/// A package's header as rpm keeps it, with files of one time.
fn rpm_header(name: &str, directory: &str, files: &[&str], mtime: u32) -> Vec<u8> {
    let strings = |all: &[&str]| all.iter().flat_map(|s| [s.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
    let count = files.len() as u32;
    let fields = [
        (1000, 6, 1, strings(&[name])),
        (1001, 6, 1, strings(&["1"])),
        (1002, 6, 1, strings(&["1"])),
        (1116, 4, count, vec![0; 4 * files.len()]),
        (1117, 8, count, strings(files)),
        (1118, 8, 1, strings(&[directory])),
        (1034, 4, count, mtime.to_be_bytes().repeat(files.len())),
    ];
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, kind, count, bytes) in fields {
        data.resize(usize::next_multiple_of(data.len(), 4), 0);
        index.extend(
            [tag, kind, data.len() as u32, count].iter().flat_map(|number: &u32| number.to_be_bytes()),
        );
        data.extend(bytes);
    }
    [&(index.len() as u32 / 16).to_be_bytes()[..], &(data.len() as u32).to_be_bytes(), &index, &data].concat()
}

// ---- Parents

#[test]
fn the_parents_of_a_change_stand_in_its_layer_as_they_are() {
    let case = Case::new(
        "mkdir -p a/b/c/d; chmod 0700 a; chmod 0750 a/b; chmod 2775 a/b/c; chmod 1777 a/b/c/d; chown 12:34 a/b; chown 5 a/b/c
         setfacl -m u:7:rwx,d:u:7:rx a/b/c; setfattr -n user.note -v kept a; touch -d @5 a/b/c/d a/b/c a/b a .",
    );
    case.after("", PLAIN);
    let snapshot = case.after("echo x > a/b/c/d/f; touch -d @5 a/b/c/d", "--profile plain --stage next");
    let tree = walked(&case.root);
    let top = case.top(&snapshot);
    assert_eq!(top.len(), 6);
    for member in &top {
        let name = member.name.strip_suffix(b"/").unwrap_or(&member.name);
        let path: Vec<u8> = name.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect();
        let node = &tree[if name == b"." { &[][..] } else { &path }];
        assert_eq!(
            (member.mode, member.uid, member.gid, member.mtime),
            (node.mode, node.uid, node.gid, node.mtime)
        );
        let xattrs = node.xattrs.iter().map(|(k, v)| ([b"SCHILY.xattr.", k.as_slice()].concat(), v.clone()));
        assert!(xattrs.eq(member.records.iter().cloned()), "{}", member.name.escape_ascii());
    }
    assert!(
        top.iter().any(|member| member.records.iter().any(|(key, _)| key.ends_with(b"posix_acl_default")))
    );
}

// ---- Extended attributes and mounts

#[test]
fn file_capabilities_of_both_versions_are_kept_by_owner_and_engine() {
    let case = Case::new(
        "echo x > v2; echo y > v3; chown 3:4 v2 v3; setcap cap_net_raw=ep v2; setcap -n 1000 cap_chown=ep v3; chmod u+s v2",
    );
    let snapshot = case.after("", "--profile plain --compression gzip");
    let length = |name: &str| {
        let member = case.top(&snapshot).into_iter().find(|m| m.name == name.as_bytes()).unwrap();
        member.records.iter().find(|(key, _)| key == b"SCHILY.xattr.security.capability").unwrap().1.len()
    };
    assert_eq!([length("v2"), length("v3")], [20, 24]);
    common::assert_same_tree(&case.bench.unpacked("s"), &common::listed(&case.root));
}

#[test]
fn labels_of_the_machine_are_left_out_and_a_change_in_them_is_no_delta() {
    let case = Case::new("echo x > f; touch -d @5 f .");
    let label = |value: &str| {
        for name in
            ["security.selinux", "security.ima", "trusted.overlay.origin", "trusted.a", "user.overlay.opaque"]
        {
            sh(&case.root, &format!("setfattr -n {name} -v {value} f; setfattr -n {name} -v {value} ."));
        }
    };
    label("one");
    let first = case.after("", PLAIN);
    assert!(case.top(&first).iter().all(|member| member.records.is_empty()));
    label("two");
    assert_eq!(layers(&case.after("", "--profile plain --stage next")), ["base reused"]);
}

#[test]
fn attributes_have_one_order_and_an_empty_value_is_a_record() {
    let names = ["user.b", "user.a", "user.c.long.name", "user.z", "user.B"];
    let recorded = |names: Vec<&str>| {
        let case = Case::new("echo x > f; touch -d @5 f .");
        for name in names {
            sh(&case.root, &format!("setfattr -n {name} -v 0x0a00ff3d f"));
        }
        let snapshot = case.after("setfattr -n user.empty f", PLAIN);
        let member = case.top(&snapshot).pop().unwrap();
        assert!(member.records.contains(&(b"SCHILY.xattr.user.empty".to_vec(), Vec::new())));
        layer(&snapshot, "base")["diff_id"].clone()
    };
    let forwards = recorded(names.to_vec());
    assert_eq!(forwards, recorded(names.into_iter().rev().collect()));
}

#[test]
fn filesystems_of_the_kernel_in_the_root_are_empty_mount_points() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir proc sys pts shm elsewhere; echo x > elsewhere/x; echo hidden > proc/hidden; touch file",
    );
    let script = "cd root; mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t devpts devpts pts; mount -t tmpfs tmpfs shm
         mount --bind elsewhere elsewhere; mount --bind proc/version file; cd ..
         rootstrata -q snapshot root --series s --profile plain";
    sh_mounting(&bench, script);
    let listed = bench.json(["ls", "s"]);
    let paths: Vec<&str> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/", "/elsewhere", "/file", "/proc", "/pts", "/shm", "/sys"]);
}

// ---- Encoding and size

#[test]
fn what_is_too_long_for_a_header_is_a_pax_record_and_no_gnu_one() {
    // The reader takes no types but those of ustar and `x`. 4,000 bytes is near what the kernel takes in one call.
    let case = Case::new("");
    for length in [99, 100, 101, 155, 156, 256, 257, 4_000 - case.root.as_os_str().len()] {
        let script = "import os, sys
length, path = int(sys.argv[1]), ''
while len(path) < length:
    path += ('n' * min(200, length - len(path)) + '/')
path = path[:length].rstrip('/')
path += 'n' * (length - len(path))
os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
open(path, 'w').write(path)
os.setxattr(path, 'user.note', b'x')
os.link(path, 'hard%d' % length)
os.symlink(path, 'soft%d' % length)";
        succeeds(Command::new("python3").args(["-c", script, &length.to_string()]).current_dir(&case.root));
    }
    let snapshot =
        case.after("touch -- '-dash' 'trail ' $'new\\nline' 'back\\slash' $'\\xff\\xfe' ' '", PLAIN);
    let keys: std::collections::BTreeSet<Vec<u8>> =
        case.top(&snapshot).iter().flat_map(|m| m.records.iter().map(|(key, _)| key.clone())).collect();
    let expected: [&[u8]; 3] = [b"SCHILY.xattr.user.note", b"linkpath", b"path"];
    assert!(keys.iter().eq(expected), "{keys:?}");
}

#[test]
fn times_are_cut_to_the_second_also_before_1970() {
    let case = Case::new(
        "touch -d @0 zero; touch -d @-1 minus; touch -d @0.999999999 almost; touch -d @-0.5 half; touch -d @8589934592 late
         touch -d @-2000000000.25 early",
    );
    let snapshot = case.after("", PLAIN);
    let times: std::collections::BTreeMap<Vec<u8>, i64> =
        case.top(&snapshot).into_iter().map(|member| (member.name, member.mtime)).collect();
    for (name, time) in [
        ("zero", 0),
        ("minus", -1),
        ("almost", 0),
        ("half", -1),
        ("late", 1 << 33),
        ("early", -2_000_000_001),
    ] {
        assert_eq!(times[name.as_bytes()], time, "{name}");
    }
}

// ---- Determinism and operation

#[test]
fn a_gzip_layer_tells_no_name_and_no_time() {
    let case = Case::new("echo x > f");
    let snapshot = case.after("", "--profile plain --compression gzip");
    let digest = layer(&snapshot, "base")["digest"].as_str().unwrap().replace("sha256:", "");
    let blob = std::fs::read(case.bench.store().join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(blob[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn another_epoch_leaves_what_is_recorded_and_takes_none_of_it() {
    let case = Case::new("echo old > old; echo new > new; touch -d @100 old; touch -d @900 new .");
    let export = |snapshot: &str, name: &str| {
        let path = case.bench.path(name);
        case.bench.json(["export", snapshot, "-o", path.to_str().unwrap()]);
        std::fs::read(path).unwrap()
    };
    case.bench.snapshot(&case.root, "--profile plain --epoch 500");
    let before = export("1", "before");
    let other = case.bench.snapshot(&case.root, "--profile plain --epoch 700");
    assert_eq!(layers(&other), ["base new"]);
    let times: Vec<i64> = case.top(&other).iter().map(|member| member.mtime).collect();
    assert_eq!(times, [700, 700, 100]);
    assert!(export("1", "after") == before);
}

#[test]
fn a_blob_that_is_there_is_never_written_again() {
    let case = Case::new("echo x > f; echo v > v; touch -d @5 f v .");
    let options = "--profile plain --volatile /v";
    case.bench.snapshot(&case.root, options);
    let files = || -> std::collections::BTreeMap<PathBuf, (u64, i64, i64)> {
        let blobs = std::fs::read_dir(case.bench.store().join("blobs/sha256")).unwrap();
        let of = |entry: std::fs::DirEntry| (entry.path(), entry.metadata().unwrap());
        blobs
            .map(|entry| of(entry.unwrap()))
            .map(|(path, m)| (path, (m.ino(), m.ctime(), m.ctime_nsec())))
            .collect()
    };
    let before = files();
    let copy = case.bench.make("copy");
    sh(&case.root, &format!("cp -a . {}", copy.display()));
    for root in [&case.root, &copy] {
        case.bench.snapshot(root, options);
        assert_eq!(files(), before);
    }
    // Under another policy the layers have other keys, and are packed again; their bytes are there.
    let other = case.bench.snapshot(&case.root, &format!("{options} --exclude nothing-has-this-name"));
    assert_eq!(layers(&other), ["base new", "state new"]);
    let now = files();
    assert!(before.iter().all(|(path, inode)| now.get(path) == Some(inode)));
}

#[test]
fn a_run_of_many_stages_never_has_more_layers_than_engines_take() {
    let case = Case::new("echo x > f");
    let mut most = 0;
    for stage in 0..=102 {
        sh(&case.root, &format!("echo {stage} > f{stage}; rm -f f{}; echo {stage} > v", stage - 2));
        let options = format!("--profile plain --run r --stage s{stage} --volatile /v --compression none");
        // The last one that fits, and those after it.
        let snapshot =
            if stage < 98 { case.bench.snapshot(&case.root, &options) } else { case.after("", &options) };
        let layers = snapshot["layers"].as_array().unwrap().len();
        most = most.max(layers);
        assert!(layers <= 100, "{stage}: {layers}");
    }
    assert_eq!(most, 100);
}
