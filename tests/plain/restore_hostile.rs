//! A restore writes nothing beside its directory, whatever lies there; it says what it could not do, and what stopped it is
//! made good by the next.

use crate::common::tree::walked;
use crate::common::{sh, text};
use crate::shared::restore_hostile::{Canary, assert_same, beside, recorded, restore};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

// ---- Nothing beside the directory

#[test]
fn links_to_the_outside_are_replaced_and_never_followed() {
    let (bench, root) = recorded(
        "mkdir -p d/e link; echo 1 > d/file; echo 2 > d/e/file; echo 3 > file; echo canary > hard; echo canary > other
        chmod 0777 hard d; ln -s d/file soft; mkdir -m 1777 absolute; echo 4 > absolute/file",
        "",
    );
    let canary = Canary::new(&bench);
    let to = bench.make("to");
    let at = canary.path.to_str().unwrap();
    // What differs from a name of the canary in content, in metadata and not at all, and links on the way to all of it.
    sh(
        &to,
        &format!(
            "ln -s {at}/d d; ln -s ../canary link; ln -s {at}/file file; ln {at}/file hard; ln {at}/linked other
            ln -s {at}/d/file soft; ln -s {at} absolute; touch -r {} other",
            root.join("other").display()
        ),
    );
    // `touch` was ours, and the links are too.
    let canary = Canary {
        was: Canary::look(&canary.path),
        ..canary
    };
    let output = restore(&bench, &to, &["--exact"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_same(&walked(&to), &walked(&root));
    let was = &canary.was.0[&b"file"[..]];
    assert_eq!(
        std::fs::read(canary.path.join("file")).unwrap(),
        b"canary\n"
    );
    assert_eq!(
        std::fs::metadata(canary.path.join("file")).unwrap().mode() & 0o7777,
        was.mode
    );
    canary.check();
}

#[test]
fn a_directory_that_is_swapped_for_a_link_while_it_is_written_leads_nowhere() {
    let (bench, _) = recorded(
        "mkdir -p d/e; for i in $(seq 50); do echo $i > d/$i; echo $i > d/e/$i; done",
        "",
    );
    let canary = Canary::new(&bench);
    let to = bench.path("to");
    let is_over = AtomicBool::new(false);
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let link = bench.path("link");
            while !is_over.load(Ordering::Relaxed) {
                let _ = std::os::unix::fs::symlink(&canary.path, &link); // what it was swapped for is removed at times
                let _ = renameat_with(CWD, &link, CWD, to.join("d"), RenameFlags::EXCHANGE);
                let _ = renameat_with(CWD, to.join("d"), CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        for round in 0..20 {
            let exact: &[&str] = if round % 2 == 0 { &["--exact"] } else { &[] };
            refused += u32::from(!restore(&bench, &to, exact).status.success());
            if refused > 3 {
                break;
            }
            let _ = std::fs::remove_dir_all(to.join("d"));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(refused > 0, "nobody was in the way");
    canary.check();
}

#[test]
fn a_store_in_the_directory_and_a_directory_in_the_store_are_refused() {
    let (bench, _) = recorded("echo 1 > a", "");
    let error = bench.fails(
        2,
        ["restore", "s", bench.path("").to_str().unwrap(), "--exact"],
    );
    assert!(error.contains("is inside the root"), "{error}");
    let error = bench.fails(
        2,
        [
            "restore",
            "s",
            bench.store().join("blobs").to_str().unwrap(),
            "--exact",
        ],
    );
    assert!(error.ends_with("is inside a store"), "{error}");
    assert_eq!(bench.ids(), [1]);
}

#[test]
fn rows_whose_paths_lead_out_are_refused() {
    for path in [
        &b".."[..],
        b"..\0x",
        b"d\0..\0..\0x",
        b"/x",
        b"d/../../x",
        b".",
        b"d\0\0x",
    ] {
        let (bench, _) = recorded("mkdir d; echo x > d/x", "");
        let canary = Canary::new(&bench);
        let before = beside(&bench);
        let database = rusqlite::Connection::open(bench.store().join("rootstrata.sqlite")).unwrap();
        let changed = database
            .execute("UPDATE entry SET path = ? WHERE kind = 2", [path])
            .unwrap();
        assert_eq!(changed, 1);
        drop(database);
        let said = bench.fails(2, ["restore", "s", bench.path("to").to_str().unwrap()]);
        assert!(
            said.contains("rootstrata.sqlite"),
            "{}: {said}",
            path.escape_ascii()
        );
        assert_eq!(beside(&bench), before, "{}", path.escape_ascii());
        assert!(!bench.path("to/d").exists());
        canary.check();
    }
}

#[test]
fn a_killed_restore_is_finished_by_the_next() {
    let (bench, root) = recorded(
        "for d in $(seq 40); do mkdir -m 0750 $d; for i in $(seq 40); do echo $d $i > $d/$i; done; ln $d/1 $d/one; done
        for i in 1 2 3; do head -c 4000000 /dev/urandom > large$i; done",
        "",
    );
    let to = bench.path("to");
    let mut killed = 0;
    for round in 0..12u32 {
        let mut child = bench
            .command(["restore", "s", to.to_str().unwrap(), "-q"])
            .spawn()
            .unwrap();
        // As many files more each time, so that it is not over at once.
        let enough = 100 * (round % 6 + 1);
        let count = || std::fs::read_dir(to.join("1")).map_or(0, Iterator::count) as u32 * 40;
        while count() < enough && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        if round % 6 == 5 {
            sh(&bench.path(""), "rm -rf to");
        }
    }
    assert!(killed > 0, "it was over each time");
    assert!(restore(&bench, &to, &["--exact"]).status.success());
    assert_same(&walked(&to), &walked(&root));
}

#[test]
fn a_damaged_layer_gives_no_file_and_is_named() {
    for compression in ["zstd", "gzip", "none"] {
        let (bench, root) = recorded(
            "for i in 1 2 3; do head -c 900000 /dev/urandom > $i; done",
            &format!("--compression {compression}"),
        );
        let blobs = bench.store().join("blobs/sha256");
        let largest = std::fs::read_dir(&blobs)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let largest = largest
            .max_by_key(|path| path.metadata().unwrap().len())
            .unwrap();
        let mut bytes = std::fs::read(&largest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&largest, bytes).unwrap();
        let to = bench.path("to");
        let error = bench.fails(2, ["restore", "s", to.to_str().unwrap()]);
        assert!(
            error.contains("is damaged") && error.contains(largest.to_str().unwrap()),
            "{error}"
        );
        let (found, expected) = (walked(&to), walked(&root));
        for (path, node) in found.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(expected.get(path) == Some(node), "{}", path.escape_ascii());
        }
    }
}
