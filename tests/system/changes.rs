//! What a change of the root does to the layers. Every tree is unpacked by umoci and compared with the root.

use crate::common::{Bench, assert_same_tree, layer, layers, listed, settle, sh};
use crate::shared::changes::{FIRST, THREE};
use serde_json::{Value, json};
use std::path::PathBuf;

const NEXT: &str = "--stage next --profile plain --compression gzip";

/// A root that is recorded, changed and recorded again.
struct Case {
    bench: Bench,
    root: PathBuf,
    first: Value,
}

impl Case {
    /// Records what `script` makes, and checks that it comes out again.
    fn new(script: &str) -> Self {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(&root, script);
        settle(&root);
        let first = bench.snapshot(&root, FIRST);
        assert_same_tree(&bench.unpacked("s@bootstrap"), &listed(&root));
        Self { bench, root, first }
    }

    /// Changes the root, records it over the first snapshot, and checks that it comes out again.
    fn after(&self, script: &str) -> Value {
        sh(&self.root, script);
        settle(&self.root);
        let next = self.bench.snapshot(&self.root, NEXT);
        assert_same_tree(&self.bench.unpacked("s@next"), &listed(&self.root));
        next
    }

    /// The members of a layer's tar in order, links and all, as GNU tar names them.
    fn members(&self, snapshot: &Value, role: &str) -> Vec<String> {
        let digest = layer(snapshot, role)["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "");
        let blob = self.bench.store().join("blobs/sha256").join(digest);
        let list = sh(
            &self.root,
            &format!("tar --quoting-style=escape -tzf {}", blob.display()),
        );
        list.lines().map(str::to_owned).collect()
    }

    fn delta(&self, script: &str) -> Vec<String> {
        self.members(&self.after(script), "delta")
    }
}

#[test]
fn nothing_changed_reads_no_file_and_writes_no_layer_however_often() {
    let case = Case::new(THREE);
    for _ in 0..3 {
        let again = case.bench.snapshot(&case.root, FIRST);
        assert_eq!(
            (again["files_read"].as_u64(), again["bytes_read"].as_u64()),
            (Some(0), Some(0))
        );
        assert_eq!(layers(&again), ["base reused"]);
        assert_eq!(again["manifest_digest"], case.first["manifest_digest"]);
    }
}

#[test]
fn a_rewrite_with_size_and_mtime_put_back_is_seen() {
    let case = Case::new(THREE);
    let delta = case.delta("touch -r d/a ref; echo 1ne > d/a; touch -r ref d/a; rm ref");
    assert_eq!(delta, ["./", "d/", "d/a"]);
}

#[test]
fn a_copy_with_new_inodes_is_read_in_full_and_writes_nothing() {
    let case = Case::new(THREE);
    let copy = case.bench.make("copy");
    sh(
        &case.root,
        &format!(
            "tar -cf - . | tar -C {} -xpf -; touch -d @0 {0}",
            copy.display()
        ),
    );
    sh(&copy, "touch -r ../root .");
    let again = case.bench.snapshot(&copy, FIRST);
    assert_eq!(layers(&again), ["base reused"]);
    assert_eq!(again["files_read"], 3);
}

#[test]
fn a_file_replaced_by_an_equal_one_writes_nothing() {
    let case = Case::new(THREE);
    let next = case.after("cp -p d/a new; touch -r d ref; mv new d/a; touch -r ref d; touch -r t -d @1 .; rm ref; touch -d @5 .");
    // Of the root directory itself the time has changed, and nothing else.
    assert_eq!(case.members(&next, "delta"), ["./"]);
}

#[test]
fn metadata_alone_brings_a_full_entry() {
    let case = Case::new("echo x > f; touch -d @5 f .");
    for change in [
        "chmod 4755 f",
        "chown 12:34 f",
        "setfattr -n user.a -v b f",
        "setcap cap_net_raw=ep f",
        "setfacl -m u:7:r f",
        "touch -d @6 f",
    ] {
        let case = Case::new("echo x > f; touch -d @5 f .");
        assert_eq!(case.delta(change), ["./", "f"], "{change}");
    }
    drop(case);
    let case = Case::new("echo x > f; setfattr -n user.a -v b f; touch -d @5 f .");
    assert_eq!(case.delta("setfattr -x user.a f"), ["./", "f"]);
}

#[test]
fn labels_of_the_machine_bring_nothing() {
    let case = Case::new("echo x > f; touch -d @5 f .");
    let next = case.bench.snapshot(&case.root, NEXT);
    assert_eq!(layers(&next), ["base reused"]);
    sh(
        &case.root,
        "setfattr -n trusted.overlay.x -v y f; setfattr -n security.ima -v 0x01 f",
    );
    let labelled = case.bench.snapshot(
        &case.root,
        "--stage labelled --profile plain --compression gzip",
    );
    assert_eq!(layers(&labelled), ["base reused"]);
}

#[test]
fn a_removed_file_is_a_whiteout_beside_its_parents() {
    let case = Case::new(THREE);
    let next = case.after("rm d/e/b");
    assert_eq!(
        case.members(&next, "delta"),
        ["./", "d/", "d/e/", "d/e/.wh.b"]
    );
    assert_eq!(layer(&next, "delta")["whiteouts"], 1);
}

#[test]
fn a_removed_directory_is_one_whiteout() {
    assert_eq!(Case::new(THREE).delta("rm -r d"), ["./", ".wh.d"]);
}

#[test]
fn an_emptied_directory_has_a_whiteout_for_each_child() {
    assert_eq!(
        Case::new(THREE).delta("rm -r d/*"),
        ["./", "d/", "d/.wh.a", "d/.wh.e", "d/.wh.l"]
    );
}

#[test]
fn a_directory_made_anew_does_not_keep_its_old_children() {
    let case = Case::new(THREE);
    let delta = case.delta("rm -r d; mkdir d; echo new > d/n");
    assert_eq!(delta, ["./", "d/", "d/.wh.a", "d/.wh.e", "d/.wh.l", "d/n"]);
}

#[test]
fn types_change_into_one_another() {
    for change in [
        "rm -r d; echo file > d",
        "rm -r d; ln -s e d",
        "rm -r d; mkfifo d",
        "rm t; mkdir t; echo x > t/x",
        "rm d/l; mkdir d/l; echo x > d/l/x",
        "rm t; ln -s nowhere t; rm d/a; mkdir -p d/a/b/c",
        "rm t; mknod t c 5 1; rm d/a; mknod d/a b 7 300",
        "mv d x; ln -s x d",
    ] {
        Case::new(THREE).after(change);
    }
}

#[test]
fn what_is_put_back_brings_nothing_back() {
    let case = Case::new("mkdir d; echo a > d/a; touch -d @5 d/a d .");
    let next = case.after("rm d/a; echo a > d/a; touch -d @5 d/a d .");
    assert_eq!(layers(&next), ["base reused"]);
}

const LINKS: &str = "mkdir d; echo c > a; ln a b; ln a d/c; touch -d @5 a d .";

#[test]
fn a_hardlink_has_its_content_once_and_relative_names() {
    let case = Case::new(LINKS);
    assert_eq!(case.first["content_bytes"], 2);
    let digest = layer(&case.first, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let list = sh(
        &case.bench.store(),
        &format!("tar -tvzf blobs/sha256/{digest}"),
    );
    assert!(
        list.contains("b link to a") && list.contains("d/c link to a"),
        "{list}"
    );
}

#[test]
fn hardlink_groups_follow_every_change() {
    for (change, delta) in [
        (
            "ln a e; touch -d @5 .",
            vec!["./", "a", "b", "d/", "d/c", "e"],
        ),
        (
            "echo x >> b; touch -d @5 a .",
            vec!["./", "a", "b", "d/", "d/c"],
        ),
        ("echo new > n; mv n b; touch -d @5 b .", vec!["./", "b"]),
        ("rm a; touch -d @5 .", vec!["./", ".wh.a"]),
        (
            "rm a d/c; touch -d @5 d .",
            vec!["./", ".wh.a", "d/", "d/.wh.c"],
        ),
        ("cp -p b n; mv n b; touch -d @5 .", vec!["./", "b"]),
    ] {
        assert_eq!(Case::new(LINKS).delta(change), delta, "{change}");
    }
}

#[test]
fn links_of_what_is_no_file_and_names_outside_the_root() {
    let case = Case::new(
        "ln -s x l; ln l m; mkfifo p; ln p q; mknod c c 1 3; ln c k; echo o > ../outside; ln ../outside in",
    );
    assert!(listed(&case.root)["/in"]["hardlink_group"].is_null());
    case.after("rm l; ln in other");
}

#[test]
fn odd_names_come_out_as_they_are() {
    let long = |length: usize| {
        let mut path = String::new();
        while path.len() + 1 < length {
            let part = (length - path.len() - 1).min(200);
            path.push_str(&"n".repeat(part));
            path.push('/');
        }
        path.trim_end_matches('/').to_owned()
    };
    let paths = [99, 100, 101, 155, 156, 256, 257, 1500].map(long).join(" ");
    let case = Case::new(&format!(
        r#"for p in {paths}; do mkdir -p x${{#p}}/"$(dirname $p)"; echo $p > x${{#p}}/$p; ln -s $p l${{#p}}; done
           for n in $'new\nline' 'back\slash' '-dash' 'trail ' ' lead' $'\xff\xfe' $'\e[2J' 'größe' '=' '%' "quo'te" 'a:b'; do
             echo "$n" > "./$n"; mkdir "./d$n"; ln -s -- "$n" "./l$n"; done
           echo x > long; setfattr -n user.big -v "$(printf 'v%.0s' $(seq 3000))" long
           setfattr -n user.bytes -v 0x000aff3d0a00 long"#
    ));
    case.after(r#"rm -- $'new\nline' $'\xff\xfe' -dash; rm -r x256; chmod 600 'trail '"#);
}

#[test]
fn large_numbers_and_early_times_come_out_as_they_are() {
    let case = Case::new(
        "echo a > uid; chown 2097152:4294967294 uid; echo b > early; echo c > late; echo d > nano
         truncate -s 64M sparse; printf x | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none
         touch -d @-1 early; touch -d @9000000000 late; touch -d @7.999999999 nano",
    );
    let entries = case.bench.json(["ls", "s"]);
    let of = |path: &str| {
        entries["entries"]
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["path"] == path)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            of("/early")["mtime"].as_i64(),
            of("/nano")["mtime"].as_i64()
        ),
        (Some(-1), Some(7))
    );
    assert_eq!(of("/sparse")["size_bytes"].as_u64(), Some(64 << 20));
    case.after("rm sparse; chown 0:0 uid");
}

#[test]
fn a_file_over_eight_gib_is_one_plain_member_with_its_size() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "truncate -s 8589934593 huge; printf end | dd of=huge bs=1 seek=8589934590 conv=notrunc status=none",
    );
    // Tells what it took on stderr, in KiB (getrusage(2), ru_maxrss).
    let script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)";
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_rootstrata"), "--store"])
        .arg(bench.store());
    command
        .args([
            "--json",
            "-q",
            "snapshot",
            "--profile",
            "plain",
            "--compression",
            "zstd:1",
        ])
        .arg(&root);
    let output = command.args(["--series", "s"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        crate::common::text(&output.stderr)
    );
    let snapshot: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(snapshot["content_bytes"].as_u64(), Some((8 << 30) + 1));
    let most_kib: u64 = crate::common::text(&output.stderr).trim().parse().unwrap();
    assert!(most_kib < 300 << 10, "{most_kib} KiB");
    let digest = layer(&snapshot, "base")["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let list = sh(
        &bench.store(),
        &format!("zstd -dcq blobs/sha256/{digest} | tar -tvf -"),
    );
    assert!(
        list.contains("8589934593") && list.contains("huge"),
        "{list}"
    );
}

#[test]
fn sockets_are_passed_over_and_counted() {
    let case = Case::new(
        "mkfifo p; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'; touch -d @5 .",
    );
    assert_eq!(case.first["sockets"], 1);
    assert_eq!(layers(&case.after("rm s; touch -d @5 .")), ["base reused"]);
}

#[test]
fn what_leaves_the_scope_leaves_no_whiteout() {
    let case = Case::new(THREE);
    let next = case
        .bench
        .snapshot(&case.root, &format!("{NEXT} --exclude /d/e"));
    assert_eq!(layers(&next), ["base new"]);
    assert_eq!(layer(&next, "base")["whiteouts"], 0);
}

/// Records the root while what `mounts`, a script, mounts below it is there.
fn recorded_under(mounts: &str, bench: &Bench, root: &std::path::Path, options: &str) -> Value {
    let script = format!(
        "{mounts}\nexec {} --store {} -q --json snapshot {} --series s {options}",
        env!("CARGO_BIN_EXE_rootstrata"),
        bench.store().display(),
        root.display()
    );
    let mut command = std::process::Command::new("unshare");
    let printed = crate::common::succeeds(
        command
            .args(["-m", "bash", "-euc", &script])
            .current_dir(root),
    );
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn mounts_are_not_entered_whatever_is_mounted_and_on_which_device() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir dir tmp other; echo mine > file; echo secret > other/secret; touch -d @5 file dir tmp other .",
    );
    let mounts = "mount --bind other dir; mount --bind other/secret file; mount -t tmpfs none tmp; echo t > tmp/t";
    recorded_under(mounts, &bench, &root, "--profile plain");
    let entries = bench.json(["ls", "s"]);
    let shown: Vec<(String, u64)> = entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            (
                e["path"].as_str().unwrap().to_owned(),
                e["size_bytes"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    let expected = [
        ("/", 0),
        ("/dir", 0),
        ("/file", 0),
        ("/other", 0),
        ("/other/secret", 7),
        ("/tmp", 0),
    ];
    assert_eq!(shown, expected.map(|(path, size)| (path.to_owned(), size)));
    // Unmounted again, what was covered is there, with nothing taken for deleted.
    let unmounted = bench.snapshot(&root, "--stage next --profile plain");
    assert_eq!(layer(&unmounted, "delta")["whiteouts"], 0);
}

#[test]
fn what_a_new_mount_hides_counts_as_unchanged() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -m 1777 tmp; mkdir dir; echo a > dir/a; ln dir/a dir/b; echo t > tmp/t; echo f > file; touch -d @5 .",
    );
    let first = bench.snapshot(&root, FIRST);
    let mounts = "mount -t tmpfs none tmp; mount -t tmpfs none dir; mount --bind /dev/null file";
    let next = recorded_under(mounts, &bench, &root, NEXT);
    assert_eq!(layers(&next), ["base reused"]);
    assert_eq!(next["manifest_digest"], first["manifest_digest"]);
}

#[test]
fn what_a_mount_hides_is_never_packed() {
    // A base made anew, and a hardlink group of which a part is hidden.
    for (change, stage) in [("head -c 100000 /dev/urandom > big", FIRST), ("true", NEXT)] {
        let bench = Bench::new();
        let root = bench.make("root");
        sh(
            &root,
            "mkdir data; echo hidden > data/f; ln data/f data/g; ln data/f aa; head -c 100000 /dev/urandom > big",
        );
        bench.snapshot(&root, FIRST);
        sh(&root, change);
        let next = recorded_under("mount -t tmpfs none data", &bench, &root, stage);
        assert!(
            bench
                .command(["ls", next["id"].to_string().as_str(), "aa"])
                .status()
                .unwrap()
                .success()
        );
        // And when it is gone again, all is there.
        bench.snapshot(&root, stage);
        assert_same_tree(&bench.unpacked("s"), &listed(&root));
    }
}

#[test]
fn what_a_mount_hides_is_as_it_was_the_last_time() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir data; echo old > data/f; for i in $(seq 50); do echo $i > $i; done",
    );
    bench.snapshot(&root, FIRST);
    sh(&root, "echo new > data/f");
    bench.snapshot(&root, FIRST);
    recorded_under("mount -t tmpfs none data", &bench, &root, FIRST);
    let hidden = bench.json(["ls", "s", "data"]);
    // The base still has the old content; with the update that replaced it out of sight, nothing may show that again.
    assert!(
        !hidden
            .to_string()
            .contains(&blake3::hash(b"old\n").to_string()),
        "{hidden}"
    );
}

#[test]
fn volatile_files_are_in_the_state_alone() {
    let bench = Bench::new();
    let root = bench.make("root");
    sh(
        &root,
        "mkdir -p log d; echo 1 > log/a; echo x > d/x; touch -d @5 d log .",
    );
    let options = "--profile plain --volatile /log/* --volatile *.id --compression gzip";
    bench.snapshot(&root, &format!("--stage bootstrap {options}"));
    sh(
        &root,
        "echo 2 > log/a; echo b > log/b; echo i > d/my.id; touch -d @5 d log .",
    );
    let next = bench.snapshot(&root, &format!("--stage next {options}"));
    assert_eq!(layers(&next), ["base reused", "state new"]);
    assert_same_tree(&bench.unpacked("s@next"), &listed(&root));
    sh(&root, "rm log/a; touch -d @5 d log .");
    bench.snapshot(&root, &format!("--stage last {options}"));
    assert_same_tree(&bench.unpacked("s@last"), &listed(&root));
}

#[test]
fn a_new_run_gets_one_update_from_the_base() {
    let case = Case::new(
        "for i in $(seq 40); do echo $i > f$i; done; head -c 9000 /dev/zero > big; touch -d @5 .",
    );
    for round in 1..4 {
        sh(
            &case.root,
            &format!("echo round{round} > f{round}; rm f3{round}; touch -d @5 ."),
        );
        settle(&case.root);
        let today = case.bench.snapshot(&case.root, FIRST);
        assert_eq!(layers(&today), ["base reused", "update new"]);
        assert_eq!(layer(&today, "update")["whiteouts"].as_u64(), Some(round));
        assert_same_tree(&case.bench.unpacked("s"), &listed(&case.root));
    }
}

#[test]
fn updates_lie_over_one_another_over_a_base_and_over_a_delta() {
    let bench = Bench::new();
    let root = bench.make("root");
    let write = |name: &str, what: char| {
        std::fs::write(root.join(name), what.to_string().repeat(1_000_000)).unwrap();
    };
    // What a stage has, the layers of both stages, and the newest snapshot.
    let record = |run: &str, of_first: &[(String, char)], of_second: &[(String, char)]| {
        let options =
            |stage: &str| format!("--profile plain --compression gzip --run {run} --stage {stage}");
        let aside = bench.path("aside");
        if aside.exists() {
            std::fs::rename(root.join("deps"), aside.join("deps")).unwrap();
        }
        of_first.iter().for_each(|(name, what)| write(name, *what));
        sh(&root, "touch -d @5 .");
        settle(&root);
        let first = bench.snapshot(&root, &options("bootstrap"));
        assert_same_tree(&bench.unpacked("s@bootstrap"), &listed(&root));
        if aside.exists() {
            std::fs::rename(aside.join("deps"), root.join("deps")).unwrap()
        } else {
            ["../aside", "deps"]
                .iter()
                .for_each(|name| std::fs::create_dir(root.join(name)).unwrap())
        }
        of_second.iter().for_each(|(name, what)| write(name, *what));
        sh(&root, "touch -d @5 . deps");
        settle(&root);
        let second = bench.snapshot(&root, &options("deps-installed"));
        assert_same_tree(&bench.unpacked("s@deps-installed"), &listed(&root));
        (first, second)
    };
    let some =
        |prefix: &str, numbers: std::ops::RangeInclusive<u32>, what: char| -> Vec<(String, char)> {
            numbers
                .map(|number| (format!("{prefix}{number}"), what))
                .collect()
        };
    record("r0", &some("f", 1..=20, 'a'), &some("deps/g", 1..=20, 'a'));

    let (_, day1) = record("r1", &some("f", 1..=3, 'b'), &some("deps/g", 1..=3, 'b'));
    assert_eq!(
        layers(&day1),
        ["base reused", "update reused", "delta reused", "update new"]
    );
    let (day2, day2_second) = record("r2", &some("f", 4..=4, 'b'), &some("deps/g", 4..=4, 'b'));
    assert_eq!(
        layers(&day2),
        ["base reused", "update reused", "update new"]
    );
    let expected =
        ["base", "update", "update", "delta", "update"].map(|role| format!("{role} reused"));
    assert_eq!(
        layers(&day2_second),
        [&expected[..], &["update new".to_owned()]].concat()
    );
    assert_eq!(day2_second["layers"][5]["content_bytes"], 1_000_000);
    let explained = bench.json(["explain", "s@deps-installed"]);
    assert_eq!(
        crate::common::file_differences(&explained["layers"][5]),
        ["/deps/g4 content,mtime"]
    );
    let usage = bench.json(["du"]);
    let weight = json!({ "base_bytes": 20_000_000, "update_bytes": 4_000_000, "dead_bytes": 0 });
    assert_eq!(usage["stages"][1]["weight"], weight);

    // The same once more, then a base that is made anew beneath the same delta.
    let (_, again) = record("r3", &[], &[]);
    assert_eq!(
        layers(&again),
        [&expected[..], &["update reused".to_owned()]].concat()
    );
    sh(&root, "rm f5 f6 f7 f8 f9 f10");
    let (anew, over_it) = record("r4", &[], &[]);
    assert_eq!(layers(&anew), ["base new"]);
    assert_eq!(
        layers(&over_it),
        [
            "base reused",
            "delta reused",
            "update reused",
            "update reused"
        ]
    );

    sh(&root, "rm deps/g5 deps/g6 deps/g7 deps/g8 deps/g9 deps/g10");
    let (_, delta) = record("r5", &[], &[]);
    assert_eq!(layers(&delta), ["base reused", "delta new"]);
    let rule = bench.json(["explain", "s@deps-installed"])["layers"][1]["rule"].clone();
    assert_eq!(
        rule,
        json!({ "rule": "dead-base", "dead_bytes": 6_000_000, "base_bytes": 20_000_000 })
    );
    let shown = bench.prints(0, ["explain", "s@deps-installed"]);
    assert!(
        shown.contains("a delta, since 6.0 MB of the last one's 20.0 MB are no longer used"),
        "{shown}"
    );
}
