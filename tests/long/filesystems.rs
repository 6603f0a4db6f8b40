//! The same tree on every filesystem, with any number of threads, as root and in a user namespace: the same bytes.

use crate::common::layers::{Layout, tree_of};
use crate::common::tree::{differences, walked};
use crate::common::{Bench, REPOSITORY, succeeds};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A tree with all that a layer can hold. Names are made in an order that tells nothing, so that each filesystem lists them in
/// another; attributes too.
const TREE: &str = r#"
    for n in $(seq 300 | sort -R --random-source=/bin/sh); do echo $n > f$n; done
    chmod 755 .; mkdir -p d/e/f odd; chmod 2775 d; chmod 1777 d/e; chown 12:34 d/e/f; chmod 4711 f7; chmod 0 f8
    for name in $'new\nline' 'back\slash' '-dash' 'trail ' $'\xff\xfe' 'größe'; do echo "$name" > "odd/$name"; done
    long=$(printf 'n%.0s' $(seq 200)); mkdir odd/$long; echo long > odd/$long/$long
    ln f1 d/linked; ln f1 odd/linked; ln -s ../f2 d/link; ln d/link d/linked-link; mkfifo p; ln p q
    for name in user.z user.a user.m.long.name user.B user.c; do setfattr -n $name -v 0x0a00ff$(printf %02x ${#name}) f3 d; done
    setfacl -m u:7:rx,d:g:8:rwx d; setfacl -m u:9:r f4
    truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
    head -c 2000000 /dev/zero | tr '\0' t > text; : > empty
    chown 2097152:3000000000 f5; chown -h 1:2 d/link
    find . -depth -exec touch -h -d @1000000000.7 {} +; touch -d @-1.5 f9; touch -d @9000000000 f10; touch -d @0 f11 ."#;

/// What only root can make.
const ROOTS: &str = "mknod c c 5 1; mknod b b 7 300; ln c d/c; setcap cap_net_raw=ep f6
    touch -d @1000000000 c b f6; touch -d @1000000000.7 d; touch -d @0 .";

/// Makes the tree in `root`, which is on another filesystem each time, and records it in a store beside, with the number of
/// threads and the compression that `record` is given. Prints the digests of the manifests.
const RECORD: &str = r#"
    record() {
        rm -rf store
        "$BINARY" --store store snapshot root --series s --profile plain --threads $1 --compression $2 --json -q |
            python3 -c 'import json, sys; print(json.load(sys.stdin)["manifest_digest"])'
    }"#;

/// Runs a script in a mount namespace of its own: what it mounts is gone when it ends. It has `record`, and `image SIZE
/// MKFS...`, which makes a filesystem in a file and mounts it on the root.
fn script(bench: &Bench, script: &str) -> String {
    std::fs::write(bench.path("tree.sh"), format!("set -eu\n{TREE}\n")).unwrap();
    std::fs::write(bench.path("roots.sh"), format!("set -eu\n{ROOTS}\n")).unwrap();
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; BINARY={}; {RECORD}
         image() {{ rm -f image; truncate -s $1 image; shift; \"$@\" image > /dev/null; mount -o loop image root; }}
         {script}",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "bash", "-euc", &script])
        .current_dir(bench.path(""));
    succeeds(&mut command)
}

/// What differs on purpose is not to be taken for a success.
fn assert_all_equal(printed: &str, count: usize) -> String {
    let digests: Vec<&str> = printed.lines().collect();
    assert_eq!(digests.len(), count, "{printed}");
    assert!(
        digests.iter().all(|digest| digest.starts_with("sha256:")),
        "{printed}"
    );
    let different: BTreeSet<&str> = digests.iter().copied().collect();
    assert_eq!(different.len(), 1, "{printed}");
    digests[0].to_owned()
}

#[test]
fn a_tree_has_the_same_bytes_on_every_filesystem_and_any_number_of_threads() {
    let bench = Bench::new();
    bench.make("root");
    let mut of_filesystem = BTreeMap::new();
    for (filesystem, mount) in [
        ("ext4", "image 64M mkfs.ext4 -q"),
        ("xfs", "image 320M mkfs.xfs -q"),
        ("btrfs", "image 128M mkfs.btrfs -q"),
        ("tmpfs", "mount -t tmpfs tmpfs root"),
        ("here", "true"),
    ] {
        // Two threads' worth of names in one directory; zstd and gzip each cut the tar into their own blocks.
        let printed = script(
            &bench,
            &format!(
                "{mount}; (cd root; find . -mindepth 1 -delete; . ../tree.sh; . ../roots.sh)
                 stat -f -c %T root > kind; record 1 zstd; record 2 zstd; record 9 zstd; mv store store-{filesystem}
                 record 1 gzip:9; record 5 gzip:9; record 3 none"
            ),
        );
        let lines: Vec<&str> = printed.lines().collect();
        let all = [
            assert_all_equal(&lines[..3].join("\n"), 3),
            assert_all_equal(&lines[3..5].join("\n"), 2),
            assert_all_equal(lines[5], 1),
        ];
        let kind = std::fs::read_to_string(bench.path("kind")).unwrap();
        assert!(
            filesystem == "here" || kind.starts_with(&filesystem[..3]),
            "{kind}"
        );
        of_filesystem.insert(filesystem, all);
    }
    let different: BTreeSet<&[String; 3]> = of_filesystem.values().collect();
    assert_eq!(different.len(), 1, "{of_filesystem:#?}");
    // And they are those of the tree.
    let manifest = &of_filesystem["here"][0];
    let tree = tree_of(manifest, &Layout(&bench.path("store-here")));
    let wrong = differences(&tree, &walked(&bench.path("root")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_tree_has_the_same_bytes_in_a_user_namespace() {
    let bench = Bench::new();
    bench.make("root");
    // The numbers of the namespace begin at 100,000 outside; there its root makes the tree, and sees it as it is here. What it
    // may own ends at 65,535, and devices are not for it to make.
    std::fs::write(
        bench.path("small.sh"),
        "set -eu; setcap cap_net_raw=ep f6; chown 65000:65001 f5; touch -d @1000000000 f6 f5",
    )
    .unwrap();
    let smaller: Vec<&str> = TREE
        .lines()
        .filter(|line| !line.contains("chown 2097152"))
        .collect();
    std::fs::write(bench.path("smaller.sh"), smaller.join("\n")).unwrap();
    let made =
        "(cd root; find . -mindepth 1 -delete; . ../smaller.sh; . ../small.sh; touch -d @0 .)";
    let outside = script(&bench, &format!("{made}; record 2 zstd; rm -rf store"));
    let inside = script(
        &bench,
        &format!(
            "rm -rf root; mkdir root; chown 100000:100000 . root
             cat > inside.sh <<'END'
set -eu
{RECORD}
mount -t tmpfs tmpfs root
{made}
[ $(id -u) = 0 ] && [ $(awk '{{ print $2 }}' /proc/self/uid_map) = 100000 ]
record 2 zstd
END
             export BINARY; mkfifo go
             unshare -U -m --keep-caps bash -euc 'read < go; exec setpriv --reuid 0 --regid 0 --clear-groups bash -eu inside.sh' &
             until [ $(readlink /proc/$!/ns/user) != $(readlink /proc/self/ns/user) ]; do :; done
             echo 0 100000 65536 > /proc/$!/uid_map; echo 0 100000 65536 > /proc/$!/gid_map; echo > go; wait $!"
        ),
    );
    assert_eq!(outside, inside);
    assert_all_equal(&outside, 1);
}

#[test]
fn files_of_one_inode_number_in_two_subvolumes_are_no_links() {
    let bench = Bench::new();
    bench.make("root");
    let printed = script(
        &bench,
        "image 128M mkfs.btrfs -q
         btrfs -q subvolume create root/one; btrfs -q subvolume create root/two
         for at in one two; do echo $at > root/$at/f; ln root/$at/f root/$at/g; done
         stat -c %i root/one/f root/two/f; rm -rf store
         \"$BINARY\" --store store -q snapshot root --series s --profile plain
         python3 \"$LISTER\" --sha256 root > list; \"$BINARY\" --store store ls s --json"
            .replace(
                "$LISTER",
                &Path::new(REPOSITORY)
                    .join("fixtures/list_tree.py")
                    .display()
                    .to_string(),
            )
            .as_str(),
    );
    let mut lines = printed.lines();
    assert_eq!(
        lines.next().unwrap(),
        lines.next().unwrap(),
        "one inode number"
    );
    let listed: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    let groups: Vec<(&str, &str)> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| Some((entry["path"].as_str()?, entry["hardlink_group"].as_str()?)))
        .collect();
    let expected = [
        ("/one/f", "/one/f"),
        ("/one/g", "/one/f"),
        ("/two/f", "/two/f"),
        ("/two/g", "/two/f"),
    ];
    assert_eq!(groups, expected);
}
