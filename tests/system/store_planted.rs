//! Stores that somebody else has prepared, that cannot be written to, or that have no room left.

use crate::common::{Bench, REPOSITORY, one_error, sh, succeeds};
use crate::shared::store_planted::{recorded, run};
use rusqlite::Connection;
use std::path::Path;
use std::process::Command;

/// Runs a script in a mount namespace of its own, in which `rs` is the command with the store `store`.
fn in_namespace(bench: &Bench, script: &str) -> String {
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; rs() {{ {} -q --store store \"$@\"; }}\n{script}",
        env!("CARGO_BIN_EXE_rootstrata")
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", "bash", "-euc", &script])
        .current_dir(bench.path(""));
    succeeds(&mut command)
}

#[test]
fn what_is_no_file_in_the_place_of_one_is_named_and_never_waited_for() {
    let kinds = [
        ("mkfifo", "a FIFO"),
        ("ln -s $PWD/precious/me", "a symbolic link"),
        ("mkdir", "a directory"),
        ("cp -a /dev/tty", "a character device"),
    ];
    for place in [
        "lock",
        "tmp.lock",
        "rootstrata.sqlite",
        "rootstrata.sqlite-wal",
        "rootstrata.sqlite-shm",
    ] {
        for (make, kind) in kinds {
            let bench = recorded();
            sh(
                &bench.path(""),
                &format!("rm -f store/{place}; {make} store/{place}"),
            );
            for verb in [
                "log",
                "snapshot root --series s --profile plain",
                "prune",
                "verify",
            ] {
                let (code, said) = run(&bench, verb);
                assert_eq!(
                    code,
                    if verb == "verify" { 1 } else { 2 },
                    "{place} as {kind}, {verb}: {said}"
                );
                assert!(
                    said.contains(place) && said.contains(kind),
                    "{place} as {kind}, {verb}: {said}"
                );
            }
            assert_eq!(sh(&bench.path("precious"), "cat me"), "keep\n");
        }
    }
}

#[test]
fn a_derived_file_that_is_no_file_is_damage_and_made_anew() {
    for place in ["index.json", "oci-layout"] {
        for (make, kind) in [
            ("mkfifo", "FIFO"),
            ("ln -s $PWD/precious/me", "link"),
            ("cp -a /dev/zero", "device"),
        ] {
            let bench = recorded();
            sh(
                &bench.path(""),
                &format!("rm store/{place}; {make} store/{place}"),
            );
            let (code, said) = run(&bench, "verify");
            assert!(
                code == 1 && said.contains(place),
                "{place} as {kind}: {said}"
            );
            for verb in [
                "log",
                "export s -o out.tar",
                "snapshot root --series s --profile plain",
            ] {
                let (code, said) = run(&bench, verb);
                assert_eq!(code, 0, "{place} as {kind}, {verb}: {said}");
            }
            assert!(
                std::fs::symlink_metadata(bench.store().join(place))
                    .unwrap()
                    .is_file(),
                "{place} as {kind}"
            );
            assert_eq!(sh(&bench.path("precious"), "cat me"), "keep\n");
            assert_eq!(run(&bench, "verify").0, 0, "{place} as {kind}");
        }
    }
}

/// What only reads.
const READERS: &str = r#"
    readers() {
        for c in log "show s" "ls s" "cat s /f" "export s -o out.tar" "verify" "verify --deep" "diff s s" du "find --path /f" \
            "explain s" "which s /f" "restore s out --dry-run"; do
            rs $c > said 2>&1 || [ $? = 1 -a "${c%% *}" = diff ] || { echo "$c: $(cat said)" >&2; exit 1; }
        done
        rm -rf out; rs restore s out; cmp out/f root/f; rm -rf out
    }"#;

#[test]
fn a_store_that_is_read_only_is_read_as_any_other() {
    let bench = recorded();
    bench.snapshot(&bench.path("root"), "--profile plain");
    let script = format!(
        "{READERS}
         mount --bind store store; mount -o remount,ro,bind store
         readers
         for c in 'snapshot root --series s --profile plain' prune 'verify --repair' 'import oci-archive:out.tar' 'squash s'; do
             code=0; rs $c 2> said || code=$?
             [ $code = 2 ] && [ $(wc -l < said) = 1 ] && grep -q 'Read-only' said || {{ echo \"$c $code $(cat said)\" >&2; exit 1; }}
         done"
    );
    let before = sh(
        &bench.store(),
        "find . -ls | sort; cat rootstrata.sqlite | sha256sum",
    );
    in_namespace(&bench, &script);
    assert_eq!(
        sh(
            &bench.store(),
            "find . -ls | sort; cat rootstrata.sqlite | sha256sum"
        ),
        before
    );
}

#[test]
fn what_a_killed_run_left_in_the_log_is_read_from_a_read_only_store() {
    let bench = recorded();
    // A copy of the files while the database is open is what a kill leaves.
    let open = Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
    open.execute_batch("PRAGMA wal_autocheckpoint = 0; SELECT count(*) FROM snapshot")
        .unwrap();
    bench.snapshot(&bench.path("root"), "--profile plain");
    sh(&bench.path(""), "cp -a store killed");
    drop(open);
    sh(
        &bench.path(""),
        "rm -rf store; mv killed store; rm store/rootstrata.sqlite-shm; test -s store/rootstrata.sqlite-wal",
    );
    let script = format!(
        "{READERS}\nmount --bind store store; mount -o remount,ro,bind store; readers; rs log --json"
    );
    let log: serde_json::Value = serde_json::from_str(&in_namespace(&bench, &script)).unwrap();
    assert_eq!(log["snapshots"].as_array().unwrap().len(), 2);
}

#[test]
fn an_old_store_that_is_read_only_is_read() {
    let bench = Bench::new();
    let fixture = Path::new(REPOSITORY).join("fixtures/stores/format-5.tar.gz");
    sh(
        &bench.path(""),
        &format!("mkdir x; tar -xzf {} -C x; mv x/* store", fixture.display()),
    );
    in_namespace(
        &bench,
        "mount --bind store store; mount -o remount,ro,bind store; rs log; rs verify",
    );
}

#[test]
fn a_full_disk_is_read_and_pruned_with_no_room_left() {
    for (filesystem, free_kib) in [
        ("mkfs.ext4 -q -m 0", 0),
        ("mkfs.ext4 -q -m 0", 24),
        ("tmpfs", 0),
        ("tmpfs", 8),
    ] {
        let bench = Bench::new();
        sh(
            &bench.make("root"),
            "for n in $(seq 500); do echo $n > n$n; done",
        );
        bench.make("disk");
        let script = format!(
            "if [ '{filesystem}' = tmpfs ]; then mount -t tmpfs -o size=24m none disk
             else truncate -s 24M image; {filesystem} image; mount -o loop image disk; fi
             mkdir -m 700 disk/store; ln -s disk/store store
             for n in 1 2 3; do head -c 2000000 /dev/urandom > root/f; rs snapshot root --series s --profile plain; done
             [ {free_kib} = 0 ] || dd if=/dev/zero of=disk/room bs=1k count={free_kib} status=none
             dd if=/dev/zero of=disk/a bs=4k status=none 2> /dev/null || true; dd if=/dev/zero of=disk/b bs=1k status=none 2> /dev/null || true
             sync; rm -f disk/room; sync
             {READERS}
             readers; rs prune --keep-last 1; readers; rs log --json; test -s store/reserve"
        );
        let log: serde_json::Value = serde_json::from_str(&in_namespace(&bench, &script)).unwrap();
        assert_eq!(
            log["snapshots"].as_array().unwrap().len(),
            1,
            "{filesystem}, {free_kib} KiB"
        );
    }
}

#[test]
fn verify_tells_that_it_cannot_look_from_damage() {
    let bench = recorded();
    sh(
        &bench.path(""),
        "chmod 711 .; chmod 755 store; chmod 600 store/rootstrata.sqlite",
    );
    let binary = bench.path("rootstrata");
    std::fs::copy(env!("CARGO_BIN_EXE_rootstrata"), &binary).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary);
    let output = command
        .args(["-q", "--store"])
        .arg(bench.store())
        .arg("verify")
        .output()
        .unwrap();
    assert!(one_error(output, 2).contains("rootstrata.sqlite"));
}

#[test]
fn a_store_that_others_may_write_to_is_refused_with_what_to_do() {
    for (script, path, what) in [
        ("chmod 1777 store", "store", "chmod o-w"),
        (
            "chmod 755 store; chmod 777 store/tmp",
            "store/tmp",
            "chmod o-w",
        ),
        (
            "chmod 755 store; chmod 666 store/rootstrata.sqlite",
            "store/rootstrata.sqlite",
            "chmod o-w",
        ),
        ("chown 4242 store", "store", "chown -R root"),
        (
            "chmod 755 store; chown 4242 store/tmp",
            "store/tmp",
            "chown -R root",
        ),
        ("chgrp 4242 store; chmod 770 store", "store", "chmod g-w"),
        (
            "chmod 750 store; chgrp 4242 store store/blobs; chmod 775 store/blobs",
            "store/blobs",
            "chmod g-w",
        ),
    ] {
        let bench = recorded();
        sh(&bench.path(""), script);
        for verb in [
            "log",
            "snapshot root --series s --profile plain",
            "prune",
            "verify",
        ] {
            let (code, said) = run(&bench, verb);
            assert_eq!(code, 2, "{script}, {verb}: {said}");
            assert!(
                said.contains(&format!("{what} ")) && said.trim_end().ends_with(path),
                "{script}, {verb}: {said}"
            );
        }
    }
    // Nobody else can enter these.
    for script in [
        "chmod 700 store; chmod -R 777 store/*; chown 4242 store/tmp",
        "umask 002; chmod 775 store; chmod -R g+w store",
        "chmod 755 store",
    ] {
        let bench = recorded();
        sh(&bench.path(""), script);
        for verb in [
            "log",
            "snapshot root --series s --profile plain",
            "prune",
            "verify",
        ] {
            let (code, said) = run(&bench, verb);
            assert_eq!(code, 0, "{script}, {verb}: {said}");
        }
    }
}
