//! What a layer holds of a change, where layered snapshots are known to go wrong: whiteouts, parents, attributes, encoding.

use crate::common::PLAIN;
use crate::common::case::{Case, sh_mounting};
use crate::common::tree::walked;
use crate::common::{Bench, layer, layers, sh, succeeds};
use std::process::Command;

// ---- Deletion and change of type

#[test]
fn a_whiteout_is_an_empty_file_of_root_with_time_zero() {
    let case = Case::new("mkdir -m 2750 d; echo x > d/f; echo y > d/g; chown 7:8 d");
    case.after("", PLAIN);
    let top = case.top(&case.after("rm d/f; touch -d @5 d .", "--profile plain --stage next"));
    let gone = &top[2];
    assert_eq!(gone.name, b"d/.wh.f");
    assert_eq!(
        (gone.flag, gone.mode, gone.uid, gone.gid, gone.mtime),
        (b'0', 0o644, 0, 0, 0)
    );
    assert!(gone.content.is_empty() && gone.records.is_empty());
}

// ---- Parents

#[test]
fn the_parents_of_a_change_stand_in_its_layer_as_they_are() {
    let case = Case::new(
        "mkdir -p a/b/c/d; chmod 0700 a; chmod 0750 a/b; chmod 2775 a/b/c; chmod 1777 a/b/c/d; chown 12:34 a/b; chown 5 a/b/c
         setfacl -m u:7:rwx,d:u:7:rx a/b/c; setfattr -n user.note -v kept a; touch -d @5 a/b/c/d a/b/c a/b a .",
    );
    case.after("", PLAIN);
    let snapshot = case.after(
        "echo x > a/b/c/d/f; touch -d @5 a/b/c/d",
        "--profile plain --stage next",
    );
    let tree = walked(&case.root);
    let top = case.top(&snapshot);
    assert_eq!(top.len(), 6);
    for member in &top {
        let name = member.name.strip_suffix(b"/").unwrap_or(&member.name);
        let path: Vec<u8> = name
            .iter()
            .map(|b| if *b == b'/' { 0 } else { *b })
            .collect();
        let node = &tree[if name == b"." { &[][..] } else { &path }];
        assert_eq!(
            (member.mode, member.uid, member.gid, member.mtime),
            (node.mode, node.uid, node.gid, node.mtime)
        );
        let xattrs = node
            .xattrs
            .iter()
            .map(|(k, v)| ([b"SCHILY.xattr.", k.as_slice()].concat(), v.clone()));
        assert!(
            xattrs.eq(member.records.iter().cloned()),
            "{}",
            member.name.escape_ascii()
        );
    }
    assert!(top.iter().any(|member| {
        member
            .records
            .iter()
            .any(|(key, _)| key.ends_with(b"posix_acl_default"))
    }));
}

// ---- Extended attributes and mounts

#[test]
fn file_capabilities_of_both_versions_are_kept_by_owner_and_engine() {
    let case = Case::new(
        "echo x > v2; echo y > v3; chown 3:4 v2 v3; setcap cap_net_raw=ep v2; setcap -n 1000 cap_chown=ep v3; chmod u+s v2",
    );
    let snapshot = case.after("", "--profile plain --compression gzip");
    let length = |name: &str| {
        let member = case
            .top(&snapshot)
            .into_iter()
            .find(|m| m.name == name.as_bytes())
            .unwrap();
        member
            .records
            .iter()
            .find(|(key, _)| key == b"SCHILY.xattr.security.capability")
            .unwrap()
            .1
            .len()
    };
    assert_eq!([length("v2"), length("v3")], [20, 24]);
    crate::common::assert_same_tree(
        &case.bench.unpacked("s"),
        &crate::common::listed(&case.root),
    );
}

#[test]
fn labels_of_the_machine_are_left_out_and_a_change_in_them_is_no_delta() {
    let case = Case::new("echo x > f; touch -d @5 f .");
    let label = |value: &str| {
        for name in [
            "security.selinux",
            "security.ima",
            "trusted.overlay.origin",
            "trusted.a",
            "user.overlay.opaque",
        ] {
            sh(
                &case.root,
                &format!("setfattr -n {name} -v {value} f; setfattr -n {name} -v {value} ."),
            );
        }
    };
    label("one");
    let first = case.after("", PLAIN);
    assert!(
        case.top(&first)
            .iter()
            .all(|member| member.records.is_empty())
    );
    label("two");
    assert_eq!(
        layers(&case.after("", "--profile plain --stage next")),
        ["base reused"]
    );
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
        assert!(
            member
                .records
                .contains(&(b"SCHILY.xattr.user.empty".to_vec(), Vec::new()))
        );
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
    let paths: Vec<&str> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["/", "/elsewhere", "/file", "/proc", "/pts", "/shm", "/sys"]
    );
}

// ---- Encoding and size

#[test]
fn what_is_too_long_for_a_header_is_a_pax_record_and_no_gnu_one() {
    // The reader takes no types but those of ustar and `x`. 4,000 bytes is near what the kernel takes in one call.
    let case = Case::new("");
    for length in [
        99,
        100,
        101,
        155,
        156,
        256,
        257,
        4_000 - case.root.as_os_str().len(),
    ] {
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
        succeeds(
            Command::new("python3")
                .args(["-c", script, &length.to_string()])
                .current_dir(&case.root),
        );
    }
    let snapshot = case.after(
        "touch -- '-dash' 'trail ' $'new\\nline' 'back\\slash' $'\\xff\\xfe' ' '",
        PLAIN,
    );
    let keys: std::collections::BTreeSet<Vec<u8>> = case
        .top(&snapshot)
        .iter()
        .flat_map(|m| m.records.iter().map(|(key, _)| key.clone()))
        .collect();
    let expected: [&[u8]; 3] = [b"SCHILY.xattr.user.note", b"linkpath", b"path"];
    assert!(keys.iter().eq(expected), "{keys:?}");
}
